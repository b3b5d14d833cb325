//! A site: the host names it owns, the origin behind it and how its answers are kept.
//!
//! These types are the schema: the same for a file in TOML, YAML or JSON and for the control API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::status::StatusPattern;
use crate::units::{Period, Size};

mod clients;
mod guarding;
mod pass;
mod route;
mod shields;

pub use clients::{ForwardedAs, Forwarding, RateBy, RateLimit};
pub use guarding::{Breaker, Ejection, Health, OriginLimits, OriginServer, Retries};
pub(crate) use guarding::{check_fall, check_interval, check_rise, check_status, check_timeout, one};
pub use pass::Pass;
pub use route::{Route, RouteBy, RouteScheme};
pub use shields::{Fallback, Lead, Shields};

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
    /// The fence: the only regions whose edges DNS and the routing host send clients of this site to, even when no edge there is up; without it all regions. At most 64. An edge elsewhere that a client asks nevertheless still answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub regions: Vec<String>,
    /// Where the content comes from.
    pub origin: Origin,
    /// Which shields are asked.
    #[serde(default)]
    pub shields: Shields,
    /// How answers are kept.
    #[serde(default)]
    pub cache: Cache,
    /// How long requests that are passed through may take.
    #[serde(default)]
    pub pass: Pass,
    /// How often clients may ask; a request counts in every limit that it matches. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub rate_limits: Vec<RateLimit>,
    /// What origins are told of the client.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// How the routing host sends clients to an edge.
    #[serde(default, skip_serializing_if = "Route::is_default")]
    pub route: Route,
}

impl Site {
    /// The site as people may see it: with marks in place of its secrets.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        shown.secrets_mut().for_each(|secret| *secret = secret.mark());
        shown
    }

    /// The secrets of the site, or what stands for them.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.origin.client_key.iter()
    }

    /// The same, to put others in their places.
    pub fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Secret> {
        self.origin.client_key.iter_mut()
    }
}

/// Where a site's content comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The origin servers, 1 to 16, as `http://host[:port]` or `https://host[:port]` without path; asked in this order, the next one when one is not well or cannot be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub urls: Vec<String>,
    /// The origin servers in place of `urls`, 1 to 16, with weights and groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub servers: Vec<OriginServer>,
    /// The `Host` sent to the origin; by default the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_header: Option<String>,
    /// The TLS server name sent to and verified at the origin; by default the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether an `https` origin's certificate must be valid for the server name. Turn it off only for an origin on a private network.
    #[serde(default = "yes")]
    pub verify_tls: bool,
    /// The certificate authorities that an `https` origin's certificate may come from, as PEM text: one or more certificates, at most 64KiB. They are in place of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The certificate shown to an `https` origin that asks for one, with those between it and its authority, as PEM text of at most 64KiB. `client_key` belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// The private key of `client_certificate`, as PEM text (PKCS #8, PKCS #1 or SEC1) of at most 64KiB. It is shown to nobody: the API and `skerry site show` have `redacted:` and a fingerprint in its place, and a site that is written with that keeps the key. `secret:NAME` stands for the secret of that name, which `skerry secret put` writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<Secret>,
    /// The version of HTTP spoken to the origin: `auto` takes HTTP/2 where an `https` origin offers it, else HTTP/1.1; `1.1` that alone; `2` that alone, with an `http` origin by prior knowledge (h2c), as gRPC servers without TLS need it. WebSockets go over HTTP/1.1 always.
    #[serde(default)]
    pub http_version: HttpVersion,
    /// The time allowed to connect, all addresses of the origin together; TLS has its own.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Period,
    /// The time allowed for the TLS handshake.
    #[serde(default = "tls_timeout")]
    pub tls_timeout: Period,
    /// The time allowed from the end of the request to the end of the head of the answer.
    #[serde(default = "first_byte_timeout")]
    pub first_byte_timeout: Period,
    /// The time allowed between two pieces of an answer's body.
    #[serde(default = "between_bytes_timeout")]
    pub between_bytes_timeout: Period,
    /// The time allowed for a whole answer that the cache asks for, from the request to the end of its body; without it there is no such bound. What is passed through has bounds of its own in `pass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Period>,
    /// How much one server is asked at once.
    #[serde(default)]
    pub limits: OriginLimits,
    /// When a server is left alone.
    #[serde(default)]
    pub breaker: Breaker,
    /// How often requests may be repeated. What is not safe is never repeated, and nothing is once a byte of the answer has gone to the client.
    #[serde(default)]
    pub retries: Retries,
    /// When a server that fails is taken out for a time.
    #[serde(default)]
    pub ejection: Ejection,
    /// Checks of the servers; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// The version of HTTP spoken to an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/2 where an origin over TLS offers it, else HTTP/1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1 alone.
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2 alone.
    #[serde(rename = "2")]
    Http2,
}

/// How a site's answers are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// The lifetime of an answer about which the origin says nothing. `0s` keeps it only to be revalidated.
    pub default_ttl: Period,
    /// How long a stale answer may be served while it is refreshed (RFC 5861 section 3), when the origin says nothing.
    pub stale_while_revalidate: Period,
    /// How long a stale answer may be served when the origin fails (RFC 5861 section 4), when the origin says nothing.
    pub stale_if_error: Period,
    /// Lifetimes by what the origin answered, in place of what it says and of a rule's `ttl`; the first that matches wins. At most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ttls: Vec<AnswerTtl>,
    /// Error answers about which the origin says nothing.
    pub negative: Negative,
    /// The largest body that is stored, when it is less than what the node stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_max: Option<Size>,
    /// What becomes of cookies.
    pub cookies: Cookies,
    /// Whether the `Cache-Control` and `Pragma` of a request count (RFC 9111 section 5.2.1). `only-if-cached` always does.
    pub request_directives: RequestDirectives,
    /// Whether an answer's `No-Vary-Search` makes URLs with other queries find it.
    pub no_vary_search: bool,
    /// Whether an answer whose `Content-Type` contradicts the extension of its path (an HTML page under `/account/x.css`) is kept out of the cache: somebody may have led a visitor there to have his page stored for all. It is stored where the origin says `public` or `s-maxage`.
    pub deception_guard: bool,
    /// Whether `Cache-Status` tells the key (RFC 9211 section 2.7).
    pub show_key: bool,
    /// How long a key whose answers may not be stored is remembered, so that its requests wait for nobody.
    pub hit_for_miss: Period,
    /// What tells one stored answer from another, beside method and path.
    pub key: Key,
    /// Exceptions by request; the first that matches wins. At most 256.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub rules: Vec<Rule>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            default_ttl: Period::default(),
            stale_while_revalidate: Period::default(),
            stale_if_error: Period::default(),
            ttls: Vec::new(),
            negative: Negative::default(),
            object_max: None,
            cookies: Cookies::default(),
            request_directives: RequestDirectives::default(),
            no_vary_search: false,
            deception_guard: true,
            show_key: false,
            hit_for_miss: Period::from_secs(120),
            key: Key::default(),
            rules: Vec::new(),
        }
    }
}

/// A lifetime for the answers it matches; every condition given must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerTtl {
    /// Statuses: `404`, or `"4xx"` for a class. Without it, every status that may be stored by itself or by the origin's word. A range (206) counts as the 200 that it is a part of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<StatusPattern>,
    /// Media types without parameters: `text/html`, `image/*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content_type: Vec<String>,
    /// The lifetime.
    pub ttl: Period,
}

/// Which error answers are kept although the origin says nothing about them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Negative {
    /// Their statuses: `404`, or `"5xx"` for a class; 400 and above. Those listed may be stored even where RFC 9110 section 15.1 does not allow it by itself: that is the operator's word in place of the origin's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<StatusPattern>,
    /// Their lifetime, in place of `default_ttl` and of a rule's `ttl`.
    pub ttl: Period,
}

/// What becomes of cookies. Names are exact, or end with `*` for every name that starts so; at most 64 in each list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cookies {
    /// A request with one of these goes past the cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bypass: Vec<String>,
    /// These are taken out of a request before its key is made and it goes upstream; `*` takes all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strip: Vec<String>,
    /// What becomes of an answer with `Set-Cookie`: `refuse` stores it only where the origin says `public` or `s-maxage`; `store` wherever the origin gives it a lifetime, as RFC 9111 section 7.3 has it, cookie and all; `strip` stores it without the cookie, and takes the cookie out of every answer that may be stored, for whoever asked first too. Answers that are not stored keep theirs.
    pub set_cookie: SetCookie,
}

/// What becomes of an answer with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetCookie {
    /// It is stored only where the origin calls it shared, because the cookie may be somebody's session.
    #[default]
    Refuse,
    /// It is stored where the origin gives it a lifetime.
    Store,
    /// The cookie is taken out of every answer that may be stored.
    Strip,
}

/// Whether request directives count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestDirectives {
    /// They are ignored: any client could make the origin answer each of its requests with them.
    #[default]
    Ignore,
    /// They are obeyed: `no-cache`, `no-store`, `max-age`, `min-fresh`, `max-stale`, and `Pragma: no-cache`.
    Obey,
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
    /// In place of the site's `ttls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttls: Option<Vec<AnswerTtl>>,
    /// In place of the site's `negative`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<Negative>,
    /// In place of the site's `object_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_max: Option<Size>,
    /// In place of the site's cookies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookies: Option<Cookies>,
    /// In place of the site's `request_directives`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_directives: Option<RequestDirectives>,
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
    /// A request header field that must be there, lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A cookie that must be there: a name, or its beginning and `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

/// What tells one stored answer from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Key {
    /// Whether answers over http and https are told apart.
    #[serde(skip_serializing_if = "is_yes")]
    pub scheme: bool,
    /// A host name in place of the request's, so that several hosts of the site share their answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which parts of the query count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Query>,
    /// Request header fields whose values count, lower case. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<String>,
    /// Cookies whose values count, by exact name. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub cookies: Vec<String>,
    /// Whether the class of the client's device counts: `desktop`, `mobile`, `tablet` or `bot`. The origin is told in `Skerry-Device`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub device: bool,
    /// Whether the country of the client's address counts, by the node's `geo.database`. The origin is told in `Skerry-Country`: two letters (ISO 3166-1), `ZZ` when it is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub country: bool,
}

impl Default for Key {
    fn default() -> Self {
        Self { scheme: true, host: None, query: None, headers: Vec::new(), cookies: Vec::new(), device: false, country: false }
    }
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
        let Cache { key, rules, .. } = &mut self.cache;
        let of_rules = rules.iter_mut().flat_map(|rule| {
            let alias = rule.key.as_mut().and_then(|key| key.host.as_mut());
            [rule.matches.host.as_mut(), alias].into_iter().flatten()
        });
        self.hosts.iter_mut().chain(&mut key.host).chain(of_rules).for_each(|host| host.make_ascii_lowercase());
    }
}

pub(crate) fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

pub(crate) fn connect_timeout() -> Period {
    Period::from_secs(5)
}

pub(crate) fn tls_timeout() -> Period {
    Period::from_secs(5)
}

pub(crate) fn first_byte_timeout() -> Period {
    Period::from_secs(30)
}

pub(crate) fn between_bytes_timeout() -> Period {
    Period::from_secs(30)
}
