//! What an edge does when its shield is no help.

use std::time::Duration;

use crate::house::cdn::SOON;
use crate::house::{Cdn, Ran, Reply, Scripted, curl, get, run, wait_until};

/// A site of one host, under the name that keeps `skerry dev` from serving every other host.
fn site(name: &str, host: &str, origin: &Scripted) -> String {
    format!("name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\nurls = [\"{}\"]\n", origin.url())
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    run(std::process::Command::new("cp").arg("-r").arg(from).arg(to)).fine();
}

/// Has a site in force everywhere, then takes the shield back to before it, with nobody to tell it.
fn ahead_of_shield(cdn: &mut Cdn, new: &str) {
    let place = tempfile::tempdir().unwrap();
    let earlier = place.path().join("shield");
    copy(&cdn.data("shield-1"), &earlier);
    cdn.skerry(&["site", "apply", &cdn.file("new.toml", new), "--wait", "30s"]).fine();
    wait_until("the site", SOON, || ["edge-1", "shield-1"].iter().all(|name| cdn.follows(name)));
    cdn.kill("control");
    cdn.kill("shield-1");
    std::fs::remove_dir_all(cdn.data("shield-1")).unwrap();
    copy(&earlier, &cdn.data("shield-1"));
    cdn.start_again("shield-1");
}

#[test]
fn a_shield_behind_its_edge_is_passed_by() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", &String::from_utf8_lossy(&seen.body)));
    let place = tempfile::tempdir().unwrap();
    let first = place.path().join("first.toml");
    std::fs::write(&first, site("default", "old.test", &origin)).unwrap();
    let mut cdn = Cdn::start(&["--site", first.to_str().unwrap()]);
    ahead_of_shield(&mut cdn, &site("new", "new.test", &origin));
    assert_eq!(get(cdn.edge(1), "new.test", "/2").status, 200);
    let sent = curl(&["--header", "Host: new.test", "--data-binary", "hello", &format!("http://{}/3", cdn.edge(1))]);
    assert_eq!((sent.status, sent.text().as_str()), (200, "hello"));
    assert_eq!(origin.seen("/3").len(), 1);
    assert_eq!(get(cdn.edge(1), "strange.test", "/").status, 421);
}

#[test]
fn a_shield_that_has_the_host_for_another_site_is_passed_by() {
    let [every, new] = ["every", "new"].map(|says| Scripted::start(move |_| Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", says)));
    let mut cdn = Cdn::start(&["--origin", &every.url()]);
    assert_eq!(get(cdn.edge(1), "new.test", "/1").text(), "every");
    ahead_of_shield(&mut cdn, &site("new", "new.test", &new));
    assert_eq!(get(cdn.edge(1), "new.test", "/2").text(), "new");
    let sent = curl(&["--header", "Host: new.test", "--data-binary", "hello", &format!("http://{}/3", cdn.edge(1))]);
    assert_eq!(sent.text(), "new");
    assert_eq!(get(cdn.edge(1), "other.test", "/4").text(), "every");
    assert_eq!(every.seen("/4").len(), 1);
}

#[test]
fn an_origin_that_says_it_is_not_asked_rightly_is_believed() {
    let origin = Scripted::start(|_| Reply::whole("421 Misdirected Request", "Cache-Control: no-store\r\n", "not here"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    assert_eq!((get(cdn.edge(1), "a.test", "/1").status, origin.seen("/1").len()), (421, 1));
    let sent = curl(&["--header", "Host: a.test", "--data-binary", "hello", &format!("http://{}/2", cdn.edge(1))]);
    assert_eq!((sent.status, origin.seen("/2").len()), (421, 1));
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

/// Asks a shield itself, as whom a certificate and its key say; what curl says to it.
fn knock(cdn: &Cdn, identity: Option<[&std::path::Path; 2]>) -> Ran {
    let mut command = std::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--max-time", "20", "--noproxy", "*", "--header", "Host: a.test"]);
    command.args(["--write-out", " %{http_code}"]).arg(format!("https://{}/", cdn.at("/shields/0/tier")));
    if let Some([certificate, key]) = identity {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    run(&mut command)
}

#[test]
fn a_shield_answers_edges_of_its_own_cdn_and_nobody_else() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "there"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let of = |node: &str| ["node.crt", "node.key"].map(|name| cdn.data(node).join(name));
    let (edge, shield) = (of("edge-1"), of("shield-1"));
    let own = knock(&cdn, Some([&edge[0], &edge[1]])).fine();
    assert_eq!(own.stdout, "there 200");
    let asked = origin.seen("/").len();
    // The same name, from an authority of its own.
    let forged = ["forged.crt", "forged.key"].map(|name| cdn.data(name));
    let mut forge = std::process::Command::new("openssl");
    forge.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=edge-1",
    ]);
    forge.args(["-addext", "subjectAltName=URI:spiffe://skerry/edge/edge-1", "-out"]).arg(&forged[0]).arg("-keyout").arg(&forged[1]);
    run(&mut forge).fine();
    for (who, identity) in [
        ("nobody", None),
        ("a shield", Some([shield[0].as_path(), shield[1].as_path()])),
        ("another authority's edge", Some([forged[0].as_path(), forged[1].as_path()])),
    ] {
        let refused = knock(&cdn, identity);
        assert!(refused.code != 0 && refused.stdout == " 000", "{who}: {refused:?}");
    }
    assert_eq!(origin.seen("/").len(), asked, "someone else had the shield ask");
}

#[test]
fn an_origin_that_is_this_cdn_is_a_loop_and_another_site_goes_on() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "there"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let looped = format!("name = \"loop\"\nhosts = [\"loop.test\"]\n[origin]\nurls = [\"http://{}\"]\n", cdn.edge(1));
    cdn.skerry(&["site", "apply", &cdn.file("loop.toml", &looped)]).fine();
    // Before both have it the answer would be that of the site for all other hosts, and be kept.
    wait_until("the site", SOON, || cdn.follows("edge-1") && cdn.follows("shield-1"));
    let got = get(cdn.edge(1), "loop.test", "/again");
    assert_eq!((got.status, got.text().as_str()), (508, "the request has been here before\n"));
    assert!(origin.seen("/again").is_empty());
    assert_eq!(get(cdn.edge(1), "a.test", "/").text(), "there");
}
