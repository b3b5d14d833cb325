//! What an edge does when its shield is no help.

use std::time::Duration;

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, curl, get, run, wait_until};

/// A site of one host, under the name that keeps `skerry dev` from serving every other host.
fn site(name: &str, host: &str, origin: &Scripted) -> String {
    format!("name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\nurls = [\"{}\"]\n", origin.url())
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    run(std::process::Command::new("cp").arg("-r").arg(from).arg(to)).fine();
}

#[test]
fn a_shield_behind_its_edge_is_passed_by() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", &String::from_utf8_lossy(&seen.body)));
    let place = tempfile::tempdir().unwrap();
    let first = place.path().join("first.toml");
    std::fs::write(&first, site("default", "old.test", &origin)).unwrap();
    let mut cdn = Cdn::start(&["--site", first.to_str().unwrap()]);
    let earlier = place.path().join("shield");
    copy(&cdn.data("shield-1"), &earlier);
    cdn.skerry(&["site", "apply", &cdn.file("new.toml", &site("new", "new.test", &origin))]).fine();
    wait_until("the site", SOON, || get(cdn.edge(1), "new.test", "/1").status == 200);
    // The shield comes back as it was before the site, with nobody to tell it.
    cdn.kill("control");
    cdn.kill("shield-1");
    std::fs::remove_dir_all(cdn.data("shield-1")).unwrap();
    copy(&earlier, &cdn.data("shield-1"));
    cdn.start_again("shield-1");
    assert_eq!(get(cdn.edge(1), "new.test", "/2").status, 200);
    let sent = curl(&["--header", "Host: new.test", "--data-binary", "hello", &format!("http://{}/3", cdn.edge(1))]);
    assert_eq!((sent.status, sent.text().as_str()), (200, "hello"));
    assert_eq!(origin.seen("/3").len(), 1);
    assert_eq!(get(cdn.edge(1), "strange.test", "/").status, 421);
}

#[test]
fn a_shield_that_dies_with_a_request_costs_no_answer() {
    let origin = Scripted::start(|seen| {
        // The shield is gone before this answer; the edge asks again by itself.
        if seen.line().contains(" /wait ") && seen.head.to_ascii_lowercase().contains("cdn-loop: shield-1.") {
            std::thread::park_timeout(Duration::from_secs(20));
        }
        Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "there")
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| get(cdn.edge(1), "a.test", "/wait"));
        wait_until("the request at the origin", SOON, || !origin.seen("/wait").is_empty());
        cdn.kill("shield-1");
        let got = client.join().unwrap();
        assert_eq!((got.status, got.text().as_str()), (200, "there"));
    });
    assert_eq!(get(cdn.edge(1), "a.test", "/next").text(), "there");
}
