//! Interim answers (1xx) of an origin through both tiers, to the one client whose request reached it.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::house::cdn::SOON;
use crate::house::{Cdn, Held, Reply, Scripted, run};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];
const EARLY: &str = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\nCache-Tag: t\r\nX-Early: 1\r\n\r\n";

fn origin() -> Scripted {
    Scripted::start(|seen| {
        let control = if seen.line().contains("/private") { "no-store" } else { "max-age=60" };
        let last =
            format!("HTTP/1.1 200 OK\r\nCache-Control: {control}\r\nSkerry-Interim: MTk5\r\nX-Last: 1\r\nContent-Length: 5\r\n\r\nhello");
        Reply::bytes(&format!("HTTP/1.1 100 Continue\r\n\r\n{EARLY}{last}"))
    })
}

/// The heads that a client is sent, in lower case, the final one last.
#[track_caller]
fn heads(edge: &str, version: &str, path: &str, more: &[&str]) -> Vec<String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "50", "--dump-header", "-", "--output", "/dev/null", version]).args(more);
    let said = run(command.args(["--header", "Host: a.test"]).arg(format!("http://{edge}{path}"))).fine().stdout;
    said.trim_end().split("\r\n\r\n").map(str::to_ascii_lowercase).collect()
}

fn statuses(heads: &[String]) -> Vec<&str> {
    heads.iter().filter_map(|head| head.split_ascii_whitespace().nth(1)).collect()
}

#[test]
fn they_reach_the_client_that_caused_the_fetch_and_no_other() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url(), "--edges", "2"]);
    for version in VERSIONS {
        for (number, expected) in [&["102", "103", "200"][..], &["200"]].into_iter().enumerate() {
            let heads = heads(cdn.edge(1), version, &format!("/{}", &version[2..]), &[]);
            assert_eq!(statuses(&heads), expected, "{version} {number}: {heads:#?}");
            let last = heads.last().unwrap();
            assert!(!last.contains("link:") && !last.contains("x-early") && last.contains("x-last"), "{version}: {heads:#?}");
            assert!(heads.iter().all(|head| !head.contains("skerry-interim") && !head.contains("cache-tag")), "{version}: {heads:#?}");
            if let Some(early) = heads.get(1) {
                assert!(early.contains("link: </a.css>; rel=preload") && early.contains("x-early: 1"), "{version}: {heads:#?}");
                assert!(!early.contains("x-hop") && !early.contains("max-age"), "{version}: {heads:#?}");
            }
        }
    }
    // The other edge is answered out of the shield's store.
    let stored = heads(cdn.edge(2), VERSIONS[0], "/http1.1", &[]);
    assert_eq!(statuses(&stored), ["200"], "{stored:#?}");
    assert_eq!(origin.seen("/http1.1").len(), 1);
}

#[test]
fn they_come_each_time_where_nothing_is_stored_and_never_to_http_1_0() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, more) in VERSIONS.into_iter().flat_map(|version| [(version, &[][..]), (version, &["--head"]), (version, &[])]) {
        let heads = heads(cdn.edge(1), version, "/private", more);
        assert_eq!(statuses(&heads), ["102", "103", "200"], "{version} {more:?}: {heads:#?}");
    }
    let old = heads(cdn.edge(1), "--http1.0", "/private", &[]);
    assert_eq!(statuses(&old), ["200"], "{old:#?}");
}

#[test]
fn they_come_without_a_shield_too() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    cdn.kill("shield-1");
    for version in VERSIONS {
        let heads = heads(cdn.edge(1), version, &format!("/{}", &version[2..]), &[]);
        assert_eq!(statuses(&heads), ["102", "103", "200"], "{version}: {heads:#?}");
    }
}

#[test]
fn those_before_an_answer_that_is_passed_through_come_as_well() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for tries in ["through the shield", "past it"] {
        for version in VERSIONS {
            let heads = heads(cdn.edge(1), version, "/sent", &["--data-binary", "x"]);
            // Without a shield the 100 of the origin comes too, which is the answer to an expectation that reached it.
            let expected: &[&str] = if tries == "past it" { &["100", "102", "103", "200"] } else { &["102", "103", "200"] };
            assert_eq!(statuses(&heads), expected, "{version} {tries}: {heads:#?}");
            let (last, early) = heads.split_last().unwrap();
            assert!(!last.contains("link:") && !last.contains("x-early") && last.contains("x-last"), "{version} {tries}: {heads:#?}");
            assert!(early.last().unwrap().contains("link: </a.css>; rel=preload"), "{version} {tries}: {heads:#?}");
            for name in ["skerry-interim", "cache-tag", "x-hop"] {
                assert!(heads.iter().all(|head| !head.contains(name)), "{name} {version} {tries}: {heads:#?}");
            }
        }
        let old = heads(cdn.edge(1), "--http1.0", "/sent", &["--data-binary", "x"]);
        assert_eq!(statuses(&old), ["200"], "{tries}: {old:#?}");
        if tries == "through the shield" {
            cdn.kill("shield-1");
        }
    }
}

#[test]
fn an_origin_that_dies_after_one_is_a_502() {
    let origin = Scripted::start(|_| Reply::bytes(EARLY).then_close());
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for shield in ["through the shield", "past it"] {
        for (version, more) in VERSIONS.into_iter().flat_map(|version| [(version, &[][..]), (version, &["--data-binary", "x"])]) {
            let heads = heads(cdn.edge(1), version, "/dies", more);
            assert_eq!(statuses(&heads).last(), Some(&"502"), "{version} {more:?} {shield}: {heads:#?}");
        }
        if shield == "through the shield" {
            cdn.kill("shield-1");
        }
    }
}

#[test]
fn on_the_wire_they_are_heads_of_their_own() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let mut stream = TcpStream::connect(cdn.edge(1)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ask = |more: &str| format!("GET /wire HTTP/1.1\r\nHost: a.test\r\n{more}\r\n");
    stream.write_all([ask(""), ask("Connection: close\r\n")].concat().as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let lines: Vec<&str> = answers.lines().filter_map(|line| line.get(line.find("HTTP/1.1 ")?..)).collect();
    let codes: Vec<&str> = lines.iter().map(|line| &line[9..12]).collect();
    assert_eq!(codes, ["102", "103", "200", "200"], "{answers}");
    assert_eq!(answers.matches("hello").count(), 2, "{answers}");
}

/// A client that shows what it gets as it gets it: one head.
fn shown(from: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && from.read_line(&mut head).unwrap() > 0 {}
    head.to_ascii_lowercase()
}

/// Asks edge 1, over each version, and has the origin send the final head only when the client has shown the interim one.
#[track_caller]
fn assert_early(origin: &Held, edge: &str, path: &str, more: &[&str], about: &str) {
    for version in VERSIONS {
        let mut command = Command::new("curl");
        let time = SOON.as_secs().to_string();
        command.args([
            "--silent",
            "--show-error",
            "--no-buffer",
            "--dump-header",
            "-",
            "--max-time",
            &time,
            version,
            "--header",
            "Host: a.test",
        ]);
        let mut client = command.args(more).arg(format!("http://{edge}{path}/{version}")).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(client.stdout.take().unwrap());
        let (asked, reader) = origin.next();
        let mut origin_says = reader.get_ref();
        origin_says.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").unwrap();
        let early = shown(&mut said);
        assert!(early.contains(" 103") && early.contains("link: </a.css>; rel=preload"), "{about} {version}: {early:?}\n{asked}");
        let last = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        origin_says.write_all(last.as_bytes()).unwrap();
        let last = shown(&mut said);
        assert!(last.contains(" 200") && !last.contains("link:"), "{about} {version}: {last:?}");
        let mut body = String::new();
        said.read_to_string(&mut body).unwrap();
        assert_eq!(body, "hello", "{about} {version}");
        assert!(client.wait().unwrap().success(), "{about} {version}");
    }
}

#[test]
fn they_go_ahead_of_the_final_head_where_the_origin_is_asked_over_http_1_1() {
    let origin = Held::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    let sent = ["--header", "Expect: 100-continue", "--expect100-timeout", "0.001", "--data-binary", "x"];
    assert_early(&origin, cdn.edge(1), "/sent", &sent, "sent with an expectation, through the shield");
    cdn.kill("shield-1");
    assert_early(&origin, cdn.edge(1), "/passed", &["--data-binary", "x"], "passed, past the shield");
    assert_early(&origin, cdn.edge(1), "/missed", &[], "missed, past the shield");
    // What is stored by now has none.
    let stored = heads(cdn.edge(1), VERSIONS[0], &format!("/missed/{}", VERSIONS[0]), &[]);
    assert_eq!(statuses(&stored), ["200"], "{stored:#?}");
}
