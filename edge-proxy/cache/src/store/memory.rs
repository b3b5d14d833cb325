//! Stored answers in memory: quick_cache, which chooses by S3-FIFO's idea, weighed in bytes (docs/decisions/0018).
//!
//! Owns the bound. Never judges an entry: keys are compared here, everything else by [`crate::lookup`]. Each shard has a lock, which a look takes to
//! read and a change to write; what leaves is freed after it. An entry weighs what it weighed when it came until it leaves: quick_cache takes off what
//! it is told then, and a body that was written to disk meanwhile takes more than it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::Entry;
use crate::key::Key;

/// The most shards; each has its part of the bytes.
const SHARDS_MAX: u64 = 64;
/// So many of the largest bodies have room in a shard.
const LARGEST_PER_SHARD: u64 = 4;
/// What an entry is guessed to weigh, in bytes: for as many as there would be room for, it is remembered that they left, at some 100 bytes each.
const GUESSED_BYTES: u64 = 8 << 10;
/// The part of the bytes that what is asked for again and again takes at most, and so does one entry.
const HOT: f64 = 0.97;

/// What quick_cache keeps of an entry beside it, in bytes: its place, the key's hash, and the part of what is remembered of others that left.
const PLACE_COST: u64 = 384;

/// What an entry costs with its key and its place, in bytes.
fn weight(key: &Key, entry: &Entry) -> u64 {
    PLACE_COST + key.text_len() as u64 + entry.weight()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    entries: Cache<u128, Stored, Weights, RandomState, Leaving>,
    evictions: Arc<AtomicU64>,
    entry_max: u64,
}

/// An entry, and what it took when it came, in bytes.
#[derive(Clone, Debug)]
struct Stored {
    key: Key,
    entry: Entry,
    weight: u64,
}

/// What an entry takes, in bytes.
#[derive(Clone, Debug)]
struct Weights;

impl Weighter<u128, Stored> for Weights {
    fn weight(&self, _: &u128, stored: &Stored) -> u64 {
        stored.weight
    }
}

/// Counts what leaves to make room, and keeps it until the lock is open again.
#[derive(Clone, Debug)]
struct Leaving(Arc<AtomicU64>);

impl Lifecycle<u128, Stored> for Leaving {
    type RequestState = Vec<Stored>;

    fn begin_request(&self) -> Self::RequestState {
        Vec::new()
    }

    fn on_evict(&self, leaving: &mut Self::RequestState, _: u128, entry: Stored) {
        self.0.fetch_add(1, Ordering::Relaxed);
        leaving.push(entry);
    }
}

impl Memory {
    /// Memory for so many bytes; the largest body is of so many.
    #[expect(clippy::expect_used, reason = "both capacities are set; nothing else makes this fail")]
    pub(crate) fn new(bytes: u64, largest: u64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let shards = (bytes / largest.max(1).saturating_mul(LARGEST_PER_SHARD)).clamp(1, SHARDS_MAX);
        // quick_cache would take the next power of two.
        let shards = usize::try_from(1_u64 << shards.ilog2()).unwrap_or(1);
        let options = OptionsBuilder::new()
            .shards(shards)
            .weight_capacity(bytes)
            .hot_allocation(HOT)
            .ghost_allocation(1.0)
            .estimated_items_capacity(usize::try_from(bytes / GUESSED_BYTES).unwrap_or(usize::MAX))
            .build()
            .expect("capacities");
        let entries = Cache::with_options(options, Weights, RandomState::default(), Leaving(Arc::clone(&evictions)));
        let entry_max = (entries.shard_capacity() as f64 * HOT) as u64;
        Self { entries, evictions, entry_max }
    }

    /// The heaviest entry that is taken, in bytes, its key and its place among them.
    #[cfg(test)]
    pub(crate) fn entry_max(&self) -> u64 {
        self.entry_max
    }

    /// Whether an entry is not too heavy to be kept.
    pub(crate) fn takes(&self, key: &Key, entry: &Entry) -> bool {
        weight(key, entry) <= self.entry_max
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        let stored = self.entries.get(&key.hash())?;
        (stored.key == *key).then_some(stored.entry)
    }

    pub(crate) fn insert(&self, key: Key, entry: Entry) {
        let weight = weight(&key, &entry);
        self.entries.insert(key.hash(), Stored { key, entry, weight });
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.entries.remove(&key.hash());
    }

    /// Forgets everything at once; what was stored before is not found from here on.
    pub(crate) fn clear(&self) {
        self.entries.clear();
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use skerry_config::site::Key as Rules;

    use super::*;
    use crate::exchange::tests::house::{get, keyed_by};
    use crate::store::Marker;

    const BYTES: u64 = 4 << 20;

    fn put(memory: &Memory, number: u64, bytes: u64) -> Key {
        let path = format!("/{number}{}", "a".repeat(usize::try_from(bytes).unwrap()));
        let key = keyed_by(&get(&path), &Rules::default());
        memory.insert(key.clone(), Entry::Marker(Arc::new(Marker { fields: Arc::default(), generation: number })));
        key
    }

    #[test]
    fn no_entries_pile_up_beyond_the_bound_whatever_they_weigh() {
        for bytes in [100, 10_000, 1 << 20, 4_000_000] {
            let memory = Memory::new(BYTES, BYTES);
            let mut last = None;
            for number in 0..(20 * BYTES / bytes).min(20_000) {
                last = Some(put(&memory, number, bytes));
                assert!(memory.bytes() <= BYTES, "{} of {bytes}", memory.bytes());
            }
            assert!(memory.get(&last.unwrap()).is_some(), "what came last is there");
            assert!(memory.evictions() > 0 && memory.bytes() > BYTES / 2);
        }
    }

    #[test]
    fn what_is_asked_for_again_outlives_what_was_asked_for_once() {
        let memory = Memory::new(BYTES, 1 << 10);
        let asked: Vec<Key> = (0..100).map(|number| put(&memory, number, 2_000)).collect();
        for number in 100..20_000 {
            put(&memory, number, 2_000);
            if number % 100 == 0 {
                assert!(asked.iter().all(|key| memory.get(key).is_some()), "after {number}");
            }
        }
        memory.clear();
        assert_eq!((memory.entries(), memory.bytes(), memory.get(&asked[0]).is_some()), (0, 0, false));
    }
}
