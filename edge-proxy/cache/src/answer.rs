//! What the cache answers, and how it came to it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::fetch::FetchError;

/// An answer to send.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// End-to-end header fields, `Age` among them where the answer was stored; `Content-Length` where the length is known; without `Cache-Status`, which is `status_of_cache`. Tags (`Cache-Tag`, `Surrogate-Key`) and targeted cache controls are still in it: an edge removes them, a shield does not.
    pub headers: HeaderMap,
    /// The body; empty for HEAD, 204 and 304.
    pub body: Reader,
    /// This tier's member of `Cache-Status`, without the cache's name.
    pub status_of_cache: CacheStatus,
    /// `Cache-Status` of the caches before this one, when they took part in this very answer (not on a hit).
    pub upstream_cache_status: Option<http::HeaderValue>,
}

/// Reads an answer's body: pieces of a stored or still growing object, or straight from upstream.
pub struct Reader {}

impl Reader {
    /// The next piece, never empty; `None` at the proper end. An error means the answer must be cut off visibly.
    ///
    /// # Errors
    /// When upstream failed in the middle.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        Ok(None)
    }
}

/// One member of `Cache-Status` (RFC 9211) without its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Answered from the store without going upstream.
    pub hit: bool,
    /// Why the request went upstream.
    pub fwd: Option<Forwarded>,
    /// The status upstream answered with, where it differs from the status sent.
    pub fwd_status: Option<u16>,
    /// The answer was stored.
    pub stored: bool,
    /// The request waited for, or read along with, another one's fetch.
    pub collapsed: bool,
    /// Seconds of freshness left; negative when stale.
    pub ttl: Option<i64>,
    /// A token that says more.
    pub detail: Option<&'static str>,
}

/// The reasons of RFC 9211 section 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache is configured not to handle the request.
    Bypass,
    /// The method is not one the cache answers.
    Method,
    /// No stored answer for the URI.
    UriMiss,
    /// A stored answer for the URI, but no variant fits.
    VaryMiss,
    /// Nothing stored fits; not known which of the two.
    Miss,
    /// The request asked for more freshness.
    Request,
    /// The stored answer was stale.
    Stale,
    /// Only part was stored.
    Partial,
}

/// No answer: the tier chooses the error status.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: FetchError,
    /// This tier's member of `Cache-Status`.
    pub status_of_cache: CacheStatus,
}
