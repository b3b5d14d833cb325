//! Where values are in the files, as far as it is known, so that they can be read without foyer's two changes of thread.
//!
//! Owns a table of hints of a fixed size, and how they are come by: from the indexes that foyer writes before every run of values, once at the
//! start and after each batch. A hint may be missing; then foyer is asked. It is never one of an older value: what is about to be written
//! anew loses its hint first, a block that is about to be reused takes all of its own out of force, and only what has a higher number than
//! everything before counts as new. Whether there really is what a hint says, the reader finds out.
//!
//! The locks cover one row of the table for a look, and where the writer is, which only the writer takes, for the length of a batch's look.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use xxhash_rust::xxh64::xxh64;

use super::order::block_file;
use super::{PAGE_BYTES, Slot};

/// An index: checksum 8 | count 4 | entries, each hash 8 | sequence 8 | offset 4 | length 4.
pub(super) const INDEX_BYTES: usize = 4 << 10;
const ENTRIES_AT: usize = 12;
const ENTRY_BYTES: usize = 24;
const ENTRIES_MAX: usize = (INDEX_BYTES - ENTRIES_AT) / ENTRY_BYTES;
/// Hints in a row; a new one displaces another of its row.
const ROW: usize = 4;
/// A hint for so many bytes of the log, unless memory has less room for them.
const BYTES_PER_HINT: u64 = 8 << 10;
/// How many blocks are looked at for the one that is being written.
const LOOKS_MAX: usize = 64;

/// Where a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Tells hints of one row apart.
    tag: u32,
    pub(super) block: u32,
    page: u16,
    /// How often the block had been reused.
    epoch: u16,
    /// Bytes with all that foyer adds; 0 is no hint.
    pub(super) bytes: u32,
}

impl Place {
    /// Where it begins in its block.
    pub(super) fn offset(self) -> u64 {
        u64::from(self.page) * PAGE_BYTES
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    directory: PathBuf,
    block_bytes: u64,
    rows: Box<[Mutex<[Place; ROW]>]>,
    epochs: Box<[AtomicU16]>,
    /// The files, opened when they are read first.
    files: Box<[OnceLock<Arc<File>>]>,
    writing: Mutex<Writing>,
    /// What the files hold could not be told: nothing is hinted at.
    is_blind: AtomicBool,
}

/// Where the writer is.
#[derive(Debug, Default)]
struct Writing {
    block: Option<u32>,
    /// Where its last index is.
    index_at: u64,
    /// How many entries of that are known.
    known: usize,
    /// The highest number in the indexes before it; what follows with a lower one is what the block held before it was reused.
    index_before: u64,
    /// The highest number of a value so far.
    sequence: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    hash: u64,
    sequence: u64,
    offset: u64,
    pub(super) bytes: u32,
}

impl Places {
    /// For a log of so many blocks; `bytes_max` bounds the table.
    pub(super) fn new(directory: &Path, blocks: u64, block_bytes: u64, bytes_max: u64) -> Self {
        let row_bytes = (ROW * size_of::<Place>()) as u64;
        let rows = (blocks * block_bytes / BYTES_PER_HINT / ROW as u64).min(bytes_max / row_bytes).max(1);
        Self {
            directory: directory.to_owned(),
            block_bytes,
            rows: (0..rows).map(|_| Mutex::default()).collect(),
            epochs: (0..blocks).map(|_| AtomicU16::new(0)).collect(),
            files: (0..blocks).map(|_| OnceLock::new()).collect(),
            writing: Mutex::default(),
            is_blind: AtomicBool::new(false),
        }
    }

    /// Where the value of a slot is, if that is known.
    pub(super) fn of(&self, slot: Slot) -> Option<Place> {
        let (row, tag) = self.row(hash(slot));
        let place = row.lock().iter().find(|place| place.tag == tag && place.bytes > 0).copied();
        place.filter(|place| self.is_in_force(place))
    }

    /// Nothing is known of a slot any more.
    pub(super) fn forget(&self, slot: Slot) {
        let (row, tag) = self.row(hash(slot));
        row.lock().iter_mut().filter(|place| place.tag == tag).for_each(|place| *place = Place::default());
    }

    /// A block is about to be reused.
    pub(super) fn leaves(&self, block: u32) {
        if let Some(epoch) = self.epochs.get(block as usize) {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The file of a block.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn file(&self, block: u32) -> io::Result<&Arc<File>> {
        let file = self.files.get(block as usize).ok_or(io::ErrorKind::NotFound)?;
        if let Some(file) = file.get() {
            return Ok(file);
        }
        let opened = Arc::new(File::open(self.directory.join(block_file(block)))?);
        Ok(file.get_or_init(|| opened))
    }

    /// The number of the first value in a block, which rises with each that is written; none where it holds nothing.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(super) fn first(&self, block: u32) -> io::Result<Option<u64>> {
        let mut page = [0; INDEX_BYTES];
        self.file(block)?.read_exact_at(&mut page, 0)?;
        Ok(entries(&page).and_then(|entries| entries.first().map(|first| first.sequence)))
    }

    fn row(&self, hash: u64) -> (&Mutex<[Place; ROW]>, u32) {
        let row = (u128::from(hash) * self.rows.len() as u128) >> 64;
        (&self.rows[usize::try_from(row).unwrap_or(0)], hash as u32)
    }

    fn is_in_force(&self, place: &Place) -> bool {
        self.epochs.get(place.block as usize).is_some_and(|epoch| epoch.load(Ordering::Acquire) == place.epoch)
    }

    fn put(&self, block: u32, entry: Entry) {
        let Some(epoch) = self.epochs.get(block as usize) else { return };
        let Ok(page) = u16::try_from(entry.offset / PAGE_BYTES) else { return };
        // No foreign index makes anybody allocate more than a block.
        if entry.offset + u64::from(entry.bytes) > self.block_bytes {
            return;
        }
        let (row, tag) = self.row(entry.hash);
        let place = Place { tag, block, page, epoch: epoch.load(Ordering::Acquire), bytes: entry.bytes };
        let mut row = row.lock();
        let is_free = |held: &Place| held.bytes == 0 || !self.is_in_force(held);
        let at = row.iter().position(|held| held.tag == tag && held.bytes > 0).or_else(|| row.iter().position(is_free));
        // As good as any: what is in the row is as old as it may be.
        row[at.unwrap_or((entry.sequence % ROW as u64) as usize)] = place;
    }

    /// Looks for what was written just now under these slots. It may wait for the device: an index that could not be read now would be taken
    /// for news after the next batch.
    pub(super) fn learn(&self, slots: impl Iterator<Item = Slot>, is_full: impl Fn(u32) -> bool) {
        if self.is_blind.load(Ordering::Acquire) {
            return;
        }
        let wanted: HashSet<u64> = slots.map(hash).collect();
        let mut found = HashSet::with_capacity(wanted.len());
        let mut writing = self.writing.lock();
        let before = writing.sequence;
        let mut next = writing.block.unwrap_or(0);
        if let Some(block) = writing.block {
            self.follow(&mut writing, block, before, &wanted, &mut found);
            next = block + 1;
        }
        let blocks = self.epochs.len() as u32;
        // It went on in another block: one that is not full, whose index has what was written.
        for block in (0..blocks).map(|nth| (next + nth) % blocks).filter(|block| !is_full(*block)).take(LOOKS_MAX) {
            if found.len() == wanted.len() {
                break;
            }
            let mut there = Writing { block: Some(block), sequence: writing.sequence, ..Writing::default() };
            let known = found.len();
            self.follow(&mut there, block, before, &wanted, &mut found);
            if found.len() > known {
                *writing = there;
            }
        }
    }

    /// Reads the indexes of a block from where they are known on. Of one slot the last entry counts.
    fn follow(&self, writing: &mut Writing, block: u32, before: u64, wanted: &HashSet<u64>, found: &mut HashSet<u64>) {
        let mut page = [0; INDEX_BYTES];
        loop {
            let is_read = self.file(block).is_ok_and(|file| file.read_exact_at(&mut page, writing.index_at).is_ok());
            let Some(entries) = is_read.then(|| entries(&page)).flatten() else { return };
            if entries.first().is_none_or(|first| first.sequence <= writing.index_before) {
                return;
            }
            for entry in entries.iter().skip(writing.known).filter(|entry| entry.sequence > before) {
                writing.sequence = writing.sequence.max(entry.sequence);
                if wanted.contains(&entry.hash) {
                    found.insert(entry.hash);
                    self.put(block, Entry { offset: writing.index_at + entry.offset, ..*entry });
                }
            }
            writing.known = entries.len();
            match entries.last() {
                Some(last) if entries.len() == ENTRIES_MAX => {
                    writing.index_at += last.offset + u64::from(last.bytes).next_multiple_of(PAGE_BYTES);
                    writing.index_before = last.sequence;
                    writing.known = 0;
                }
                _ => return,
            }
        }
    }

    /// Finds out what the files hold, and tells how many of them it has looked through. It waits for the device.
    pub(super) fn recover(&self, looked: impl Fn(u64)) {
        let mut newest: HashMap<u64, (u32, Entry)> = HashMap::new();
        let mut highest = 0;
        for block in 0..self.epochs.len() as u32 {
            let Ok(found) = self.recovered(block) else {
                tracing::warn!(block, "the index of a block cannot be read; values are read the slower way");
                self.is_blind.store(true, Ordering::Release);
                return;
            };
            for entry in found {
                highest = highest.max(entry.sequence);
                let held = newest.entry(entry.hash).or_insert((block, entry));
                if entry.sequence >= held.1.sequence {
                    *held = (block, entry);
                }
            }
            looked(u64::from(block) + 1);
        }
        // Writing goes on in what was free: next to the block that was written last, as blocks leave in the order in which they were written.
        let youngest = newest.values().max_by_key(|(_, entry)| entry.sequence).map(|(block, _)| *block);
        newest.into_values().for_each(|(block, entry)| self.put(block, entry));
        *self.writing.lock() = Writing { block: youngest, sequence: highest, ..Writing::default() };
    }

    /// What foyer finds in a block too: as far as its indexes are whole, and numbers rise.
    pub(super) fn recovered(&self, block: u32) -> io::Result<Vec<Entry>> {
        let file = match self.file(block) {
            // It was never written to.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let length = file.metadata()?.len();
        let mut page = [0; INDEX_BYTES];
        let (mut found, mut at): (Vec<Entry>, u64) = (Vec::new(), 0);
        while at + INDEX_BYTES as u64 <= length {
            file.read_exact_at(&mut page, at)?;
            let Some(entries) = entries(&page) else { break };
            for entry in &entries {
                if found.last().is_some_and(|last| entry.sequence < last.sequence) {
                    return Ok(found);
                }
                found.push(Entry { offset: at + entry.offset, ..*entry });
            }
            let Some(last) = entries.last() else { break };
            at += last.offset + u64::from(last.bytes).next_multiple_of(PAGE_BYTES);
        }
        Ok(found)
    }
}

/// What foyer knows a slot by.
fn hash(slot: Slot) -> u64 {
    foyer::DefaultHasher::default().hash_one(slot)
}

/// The entries of an index, if it is whole.
fn entries(page: &[u8; INDEX_BYTES]) -> Option<Vec<Entry>> {
    let word = |at: usize| Some(u32::from_be_bytes(page.get(at..at + 4)?.try_into().ok()?));
    let number = |at: usize| Some(u64::from_be_bytes(page.get(at..at + 8)?.try_into().ok()?));
    let count = word(8)? as usize;
    if count > ENTRIES_MAX || number(0)? != xxh64(&page[8..], 0) {
        return None;
    }
    (0..count)
        .map(|nth| {
            let at = ENTRIES_AT + nth * ENTRY_BYTES;
            Some(Entry { hash: number(at)?, sequence: number(at + 8)?, offset: u64::from(word(at + 16)?), bytes: word(at + 20)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK_BYTES: u64 = 4 << 20;

    /// An index as foyer writes it, at the beginning of a block's file.
    fn write_index(directory: &Path, block: u32, listed: &[Entry]) {
        write_index_at(directory, block, 0, listed);
    }

    fn write_index_at(directory: &Path, block: u32, at: u64, listed: &[Entry]) {
        let mut page = vec![0; INDEX_BYTES];
        page[8..12].copy_from_slice(&(listed.len() as u32).to_be_bytes());
        for (nth, entry) in listed.iter().enumerate() {
            let at = ENTRIES_AT + nth * ENTRY_BYTES;
            page[at..at + 8].copy_from_slice(&entry.hash.to_be_bytes());
            page[at + 8..at + 16].copy_from_slice(&entry.sequence.to_be_bytes());
            page[at + 16..at + 20].copy_from_slice(&(entry.offset as u32).to_be_bytes());
            page[at + 20..at + 24].copy_from_slice(&entry.bytes.to_be_bytes());
        }
        let checksum = xxh64(&page[8..], 0);
        page[..8].copy_from_slice(&checksum.to_be_bytes());
        let file = File::options().create(true).truncate(false).write(true).open(directory.join(block_file(block))).unwrap();
        file.write_all_at(&page, at).unwrap();
    }

    fn entry(slot: Slot, sequence: u64, offset: u64, bytes: u32) -> Entry {
        Entry { hash: hash(slot), sequence, offset, bytes }
    }

    #[test]
    fn of_two_values_of_a_slot_that_are_news_the_last_is_hinted_at() {
        let directory = tempfile::tempdir().unwrap();
        let slot = Slot(7);
        write_index(directory.path(), 0, &[entry(slot, 1, 4_096, 100), entry(slot, 2, 8_192, 200)]);
        let places = Places::new(directory.path(), 8, BLOCK_BYTES, 1 << 20);
        places.learn([slot].into_iter(), |_| false);
        let place = places.of(slot).unwrap();
        assert_eq!((place.offset(), place.bytes), (8_192, 200));
    }

    #[test]
    fn an_entry_that_goes_beyond_its_block_is_no_hint() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, beyond) = (Slot(1), Slot(2));
        write_index(directory.path(), 0, &[entry(inside, 1, 4_096, 100), entry(beyond, 2, 8_192, u32::MAX)]);
        let places = Places::new(directory.path(), 1, BLOCK_BYTES, 1 << 20);
        places.recover(|_| ());
        assert!(places.of(inside).is_some() && places.of(beyond).is_none());
    }

    #[test]
    fn after_a_start_the_block_that_is_written_next_is_found_however_many_there_are() {
        const BLOCKS: u32 = 200;
        let directory = tempfile::tempdir().unwrap();
        // The oldest is in the middle, and leaves next.
        let oldest = BLOCKS - 50;
        for block in 0..BLOCKS {
            let sequence = u64::from((block + BLOCKS - oldest) % BLOCKS) + 1;
            write_index(directory.path(), block, &[entry(Slot(u128::from(block)), sequence, 4_096, 100)]);
        }
        let places = Places::new(directory.path(), u64::from(BLOCKS), BLOCK_BYTES, 1 << 20);
        places.recover(|_| ());
        let slot = Slot(1_000);
        write_index(directory.path(), oldest, &[entry(slot, 201, 4_096, 100)]);
        places.learn([slot].into_iter(), |block| block != oldest);
        assert_eq!(places.of(slot).map(|place| place.block), Some(oldest));
    }

    #[test]
    fn what_a_block_held_before_it_was_reused_hides_nothing_that_is_written_over_it() {
        let directory = tempfile::tempdir().unwrap();
        let full = |first: u64| -> Vec<Entry> {
            let numbers = first..first + ENTRIES_MAX as u64;
            numbers.map(|number| entry(Slot(u128::from(number)), number, (number - first + 1) * PAGE_BYTES, 100)).collect()
        };
        let second_at = (ENTRIES_MAX as u64 + 1) * PAGE_BYTES;
        // Values of one size, so that indexes lie where the ones before lay.
        write_index_at(directory.path(), 0, second_at, &full(1_000));
        write_index(directory.path(), 0, &full(2_000));
        let places = Places::new(directory.path(), 200, BLOCK_BYTES, 1 << 20);
        places.writing.lock().sequence = 1_999;
        places.learn((2_000..2_000 + ENTRIES_MAX as u128).map(Slot), |_| false);
        let slot = Slot(3_000);
        write_index_at(directory.path(), 0, second_at, &[entry(slot, 3_000, PAGE_BYTES, 100)]);
        places.learn([slot].into_iter(), |_| false);
        assert_eq!(places.of(slot).map(Place::offset), Some(second_at + PAGE_BYTES));
    }
}
