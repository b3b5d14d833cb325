//! Why upstream gave no (whole) answer.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use ipnet::IpNet;
use pingora::{Error, ErrorSource, ErrorType};
use tokio::time::Instant;

use crate::alarm::Timer;
use crate::connect::CONNECT;
use crate::sound;
use crate::target::{Endpoint, Target, Times};

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

pub(super) fn address_refused(endpoint: &Endpoint, ip: IpAddr, what: &str) -> UpstreamError {
    let prefix = IpNet::from(ip.to_canonical());
    let detail = format!(
        "{} leads to {ip}, which is {what}; a node connects there only with [origins] allow = [\"{prefix}\"] in its settings",
        endpoint.label()
    );
    UpstreamError::new(UpstreamErrorKind::AddressRefused, detail)
}

/// What went wrong on one connection.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: UpstreamErrorKind,
    /// In one sentence or a part of one.
    pub(super) why: Cow<'static, str>,
    /// Whether the server says that it has done nothing with the request.
    pub(super) unseen: bool,
}

/// When something has to be done, and what it is called when it is not. The clock is read only where somebody waits.
#[derive(Debug)]
pub(super) struct Due {
    time: Duration,
    /// The end of that time, once somebody waits for it.
    at: Option<Instant>,
    kind: UpstreamErrorKind,
    /// In how much time the head had to come, where that is what is due.
    head: Option<Duration>,
}

impl Failed {
    pub(super) fn new(kind: UpstreamErrorKind, why: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, why: why.into(), unseen: false }
    }

    /// A head that cannot be true.
    pub(super) fn of(kind: UpstreamErrorKind) -> Self {
        Self::new(kind, kind.as_str())
    }

    /// The connection ended before its time.
    pub(super) fn cut(error: &std::io::Error) -> Self {
        Self::new(UpstreamErrorKind::Cut, error.to_string())
    }

    /// Whether it may be of this connection alone, which was used before: it has ended, or what came is no head but what was left of the answer before.
    /// An answer that is wrong, or does not come in time, is as wrong over another one, and takes as long.
    pub(super) fn is_of_connection(&self) -> bool {
        use UpstreamErrorKind::{BadHead, Cut, HeadTooLarge, Protocol};
        self.unseen || matches!(self.kind, Cut | Protocol | BadHead | HeadTooLarge)
    }

    /// There is no answer.
    pub(super) fn unanswered(self, target: &Target, address: SocketAddr) -> UpstreamError {
        UpstreamError::new(self.kind, format!("{} at {address} gave no answer: {}", target.label(), self.why))
    }
}

impl Due {
    /// After a time from when it is first waited for.
    pub(super) fn after(time: Duration, kind: UpstreamErrorKind) -> Self {
        Self { time, at: None, kind, head: None }
    }

    /// A head, from now on; of an answer that was begun to be asked for at `began`.
    pub(super) fn of_head(times: &Times, began: Instant) -> Self {
        let left = times.total.map(|total| total.saturating_sub(began.elapsed()));
        match left.filter(|left| *left < times.first_byte) {
            Some(left) => Self::after(left, UpstreamErrorKind::TooLong),
            None => Self { head: Some(times.first_byte), ..Self::after(times.first_byte, UpstreamErrorKind::Timeout) },
        }
    }

    /// A piece of a body, in `time` and before `until`, which has another name.
    pub(super) fn of_piece(time: Duration, until: Option<(Instant, UpstreamErrorKind)>) -> Self {
        let left = until.map(|(at, kind)| (at.saturating_duration_since(Instant::now()), kind));
        left.filter(|(left, _)| *left <= time)
            .map_or_else(|| Self::after(time, UpstreamErrorKind::Timeout), |(left, kind)| Self::after(left, kind))
    }

    /// Ready when it is over: with what it is called then.
    pub(super) fn poll<T>(&mut self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<Result<T, Failed>> {
        let at = *self.at.get_or_insert_with(|| from_now(self.time));
        timer.poll(at, cx).map(|()| Err(self.failed()))
    }

    /// Whether it is over already.
    pub(super) fn is_past(&self) -> bool {
        self.time.is_zero()
    }

    /// What it is called when it is over.
    pub(super) fn failed(&self) -> Failed {
        let why = match (self.head, self.kind) {
            (Some(time), _) => format!("its head was not complete in {time:?}").into(),
            (None, UpstreamErrorKind::TooLong) => "the answer was not complete in its time".into(),
            (None, _) => "nothing went on in its time".into(),
        };
        Failed { kind: self.kind, why, unseen: false }
    }
}

/// An instant so far away, or as far as there is one.
fn from_now(time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365);
    Instant::now() + time.min(FAR)
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
