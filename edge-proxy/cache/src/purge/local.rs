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
    count: AtomicU64,
    names: RwLock<Names>,
}

#[derive(Debug, Default)]
struct Names {
    at: HashMap<u128, u64>,
    /// What was fetched before this is out of date, whatever its names.
    floor: u64,
}

impl Local {
    /// The count that an object carries whose fetch begins at this moment.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Invalidates everything that has one of these names and was asked for before.
    pub(super) fn invalidate(&self, invalid: &[u128]) {
        let mut names = self.names.write();
        let count = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        for &name in invalid {
            names.at.insert(name, count);
        }
        if names.at.len() > NAMES_MAX {
            let mut counts: Vec<u64> = names.at.values().copied().collect();
            let middle = counts.len() / 2;
            let (_, &mut median, _) = counts.select_nth_unstable(middle);
            names.at.retain(|_, at| *at > median);
            names.floor = names.floor.max(median);
        }
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
