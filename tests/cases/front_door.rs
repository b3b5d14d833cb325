//! The front door of HTTP/1.1: what it answers itself is what the full way would say, and what it refuses reaches nobody.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, curl, get};

const FRESH: &str = "Cache-Control: max-age=60\r\nETag: \"1\"\r\nX-Other: x\r\n";

/// Everything the edge says to `text`, until it closes the connection.
fn say(cdn: &Cdn, text: &str) -> String {
    let mut stream = TcpStream::connect(cdn.edge(1)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // What is refused early is not read to its end.
    let _ = stream.write_all(text.as_bytes());
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    String::from_utf8(said).unwrap()
}

/// How many answers there are.
fn answers(said: &str) -> usize {
    said.lines().filter(|line| line.starts_with("HTTP/1.1 ")).count()
}

fn metric(cdn: &Cdn, line: &str) -> u64 {
    let text = curl(&[&format!("{}/metrics", cdn.at("/edges/0/admin"))]).text();
    text.lines().find_map(|found| found.strip_prefix(line)).map_or(0, |value| value.trim().parse().unwrap())
}

#[test]
fn what_is_no_request_has_its_status_its_count_and_reaches_no_origin() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", FRESH, "hello"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let host = "Host: a.test\r\n";
    for (text, status, reason) in [
        (format!("GET /r HTTP/1.1\n{host}\n"), 400, "line-end"),
        (format!("GET /r HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"), 400, "line-end"),
        (format!("GET  /r HTTP/1.1\r\n{host}\r\n"), 400, "line"),
        (format!("GET /r http/1.1\r\n{host}\r\n"), 400, "line"),
        (format!("GET /r HTTP/2.0\r\n{host}\r\n"), 505, "version"),
        (format!("CONNECT a.test:80 HTTP/1.1\r\n{host}\r\n"), 501, "method"),
        (format!("GET /r HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"), 400, "field"),
        (format!("GET /r HTTP/1.1\r\n{host}X : a\r\n\r\n"), 400, "field"),
        ("GET /r HTTP/1.1\r\n\r\n".to_owned(), 400, "host"),
        (format!("GET /r HTTP/1.1\r\n{host}{host}\r\n"), 400, "host"),
        (format!("GET http://b.test/r HTTP/1.1\r\n{host}\r\n"), 400, "host"),
        (format!("GET r HTTP/1.1\r\n{host}\r\n"), 400, "target"),
        (format!("GET /r#s HTTP/1.1\r\n{host}\r\n"), 400, "target"),
        (format!("GET /r{} HTTP/1.1\r\n{host}\r\n", "a".repeat(17_000)), 414, "target-length"),
        (format!("GET /r HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(49_100)), 431, "head-length"),
        (format!("GET /r HTTP/1.1\r\n{host}{}\r\n", "X: a\r\n".repeat(130)), 431, "field-count"),
        (format!("POST /r HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "framing"),
        (format!("POST /r HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), 400, "framing"),
        (format!("POST /r HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "framing"),
        (format!("POST /r HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501, "coding"),
        (format!("POST /r HTTP/1.1\r\n{host}Content-Length: 1073741825\r\n\r\n"), 413, "body-length"),
    ] {
        let counter = format!("skerry_edge_refused_total{{reason=\"{reason}\"}}");
        let before = metric(&cdn, &counter);
        let said = say(&cdn, &format!("{text}GET /after HTTP/1.1\r\n{host}\r\n"));
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {said}");
        assert_eq!(answers(&said), 1, "{text:?}: {said}");
        for part in ["Connection: close", "Date: ", "Cache-Status: edge-1; detail=bad-request", "Content-Type: text/plain"] {
            assert!(said.to_ascii_lowercase().contains(&part.to_ascii_lowercase()), "{text:?}: {part}: {said}");
        }
        assert_eq!(metric(&cdn, &counter), before + 1, "{text:?}");
    }
    assert!(origin.seen("/r").is_empty() && origin.seen("/after").is_empty());
    assert_eq!(get(cdn.edge(1), "a.test", "/fine").text(), "hello");
}

#[test]
fn wrong_chunks_are_400_and_their_request_never_ends_at_the_origin() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "", "hello"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let head = "POST /r HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["5\r\nhelloGET /s HTTP/1.1\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "g\r\n", "5\r\nhello\r\n0\r\nGET /s HTTP/1.1\r\n\r\n"] {
        let said = say(&cdn, &format!("{head}{chunks}GET /s HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert!(said.starts_with("HTTP/1.1 400 ") && answers(&said) == 1, "{chunks:?}: {said}");
    }
    assert_eq!(metric(&cdn, "skerry_edge_refused_total{reason=\"chunk\"}"), 4);
    assert!(origin.seen("/s").is_empty() && origin.seen("/r").is_empty(), "a broken body became a request");
}

#[test]
fn a_hit_is_the_same_answer_whichever_way_it_takes() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", FRESH, "hello"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let url = format!("http://{}/page", cdn.edge(1));
    let ask = |more: &[&str]| curl(&[more, &["--header", "Host: a.test", &url]].concat());
    assert_eq!(ask(&[]).text(), "hello");
    // A condition that does not hold takes the full way to the same end.
    let (short, full) = (ask(&["--http1.1"]), ask(&["--http1.1", "--header", "If-None-Match: \"2\""]));
    assert!(short.is_hit_at("edge-1") && full.is_hit_at("edge-1"), "{short:?}\n{full:?}");
    let fields = |got: &crate::house::clients::Got| {
        let mut fields: Vec<_> =
            got.fields.iter().filter(|(name, _)| !["age", "cache-status", "connection"].contains(&name.as_str())).cloned().collect();
        fields.sort();
        (got.status, fields, got.text())
    };
    assert_eq!(fields(&short), fields(&full));
    assert!(!short.field("age").is_empty() && !short.field("date").is_empty() && short.field("x-other") == "x", "{short:?}");
    let head = ask(&["--http1.1", "--head"]);
    assert!(head.is_hit_at("edge-1") && head.field("content-length") == "5", "{head:?}");
    assert_eq!(ask(&["--http1.1", "--header", "If-None-Match: \"1\""]).status, 304);
    let range = ask(&["--http1.1", "--range", "1-3"]);
    assert_eq!((range.status, range.text().as_str()), (206, "ell"));
    assert_eq!(origin.seen("/page").len(), 1);
    assert_eq!(metric(&cdn, "skerry_edge_requests_total{cache=\"hit\",status=\"200\"}"), 3);
    cdn.skerry(&["purge", "--url", "http://a.test/page", "--wait", "10s"]).fine();
    assert!(!ask(&["--http1.1"]).is_hit_at("edge-1"));
}

#[test]
fn hits_and_misses_sent_ahead_are_answered_in_order() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", FRESH, &format!("<{}>", seen.line().split(' ').nth(1).unwrap())));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let upload = "POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";
    let mut stream = TcpStream::connect(cdn.edge(1)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let ahead = [
        &ask("/1"),
        &ask("/1"),
        &ask("/2"),
        upload,
        &ask("/1"),
        &ask("/2"),
        "GET /3 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    ];
    stream.write_all(ahead.concat().as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let _ = stream.shutdown(Shutdown::Both);
    let bodies: Vec<&str> = said.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
    assert_eq!(bodies, ["/1", "/1", "/2", "/up", "/1", "/2", "/3"], "{said}");
    assert_eq!(said.matches("edge-1; hit").count(), 3, "{said}");
}

#[test]
fn a_target_is_as_long_as_the_settings_allow_through_both_tiers() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", FRESH, "hello"));
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let (_, config) = cdn.process("edge-1");
    cdn.kill("edge-1");
    let settings = std::fs::read_to_string(&config).unwrap();
    assert_eq!(settings.matches("\ntarget = \"16KiB\"\n").count(), 1, "{settings}");
    std::fs::write(&config, settings.replace("\ntarget = \"16KiB\"\n", "\ntarget = \"40KiB\"\n")).unwrap();
    cdn.start_again("edge-1");
    for (version, letter) in [("--http1.1", "a"), ("--http2-prior-knowledge", "b")] {
        let ask = |length: usize| {
            let url = format!("http://{}/{}", cdn.edge(1), letter.repeat(length - 1));
            curl(&[version, "--header", "Host: a.test", &url])
        };
        let (first, second) = (ask(40 << 10), ask(40 << 10));
        assert_eq!((first.status, first.text().as_str()), (200, "hello"), "{version}");
        assert!(second.is_hit_at("edge-1"), "{version}: {:?}", second.field("cache-status"));
        assert_eq!(ask((40 << 10) + 1).status, 414, "{version}");
    }
}
