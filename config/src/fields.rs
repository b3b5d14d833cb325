//! Request header fields that many origins obey although no cache tells answers apart by them.
//!
//! Whoever sends one could have the answer that the origin makes of it stored for everybody. They reach an origin only when the key has them.

use std::borrow::Cow;

/// By name, in lower case.
const OBEYED: &[&str] = &[
    // Another host, scheme or address of the resource.
    "base-url",
    "destination",
    "forwarded",
    "front-end-https",
    "http-host",
    "request-uri",
    "x-arr-ssl",
    "x-backend-host",
    "x-envoy-original-path",
    "x-forward-host",
    "x-forward-proto",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-matched-path",
    "x-now-route-matches",
    "x-override-url",
    "x-proxy-url",
    "x-scheme",
    "x-url-scheme",
    // Another method.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    // Another client or another country.
    "cf-connecting-ip",
    "cf-ipcountry",
    "cf-visitor",
    "client-ip",
    "fastly-client-ip",
    "fastly-ssl",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    // What another cache or proxy would say, and what libraries of origins take for it: `Proxy` becomes the CGI variable HTTP_PROXY.
    "cache-status",
    "proxy",
    "surrogate-capability",
    "translate",
    "x-wap-profile",
];

/// By the beginning of the name: families whose members differ from server to server.
const FAMILIES: &[&str] = &["cloudfront-", "x-forwarded", "x-invoke-", "x-middleware-", "x-original-", "x-rewrite-"];

/// Whether a request field, by its name in lower case, reaches an origin only when the key has it. An underscore in it is a hyphen: interfaces after
/// CGI's (RFC 3875 section 4.1.18) hand both to the application under one name.
#[must_use]
pub fn only_if_keyed(name: &str) -> bool {
    let name = if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) };
    OBEYED.contains(&&*name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::only_if_keyed;

    #[test]
    fn known_ways_to_poison_a_cache_are_closed_and_plain_requests_are_not_touched() {
        for name in [
            "x-forwarded-host",
            "x-forwarded-scheme",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-forwarded-prefix",
            "x-forwarded-ssl",
            "x-forwarded",
            "x-host",
            "x-http-host-override",
            "forwarded",
            "x-original-url",
            "x-original-host",
            "x-rewrite-url",
            "x-http-method-override",
            "x-original-method",
            "base-url",
            "request-uri",
            "proxy",
            "cache-status",
            "x-middleware-prefetch",
            "cloudfront-viewer-country",
            "x_forwarded_host",
            "x-forwarded_host",
            "x_original-url",
            "x_host",
            "x-now-route-matches",
            "x-matched-path",
        ] {
            assert!(only_if_keyed(name), "{name}");
        }
        for name in
            ["accept", "accept-language", "authorization", "cookie", "origin", "referer", "user-agent", "x-requested-with", "x-api-key"]
        {
            assert!(!only_if_keyed(name), "{name}");
        }
    }
}
