//! How an origin is kept from harm: how much it is asked at once, when it is left alone, and how often it is asked again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// How much one origin server is asked at once by one node. A request counts from when it is sent to the end of its answer; a WebSocket, a gRPC call and a stream of events only to the head of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OriginLimits {
    /// Requests at once, 1 to 65536.
    pub concurrent: u32,
    /// Requests that wait for one of those to end, 0 to 65536; those for different paths take turns. One more is refused with `queue-full`.
    pub queue: u32,
    /// How long a request waits there, at most `5m`; then it is refused with `queue-time`.
    pub queue_time: Period,
}

/// When an origin server is left alone by one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Errors in a row (no connection, no answer, 500, 502, 503, 504) after which it is left alone, up to 10000; `0` is never. Requests are refused with `breaker-open` then.
    pub errors: u32,
    /// How long; then one request tries whether it is well again. It doubles five times while that fails. At most `5m`.
    pub open: Period,
    /// The longest that it is left alone because it said so: by 503 with `Retry-After`, or by three answers in a row with 429 and `Retry-After`. `0s` takes no notice; at most `1h`.
    pub retry_after_max: Period,
}

/// How often a site's requests to its origin may be repeated by one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// The share of the requests that may be repeated, 0 to 100.
    pub percent: u32,
    /// Retries in a minute beyond that share, 0 to 1000.
    pub floor: u32,
}

/// When a server of several that fails is taken out for a time. Half of a site's servers are always left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// Errors in a row (as for `breaker.errors`), up to 10000; `0` is never.
    pub errors: u32,
    /// The share of errors among at least 20 requests in 10 s, up to 100; `0` is never.
    pub percent: u32,
    /// How long it is out the first time; each time it is twice as long, up to 30 times, until it was well for long. At most `5m`.
    pub time: Period,
}

impl Default for Retries {
    fn default() -> Self {
        Self { percent: 20, floor: 10 }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self { errors: 5, percent: 50, time: Period::from_secs(10) }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { errors: 20, open: Period::from_secs(1), retry_after_max: Period::from_secs(60) }
    }
}

impl Default for OriginLimits {
    fn default() -> Self {
        Self { concurrent: 1_024, queue: 4_096, queue_time: Period::from_secs(10) }
    }
}
