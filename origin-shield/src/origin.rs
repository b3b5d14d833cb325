//! Where the shield asks: the site's servers, best first.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use skerry_cache::fetch::{Body, Fetch, FetchError, FetchErrorKind, Fetched, Forward};
use skerry_cache::time::Time;
use skerry_config::snapshot::Served;
use skerry_transport::aged::AGE_MS;
use skerry_transport::hygiene::Signature;
use skerry_transport::upstream::{Client, IncomingBody, Outgoing, UpstreamError, UpstreamErrorKind};

/// The shield's way to origins.
pub(crate) struct Origins {
    signature: Signature,
    client: Arc<Client>,
}

impl Origins {
    pub(crate) fn new(name: &str, ca: &[u8], client: Arc<Client>) -> Self {
        Self { signature: Signature::new(name, ca), client }
    }

    /// Whether the request has passed this shield before.
    pub(crate) fn has_looped(&self, headers: &HeaderMap) -> bool {
        self.signature.is_in(headers)
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Says where the request has been; who asks, the edge has said already.
    pub(crate) fn sign(&self, headers: &mut HeaderMap) {
        self.signature.sign(headers);
    }
}

/// One request's way to its origin.
pub(crate) struct FromOrigin {
    pub(crate) origins: Arc<Origins>,
    pub(crate) served: Arc<Served>,
}

#[async_trait]
impl Fetch for FromOrigin {
    async fn fetch(&self, forward: Forward) -> Result<Fetched, FetchError> {
        let request = forward.request;
        let mut outgoing = Outgoing {
            method: if request.head_only { Method::HEAD } else { Method::GET },
            path_and_query: request.path_and_query,
            authority: request.authority,
            headers: request.headers,
            // They go to the edge in the final head.
            early: None,
        };
        self.origins.sign(&mut outgoing.headers);
        let requested_at = Time::from(SystemTime::now());
        let (client, site) = (&self.origins.client, self.served.site());
        client.origins().goes_up(site);
        let mut incoming = client.request(&client.origins().targets(site), &outgoing).await.map_err(fetch_error)?;
        incoming.headers.remove(AGE_MS);
        Ok(Fetched {
            status: incoming.status,
            headers: incoming.headers,
            interim: incoming.interim,
            body: Box::new(FromBody(incoming.body)),
            age: None,
            requested_at,
            responded_at: Time::from(SystemTime::now()),
        })
    }

    fn may_repeat(&self) -> bool {
        self.origins.client.origins().may_repeat(self.served.site())
    }
}

struct FromBody(IncomingBody);

#[async_trait]
impl Body for FromBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        self.0.chunk().await.map_err(fetch_error)
    }
}

fn fetch_error(error: UpstreamError) -> FetchError {
    FetchError { kind: fetch_kind(error.kind), detail: error.detail, retry_after: error.retry_after }
}

/// The cache's word for a failure of the transport.
pub(crate) fn fetch_kind(kind: UpstreamErrorKind) -> FetchErrorKind {
    match kind {
        UpstreamErrorKind::Resolve => FetchErrorKind::Resolve,
        UpstreamErrorKind::AddressRefused => FetchErrorKind::AddressRefused,
        UpstreamErrorKind::Connect => FetchErrorKind::Connect,
        UpstreamErrorKind::Tls => FetchErrorKind::Tls,
        UpstreamErrorKind::Timeout => FetchErrorKind::Timeout,
        UpstreamErrorKind::TooLong => FetchErrorKind::TooLong,
        UpstreamErrorKind::Protocol => FetchErrorKind::Protocol,
        UpstreamErrorKind::BadHead => FetchErrorKind::BadHead,
        UpstreamErrorKind::HeadTooLarge => FetchErrorKind::HeadTooLarge,
        UpstreamErrorKind::BadLength => FetchErrorKind::BadLength,
        UpstreamErrorKind::BadCoding => FetchErrorKind::BadCoding,
        UpstreamErrorKind::BadChunk => FetchErrorKind::BadChunk,
        UpstreamErrorKind::Unasked101 => FetchErrorKind::Unasked101,
        UpstreamErrorKind::Unasked206 => FetchErrorKind::Unasked206,
        UpstreamErrorKind::Unasked304 => FetchErrorKind::Unasked304,
        UpstreamErrorKind::Cut => FetchErrorKind::Cut,
        UpstreamErrorKind::QueueFull => FetchErrorKind::QueueFull,
        UpstreamErrorKind::QueueTime => FetchErrorKind::QueueTime,
        UpstreamErrorKind::BreakerOpen => FetchErrorKind::BreakerOpen,
    }
}
