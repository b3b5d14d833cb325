//! What may not cross a hop: hop-by-hop fields, loops, and header fields that only Skerry's own tiers may speak.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

/// The purge number an edge has in force, sent to a shield.
pub const PURGE_SEQ: HeaderName = HeaderName::from_static("skerry-purge-seq");
/// The scheme of the client's request, sent to a shield.
pub const SCHEME: HeaderName = HeaderName::from_static("skerry-scheme");
/// RFC 8586.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The client's address, by the oldest convention.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme of the client's request, by convention.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host of the client's request, by convention.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields that belong to one connection (RFC 9110 section 7.6.1, RFC 9112 section 6), besides those `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields of a client that must not reach an origin as the client wrote them: the tiers' own, and those that tell who the client is.
const CLIENT_MAY_NOT_SAY: [HeaderName; 7] =
    [PURGE_SEQ, SCHEME, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, header::FORWARDED, HeaderName::from_static("x-real-ip")];

/// Removes the fields of one connection, those named by `Connection` among them.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers).iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes from an answer that is passed through the fields that its `Connection` names; what Pingora needs for the hop itself stays.
pub fn strip_named_by_connection(answer: &mut ResponseHeader) {
    for name in named_by_connection(&answer.headers) {
        if !HOP_BY_HOP.contains(&name) && name != header::CONTENT_LENGTH {
            answer.remove_header(&name);
        }
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// Takes an empty last piece out of a request's body. Pingora would write it upstream as a chunk of size 0, which ends a chunked body
/// (RFC 9112 section 7.1), and then end the body once more: the second end would be read as the next request of the connection.
pub fn drop_empty_end(body: &mut Option<Bytes>, end_of_body: bool) {
    if end_of_body && body.as_ref().is_some_and(Bytes::is_empty) {
        *body = None;
    }
}

/// Removes what a client may not say about itself.
pub fn strip_client_claims(headers: &mut HeaderMap) {
    for name in &CLIENT_MAY_NOT_SAY {
        headers.remove(name);
    }
}

/// Appends a member to a comma-separated field.
pub fn append_member(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    if let Ok(value) = HeaderValue::from_str(member) {
        headers.append(name, value);
    }
}

/// A node's identity in `CDN-Loop`: its name, in the CDN that the CA certificate (DER) stands for, so that two CDNs in a row may have nodes of one name.
#[must_use]
pub fn loop_id(name: &str, ca: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, ca);
    let cdn: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}.{cdn}.skerry")
}

/// Whether `CDN-Loop` already names `me` (RFC 8586 section 2).
#[must_use]
pub fn has_looped(headers: &HeaderMap, me: &str) -> bool {
    headers
        .get_all(CDN_LOOP)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|member| member.split(';').next().is_some_and(|id| id.trim().eq_ignore_ascii_case(me)))
}

/// Makes the end-to-end fields of `upstream` those of `wanted`; what Pingora needs for the hop itself stays.
///
/// # Errors
/// When a field cannot be written, which a parsed one always can.
pub fn replace_end_to_end(upstream: &mut RequestHeader, wanted: &HeaderMap) -> pingora::Result<()> {
    let mut present = upstream.headers.clone();
    strip_hop_by_hop(&mut present);
    present.remove(header::HOST);
    let names: Vec<HeaderName> = present.keys().cloned().collect();
    for name in &names {
        upstream.remove_header(name);
    }
    for (name, value) in wanted {
        upstream.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_named_by_connection_go_with_the_connection() {
        let mut headers = HeaderMap::new();
        headers.append("connection", HeaderValue::from_static("close, X-Secret"));
        headers.append("connection", HeaderValue::from_static("x-other"));
        headers.append("x-secret", HeaderValue::from_static("1"));
        headers.append("x-other", HeaderValue::from_static("1"));
        headers.append("transfer-encoding", HeaderValue::from_static("chunked"));
        headers.append("accept", HeaderValue::from_static("*/*"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn a_loop_is_seen_in_any_member_whatever_its_case_and_parameters() {
        let mut headers = HeaderMap::new();
        headers.append(CDN_LOOP, HeaderValue::from_static("other, Edge-1.abc.skerry;v=1"));
        assert!(has_looped(&headers, "edge-1.abc.skerry"));
        assert!(!has_looped(&headers, "edge-2.abc.skerry"));
        assert!(!has_looped(&headers, "abc.skerry"));
    }
}
