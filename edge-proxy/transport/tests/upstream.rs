//! Asking upstream, against servers that say exactly what a test wants.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use http::{HeaderMap, Method};
use skerry_config::process::Origins;
use skerry_config::site::HttpVersion;
use skerry_transport::interim::INTERIM_MAX;
use skerry_transport::target::{Endpoint, Target, Times};
use skerry_transport::upstream::{Client, Incoming, Outgoing, UpstreamError, UpstreamErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TIME: Duration = Duration::from_secs(10);

/// The tests' own servers are on loopback.
fn origins() -> Origins {
    Origins { allow: vec!["127.0.0.0/8".parse().unwrap()], resolvers: Vec::new() }
}

/// The head of one answer, or why there is none.
async fn ask(answer: String) -> Result<Incoming, UpstreamError> {
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
    Client::new(&origins()).request(&[target("127.0.0.1", port)], &request()).await
}

fn target(host: &str, port: u16) -> Target {
    let times = Times { connect: TIME, tls: TIME, first_byte: TIME, between_bytes: TIME, total: None, events_idle: TIME, events: TIME };
    let endpoint = Endpoint::new(host.to_owned(), port, None, HttpVersion::Auto);
    Target { endpoint, host_header: None, times, guard: None, site: None }
}

fn request() -> Outgoing {
    Outgoing {
        method: Method::GET,
        path_and_query: "/".to_owned(),
        authority: "shop.test".to_owned(),
        headers: HeaderMap::new(),
        early: None,
    }
}

async fn status_of(answer: &str) -> Result<u16, UpstreamError> {
    ask(answer.to_owned()).await.map(|incoming| incoming.status.as_u16())
}

#[tokio::test]
async fn interim_answers_come_with_the_answer_and_are_not_mixed_into_it() {
    let early =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-b\r\nX-B: 1\r\n\r\nHTTP/1.1 142 Odd\r\n\r\n";
    // What only a shield may say is not believed of an origin.
    let last = "HTTP/1.1 200 OK\r\nSkerry-Interim: MTAz\r\nX-C: 1\r\nContent-Length: 0\r\n\r\n";
    let incoming = ask(format!("{early}{last}")).await.unwrap();
    let interim: Vec<_> = incoming.interim.iter().map(|head| (head.status().as_u16(), head.headers().len())).collect();
    assert_eq!(interim, [(103, 1), (142, 0)]);
    assert_eq!(incoming.interim[0].headers()["link"], "</a>");
    assert_eq!((incoming.status.as_u16(), incoming.headers.len()), (200, 2), "{:?}", incoming.headers);
}

#[tokio::test]
async fn interim_answers_without_end_are_no_answer() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let after = |many| format!("{}{last}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(many));
    assert_eq!(ask(after(INTERIM_MAX)).await.unwrap().interim.len(), INTERIM_MAX);
    assert_eq!(ask(after(INTERIM_MAX + 1)).await.err().map(|error| error.kind), Some(UpstreamErrorKind::BadHead));
}

#[tokio::test]
async fn a_status_of_no_class_is_no_answer() {
    assert_eq!(status_of("HTTP/1.1 299 Fine\r\ncontent-length: 0\r\n\r\n").await.unwrap(), 299);
    let error = status_of("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::BadHead, "{error}");
}

#[tokio::test]
async fn an_origin_is_not_connected_to_where_it_may_not_be() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let refusing = Client::new(&Origins::default());
    for host in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"] {
        let target = target(host, port);
        let error = refusing.request(std::slice::from_ref(&target), &request()).await.err().unwrap();
        assert_eq!(error.kind, UpstreamErrorKind::AddressRefused, "{host}: {error}");
        assert!(error.detail.contains("which is loopback; a node connects there only with [origins] allow = ["), "{error}");
    }
    assert!(tokio::time::timeout(Duration::from_millis(1), listener.accept()).await.is_err(), "somebody connected");
}
