//! Origins that answer what is no HTTP, or what cannot be true, byte by byte: a named reason, nothing stored, and the CDN goes on.

use std::process::Command;

use crate::house::cdn::SOON;
use crate::house::clients::Got;
use crate::house::{Cdn, Reply, Scripted, curl, get, run, wait_until};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];
const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// Heads that are refused: a name, the bytes up to the body, and the reason given. The connection ends after them.
fn refused() -> Vec<(&'static str, String, &'static str)> {
    let ok = |lines: &str| format!("HTTP/1.1 200 OK\r\n{FRESH}{lines}\r\n");
    let sized = |lines: &str| ok(&format!("{lines}Content-Length: 5\r\n")) + "hello";
    let not_ok = |status: &str| format!("HTTP/1.1 {status}\r\n{FRESH}Content-Length: 5\r\n\r\nhello");
    vec![
        ("two-lengths", ok("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello!", "bad-length"),
        ("list-of-lengths", ok("Content-Length: 5, 6\r\n") + "hello!", "bad-length"),
        ("length-in-words", ok("Content-Length: five\r\n") + "hello", "bad-length"),
        ("negative-length", ok("Content-Length: -5\r\n") + "hello", "bad-length"),
        ("signed-length", ok("Content-Length: +5\r\n") + "hello", "bad-length"),
        ("empty-length", ok("Content-Length:\r\n") + "hello", "bad-length"),
        ("endless-length", ok("Content-Length: 99999999999999999999\r\n") + "hello", "bad-length"),
        ("length-and-chunks", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n", "bad-length"),
        ("coded", ok("Transfer-Encoding: gzip, chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n", "bad-coding"),
        ("nul", sized("X-A: a\0b\r\n"), "bad-head"),
        ("bare-cr", sized("X-A: a\rb\r\n"), "bad-head"),
        ("no-colon", sized("nonsense\r\n"), "bad-head"),
        ("name-with-space", sized("X A: 1\r\n"), "bad-head"),
        ("many-fields", sized(&"X-A: 1\r\n".repeat(300)), "head-too-large"),
        ("huge-field", sized(&format!("X-A: {}\r\n", "a".repeat(100_000))), "head-too-large"),
        ("endless-head", format!("HTTP/1.1 200 OK\r\nX-A: {}", "a".repeat(1_200_000)), "head-too-large"),
        ("garbage", "\u{16}\u{3}\u{1}\0\u{2}garbage\r\n\r\n".to_owned(), "bad-head"),
        ("http-0.9", "<html>hello</html>\r\n\r\n".to_owned(), "bad-head"),
        ("another-protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), "bad-head"),
        ("no-number", "HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(), "bad-head"),
        ("garbage-before", format!("garbage\r\n{}", sized("")), "bad-head"),
        ("status-999", not_ok("999 Odd"), "bad-head"),
        ("unasked-101", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(), "unasked-101"),
        ("unasked-206", not_ok("206 Partial Content\r\nContent-Range: bytes 0-4/10"), "unasked-206"),
        ("unasked-304", format!("HTTP/1.1 304 Not Modified\r\n{FRESH}ETag: \"1\"\r\n\r\n"), "unasked-304"),
        ("storm", format!("{}{}", "HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n".repeat(20), sized("")), "bad-head"),
        ("nothing", String::new(), "cut-short"),
        ("half-a-head", "HTTP/1.1 200 OK\r\nContent-Le".to_owned(), "cut-short"),
    ]
}

/// Bodies that break after a sound head.
fn broken() -> Vec<(&'static str, String)> {
    let chunked = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
    vec![
        ("short", format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 100\r\n\r\nhello")),
        ("size-in-words", format!("{chunked}5\r\nhello\r\nfive\r\nhello\r\n0\r\n\r\n")),
        ("negative-size", format!("{chunked}5\r\nhello\r\n-5\r\nhello\r\n0\r\n\r\n")),
        ("endless-size", format!("{chunked}5\r\nhello\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        ("no-crlf", format!("{chunked}5\r\nhelloXX5\r\nhello\r\n0\r\n\r\n")),
        ("half-a-chunk", format!("{chunked}5\r\nhello\r\nff\r\nhell")),
        ("no-last-chunk", format!("{chunked}5\r\nhello\r\n")),
    ]
}

fn origin() -> Scripted {
    Scripted::start(|seen| {
        let path = seen.line().split(' ').nth(1).unwrap_or_default();
        let name = path.trim_start_matches('/').split('?').next().unwrap_or_default();
        let said = refused().into_iter().map(|(found, bytes, _)| (found, bytes)).chain(broken()).find(|(found, _)| *found == name);
        match said {
            Some((_, bytes)) => Reply::bytes(&bytes).then_close(),
            None => Reply::whole("200 OK", FRESH, "whole"),
        }
    })
}

fn ask(cdn: &Cdn, version: &str, path: &str, more: &[&str]) -> Got {
    let url = format!("http://{}{path}", cdn.edge(1));
    curl(&[&[version, "--header", "Host: a.test"], more, &[url.as_str()]].concat())
}

#[test]
fn a_head_that_cannot_be_trusted_is_a_502_that_says_why() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (name, _, reason) in refused() {
        let path = format!("/{name}");
        for version in VERSIONS {
            let before = origin.seen(&path).len();
            let got = ask(&cdn, version, &path, &[]);
            assert_eq!(got.status, 502, "{name} {version}: {got:?}");
            assert!(got.field("cache-status").contains(&format!("detail={reason}")), "{name} {version}: {got:?}");
            assert!(origin.seen(&path).len() > before, "{name} {version} came out of a store");
        }
    }
    assert_eq!(get(cdn.edge(1), "a.test", "/fine").text(), "whole");
}

#[test]
fn what_is_passed_through_is_checked_as_well() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    // Of a length beside chunks Pingora passes on the chunks alone, which is what RFC 9112 section 6.3 says of it; interim answers are passed on.
    let passed = ["length-and-chunks", "storm"];
    for (name, _, reason) in refused().into_iter().filter(|(name, ..)| !passed.contains(name)) {
        for version in VERSIONS {
            let got = ask(&cdn, version, &format!("/{name}"), &["--data-binary", "x"]);
            assert_eq!(got.status, 502, "{name} {version}: {got:?}");
            assert!(got.field("cache-status").contains(&format!("detail={reason}")), "{name} {version}: {got:?}");
        }
    }
    assert_eq!(ask(&cdn, VERSIONS[0], "/fine", &["--data-binary", "x"]).text(), "whole");
}

#[test]
fn a_body_that_breaks_is_visibly_cut_and_never_stored() {
    let (origin, place) = (origin(), tempfile::tempdir().unwrap());
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (name, _) in broken() {
        for (version, more) in VERSIONS.into_iter().flat_map(|version| [(version, &[][..]), (version, &["--data-binary", "x"])]) {
            let before = origin.seen(&format!("/{name}")).len();
            let status = Command::new("curl")
                .args(["--silent", "--fail", "--max-time", "20", version, "--output"])
                .arg(place.path().join("body"))
                .args(more)
                .arg(format!("http://{}/{name}", cdn.edge(1)))
                .status()
                .unwrap();
            assert!(!status.success(), "{name} {version} {more:?}: half a body looked whole");
            assert!(origin.seen(&format!("/{name}")).len() > before, "{name} {version} came out of a store");
        }
    }
    assert_eq!(get(cdn.edge(1), "a.test", "/fine").text(), "whole");
}

#[test]
fn bytes_after_an_answer_are_never_the_next_answer() {
    let origin = Scripted::start(|seen| {
        let evil = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil";
        match seen.line() {
            line if line.contains("/long") => Reply::bytes(&format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 5\r\n\r\nhello{evil}")),
            line if line.contains("/chunks") => {
                Reply::bytes(&format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{evil}"))
            }
            line if line.contains("/empty") => Reply::bytes(&format!("HTTP/1.1 204 No Content\r\n\r\n{evil}")),
            _ => Reply::whole("200 OK", "Cache-Control: no-store\r\n", "whole"),
        }
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, more) in VERSIONS.into_iter().flat_map(|version| [(version, &[][..]), (version, &["--data-binary", "x"])]) {
        for (path, text) in [("/long", "hello"), ("/chunks", "hello"), ("/empty", "")] {
            let got = ask(&cdn, version, path, more);
            assert!(got.status < 300 && got.text() == text, "{path} {version} {more:?}: {got:?}");
            for next in ["/next", "/other"] {
                assert_eq!(ask(&cdn, version, next, &[]).text(), "whole", "after {path} {version} {more:?}");
            }
        }
    }
}

#[test]
fn an_origin_whose_tls_is_none_is_named_so() {
    let origin = origin();
    let cdn = Cdn::start(&[]);
    let url = origin.url().replace("http:", "https:");
    let site = format!("name = \"tls\"\nhosts = [\"tls.test\"]\n[origin]\nurls = [\"{url}\"]\n");
    cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site)]).fine();
    wait_until("the site", SOON, || cdn.follows("edge-1") && cdn.follows("shield-1"));
    for version in VERSIONS {
        let got = curl(&[version, "--header", "Host: tls.test", &format!("http://{}/", cdn.edge(1))]);
        assert!(got.status == 502 && got.field("cache-status").contains("detail=tls-failed"), "{got:?}");
    }
}

#[test]
fn interim_answers_are_never_the_answer_and_leave_nothing_in_it() {
    let origin = Scripted::start(|_| {
        let interim = "HTTP/1.1 102 Processing\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Early: 1\r\nCache-Control: max-age=9\r\n\r\n";
        Reply::bytes(&format!("{interim}HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 5\r\n\r\nhello"))
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, path) in VERSIONS.into_iter().zip(["/1", "/2"]) {
        for tries in 0..2 {
            let got = ask(&cdn, version, path, &[]);
            assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
            assert_eq!((got.field("x-early").as_str(), got.field("cache-control").as_str()), ("", "max-age=60"), "{got:?}");
            assert_eq!(got.is_hit_at("edge-1"), tries == 1, "{got:?}");
        }
        let sent = ask(&cdn, version, path, &["--data-binary", "x"]);
        assert_eq!((sent.status, sent.text().as_str(), sent.field("x-early").as_str()), (200, "hello", ""), "{sent:?}");
    }
}

#[test]
fn a_folded_field_is_one_line_and_a_length_said_twice_is_said_once() {
    let origin = Scripted::start(|_| {
        Reply::bytes(&format!("HTTP/1.1 200 OK\r\n{FRESH}X-Folded: one\r\n  two\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"))
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for version in VERSIONS {
        for more in [&[][..], &["--data-binary", "x"]] {
            let got = ask(&cdn, version, "/", more);
            assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
            assert_eq!((got.field("x-folded").as_str(), got.field("content-length").as_str()), ("one two", "5"), "{got:?}");
        }
    }
    let head = run(Command::new("curl").args(["--silent", "--include", &format!("http://{}/", cdn.edge(1))])).fine().stdout;
    assert!(head.contains("\r\nX-Folded: one two\r\n") || head.contains("\r\nx-folded: one two\r\n"), "{head:?}");
}
