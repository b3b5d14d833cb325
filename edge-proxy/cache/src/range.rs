//! Byte ranges (RFC 9110 section 14): what a request asks for, before and after the length of the response is known, and what a
//! `Content-Range` says it brings.
//!
//! Pure. What would cost more than the whole is answered with the whole, which section 14.2 allows.

use std::fmt;

use http::{HeaderMap, header};

use crate::conditional;
use crate::control::delta_digits;
use crate::freshness;
use crate::lists::members;

/// The most ranges of one request that are answered one by one.
pub const RANGES_MAX: usize = 16;

/// The most ranges of one request that may overlap another one (section 14.2: more are a mistake or an attack).
const OVERLAPPING_MAX: usize = 2;

/// What a request's `Range` asks of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it: no range, one that is malformed, too many, or `If-Range` does not hold.
    Whole,
    /// Each from its first byte up to, not including, its second; in the order asked, none empty, none overlapping or adjoining another.
    Parts(Vec<(u64, u64)>),
    /// Nothing that is there: 416.
    Unsatisfiable,
}

/// What one range asks for, whatever the length of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// From a byte on.
    From {
        /// The first byte.
        first: u64,
        /// The last byte, included; the end without it.
        last: Option<u64>,
    },
    /// As many bytes from the end.
    Suffix(u64),
}

/// What a 206 brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// The length of the whole, if it is told.
    pub total: Option<u64>,
}

/// Why a response has no usable `Content-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    Absent,
    /// The parts are in the body, each with its own.
    Multipart,
    /// There are several.
    Repeated,
    /// It counts in something else than bytes.
    Unit,
    /// It is no range, or one that contradicts itself.
    Malformed,
}

impl Why {
    /// The reason as a sentence's end.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "no content-range",
            Self::Multipart => "several parts",
            Self::Repeated => "several content-ranges",
            Self::Unit => "a content-range that is not in bytes",
            Self::Malformed => "a malformed content-range",
        }
    }
}

/// Evaluates `Range` and `If-Range` of a GET against a response with status 200 that is `length` bytes long.
#[must_use]
pub fn asked(request: &HeaderMap, response: &HeaderMap, length: u64) -> Asked {
    let Some(wanted) = ranges(request) else { return Asked::Whole };
    if !if_range_holds(request, response) {
        return Asked::Whole;
    }
    let parts: Vec<(u64, u64)> = wanted.iter().filter_map(|wanted| wanted.within(length)).collect();
    if parts.is_empty() {
        return Asked::Unsatisfiable;
    }
    let bytes = parts.iter().fold(0_u64, |sum, (start, end)| sum.saturating_add(end - start));
    if bytes > length || overlapping(&parts) > OVERLAPPING_MAX {
        return Asked::Whole;
    }
    Asked::Parts(coalesced(parts))
}

/// What a request's only range asks for; `None` when there is none, or more than one, or it is malformed or not in bytes.
#[must_use]
pub fn wanted(request: &HeaderMap) -> Option<Wanted> {
    match ranges(request)?.as_slice() {
        [wanted] => Some(*wanted),
        _ => None,
    }
}

/// What a 206 with a single part brings.
///
/// # Errors
/// When it does not tell, or tells what cannot be.
pub fn content_range(response: &HeaderMap) -> Result<ContentRange, Why> {
    if freshness::media_type(response).is_some_and(|media_type| media_type == "multipart/byteranges") {
        return Err(Why::Multipart);
    }
    let mut lines = response.get_all(header::CONTENT_RANGE).iter();
    let line = lines.next().ok_or(Why::Absent)?.as_bytes().trim_ascii();
    if lines.next().is_some() {
        return Err(Why::Repeated);
    }
    let (unit, range) = line.split_at(line.iter().position(|&byte| byte == b' ').ok_or(Why::Malformed)?);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Err(Why::Unit);
    }
    ContentRange::of(range.trim_ascii()).ok_or(Why::Malformed)
}

/// As a `Range` says it.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From { first, last: Some(last) } => write!(f, "bytes={first}-{last}"),
            Self::From { first, last: None } => write!(f, "bytes={first}-"),
            Self::Suffix(bytes) => write!(f, "bytes=-{bytes}"),
        }
    }
}

impl Wanted {
    /// RFC 9110 section 14.1.2: one range specifier.
    fn of(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        if first.is_empty() {
            return delta_digits(last).map(Self::Suffix);
        }
        let first = delta_digits(first)?;
        let last = if last.is_empty() { None } else { Some(delta_digits(last)?) };
        last.is_none_or(|last| last >= first).then_some(Self::From { first, last })
    }

    /// What it covers of a response of `length` bytes; `None` when nothing.
    #[must_use]
    pub fn within(self, length: u64) -> Option<(u64, u64)> {
        let (start, end) = match self {
            Self::From { first, last } => (first, last.map_or(length, |last| last.saturating_add(1).min(length))),
            Self::Suffix(suffix) => (length.saturating_sub(suffix), length),
        };
        (start < end).then_some((start, end))
    }
}

impl ContentRange {
    /// `0-499/1234`, with `*` for a length that is not known.
    fn of(text: &[u8]) -> Option<Self> {
        let slash = text.iter().position(|&byte| byte == b'/')?;
        let (range, total) = (&text[..slash], &text[slash + 1..]);
        let dash = range.iter().position(|&byte| byte == b'-')?;
        let (start, last) = (number(&range[..dash])?, number(&range[dash + 1..])?);
        let total = if total == b"*" { None } else { Some(number(total)?) };
        let end = last.checked_add(1)?;
        (start < end && total.is_none_or(|total| end <= total)).then_some(Self { start, end, total })
    }

    /// Whether this is what was asked for, or as much of it as an origin chose to send: it starts where it was asked to and goes no further.
    #[must_use]
    pub fn answers(&self, wanted: &Wanted) -> bool {
        match (*wanted, self.total) {
            (Wanted::From { first, last }, _) => self.start == first && last.is_none_or(|last| self.end - 1 <= last),
            // Without the whole length nobody can tell what its end is.
            (Wanted::Suffix(suffix), Some(total)) => self.end == total && self.start == total.saturating_sub(suffix),
            (Wanted::Suffix(_), None) => false,
        }
    }
}

/// The ranges of a request; `None` when it has none that count. One bad specifier spoils the set.
fn ranges(request: &HeaderMap) -> Option<Vec<Wanted>> {
    let mut lines = request.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let text = line.as_bytes();
    let (unit, set) = text.split_at(text.iter().position(|&byte| byte == b'=')?);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let wanted: Vec<Wanted> = members(&set[1..]).take(RANGES_MAX + 1).map(Wanted::of).collect::<Option<_>>()?;
    (1..=RANGES_MAX).contains(&wanted.len()).then_some(wanted)
}

/// How many parts overlap another one.
fn overlapping(parts: &[(u64, u64)]) -> usize {
    let overlap = |one: &(u64, u64), other: &(u64, u64)| one.0 < other.1 && other.0 < one.1;
    (0..parts.len()).filter(|&at| parts.iter().enumerate().any(|(other, part)| other != at && overlap(part, &parts[at]))).count()
}

/// Makes one of parts that overlap or adjoin, in the place of the first of them.
fn coalesced(parts: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(parts.len());
    for mut part in parts {
        let mut place = out.len();
        // What a part takes in may make it reach another one.
        while let Some(at) = out.iter().position(|known| known.0 <= part.1 && part.0 <= known.1) {
            let known = out.remove(at);
            part = (part.0.min(known.0), part.1.max(known.1));
            place = place.min(at);
        }
        out.insert(place.min(out.len()), part);
    }
    out
}

/// RFC 9110 section 13.1.5: a strong tag that is the response's, or exactly its `Last-Modified` when that is a strong validator
/// (section 8.8.2.2). Several conditions are none that holds.
fn if_range_holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut lines = request.get_all(header::IF_RANGE).iter();
    let Some(condition) = lines.next() else { return true };
    if lines.next().is_some() {
        return false;
    }
    let condition = condition.as_bytes().trim_ascii();
    if condition.starts_with(b"\"") {
        return conditional::strong_etag(response).is_some_and(|etag| etag.as_bytes() == condition);
    }
    let Some(wanted) = std::str::from_utf8(condition).ok().and_then(freshness::http_date) else { return false };
    let modified = freshness::date(response, header::LAST_MODIFIED);
    // A date is strong when the response was made at least a second after the change.
    let strong = freshness::date(response, header::DATE).zip(modified).is_some_and(|(date, modified)| date > modified);
    strong && modified == Some(wanted)
}

/// Digits as a number; `None` when it is too large to be a place in a body.
fn number(text: &[u8]) -> Option<u64> {
    delta_digits(text).filter(|&number| number < u64::MAX)
}

#[cfg(test)]
mod tests;
