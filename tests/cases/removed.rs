//! Who a node is: its certificate is renewed under traffic, and a node that was removed is served by no shield any more.

use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, get, wait_until};

/// Long enough for two renewals of certificates that are valid for 10 s.
const TWO_RENEWALS: Duration = Duration::from_secs(16);

fn origin() -> Scripted {
    Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "there"))
}

/// Has a node join anew.
#[track_caller]
fn join_anew(cdn: &mut Cdn, name: &str) {
    let role = name.split('-').next().unwrap();
    cdn.kill(name);
    cdn.skerry(&["node", "remove", name]).fine();
    let token = cdn.skerry(&["node", "token", "create", "--role", role, "--region", "region-1"]).fine().stdout;
    let (_, config) = cdn.process(name);
    let settings = std::fs::read_to_string(&config).unwrap();
    let lines = settings.lines().filter(|line| !line.starts_with("join_token"));
    let settings: String = lines.map(|line| format!("{line}\n")).collect();
    std::fs::write(&config, settings.replace("[control]\n", &format!("[control]\njoin_token = \"{}\"\n", token.trim()))).unwrap();
    std::fs::remove_dir_all(cdn.data(name)).unwrap();
    std::fs::create_dir(cdn.data(name)).unwrap();
    cdn.start_again(name);
    wait_until(name, SOON, || cdn.follows(name));
}

#[test]
fn certificates_are_renewed_under_traffic_without_a_failure() {
    let origin = origin();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let (_, config) = cdn.process("control");
    let settings = std::fs::read_to_string(&config).unwrap();
    cdn.kill("control");
    std::fs::write(&config, settings.replace("life = \"90d\"", "life = \"10s\"")).unwrap();
    cdn.start_again("control");
    join_anew(&mut cdn, "shield-1");
    join_anew(&mut cdn, "edge-1");
    let certificate = |name: &str| std::fs::read(cdn.data(name).join("node.crt")).unwrap();
    let first = ["shield-1", "edge-1"].map(certificate);
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < TWO_RENEWALS {
        asked += 1;
        let got = get(cdn.edge(1), "www.test", &format!("/{asked}"));
        assert_eq!((got.status, got.text().as_str()), (200, "there"), "{asked}: {got:?}");
        assert!(got.field("cache-status").contains("shield-1;"), "{asked}: it passed the shield by: {got:?}");
    }
    let last = ["shield-1", "edge-1"].map(certificate);
    assert!(first[0] != last[0] && first[1] != last[1], "nothing was renewed");
    // Links that are opened from here on are by the new ones.
    cdn.kill("shield-1");
    cdn.start_again("shield-1");
    wait_until("the shield", SOON, || {
        asked += 1;
        get(cdn.edge(1), "www.test", &format!("/{asked}")).field("cache-status").contains("shield-1;")
    });
}

#[test]
fn no_shield_serves_an_edge_that_was_removed() {
    let origin = origin();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let through_shield = |cdn: &Cdn, edge, path: &str| {
        let got = get(cdn.edge(edge), "www.test", path);
        assert_eq!(got.status, 200, "{got:?}");
        got.field("cache-status").contains("shield-1;")
    };
    assert!(through_shield(&cdn, 1, "/a") && through_shield(&cdn, 2, "/b"));
    cdn.skerry(&["node", "remove", "edge-1"]).fine();
    let mut turn = 0;
    wait_until("the shield to refuse the edge", SOON, || {
        turn += 1;
        !through_shield(&cdn, 1, &format!("/refused/{turn}"))
    });
    // Over the link that stood, over a new one, and where the shield was restarted without the control plane.
    assert!(!through_shield(&cdn, 1, "/b"), "not even what is stored there");
    assert!(through_shield(&cdn, 2, "/c"));
    cdn.kill("control");
    cdn.kill("shield-1");
    cdn.start_again("shield-1");
    wait_until("the other edge to have its link again", SOON, || {
        turn += 1;
        through_shield(&cdn, 2, &format!("/again/{turn}"))
    });
    assert!(!through_shield(&cdn, 1, "/d"));
}
