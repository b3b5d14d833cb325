//! In which order blocks leave: that in which they were written last, so that no older value outlives a newer one of its slot.
//!
//! foyer remembers no order over a restart, and opening its files changes their times. But it numbers everything that it writes, and a block says
//! in its first page which number its first value has: that is the order, whatever else is lost. No clock has a part in it. A file beside the
//! blocks tells since when each is full, for the age of what leaves, one line for each: its number, that of its first value, and seconds since
//! the Unix epoch; without it ages count from the start. The lock covers the line of blocks and that file, and is held while it is written and
//! while a block is asked for its number: for each block that is full, and for each before it is written anew.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use foyer::{EvictionInfo, EvictionPicker, Statistics, StorageFilterCondition, StorageFilterResult};
use parking_lot::Mutex;

use super::places::Places;

/// Where it is written down since when blocks are full.
const ORDER: &str = "order";
/// What the names of blocks' files begin with, as foyer has it; their numbers follow.
const BLOCK_FILE: &str = "foyer-storage-direct-fs-";

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
    is_open: bool,
    /// A block that cannot be asked when it was written, though foyer found something in it.
    unplaced: Option<(u32, String)>,
}

/// A block that is full.
#[derive(Clone, Copy, Debug)]
struct Full {
    block: u32,
    /// The number of its first value.
    first: u64,
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
    /// An empty line, and what the run before wrote down of when blocks were full.
    pub(super) fn read(directory: &Path, tally: Arc<Tally>, places: Arc<Places>) -> Arc<Self> {
        let text = fs::read_to_string(directory.join(ORDER)).unwrap_or_default();
        let known = text.lines().filter_map(full_of).map(|full| (full.block, full)).collect();
        let line = Mutex::new(Line { known, ..Line::default() });
        Arc::new(Self { directory: directory.to_owned(), tally, places, line })
    }

    /// All blocks that hold something are known.
    ///
    /// # Errors
    /// When it is not known of one of them when it was written: what was stored before could outlive what came after it.
    pub(super) fn open(&self) -> Result<(), String> {
        let mut line = self.line.lock();
        if let Some((block, error)) = line.unplaced.take() {
            return Err(format!("{} does not say when it was written: {error}", self.directory.join(block_file(block)).display()));
        }
        line.is_open = true;
        line.known.clear();
        self.write(&line);
        Ok(())
    }

    fn put(&self, block: u32) {
        let mut line = self.line.lock();
        let youngest = line.full.back().map_or(0, |youngest| youngest.first);
        let first = self.places.first(block);
        let first = match first {
            Ok(Some(first)) => first,
            // What is in it was wiped after foyer had found it, by who had the log before: nothing in it can outlive anything.
            Ok(None) if !line.is_open => 0,
            Ok(None) => youngest,
            Err(error) => {
                // One that was written just now is the youngest as far as anybody knows.
                if !line.is_open {
                    line.unplaced = Some((block, error.to_string()));
                }
                youngest
            }
        };
        let known = line.known.remove(&block).filter(|known| known.first == first);
        let full = known.unwrap_or_else(|| Full { block, first, since: now() });
        let at = line.full.partition_point(|earlier| earlier.first <= first);
        line.full.insert(at, full);
        if line.is_open {
            self.write(&line);
        }
    }

    /// The blocks that are full, and not being written.
    pub(super) fn full(&self) -> HashSet<u32> {
        self.line.lock().full.iter().map(|full| full.block).collect()
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
        let text: String = line.full.iter().map(|full| format!("{} {} {}\n", full.block, full.first, full.since)).collect();
        let written = write_whole(&self.directory.join(ORDER), &text);
        if let Err(error) = written {
            tracing::warn!(directory = %self.directory.display(), %error, "since when blocks are full cannot be written down");
        }
    }
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn full_of(text: &str) -> Option<Full> {
    let mut numbers = text.split(' ').map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Full { block: u32::try_from(next()?).ok()?, first: next()?, since: next()? })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The name of a block's file, as foyer has it.
pub(super) fn block_file(block: u32) -> String {
    format!("{BLOCK_FILE}{block:08}")
}

/// Which block a file is of, if it is one's.
pub(super) fn block_number(name: &OsStr) -> Option<u32> {
    name.to_str()?.strip_prefix(BLOCK_FILE)?.parse().ok()
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
