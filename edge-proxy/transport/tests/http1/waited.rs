//! Answers that are waited for: how they end, and clients that do not wait.

use std::time::Duration;

use skerry_config::process::Limits;
use skerry_transport::asker::{Sent, Unsent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, PIECE_BYTES, SOON, one};

/// Asks for a path with these words, and reads to the end of the connection: what came, and whether its end was a proper one.
async fn said(house: &House, method: &str, path: &str, version: &str, more: &str) -> (String, bool) {
    let mut socket = house.connect().await;
    socket.write_all(format!("{method} {path} HTTP/{version}\r\nHost: a.test\r\n{more}\r\n").as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let end = tokio::time::timeout(SOON, socket.read_to_end(&mut said)).await.expect("the connection goes on");
    (String::from_utf8(said).unwrap(), end.is_ok())
}

fn body(said: &str) -> &str {
    said.split_once("\r\n\r\n").expect("a whole head").1
}

/// What became of the one answer that was waited for.
async fn came(house: &House) -> (String, Sent) {
    tokio::time::timeout(SOON, house.tier.over.notified()).await.expect("nobody tells the tier");
    house.tier.waited.lock().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_length_comes_in_chunks_or_ends_the_connection() {
    let house = House::start(Limits::default()).await;
    let (new, _) = said(&house, "GET", "/chunks", "1.1", "Connection: close\r\n").await;
    assert!(new.contains("\r\nTransfer-Encoding: chunked\r\n"), "{new}");
    assert_eq!(body(&new), "4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n");
    let (old, is_proper) = said(&house, "GET", "/chunks", "1.0", "Connection: keep-alive\r\n").await;
    assert!(!old.contains("Transfer-Encoding") && old.contains("\r\nConnection: close\r\n") && is_proper, "{old}");
    assert_eq!(body(&old), "one two three");
    for version in ["1.0", "1.1"] {
        let (head, _) = said(&house, "HEAD", "/chunks", version, "Connection: close\r\n").await;
        assert!(!head.contains("Transfer-Encoding") && body(&head).is_empty(), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_its_head_says_ends_the_connection() {
    let house = House::start(Limits::default()).await;
    for (path, expected, why) in [
        ("/cut", "half", "upstream died"),
        ("/cut/chunks", "4\r\nhalf\r\n", "upstream died"),
        ("/short", "half", "the body ended 6 bytes before its content-length"),
        ("/long", "", "the body is longer than its content-length"),
    ] {
        let (got, _) = said(&house, "GET", path, "1.1", "").await;
        assert_eq!(body(&got), expected, "{path}");
        let bytes = if expected.is_empty() { 0 } else { 4 };
        assert_eq!(came(&house).await, (path.to_owned(), Sent { bytes, end: Err(Unsent::Body(why.to_owned())) }));
    }
    // Where the end of the connection is the end of the answer, it has to be another one.
    let (got, is_proper) = said(&house, "GET", "/cut/chunks", "1.0", "").await;
    assert!(!is_proper, "half a body looks like a whole one: {got}");
}

/// Sends requests, waits until the tier has the first of them, then leaves.
async fn leave(house: &House, requests: &str, read: &str) {
    let mut socket = house.connect().await;
    socket.write_all(requests.as_bytes()).await.unwrap();
    tokio::time::timeout(SOON, house.tier.asked.notified()).await.unwrap();
    if !read.is_empty() {
        until_it_has(&mut socket, read).await;
    }
}

async fn until_it_has(socket: &mut TcpStream, wanted: &str) {
    let mut got = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&got).ends_with(wanted) {
            let mut byte = [0];
            socket.read_exact(&mut byte).await.unwrap();
            got.push(byte[0]);
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("what there is of a body is kept back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_noticed_whatever_it_waits_for() {
    let house = House::start(Limits::default()).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let left = |bytes| Sent { bytes, end: Err(Unsent::Client) };
    for ahead in [String::new(), get("/hit/1")] {
        for (path, read, bytes) in [("/slow", "", 0), ("/headless", "", 0), ("/stalled", "4\r\nhalf\r\n", 4)] {
            leave(&house, &(get(path) + &ahead), read).await;
            assert_eq!(came(&house).await, (path.to_owned(), left(bytes)), "{ahead:?}");
        }
    }
    assert!(house.tier.ended.lock().is_empty(), "the next request of a client that has left is answered");
    // One that takes no more.
    let mut socket = house.connect().await;
    socket.write_all(get("/endless").as_bytes()).await.unwrap();
    socket.read_exact(&mut [0; 10_000]).await.unwrap();
    drop(socket);
    let (_, sent) = came(&house).await;
    assert!(sent.end == Err(Unsent::Client) && sent.bytes >= PIECE_BYTES as u64, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_all_of_an_answer_waits_for_its_end_with_the_next_request() {
    let house = House::start(Limits::default()).await;
    let mut socket = house.connect().await;
    socket.write_all(b"GET /late HTTP/1.1\r\nHost: a.test\r\n\r\nGET /hit/1 HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    tokio::time::timeout(SOON, house.tier.asked.notified()).await.expect("nobody waits for the end");
    assert!(one(&mut socket).await.ends_with("late"), "it is kept from the client until the end");
    assert!(house.tier.ended.lock().is_empty());
    house.tier.go.notify_one();
    assert!(one(&mut socket).await.ends_with("\r\n\r\n1"));
    // Who leaves then has had it whole.
    drop(socket);
    house.tier.waited.lock().clear();
    leave(&house, "GET /late HTTP/1.1\r\nHost: a.test\r\n\r\n", "late").await;
    while house.tier.waited.lock().is_empty() {
        tokio::time::timeout(SOON, house.tier.over.notified()).await.expect("nobody tells the tier");
    }
    assert_eq!(house.tier.waited.lock()[0], ("/late".to_owned(), Sent { bytes: 4, end: Ok(()) }));
}

#[tokio::test]
async fn who_takes_too_little_of_what_it_waited_for_is_cut_off() {
    let house = House::start(Limits::default()).await;
    let mut socket = house.connect().await;
    socket.write_all(b"GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    // From here on time passes whenever nobody has anything to do, as while this client takes nothing.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_secs(600), house.tier.over.notified()).await.expect("the client is waited for");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(house.tier.waited.lock()[0].1.end, Err(Unsent::Client));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_an_answer_is_waited_for_ends_the_connection_behind_it() {
    // The word of it goes through the listener, and may come to the connection behind the answer.
    for _ in 0..50 {
        let house = House::start(Limits::default()).await;
        let mut socket = house.connect().await;
        socket.write_all(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        tokio::time::timeout(SOON, house.tier.asked.notified()).await.unwrap();
        house.stop.send_replace(true);
        house.tier.go.notify_one();
        let said = one(&mut socket).await;
        assert!(said.ends_with("/slow"), "{said}");
        assert_eq!(tokio::time::timeout(SOON, socket.read(&mut [0; 10])).await.unwrap().unwrap(), 0);
        if said.contains("\r\nConnection: close\r\n") {
            return;
        }
    }
    panic!("a stop is never told with an answer");
}
