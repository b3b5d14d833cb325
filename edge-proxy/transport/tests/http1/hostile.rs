//! Clients that mean no good, or know no better.

use std::time::Duration;

use skerry_config::process::Limits;
use skerry_config::units::{Period, Size};
use skerry_transport::head::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, PIECE_BYTES, PIECES, SOON, split};

const HOST: &str = "Host: a.test\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_reaches_nobody() {
    let house = House::start(Limits { body: Size(1_000), ..Limits::default() }).await;
    for (text, refusal) in [
        (format!("GET /hit/1 HTTP/1.1\n{HOST}\n\n"), Refusal::LineEnd),
        (format!("GET /hit/1 HTTP/1.1\r\n{HOST}X: a\rb\r\n\r\n"), Refusal::LineEnd),
        (format!("GET  /hit/1 HTTP/1.1\r\n{HOST}\r\n"), Refusal::Line),
        (format!("GET /hit/1 http/1.1\r\n{HOST}\r\n"), Refusal::Line),
        ("GET /hit/1\r\n\r\n".to_owned(), Refusal::Line),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\r\n\r\n".to_owned(), Refusal::Line),
        ("\r\n".repeat(5), Refusal::Line),
        (format!("GET /hit/1 HTTP/3.0\r\n{HOST}\r\n"), Refusal::Version),
        (format!("CONNECT a.test:80 HTTP/1.1\r\n{HOST}\r\n"), Refusal::Method),
        (format!("GET /hit/1 HTTP/1.1\r\n{HOST}X: a\r\n folded\r\n\r\n"), Refusal::Field),
        (format!("GET /hit/1 HTTP/1.1\r\n{HOST}X : a\r\n\r\n"), Refusal::Field),
        (format!("GET /hit/1 HTTP/1.1\r\n{HOST}: a\r\n\r\n"), Refusal::Field),
        (format!("GET /hit/1 HTTP/1.1\r\n{HOST}X: \0\r\n\r\n"), Refusal::Field),
        ("GET /hit/1 HTTP/1.1\r\n\r\n".to_owned(), Refusal::Host),
        (format!("GET /hit/1 HTTP/1.1\r\n{HOST}{HOST}\r\n"), Refusal::Host),
        (format!("GET http://b.test/hit/1 HTTP/1.1\r\n{HOST}\r\n"), Refusal::Host),
        (format!("GET hit/1 HTTP/1.1\r\n{HOST}\r\n"), Refusal::Target),
        (format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(17_000)), Refusal::TargetLength),
        (format!("GET / HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", "a".repeat(50_000)), Refusal::HeadLength),
        (format!("GET / HTTP/1.1\r\n{HOST}{}\r\n", "X: a\r\n".repeat(200)), Refusal::FieldCount),
        (format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), Refusal::Framing),
        (format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), Refusal::Framing),
        (format!("POST / HTTP/1.1\r\n{HOST}Content-Length: five\r\n\r\nhello"), Refusal::Framing),
        (format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), Refusal::Framing),
        (format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), Refusal::Coding),
        (format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 1001\r\n\r\n{}", "x".repeat(1_001)), Refusal::BodyLength),
    ] {
        for apart in [false, text.len() < 1_000] {
            let text = format!("{text}GET /after HTTP/1.1\r\n{HOST}\r\n");
            let answers = split(&house.say(&text, apart).await);
            assert_eq!(answers.len(), 1, "{text:?}: {answers:?}");
            assert!(answers[0].0.ends_with("Connection: close") && answers[0].1 == refusal.text(), "{text:?}: {answers:?}");
            assert_eq!(std::mem::take(&mut *house.tier.refused.lock()), [refusal], "{text:?}");
        }
    }
    assert!(house.tier.ended.lock().is_empty());
    assert_eq!(house.origin.got(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_after_the_answers_before_it() {
    let house = House::start(Limits::default()).await;
    let text = format!(
        "GET /hit/1 HTTP/1.1\r\n{HOST}\r\nGET /miss HTTP/1.1\r\n{HOST}\r\nGET / HTTP/1.1\r\n{HOST}X : y\r\n\r\nGET /hit/2 HTTP/1.1\r\n{HOST}\r\n"
    );
    for apart in [false, true] {
        let bodies: Vec<String> = split(&house.say(&text, apart).await).into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, ["1", "/miss", Refusal::Field.text()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_chunks_never_become_a_request() {
    let house = House::start(Limits { body: Size(1_000), ..Limits::default() }).await;
    let head = format!("POST /p HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
    for (chunks, refusal) in [
        ("5\r\nhelloGET /smuggled HTTP/1.1\r\n\r\n".to_owned(), Refusal::Chunk),
        ("5\nhello\r\n0\r\n\r\n".to_owned(), Refusal::Chunk),
        ("5\r\nhello\r\n0x0\r\n\r\n".to_owned(), Refusal::Chunk),
        ("5\r\nhello\r\n-1\r\n\r\n".to_owned(), Refusal::Chunk),
        ("5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n".to_owned(), Refusal::Chunk),
        (format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(5_000)), Refusal::Chunk),
        (format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", "t".repeat(20_000)), Refusal::Chunk),
        (format!("{}0\r\n\r\n", format!("64\r\n{}\r\n", "x".repeat(100)).repeat(11)), Refusal::BodyLength),
    ] {
        for apart in [false, chunks.len() < 1_000] {
            let text = format!("{head}{chunks}GET /after HTTP/1.1\r\n{HOST}\r\n");
            let answers = split(&house.say(&text, apart).await);
            assert_eq!(answers.len(), 1, "{chunks:?}: {answers:?}");
            assert!(answers[0].0.starts_with("HTTP/1.1 400") && answers[0].0.contains("Connection: close"), "{chunks:?}: {answers:?}");
            assert_eq!(std::mem::take(&mut *house.tier.refused.lock()), [refusal], "{chunks:?}");
        }
    }
    let got = house.origin.got();
    assert!(!got.contains("smuggled") && !got.contains("after") && !got.contains("\r\n0\r\n\r\n"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_its_time_in_all() {
    let house = House::start(Limits { head_time: Period(Duration::from_millis(400)), ..Limits::default() }).await;
    let said = house.say("GET / HTTP/1.1\r\nHost: a", false).await;
    assert_eq!(split(&said)[0].1, Refusal::HeadTime.text());
    // A byte now and then wins no time; what was answered before does not count.
    let mut socket = house.connect().await;
    socket.write_all(format!("GET /hit/1 HTTP/1.1\r\n{HOST}\r\nGET /hit/2 HTTP/1.1\r\n").as_bytes()).await.unwrap();
    let (mut read, mut write) = socket.split();
    let mut drops = tokio::time::interval(Duration::from_millis(20));
    let dripping = async {
        while write.write_all(b"X").await.is_ok() {
            drops.tick().await;
        }
    };
    let mut said = String::new();
    let reading = tokio::time::timeout(SOON, read.read_to_string(&mut said));
    let read = tokio::select! {
        read = reading => read,
        () = dripping => panic!("written to its end"),
    };
    read.expect("the head has no time").unwrap();
    let bodies: Vec<String> = split(&said).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["1", Refusal::HeadTime.text()]);
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let house = House::start(Limits::default()).await;
    let mut socket = house.connect().await;
    socket.write_all(format!("GET /hit/large HTTP/1.1\r\n{HOST}\r\n").as_bytes()).await.unwrap();
    // From here on time passes whenever nobody has anything to do, as while this client takes nothing.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_secs(600), house.tier.over.notified()).await.expect("the client is waited for");
    let waited = begin.elapsed();
    let (_, bytes, whole) = house.tier.ended.lock()[0].clone();
    assert!(!whole && bytes > 0 && bytes < (PIECE_BYTES * PIECES) as u64, "{bytes}");
    assert!(waited < Duration::from_secs(30), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_arrives_whole() {
    let house = House::start(Limits::default()).await;
    let said = house.say(&format!("GET /hit/large HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"), false).await;
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), PIECE_BYTES * PIECES);
    assert_eq!(*house.tier.ended.lock(), [("/hit/large".to_owned(), (PIECE_BYTES * PIECES) as u64, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_on_sending_reads_why_it_was_refused() {
    let house = House::start(Limits { body: Size(1_000), ..Limits::default() }).await;
    for head in ["Content-Length: 500000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut socket = house.connect().await;
        socket.write_all(format!("POST /p HTTP/1.1\r\n{HOST}{head}\r\n").as_bytes()).await.unwrap();
        socket.write_all(&[b"7a120\r\n".to_vec(), vec![b'x'; 500_000]].concat()).await.unwrap();
        let mut said = String::new();
        tokio::time::timeout(SOON, socket.read_to_string(&mut said)).await.unwrap().unwrap();
        assert!(said.starts_with("HTTP/1.1 400"), "{head}: {said}");
    }
}
