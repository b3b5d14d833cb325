//! What this node itself found to be out of date: resources that an unsafe request changed (RFC 9111 section 4.4) and cache groups that an
//! answer invalidated (RFC 9875 section 3). Nobody numbers these but the node, and nobody else hears of them.
//!
//! An object carries the count of invalidations before its fetch began, and is out of date if one of its names was invalidated later. The
//! lock covers the names and is held for a few lookups in a map.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// The most names. When they are more, everything that was fetched before the older half of them was invalidated counts as out of date.
const NAMES_MAX: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Invalidations so far.
    pub(super) count: AtomicU64,
    pub(super) names: RwLock<Names>,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) at: HashMap<u128, u64>,
    /// What was fetched before this is out of date, whatever its names.
    pub(super) floor: u64,
}

impl Names {
    /// Notes that these were invalidated at this count.
    pub(super) fn put(&mut self, names: &[u128], count: u64) {
        for &name in names {
            self.at.insert(name, count);
        }
        if self.at.len() > NAMES_MAX {
            let mut counts: Vec<u64> = self.at.values().copied().collect();
            let middle = counts.len() / 2;
            let (_, &mut median, _) = counts.select_nth_unstable(middle);
            self.at.retain(|_, at| *at > median);
            self.floor = self.floor.max(median);
        }
    }
}

impl Local {
    /// The count that an object carries whose fetch begins at this moment.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Invalidates everything that has one of these names and was asked for before. `note` hears of it before it is in force.
    pub(super) fn invalidate(&self, invalid: &[u128], note: impl FnOnce(u64)) {
        let mut names = self.names.write();
        let count = self.count() + 1;
        note(count);
        self.count.store(count, Ordering::Release);
        names.put(invalid, count);
    }

    /// Whether something with these names, fetched when the count was `since`, is out of date.
    pub(super) fn is_out<'a>(&self, mut of: impl Iterator<Item = &'a u128>, since: u64) -> bool {
        if since >= self.count() {
            return false;
        }
        let names = self.names.read();
        since < names.floor || of.any(|name| names.at.get(name).is_some_and(|&at| since < at))
    }
}
