//! What Pingora reads and writes of a connection, over a socket.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::client::{Protocol, Samples};
use crate::connection::{Io, Kernel};

const NOW: &str = "HTTP/1.1 200 OK\r\nX-Date: Date: no\r\nDate: Sun, 22 Nov 2026 22:00:00 GMT\r\nContent-Length: 4\r\n\r\n";
const THEN: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";

fn then() -> Option<HeaderValue> {
    Some(HeaderValue::from_static(THEN))
}

fn dated(text: &str) -> String {
    text.replace("Sun, 22 Nov 2026 22:00:00 GMT", THEN)
}

/// A connection handed over, and its far end.
async fn handed(body: Body, early: &str, length_max: u64) -> (Handed, TcpStream, Slot) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, address) = listener.accept().await.unwrap();
    near.set_nodelay(true).unwrap();
    let local: SocketAddr = near.local_addr().unwrap();
    let kernel = Kernel::of(&near);
    let client = Arc::new(Client {
        address,
        local,
        protocol: Protocol::Http1,
        secured: None,
        measure: None,
        is_forwarded: false,
        samples: Samples::default(),
    });
    let slot = Slot::default();
    let limits = Limits { body: skerry_config::units::Size(length_max), ..Limits::default() };
    let rest = Rest { body, waits: false, upgrade: false };
    let socket = Socket::new(Io::Plain(near), kernel, client);
    (Handed::new(socket, HEAD.into(), rest, early.into(), &limits, Arc::clone(&slot)), far, slot)
}

/// Writes these pieces, each with the date set before it; what came out.
async fn through(pieces: &[(Option<HeaderValue>, &str)]) -> String {
    let (mut connection, mut far, _) = handed(Body::None, "", 0).await;
    let writing = async {
        for (date, piece) in pieces {
            if date.is_some() {
                connection.set_date(date.clone());
            }
            connection.write_all(piece.as_bytes()).await.unwrap();
        }
        connection.flush().await.unwrap();
        Shutdown::shutdown(&mut connection).await;
    };
    let mut out = String::new();
    let (read, ()) = tokio::join!(far.read_to_string(&mut out), writing);
    read.unwrap();
    out
}

#[tokio::test]
async fn the_date_of_the_head_is_replaced_and_nothing_else() {
    let body = "x".repeat(9_000_000) + "\r\nDate: Sun, 22 Nov 2026 22:00:00 GMT\r\n\r\n";
    assert!(through(&[(then(), NOW), (None, &body)]).await == format!("{}{body}", dated(NOW)));
    let early = "HTTP/1.1 103 Early Hints\r\nDate: Sun, 22 Nov 2026 22:00:00 GMT\r\n\r\n";
    // A body that looks like a head is none.
    assert_eq!(through(&[(then(), early), (None, NOW), (then(), NOW)]).await, format!("{early}{}{NOW}", dated(NOW)));
    let dateless = "HTTP/1.1 200 OK\r\n\r\nDate: x\r\n\r\n";
    assert_eq!(through(&[(then(), dateless)]).await, dateless);
    let odd = HeaderValue::from_static("Saturday, 01-Jan-00 00:00:00 GMT");
    let out = through(&[(Some(odd), NOW), (None, "body")]).await;
    assert_eq!(out, NOW.replace("Sun, 22 Nov 2026 22:00:00 GMT", "Saturday, 01-Jan-00 00:00:00 GMT") + "body");
}

#[tokio::test]
async fn a_head_leaves_with_its_body_in_one_piece_or_with_a_flush() {
    let (mut connection, mut far, _) = handed(Body::None, "", 0).await;
    let mut out = vec![0; 1_000];
    connection.set_date(then());
    connection.write_all(NOW.as_bytes()).await.unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, far.read(&mut out)).await.is_err(), "the head waits");
    connection.write_all(b"body").await.unwrap();
    let read = far.read(&mut out).await.unwrap();
    assert_eq!(&out[..read], format!("{}body", dated(NOW)).as_bytes());
}

#[tokio::test]
async fn one_request_is_read_and_what_follows_waits() {
    for (body, sent, is_early) in [
        (Body::None, "", false),
        (Body::Length(5), "hello", true),
        (Body::Length(5), "hello", false),
        (Body::Chunked, "5\r\nhello\r\n0\r\nX: y\r\n\r\n", true),
        (Body::Chunked, "5\r\nhello\r\n0\r\nX: y\r\n\r\n", false),
    ] {
        let next = "GET /next HTTP/1.1\r\n";
        let (early, later) = if is_early { (format!("{sent}{next}"), String::new()) } else { (String::new(), format!("{sent}{next}")) };
        let (mut connection, mut far, slot) = handed(body, &early, 0).await;
        far.write_all(later.as_bytes()).await.unwrap();
        let mut got = vec![0; HEAD.len() + sent.len()];
        connection.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), format!("{HEAD}{sent}"));
        far.write_all(b"Host: a\r\n\r\n").await.unwrap();
        drop(far);
        // Nothing more is read until the client has left.
        assert_eq!(connection.read(&mut [0; 100]).await.unwrap(), 0);
        drop(connection);
        let back = slot.lock().take().unwrap();
        assert_eq!(back.early, format!("{next}Host: a\r\n\r\n"), "{body:?}");
        assert!(back.is_read && !back.is_upgraded);
    }
}

#[tokio::test]
async fn a_body_that_is_none_is_refused_and_nothing_of_it_is_read() {
    for (body, sent, refusal) in
        [(Body::Chunked, "5\r\nhello0\r\n\r\n", Refusal::Chunk), (Body::Chunked, "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", Refusal::BodyLength)]
    {
        for early in [true, false] {
            let (mut connection, mut far, slot) = handed(body, if early { sent } else { "" }, 5).await;
            far.write_all(if early { "" } else { sent }.as_bytes()).await.unwrap();
            connection.read_exact(&mut vec![0; HEAD.len()]).await.unwrap();
            assert!(connection.read(&mut [0; 100]).await.is_err() && connection.read(&mut [0; 100]).await.is_err());
            assert_eq!(connection.refusal(), Some(refusal));
            drop(connection);
            assert!(!slot.lock().take().unwrap().is_read);
        }
    }
}

#[tokio::test]
async fn who_sends_too_slowly_is_given_up_and_who_waits_is_not() {
    let (mut connection, _far, _) = handed(Body::Length(5), "", 0).await;
    connection.read_exact(&mut vec![0; HEAD.len()]).await.unwrap();
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    assert!(connection.read(&mut [0; 100]).await.is_err());
    assert_eq!(connection.refusal(), Some(Refusal::BodyTime));
    assert!(begin.elapsed() >= crate::pace::WINDOW && begin.elapsed() < 2 * crate::pace::WINDOW);
    tokio::time::resume();

    let (mut connection, mut far, _) = handed(Body::Length(5), "", 0).await;
    connection.waits = true;
    connection.read_exact(&mut vec![0; HEAD.len()]).await.unwrap();
    tokio::time::pause();
    let mut room = [0; 100];
    let waited = tokio::time::timeout(Duration::from_secs(600), connection.read(&mut room)).await;
    assert!(waited.is_err() && connection.refusal().is_none());
    tokio::time::resume();
    connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    far.write_all(b"hello").await.unwrap();
    assert_eq!(connection.read(&mut room).await.unwrap(), 5);
}

#[tokio::test]
async fn after_an_upgrade_everything_goes_through_and_only_then() {
    for (may_upgrade, status) in [(true, "101 Switching Protocols"), (false, "101 Switching Protocols"), (true, "200 OK")] {
        let (mut connection, mut far, slot) = handed(Body::None, "early ", 0).await;
        connection.may_upgrade = may_upgrade;
        connection.read_exact(&mut vec![0; HEAD.len()]).await.unwrap();
        connection.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
        connection.write_all(b"HTTP/1.1 \0 is no head any more").await.unwrap();
        connection.flush().await.unwrap();
        far.write_all(b"\0\r\r\n").await.unwrap();
        // Its own way of saying that it is done: the other way stays open.
        far.shutdown().await.unwrap();
        let mut got = Vec::new();
        connection.read_to_end(&mut got).await.unwrap();
        let is_upgraded = may_upgrade && status.starts_with("101");
        assert_eq!(String::from_utf8(got).unwrap(), if is_upgraded { "early \0\r\r\n" } else { "" }, "{may_upgrade} {status}");
        drop(connection);
        let back = slot.lock().take().unwrap();
        assert_eq!((back.is_upgraded, back.early.is_empty()), (is_upgraded, is_upgraded));
        drop(back);
        let mut said = String::new();
        far.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, format!("HTTP/1.1 {status}\r\n\r\nHTTP/1.1 \0 is no head any more"));
    }
}
