//! One request of an edge: what all ways of answering it share. Which site it is for, what an edge is told that gets no answer, and what is counted
//! and logged of all.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue, VIA};
use http::{Method, StatusCode};
use skerry_agent::figures::{Answered, Failure, Figures, Outcome};
use skerry_cache::answer::CacheStatus;
use skerry_cache::exchange::Exchange;
use skerry_config::snapshot::Served;
use skerry_transport::client::Client;
use skerry_transport::gate::Gate;
use skerry_transport::head::Head;
use skerry_transport::hygiene::{self, CACHE_STATUS, FAULT, SITE};
use skerry_transport::private::Private;

use crate::Current;
use crate::fault::Fault;
use crate::origin::Origins;
use crate::purged::Purged;

/// What a shield answers with.
pub(crate) struct Shield {
    pub(crate) name: String,
    pub(crate) current: Current,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) gate: Gate,
    pub(crate) purged: Purged,
    pub(crate) private: Arc<Private>,
}

impl Shield {
    /// The site of a valid request of an edge, or why there is none. A removed edge may have come before it was.
    pub(crate) fn route(&self, head: &Head, edge: Option<&Client>) -> Result<Arc<Served>, Fault> {
        let certificate = edge.and_then(|edge| edge.secured.as_ref()?.certificate);
        if certificate.is_none_or(|certificate| self.private.is_revoked(&certificate)) {
            return Err(Fault::Removed);
        }
        if self.origins.has_looped(&head.headers) {
            return Err(Fault::Loop);
        }
        let served = self.current.load().site_for_host(head.host()).cloned().ok_or(Fault::NoSite)?;
        // While a change is on its way the edge may route the host to another site, and would keep this one's answer for it.
        let is_other = head.headers.get(SITE).is_some_and(|site| site.as_bytes() != served.site().name.as_bytes());
        if is_other { Err(Fault::NoSite) } else { Ok(served) }
    }

    /// `Cache-Status` of this tier alone (what an origin wrote there belongs to another chain), and `Via`.
    pub(crate) fn finish(&self, headers: &mut HeaderMap, own: &CacheStatus) {
        headers.insert(CACHE_STATUS, own.render(&self.name));
        hygiene::append_member(headers, VIA, &format!("1.1 {}", self.name));
    }

    /// The answer to an edge that gets no other: its fields and its text.
    pub(crate) fn refusal(&self, status_of_cache: &CacheStatus, fault: Fault) -> (HeaderMap, Bytes) {
        let text = Bytes::from(format!("{}\n", fault.detail()));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(FAULT, HeaderValue::from_static(fault.detail()));
        if let Some(seconds) = fault.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        self.finish(&mut headers, status_of_cache);
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
    fn count(&self, asked: &Asked<'_>, slot: Option<u32>, ended: &Ended) {
        let seconds = asked.started.elapsed().as_secs_f64();
        let &Ended { status, outcome, bytes, head, is_cut, .. } = ended;
        self.figures.answered(&Answered { slot, status: status.as_u16(), outcome, is_cut, bytes, head: Some(head), seconds });
        tracing::debug!(
            target: "skerry::access",
            method = %asked.method,
            uri = asked.uri,
            status = ended.status.as_u16(),
            bytes = ended.bytes,
            seconds,
            cache = ?ended.outcome,
            error = ended.error.as_deref(),
            "answered"
        );
    }
}

/// What is logged of a request, whatever became of it.
pub(crate) struct Asked<'a> {
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
    /// From the request's head to that of the answer, or to when it was clear that there is none.
    pub(crate) head: Duration,
    /// Whether the answer was cut off because the origin ended early.
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
