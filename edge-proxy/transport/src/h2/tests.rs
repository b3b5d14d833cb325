//! Connections and streams whose clients fall silent, by a paused clock.

use std::sync::Arc;

use h2::client::SendRequest;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::protocols::http::custom::server::Session as _;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::coming::Coming;
use super::going::Going;
use super::*;
use crate::client::{Client, Protocol, Samples};
use crate::connection::{Io, Kernel};
use crate::pace::WINDOW;
use crate::stream::StreamSession;

/// A connection that is open on both sides; the client's is driven in the background.
async fn opened() -> (h2::server::Connection<DuplexStream, Bytes>, SendRequest<Bytes>) {
    let (near, far) = duplex(64 << 10);
    let limits = Limits::default();
    let (server, client) = tokio::join!(builder(&limits).handshake(near), h2::client::handshake(far));
    let (client, driven) = client.unwrap();
    tokio::spawn(driven);
    (server.unwrap(), client)
}

async fn silent(said: &[u8]) -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, address) = listener.accept().await.unwrap();
    far.write_all(said).await.unwrap();
    let kernel = Kernel::of(&near);
    let client = Client {
        address,
        local: address,
        protocol: Protocol::Http2,
        secured: None,
        measure: None,
        is_forwarded: false,
        samples: Samples::default(),
    };
    (Wire::new(Socket::new(Io::Plain(near), kernel, Arc::new(client))), far)
}

#[tokio::test(start_paused = true)]
async fn who_never_finishes_the_preface_is_not_waited_for() {
    let (stop, mut stopping) = watch::channel(false);
    let limits = Limits::default();
    let time = limits.handshake_time.0;
    for said in [&b""[..], b"PRI * HTTP"] {
        let (near, _far) = silent(said).await;
        let since = Instant::now();
        let opening = tokio::time::timeout(2 * time, open(near, &limits, &mut stopping));
        assert!(opening.await.expect("the connection is kept for nothing").is_none());
        assert_eq!(since.elapsed(), time);
    }
    let (near, _far) = silent(b"PRI").await;
    stop.send(true).unwrap();
    let since = Instant::now();
    assert!(open(near, &limits, &mut stopping).await.is_none());
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
    let (head, limits) = (RequestHeader::from(head), Limits::default());
    let (coming, going) = (Coming::new(body, &head, &limits), Going::new(answer, limits.rate_min.0));
    let mut session = StreamSession::new(head, coming, going, Arc::default());
    assert_eq!(session.read_body_bytes().await.unwrap().unwrap(), "half");
    let since = Instant::now();
    let reading = tokio::time::timeout(2 * WINDOW, session.read_body_or_idle(false));
    let error = reading.await.expect("nobody gives the body up").unwrap_err();
    assert_eq!((error.etype(), since.elapsed()), (&ErrorType::ReadTimedout, WINDOW));
}
