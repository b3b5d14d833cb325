//! One request of a client: what all ways of answering it share. Which site it is for, whether its client may ask, what a client is told that gets no
//! answer, and what is counted and logged of all.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use skerry_agent::figures::{Answered, Failure, Figures, Outcome};
use skerry_cache::answer::CacheStatus;
use skerry_cache::exchange::Exchange;
use skerry_config::snapshot::{Served, Snapshot};
use skerry_transport::client::Client;
use skerry_transport::gate::Gate;
use skerry_transport::head::Head;
use skerry_transport::hygiene;

use crate::beacon::Beacon;
use crate::country::Countries;
use crate::fault::Fault;
use crate::fill::Upstreams;
use crate::forwarded::Came;
use crate::quic::Announced;
use crate::rate::{Over, Rates};
use crate::round_trips::RoundTrips;
use crate::{Current, shape};

/// What an edge answers with.
pub(crate) struct Edge {
    pub(crate) name: String,
    pub(crate) current: Current,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) countries: Arc<Countries>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) gate: Gate,
    pub(crate) announced: Announced,
    pub(crate) rates: Rates,
    pub(crate) round_trips: Arc<RoundTrips>,
    pub(crate) beacon: Beacon,
}

impl Edge {
    /// The site of a valid request, or why there is none. Takes out of its fields what only a tier may say.
    pub(crate) fn route<'a>(&self, current: &'a Snapshot, head: &mut Head) -> Result<&'a Arc<Served>, Fault> {
        if self.upstreams.has_looped(&head.headers) {
            return Err(Fault::Loop);
        }
        hygiene::strip_own(&mut head.headers);
        current.site_for_host(head.host()).ok_or_else(|| Fault::NoSite(head.host().to_owned()))
    }

    /// Where a request came from. A load balancer that the site trusts says by which scheme.
    pub(crate) fn came(&self, head: &mut Head, served: &Served, peer: Option<IpAddr>) -> Came {
        let came = Came::of(peer, &head.headers, &served.site().forwarding);
        head.scheme = came.scheme.unwrap_or(head.scheme);
        came
    }

    /// Whether a client may ask now. Each request is counted once: by whoever answers it.
    pub(crate) fn admit(&self, served: &Served, path: &str, headers: &HeaderMap, came: &Came) -> Result<(), Over> {
        match came.client() {
            Some(client) if !served.rates().is_empty() => self.rates.admit(served, path, headers, client),
            _ => Ok(()),
        }
    }

    /// What a client is told that asks too often. Counts that.
    pub(crate) fn too_often(&self, served: &Served, over: Over) -> Fault {
        self.rates.refused(&served.site().name, over);
        Fault::Often(over.seconds)
    }

    /// The answer to a client that gets no other: its fields and its text.
    pub(crate) fn refusal(&self, status_of_cache: &CacheStatus, fault: &Fault, secured: bool) -> (HeaderMap, Bytes) {
        let text = Bytes::from(format!("{}\n", fault.text()));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = fault.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        shape::finish(&mut headers, &self.name, status_of_cache, None);
        shape::announce(&mut headers, secured, &self.announced);
        (headers, text)
    }

    /// Counts and logs a request that has ended, and remembers it where it went wrong.
    pub(crate) fn close(&self, asked: &Asked<'_>, served: Option<&Served>, ended: &Ended) {
        if let Some(served) = served
            && (ended.is_cut || ended.status.is_server_error())
        {
            let (site, method, uri) = (&*served.site().name, asked.method.as_str(), asked.uri.unwrap_or_default());
            let reason = ended.error.as_deref().or(ended.reason).unwrap_or("the origin's answer");
            self.figures.failed(&Failure { site, method, uri, status: ended.status.as_u16(), reason });
        }
        self.count(asked, served.and_then(Served::slot), ended);
    }

    /// Counts and logs a request that has ended. `slot` is its site's, where there is one.
    pub(crate) fn count(&self, asked: &Asked<'_>, slot: Option<u32>, ended: &Ended) {
        let seconds = asked.started.elapsed().as_secs_f64();
        let &Ended { status, outcome, bytes, head, is_cut, .. } = ended;
        self.figures.answered(&Answered { slot, status: status.as_u16(), outcome, is_cut, bytes, head, seconds });
        if !is_logged() {
            return;
        }
        // Asked of the kernel.
        let round_trip = asked.client.and_then(Client::round_trip);
        tracing::debug!(
            target: "skerry::access",
            client = asked.client.map(|client| tracing::field::display(client.ip())),
            method = %asked.method,
            uri = asked.uri,
            status = ended.status.as_u16(),
            bytes = ended.bytes,
            seconds,
            cache = ?ended.outcome,
            reason = ended.reason,
            protocol = asked.client.map(|client| client.protocol.as_str()),
            tls = asked.client.map(Client::security),
            rtt_us = round_trip.map(|times| times.smoothed.as_micros()),
            rtt_min_us = round_trip.map(|times| times.least.as_micros()),
            error = ended.error.as_deref(),
            "answered"
        );
    }
}

/// What is logged of a request, whatever became of it.
pub(crate) struct Asked<'a> {
    pub(crate) client: Option<&'a Client>,
    pub(crate) method: &'a Method,
    /// Authority, path and query, where requests are logged.
    pub(crate) uri: Option<&'a str>,
    /// When its head had been read.
    pub(crate) started: Instant,
}

/// What became of a request.
pub(crate) struct Ended {
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    /// Bytes of the body sent.
    pub(crate) bytes: u64,
    /// From the request's head to that of the answer, or to when it was clear that there is none; `None` for an answer in memory.
    pub(crate) head: Option<Duration>,
    /// Whether the answer was cut off because upstream ended early.
    pub(crate) is_cut: bool,
    /// Why there was no other answer.
    pub(crate) reason: Option<&'static str>,
    /// Why the answer was not sent to its end.
    pub(crate) error: Option<Cow<'static, str>>,
}

/// Whether requests are logged: what is only for that costs something to put together.
pub(crate) fn is_logged() -> bool {
    tracing::enabled!(target: "skerry::access", tracing::Level::DEBUG)
}
