//! Origins that are slow in every part of an answer, each of which has its own time.

use std::time::{Duration, Instant};

use skerry_config::site::HttpVersion;
use skerry_transport::target::{Endpoint, Target, Times, TlsTo};
use skerry_transport::upstream::{Client, UpstreamError, UpstreamErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::interval;

use crate::house::{TIME, origins, request, target, to};

/// The time that is over in each of these.
const SHORT: Duration = Duration::from_millis(300);
/// How often something comes: often enough for every time between two pieces.
const OFTEN: Duration = Duration::from_millis(20);

/// An origin that says `first`, and then the same few bytes again and again. Its port.
async fn origin(first: &'static str, again: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => asked.push(byte),
                    // A client that leaves is no end of the origin.
                    Err(_) => break,
                }
            }
            let mut often = interval(OFTEN);
            let _ = stream.write_all(first.as_bytes()).await;
            while stream.write_all(again.as_bytes()).await.is_ok() {
                often.tick().await;
            }
        }
    });
    port
}

fn with(port: u16, change: impl FnOnce(&mut Times)) -> Target {
    let mut target = target("127.0.0.1", port);
    change(&mut target.times);
    target
}

/// What comes of a whole answer, and how long it took.
async fn ended(target: Target) -> (UpstreamError, Duration) {
    let began = Instant::now();
    let mut incoming = match Client::new(&origins(&[])).request(&[target], &request()).await {
        Ok(incoming) => incoming,
        Err(error) => return (error, began.elapsed()),
    };
    loop {
        match incoming.body.chunk().await {
            Ok(piece) => assert!(piece.is_some(), "it ended"),
            Err(error) => return (error, began.elapsed()),
        }
    }
}

#[tokio::test]
async fn a_head_that_drips_is_over_in_the_time_for_a_head() {
    let port = origin("HTTP/1.1 200 OK\r\nX-A: ", "a").await;
    let (error, took) = ended(with(port, |times| times.first_byte = SHORT)).await;
    assert_eq!(error.kind, UpstreamErrorKind::Timeout, "{error}");
    assert!(error.detail.ends_with("its head was not complete in 300ms"), "{error}");
    assert!(took >= SHORT && took < TIME / 2, "{took:?}");
}

#[tokio::test]
async fn an_answer_that_stalls_after_its_head_breaks_off() {
    let port = origin("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", "").await;
    let (error, took) = ended(with(port, |times| times.between_bytes = SHORT)).await;
    assert_eq!(error.kind, UpstreamErrorKind::Timeout, "{error}");
    assert!(took >= SHORT && took < TIME / 2, "{took:?}");
}

#[tokio::test]
async fn an_answer_without_end_has_an_end_where_the_whole_has_a_time() {
    let port = origin("HTTP/1.1 200 OK\r\n\r\n", "more").await;
    let (error, took) = ended(with(port, |times| times.total = Some(SHORT))).await;
    assert_eq!(error.kind, UpstreamErrorKind::TooLong, "{error}");
    assert!(took >= SHORT && took < TIME / 2, "{took:?}");
    // The head is a part of the whole.
    let port = origin("HTTP/1.1 200 OK\r\nX-A: ", "a").await;
    assert_eq!(ended(with(port, |times| times.total = Some(SHORT))).await.0.kind, UpstreamErrorKind::TooLong);
}

#[tokio::test]
async fn a_handshake_has_a_time_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = TlsTo { server_name: "origin.test".to_owned(), verify: true, trust: None, client: None, private: None };
    let port = listener.local_addr().unwrap().port();
    let mut target = to(Endpoint::new("127.0.0.1".to_owned(), port, Some(tls), HttpVersion::Auto));
    target.times.tls = SHORT;
    let (error, took) = ended(target).await;
    assert_eq!(error.kind, UpstreamErrorKind::Tls, "{error}");
    assert!(error.detail.ends_with("the TLS handshake was not done in 300ms"), "{error}");
    assert!(took >= SHORT && took < TIME / 2, "{took:?}");
}
