//! How an origin is kept from harm: how much it is asked at once, when it is left alone, and how often it is asked again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Origin;
use crate::status::StatusPattern;
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

/// One of a site's origin servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginServer {
    /// The server, as `http://host[:port]` or `https://host[:port]` without path.
    pub url: String,
    /// Its share of the requests among the servers of its group, 1 to 1000.
    #[serde(default = "one")]
    pub weight: u32,
    /// Its group, 0 to 15: a group is asked while no server of a lower one is well.
    #[serde(default)]
    pub group: u32,
    /// The `Host` sent to it, in place of the origin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_header: Option<String>,
    /// The TLS server name sent to it and verified, in place of the origin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// How each node checks an origin's servers: while they are asked, and for 5 minutes more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The path that is asked for with GET, query included.
    pub path: String,
    /// From one check to the next, give or take a quarter; `1s` to `1h`.
    #[serde(default = "check_interval")]
    pub interval: Period,
    /// The time allowed for the whole answer; at most `1m`.
    #[serde(default = "check_timeout")]
    pub timeout: Period,
    /// The statuses of a server that is well: `204`, or `"2xx"` for a class.
    #[serde(default = "check_status")]
    #[schemars(length(min = 1, max = 64))]
    pub status: Vec<StatusPattern>,
    /// Checks in a row after which a server that was down is well again, 1 to 100.
    #[serde(default = "check_rise")]
    pub rise: u32,
    /// Checks in a row after which a server is down, 1 to 100; it is asked when no other one is well.
    #[serde(default = "check_fall")]
    pub fall: u32,
}

pub(crate) fn one() -> u32 {
    1
}

pub(crate) fn check_interval() -> Period {
    Period::from_secs(10)
}

pub(crate) fn check_timeout() -> Period {
    Period::from_secs(5)
}

pub(crate) fn check_status() -> Vec<StatusPattern> {
    vec![StatusPattern::Class(2), StatusPattern::Class(3)]
}

pub(crate) fn check_rise() -> u32 {
    2
}

pub(crate) fn check_fall() -> u32 {
    3
}

impl Origin {
    /// The servers, those that are written as `urls` alone among them: each of these is a group of its own.
    #[must_use]
    pub fn all_servers(&self) -> Vec<OriginServer> {
        let plain = (0..).zip(&self.urls);
        let plain = plain.map(|(group, url)| OriginServer { url: url.clone(), weight: one(), group, host_header: None, server_name: None });
        plain.chain(self.servers.iter().cloned()).collect()
    }
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
