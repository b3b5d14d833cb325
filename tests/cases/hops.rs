//! What belongs to one hop ends there, whichever way a request takes, and every client gets what its protocol has.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::grpc::certificate;
use crate::house::cdn::SOON;
use crate::house::python::Script;
use crate::house::{Cdn, Reply, Scripted, curl, wait_until};

/// Everything the edge says to `text`, until it closes the connection.
fn say(cdn: &Cdn, text: &str) -> String {
    let mut stream = TcpStream::connect(cdn.edge(1)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    String::from_utf8(said).unwrap()
}

/// With its shield, and with none that can be reached.
fn both_ways(origin: &Scripted, check: impl Fn(&Cdn)) {
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    check(&cdn);
    cdn.kill("shield-1");
    // A request that may not be repeated is lost on a connection of which nobody knows yet that it has ended.
    let past = || curl(&["--request", "POST", &format!("http://{}/past", cdn.edge(1))]).status == 200;
    wait_until("the way past the shield", SOON, past);
    check(&cdn);
}

#[test]
fn fields_of_the_origins_connection_reach_no_client() {
    let of_hop = "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
        Upgrade: h2, h2c\r\nTE: gzip\r\nX-Kept: 1\r\n";
    let origin = Scripted::start(move |_| Reply::whole("200 OK", of_hop, "hello"));
    both_ways(&origin, |cdn| {
        let url = format!("http://{}/hop", cdn.edge(1));
        for (version, method) in [("--http1.1", "GET"), ("--http1.1", "POST"), ("--http2-prior-knowledge", "POST")] {
            let got = curl(&[version, "--request", method, &url]);
            assert_eq!((got.status, got.field("x-kept").as_str(), got.text().as_str()), (200, "1", "hello"), "{version} {method}: {got:?}");
            for name in ["x-hop", "keep-alive", "proxy-connection", "proxy-authenticate", "upgrade", "te"] {
                assert_eq!(got.field(name), "", "{version} {method}: {name}");
            }
        }
    });
}

#[test]
fn what_connection_names_goes_no_further_however_much_it_is() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", "", &seen.head.to_ascii_lowercase()));
    let many = (0..20).map(|number| format!("x-{number}")).collect::<Vec<_>>().join(", ");
    both_ways(&origin, |cdn| {
        for options in ["close", "host", "x-forwarded-for, cookie", &many] {
            for upgrade in ["h2c", "websocket"] {
                for method in ["GET", "POST"] {
                    let fields = format!(
                        "Connection: {options}\r\nConnection: close\r\nX-19: 1\r\nCookie: a=b\r\nUpgrade: {upgrade}\r\nSkerry-Scheme: x"
                    );
                    let said = say(cdn, &format!("{method} /named HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n{fields}\r\n\r\n"));
                    let (head, seen) = said.split_once("\r\n\r\n").unwrap();
                    assert!(head.starts_with("HTTP/1.1 200 ") && seen.contains("host: a.test"), "{method} {options}: {said}");
                    for (name, named) in
                        [("x-19", options == many), ("cookie", options.ends_with("cookie")), ("upgrade", true), ("skerry-scheme", true)]
                    {
                        assert_eq!(seen.contains(&format!("\r\n{name}: ")), !named, "{method} {options}: {name}: {said}");
                    }
                }
            }
        }
    });
}

#[test]
fn an_origin_is_asked_for_a_path_whatever_form_the_target_had() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", "", seen.line()));
    both_ways(&origin, |cdn| {
        for (target, path) in [("http://a.test/up?q", "/up?q"), ("HTTPS://a.test?q", "/?q"), ("http://a.test", "/")] {
            let said = say(cdn, &format!("POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"));
            assert!(said.ends_with(&format!("\r\n\r\nPOST {path} HTTP/1.1")), "{target}: {said}");
        }
    });
}

#[test]
fn rfc9112_6_1_a_client_of_http_1_0_gets_no_chunks() {
    let origin = Scripted::start(|_| Reply::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    both_ways(&origin, |cdn| {
        for method in ["GET", "POST"] {
            for connection in ["close", "keep-alive"] {
                let said =
                    say(cdn, &format!("{method} /old HTTP/1.0\r\nHost: a.test\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n"));
                let (head, body) = said.split_once("\r\n\r\n").unwrap();
                let head = head.to_ascii_lowercase();
                assert!(head.contains("connection: close") && !head.contains("transfer-encoding"), "{method} {connection}: {said}");
                assert_eq!(body, "hello", "{method} {connection}");
            }
        }
    });
}

#[test]
fn who_is_told_of_a_failure_is_told_that_the_connection_ends_with_it() {
    let origin = Scripted::start(|_| Reply::bytes("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    cdn.kill("shield-1");
    let said = say(&cdn, "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    let head = said.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 502 ") && head.contains("detail=unasked-101") && head.contains("connection: close"), "{said}");
}

#[test]
fn what_may_be_asked_twice_outlives_the_end_of_a_kept_connection() {
    let place = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(place.path());
    let origin = Script::start("h2_trailers.py", &["serve", &cert, &key]);
    let file = place.path().join("site.toml");
    let urls = format!("[origin]\nurls = [\"https://127.0.0.1:{}\"]\nhttp_version = \"2\"\nverify_tls = false\n", origin.address());
    std::fs::write(&file, format!("name = \"default\"\nhosts = [\"a.test\"]\n{urls}")).unwrap();
    let cdn = Cdn::start(&["--site", file.to_str().unwrap()]);
    let ask = |method: &str| {
        let url = format!("http://{}/up", cdn.edge(1));
        curl(&["--header", "Host: a.test", "--request", method, "--data-binary", "hello", &url]).status
    };
    for way in ["through the shield", "past it"] {
        let closed = || origin.notes().iter().filter(|note| *note == "closed").count();
        let before = closed();
        // On each connection the first one is answered; the second finds that it ends.
        assert_eq!([ask("PUT"), ask("PUT"), ask("DELETE")], [200; 3], "{way}");
        assert_eq!(closed() - before, 2, "{way}");
        assert_eq!([ask("POST"), ask("POST")], [502, 200], "{way}: asking twice may be two orders");
        assert_eq!(ask("PUT"), 200, "{way}");
        if way == "through the shield" {
            cdn.kill("shield-1");
        }
    }
}
