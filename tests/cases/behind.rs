//! A shield that has not heard of a purge that its edges have heard of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Relay, Reply, Scripted, get, wait_until};

/// An origin whose answers all have the version in their text, and that version.
fn versioned() -> (Scripted, Arc<AtomicU32>) {
    let version = Arc::new(AtomicU32::new(1));
    let now = Arc::clone(&version);
    let origin = Scripted::start(move |_| {
        let text = format!("version {}", now.load(Ordering::SeqCst));
        Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", &text)
    });
    (origin, version)
}

/// Has a shield follow the control plane through a relay.
fn relayed(cdn: &mut Cdn) -> Relay {
    let (_, config) = cdn.process("shield-1");
    let text = std::fs::read_to_string(&config).unwrap();
    let mut settings: toml::Table = text.parse().unwrap();
    let address = settings["control"]["address"].as_str().unwrap().to_owned();
    let relay = Relay::start(&address);
    settings["control"].as_table_mut().unwrap().insert("address".to_owned(), relay.address().into());
    cdn.kill("shield-1");
    std::fs::write(&config, toml::to_string(&settings).unwrap()).unwrap();
    cdn.start_again("shield-1");
    wait_until("the shield to follow", SOON, || cdn.follows("shield-1"));
    relay
}

#[test]
fn a_shield_that_is_held_behind_serves_nothing_that_was_purged() {
    let (origin, version) = versioned();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let relay = relayed(&mut cdn);
    for edge in [1, 2] {
        through_the_shield(&cdn, edge);
    }
    for path in ["/1", "/2"] {
        assert_eq!(get(cdn.edge(1), "a.test", path).text(), "version 1");
    }
    relay.hold(true);
    version.store(2, Ordering::SeqCst);
    cdn.skerry(&["purge", "--host", "a.test"]).fine();
    wait_until("the edges to have the purge", SOON, || cdn.follows("edge-1") && cdn.follows("edge-2"));
    // The first one waits for the shield, the others know that it is in vain.
    let began = Instant::now();
    let got = get(cdn.edge(1), "a.test", "/1");
    assert_eq!((got.text().as_str(), got.at("shield-1").as_str()), ("version 2", "fwd=bypass"), "{got:?}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    for path in ["/2", "/3", "/4"] {
        let began = Instant::now();
        let got = get(cdn.edge(2), "a.test", path);
        assert_eq!((got.text().as_str(), got.at("shield-1").as_str()), ("version 2", "fwd=bypass"), "{got:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{path}: {:?}", began.elapsed());
    }
    relay.hold(false);
    wait_until("the shield to follow", SOON, || cdn.follows("shield-1"));
    let got = get(cdn.edge(1), "a.test", "/2");
    assert_eq!((got.text().as_str(), got.at("shield-1").as_str()), ("version 2", "fwd=uri-miss"), "{got:?}");
}

/// Waits until an edge, which leaves a shield alone for a moment that it could not reach, asks it again.
fn through_the_shield(cdn: &Cdn, edge: usize) {
    let mut paths = 0..;
    wait_until("the way through the shield", SOON, || {
        let path = format!("/{edge}/{}", paths.next().unwrap_or(0));
        get(cdn.edge(edge), "a.test", &path).field("cache-status").contains("shield-1")
    });
}

#[test]
fn numbers_of_a_control_plane_that_was_put_back_count_for_nothing_at_a_shield() {
    let (origin, version) = versioned();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let relay = relayed(&mut cdn);
    cdn.kill("control");
    let earlier = cdn.data("control-earlier");
    copy(&cdn.data("control"), &earlier);
    cdn.start_again("control");
    wait_until("all to follow", SOON, || ["shield-1", "edge-1", "edge-2"].iter().all(|node| cdn.follows(node)));
    // The shield hears of more purges than the edges.
    cdn.kill("edge-1");
    cdn.kill("edge-2");
    for _ in 0..6 {
        cdn.skerry(&["purge", "--host", "other.test"]).fine();
    }
    wait_until("the shield to have them", SOON, || cdn.follows("shield-1"));
    relay.hold(true);
    cdn.kill("control");
    // It forgets them, and gives other purges their numbers.
    std::fs::remove_dir_all(cdn.data("control")).unwrap();
    copy(&earlier, &cdn.data("control"));
    cdn.start_again("control");
    cdn.start_again("edge-1");
    wait_until("the edge to follow", SOON, || cdn.follows("edge-1"));
    through_the_shield(&cdn, 1);
    assert_eq!(get(cdn.edge(1), "a.test", "/page").text(), "version 1");
    version.store(2, Ordering::SeqCst);
    for _ in 0..3 {
        cdn.skerry(&["purge", "--host", "a.test"]).fine();
    }
    wait_until("the edge to have them", SOON, || cdn.follows("edge-1"));
    let got = get(cdn.edge(1), "a.test", "/page");
    assert_eq!((got.text().as_str(), got.at("shield-1").as_str()), ("version 2", "fwd=bypass"), "{got:?}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    crate::house::run(std::process::Command::new("cp").arg("-r").arg(from).arg(to)).fine();
}
