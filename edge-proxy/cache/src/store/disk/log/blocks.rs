//! The log over foyer's block engine: files of one size, written one after another, the oldest reused first.
//!
//! What is known of foyer 0.22.6 is kept away here: it is written to by one task in batches that fit its buffer, because it drops what does not
//! fit and says nothing; each batch is waited for and looked up afterwards, because it swallows errors of writing; a slot is deleted before
//! it is written anew, so that the value before it cannot pass for the one that was not written. Its memory tier holds nothing. It writes and
//! finds again; where it is known what a value's place is, [`super::read`] reads it.
//!
//! The lock of the slots that are being written is held for the look at them and, by a hint, over its removal; the lock of the note for a look.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, ErrorKind, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy, Load,
    PsyncIoEngineConfig, RecoverMode, Spawner, StorageFilter,
};
use parking_lot::Mutex;

use super::fit::fit;
use super::order::{Leaving, Oldest, Order, Tally, block_file};
use super::places::Places;
use super::read::Reader;
use super::{Counts, Log, PAGE_BYTES, Progress, Slot, Trouble};

/// What foyer adds to a value at most, in bytes: its header, the slot, the length.
const OVERHEAD_BYTES: usize = 64;
/// Threads that wait for the device.
const DEVICE_THREADS: usize = 16;
/// Blocks that are kept free for writing.
const CLEAN_BLOCKS: usize = 2;
/// The fewest blocks of a log: one being written, some free, the rest to hold something.
const BLOCKS_MIN: u64 = 8;
/// How often the counts are written down.
const NOTE_EVERY: Duration = Duration::from_secs(2);
/// Where they are written.
const NOTE: &str = "counts";

/// What a log takes of its device and of memory.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The directory of the blocks.
    pub(crate) directory: PathBuf,
    /// All blocks together, in bytes.
    pub(crate) capacity: u64,
    /// What is written at once at most, in bytes; foyer has two such buffers.
    pub(crate) buffer_bytes: u64,
    /// How far opening is.
    pub(crate) progress: Progress,
}

impl Shape {
    /// The size of a block: a value must fit, files must not be too many, and what leaves at once must not be too much.
    pub(crate) fn block_bytes(&self) -> u64 {
        const MIB: u64 = 1 << 20;
        let most = if self.capacity >= 4 << 40 { 256 * MIB } else { 64 * MIB };
        (self.capacity / 64).clamp(4 * MIB, most).next_multiple_of(PAGE_BYTES)
    }

    pub(super) fn blocks(&self) -> u64 {
        self.capacity / self.block_bytes()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Blocks {
    cache: HybridCache<Slot, Bytes>,
    shape: Shape,
    tally: Arc<Tally>,
    order: Arc<Order>,
    places: Arc<Places>,
    reader: Reader,
    /// Values and their bytes that came, over restarts; those that left are in the tally.
    came: AtomicU64,
    came_bytes: AtomicU64,
    noted: Mutex<Instant>,
    /// What is being written: a removal that comes in between would make it look as if the device had not taken it.
    writing: Mutex<HashSet<Slot>>,
}

impl Code for Slot {
    fn encode(&self, writer: &mut impl std::io::Write) -> foyer::Result<()> {
        writer.write_all(&self.0.to_be_bytes()).map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl std::io::Read) -> foyer::Result<Self> {
        let mut bytes = [0; 16];
        reader.read_exact(&mut bytes).map_err(foyer::Error::io_error)?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    fn estimated_size(&self) -> usize {
        16
    }
}

/// So many bytes in whole pages.
pub(super) fn paged(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(PAGE_BYTES)
}

impl Blocks {
    /// Opens the log in a directory that is there and finds out what it holds, which takes its time with the number of values. [`Shape::progress`]
    /// tells how far it is.
    ///
    /// # Errors
    /// When the device cannot be opened, or is too small.
    pub(crate) async fn open(shape: Shape) -> Result<Self, Trouble> {
        if shape.blocks() < BLOCKS_MIN {
            let least = BLOCKS_MIN * shape.block_bytes();
            return Err(Trouble::Open(format!("{} bytes hold no log; at least {least} are needed", shape.capacity)));
        }
        let (came, came_bytes) = noted(&shape);
        let fitting = shape.clone();
        let fitted = tokio::task::spawn_blocking(move || fit(&fitting)).await.map_err(|error| Trouble::Open(error.to_string()))?;
        let left = fitted.map_err(|error| Trouble::Open(format!("{} cannot be made to fit: {error}", shape.directory.display())))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(DEVICE_THREADS)
            .thread_name("skerry-disk")
            .enable_all()
            .build()
            .map_err(|error| Trouble::Open(format!("no threads for the disk: {error}")))?;
        let tally = Arc::new(Tally::default());
        let places = Arc::new(Places::new(&shape.directory, shape.blocks(), shape.block_bytes(), shape.buffer_bytes));
        let order = Order::read(&shape.directory, Arc::clone(&tally), Arc::clone(&places));
        let reader = Reader::new(runtime.handle().clone());
        // Before foyer looks through them once more, in the page cache then, which counts as one more block.
        let (recovering, progress, blocks) = (Arc::clone(&places), shape.progress.clone(), shape.blocks());
        let recovering = move || recovering.recover(|looked| progress.tell(looked, blocks + 1));
        tokio::task::spawn_blocking(recovering).await.map_err(|error| Trouble::Open(error.to_string()))?;
        // Putting together what the blocks hold is work, and no client's thread does it.
        let building = {
            let (shape, tally, order, handle) = (shape.clone(), Arc::clone(&tally), Arc::clone(&order), runtime.handle().clone());
            handle.spawn(async move { build(&shape, &tally, &order, Spawner::from(runtime)).await })
        };
        let built = building.await.map_err(|error| Trouble::Open(error.to_string()))?;
        let cache = built.map_err(|error| Trouble::Open(error.to_string()))?;
        // Writing begins at once, so that the age of the note counts from here.
        let noted = Mutex::new(Instant::now());
        Ok(Self {
            cache,
            shape,
            tally,
            order,
            places,
            reader,
            came: AtomicU64::new(came.saturating_sub(left.entries)),
            came_bytes: AtomicU64::new(came_bytes.saturating_sub(left.bytes)),
            noted,
            writing: Mutex::default(),
        })
    }

    /// Whether it is known where a value is.
    #[cfg(test)]
    pub(super) fn knows_place_of(&self, slot: Slot) -> bool {
        self.places.of(slot).is_some()
    }

    /// Finds out where a batch was written. What becomes of it is nobody's error: without, foyer is asked.
    async fn learn(&self, slots: Vec<Slot>) {
        let (places, order) = (Arc::clone(&self.places), Arc::clone(&self.order));
        let full = OnceCell::new();
        let is_full = move |block| full.get_or_init(|| order.full()).contains(&block);
        let _ = tokio::task::spawn_blocking(move || places.learn(slots.into_iter(), is_full)).await;
    }

    /// Writes the counts down for the next start; they are for people, so that an error is nobody's.
    fn note(&self) {
        let counts = self.counts();
        let text = format!("{} {}\n", counts.entries, counts.bytes);
        let _ = std::fs::write(self.shape.directory.join(NOTE), text);
    }
}

async fn build(shape: &Shape, tally: &Arc<Tally>, order: &Arc<Order>, spawner: Spawner) -> foyer::Result<HybridCache<Slot, Bytes>> {
    let whole = usize::try_from(shape.blocks() * shape.block_bytes()).unwrap_or(usize::MAX);
    let device = FsDeviceBuilder::new(&shape.directory).with_capacity(whole).build()?;
    let engine = BlockEngineConfig::new(device)
        .with_block_size(usize::try_from(shape.block_bytes()).unwrap_or(usize::MAX))
        .with_flushers(1)
        .with_reclaimers(1)
        .with_clean_block_threshold(CLEAN_BLOCKS)
        .with_buffer_pool_size(usize::try_from(shape.buffer_bytes).unwrap_or(usize::MAX))
        // More than a batch, so that nothing is dropped before the buffer.
        .with_submit_queue_size_threshold(usize::try_from(2 * shape.buffer_bytes).unwrap_or(usize::MAX))
        .with_eviction_pickers(vec![Box::new(Oldest(Arc::clone(order)))])
        .with_reinsertion_filter(StorageFilter::new().with_condition(Leaving(Arc::clone(tally))));
    let cache = HybridCacheBuilder::new()
        .with_name("skerry")
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        .memory(1)
        .with_shards(1)
        .storage()
        .with_io_engine_config(PsyncIoEngineConfig::new())
        .with_engine_config(engine)
        .with_recover_mode(RecoverMode::Quiet)
        .with_spawner(spawner)
        .build()
        .await?;
    order.open().map_err(|error| foyer::Error::new(ErrorKind::Recover, error))?;
    Ok(cache)
}

/// The counts that the run before wrote down; nothing where there are no blocks.
fn noted(shape: &Shape) -> (u64, u64) {
    if !shape.directory.join(block_file(0)).exists() {
        return (0, 0);
    }
    let text = std::fs::read_to_string(shape.directory.join(NOTE)).unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[async_trait]
impl Log for Blocks {
    fn may_hold(&self, slot: Slot) -> bool {
        self.cache.storage().may_contains(&slot)
    }

    async fn load(&self, slot: Slot) -> Result<Option<Bytes>, Trouble> {
        if let Some(place) = self.places.of(slot)
            && let Ok(file) = self.places.file(place.block)
        {
            let found = self.reader.read(file, place, slot).await?;
            // Still there, so that what was read was not overwritten meanwhile.
            if found.is_some() && self.places.of(slot) == Some(place) {
                return Ok(found);
            }
        }
        match self.cache.storage().load(&slot).await {
            Ok(Load::Entry { value, .. }) => Ok(Some(value)),
            Ok(Load::Piece { piece, .. }) => Ok(Some(piece.value().clone())),
            Ok(Load::Throttled | Load::Miss) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Parse => Ok(None),
            Err(error) => Err(Trouble::Read(error.to_string())),
        }
    }

    fn load_now(&self, slot: Slot) -> Option<Bytes> {
        let place = self.places.of(slot)?;
        let found = self.reader.read_now(self.places.file(place.block).ok()?, place, slot)?;
        (self.places.of(slot) == Some(place)).then_some(found)
    }

    async fn store(&self, values: &[(Slot, Bytes)]) -> Result<(), Trouble> {
        let storage = self.cache.storage();
        *self.writing.lock() = values.iter().map(|(slot, _)| *slot).collect();
        for (slot, value) in values {
            self.places.forget(*slot);
            if storage.may_contains(slot) {
                storage.delete(slot);
            }
            self.cache.storage_writer(*slot).insert(value.clone());
        }
        storage.wait().await;
        let missing = values.iter().filter(|(slot, _)| !storage.may_contains(slot)).count();
        self.learn(values.iter().map(|(slot, _)| *slot).collect()).await;
        self.writing.lock().clear();
        self.came.fetch_add((values.len() - missing) as u64, Ordering::Relaxed);
        self.came_bytes.fetch_add(values.iter().map(|(_, value)| self.room_of(value.len())).sum(), Ordering::Relaxed);
        let is_due = {
            let mut noted = self.noted.lock();
            let is_due = noted.elapsed() >= NOTE_EVERY;
            if is_due {
                *noted = Instant::now();
            }
            is_due
        };
        if is_due {
            self.note();
        }
        if missing > 0 { Err(Trouble::Write(missing)) } else { Ok(()) }
    }

    fn batch_bytes(&self) -> u64 {
        self.shape.buffer_bytes
    }

    fn room_of(&self, bytes: usize) -> u64 {
        paged(bytes + OVERHEAD_BYTES)
    }

    fn remove(&self, slot: Slot) {
        let writing = self.writing.lock();
        // What was found to be of no use is on its way out then.
        if writing.contains(&slot) {
            return;
        }
        self.places.forget(slot);
        self.cache.storage().delete(&slot);
    }

    fn counts(&self) -> Counts {
        let statistics = self.cache.statistics();
        let evicted = self.tally.evicted.load(Ordering::Relaxed);
        let evicted_bytes = self.tally.evicted_bytes.load(Ordering::Relaxed);
        Counts {
            entries: self.came.load(Ordering::Relaxed).saturating_sub(evicted),
            bytes: self.came_bytes.load(Ordering::Relaxed).saturating_sub(evicted_bytes),
            written_bytes: statistics.disk_write_bytes() as u64,
            read_bytes: statistics.disk_read_bytes() as u64 + self.reader.read_bytes(),
            evicted,
            eviction_age_seconds: self.tally.age_seconds.load(Ordering::Relaxed),
        }
    }

    async fn close(&self) {
        if let Err(error) = self.cache.close().await {
            tracing::warn!(%error, "the disk could not be closed in order");
        }
        self.note();
    }
}
