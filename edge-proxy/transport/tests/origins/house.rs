//! Requests to origins, and origins that say exactly what a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use skerry_config::process::Origins;
use skerry_config::site::HttpVersion;
use skerry_transport::target::{Endpoint, Target, Times};
use skerry_transport::upstream::{Client, Outgoing, UpstreamError};

/// More than anything here takes.
pub(crate) const TIME: Duration = Duration::from_secs(10);

/// The tests' own servers are on loopback; names are asked for at `resolvers`.
pub(crate) fn origins(resolvers: &[SocketAddr]) -> Origins {
    Origins { allow: vec!["127.0.0.0/8".parse().unwrap()], resolvers: resolvers.to_vec() }
}

/// A target in cleartext.
pub(crate) fn target(host: &str, port: u16) -> Target {
    to(Endpoint::new(host.to_owned(), port, None, HttpVersion::Auto))
}

/// A target that has time.
pub(crate) fn to(endpoint: Arc<Endpoint>) -> Target {
    let times = Times { connect: TIME, tls: TIME, first_byte: TIME, between_bytes: TIME, total: None, events_idle: TIME, events: TIME };
    Target { endpoint, host_header: None, times, guard: None, site: None }
}

/// The whole body, or why there is none.
pub(crate) async fn whole(client: &Client, target: &Target, request: &Outgoing) -> Result<(u16, String), UpstreamError> {
    let mut incoming = client.request(std::slice::from_ref(target), request).await?;
    let mut body = Vec::new();
    while let Some(piece) = incoming.body.chunk().await? {
        assert!(!piece.is_empty());
        body.extend(piece);
    }
    Ok((incoming.status.as_u16(), String::from_utf8(body).unwrap()))
}

/// What `next` gives, in time.
pub(crate) async fn soon<T>(next: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIME, next).await.expect("it does not come")
}

/// A request for `/`.
pub(crate) fn request() -> Outgoing {
    Outgoing {
        method: Method::GET,
        path_and_query: "/".to_owned(),
        authority: "shop.test".to_owned(),
        headers: HeaderMap::new(),
        early: None,
    }
}
