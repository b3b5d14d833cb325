//! What well-behaved clients get.

use std::sync::atomic::Ordering;

use bytes::Buf as _;
use h3::error::{Code, StreamError};
use skerry_config::process::Limits;
use skerry_config::units::Period;

use crate::house::{HIT, ask, client, relay, request, start, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_by_sessions_and_at_once() {
    let running = start(Limits::default()).await;
    let (mut asking, _driver) = running.client().await;
    let got = ask(&mut asking, request("GET", "/a?b").header("cookie", "a=1").header("cookie", "b=2"), &[]).await;
    assert_eq!((got.status(), got.text()), (200, "GET shop.test /a?b 127.0.0.1 body=0 cookie=a=1; b=2 early=-"));
    assert!(got.head.headers().contains_key("date") && got.head.headers()["content-length"] == got.body.len().to_string());
    let got = ask(&mut asking, request("HEAD", "/a"), &[]).await;
    assert_eq!((got.status(), got.text()), (200, ""));
    let got = ask(&mut asking, request("POST", "/up"), &["four", "", "more"]).await;
    assert_eq!((got.status(), got.text()), (200, "POST shop.test /up 127.0.0.1 body=8 cookie=- early=-"));
    assert_eq!(running.counts.hits.load(Ordering::Relaxed), 0);

    for method in ["GET", "HEAD"] {
        let got = ask(&mut asking, request(method, "/hit"), &[]).await;
        assert_eq!((got.status(), got.text()), (200, if method == "GET" { HIT } else { "" }));
        assert_eq!(got.head.headers()["x-name"], "9");
    }
    let got = ask(&mut asking, request("GET", "/hit"), &["a body"]).await;
    assert_eq!(got.text(), "GET shop.test /hit 127.0.0.1 body=6 cookie=- early=-", "one with a body takes the full way");
    assert_eq!((running.counts.hits.load(Ordering::Relaxed), running.counts.whole.load(Ordering::Relaxed)), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_answered_side_by_side_and_large_answers_whole() {
    let running = start(Limits::default()).await;
    let (asking, _driver) = running.client().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100_u32 {
        let mut asking = asking.clone();
        tasks.spawn(async move {
            let path = if number % 20 == 0 { "/large" } else { "/small" };
            let priority = format!("u={}{}", number % 8, if number % 3 == 0 { ", i" } else { "" });
            let got = ask(&mut asking, request("GET", path).header("priority", priority), &[]).await;
            assert!(got.end.is_ok(), "{:?}", got.end);
            assert_eq!(got.body.len(), if number % 20 == 0 { 4 << 20 } else { got.text().len() });
            got.status()
        });
    }
    let statuses = within(tasks.join_all()).await;
    assert_eq!(statuses, [200; 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_heads_come_before_the_answer_and_trailers_behind_it() {
    let running = start(Limits::default()).await;
    let (mut asking, _driver) = running.client().await;
    let mut stream = asking.send_request(request("GET", "/early").body(()).unwrap()).await.unwrap();
    stream.finish().await.unwrap();
    // The client gives heads out one by one; `recv_response` reads the next HEADERS, whatever its status.
    for status in [103, 103, 200] {
        let head = within(stream.recv_response()).await.unwrap();
        assert_eq!((head.status().as_u16(), head.headers().contains_key("link")), (status, status == 103));
    }
    let got = ask(&mut asking, request("POST", "/trailers"), &["x"]).await;
    assert_eq!(got.end.unwrap().unwrap()["grpc-status"], "0");
    assert_eq!(got.body, b"POST shop.test /trailers 127.0.0.1 body=1 cookie=- early=-");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_reset() {
    let running = start(Limits::default()).await;
    let (mut asking, _driver) = running.client().await;
    let mut stream = asking.send_request(request("GET", "/cut").body(()).unwrap()).await.unwrap();
    stream.finish().await.unwrap();
    // A reset may overtake what was sent before it, the head among it.
    let mut end = within(stream.recv_response()).await.map(|_| ());
    while end.is_ok() {
        end = within(stream.recv_data()).await.map(|piece| assert!(piece.is_some(), "half a body passed for a whole one"));
    }
    assert!(matches!(end, Err(StreamError::RemoteTerminate { code: Code::H3_INTERNAL_ERROR })), "{end:?}");
    // The connection goes on.
    assert_eq!(ask(&mut asking, request("GET", "/hit"), &[]).await.text(), HIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_client_gives_up_ends() {
    let running = start(Limits::default()).await;
    let (mut asking, _driver) = running.client().await;
    let mut stream = asking.send_request(request("GET", "/endless").body(()).unwrap()).await.unwrap();
    stream.finish().await.unwrap();
    within(stream.recv_response()).await.unwrap();
    assert!(within(stream.recv_data()).await.unwrap().unwrap().has_remaining());
    stream.stop_sending(Code::H3_REQUEST_CANCELLED);
    // A stop waits for what runs: an answer that nobody wants would hold it up for the whole drain.
    running.stop.send(true).unwrap();
    let since = std::time::Instant::now();
    within(running.drained).await.unwrap();
    assert!(since.elapsed() < Limits::default().drain_time.0 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_a_request_that_waits_is_noticed() {
    let running = start(Limits::default()).await;
    let (mut asking, _driver) = running.client().await;
    for gives_up in [true, false] {
        let mut held = asking.send_request(request("GET", "/held").body(()).unwrap()).await.unwrap();
        held.finish().await.unwrap();
        until(|| running.seen.lock().pop().is_some()).await;
        if gives_up {
            held.stop_sending(Code::H3_REQUEST_CANCELLED);
            within(running.counts.left.notified()).await;
            assert_eq!(ask(&mut asking, request("GET", "/hit"), &[]).await.text(), HIT);
        } else {
            running.release.notify_one();
            assert_eq!(within(held.recv_response()).await.unwrap().status(), 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye_and_lets_requests_end() {
    let running = start(Limits::default()).await;
    let (mut asking, driver) = running.client().await;
    let mut held = asking.send_request(request("GET", "/held").body(()).unwrap()).await.unwrap();
    held.finish().await.unwrap();
    // A second request is answered, so that the first has arrived.
    assert_eq!(ask(&mut asking, request("GET", "/hit"), &[]).await.text(), HIT);
    running.stop.send(true).unwrap();
    // The client notices that it is to ask no more.
    while asking.send_request(request("GET", "/hit").body(()).unwrap()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    running.release.notify_one();
    assert_eq!(within(held.recv_response()).await.unwrap().status(), 200);
    let mut body = Vec::new();
    while let Some(piece) = within(held.recv_data()).await.unwrap() {
        body.extend_from_slice(piece.chunk());
    }
    assert!(body.starts_with(b"GET shop.test /held"));
    within(running.drained).await.unwrap();
    assert!(within(driver).await.unwrap().is_h3_no_error());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_early_may_be_a_replay() {
    let running = start(Limits::default()).await;
    let endpoint = running.endpoint();
    let first = endpoint.connect(running.address, "shop.test").unwrap().await.unwrap();
    let (mut asking, _driver) = client(first).await;
    assert_eq!(ask(&mut asking, request("GET", "/first"), &[]).await.status(), 200);
    drop(asking);

    // The client has a session: it asks ahead of the handshake, of which it hears nothing before it is answered.
    let (through, open, _) = relay(running.address);
    let (connection, accepted) = endpoint.connect(through, "shop.test").unwrap().into_0rtt().map_err(|_| "no session").unwrap();
    let (mut asking, _driver) = client(connection).await;
    let mut streams = Vec::new();
    for (method, path) in [("GET", "/safe"), ("POST", "/unsafe"), ("GET", "/hit")] {
        let mut stream = within(asking.send_request(request(method, path).body(()).unwrap())).await.unwrap();
        within(stream.finish()).await.unwrap();
        streams.push(stream);
    }
    until(|| running.seen.lock().contains(&"/safe".to_owned()) && running.counts.hits.load(Ordering::Relaxed) == 1).await;
    assert_eq!(*running.seen.lock(), ["/first", "/safe"]);
    open.store(true, Ordering::Relaxed);
    assert!(within(accepted).await, "what was sent early was not taken");
    let mut texts = Vec::new();
    for mut stream in streams {
        assert_eq!(within(stream.recv_response()).await.unwrap().status(), 200);
        let mut piece = within(stream.recv_data()).await.unwrap().unwrap();
        texts.push(String::from_utf8(piece.copy_to_bytes(piece.remaining()).to_vec()).unwrap());
    }
    assert_eq!(texts[0], "GET shop.test /safe 127.0.0.1 body=0 cookie=- early=1");
    assert_eq!(texts[1], "POST shop.test /unsafe 127.0.0.1 body=0 cookie=- early=-", "it waited for the handshake");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_moves_to_another_address() {
    let running = start(Limits::default()).await;
    let endpoint = running.endpoint();
    let connection = endpoint.connect(running.address, "shop.test").unwrap().await.unwrap();
    let (mut asking, _driver) = client(connection).await;
    assert!(ask(&mut asking, request("GET", "/a"), &[]).await.text().contains(" 127.0.0.1 "));
    endpoint.rebind(std::net::UdpSocket::bind("127.0.0.2:0").unwrap()).unwrap();
    assert_eq!(ask(&mut asking, request("GET", "/b"), &[]).await.status(), 200);
    assert!(ask(&mut asking, request("GET", "/c"), &[]).await.text().contains(" 127.0.0.2 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_and_one_with_too_many_are_ended() {
    let limits = Limits { idle_time: Period::from_secs(1), requests_per_connection: 3, ..Limits::default() };
    let running = start(limits).await;
    let (_asking, driver) = running.client().await;
    assert!(within(driver).await.unwrap().is_h3_no_error(), "idle");
    let (mut asking, driver) = running.client().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut asking, request("GET", "/hit"), &[]).await.text(), HIT);
    }
    assert!(within(driver).await.unwrap().is_h3_no_error(), "too many");
}
