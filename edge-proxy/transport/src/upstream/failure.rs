//! Why upstream gave no (whole) answer.

use std::net::IpAddr;

use ipnet::IpNet;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use crate::connect::CONNECT;
use crate::sound;
use crate::target::Target;

/// Why upstream gave no (whole) answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct UpstreamError {
    /// The kind.
    pub kind: UpstreamErrorKind,
    /// What happened, with the address.
    pub detail: String,
    /// After so many seconds it may be worth while to ask again, where that is known.
    pub retry_after: Option<u32>,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// The name could not be resolved.
    Resolve,
    /// No address that an origin may have.
    AddressRefused,
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// Nothing came in time.
    Timeout,
    /// The answer as a whole took too long.
    TooLong,
    /// What came was not HTTP.
    Protocol,
    /// The head of the answer could not be read.
    BadHead,
    /// The head of the answer was larger than [`HEAD_BYTES_MAX`](crate::sound::HEAD_BYTES_MAX) or had more than 256 fields.
    HeadTooLarge,
    /// Where the body ends was in doubt (RFC 9112 section 6.3).
    BadLength,
    /// The body came in a transfer coding nobody asked for.
    BadCoding,
    /// The chunks of the body were not well formed.
    BadChunk,
    /// 101 without an offer to change the protocol.
    Unasked101,
    /// 206 to a request without `Range`.
    Unasked206,
    /// 304 to a request without condition.
    Unasked304,
    /// The answer ended early.
    Cut,
    /// It was not asked: as many requests waited for it as may.
    QueueFull,
    /// It was not asked: the request waited too long for its turn.
    QueueTime,
    /// It was not asked: it is left alone for a while.
    BreakerOpen,
}

/// Names in Pingora's error type, for what neither it nor what is refused in an answer has one.
const RESOLVE: &str = "resolve-failed";
const ADDRESS_REFUSED: &str = "address-refused";
pub(super) const TOO_LONG: &str = "total-timeout";

impl UpstreamError {
    /// One after which nobody knows when to ask again.
    pub(crate) fn new(kind: UpstreamErrorKind, detail: String) -> Self {
        Self { kind, detail, retry_after: None }
    }

    /// The same for Pingora, of a target that is not asked.
    pub(crate) fn into_error(self) -> Box<Error> {
        let name = match self.kind {
            UpstreamErrorKind::Resolve => ErrorType::Custom(RESOLVE),
            UpstreamErrorKind::AddressRefused => ErrorType::Custom(ADDRESS_REFUSED),
            kind => sound::name(kind).map_or(ErrorType::ConnectError, ErrorType::Custom),
        };
        Error::explain(name, self.detail).into_up()
    }
}

pub(super) fn address_refused(target: &Target, ip: IpAddr, what: &str) -> UpstreamError {
    let prefix = IpNet::from(ip.to_canonical());
    let detail = format!(
        "{} leads to {ip}, which is {what}; a node connects there only with [origins] allow = [\"{prefix}\"] in its settings",
        target.label()
    );
    UpstreamError::new(UpstreamErrorKind::AddressRefused, detail)
}

pub(super) fn connect_failure(target: &Target, peer: &HttpPeer, error: &Error) -> UpstreamError {
    let kind = match UpstreamErrorKind::of(error) {
        UpstreamErrorKind::Tls => UpstreamErrorKind::Tls,
        _ => UpstreamErrorKind::Connect,
    };
    let detail = match (kind, &error.context) {
        // It names the addresses that were tried.
        (UpstreamErrorKind::Connect, Some(why)) => format!("{} cannot be reached: {}", target.label(), why.as_str()),
        _ => format!("{} at {} cannot be reached: {}", target.label(), peer._address, of_handshake(target, error)),
    };
    UpstreamError::new(kind, detail)
}

pub(super) fn failure(target: &Target, peer: &HttpPeer, error: &Error) -> UpstreamError {
    let kind = UpstreamErrorKind::of(error);
    let why = error.context.as_ref().filter(|_| matches!(kind, UpstreamErrorKind::Timeout | UpstreamErrorKind::TooLong));
    let why = why.map_or(error.etype().as_str(), |why| why.as_str());
    UpstreamError::new(kind, format!("{} at {} gave no answer: {why}", target.label(), peer._address))
}

/// What was wrong with a handshake.
fn of_handshake(target: &Target, error: &Error) -> String {
    if *error.etype() == ErrorType::ConnectTimedout {
        return format!("the TLS handshake was not done in {:?}", target.times.tls);
    }
    // The cause beside it is only the address that was connected from.
    error.context.as_ref().map_or(error.etype().as_str(), |why| why.as_str()).to_owned()
}

impl UpstreamErrorKind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Resolve,
        Self::AddressRefused,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::TooLong,
        Self::Protocol,
        Self::BadHead,
        Self::HeadTooLarge,
        Self::BadLength,
        Self::BadCoding,
        Self::BadChunk,
        Self::Unasked101,
        Self::Unasked206,
        Self::Unasked304,
        Self::Cut,
        Self::QueueFull,
        Self::QueueTime,
        Self::BreakerOpen,
    ];

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its name in figures, and between tiers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => RESOLVE,
            Self::AddressRefused => ADDRESS_REFUSED,
            Self::Connect => "connect-failed",
            Self::Tls => "tls-failed",
            Self::Timeout => "timeout",
            Self::TooLong => TOO_LONG,
            Self::Protocol => "protocol-error",
            Self::BadHead => "bad-head",
            Self::HeadTooLarge => "head-too-large",
            Self::BadLength => "bad-length",
            Self::BadCoding => "bad-coding",
            Self::BadChunk => "bad-chunk",
            Self::Unasked101 => "unasked-101",
            Self::Unasked206 => "unasked-206",
            Self::Unasked304 => "unasked-304",
            Self::Cut => "cut-short",
            Self::QueueFull => "queue-full",
            Self::QueueTime => "queue-time",
            Self::BreakerOpen => "breaker-open",
        }
    }

    /// Whether nothing was sent.
    #[must_use]
    pub fn is_unreachable(self) -> bool {
        self.is_unconnected() || matches!(self, Self::QueueFull | Self::QueueTime | Self::BreakerOpen)
    }

    /// Whether there was no connection.
    fn is_unconnected(self) -> bool {
        matches!(self, Self::Resolve | Self::AddressRefused | Self::Connect | Self::Tls)
    }

    /// Whether it says something about the server as a whole, rather than about one answer of it or about this node.
    pub(crate) fn is_of_server(self) -> bool {
        matches!(self, Self::Resolve | Self::Connect | Self::Tls | Self::Timeout | Self::TooLong | Self::Protocol | Self::Cut)
    }

    /// What an error of Pingora's stands for. Its kinds of error are few, so that some are told apart by what it says of them.
    pub(super) fn of(error: &Error) -> Self {
        use ErrorType::{
            BindError, ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, Custom, H1Error, H2Error, InvalidCert, InvalidH2,
            InvalidHTTPHeader, ReadTimedout, SocketError, TLSHandshakeFailure, TLSHandshakeTimedout, WriteTimedout,
        };
        match error.etype() {
            BindError | ConnectError | ConnectNoRoute | ConnectRefused | SocketError => Self::Connect,
            // Of a handshake: what is before it has its own name.
            ConnectTimedout | InvalidCert | TLSHandshakeFailure | TLSHandshakeTimedout => Self::Tls,
            ReadTimedout | WriteTimedout => Self::Timeout,
            InvalidHTTPHeader => Self::of_head(error),
            H1Error | H2Error | InvalidH2 => Self::Protocol,
            // Pingora's names for what is wrong with chunks, then our own.
            Custom("InvalidChunk" | "InvalidTrailerEnd") => Self::BadChunk,
            Custom(CONNECT) => Self::Connect,
            Custom(TOO_LONG) => Self::TooLong,
            Custom(RESOLVE) => Self::Resolve,
            Custom(ADDRESS_REFUSED) => Self::AddressRefused,
            Custom(own) => sound::named(own).unwrap_or(Self::Cut),
            _ => Self::Cut,
        }
    }

    /// What is wrong with a head: with a cause, its parser says so; without one, Pingora. The context beside a cause is the origin's text.
    fn of_head(mut error: &Error) -> Self {
        while let Some(inner) = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<Box<Error>>()) {
            error = inner;
        }
        match (&error.cause, &error.context) {
            (Some(cause), _) if cause.to_string() == "too many headers" => Self::HeadTooLarge,
            (None, Some(said)) if said.as_str().contains("larger than") => Self::HeadTooLarge,
            (None, Some(said)) if said.as_str().contains("Content-Length") => Self::BadLength,
            _ => Self::BadHead,
        }
    }
}

/// Why a request could not be passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassFailure {
    /// The client is gone: nobody is there to be told.
    ClientGone,
    /// What the client sent is not HTTP.
    ClientWrong,
    /// The client sent nothing of its body for too long.
    ClientSlow,
    /// The client's body is too large.
    TooLarge,
    /// Upstream gave no answer.
    Upstream(UpstreamErrorKind),
}

impl PassFailure {
    /// What an error of Pingora's stands for.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        use ErrorType::{ConnectionClosed, H2Error, HTTPStatus, ReadError, ReadTimedout, WriteError, WriteTimedout};
        match (error.esource(), error.etype()) {
            (_, HTTPStatus(400..=499)) => Self::ClientWrong,
            (ErrorSource::Downstream, ConnectionClosed | H2Error | ReadError | ReadTimedout | WriteError | WriteTimedout) => {
                Self::ClientGone
            }
            (ErrorSource::Downstream, _) => Self::ClientWrong,
            _ => Self::Upstream(UpstreamErrorKind::of(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_a_broken_pass_is() {
        let upstream = PassFailure::Upstream;
        let of = |kind| UpstreamError::new(kind, String::new()).into_error();
        for (error, failure) in [
            (Error::new_down(ErrorType::ConnectionClosed), PassFailure::ClientGone),
            (Error::new_down(ErrorType::InvalidHTTPHeader), PassFailure::ClientWrong),
            (Error::new_up(ErrorType::ConnectRefused), upstream(UpstreamErrorKind::Connect)),
            (Error::new_up(ErrorType::ConnectionClosed), upstream(UpstreamErrorKind::Cut)),
            (Error::new_up(ErrorType::ReadTimedout), upstream(UpstreamErrorKind::Timeout)),
            (Error::new_up(ErrorType::InvalidCert), upstream(UpstreamErrorKind::Tls)),
            (Error::new_up(ErrorType::InvalidHTTPHeader), upstream(UpstreamErrorKind::BadHead)),
            (of(UpstreamErrorKind::Resolve), upstream(UpstreamErrorKind::Resolve)),
            (of(UpstreamErrorKind::AddressRefused), upstream(UpstreamErrorKind::AddressRefused)),
            (of(UpstreamErrorKind::QueueFull), upstream(UpstreamErrorKind::QueueFull)),
            (Error::new(ErrorType::HTTPStatus(413)), PassFailure::ClientWrong),
        ] {
            assert_eq!(PassFailure::of(&error), failure, "{error}");
        }
    }
}
