//! Keys whose answers could not be stored lately: their requests wait for nobody.
//!
//! Time is an argument; an entry past its time is as good as none. Two keys with one hash share a memory, which costs a wait at most.

use std::time::Duration;

use moka::sync::Cache;

use crate::key::Key;
use crate::time::Time;

/// The most that an answer with a 5xx status, which is likely to pass, is remembered; other ones as long as the site says.
pub(super) const REMEMBER_ERROR: Duration = Duration::from_secs(1);
/// The most keys that are remembered.
const KEYS_MAX: u64 = 100_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Remembered {
    until: Cache<u128, Time>,
}

impl Remembered {
    pub(super) fn new() -> Self {
        Self { until: Cache::new(KEYS_MAX) }
    }

    pub(super) fn insert(&self, key: &Key, authorized: bool, until: Time) {
        self.until.insert(name(key, authorized), until);
    }

    pub(super) fn contains(&self, key: &Key, authorized: bool, now: Time) -> bool {
        self.until(key, authorized, now).is_some()
    }

    /// Until when the key is remembered, if it is.
    pub(super) fn until(&self, key: &Key, authorized: bool, now: Time) -> Option<Time> {
        self.until.get(&name(key, authorized)).filter(|until| now < *until)
    }

    pub(super) fn forget(&self, key: &Key, authorized: bool) {
        self.until.invalidate(&name(key, authorized));
    }

    pub(super) fn len(&self) -> u64 {
        self.until.entry_count()
    }
}

/// Requests with `Authorization` are remembered apart: that they cannot share says nothing about the others.
fn name(key: &Key, authorized: bool) -> u128 {
    key.hash() ^ u128::from(authorized)
}
