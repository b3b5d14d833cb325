//! What the cache answers, and how it came to it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::fetch::{Body, FetchError, FetchErrorKind, Interim};
use crate::object::Cursor;
use crate::store::Mend;

/// An answer to send.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// End-to-end header fields, `Age` among them where the answer was stored; `Content-Length` where the length is known; without `Cache-Status`, which is `status_of_cache`. Tags (`Cache-Tag`, `Surrogate-Key`) and targeted cache controls are still in it: an edge removes them, a shield does not.
    pub headers: HeaderMap,
    /// Interim answers to send ahead of it; none but to the client whose request went upstream.
    pub interim: Vec<Interim>,
    /// How old it is at this moment, when it is that of an object; what `Age` says to the second.
    pub age: Option<Duration>,
    /// The body; empty for HEAD, 204 and 304.
    pub body: Reader,
    /// This tier's member of `Cache-Status`, without the cache's name.
    pub status_of_cache: CacheStatus,
    /// `Cache-Status` of the caches before this one, when they took part in this very answer (not on a hit).
    pub upstream_cache_status: Option<HeaderValue>,
}

/// Reads an answer's body: pieces of a stored or still growing object, or straight from upstream.
pub struct Reader {
    source: Source,
}

enum Source {
    Empty,
    Object(Cursor),
    /// The same, with its first bytes at hand.
    Begun(Bytes, Cursor),
    /// Texts and parts of an object in turn (`multipart/byteranges`).
    Multipart(VecDeque<Piece>),
    Upstream {
        body: Box<dyn Body>,
        /// Bytes still owed by `Content-Length`.
        owed: Option<u64>,
        /// The body ended or failed; nothing more is asked of it.
        ended: bool,
    },
}

/// A piece of a multipart body.
pub(crate) enum Piece {
    Text(Bytes),
    Part(Cursor),
}

impl Reader {
    /// A body without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self { source: Source::Empty }
    }

    pub(crate) fn of_object(cursor: Cursor) -> Self {
        Self { source: Source::Object(cursor) }
    }

    pub(crate) fn of_pieces(pieces: VecDeque<Piece>) -> Self {
        Self { source: Source::Multipart(pieces) }
    }

    /// `length` is what `Content-Length` promises.
    pub(crate) fn of_upstream(body: Box<dyn Body>, length: Option<u64>) -> Self {
        Self { source: Source::Upstream { body, owed: length, ended: false } }
    }

    /// Lets what is lost on disk of the objects it reads come from `mend`.
    pub(crate) fn mend_with(&mut self, mend: &Arc<dyn Mend>) {
        match &mut self.source {
            Source::Object(cursor) | Source::Begun(_, cursor) => cursor.mend_with(mend),
            Source::Multipart(pieces) => pieces.iter_mut().for_each(|piece| {
                if let Piece::Part(cursor) = piece {
                    cursor.mend_with(mend);
                }
            }),
            Source::Empty | Source::Upstream { .. } => {}
        }
    }

    /// Waits for the first bytes of an object.
    pub(crate) async fn begin(&mut self) -> Result<(), FetchError> {
        let Source::Object(cursor) = &mut self.source else { return Ok(()) };
        let first = cursor.next().await?;
        if let (Some(first), Source::Object(cursor)) = (first, std::mem::replace(&mut self.source, Source::Empty)) {
            self.source = Source::Begun(first, cursor);
        }
        Ok(())
    }

    /// The next piece, never empty; `None` at the proper end. An error means the answer must be cut off visibly.
    ///
    /// # Errors
    /// When upstream failed in the middle.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        match &mut self.source {
            Source::Empty => Ok(None),
            Source::Object(cursor) => cursor.next().await,
            Source::Begun(..) => {
                let Source::Begun(first, cursor) = std::mem::replace(&mut self.source, Source::Empty) else { return Ok(None) };
                self.source = Source::Object(cursor);
                Ok(Some(first))
            }
            Source::Multipart(pieces) => next_of(pieces).await,
            Source::Upstream { ended: true, .. } => Ok(None),
            Source::Upstream { body, owed, ended } => {
                let chunk = counted(body.chunk().await, owed);
                *ended = !matches!(chunk, Ok(Some(_)));
                chunk
            }
        }
    }
}

async fn next_of(pieces: &mut VecDeque<Piece>) -> Result<Option<Bytes>, FetchError> {
    while let Some(piece) = pieces.front_mut() {
        let bytes = match piece {
            Piece::Text(text) => Some(std::mem::take(text)).filter(|text| !text.is_empty()),
            Piece::Part(cursor) => cursor.next().await?,
        };
        if bytes.is_some() {
            return Ok(bytes);
        }
        pieces.pop_front();
    }
    Ok(None)
}

/// Holds a body to its `Content-Length`.
fn counted(chunk: Result<Option<Bytes>, FetchError>, owed: &mut Option<u64>) -> Result<Option<Bytes>, FetchError> {
    let chunk = chunk?;
    let Some(left) = owed.as_mut() else { return Ok(chunk) };
    match &chunk {
        None if *left > 0 => Err(cut_short(*left)),
        None => Ok(None),
        Some(bytes) if bytes.len() as u64 > *left => Err(too_long()),
        Some(bytes) => {
            *left -= bytes.len() as u64;
            Ok(chunk)
        }
    }
}

pub(crate) fn cut_short(missing: u64) -> FetchError {
    FetchError { kind: FetchErrorKind::Cut, detail: format!("the body ended {missing} bytes before its content-length"), retry_after: None }
}

pub(crate) fn too_long() -> FetchError {
    FetchError { kind: FetchErrorKind::BadLength, detail: "the body is longer than its content-length".to_owned(), retry_after: None }
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
    /// The key, where the site's policy shows it.
    pub key: Option<String>,
    /// A token that says more.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// The request went upstream for this reason.
    #[must_use]
    pub fn forwarded(reason: Forwarded) -> Self {
        Self { fwd: Some(reason), ..Self::default() }
    }

    /// The member as the value of a field, see [`Self::text`].
    #[must_use]
    pub fn render(&self, name: &str) -> HeaderValue {
        HeaderValue::try_from(self.text(name)).unwrap_or(HeaderValue::from_static("cache"))
    }

    /// The member as it is sent, with the cache's name as a token where it is one, else as a string (RFC 9211 section 2).
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        let mut text = String::with_capacity(96);
        text.push_str(&item(name));
        if self.hit {
            text.push_str("; hit");
        }
        if let Some(reason) = self.fwd {
            text.push_str("; fwd=");
            text.push_str(reason.as_str());
        }
        if let Some(status) = self.fwd_status {
            let _ = write!(text, "; fwd-status={status}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(ttl) = self.ttl {
            // RFC 9651 section 3.3.1: at most 15 digits.
            text.push_str("; ttl=");
            text.push_str(itoa::Buffer::new().format(ttl.clamp(-999_999_999_999_999, 999_999_999_999_999)));
        }
        if let Some(key) = &self.key {
            let _ = write!(text, "; key={}", string(key));
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            text.push_str(&item(detail));
        }
        text
    }
}

/// A structured token where the text is one, else a string.
fn item(text: &str) -> Cow<'_, str> {
    let is_mark = |byte| matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-'..=b'/' | b':' | b'^'..=b'`' | b'|' | b'~');
    let token_byte = |byte: u8| byte.is_ascii_alphanumeric() || is_mark(byte);
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'*');
    if starts && text.bytes().all(token_byte) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(string(text))
}

/// A structured string; what it cannot hold becomes `?`.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
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

impl Forwarded {
    /// All reasons, in the order of [`Forwarded::index`].
    pub const ALL: [Self; 8] =
        [Self::Bypass, Self::Method, Self::UriMiss, Self::VaryMiss, Self::Miss, Self::Request, Self::Stale, Self::Partial];

    /// The reason as a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }

    /// The reason's place in [`Forwarded::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// No answer: the tier chooses the error status.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: FetchError,
    /// This tier's member of `Cache-Status`.
    pub status_of_cache: CacheStatus,
}

#[cfg(test)]
mod tests;
