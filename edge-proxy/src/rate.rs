//! How often clients have asked lately: the rate limits of all sites, in one bounded table.
//!
//! The algorithm is GCRA: for each client of each limit the time at which it would be back at rest. A client that is at rest needs no entry.
//! The lock of a shard covers its entries and is held while one of them is looked at.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use http::HeaderMap;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use skerry_config::site::RateBy;
use skerry_config::snapshot::{Rate, Served};

const SHARDS: usize = 64;
/// Clients of one shard that are not at rest. A request of one more is allowed and not remembered.
const CLIENTS_PER_SHARD_MAX: usize = 4_096;

/// See the module.
pub(crate) struct Rates {
    began: Instant,
    hasher: RandomState,
    /// By the hash of site, limit and client: when it is back at rest, in nanoseconds since `began`.
    shards: Vec<Mutex<Shard>>,
    limited: IntCounterVec,
    forgotten: IntCounter,
}

type Shard = HashMap<u64, u64>;

/// A limit that does not allow a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// Its place in the site.
    pub(crate) limit: usize,
    /// After so many seconds it does.
    pub(crate) seconds: u32,
}

impl Rates {
    pub(crate) fn new(registry: &Registry) -> Self {
        let limited =
            Opts::new("skerry_edge_rate_limited_total", "Requests refused by a rate limit, by site and place of the limit in it.");
        let limited = IntCounterVec::new(limited, &["site", "limit"]).expect("valid");
        let forgotten = "Requests that no rate limit could remember, because too many clients asked.";
        let forgotten = IntCounter::new("skerry_edge_rate_forgotten_total", forgotten).expect("valid");
        registry.register(Box::new(limited.clone())).expect("registered once");
        registry.register(Box::new(forgotten.clone())).expect("registered once");
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { began: Instant::now(), hasher: RandomState::new(), shards, limited, forgotten }
    }

    /// Takes a request into every limit of its site that it matches. One that a limit does not allow is taken into none.
    ///
    /// # Errors
    /// When one of them does not allow it.
    pub(crate) fn admit(&self, served: &Served, path: &str, headers: &HeaderMap, client: IpAddr) -> Result<(), Over> {
        let limits = || {
            let limits = served.rates().iter().filter(|rate| rate.is_about(path));
            limits.map(|rate| (rate, self.key(&served.site().name, rate, headers, client)))
        };
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let over = |(rate, wait): (&Rate, u64)| {
            let seconds = u32::try_from(wait.div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1);
            Over { limit: rate.index, seconds }
        };
        // One limit is asked and counted in one look; of several the last may refuse what the first has counted.
        if served.rates().len() > 1 {
            for (rate, key) in limits() {
                rest(&self.shard(key).lock(), key, rate, now).map_err(|wait| over((rate, wait)))?;
            }
        }
        limits().try_for_each(|(rate, key)| self.count(key, rate, now).map_err(|wait| over((rate, wait))))
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, site: &str, over: Over) {
        self.limited.with_label_values(&[site, &over.limit.to_string()]).inc();
    }

    fn key(&self, site: &str, rate: &Rate, headers: &HeaderMap, client: IpAddr) -> u64 {
        match &rate.by {
            RateBy::Header(name) if headers.contains_key(name) => {
                let values: Vec<&[u8]> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
                self.hasher.hash_one((site, rate.index, values))
            }
            _ => self.hasher.hash_one((site, rate.index, network(client))),
        }
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        &self.shards[key as usize % SHARDS]
    }

    /// The nanoseconds to wait, when the request is not allowed.
    fn count(&self, key: u64, rate: &Rate, now: u64) -> Result<(), u64> {
        let mut shard = self.shard(key).lock();
        let rest = rest(&shard, key, rate, now)?;
        if shard.len() >= CLIENTS_PER_SHARD_MAX && !shard.contains_key(&key) {
            shard.retain(|_, rest| *rest > now);
            if shard.len() >= CLIENTS_PER_SHARD_MAX {
                self.forgotten.inc();
                return Ok(());
            }
        }
        shard.insert(key, rest);
        Ok(())
    }
}

/// When a client is back at rest after a request more, or the nanoseconds to wait when that is not allowed.
fn rest(shard: &Shard, key: u64, rate: &Rate, now: u64) -> Result<u64, u64> {
    let rest = shard.get(&key).map_or(now, |rest| now.max(*rest)) + rate.interval;
    let ahead = rest - now;
    if ahead > rate.tolerance { Err(ahead - rate.tolerance) } else { Ok(rest) }
}

/// What counts as one client: an IPv4 address, or a /64 of IPv6.
fn network(client: IpAddr) -> (bool, u64) {
    match client.to_canonical() {
        IpAddr::V4(address) => (false, u64::from(u32::from(address))),
        IpAddr::V6(address) => (true, (u128::from(address) >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn served(limit: serde_json::Value) -> Served {
        let site = json!({"name": "a", "hosts": ["*"], "origin": {"urls": ["http://a"]}, "rate_limits": [limit]});
        Served::new(serde_json::from_value(site).unwrap())
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_by_one() {
        let (rates, served) = (Rates::new(&Registry::new()), served(json!({"requests": 10, "period": "10s", "burst": 3})));
        let rate = &served.rates()[0];
        let second = 1_000_000_000;
        let allowed: Vec<_> = [0, 0, 0, 0, second - 1, second, second, 9 * second, 9 * second, 9 * second, 9 * second]
            .into_iter()
            .map(|now| rates.count(7, rate, now).is_ok())
            .collect();
        assert_eq!(allowed, [true, true, true, false, false, true, false, true, true, true, false]);
        assert_eq!(rates.count(7, rate, 9 * second + second / 4), Err(second / 4 * 3));
    }

    #[test]
    fn clients_are_told_apart_by_address_network_and_field() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let none = HeaderMap::new();
        let (rates, by_address) = (Rates::new(&Registry::new()), served(json!({"path": "/api/*", "requests": 1, "period": "1h"})));
        let ask = |path: &str, client: &str| rates.admit(&by_address, path, &none, ip(client)).is_ok();
        assert_eq!([ask("/api/1", "192.0.2.1"), ask("/api/2", "192.0.2.1"), ask("/", "192.0.2.1")], [true, false, true]);
        assert_eq!([ask("/api/", "192.0.2.2"), ask("/api/", "::ffff:192.0.2.2")], [true, false]);
        assert_eq!([ask("/api/", "2001:db8::1"), ask("/api/", "2001:db8::2"), ask("/api/", "2001:db8:0:1::1")], [true, false, true]);
        let (rates, by_field) = (Rates::new(&Registry::new()), served(json!({"by": "header:x-key", "requests": 1, "period": "1h"})));
        let with =
            |value: &'static str| HeaderMap::from_iter([(http::HeaderName::from_static("x-key"), http::HeaderValue::from_static(value))]);
        let ask = |headers: &HeaderMap, client: &str| rates.admit(&by_field, "/", headers, ip(client)).is_ok();
        assert_eq!([ask(&with("a"), "192.0.2.1"), ask(&with("a"), "192.0.2.2"), ask(&with("b"), "192.0.2.1")], [true, false, true]);
        assert_eq!([ask(&none, "192.0.2.1"), ask(&none, "192.0.2.1"), ask(&none, "192.0.2.2")], [true, false, true]);
        assert_eq!(rates.admit(&by_field, "/", &none, ip("192.0.2.1")), Err(Over { limit: 0, seconds: 3600 }));
    }

    #[test]
    fn what_one_limit_refuses_no_other_counts() {
        let limit = |path: &str, requests: u32| json!({"path": path, "requests": requests, "period": "1h"});
        let site = json!({"name": "a", "hosts": ["*"], "origin": {"urls": ["http://a"]}, "rate_limits": [limit("*", 3), limit("/one", 1)]});
        let (rates, served) = (Rates::new(&Registry::new()), Served::new(serde_json::from_value(site).unwrap()));
        let ask = |path: &str| rates.admit(&served, path, &HeaderMap::new(), IpAddr::from([192, 0, 2, 1])).map_err(|over| over.limit);
        assert_eq!(["/one", "/one", "/one", "/one"].map(ask), [Ok(()), Err(1), Err(1), Err(1)]);
        assert_eq!(["/", "/", "/"].map(ask), [Ok(()), Ok(()), Err(0)]);
    }

    #[test]
    fn the_table_is_bounded_and_who_is_at_rest_leaves_it() {
        let (rates, served) = (Rates::new(&Registry::new()), served(json!({"requests": 1, "period": "1s"})));
        let rate = &served.rates()[0];
        for client in 0..=CLIENTS_PER_SHARD_MAX {
            assert_eq!(rates.count((client * SHARDS) as u64, rate, 0), Ok(()));
        }
        assert_eq!((rates.shards[0].lock().len(), rates.forgotten.get()), (CLIENTS_PER_SHARD_MAX, 1));
        assert_eq!(rates.count(u64::MAX - 63, rate, 2_000_000_000), Ok(()));
        assert_eq!(rates.shards[0].lock().len(), 1);
    }
}
