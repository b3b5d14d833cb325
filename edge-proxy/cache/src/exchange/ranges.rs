//! Which upstreams send parts of a representation when they are asked for them, as far as it was seen lately.
//!
//! To say so in `Accept-Ranges` is one thing, to do so another. Costs a fetch at most where it is wrong: what is fetched in slices is compared anyway.

use std::time::Duration;

use moka::sync::Cache;

use crate::key::Key;

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The most keys that are remembered as sent whole only.
const KEYS_MAX: u64 = 100_000;
/// The most hosts that are remembered as sending parts.
const HOSTS_MAX: u64 = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Ranges {
    whole_only: Cache<u128, ()>,
    in_parts: Cache<String, ()>,
}

impl Ranges {
    pub(super) fn new() -> Self {
        let whole_only = Cache::builder().max_capacity(KEYS_MAX).time_to_live(REMEMBERED).build();
        let in_parts = Cache::builder().max_capacity(HOSTS_MAX).time_to_live(REMEMBERED).build();
        Self { whole_only, in_parts }
    }

    /// What is under this key was sent whole, or in other parts, where a part was asked for.
    pub(super) fn refused(&self, key: &Key, host: &str) {
        self.whole_only.insert(key.hash(), ());
        self.in_parts.invalidate(host);
    }

    /// A part of something at this host came as it was asked for.
    pub(super) fn sent(&self, host: &str) {
        if !self.in_parts.contains_key(host) {
            self.in_parts.insert(host.to_owned(), ());
        }
    }

    /// Whether it is known that what is under this key does not come in parts.
    pub(super) fn is_whole_only(&self, key: &Key) -> bool {
        self.whole_only.contains_key(&key.hash())
    }

    /// Whether parts of something at this host came as they were asked for.
    pub(super) fn are_sent(&self, host: &str) -> bool {
        self.in_parts.contains_key(host)
    }
}
