//! What the cache can say about one request without answering it: the shape of [`crate::exchange::Exchange::explain`]'s answer.
//!
//! Owns names and units only. Times are in milliseconds; a name that ends in `_ms` and can be negative says so.

use serde::Serialize;
use skerry_config::snapshot::{Located, Policy};

/// What a node tells about a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// The URL as the node understood it.
    pub url: String,
    /// The site and the rule it belongs to.
    #[serde(flatten)]
    pub located: Located,
    /// What the cache says; absent when no site owns the host.
    #[serde(flatten)]
    pub explanation: Option<Explanation>,
    /// Whom the node would ask, in order.
    pub upstream: Vec<String>,
}

/// What is stored for a request, and what the next one like it would get.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The moment all of it is about.
    pub now: Moment,
    /// What the site says about this request.
    pub policy: Policy,
    /// Under what the request is looked up.
    pub key: KeyView,
    /// The variant the request asks for; absent where answers do not vary, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
    /// What is stored under the key, also when a purge took it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// The purges that were compared with it.
    pub purges: Purges,
    /// Until when requests for the key go upstream unchanged, because an answer could not be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncacheable_until: Option<Moment>,
    /// Whether a fetch for the key is under way that the next request could join.
    pub fetching: bool,
    /// What the next request would get.
    pub next: Next,
}

/// A point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The same as an HTTP date, to the second.
    pub date: String,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// As [`crate::key::Key::readable`] writes it.
    pub text: String,
    /// Its 128-bit hash, hexadecimal.
    pub hash: String,
}

/// A variant of a response (RFC 9111 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// The fields that responses vary on, with the values of the request in their normal form.
    pub fields: Vec<Field>,
    /// The hash of the variant's own key, hexadecimal.
    pub hash: String,
}

/// A request field that a response depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value; absent when the request does not have the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Where it was found; the disk is looked at where memory has nothing that can be used.
    pub tier: Tier,
    /// Its status.
    pub status: u16,
    /// When its head arrived, or when it was last confirmed.
    pub stored_at: Moment,
    /// How old it is.
    pub age: Age,
    /// How long it is fresh.
    pub lifetime: Lifetime,
    /// RFC 5861 section 3.
    pub stale_while_revalidate: Window,
    /// RFC 5861 section 4.
    pub stale_if_error: Window,
    /// `ETag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// The length of the body in bytes, if anything tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Which bytes of the body are stored, where not all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Bytes>,
    /// How many tags it has that are kept.
    pub tags: usize,
    /// `Cache-Status` of the caches before this one, about the fetch that brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<String>,
}

/// Where an answer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// In memory, and perhaps on disk too.
    Memory,
    /// On disk alone.
    Disk,
}

/// Some bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// The first, from 0.
    pub first: u64,
    /// The last, included.
    pub last: u64,
}

/// `current_age` = `corrected_initial_age` + `resident_time` (RFC 9111 section 4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Age {
    /// `corrected_initial_age`: how old it was when it arrived.
    pub initial_ms: u64,
    /// `resident_time`: how long it has been here.
    pub resident_ms: u64,
    /// Both together.
    pub current_ms: u64,
}

/// `response_is_fresh` = `freshness_lifetime` > `current_age` (RFC 9111 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// `freshness_lifetime`.
    pub lifetime_ms: u64,
    /// Where it comes from: `s-maxage`, `max-age`, `Expires`, `Last-Modified` (heuristic), `rule`, `default` or `nothing`.
    pub source: &'static str,
    /// What is left of it; negative for how long it has been over.
    pub remaining_ms: i64,
    /// `no-cache`: it is validated on every use, however fresh.
    pub no_cache: bool,
}

/// How long beyond its lifetime a response may be used stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The length of the window; 0 when there is none.
    pub window_ms: u64,
    /// Time until it closes; negative for how long it has been closed.
    pub remaining_ms: i64,
    /// Whether it allows the response at this moment.
    pub open: bool,
}

/// The comparison with purges: the response is gone below a hard number that matches, stale below a soft one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Purges {
    /// The number of the last purge in force here.
    pub in_force: u64,
    /// An unsafe request, or a cache group, made the stored response invalid here (RFC 9111 section 4.4, RFC 9875 section 3).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalidated: bool,
    /// The number that was in force when the fetch of the stored response began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp: Option<u64>,
    /// Every purge that names the stored response, whatever its number.
    pub compared: Vec<Compared>,
    /// What comes of all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// The newest purges of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// `all`, `site`, `host`, `url`, `prefix` or `tag`.
    pub kind: &'static str,
    /// Of what, where the kind does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number of the newest hard purge; 0 when there is none.
    pub hard: u64,
    /// The number of the newest soft purge; 0 when there is none.
    pub soft: u64,
    /// What these two alone make of the response.
    pub verdict: Verdict,
}

/// What purges make of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing: it is newer.
    Untouched,
    /// A soft one made it stale.
    Stale,
    /// A hard one removed it.
    Gone,
}

/// What the next request would get, if it came at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// In one word.
    pub outcome: Outcome,
    /// The reason to go upstream, as `Cache-Status` would say it; absent on a hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwd: Option<&'static str>,
    /// `detail`, as `Cache-Status` would say it when the request is looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
    /// Why, as a sentence without full stop.
    pub why: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Refused with 504: the request allows only what is stored.
    Refuse,
    /// Answered from the store, fresh.
    Hit,
    /// Answered from the store, stale, while it is refreshed.
    StaleWhileRevalidate,
    /// Answered from the store, stale, because a refresh failed a moment ago.
    StaleIfError,
    /// Answered from another request's fetch.
    Collapse,
    /// Upstream is asked whether the stored response still holds.
    Validate,
    /// Upstream is asked for the whole, and the answer stored if it may be.
    Miss,
    /// Sent upstream unchanged, past the store.
    Pass,
}
