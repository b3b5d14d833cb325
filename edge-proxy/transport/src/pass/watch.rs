//! Watches over one exchange that is passed through: its times, and the size of the request's body. A tier tells it of every piece.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use skerry_config::site::Site;
use tokio::time::Instant;

use super::kind::{Bounds, Kind, takes_trailers};
use crate::alarm::Alarm;
use crate::head::Head;
use crate::hygiene;
use crate::session;
use crate::upstream::{PassFailure, UpstreamErrorKind};

/// How long a client may go on sending a body whose answer is complete.
const LINGER: Duration = Duration::from_secs(5);
/// How Pingora is told of a body that is too large (RFC 9110 section 15.5.14).
const TOO_LARGE: ErrorType = ErrorType::HTTPStatus(413);

/// See the module.
#[derive(Debug)]
pub struct Watch {
    kind: Kind,
    bounds: Bounds,
    /// The bounds where the answer turns out to be a stream of events.
    of_events: Bounds,
    began: Instant,
    alarm: Option<Arc<Alarm>>,
    request: Progress,
    answer: Progress,
    /// Bytes of the request's body so far, and how many it may have; 0 is no limit.
    body: u64,
    body_max: u64,
    expects_continue: bool,
    takes_trailers: bool,
    /// Whether the client speaks HTTP/1.0.
    is_old: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Due,
    Begun,
    Ended,
}

impl Watch {
    /// Begins to watch; `None` when the request says that its body is too large. `margin` is what the next tier may need beyond the site's own
    /// times, `body_max` the bytes of the largest body; 0 is no limit.
    pub fn begin(session: &mut Session, head: &Head, site: &Site, margin: Duration, body_max: u64) -> Option<Self> {
        let kind = Kind::of(head);
        let said = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if body_max > 0 && said.is_some_and(|length| length > body_max) {
            return None;
        }
        let bodiless = session.as_mut().is_body_empty();
        // The alarm is in place of Pingora's times for one read.
        session.set_read_timeout(None);
        let sent = session.req_header();
        let watch = Self {
            kind,
            bounds: kind.bounds(site).and(margin),
            of_events: Kind::Events.bounds(site).and(margin),
            began: Instant::now(),
            alarm: session::alarm(session),
            request: if bodiless { Progress::Ended } else { Progress::Due },
            answer: Progress::Due,
            body: 0,
            body_max: if kind == Kind::WebSocket { 0 } else { body_max },
            expects_continue: sent.headers.contains_key(header::EXPECT),
            takes_trailers: takes_trailers(&sent.headers),
            is_old: sent.version < Version::HTTP_11,
        };
        watch.set();
        Some(watch)
    }

    /// Whether the way upstream has to be HTTP/1.1: for an upgrade; for a body that waits to be asked for, because Pingora's HTTP/2 client shows
    /// no interim answers; and for a client of HTTP/1.0, because behind it Pingora sends chunks whatever the client speaks.
    pub(super) fn http1_only(&self) -> bool {
        self.kind == Kind::WebSocket || self.is_old || (self.expects_continue && self.kind != Kind::Grpc)
    }

    /// Whether the exchange is of a kind that may last for as long as both sides want.
    pub(super) fn may_last(&self) -> bool {
        self.kind != Kind::Request
    }

    /// Whether the client takes trailers.
    pub(super) fn takes_trailers(&self) -> bool {
        self.takes_trailers
    }

    /// Gives a peer times that hold where the alarm is not heard.
    pub(super) fn bound(&self, peer: &mut HttpPeer) {
        let Bounds { idle, first_byte, between_bytes, whole } = self.bounds;
        // Over HTTP/2 the time for the head runs from the beginning of the request.
        peer.options.read_timeout =
            Some(if peer.options.alpn.get_max_http_version() == 2 { whole } else { idle.max(first_byte).max(between_bytes) });
        peer.options.write_timeout = Some(idle);
    }

    /// A piece of the request's body, on its way upstream.
    ///
    /// # Errors
    /// When the body is too large.
    pub fn of_request(&mut self, body: &mut Option<Bytes>, end: bool) -> pingora::Result<()> {
        hygiene::drop_empty_end(body, end);
        self.body += body.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.body_max > 0 && self.body > self.body_max {
            return Error::e_explain(TOO_LARGE, "the body of the request is too large").map_err(|error| error.into_down());
        }
        self.request = if end && self.kind != Kind::WebSocket { Progress::Ended } else { Progress::Begun };
        self.set();
        Ok(())
    }

    /// The final head of the answer. A client whose body is no longer wanted is told that the connection ends, and so is one of HTTP/1.0 where
    /// only that ends the answer: chunks it cannot read (RFC 9112 section 6.1).
    pub fn of_head(&mut self, session: &mut Session, head: &mut ResponseHeader) {
        if self.is_old && head.remove_header(&header::TRANSFER_ENCODING).is_some() {
            session.set_keepalive(None);
        }
        self.kind = self.kind.answered(&head.headers);
        if self.kind == Kind::Events {
            self.bounds = self.of_events;
        }
        self.answer = if has_no_content(head.status, &head.headers) { Progress::Ended } else { Progress::Begun };
        if self.request != Progress::Ended && self.kind != Kind::WebSocket {
            session.set_keepalive(None);
        }
        self.set();
    }

    /// A piece of the answer's body.
    pub fn of_answer(&mut self, end: bool) {
        if end && self.kind != Kind::WebSocket {
            self.answer = Progress::Ended;
        }
        self.set();
    }

    /// Why the exchange ended early.
    #[must_use]
    pub fn failure(&self, error: &Error) -> PassFailure {
        if *error.etype() == TOO_LARGE {
            return PassFailure::TooLarge;
        }
        match (self.alarm.as_ref().is_some_and(|alarm| alarm.rang()), self.request) {
            (false, _) => PassFailure::of(error),
            (true, Progress::Ended) => PassFailure::Upstream(UpstreamErrorKind::Timeout),
            (true, _) => PassFailure::ClientSlow,
        }
    }

    /// Ends the watch.
    pub fn end(&self) {
        if let Some(alarm) = &self.alarm {
            alarm.set(None);
        }
    }

    fn set(&self) {
        let Some(alarm) = &self.alarm else { return };
        let Bounds { idle, first_byte, between_bytes, whole } = self.bounds;
        let pause = match (self.request, self.answer) {
            (Progress::Ended, Progress::Due) => first_byte,
            (Progress::Ended, _) => between_bytes,
            (_, Progress::Due) => idle,
            (_, Progress::Begun) => idle.max(between_bytes),
            (_, Progress::Ended) => LINGER,
        };
        alarm.set(Some((Instant::now() + pause).min(self.began + whole)));
    }
}

/// Whether nothing follows a head, as far as it tells.
fn has_no_content(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0")
}
