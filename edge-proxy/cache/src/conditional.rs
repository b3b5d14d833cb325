//! Conditional requests: what a client's preconditions make of a stored response (RFC 9110 section 13), what to send upstream to validate
//! one, and what a 304 changes in it (RFC 9111 section 4.3).
//!
//! Pure. `If-Match` and `If-Unmodified-Since` are the origin's to evaluate (RFC 9111 section 4.3.2): a stored answer is served without them,
//! and the fetch of what is to be stored does not take them along, as it would bring everybody the refusal that one client asked for.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::control::members;
use crate::freshness;

/// The fields that make a request conditional or partial, which the cache answers itself.
pub const OURS: [HeaderName; 4] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE];

/// Fields that make the origin refuse one client: no part of a fetch for all.
const FOR_ONE: [HeaderName; 3] = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE, header::EXPECT];

/// Fields of a stored response that a 304 never changes: they describe the bytes that are stored (RFC 9111 section 3.2).
const BOUND_TO_BODY: [HeaderName; 5] =
    [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_TYPE, header::CONTENT_RANGE, header::TRANSFER_ENCODING];

/// Fields that a 304 to a client leaves out: they describe a body that is not sent (RFC 9110 section 15.4.5).
const NOT_IN_304: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_RANGE,
    header::TRANSFER_ENCODING,
];

/// Whether the answer to this request is 304, given the response that would answer it with 200.
#[must_use]
pub fn is_not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        return none_match_fails(request, response.get(header::ETAG));
    }
    let Some(since) = freshness::date(request, header::IF_MODIFIED_SINCE) else { return false };
    // RFC 9111 section 4.3.2: without Last-Modified the date of the response stands in for it.
    let modified = freshness::date(response, header::LAST_MODIFIED).or_else(|| freshness::date(response, header::DATE));
    modified.is_some_and(|modified| modified <= since)
}

/// RFC 9110 section 13.1.2, with weak comparison.
fn none_match_fails(request: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().flat_map(|line| members(line.as_bytes())).any(|member| {
        // `*` matches any response there is.
        member == b"*" || etag.is_some_and(|etag| opaque(etag.as_bytes()) == opaque(member))
    })
}

/// An entity tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.trim_ascii();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The strong entity tag of a response.
#[must_use]
pub fn strong_etag(response: &HeaderMap) -> Option<&HeaderValue> {
    response.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
}

/// The header fields of a 304 for a stored response: all but those that describe the body, as a cache on the way may update its own copy by them.
#[must_use]
pub fn not_modified(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in NOT_IN_304 {
        headers.remove(name);
    }
    headers
}

/// Takes the client's conditions, ranges and expectations out of a request, so that it asks for what every client may have.
pub fn strip(request: &mut HeaderMap) {
    for name in OURS.into_iter().chain(FOR_ONE) {
        request.remove(name);
    }
}

/// Makes a request validate a stored response (RFC 9111 section 4.3.1). Without a validator the request stays unconditional.
pub fn validate(request: &mut HeaderMap, stored: &HeaderMap) {
    if let Some(etag) = stored.get(header::ETAG) {
        request.insert(header::IF_NONE_MATCH, etag.clone());
    }
    if let Some(modified) = stored.get(header::LAST_MODIFIED) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Whether a 304 is about the stored response (RFC 9111 section 4.3.4): its validators, where it names any, are the stored ones.
#[must_use]
pub fn confirms(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    if let (Some(theirs), Some(ours)) = (not_modified.get(header::ETAG), stored.get(header::ETAG)) {
        return opaque(theirs.as_bytes()) == opaque(ours.as_bytes());
    }
    match (not_modified.get(header::LAST_MODIFIED), stored.get(header::LAST_MODIFIED)) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => true,
    }
}

/// The stored header fields as a 304 changes them: each field it names replaces the stored ones of that name.
#[must_use]
pub fn updated(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    // The age of the stored response is that of the 304 from now on.
    headers.remove(header::AGE);
    if !not_modified.contains_key(header::DATE) {
        headers.remove(header::DATE);
    }
    for name in not_modified.keys().filter(|name| !BOUND_TO_BODY.contains(name)) {
        headers.remove(name);
        for value in not_modified.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests;
