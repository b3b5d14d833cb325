//! The only place where the shield chooses an error status.

use http::StatusCode;
use skerry_cache::fetch::FetchErrorKind;
use skerry_transport::origin::QUEUE_RETRY_AFTER;
use skerry_transport::upstream::PassFailure;

use crate::origin::fetch_kind;

/// A request the shield does not answer with content. Its client is an edge, which tells its own client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The head was not valid.
    Head,
    /// No site owns the host, or another one than at the edge: which is ahead of this shield, or behind it.
    NoSite,
    /// The edge was removed from the CDN: it asks another shield, which says the same, or the origin.
    Removed,
    /// The request came round in a circle.
    Loop,
    /// The origin gave nothing to answer with.
    Origin(FetchErrorKind),
    /// The origin is not asked at this moment; after so many seconds it may be.
    Unasked(FetchErrorKind, u32),
    /// The edge stopped sending a body.
    Slow,
    /// As many requests as may be are being answered: the edge asks another shield, or the origin.
    Busy,
}

impl Fault {
    /// What to tell an edge whose request could not be passed through; `None` when it is gone.
    pub(crate) fn of(failure: PassFailure) -> Option<Self> {
        match failure {
            PassFailure::ClientGone => None,
            PassFailure::ClientWrong => Some(Self::Head),
            // An edge judges the size of bodies.
            PassFailure::ClientSlow | PassFailure::TooLarge => Some(Self::Slow),
            PassFailure::Upstream(kind) => Some(Self::origin(fetch_kind(kind), None)),
        }
    }

    /// What to tell an edge of a failure of the origin, after which it may be worth while to ask again in so many seconds.
    pub(crate) fn origin(kind: FetchErrorKind, retry_after: Option<u32>) -> Self {
        if kind.is_unasked() { Self::Unasked(kind, retry_after.unwrap_or(QUEUE_RETRY_AFTER)) } else { Self::Origin(kind) }
    }

    /// The status (RFC 9110 section 15; 508 from RFC 5842).
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Head => StatusCode::BAD_REQUEST,
            Self::NoSite | Self::Removed => StatusCode::MISDIRECTED_REQUEST,
            Self::Loop | Self::Origin(FetchErrorKind::Loop) => StatusCode::LOOP_DETECTED,
            Self::Origin(FetchErrorKind::Timeout | FetchErrorKind::TooLong | FetchErrorKind::OnlyIfCached) => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy | Self::Unasked(..) | Self::Origin(FetchErrorKind::Overload) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Origin(_) => StatusCode::BAD_GATEWAY,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The `detail` of `Cache-Status`; it travels to the client.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Head => "bad-request",
            Self::NoSite => "no-site",
            Self::Removed => "removed",
            Self::Loop => "loop",
            Self::Origin(kind) | Self::Unasked(kind, _) => kind.as_str(),
            Self::Slow => "request-timeout",
            Self::Busy => "busy",
        }
    }

    /// The seconds after which the edge's client may ask again, where waiting helps.
    pub(crate) fn retry_after(self) -> Option<u32> {
        match self {
            Self::Unasked(_, seconds) => Some(seconds),
            Self::Busy => Some(QUEUE_RETRY_AFTER),
            _ => None,
        }
    }
}

/// The status that is counted where no edge was there to be told one, by the convention of other servers.
pub(crate) fn of_nobody() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_status() {
        for (fault, status) in [
            (Fault::Head, 400),
            (Fault::NoSite, 421),
            (Fault::Removed, 421),
            (Fault::Loop, 508),
            (Fault::Origin(FetchErrorKind::AddressRefused), 502),
            (Fault::Origin(FetchErrorKind::Connect), 502),
            (Fault::Origin(FetchErrorKind::Timeout), 504),
            (Fault::Origin(FetchErrorKind::TooLong), 504),
            (Fault::Origin(FetchErrorKind::Overload), 503),
            (Fault::Slow, 408),
            (Fault::Busy, 503),
            (Fault::origin(FetchErrorKind::QueueFull, None), 503),
            (Fault::origin(FetchErrorKind::BreakerOpen, Some(7)), 503),
        ] {
            assert_eq!(fault.status().as_u16(), status, "{fault:?}");
        }
    }
}
