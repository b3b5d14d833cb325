//! Stored answers in memory: moka with TinyLFU, weighed in bytes.
//!
//! Owns the bound. Never judges an entry: keys are compared here, everything else by [`crate::lookup`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::Entry;
use crate::key::Key;

/// The heaviest entry, in bytes: what moka's weights can say.
pub(crate) const ENTRY_MAX: u64 = u32::MAX as u64;

/// An entry of this many bytes takes its room at once: moka otherwise puts evictions off until the next uses, and a few large entries that
/// wait for theirs are many times the bound.
const HEAVY_BYTES: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    entries: Cache<u128, (Key, Entry), RandomState>,
    evictions: Arc<AtomicU64>,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let evicted = Arc::clone(&evictions);
        let entries = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, (key, entry): &(Key, Entry)| u32::try_from(entry.weight() + key.text_len() as u64).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evicted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(RandomState::default());
        Self { entries, evictions }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        let (stored, entry) = self.entries.get(&key.hash())?;
        (stored == *key).then_some(entry)
    }

    pub(crate) fn insert(&self, key: Key, entry: Entry) {
        let heavy = entry.weight() + key.text_len() as u64 >= HEAVY_BYTES;
        self.entries.insert(key.hash(), (key, entry));
        if heavy {
            self.entries.run_pending_tasks();
        }
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.entries.invalidate(&key.hash());
    }

    /// Forgets everything at once; what was stored before is not found from here on.
    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.entry_count()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Does the work moka put off, so that the figures are exact.
    pub(crate) fn settle(&self) {
        self.entries.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests {
    use skerry_config::site::Key as Rules;

    use super::*;
    use crate::exchange::tests::house::get;
    use crate::store::Marker;

    #[test]
    fn heavy_entries_do_not_pile_up_beyond_the_bound() {
        let memory = Memory::new(4 * HEAVY_BYTES);
        for number in 0..10 {
            let path = format!("/{number}{}", "a".repeat(usize::try_from(HEAVY_BYTES).unwrap()));
            let key = Key::of(&get(&path), &Rules::default());
            memory.insert(key, Entry::Marker(Arc::new(Marker { fields: Arc::default(), generation: number })));
        }
        assert!(memory.evictions() >= 6, "{} evicted", memory.evictions());
    }
}
