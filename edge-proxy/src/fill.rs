//! Where the edge asks: a shield, or, where the site allows it, the origin when no shield answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use skerry_agent::Place;
use skerry_cache::fetch::{Body, Fetch, FetchError, FetchErrorKind, Fetched, Forward};
use skerry_cache::time::Time;
use skerry_config::site::Site;
use skerry_config::snapshot::{Served, Snapshot};
use skerry_transport::aged::{AGE_MS, Aged};
use skerry_transport::hygiene::{FAULT, PURGE_LOG, PURGE_SEQ, SAID_BY_EDGES, SCHEME, SITE, Signature};
use skerry_transport::interim::Early;
use skerry_transport::target::{Target, Times};
use skerry_transport::upstream::{Client, Incoming, IncomingBody, Outgoing, UpstreamError, UpstreamErrorKind};
use tokio::sync::watch;

use crate::forwarded::Came;
use crate::shields;

/// The time to connect to a shield before the next one is tried.
const SHIELD_CONNECT: Duration = Duration::from_secs(2);
/// What a shield may need beyond its origin's own times and its turn there: catching up with purges, 2 s, and the address of a name, 6 s.
const SHIELD_MARGIN: Duration = Duration::from_secs(8);

/// How much longer a shield may take than the origin of a site.
pub(crate) fn shield_margin(site: &Site) -> Duration {
    SHIELD_MARGIN + site.origin.limits.queue_time.0
}

/// The edge's way upstream.
pub(crate) struct Upstreams {
    signature: Signature,
    client: Arc<Client>,
    /// Where the edge stands in the purges.
    places: watch::Receiver<Arc<Place>>,
}

impl Upstreams {
    pub(crate) fn new(name: &str, ca: &[u8], client: Arc<Client>, places: watch::Receiver<Arc<Place>>) -> Self {
        Self { signature: Signature::new(name, ca), client, places }
    }

    /// Whether the request has passed this edge before.
    pub(crate) fn has_looped(&self, headers: &HeaderMap) -> bool {
        self.signature.is_in(headers)
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The shields of a site in the order in which they serve a resource.
    pub(crate) fn shields(&self, snapshot: &Snapshot, host: &str, path: &str, site: &Site) -> Vec<Target> {
        let (origin, pass) = (&site.origin, &site.pass);
        let margin = shield_margin(site);
        let first_byte = origin.connect_timeout.0 + origin.tls_timeout.0 + origin.first_byte_timeout.0 + margin;
        let times = Times {
            connect: SHIELD_CONNECT,
            tls: SHIELD_CONNECT,
            first_byte,
            between_bytes: origin.between_bytes_timeout.0 + SHIELD_MARGIN,
            total: origin.total_timeout.map(|total| total.0 + margin),
            events_idle: pass.events_idle_timeout.0 + SHIELD_MARGIN,
            events: pass.events_timeout.0 + SHIELD_MARGIN,
        };
        let ranked = shields::ranked(snapshot, site, host, path).into_iter();
        let shared = self.client.origins().shared(site);
        ranked.filter_map(|shield| self.client.shield(shield, times, shared.clone())).collect()
    }

    /// Says to a shield what only a tier may say.
    pub(crate) fn sign_for_shield(&self, headers: &mut HeaderMap, site: &Site, scheme: &'static str, purge_seq: u64) {
        headers.insert(PURGE_SEQ, HeaderValue::from(purge_seq));
        if let Ok(history) = HeaderValue::try_from(self.places.borrow().history()) {
            headers.insert(PURGE_LOG, history);
        }
        headers.insert(SCHEME, HeaderValue::from_static(scheme));
        if let Ok(name) = HeaderValue::from_str(&site.name) {
            headers.insert(SITE, name);
        }
    }

    /// Says where the request has been.
    pub(crate) fn sign(&self, headers: &mut HeaderMap) {
        self.signature.sign(headers);
    }
}

/// One request's way upstream.
pub(crate) struct Fill {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) served: Arc<Served>,
    /// The host by which shields are ranked, see [`shields::ranking_host`].
    pub(crate) host: String,
    pub(crate) came: Came,
    /// Takes interim answers of an origin to the client while the final one is waited for. Those of a shield come with its final head.
    pub(crate) early: Arc<Early>,
}

#[async_trait]
impl Fetch for Fill {
    async fn fetch(&self, forward: Forward) -> Result<Fetched, FetchError> {
        let request = forward.request;
        let site = self.served.site();
        let path = request.path_and_query.split_once('?').map_or(request.path_and_query.as_str(), |(path, _)| path);
        let shields = self.upstreams.shields(&self.snapshot, &self.host, path, site);
        let mut outgoing = Outgoing {
            method: if request.head_only { Method::HEAD } else { Method::GET },
            path_and_query: request.path_and_query,
            authority: request.authority,
            headers: request.headers,
            early: None,
        };
        self.upstreams.sign(&mut outgoing.headers);
        self.came.tell(&mut outgoing.headers, &site.forwarding.send, request.scheme, &outgoing.authority);
        self.upstreams.client.origins().goes_up(site);
        if !shields.is_empty() {
            self.upstreams.sign_for_shield(&mut outgoing.headers, site, request.scheme, forward.purge_seq);
            if let Some(answered) = self.ask_shields(&shields, &outgoing).await {
                return answered.map_err(fetch_error);
            }
            SAID_BY_EDGES.iter().for_each(|name| drop(outgoing.headers.remove(name)));
        }
        if !site.shields.may_pass_by() {
            return Err(no_shield(site, shields.len()));
        }
        outgoing.early = Some(Arc::clone(&self.early));
        let client = &self.upstreams.client;
        let requested_at = Time::from(SystemTime::now());
        let mut incoming = client.request(&client.origins().targets(site), &outgoing).await.map_err(fetch_error)?;
        incoming.headers.remove(AGE_MS);
        Ok(fetched(incoming, requested_at))
    }

    fn may_repeat(&self) -> bool {
        self.upstreams.client.origins().may_repeat(self.served.site())
    }
}

impl Fill {
    /// The answer of the first shield that has one; `None` when none has. What is asked for here is safe to ask for twice.
    async fn ask_shields(&self, shields: &[Target], request: &Outgoing) -> Option<Result<Fetched, UpstreamError>> {
        for shield in shields {
            // What the ones before took is no part of this one's time.
            let requested_at = Time::from(SystemTime::now());
            match self.upstreams.client.request(std::slice::from_ref(shield), request).await {
                Ok(incoming) if is_elsewhere(&incoming.headers) => {
                    tracing::warn!(shield = shield.label(), host = request.authority, "the shield does not know the site; asking the next");
                }
                Ok(incoming) if is_overloaded(&incoming.headers) => {
                    tracing::warn!(shield = shield.label(), host = request.authority, "the shield has too much to do; asking the next");
                }
                Ok(incoming) => return Some(word_of(shield, incoming).map(|incoming| fetched(incoming, requested_at))),
                // Where nothing was sent nothing is repeated. A shield that lives says itself that its origin is late, before the edge's time is over.
                Err(error) if error.kind != UpstreamErrorKind::TooLong && (error.kind.is_unreachable() || self.may_repeat()) => {
                    tracing::warn!(error = error.detail, "the shield gives no answer; asking the next");
                }
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// What there is to say when no shield answers and the origin is not for edges to ask.
fn no_shield(site: &Site, tried: usize) -> FetchError {
    let detail = format!("none of {tried} shields of {} answers, and its shields.fallback is fail", site.name);
    FetchError { kind: FetchErrorKind::NoShield, detail, retry_after: None }
}

/// Whether a shield says that the request is none of its own: it does not know the site, or the edge. An origin's own 421 is an answer.
pub(crate) fn is_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(FAULT).is_some_and(|fault| fault == "no-site" || fault == "removed")
}

/// Whether a shield says that it has too much to do: it has done nothing with the request.
pub(crate) fn is_overloaded(headers: &HeaderMap) -> bool {
    headers.get(FAULT).is_some_and(|fault| fault == "busy" || fault == FetchErrorKind::Overload.as_str())
}

/// What a shield answered: the origin's answer, or what became of asking for it.
fn word_of(shield: &Target, mut incoming: Incoming) -> Result<Incoming, UpstreamError> {
    let fault = incoming.headers.remove(FAULT);
    let Some(kind) = fault.as_ref().and_then(|fault| UpstreamErrorKind::named(fault.to_str().ok()?)) else { return Ok(incoming) };
    let seconds = incoming.headers.get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    let detail = format!("{} has no answer: {}", shield.label(), FetchErrorKind::as_str(fetch_kind(kind)));
    Err(UpstreamError { kind, detail, retry_after: seconds })
}

fn fetched(incoming: Incoming, requested_at: Time) -> Fetched {
    let Incoming { status, mut headers, interim, body } = incoming;
    let responded_at = Time::from(SystemTime::now());
    let age = Aged::take(&mut headers).map(|aged| aged.on_arrival(responded_at.since(requested_at)));
    Fetched { status, headers, interim, body: Box::new(Arriving(body)), age, requested_at, responded_at }
}

struct Arriving(IncomingBody);

#[async_trait]
impl Body for Arriving {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_one_name_in_all_tiers() {
        for kind in UpstreamErrorKind::ALL {
            assert_eq!(kind.as_str(), fetch_kind(kind).as_str());
            assert_eq!(UpstreamErrorKind::named(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn only_a_shield_that_has_too_much_to_do_sends_an_edge_to_the_next_one() {
        for (fault, goes_on) in [("busy", true), ("overload", true), ("queue-full", false), ("loop", false), ("connect-failed", false)] {
            let headers = HeaderMap::from_iter([(FAULT, HeaderValue::from_static(fault))]);
            assert_eq!(is_overloaded(&headers), goes_on, "{fault}");
        }
        assert!(!is_overloaded(&HeaderMap::new()));
    }
}
