//! The shape of answers: an object or a fetched response becomes what this client asked for.
//!
//! Applies the client's conditions and range to objects; hands fetched responses through. Decides nothing about storing.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::answer::{Answer, CacheStatus, Reader};
use crate::conditional;
use crate::fetch::{FetchError, FetchErrorKind, Fetched};
use crate::object::{Cursor, Object};
use crate::request::Request;
use crate::shape::{self, Shape, has_no_body};
use crate::time::Time;

mod multipart;

/// How an object came to answer a request.
pub(super) struct Served {
    /// This tier's member of `Cache-Status`, but for what the object tells.
    pub(super) status: CacheStatus,
    /// A reader that was taken for this request already.
    pub(super) cursor: Option<Cursor>,
    /// The object was fetched, or confirmed, for this very request: no `Age` of ours.
    pub(super) first: bool,
    /// In place of the detail in `status`.
    pub(super) detail: Option<&'static str>,
}

impl Served {
    pub(super) fn hit() -> Self {
        Self { status: CacheStatus { hit: true, ..CacheStatus::default() }, cursor: None, first: false, detail: None }
    }
}

/// Answers from an object; `None` when it lacks what the request needs, or takes no more readers.
pub(super) fn answer(object: &Object, request: &Request, now: Time, served: Served) -> Option<Answer> {
    let Served { mut status, cursor, first, detail } = served;
    let shape = if first { shape::of_fetched(object, request)? } else { shape::of(object, request)? };
    let now = now.max(object.freshness.responded_at);
    status.ttl = Some(object.freshness.ttl(now));
    status.detail = detail.or(status.detail);
    let upstream_cache_status = if status.hit { None } else { object.upstream_status.clone() };
    let mut headers = match shape {
        Shape::NotModified => conditional::not_modified(&object.headers),
        _ => object.headers.clone(),
    };
    let age = object.freshness.age(now);
    if !first || object.aged {
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
    let (interim, body) = (Vec::new(), Reader::empty());
    let mut answer =
        Answer { status: object.status, headers, interim, age: Some(age), body, status_of_cache: status, upstream_cache_status };
    let whole = object.length();
    let cursor = || cursor.or_else(|| object.body.cursor());
    match shape {
        Shape::NotModified => answer.status = StatusCode::NOT_MODIFIED,
        Shape::Head => set_length(&mut answer.headers, whole),
        Shape::Whole => {
            set_length(&mut answer.headers, whole);
            answer.body = Reader::of_object(cursor()?);
        }
        Shape::NoBody => {}
        Shape::Part(start, end) => {
            let mut cursor = cursor()?;
            cursor.limit(start - object.offset(), end - object.offset());
            answer.status = StatusCode::PARTIAL_CONTENT;
            set_length(&mut answer.headers, Some(end - start));
            answer.headers.insert(header::CONTENT_RANGE, content_range(&format!("{start}-{}", end - 1), whole));
            answer.body = Reader::of_object(cursor);
        }
        Shape::Parts(ranges) => multipart::make(&mut answer, object, &ranges)?,
        Shape::Unsatisfiable => unsatisfiable(&mut answer, whole),
    }
    Some(answer)
}

/// RFC 9110 section 15.5.17.
fn unsatisfiable(answer: &mut Answer, whole: Option<u64>) {
    answer.status = StatusCode::RANGE_NOT_SATISFIABLE;
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ETAG, header::LAST_MODIFIED] {
        answer.headers.remove(name);
    }
    set_length(&mut answer.headers, Some(0));
    answer.headers.insert(header::CONTENT_RANGE, content_range("*", whole));
}

fn set_length(headers: &mut HeaderMap, length: Option<u64>) {
    let Some(length) = length else { return };
    let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_said = said.next().is_some_and(|said| said.as_bytes() == itoa::Buffer::new().format(length).as_bytes());
    if !is_said || said.next().is_some() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn content_range(range: &str, whole: Option<u64>) -> HeaderValue {
    let whole = whole.map_or_else(|| "*".to_owned(), |length| length.to_string());
    HeaderValue::from_str(&format!("bytes {range}/{whole}")).unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// Hands a fetched response to the client that asked for it.
pub(super) fn direct(fetched: Fetched, request: &Request, status: CacheStatus) -> Answer {
    let Fetched { status: code, mut headers, interim, body, .. } = fetched;
    let upstream_cache_status = take_cache_status(&mut headers);
    let body = if request.head_only || has_no_body(code) {
        Reader::empty()
    } else {
        // A length that is unsound was refused when the head came.
        Reader::of_upstream(body, content_length(&headers).unwrap_or(None))
    };
    Answer { status: code, headers, interim, age: None, body, status_of_cache: status, upstream_cache_status }
}

/// `Cache-Status` of the caches before this one, as one field value.
pub(super) fn take_cache_status(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all("cache-status").iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return None;
    }
    let joined = HeaderValue::from_bytes(&lines.join(&b", "[..])).ok();
    headers.remove("cache-status");
    joined
}

/// Refuses a head that cannot be trusted, before anything of it is used. A 204 has no length (RFC 9110 section 8.6), so what it says of one is dropped.
pub(super) fn sound(mut fetched: Fetched) -> Result<Fetched, FetchError> {
    if fetched.status.is_informational() {
        return Err(refused(FetchErrorKind::BadHead, &format!("status {} where a final one was due", fetched.status.as_u16())));
    }
    if fetched.status == StatusCode::NO_CONTENT {
        fetched.headers.remove(header::CONTENT_LENGTH);
    }
    content_length(&fetched.headers)?;
    Ok(fetched)
}

/// RFC 9110 section 8.6: one number, however often it is said.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, FetchError> {
    let mut length = None;
    for member in headers.get_all(header::CONTENT_LENGTH).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b',')) {
        let text = member.trim_ascii();
        let number = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u64 = number.and_then(|text| text.parse().ok()).ok_or_else(|| {
            refused(FetchErrorKind::BadLength, &format!("content-length {:?} is no number", String::from_utf8_lossy(text)))
        })?;
        if length.is_some_and(|earlier| earlier != number) {
            return Err(refused(FetchErrorKind::BadLength, "two different content-lengths"));
        }
        length = Some(number);
    }
    Ok(length)
}

pub(super) fn refused(kind: FetchErrorKind, detail: &str) -> FetchError {
    FetchError { kind, detail: detail.to_owned(), retry_after: None }
}
