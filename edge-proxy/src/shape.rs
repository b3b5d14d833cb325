//! What an answer looks like to a client.

use http::header::{ALT_SVC, HeaderMap, HeaderName, HeaderValue, VIA};
use skerry_cache::answer::CacheStatus;
use skerry_transport::aged::AGE_MS;
use skerry_transport::hygiene::{self, CACHE_STATUS, FAULT};
use skerry_transport::interim::INTERIM;

use crate::quic::Announced;

/// Fields meant for Skerry's tiers, removed before the client.
pub(crate) static NOT_FOR_CLIENTS: [HeaderName; 7] = [
    // What an origin says of itself would lead clients past the edge.
    ALT_SVC,
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("skerry-cache-control"),
    INTERIM,
    FAULT,
    AGE_MS,
];

/// Takes out what is not for clients.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Most heads have none of them, and looking is cheaper than removing.
    if headers.keys().any(|name| NOT_FOR_CLIENTS.contains(name)) {
        NOT_FOR_CLIENTS.iter().for_each(|name| drop(headers.remove(name)));
    }
}

/// Finishes the header fields of an answer: `Cache-Status` (RFC 9211) with the tiers before this one first, `Via`, and without what is not for clients.
pub(crate) fn finish(headers: &mut HeaderMap, name: &str, own: &CacheStatus, upstream: Option<&HeaderValue>) {
    strip(headers);
    let member = own.render(name);
    let joined = upstream.map(|upstream| HeaderValue::from_bytes(&[upstream.as_bytes(), b", ", member.as_bytes()].concat()));
    headers.insert(CACHE_STATUS, joined.and_then(Result::ok).unwrap_or(member));
    sign(headers, name);
}

/// Tells a client over TLS that there is HTTP/3 (RFC 7838), if there is.
pub(crate) fn announce(headers: &mut HeaderMap, secured: bool, announced: &Announced) {
    if secured && let Some(alt_svc) = announced.load().as_deref() {
        headers.insert(ALT_SVC, alt_svc.clone());
    }
}

/// Adds this node to `Via` (RFC 9110 section 7.6.3).
pub(crate) fn sign(headers: &mut HeaderMap, name: &str) {
    hygiene::append_member(headers, VIA, &["1.1 ", name].concat());
}
