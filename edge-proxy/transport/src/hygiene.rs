//! What may not cross a hop: hop-by-hop fields, loops, and header fields that only Skerry's own tiers may speak.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use skerry_config::fields::only_if_keyed;

/// The purge number an edge has in force, sent to a shield.
pub const PURGE_SEQ: HeaderName = HeaderName::from_static("skerry-purge-seq");
/// Which history of purges that number is of, sent to a shield.
pub const PURGE_LOG: HeaderName = HeaderName::from_static("skerry-purge-log");
/// The scheme of the client's request, sent to a shield.
pub const SCHEME: HeaderName = HeaderName::from_static("skerry-scheme");
/// The site that an edge routes the request to, sent to a shield: which may have another configuration, that gives the host to another site.
pub const SITE: HeaderName = HeaderName::from_static("skerry-site");
/// What an edge says to a shield and nobody else.
pub const SAID_BY_EDGES: [HeaderName; 4] = [PURGE_SEQ, PURGE_LOG, SCHEME, SITE];
/// Why a shield refuses a request or has no answer to it, sent to an edge, so that it does not take the shield's words for the origin's.
pub const FAULT: HeaderName = HeaderName::from_static("skerry-fault");
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

/// Fields that HTTP/2 and HTTP/3 have no place for (RFC 9113 section 8.2.2, RFC 9114 section 4.2).
const OF_HTTP1: [HeaderName; 5] = [
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The names of fields that only Skerry's tiers may speak begin so, or with an underscore for the hyphen, which many applications cannot tell from it.
const OWN: [&str; 2] = ["skerry-", "skerry_"];

/// Fields of a client that must not reach an origin as the client wrote them, because they tell who the client is.
const CLIENT_MAY_NOT_SAY: [HeaderName; 5] =
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, header::FORWARDED, HeaderName::from_static("x-real-ip")];

/// Whether there are fields of one connection.
#[must_use]
pub fn has_hop_by_hop(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| HOP_BY_HOP.contains(name))
}

/// Removes the fields of one connection, those named by `Connection` among them.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most heads have none of them, and looking is cheaper than removing.
    if !has_hop_by_hop(headers) {
        return;
    }
    for name in named_by_connection(headers).iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes from an answer that is passed through the fields of one connection, those that its `Connection` names among them. What Pingora needs for
/// the hop itself stays, and what a 101 and a 426 are about (RFC 9110 section 15.5.22); so does `Trailer`, because trailers go along.
pub fn strip_passed(answer: &mut ResponseHeader) {
    let upgrades = matches!(answer.status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED);
    let of_this_hop =
        |name: &HeaderName| matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING) || (upgrades && *name == header::UPGRADE);
    for name in named_by_connection(&answer.headers).iter().chain(&HOP_BY_HOP) {
        if !of_this_hop(name) && *name != header::CONTENT_LENGTH && *name != header::TRAILER {
            answer.remove_header(name);
        }
    }
}

/// Removes from an interim answer that is passed through the fields of one connection: none of them is needed for a hop before the final answer.
pub fn strip_interim(answer: &mut ResponseHeader) {
    for name in &HOP_BY_HOP {
        answer.remove_header(name);
    }
}

/// Removes what belongs to a connection of HTTP/1.1, from a head that goes out over HTTP/2 or HTTP/3.
pub(crate) fn strip_http1(headers: &mut HeaderMap) {
    for name in &OF_HTTP1 {
        headers.remove(name);
    }
}

/// Whether a head that came over HTTP/2 or HTTP/3 has what belongs to a connection of HTTP/1.1: it is malformed then.
pub(crate) fn has_http1(headers: &HeaderMap) -> bool {
    OF_HTTP1.iter().any(|name| headers.contains_key(name)) || headers.get_all(header::TE).iter().any(|value| value != "trailers")
}

/// Removes from the trailers of a request what no trailer may say (RFC 9110 section 6.5.1): what belongs to the hop, frames or routes the message, or
/// is for Skerry's tiers alone.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_own(trailers);
    for name in [header::CONTENT_LENGTH, header::HOST, header::AUTHORIZATION, header::COOKIE] {
        trailers.remove(name);
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

/// Removes from a client's request the fields that only Skerry's tiers may speak.
pub fn strip_own(headers: &mut HeaderMap) {
    strip_where(headers, |name| OWN.iter().any(|own| name.starts_with(own)));
}

/// Removes the fields that origins obey and that no key has but by its own word, so that nobody can have the answer to them stored for others.
pub fn strip_unkeyed(headers: &mut HeaderMap, keyed: &[String]) {
    let is_keyed = |name: &str| keyed.iter().any(|field| field == name);
    // What an application takes for a keyed field is no more in the key than the others.
    let is_taken_for_keyed = |name: &str| name.contains('_') && is_keyed(&name.replace('_', "-"));
    strip_where(headers, |name| (only_if_keyed(name) || is_taken_for_keyed(name)) && !is_keyed(name));
}

fn strip_where(headers: &mut HeaderMap, goes: impl Fn(&str) -> bool) {
    if !headers.keys().any(|name| goes(name.as_str())) {
        return;
    }
    let names: Vec<HeaderName> = headers.keys().filter(|name| goes(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes what a client may not say about itself, from a request that is passed through: its answer is stored for nobody, so that what else it
/// says is between the client and the origin.
pub fn strip_client_claims(headers: &mut HeaderMap) {
    strip_where(headers, |name| CLIENT_MAY_NOT_SAY.iter().any(|claim| claim.as_str() == name.replace('_', "-")));
}

/// Appends a member to a comma-separated field.
pub fn append_member(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    if let Ok(value) = HeaderValue::from_str(member) {
        headers.append(name, value);
    }
}

/// What a node says of itself in every request that it sends on.
#[derive(Clone, Debug)]
pub struct Signature {
    via: Option<HeaderValue>,
    /// Its identity in `CDN-Loop` (RFC 8586).
    id: String,
    cdn_loop: Option<HeaderValue>,
}

impl Signature {
    /// Of the node of that name in the CDN that the CA certificate (DER) stands for: two CDNs in a row may have nodes of one name.
    #[must_use]
    pub fn new(name: &str, ca: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, ca);
        let cdn: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let id = format!("{name}.{cdn}.skerry");
        Self { via: HeaderValue::try_from(format!("1.1 {name}")).ok(), cdn_loop: HeaderValue::try_from(&id).ok(), id }
    }

    /// Says where the request has been.
    pub fn sign(&self, headers: &mut HeaderMap) {
        for (name, member) in [(header::VIA, &self.via), (CDN_LOOP, &self.cdn_loop)] {
            if let Some(member) = member {
                headers.append(name, member.clone());
            }
        }
    }

    /// Whether the request has passed this very node before.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        has_looped(headers, &self.id)
    }
}

/// Whether `CDN-Loop` already names `me` (RFC 8586 section 2).
fn has_looped(headers: &HeaderMap, me: &str) -> bool {
    if !headers.contains_key(CDN_LOOP) {
        return false;
    }
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
    fn what_could_poison_the_cache_stays_only_where_the_key_has_it() {
        let names = ["accept", "skerry-device", "skerry-anything", "x-forwarded-for", "x-forwarded-host", "x-original-url", "cache-status"];
        let underscored = ["skerry_device", "x_forwarded_for", "x-forwarded_host", "x_tenant"];
        let names = names.iter().chain(&underscored);
        let request: HeaderMap = names.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect();
        let left = |strip: &dyn Fn(&mut HeaderMap)| {
            let mut headers = request.clone();
            strip(&mut headers);
            let mut left: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            left.sort();
            left
        };
        let own = left(&strip_own);
        let others = ["accept", "cache-status", "x-forwarded-for", "x-forwarded-host", "x-forwarded_host", "x-original-url"];
        assert_eq!(own, [&others[..], &["x_forwarded_for", "x_tenant"]].concat());
        let unkeyed = left(&|headers| strip_unkeyed(headers, &[]));
        assert_eq!(unkeyed, ["accept", "skerry-anything", "skerry-device", "skerry_device", "x_tenant"]);
        let keyed = left(&|headers| strip_unkeyed(headers, &["x-forwarded-host".to_owned(), "x-tenant".to_owned()]));
        assert_eq!(keyed, ["accept", "skerry-anything", "skerry-device", "skerry_device", "x-forwarded-host"]);
        let passed = left(&strip_client_claims);
        assert_eq!(passed, ["accept", "cache-status", "skerry-anything", "skerry-device", "skerry_device", "x-original-url", "x_tenant"]);
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
