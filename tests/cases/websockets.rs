//! WebSockets through edge and shield, with a client and a server nobody here wrote.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::house::cdn::SOON;
use crate::house::python::{Script, python};
use crate::house::{Cdn, Reply, Scripted, wait_until};

fn cdn(more: &str) -> (Script, Cdn) {
    let origin = Script::start("ws_server.py", &[]);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.toml");
    let site = format!("name = \"default\"\nhosts = [\"ws.test\"]\n[origin]\nurls = [\"http://127.0.0.1:{}\"]\n{more}\n", origin.address());
    std::fs::write(&file, site).unwrap();
    let cdn = Cdn::start(&["--site", file.to_str().unwrap()]);
    (origin, cdn)
}

/// After how many seconds a socket was closed that had a reason to be.
fn closed_after(cdn: &Cdn, what: &str) -> f64 {
    let ran = python("ws_client.py", &[cdn.edge(1), what]).fine();
    let (seconds, code) = ran.stdout.trim().split_once(' ').unwrap();
    // RFC 6455 section 7.1.5: without a word.
    assert_eq!(code, "1006", "{ran:?}");
    seconds.parse().unwrap()
}

#[test]
fn many_and_large_frames_pings_and_close_codes_go_both_ways() {
    let (origin, cdn) = cdn("");
    for way in ["through the shield", "past it"] {
        python("ws_client.py", &[cdn.edge(1), "echo"]).fine();
        if way == "through the shield" {
            cdn.kill("shield-1");
        }
    }
    wait_until("the ends of all", SOON, || origin.notes().len() == 6);
    let mut notes = origin.notes();
    notes.sort();
    assert_eq!(notes[..2], ["/close 4001 enough", "/close 4001 enough"], "{notes:?}");
    assert_eq!(notes.iter().filter(|note| *note == "/echo 4002 done").count(), 2, "{notes:?}");
}

#[test]
fn one_with_every_buffer_full_both_ways_goes_on_when_one_side_reads() {
    let (origin, cdn) = cdn("");
    python("ws_client.py", &[cdn.edge(1), "full"]).fine();
    cdn.kill("shield-1");
    python("ws_client.py", &[cdn.edge(1), "full"]).fine();
    wait_until("the ends of both", SOON, || origin.notes().len() == 2);
    assert_eq!(origin.notes(), ["/late 4002 done", "/late 4002 done"]);
}

#[test]
fn half_a_minute_of_silence_is_no_reason_to_close_it() {
    let (_origin, cdn) = cdn("");
    python("ws_client.py", &[cdn.edge(1), "idle", "31"]).fine();
}

#[test]
fn it_is_closed_when_it_is_idle_for_too_long_but_not_while_one_side_talks() {
    let (origin, cdn) = cdn("[pass]\nwebsocket_idle_timeout = \"2s\"");
    python("ws_client.py", &[cdn.edge(1), "push"]).fine();
    let seconds = closed_after(&cdn, "closed");
    assert!((2.0..20.0).contains(&seconds), "{seconds}");
    // The origin is told as well.
    wait_until("the ends of both", SOON, || origin.notes().len() == 2);
}

#[test]
fn it_is_closed_when_its_whole_time_is_over() {
    let (_origin, cdn) = cdn("[pass]\nwebsocket_timeout = \"3s\"");
    let seconds = closed_after(&cdn, "busy");
    assert!((3.0..20.0).contains(&seconds), "{seconds}");
}

/// Sends these bytes to the edge, and what it says up to the end of the connection, or until `until` is among it.
fn say(cdn: &Cdn, bytes: &[u8], until: &str) -> String {
    let mut client = TcpStream::connect(cdn.edge(1)).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.write_all(bytes).unwrap();
    let (mut said, mut room) = (Vec::new(), [0; 4096]);
    loop {
        let read = client.read(&mut room).unwrap();
        said.extend_from_slice(&room[..read]);
        let text = String::from_utf8_lossy(&said);
        if read == 0 || (!until.is_empty() && text.contains(until)) {
            return text.into_owned();
        }
    }
}

fn asks(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: ws.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[test]
fn what_is_sent_right_behind_the_head_comes_along_and_either_end_ends_both() {
    let (origin, mut cdn) = cdn("");
    cdn.kill("edge-1");
    cdn.start_again_with("edge-1", &[("RUST_LOG", "info,skerry::access=debug")]);
    let log = |cdn: &Cdn| std::fs::read_to_string(cdn.data("edge-1-again.log")).unwrap();
    let told = |cdn: &Cdn| log(cdn).lines().filter(|line| line.contains("/echo") && line.contains(" status=101 bytes=4 ")).count();
    // A text of two bytes, whose mask changes nothing.
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    for number in 1..=2 {
        let mut client = TcpStream::connect(cdn.edge(1)).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client.write_all(&[asks("/echo").as_bytes(), &frame].concat()).unwrap();
        let (mut said, mut room) = (Vec::new(), [0; 4096]);
        while !said.ends_with(b"\r\n\r\n\x81\x02hi") {
            let read = client.read(&mut room).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&room[..read]);
        }
        // Half of it closed is all of it.
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut room).unwrap(), 0);
        wait_until("the end of it", SOON, || origin.notes().len() == number);
        wait_until("its line in the access log", SOON, || told(&cdn) == number);
        if number == 1 {
            cdn.kill("shield-1");
        }
    }
    assert_eq!(origin.notes(), ["/echo 1006 ", "/echo 1006 "]);
}

/// What an origin says in place of the 101 that it was asked for.
fn unwilling() -> Scripted {
    Scripted::start(|seen| {
        let path = seen.line().split(' ').nth(1).unwrap_or_default().to_owned();
        match &*path {
            "/whole" => Reply::whole("200 OK", "X-A: 1\r\n", "hello"),
            "/chunked" => Reply::bytes(
                "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ),
            "/to-the-end" => Reply::bytes("HTTP/1.1 403 Forbidden\r\n\r\nhello").then_close(),
            "/empty" => Reply::bytes("HTTP/1.1 204 No Content\r\n\r\n"),
            "/short" => Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").then_close(),
            "/other" => Reply::bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nhello"),
            "/old" => Reply::bytes("HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"),
            "/length" => {
                let head =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\nhello";
                Reply::bytes(head).then_close()
            }
            _ => Reply::whole("200 OK", "", &format!("of {path}")),
        }
    })
}

#[test]
fn an_upgrade_that_is_refused_is_an_ordinary_answer() {
    let origin = unwilling();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for way in ["through the shield", "past it"] {
        if way == "past it" {
            cdn.kill("shield-1");
        }
        // The connection is good for another request afterwards.
        for (path, status, body) in [
            ("/whole", "200", "hello"),
            ("/chunked", "404", "5\r\nhello\r\n0\r\n"),
            ("/to-the-end", "403", "5\r\nhello\r\n0\r\n"),
            ("/empty", "204", ""),
        ] {
            let said = say(&cdn, (asks(path) + "GET /next HTTP/1.1\r\nHost: ws.test\r\n\r\n").as_bytes(), "of /next");
            let (head, rest) = said.split_once(&format!("HTTP/1.1 {status} ")).unwrap_or_else(|| panic!("{path} {way}: {said}"));
            assert_eq!(head.contains("x-early: 1") || head.contains("X-Early: 1"), path == "/chunked", "{path} {way}: {said}");
            let (head, rest) = rest.split_once("\r\n\r\n").unwrap();
            assert!(!head.to_ascii_lowercase().contains("upgrade"), "{path} {way}: {said}");
            assert!(
                rest.starts_with(&format!("{body}{}HTTP/1.1 200 OK", if body.ends_with('\n') { "\r\n" } else { "" })),
                "{path} {way}: {said}"
            );
        }
        let said = say(&cdn, asks("/short").as_bytes(), "");
        assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("hello"), "{way}: {said}");
    }
}

#[test]
fn another_protocol_than_was_asked_for_is_a_502() {
    let origin = unwilling();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for way in ["through the shield", "past it"] {
        if way == "past it" {
            cdn.kill("shield-1");
        }
        for path in ["/other", "/old"] {
            let said = say(&cdn, asks(path).as_bytes(), "\r\n\r\n");
            assert!(said.starts_with("HTTP/1.1 502 ") && said.contains("detail=unasked-101"), "{path} {way}: {said}");
        }
        // What ends with the head has none that could tell its length.
        let said = say(&cdn, asks("/length").as_bytes(), "");
        assert!(said.starts_with("HTTP/1.1 101 ") && said.ends_with("\r\n\r\nhello"), "{way}: {said}");
        assert!(!said.to_ascii_lowercase().contains("content-length"), "{way}: {said}");
    }
}
