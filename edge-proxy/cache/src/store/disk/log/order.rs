//! In which order blocks leave: that in which they were written last, so that no older value outlives a newer one of its slot.
//!
//! foyer remembers no order over a restart, and opening its files changes their times. So the order is in a file of its own, one line for each
//! block that is full, the oldest first: its number, and when it was full in seconds since the Unix epoch. What is not in it is younger than all
//! that is. The clock has no part in the order. The lock covers the line of blocks and that file, and is held while it is written: for each
//! block that is full, and for each before it is written anew.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use foyer::{EvictionInfo, EvictionPicker, Statistics, StorageFilterCondition, StorageFilterResult};
use parking_lot::Mutex;

use super::places::Places;

/// Where the order is.
const ORDER: &str = "order";

/// The blocks that hold something, oldest first.
#[derive(Debug)]
pub(super) struct Order {
    directory: PathBuf,
    tally: Arc<Tally>,
    places: Arc<Places>,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    full: VecDeque<Full>,
    /// What the run before wrote down, until the log is open.
    known: HashMap<u32, Full>,
    next: u64,
    is_open: bool,
}

/// A block that is full.
#[derive(Clone, Copy, Debug)]
struct Full {
    block: u32,
    place: u64,
    /// Since when, in seconds since the Unix epoch.
    since: u64,
}

/// Picks the block that was written first.
#[derive(Debug)]
pub(super) struct Oldest(pub(super) Arc<Order>);

/// What leaves, counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) evicted: AtomicU64,
    pub(super) evicted_bytes: AtomicU64,
    pub(super) age_seconds: AtomicU64,
}

impl Order {
    /// The order that the run before wrote down. Without it, or where it cannot be read, blocks are in that of their numbers.
    pub(super) fn read(directory: &Path, tally: Arc<Tally>, places: Arc<Places>) -> Arc<Self> {
        let text = fs::read_to_string(directory.join(ORDER)).unwrap_or_default();
        let known: Option<HashMap<u32, Full>> = (0..).zip(text.lines()).map(full_of).collect();
        let known = known.unwrap_or_else(|| {
            tracing::warn!(directory = %directory.display(), "the order of the blocks is damaged; they leave in that of their numbers");
            HashMap::new()
        });
        let next = text.lines().count() as u64;
        let line = Mutex::new(Line { known, next, ..Line::default() });
        Arc::new(Self { directory: directory.to_owned(), tally, places, line })
    }

    /// All blocks that hold something are known: from here on a block that comes is younger than all.
    pub(super) fn open(&self) {
        let mut line = self.line.lock();
        line.is_open = true;
        line.known.clear();
        line.next = line.full.back().map_or(0, |youngest| youngest.place + 1);
        self.write(&line);
    }

    fn put(&self, block: u32) {
        let mut line = self.line.lock();
        let full = line.known.remove(&block).unwrap_or_else(|| {
            // Of those that nobody wrote down, while the log is opened, the numbers decide.
            let place = line.next + if line.is_open { 0 } else { u64::from(block) };
            Full { block, place, since: now() }
        });
        if line.is_open {
            line.next += 1;
        }
        let at = line.full.partition_point(|earlier| earlier.place <= full.place);
        line.full.insert(at, full);
        if line.is_open {
            self.write(&line);
        }
    }

    /// Whether a block is full, and not being written.
    pub(super) fn is_full(&self, block: u32) -> bool {
        self.line.lock().full.iter().any(|full| full.block == block)
    }

    fn take(&self, block: u32) {
        self.places.leaves(block);
        let mut line = self.line.lock();
        if let Some(at) = line.full.iter().position(|full| full.block == block)
            && let Some(full) = line.full.remove(at)
        {
            self.tally.age_seconds.store(now().saturating_sub(full.since), Ordering::Relaxed);
            self.write(&line);
        }
    }

    fn write(&self, line: &Line) {
        let text: String = line.full.iter().map(|full| format!("{} {}\n", full.block, full.since)).collect();
        let written = write_whole(&self.directory.join(ORDER), &text);
        if let Err(error) = written {
            tracing::warn!(directory = %self.directory.display(), %error, "the order of the blocks cannot be written");
        }
    }
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn full_of((place, text): (u64, &str)) -> Option<(u32, Full)> {
    let (block, since) = text.split_once(' ')?;
    let block = block.parse().ok()?;
    Some((block, Full { block, place, since: since.parse().ok()? }))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The name of a block's file, as foyer has it.
pub(super) fn block_file(block: u32) -> String {
    format!("foyer-storage-direct-fs-{block:08}")
}

impl EvictionPicker for Oldest {
    fn pick(&mut self, info: EvictionInfo<'_>) -> Option<u32> {
        self.0.line.lock().full.iter().find(|full| info.evictable.contains(&full.block)).map(|full| full.block)
    }

    fn on_block_evictable(&mut self, _: EvictionInfo<'_>, block: u32) {
        self.0.put(block);
    }

    fn on_block_evict(&mut self, _: EvictionInfo<'_>, block: u32) {
        self.0.take(block);
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
