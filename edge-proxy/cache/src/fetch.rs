//! The one way through which the cache calls outwards.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::request::Request;
use crate::time::Time;

/// Asks the next tier: a shield, or an origin.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Sends `request` and answers with the head; the body is read afterwards. Cancel-safe by dropping.
    ///
    /// Bounds connection, head and body by the timeouts of its tier; tries other upstreams itself where that is safe.
    async fn fetch(&self, request: Forward) -> Result<Fetched, FetchError>;

    /// Whether what failed may be asked for once more; each time this is said counts as one time.
    fn may_repeat(&self) -> bool {
        true
    }
}

/// A request to send upstream.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The request, with the header fields to send: conditional and range fields are as the cache wants them, not as the client sent them. `head_only` is false when the cache wants the body to keep.
    pub request: Request,
    /// The purge number the answer must not be older than; the tier sends it upstream.
    pub purge_seq: u64,
}

/// The head of an interim answer (RFC 9110 section 15.2), without hop-by-hop and `Connection`-named fields.
pub type Interim = http::Response<()>;

/// The head of an answer, with its body still to be read.
pub struct Fetched {
    /// Final status; never 1xx.
    pub status: StatusCode,
    /// End-to-end header fields (hop-by-hop and `Connection`-named ones are gone).
    pub headers: HeaderMap,
    /// The interim answers (1xx) that came before: for the client that asked alone, never stored.
    pub interim: Vec<Interim>,
    /// The body.
    pub body: Box<dyn Body>,
    /// How old the answer was when its head arrived, where the next tier measured that: it counts in place of `Age`, `Date` and the time the answer took.
    pub age: Option<Duration>,
    /// When the request was sent (RFC 9111 section 4.2.3, `request_time`).
    pub requested_at: Time,
    /// When the head arrived (`response_time`).
    pub responded_at: Time,
}

/// A body that arrives piece by piece.
#[async_trait]
pub trait Body: Send + 'static {
    /// The next piece, never empty; `None` at the proper end. An early end is an error. Cancel-safe by dropping the body, not by dropping the call.
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError>;
}

/// Why upstream gave no (whole) answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct FetchError {
    /// The kind.
    pub kind: FetchErrorKind,
    /// What happened, with address and value.
    pub detail: String,
    /// After so many seconds it may be worth while to ask again, where that is known.
    pub retry_after: Option<u32>,
}

/// The kinds of upstream failure; each is also the `detail` in `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchErrorKind {
    /// The name could not be resolved.
    Resolve,
    /// No address that an origin may have: private, loopback or otherwise special ones need a word in the settings of the node.
    AddressRefused,
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// Nothing came in time.
    Timeout,
    /// The answer as a whole took too long.
    TooLong,
    /// What came was not HTTP, or not allowed.
    Protocol,
    /// The head of the answer could not be read.
    BadHead,
    /// The head of the answer was larger than allowed.
    HeadTooLarge,
    /// Where the body ends was in doubt: a length that is no number, two of them, or one beside a transfer coding (RFC 9112 section 6.3).
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
    /// 206 with another range than was asked for, or one that contradicts itself.
    WrongRange,
    /// The answer ended early.
    Cut,
    /// A bound of this node was reached.
    Overload,
    /// The origin was not asked: as many requests waited for it as may.
    QueueFull,
    /// The origin was not asked: the request waited too long for its turn.
    QueueTime,
    /// The origin was not asked: it is left alone for a while.
    BreakerOpen,
    /// No shield answered, and the site has no other way to its origin.
    NoShield,
    /// The request has been here before (RFC 8586).
    Loop,
    /// The client wants an answer from the store only, and there is none (RFC 9111 section 5.2.1.7).
    OnlyIfCached,
}

impl FetchErrorKind {
    /// Whether upstream was not asked because it, or this node, is to be spared: a moment later it may be.
    #[must_use]
    pub fn is_unasked(self) -> bool {
        matches!(self, Self::QueueFull | Self::QueueTime | Self::BreakerOpen)
    }

    /// The kind as a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve-failed",
            Self::AddressRefused => "address-refused",
            Self::Connect => "connect-failed",
            Self::Tls => "tls-failed",
            Self::Timeout => "timeout",
            Self::TooLong => "total-timeout",
            Self::Protocol => "protocol-error",
            Self::BadHead => "bad-head",
            Self::HeadTooLarge => "head-too-large",
            Self::BadLength => "bad-length",
            Self::BadCoding => "bad-coding",
            Self::BadChunk => "bad-chunk",
            Self::Unasked101 => "unasked-101",
            Self::Unasked206 => "unasked-206",
            Self::Unasked304 => "unasked-304",
            Self::WrongRange => "wrong-range",
            Self::Cut => "cut-short",
            Self::Overload => "overload",
            Self::QueueFull => "queue-full",
            Self::QueueTime => "queue-time",
            Self::BreakerOpen => "breaker-open",
            Self::NoShield => "no-shield",
            Self::Loop => "loop",
            Self::OnlyIfCached => "only-if-cached",
        }
    }
}

impl std::fmt::Display for FetchErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
