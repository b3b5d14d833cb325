//! A site: the host names it owns, the origin behind it and how its answers are kept.
//!
//! These types are the schema: the same for a file in TOML, YAML or JSON and for the control API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// One site, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The name of the site: 1 to 63 characters of `a-z`, `0-9` and `-`, starting and ending with a letter or digit. It is a label in the CDN's DNS zone.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// The host names the site owns: exact (`shop.example.com`), every name one or more labels below another (`*.img.example.com`), or `*` for every host that no other site owns. No host belongs to two sites.
    #[schemars(length(min = 1, max = 256))]
    pub hosts: Vec<String>,
    /// Where the content comes from.
    pub origin: Origin,
    /// How answers are kept.
    #[serde(default)]
    pub cache: Cache,
}

/// Where a site's content comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The origin servers, 1 to 16, as `http://host[:port]` or `https://host[:port]` without path; tried in this order, the next one when one cannot be reached.
    #[schemars(length(min = 1, max = 16))]
    pub urls: Vec<String>,
    /// The `Host` sent to the origin; by default the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_header: Option<String>,
    /// The TLS server name sent to and verified at the origin; by default the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether an `https` origin's certificate must be valid for the server name. Turn it off only for an origin on a private network.
    #[serde(default = "yes")]
    pub verify_tls: bool,
    /// The time allowed to connect, TLS included.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Period,
    /// The time allowed from the end of the request to the head of the answer.
    #[serde(default = "first_byte_timeout")]
    pub first_byte_timeout: Period,
    /// The time allowed between two pieces of an answer's body.
    #[serde(default = "between_bytes_timeout")]
    pub between_bytes_timeout: Period,
}

/// How a site's answers are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// The lifetime of an answer about which the origin says nothing. `0s` keeps it only to be revalidated.
    pub default_ttl: Period,
    /// How long a stale answer may be served while it is refreshed (RFC 5861 section 3), when the origin says nothing.
    pub stale_while_revalidate: Period,
    /// How long a stale answer may be served when the origin fails (RFC 5861 section 4), when the origin says nothing.
    pub stale_if_error: Period,
    /// What tells one stored answer from another, beside method, scheme, host and path.
    pub key: Key,
    /// Exceptions by request; the first that matches wins. At most 256.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub rules: Vec<Rule>,
}

/// An exception from the site's defaults for the requests it matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Which requests the rule is about; every condition given must hold.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Never store and never answer from the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bypass: bool,
    /// The lifetime of an answer that may be stored, in place of what the origin says. `no-store` and `private` still forbid storing, and so does `Set-Cookie` beside which the origin says neither `public` nor `s-maxage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Period>,
    /// In place of the site's and the origin's `stale-while-revalidate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_while_revalidate: Option<Period>,
    /// In place of the site's and the origin's `stale-if-error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_if_error: Option<Period>,
    /// In place of the site's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// The condition of a rule. An empty one matches every request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// A path with `*` for any number of characters, `/` included: `/api/*`, `*.jpg`. Compared with the path as sent, case-sensitive, without query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// One of the site's host names, exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// What tells one stored answer from another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Key {
    /// Which parts of the query count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Query>,
    /// Request header fields whose values count, lower case. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<String>,
}

/// Which query parameters count. At most one of `keep` and `drop`; without either all count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Only these parameters count; the empty list ignores the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<String>>,
    /// All parameters but these count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<Vec<String>>,
    /// Whether the order of parameters with different names is ignored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sort: bool,
}

impl Site {
    /// Writes host names in lower case, as they are compared.
    pub(crate) fn normalise(&mut self) {
        let rules = self.cache.rules.iter_mut().filter_map(|rule| rule.matches.host.as_mut());
        self.hosts.iter_mut().chain(rules).for_each(|host| host.make_ascii_lowercase());
    }
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn connect_timeout() -> Period {
    Period::from_secs(5)
}

pub(crate) fn first_byte_timeout() -> Period {
    Period::from_secs(30)
}

pub(crate) fn between_bytes_timeout() -> Period {
    Period::from_secs(30)
}
