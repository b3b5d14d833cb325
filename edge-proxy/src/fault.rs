//! The only place where the edge chooses an error status.

use http::StatusCode;
use skerry_cache::answer::CacheStatus;
use skerry_cache::fetch::FetchErrorKind;
use skerry_transport::head::Refusal;
use skerry_transport::origin::QUEUE_RETRY_AFTER;
use skerry_transport::upstream::PassFailure;

use crate::fill::fetch_kind;

/// A request the edge does not answer with content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The head was not valid.
    Head(Refusal),
    /// No site owns the host.
    NoSite(String),
    /// The request came round in a circle.
    Loop,
    /// Upstream gave nothing to answer with.
    Upstream(FetchErrorKind),
    /// Upstream is not asked at this moment; after so many seconds it may be.
    Unasked(FetchErrorKind, u32),
    /// The client asks too often; after so many seconds it may ask again.
    Often(u32),
    /// The client stopped sending its body.
    Slow,
    /// The client's body is too large.
    TooLarge,
    /// `limits.requests` are being answered.
    Busy,
}

/// When a client may ask again that came while too many others did, in seconds.
const BUSY_RETRY_AFTER: u32 = 1;

impl Fault {
    /// What to tell a client whose request could not be passed through; `None` when nobody is there to be told.
    pub(crate) fn of(failure: PassFailure) -> Option<Self> {
        match failure {
            PassFailure::ClientGone => None,
            PassFailure::ClientWrong => Some(Self::Head(Refusal::Framing)),
            PassFailure::ClientSlow => Some(Self::Slow),
            PassFailure::TooLarge => Some(Self::TooLarge),
            PassFailure::Upstream(kind) => Some(Self::upstream(fetch_kind(kind), None)),
        }
    }

    /// What to tell a client of a failure of upstream, after which it may be worth while to ask again in so many seconds.
    pub(crate) fn upstream(kind: FetchErrorKind, retry_after: Option<u32>) -> Self {
        if kind.is_unasked() { Self::Unasked(kind, retry_after.unwrap_or(QUEUE_RETRY_AFTER)) } else { Self::Upstream(kind) }
    }

    /// The status (RFC 9110 section 15; 508 from RFC 5842).
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Head(refusal) => status_of(*refusal),
            Self::NoSite(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Loop | Self::Upstream(FetchErrorKind::Loop) => StatusCode::LOOP_DETECTED,
            Self::Upstream(FetchErrorKind::Timeout | FetchErrorKind::TooLong | FetchErrorKind::OnlyIfCached) => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy | Self::Unasked(..) | Self::Upstream(FetchErrorKind::Overload | FetchErrorKind::NoShield) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Often(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// A sentence for the client; it tells nothing about addresses behind the edge.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Head(refusal) => refusal.text().to_owned(),
            Self::NoSite(host) => format!("no site here owns the host {host}"),
            Self::Loop => "the request has been here before".to_owned(),
            Self::Upstream(FetchErrorKind::OnlyIfCached) => {
                "nothing is stored that may be used, and the request allows nothing else".to_owned()
            }
            Self::Often(seconds) => format!("too many requests; ask again in {seconds} s"),
            Self::Slow => "the body of the request did not come in time".to_owned(),
            Self::TooLarge => "the body of the request is too large".to_owned(),
            Self::Busy => "too many requests are being answered here; ask again in a moment".to_owned(),
            Self::Unasked(kind, seconds) => format!("the origin is not asked at this moment ({kind}); ask again in {seconds} s"),
            Self::Upstream(FetchErrorKind::NoShield) => "none of the nodes in front of the origin answers".to_owned(),
            Self::Upstream(kind) => format!("no answer from the origin: {kind}"),
        }
    }

    /// What `Cache-Status` says of a request that came no further.
    pub(crate) fn status_of_cache(&self) -> CacheStatus {
        CacheStatus { detail: Some(self.detail()), ..CacheStatus::default() }
    }

    /// The `detail` of `Cache-Status`.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::Head(_) => "bad-request",
            Self::NoSite(_) => "no-site",
            Self::Loop => "loop",
            Self::Upstream(kind) | Self::Unasked(kind, _) => kind.as_str(),
            Self::Often(_) => "rate-limited",
            Self::Slow => "request-timeout",
            Self::TooLarge => "body-too-large",
            Self::Busy => "busy",
        }
    }

    /// The seconds after which the client may ask again, where waiting helps.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Busy => Some(BUSY_RETRY_AFTER),
            Self::Often(seconds) | Self::Unasked(_, seconds) => Some(*seconds),
            _ => None,
        }
    }
}

/// The status that is counted where nobody was there to be told one, by the convention of other servers: a client's leaving is no failure of upstream.
pub(crate) fn of_nobody() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Line | Refusal::LineEnd | Refusal::Field | Refusal::Host | Refusal::Target | Refusal::Framing | Refusal::Chunk => {
            StatusCode::BAD_REQUEST
        }
        Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        Refusal::Method | Refusal::Coding => StatusCode::NOT_IMPLEMENTED,
        Refusal::TargetLength => StatusCode::URI_TOO_LONG,
        Refusal::HeadLength | Refusal::FieldCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::BodyLength => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::HeadTime | Refusal::BodyTime => StatusCode::REQUEST_TIMEOUT,
        Refusal::Flood => StatusCode::TOO_MANY_REQUESTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_status() {
        for (fault, status) in [
            (Fault::Head(Refusal::Host), 400),
            (Fault::Head(Refusal::Target), 400),
            (Fault::Head(Refusal::TargetLength), 414),
            (Fault::Head(Refusal::HeadLength), 431),
            (Fault::Head(Refusal::Framing), 400),
            (Fault::Head(Refusal::Line), 400),
            (Fault::Head(Refusal::LineEnd), 400),
            (Fault::Head(Refusal::Field), 400),
            (Fault::Head(Refusal::Chunk), 400),
            (Fault::Head(Refusal::Version), 505),
            (Fault::Head(Refusal::Method), 501),
            (Fault::Head(Refusal::Coding), 501),
            (Fault::Head(Refusal::FieldCount), 431),
            (Fault::Head(Refusal::BodyLength), 413),
            (Fault::Head(Refusal::HeadTime), 408),
            (Fault::Head(Refusal::BodyTime), 408),
            (Fault::Head(Refusal::Flood), 429),
            (Fault::NoSite("h".to_owned()), 421),
            (Fault::Loop, 508),
            (Fault::Busy, 503),
            (Fault::Upstream(FetchErrorKind::AddressRefused), 502),
            (Fault::Upstream(FetchErrorKind::Connect), 502),
            (Fault::Upstream(FetchErrorKind::Timeout), 504),
            (Fault::Upstream(FetchErrorKind::TooLong), 504),
            (Fault::Upstream(FetchErrorKind::Overload), 503),
            (Fault::Upstream(FetchErrorKind::NoShield), 503),
            (Fault::Upstream(FetchErrorKind::Cut), 502),
            (Fault::Often(1), 429),
            (Fault::Slow, 408),
            (Fault::TooLarge, 413),
        ] {
            assert_eq!(fault.status().as_u16(), status, "{fault:?}");
        }
    }
}
