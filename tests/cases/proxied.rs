//! Listeners behind load balancers: the address they tell is the client's, and nobody else may tell one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::house::cdn::SOON;
use crate::house::live::limit;
use crate::house::{Cdn, Reply, Scripted, curl, wait_until};

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";

/// Adds a listener behind the load balancers in `from`; where it listens.
#[track_caller]
fn behind(cdn: &Cdn, tls: bool, from: &str) -> SocketAddr {
    cdn.change(1, "applied", |settings| {
        let listener = format!("address = \"127.0.0.1:0\"\ntls = {tls}\nfrom = [\"{from}\"]").parse::<toml::Table>().unwrap();
        let listen = settings["listen"].as_table_mut().unwrap();
        listen.entry("proxied").or_insert_with(|| toml::Value::Array(Vec::new())).as_array_mut().unwrap().push(listener.into());
    });
    *cdn.listening(1, "proxied").last().unwrap()
}

/// What comes for these bytes, until the connection ends.
#[track_caller]
fn answer(to: SocketAddr, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(to).unwrap();
    connection.set_read_timeout(Some(SOON)).unwrap();
    let _ = connection.write_all(bytes);
    let mut answer = Vec::new();
    let ended = connection.read_to_end(&mut answer);
    assert!(ended.as_ref().err().is_none_or(|error| error.kind() == std::io::ErrorKind::ConnectionReset), "{ended:?}");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A header of version 2 for a connection of 192.0.2.9 over IPv4, or of the load balancer's own.
fn binary(command: u8) -> Vec<u8> {
    let addresses: &[u8] = &[192, 0, 2, 9, 198, 51, 100, 1, 0, 99, 1, 187];
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11, 0, 12][..], addresses].concat()
}

fn origin() -> Scripted {
    Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: no-store\r\n", "whole"))
}

/// The client that the origin was told of last.
fn told(origin: &Scripted) -> String {
    let seen = origin.seen("/a").pop().expect("a request at the origin");
    let field = seen.head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("x-forwarded-for: ").map(str::to_owned));
    field.unwrap_or_default()
}

fn refused(cdn: &Cdn, reason: &str) -> f64 {
    cdn.metric(1, &format!("skerry_edge_connections_refused_total{{reason=\"{reason}\"}}"))
}

#[test]
fn the_told_address_is_the_clients_everywhere() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let to = behind(&cdn, false, "127.0.0.0/8");
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n".to_vec(), "2001:db8::7"),
        (binary(0x21), "192.0.2.9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x20), "127.0.0.1"),
    ] {
        let got = answer(to, &[&header[..], REQUEST.as_bytes()].concat());
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("whole"), "{got}");
        assert_eq!(told(&origin), client, "behind {}", header.escape_ascii());
    }
    // HTTP/2 with prior knowledge, and curl's own header.
    let url = format!("http://{to}/a");
    let got = curl(&["--haproxy-protocol", "--http2-prior-knowledge", "--header", "Host: www.example.com", &url]);
    assert_eq!((got.text().as_str(), told(&origin).as_str()), ("whole", "127.0.0.1"));

    // The limit of one address counts the told one, not the load balancer's.
    cdn.change(1, "applied", |settings| limit(settings, "connections_per_address", 1));
    let hold = |client: &str| {
        let mut connection = TcpStream::connect(to).unwrap();
        connection.write_all(format!("PROXY TCP4 {client} 198.51.100.1 50000 443\r\n").as_bytes()).unwrap();
        connection
    };
    let held = [hold("192.0.2.1"), hold("192.0.2.2")];
    wait_until("both", SOON, || cdn.metric(1, "skerry_edge_connections{protocol=\"opening\"}") == 2.0);
    assert_eq!(answer(to, format!("PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n{REQUEST}").as_bytes()), "");
    assert_eq!(refused(&cdn, "address_connections"), 1.0);
    drop(held);
}

#[test]
fn tls_begins_behind_the_header() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let to = behind(&cdn, true, "127.0.0.1/32");
    let ask = ["--cacert", cdn.at("/control/ca"), "--connect-to", &format!("default.cdn.test:443:{to}")].map(str::to_owned);
    for version in ["--http1.1", "--http2", "--tls-max=1.2"] {
        let version: Vec<&str> = version.split('=').collect();
        let arguments: Vec<&str> = ask.iter().map(String::as_str).chain(version).collect();
        let got = curl(&[&arguments, &["--haproxy-protocol", "https://default.cdn.test/a"][..]].concat());
        assert_eq!((got.status, got.text().as_str()), (200, "whole"));
    }
    assert_eq!(
        answer(to, b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\nGET / HTTP/1.1\r\n\r\n").find("HTTP"),
        None,
        "no TLS, no answer"
    );
    assert_eq!(refused(&cdn, "handshake"), 1.0);
}

#[test]
fn who_may_not_tell_and_what_is_no_header_is_closed_and_counted() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let stranger = behind(&cdn, false, "10.0.0.0/8");
    let known = behind(&cdn, false, "127.0.0.1/32");
    cdn.change(1, "applied", |settings| limit(settings, "handshake_time", "300ms"));
    let told = format!("PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n{REQUEST}");
    assert_eq!(answer(stranger, told.as_bytes()), "");
    assert_eq!(answer(stranger, REQUEST.as_bytes()), "");
    assert_eq!(refused(&cdn, "proxy_address"), 2.0);
    let long = format!("PROXY UNKNOWN {}\r\n{REQUEST}", "x".repeat(200));
    let wrong: [&[u8]; 6] = [
        REQUEST.as_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\nGET / HTTP/1.1\r\n\r\n",
        long.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"PROXY TCP4 \xff\xff\r\n",
    ];
    for bytes in wrong {
        assert_eq!(answer(known, bytes), "", "{}", bytes.escape_ascii());
    }
    assert_eq!(refused(&cdn, "proxy_header"), wrong.len() as f64);
    assert_eq!(answer(known, b"PROXY TCP4 192.0"), "", "half a header");
    assert_eq!(refused(&cdn, "handshake_time"), 1.0);
    // A health check of the load balancer that only connects is nobody's fault.
    drop(TcpStream::connect(known).unwrap());
    assert!(answer(known, told.as_bytes()).starts_with("HTTP/1.1 200"), "the listener goes on");
    assert_eq!(refused(&cdn, "proxy_header"), wrong.len() as f64);
    assert_eq!(origin.seen("/a").len(), 1, "nothing refused reached the origin");
}
