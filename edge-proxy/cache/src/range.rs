//! Byte ranges (RFC 9110 section 14) on a response whose whole length is known.
//!
//! Pure. One range is answered; several are answered with the whole, which section 14.2 allows.

use http::{HeaderMap, header};

use crate::conditional;
use crate::control::delta_digits;
use crate::freshness;

/// What a request's `Range` asks of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it: no range, one that is malformed, several, or `If-Range` does not hold.
    Whole,
    /// From the first byte up to, not including, the second.
    Part(u64, u64),
    /// Nothing that is there: 416.
    Unsatisfiable,
}

/// Evaluates `Range` and `If-Range` against a response with status 200 that is `length` bytes long.
#[must_use]
pub fn asked(request: &HeaderMap, response: &HeaderMap, length: u64) -> Asked {
    let mut lines = request.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Asked::Whole };
    if !if_range_holds(request, response) {
        return Asked::Whole;
    }
    let text = line.as_bytes();
    let Some((unit, set)) = text.iter().position(|&byte| byte == b'=').map(|at| (&text[..at], text[at + 1..].trim_ascii())) else {
        return Asked::Whole;
    };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Asked::Whole;
    }
    one(set, length)
}

fn one(set: &[u8], length: u64) -> Asked {
    let Some(dash) = set.iter().position(|&byte| byte == b'-') else { return Asked::Whole };
    let (first, last) = (&set[..dash], &set[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Asked::Whole,
        (true, false) => match delta_digits(last) {
            Some(0) => Asked::Unsatisfiable,
            Some(_) if length == 0 => Asked::Unsatisfiable,
            Some(suffix) => Asked::Part(length.saturating_sub(suffix), length),
            None => Asked::Whole,
        },
        (false, open) => {
            let Some(first) = delta_digits(first) else { return Asked::Whole };
            let last = if open { Some(u64::MAX) } else { delta_digits(last) };
            match last {
                None => Asked::Whole,
                Some(last) if last < first => Asked::Whole,
                Some(_) if first >= length => Asked::Unsatisfiable,
                Some(last) => Asked::Part(first, last.saturating_add(1).min(length)),
            }
        }
    }
}

/// RFC 9110 section 13.1.5: a strong tag that is the response's, or exactly its `Last-Modified` when that is a strong validator (section 8.8.2.2).
fn if_range_holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let condition = condition.as_bytes().trim_ascii();
    if condition.starts_with(b"\"") {
        return conditional::strong_etag(response).is_some_and(|etag| etag.as_bytes() == condition);
    }
    let Some(wanted) = std::str::from_utf8(condition).ok().and_then(freshness::seconds_of) else { return false };
    let modified = freshness::date(response, header::LAST_MODIFIED);
    // A date is strong when the response was made at least a second after the change.
    let strong = freshness::date(response, header::DATE).zip(modified).is_some_and(|(date, modified)| date > modified);
    strong && modified == Some(wanted)
}

#[cfg(test)]
mod tests;
