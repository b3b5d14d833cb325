//! Origins that die, and clients that ask in odd ways.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::house::{Cdn, Reply, Scripted, curl, get};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

fn origin() -> Scripted {
    Scripted::start(|seen| match seen.line().split(' ').nth(1).unwrap_or_default() {
        "/length" => Reply::bytes(&format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 100\r\n\r\nhello")).then_close(),
        "/chunks" => Reply::bytes(&format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")).then_close(),
        "/coded" => Reply::bytes(&format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")),
        "/named" => Reply::whole("200 OK", "Connection: x-secret\r\nX-Secret: 1\r\nX-Plain: 1\r\n", "ok"),
        _ => Reply::whole("200 OK", FRESH, "whole"),
    })
}

#[test]
fn half_a_body_is_never_whole_and_never_stored() {
    let (origin, place) = (origin(), tempfile::tempdir().unwrap());
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for path in ["/length", "/chunks"] {
        for version in ["--http1.1", "--http2-prior-knowledge", "--http1.1"] {
            let status = Command::new("curl")
                .args(["--silent", "--fail", "--max-time", "20", version, "--output"])
                .arg(place.path().join("body"))
                .arg(format!("http://{}{path}", cdn.edge(1)))
                .status()
                .unwrap();
            assert!(!status.success(), "{path} {version}: half a body looked whole");
        }
        assert!(origin.seen(path).len() >= 3, "{path} came out of a store");
    }
    assert_eq!(get(cdn.edge(1), "a.test", "/coded").status, 502);
    assert_eq!(get(cdn.edge(1), "a.test", "/").text(), "whole");
}

#[test]
fn an_offer_of_another_protocol_is_no_way_past_the_cache() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let url = format!("http://{}/offer", cdn.edge(1));
    get(cdn.edge(1), "a.test", "/offer");
    // Over cleartext curl offers h2c with this.
    let got = curl(&["--http2", "--header", "Host: a.test", &url]);
    assert!(got.is_hit_at("edge-1"), "{got:?}");
}

#[test]
fn what_connection_names_in_an_answer_stays_on_the_connection() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let got = curl(&["--data-binary", "x", &format!("http://{}/named", cdn.edge(1))]);
    assert_eq!((got.status, got.field("x-plain").as_str(), got.field("x-secret").as_str()), (200, "1", ""));
}

#[test]
fn requests_sent_ahead_are_answered_in_turn() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let mut stream = TcpStream::connect(cdn.edge(1)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let upload = "POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab";
    let ahead = format!("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n{upload}GET /b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    stream.write_all(ahead.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answers}");
}
