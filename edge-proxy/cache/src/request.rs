//! A request as the cache sees it: already parsed, validated and routed by the tier.

use http::HeaderMap;

/// GET or HEAD of one resource.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether the client asked with HEAD.
    pub head_only: bool,
    /// `http` or `https`, as the client's connection was.
    pub scheme: &'static str,
    /// The host, lower case, with a port only if it is not the scheme's own.
    pub authority: String,
    /// Path and query as sent; starts with `/`.
    pub path_and_query: String,
    /// End-to-end header fields as sent (hop-by-hop ones are gone).
    pub headers: HeaderMap,
}
