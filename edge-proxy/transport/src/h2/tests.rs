//! Connections and streams whose clients fall silent, by a paused clock.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use pingora::ErrorType;
use pingora::protocols::http::custom::server::Session as _;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::Instant;

use super::session::BODY_TIME_MAX;
use super::*;

/// A connection that is open on both sides; the client's is driven in the background.
async fn opened() -> (h2::server::Connection<Stream, Bytes>, SendRequest<Bytes>) {
    let (near, far) = duplex(64 << 10);
    let (_stop, mut stopping) = watch::channel(false);
    let near: Stream = Box::new(near);
    let (server, client) = tokio::join!(open_connection(near, &mut stopping), h2::client::handshake(far));
    let (client, driven) = client.unwrap();
    tokio::spawn(driven);
    (server.unwrap(), client)
}

fn silent(said: &[u8]) -> (Stream, DuplexStream) {
    let (near, mut far) = duplex(64);
    let sent = futures_util::FutureExt::now_or_never(far.write_all(said));
    assert!(matches!(sent, Some(Ok(()))));
    (Box::new(near), far)
}

#[tokio::test(start_paused = true)]
async fn who_never_finishes_the_preface_is_not_waited_for() {
    let (stop, mut stopping) = watch::channel(false);
    for said in [&b""[..], b"PRI * HTTP"] {
        let (near, _far) = silent(said);
        let since = Instant::now();
        let opening = tokio::time::timeout(2 * HANDSHAKE_TIME_MAX, open_connection(near, &mut stopping));
        assert!(opening.await.expect("the connection is kept for nothing").is_none());
        assert_eq!(since.elapsed(), HANDSHAKE_TIME_MAX);
    }
    let (near, _far) = silent(b"PRI");
    stop.send(true).unwrap();
    let since = Instant::now();
    assert!(open_connection(near, &mut stopping).await.is_none());
    assert_eq!(since.elapsed(), Duration::ZERO, "a stop does not wait for who has said nothing");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_given_up() {
    let (mut server, mut client) = opened().await;
    let request = http::Request::post("http://a.test/").body(()).unwrap();
    let (_answer, mut sending) = client.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"half"), false).unwrap();
    let (request, answer) = server.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    let (head, body) = request.into_parts();
    let mut session = H2Session::new(RequestHeader::from(head), body, answer, Arc::new(Digest::default()));
    assert_eq!(session.read_body_bytes().await.unwrap().unwrap(), "half");
    let since = Instant::now();
    let reading = tokio::time::timeout(2 * BODY_TIME_MAX, session.read_body_or_idle(false));
    let error = reading.await.expect("nobody gives the body up").unwrap_err();
    assert_eq!((error.etype(), since.elapsed()), (&ErrorType::ReadTimedout, BODY_TIME_MAX));
}
