//! Why upstream gave no (whole) answer.

use std::net::SocketAddr;

use pingora::{Error, ErrorSource, ErrorType};

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
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// Nothing came in time.
    Timeout,
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

impl UpstreamError {
    /// One after which nobody knows when to ask again.
    pub(crate) fn new(kind: UpstreamErrorKind, detail: String) -> Self {
        Self { kind, detail, retry_after: None }
    }
}

pub(super) fn connect_failure(target: &Target, address: SocketAddr, error: &Error) -> UpstreamError {
    let kind = match UpstreamErrorKind::of(error) {
        UpstreamErrorKind::Tls => UpstreamErrorKind::Tls,
        _ => UpstreamErrorKind::Connect,
    };
    UpstreamError::new(kind, format!("{} at {address} cannot be reached: {}", target.label(), error.etype().as_str()))
}

pub(super) fn failure(target: &Target, address: SocketAddr, error: &Error) -> UpstreamError {
    let kind = UpstreamErrorKind::of(error);
    UpstreamError::new(kind, format!("{} at {address} gave no answer: {}", target.label(), error.etype().as_str()))
}

impl UpstreamErrorKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
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
            Self::Resolve => "resolve-failed",
            Self::Connect => "connect-failed",
            Self::Tls => "tls-failed",
            Self::Timeout => "timeout",
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
        matches!(self, Self::Resolve | Self::Connect | Self::Tls | Self::QueueFull | Self::QueueTime | Self::BreakerOpen)
    }

    /// Whether it says something about the server as a whole, rather than about one answer of it or about this node.
    pub(crate) fn is_of_server(self) -> bool {
        matches!(self, Self::Resolve | Self::Connect | Self::Tls | Self::Timeout | Self::Protocol | Self::Cut)
    }

    /// What an error of Pingora's stands for. Its kinds of error are few, so that some are told apart by what it says of them.
    pub(super) fn of(error: &Error) -> Self {
        use ErrorType::{
            BindError, ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, Custom, H1Error, H2Error, InvalidCert, InvalidH2,
            InvalidHTTPHeader, ReadTimedout, SocketError, TLSHandshakeFailure, TLSHandshakeTimedout, WriteTimedout,
        };
        match error.etype() {
            BindError | ConnectError | ConnectNoRoute | ConnectRefused | ConnectTimedout | SocketError => Self::Connect,
            InvalidCert | TLSHandshakeFailure | TLSHandshakeTimedout => Self::Tls,
            ReadTimedout | WriteTimedout => Self::Timeout,
            InvalidHTTPHeader => Self::of_head(error),
            H1Error | H2Error | InvalidH2 => Self::Protocol,
            // Pingora's names for what is wrong with chunks, then our own.
            Custom("InvalidChunk" | "InvalidTrailerEnd") => Self::BadChunk,
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
        for (error, failure) in [
            (Error::new_down(ErrorType::ConnectionClosed), PassFailure::ClientGone),
            (Error::new_down(ErrorType::InvalidHTTPHeader), PassFailure::ClientWrong),
            (Error::new_up(ErrorType::ConnectRefused), upstream(UpstreamErrorKind::Connect)),
            (Error::new_up(ErrorType::ConnectionClosed), upstream(UpstreamErrorKind::Cut)),
            (Error::new_up(ErrorType::ReadTimedout), upstream(UpstreamErrorKind::Timeout)),
            (Error::new_up(ErrorType::InvalidCert), upstream(UpstreamErrorKind::Tls)),
            (Error::new_up(ErrorType::InvalidHTTPHeader), upstream(UpstreamErrorKind::BadHead)),
            (Error::new(ErrorType::HTTPStatus(413)), PassFailure::ClientWrong),
        ] {
            assert_eq!(PassFailure::of(&error), failure, "{error}");
        }
    }
}
