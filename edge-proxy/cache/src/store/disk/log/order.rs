//! In which order blocks leave: that in which they were written last, so that no older value outlives a newer one of its slot.
//!
//! foyer remembers no order over a restart; the files do, by when they were changed. The lock covers the queue and is held for its changes
//! and for a look at how old the first block is.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use foyer::{EvictionInfo, EvictionPicker, Statistics, StorageFilterCondition, StorageFilterResult};
use parking_lot::Mutex;

/// Picks the block that was written first.
#[derive(Debug)]
pub(super) struct Oldest {
    directory: PathBuf,
    queue: Mutex<VecDeque<(SystemTime, u32)>>,
    tally: Arc<Tally>,
}

/// What leaves, counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) evicted: AtomicU64,
    pub(super) evicted_bytes: AtomicU64,
    pub(super) age_seconds: AtomicU64,
}

impl Oldest {
    pub(super) fn new(directory: &Path, tally: Arc<Tally>) -> Self {
        Self { directory: directory.to_owned(), queue: Mutex::default(), tally }
    }

    /// When the block was changed last; the beginning of time when its file does not tell.
    fn changed(&self, block: u32) -> SystemTime {
        let file = self.directory.join(block_file(block));
        file.metadata().and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The name of a block's file, as foyer has it.
pub(super) fn block_file(block: u32) -> String {
    format!("foyer-storage-direct-fs-{block:08}")
}

impl EvictionPicker for Oldest {
    fn pick(&mut self, info: EvictionInfo<'_>) -> Option<u32> {
        self.queue.lock().iter().find(|(_, block)| info.evictable.contains(block)).map(|(_, block)| *block)
    }

    fn on_block_evictable(&mut self, _: EvictionInfo<'_>, block: u32) {
        let changed = self.changed(block);
        let mut queue = self.queue.lock();
        // Nearly always the end: only at a start they come in no order.
        let at = queue.partition_point(|(earlier, _)| *earlier <= changed);
        queue.insert(at, (changed, block));
    }

    fn on_block_evict(&mut self, _: EvictionInfo<'_>, block: u32) {
        let mut queue = self.queue.lock();
        if let Some(at) = queue.iter().position(|(_, queued)| *queued == block)
            && let Some((changed, _)) = queue.remove(at)
        {
            self.tally.age_seconds.store(changed.elapsed().unwrap_or_default().as_secs(), Ordering::Relaxed);
        }
    }
}

/// Is asked about each value of a block that leaves; counts it and keeps none.
#[derive(Debug)]
pub(super) struct Leaving(pub(super) Arc<Tally>);

impl StorageFilterCondition for Leaving {
    fn filter(&self, _: &Arc<Statistics>, _: u64, bytes: usize) -> StorageFilterResult {
        self.0.evicted.fetch_add(1, Ordering::Relaxed);
        self.0.evicted_bytes.fetch_add(super::blocks::paged(bytes), Ordering::Relaxed);
        StorageFilterResult::Reject
    }
}
