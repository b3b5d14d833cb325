//! Conditional requests: what a client's preconditions make of a stored response (RFC 9110 section 13), what to send upstream to validate
//! one, and what a 304 changes in it (RFC 9111 section 4.3).
//!
//! Pure. A cache evaluates two of the steps of RFC 9110 section 13.2.2, in that order, and then the range: `If-None-Match` (step 3), which
//! fails to 304; `If-Modified-Since` (step 4) only where there is no `If-None-Match`; `Range`, with `If-Range` (step 5), only when neither
//! failed. `If-Match` and `If-Unmodified-Since` are the origin's to evaluate (RFC 9111 section 4.3.2): a stored answer is served without them,
//! and the fetch of what is to be stored does not take them along, as it would bring everybody the refusal that one client asked for.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::cacheable::OF_ONE_CONNECTION;
use crate::freshness;
use crate::lists::{entity_tags, members};

/// The fields that make a request conditional or partial, which the cache answers itself.
pub const OURS: [HeaderName; 4] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE];

/// Fields that make the origin refuse one client: no part of a fetch for all.
const FOR_ONE: [HeaderName; 3] = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE, header::EXPECT];

/// Fields that an update never changes, besides those of one connection (RFC 9111 section 3.2): they tell how the stored bytes are to be
/// read. `Content-Type` is updated: it says what the bytes mean, and the origin may correct that.
const OF_THE_BYTES: [HeaderName; 3] = [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE];

/// Fields that a 304 leaves out: they describe bytes that are not sent (RFC 9110 section 15.4.5). `Content-Type` stays, which a cache on the
/// way takes over as this one does ([`updated`]): the edge behind a shield above all.
const NOT_IN_304: [HeaderName; 4] = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE, header::TRANSFER_ENCODING];

/// Whether the answer to this GET or HEAD is 304, given the response that would answer it with 200.
#[must_use]
pub fn is_not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        return none_match_fails(request, response.get(header::ETAG));
    }
    // RFC 9110 section 13.1.3: ignored when it has more than one member or is no date.
    let mut lines = request.get_all(header::IF_MODIFIED_SINCE).iter();
    let (Some(_), None) = (lines.next(), lines.next()) else { return false };
    let Some(since) = freshness::date(request, header::IF_MODIFIED_SINCE) else { return false };
    // RFC 9111 section 4.3.2: without Last-Modified the date of the response stands in for it.
    let modified = freshness::date(response, header::LAST_MODIFIED).or_else(|| freshness::date(response, header::DATE));
    modified.is_some_and(|modified| modified <= since)
}

/// RFC 9110 section 13.1.2, with weak comparison. `*` matches any response there is, and is no member of a list.
fn none_match_fails(request: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    let mut tags = request.get_all(header::IF_NONE_MATCH).iter().flat_map(|line| entity_tags(line.as_bytes())).peekable();
    let Some(first) = tags.next() else { return false };
    if first == b"*" && tags.peek().is_none() {
        return true;
    }
    let Some(etag) = etag else { return false };
    std::iter::once(first).chain(tags).any(|tag| opaque(etag.as_bytes()) == opaque(tag))
}

/// An entity tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.trim_ascii();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The strong entity tag of a response.
#[must_use]
pub fn strong_etag(response: &HeaderMap) -> Option<&HeaderValue> {
    response.get(header::ETAG).filter(|tag| is_strong(tag))
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

/// Whether a 304 is about the stored response whose validators were sent (RFC 9111 section 4.3.4).
///
/// A strong tag selects the response with the same strong tag, a weak one any that is weakly equal; without a tag `Last-Modified` decides.
/// A 304 that names no validator is about what was asked for: the request named one representation, and section 4.3.3 lets it be reused.
#[must_use]
pub fn confirms(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    if let Some(theirs) = not_modified.get(header::ETAG) {
        return match stored.get(header::ETAG) {
            Some(ours) if is_strong(theirs) => theirs == ours,
            Some(ours) => opaque(theirs.as_bytes()) == opaque(ours.as_bytes()),
            None => same_modified(not_modified, stored) == Some(true),
        };
    }
    same_modified(not_modified, stored).unwrap_or(!not_modified.contains_key(header::LAST_MODIFIED))
}

/// Whether a 200 to HEAD is about the stored response to GET (RFC 9111 section 4.3.5): every validator it has is the stored one, and so is
/// the length. When not, the stored response is to be taken as stale.
#[must_use]
pub fn freshens_by_head(head: &HeaderMap, stored: &HeaderMap, stored_length: Option<u64>) -> bool {
    let same_tag = head.get(header::ETAG).is_none_or(|tag| stored.get(header::ETAG) == Some(tag));
    let same_date = !head.contains_key(header::LAST_MODIFIED) || same_modified(head, stored) == Some(true);
    let mut lengths = head.get_all(header::CONTENT_LENGTH).iter().flat_map(|line| members(line.as_bytes()));
    let same_length = lengths.all(|length| stored_length.is_some() && crate::control::delta_digits(length) == stored_length);
    same_tag && same_date && same_length
}

/// Whether two responses have the same `Last-Modified`; `None` when one has none. Texts that are no dates are compared as they are.
fn same_modified(one: &HeaderMap, other: &HeaderMap) -> Option<bool> {
    let (one_text, other_text) = (one.get(header::LAST_MODIFIED)?, other.get(header::LAST_MODIFIED)?);
    let dates = freshness::date(one, header::LAST_MODIFIED).zip(freshness::date(other, header::LAST_MODIFIED));
    Some(dates.map_or(one_text == other_text, |(one, other)| one == other))
}

/// The stored header fields as a 304, or a 200 to HEAD, changes them: each field it names replaces the stored ones of that name. Not so those
/// that tell how the stored bytes are to be read, those of one connection, those its `Connection` names, and a tag that is only weakly the
/// stored one, which stays the more exact of the two.
#[must_use]
pub fn updated(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    // Both tell how old the stored response was when it was made or last confirmed. The age counts from the update (RFC 9111 section 4.2.3),
    // so what the update does not say is gone: an old Date would make what was confirmed this moment as old as when it was first sent.
    // Who stores the result dates it with the time of arrival, as RFC 9110 section 6.6.1 asks.
    headers.remove(header::AGE);
    headers.remove(header::DATE);
    let of_connection: Vec<&[u8]> = update.get_all(header::CONNECTION).iter().flat_map(|line| members(line.as_bytes())).collect();
    let keeps = |name: &HeaderName| {
        OF_THE_BYTES.contains(name)
            || OF_ONE_CONNECTION.contains(&name.as_str())
            || of_connection.iter().any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
            || (name == header::ETAG
                && stored.get(header::ETAG).is_some_and(is_strong)
                && update.get(header::ETAG).is_some_and(|tag| !is_strong(tag)))
    };
    for name in update.keys().filter(|name| !keeps(name)) {
        headers.remove(name);
        for value in update.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

fn is_strong(tag: &HeaderValue) -> bool {
    tag.as_bytes().starts_with(b"\"")
}

#[cfg(test)]
mod tests;
