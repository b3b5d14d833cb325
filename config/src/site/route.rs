//! How the routing host sends clients to an edge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the routing host (`listen.route` of the control plane and of DNS nodes) redirects requests for this site's hosts to `NODE.SITE.ZONE`. The site has to own `*.SITE.ZONE`, so that edges answer there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// By what the edge is chosen: `latency` takes the one that DNS would answer this client's address with; `path` gives each path an edge of its own among those that may be chosen, so that every object is on one edge.
    pub by: RouteBy,
    /// The scheme of the address that clients are sent to: `https` or `http`.
    pub scheme: RouteScheme,
}

impl Route {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// By what the routing host chooses an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteBy {
    /// By where the client is, as DNS does.
    #[default]
    Latency,
    /// By the path: each has an edge of its own.
    Path,
}

/// The scheme that clients are sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteScheme {
    /// TLS.
    #[default]
    Https,
    /// Cleartext.
    Http,
}
