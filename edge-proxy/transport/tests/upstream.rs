//! Asking upstream, against servers that say exactly what a test wants.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use http::{HeaderMap, Method};
use skerry_transport::target::{Target, Times};
use skerry_transport::upstream::{Client, Outgoing, UpstreamError, UpstreamErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TIME: Duration = Duration::from_secs(10);

/// The status of one answer, or why there is none.
async fn status_of(answer: &'static str) -> Result<u16, UpstreamError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let times = Times { connect: TIME, first_byte: TIME, between_bytes: TIME };
    let target = Target { host: "127.0.0.1".to_owned(), port, tls: None, host_header: None, times };
    let request =
        Outgoing { method: Method::GET, path_and_query: "/".to_owned(), authority: "shop.test".to_owned(), headers: HeaderMap::new() };
    Client::new().request(&[target], &request).await.map(|incoming| incoming.status.as_u16())
}

#[tokio::test]
async fn a_status_of_no_class_is_no_answer() {
    assert_eq!(status_of("HTTP/1.1 299 Fine\r\ncontent-length: 0\r\n\r\n").await.unwrap(), 299);
    let error = status_of("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::BadHead, "{error}");
}
