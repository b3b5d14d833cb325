//! Answers of the sample origin, and the conditions and ranges of requests for them (RFC 9110 sections 13 and 14).

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use serde_json::Value;

/// An answer whose body cannot fail.
pub(super) type Answer = Response<BoxBody<Bytes, std::convert::Infallible>>;

/// The tags of an answer, as CDNs read them.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// What an answer says of itself, beside its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// `Content-Type`.
    pub(super) kind: &'static str,
    /// `Cache-Control`.
    pub(super) cache: &'static str,
    /// `Cache-Tag`; empty for none.
    pub(super) tags: &'static str,
    /// `Last-Modified`, as an IMF-fixdate; empty for none.
    pub(super) modified: &'static str,
}

/// An answer with a body that is at hand.
pub(super) fn whole(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = status;
    answer
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = whole(status, Bytes::new());
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

/// A few words that are not worth keeping.
pub(super) fn text(status: StatusCode, words: &'static str) -> Answer {
    let mut answer = whole(status, words);
    set(&mut answer, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

/// JSON.
pub(super) fn json(value: &Value, cache: &'static str) -> Answer {
    let mut answer = whole(StatusCode::OK, format!("{value}\n"));
    set(&mut answer, header::CONTENT_TYPE, "application/json");
    set(&mut answer, header::CACHE_CONTROL, cache);
    answer
}

/// The refusal of a method (RFC 9110 section 15.5.6).
pub(super) fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this path\n");
    set(&mut answer, header::ALLOW, allow);
    answer
}

/// Sets a field to a value of our own.
pub(super) fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// Answers GET and HEAD for a representation of which any range can be made: the conditions first, then the range.
///
/// `make` gives the body of a range, always inside `0..length`.
pub(super) fn representation<B>(
    request: &Request<B>,
    said: Said,
    etag: &str,
    length: u64,
    make: impl FnOnce(Range<u64>) -> Answer,
) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD");
    }
    let asked = request.headers();
    let mut answer = if is_unchanged(asked, etag, said.modified) {
        whole(StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        match wanted(asked, etag, said.modified, length) {
            Wanted::Whole => with_body(request.method(), length, 0..length, make),
            Wanted::Part(range) => {
                let mut answer = with_body(request.method(), length, range.clone(), make);
                *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
                put(&mut answer, header::CONTENT_RANGE, &format!("bytes {}-{}/{length}", range.start, range.end - 1));
                answer
            }
            Wanted::Nothing => {
                let mut answer = text(StatusCode::RANGE_NOT_SATISFIABLE, "the file ends before that range\n");
                put(&mut answer, header::CONTENT_RANGE, &format!("bytes */{length}"));
                return answer;
            }
        }
    };
    set(&mut answer, header::CONTENT_TYPE, said.kind);
    set(&mut answer, header::CACHE_CONTROL, said.cache);
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    if !said.tags.is_empty() {
        set(&mut answer, CACHE_TAG, said.tags);
    }
    if !said.modified.is_empty() {
        set(&mut answer, header::LAST_MODIFIED, said.modified);
    }
    put(&mut answer, header::ETAG, etag);
    answer
}

fn with_body(method: &Method, length: u64, range: Range<u64>, make: impl FnOnce(Range<u64>) -> Answer) -> Answer {
    debug_assert!(range.end <= length, "a range inside the representation");
    let bytes = range.end - range.start;
    let mut answer = if method == Method::HEAD { whole(StatusCode::OK, Bytes::new()) } else { make(range) };
    put(&mut answer, header::CONTENT_LENGTH, &bytes.to_string());
    answer
}

/// Sets a field to a value that was put together here; one that is no field value is left out.
pub(super) fn put(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn field(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// `If-None-Match`, else `If-Modified-Since` (RFC 9110 section 13.2.2). The date is compared as text: it is the one we sent, or it is another.
fn is_unchanged(asked: &HeaderMap, etag: &str, modified: &str) -> bool {
    if let Some(tags) = field(asked, header::IF_NONE_MATCH) {
        return tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag);
    }
    !modified.is_empty() && field(asked, header::IF_MODIFIED_SINCE) == Some(modified)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// A single range; several, or one that cannot be read, are answered with the whole (RFC 9110 section 14.2).
fn wanted(asked: &HeaderMap, etag: &str, modified: &str, length: u64) -> Wanted {
    let Some(range) = field(asked, header::RANGE).and_then(|value| value.strip_prefix("bytes=")) else { return Wanted::Whole };
    if let Some(validator) = field(asked, header::IF_RANGE)
        && validator != etag
        && (modified.is_empty() || validator != modified)
    {
        return Wanted::Whole;
    }
    let Some((first, last)) = range.split_once('-') else { return Wanted::Whole };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (first.trim().is_empty(), last.trim().is_empty()) {
        (false, true) => number(first).map(|first| first..length),
        (false, false) => {
            number(first).zip(number(last)).filter(|(first, last)| first <= last).map(|(a, b)| a..b.saturating_add(1).min(length))
        }
        (true, false) => number(last).map(|bytes| if bytes == 0 { length..length } else { length.saturating_sub(bytes)..length }),
        (true, true) => None,
    };
    match range {
        None => Wanted::Whole,
        Some(range) if range.start >= length => Wanted::Nothing,
        Some(range) => Wanted::Part(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn ranges() {
        let table = [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=5-", Wanted::Part(5..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=8-99", Wanted::Part(8..10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=3-2", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("bytes=0-18446744073709551615", Wanted::Part(0..10)),
        ];
        for (value, expected) in table {
            assert_eq!(wanted(&asked(&[(header::RANGE, value)]), "\"a\"", "", 10), expected, "{value}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_answered_with_the_whole() {
        let with = |validator| wanted(&asked(&[(header::RANGE, "bytes=0-0"), (header::IF_RANGE, validator)]), "\"a\"", "", 10);
        assert_eq!(with("\"a\""), Wanted::Part(0..1));
        assert_eq!(with("\"b\""), Wanted::Whole);
    }

    #[test]
    fn conditions() {
        let match_of = |value| is_unchanged(&asked(&[(header::IF_NONE_MATCH, value)]), "\"a\"", "");
        assert!(match_of("\"a\"") && match_of("\"b\", W/\"a\"") && match_of("*"));
        assert!(!match_of("\"b\""));
        let date = "Mon, 01 Jan 2024 00:00:00 GMT";
        assert!(is_unchanged(&asked(&[(header::IF_MODIFIED_SINCE, date)]), "\"a\"", date));
        assert!(!is_unchanged(&asked(&[(header::IF_MODIFIED_SINCE, date), (header::IF_NONE_MATCH, "\"b\"")]), "\"a\"", date));
    }
}
