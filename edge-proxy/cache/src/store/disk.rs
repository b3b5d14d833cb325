//! The disk tier: stored answers that outlive memory and the process.
//!
//! Owns what is on disk of which entry, when it is believed, and what a failing device means. Everything is written through [`queue`], read as
//! [`record`]s, and held by a [`log`] that may lose any of it. Never decides whether an answer may be used: that is [`crate::lookup`]'s, by the
//! same purges as in memory.
//!
//! The tier opens behind its back: until the log is known it holds nothing, and nothing is read before the node has heard which purges it
//! missed ([`Disk::caught_up`]).

use std::future::ready;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use self::directory::Directory;
use self::log::{Blocks, Log, Progress, Shape, Slot, Trouble};
use self::queue::{Loaded, Queue};
use self::record::{Kind, Record};
use self::seen::Seen;
use self::void::Void;
use crate::figures::Counter;
use crate::key::Key;
use crate::object::{Filling, Object};
use crate::purge::{Life, Table};
use crate::store::Entry;
use crate::time::Time;

mod directory;
mod figures;
mod head;
pub(crate) mod log;
mod queue;
mod record;
mod seen;
mod settings;
#[cfg(test)]
pub(crate) mod shaky;
mod slices;
mod void;

pub use figures::{DiskFigures, State};
pub use settings::Settings;
pub(crate) use slices::{Mend, Missed, Reading, Slices};

/// So many reads in a row that fail take the disk out.
const READ_FAILURES_MAX: u32 = 8;
/// How long one read may take; who waits for it goes on as if nothing were stored then.
const READ_MAX: Duration = Duration::from_secs(10);
/// How far ahead of the clock an answer may have come, for clocks that were put right a little. What is further ahead is not used.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// Slices that are put together and wait for room in the queue at the same time.
const PUTTING_MAX: usize = 2;
/// How long a slice that a reader is in waits for room in memory; who wants it reads it straight from upstream then.
const ROOM_MAX: Duration = Duration::from_secs(3);
/// For so long after a wait for room that was in vain nobody waits for it.
const CROWDED: Duration = Duration::from_secs(10);
/// How long a stop waits for the device.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// How long a node that hears nothing of the purges it missed waits before it serves from disk.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    settings: Settings,
    /// Makes slots of keys, so that nobody outside can tell which share one.
    seed: u64,
    /// Where the heads of this run begin.
    first: u64,
    queue: Queue,
    /// What of earlier runs does not count, once the log is open.
    void: OnceLock<Void>,
    /// Held while that is settled: a log that opens in the moment of a stop does so twice, and each time is to know of the other.
    settling: Arc<Mutex<()>>,
    table: Arc<Table>,
    /// Counts heads and objects.
    order: Arc<AtomicU64>,
    filling: Arc<Filling>,
    state: AtomicU8,
    caught_up: AtomicBool,
    ended: watch::Sender<bool>,
    seen: Seen,
    /// Room for slices that readers hold, in slices.
    reading: Arc<Semaphore>,
    /// When somebody last waited for that in vain.
    crowded_at: Mutex<Option<Instant>>,
    /// Room for slices on their way from the log, for those too who hold none.
    loading: Semaphore,
    /// Who puts a slice together for the queue, and waits there; the others wait with what they have.
    putting: Semaphore,
    /// Slices that readers hold.
    shared: slices::Shared,
    /// Slices on their way from upstream.
    flights: slices::Flights,
    failures: AtomicU32,
    warned_of_clock: AtomicBool,
    progress: Progress,
    opened_in_ms: AtomicU64,
    read_micros: AtomicU64,
    hits: Counter,
    misses: Counter,
    damaged: Counter,
    read_errors: Counter,
    pub(super) lost: Counter,
    pub(super) mended: Counter,
    pub(super) fetched: Counter,
    skipped: Counter,
    directory: Option<Directory>,
}

/// An entry from disk, and what tells whether it is still the last one of its key.
#[derive(Debug)]
pub(crate) struct FromDisk {
    pub(crate) entry: Entry,
    slot: Slot,
    loaded: Loaded,
}

impl Disk {
    /// Takes the directory and opens what it holds behind its back.
    ///
    /// # Errors
    /// One sentence for the operator, when the directory cannot be used.
    pub(crate) fn open(
        settings: Settings,
        life: Life,
        table: Arc<Table>,
        order: Arc<AtomicU64>,
        filling: Arc<Filling>,
    ) -> Result<Arc<Self>, String> {
        let shape =
            Shape { directory: PathBuf::new(), capacity: settings.size, buffer_bytes: settings.buffer, progress: Progress::default() };
        let directory = Directory::claim(&settings.path, life, settings.size, shape.block_bytes())?;
        let log = directory.log.clone();
        let disk = Self::new(settings, life, table, order, filling, Some(directory));
        let shape = Shape { directory: log, progress: disk.progress.clone(), ..shape };
        disk.start(async { Blocks::open(shape).await.map(|log| Arc::new(log) as Arc<dyn Log>) });
        let waiting = Arc::clone(&disk);
        tokio::spawn(async move {
            tokio::time::sleep(CATCH_UP_MAX).await;
            if !waiting.caught_up.swap(true, Ordering::AcqRel) {
                tracing::warn!("the control plane says nothing of purges that were missed; serving from disk without");
            }
        });
        Ok(disk)
    }

    /// A tier that has no log yet.
    pub(crate) fn new(
        settings: Settings,
        life: Life,
        table: Arc<Table>,
        order: Arc<AtomicU64>,
        filling: Arc<Filling>,
        directory: Option<Directory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            seed: life.identity,
            first: life.first(),
            void: OnceLock::new(),
            settling: Arc::default(),
            queue: Queue::new(settings.waiting_max),
            table,
            order,
            filling,
            state: AtomicU8::new(State::Opening as u8),
            caught_up: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            seen: Seen::new(),
            reading: Arc::new(Semaphore::new(settings.reading() as usize)),
            crowded_at: Mutex::default(),
            putting: Semaphore::new(PUTTING_MAX),
            shared: slices::Shared::default(),
            flights: slices::Flights::default(),
            loading: Semaphore::new(settings.loading() as usize),
            failures: AtomicU32::new(0),
            warned_of_clock: AtomicBool::new(false),
            progress: Progress::default(),
            opened_in_ms: AtomicU64::new(0),
            read_micros: AtomicU64::new(0),
            hits: Counter::default(),
            misses: Counter::default(),
            damaged: Counter::default(),
            read_errors: Counter::default(),
            lost: Counter::default(),
            mended: Counter::default(),
            fetched: Counter::default(),
            skipped: Counter::default(),
            settings,
            directory,
        })
    }

    /// Says in the directory that this run has it.
    ///
    /// # Errors
    /// One sentence for the operator, when it cannot be written.
    pub(crate) fn begin(&self) -> Result<(), String> {
        self.directory.as_ref().map_or(Ok(()), Directory::begin)
    }

    /// Opens the log and has it written to, behind whoever calls.
    pub(crate) fn start(self: &Arc<Self>, log: impl Future<Output = Result<Arc<dyn Log>, Trouble>> + Send + 'static) {
        let disk = Arc::clone(self);
        tokio::spawn(async move { disk.run(log).await });
    }

    /// Opens the log and writes to it, until the tier is closed or the device fails.
    async fn run(&self, log: impl Future<Output = Result<Arc<dyn Log>, Trouble>>) {
        let began = Instant::now();
        let ended = match log.await {
            Ok(log) => {
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.opened_in_ms.store(millis, Ordering::Relaxed);
                self.progress.tell(1, 1);
                let counts = log.counts();
                tracing::info!(entries = counts.entries, bytes = counts.bytes, millis, "the disk tier is open");
                if let Some(void) = self.settle_void(self.queue.take_void()).await {
                    // Nobody opens the log twice.
                    let _ = self.void.set(void);
                }
                let _ = self.state.compare_exchange(State::Opening as u8, State::Serving as u8, Ordering::AcqRel, Ordering::Acquire);
                let ended = self.queue.write(Arc::clone(&log)).await;
                // What failed is left as it is: nobody knows how long its end would take.
                if ended.is_ok() {
                    log.close().await;
                }
                ended
            }
            Err(trouble) => Err(trouble),
        };
        match ended {
            Ok(()) => {
                let _ = self.state.compare_exchange(State::Serving as u8, State::Closed as u8, Ordering::AcqRel, Ordering::Acquire);
            }
            Err(trouble) => self.take_out(&trouble),
        }
        self.ended.send_replace(true);
    }

    /// What does not count from here on, also after a restart, of what earlier runs stored: what is `new`, and what did not count before. Where nobody
    /// can tell, everything is given up.
    async fn settle_void(&self, new: Option<Void>) -> Option<Void> {
        let (first, log) = (self.first, self.directory.as_ref().map(|directory| directory.log.clone()));
        let alone = Arc::clone(&self.settling);
        let settling = tokio::task::spawn_blocking(move || {
            let _alone = alone.lock();
            Void::settled(new, first, log.as_deref())
        });
        let settled = settling.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        settled.unwrap_or_else(|error| {
            let directory = self.settings.path.display();
            tracing::warn!(%directory, %error, "it is not known what was replaced while the disk was opening; all of it is given up");
            self.table.give_up(self.order.load(Ordering::Acquire));
            None
        })
    }

    /// The device fails: memory goes on alone, and what is on disk does not count any more, because from here on it misses what changes.
    fn take_out(&self, trouble: &Trouble) {
        if self.state.swap(State::Out as u8, Ordering::AcqRel) == State::Out as u8 {
            return;
        }
        self.queue.end();
        self.table.give_up(self.order.load(Ordering::Acquire));
        tracing::error!(
            directory = %self.settings.path.display(),
            %trouble,
            "the disk tier is taken out, memory goes on alone; see to the disk, then restart this node"
        );
    }

    /// The purges that this node missed are in force: what is on disk may be used.
    pub(crate) fn caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
    }

    pub(crate) fn state(&self) -> State {
        State::of(self.state.load(Ordering::Acquire))
    }

    fn is_serving(&self) -> bool {
        self.state.load(Ordering::Acquire) == State::Serving as u8
    }

    fn slot(&self, key: &Key) -> Slot {
        Slot(xxh3_128_with_seed(key.text(), self.seed))
    }

    fn slot_of_slice(&self, object: u64, number: u32) -> Slot {
        let mut text = [0; 13];
        text[0] = b'/';
        text[1..9].copy_from_slice(&object.to_be_bytes());
        text[9..].copy_from_slice(&number.to_be_bytes());
        Slot(xxh3_128_with_seed(&text, self.seed))
    }

    /// Whether it is worth asking for a key. Never waits.
    pub(crate) fn may_hold(&self, key: &Key) -> bool {
        self.caught_up.load(Ordering::Acquire) && self.is_serving() && self.queue.may_hold(self.slot(key))
    }

    /// What is stored under a key.
    pub(crate) async fn load(self: &Arc<Self>, key: &Key, now: Time) -> Option<FromDisk> {
        let found = self.find(key, now).await;
        if found.is_some() {
            self.hits.inc()
        } else {
            self.misses.inc()
        }
        found
    }

    /// What is stored under a key, if it can be had without waiting for the device; none says nothing.
    pub(crate) fn load_now(self: &Arc<Self>, key: &Key, now: Time) -> Option<FromDisk> {
        let slot = self.slot(key);
        let loaded = self.queue.load_now(slot)?;
        let found = pin!(self.find_in(key, now, ready(Ok(Some(loaded)))));
        // Nothing in it waits.
        let Poll::Ready(found) = found.poll(&mut Context::from_waker(Waker::noop())) else { return None };
        if found.is_some() {
            self.hits.inc();
        }
        found
    }

    async fn find(self: &Arc<Self>, key: &Key, now: Time) -> Option<FromDisk> {
        self.find_in(key, now, self.queue.load(self.slot(key))).await
    }

    async fn find_in(
        self: &Arc<Self>,
        key: &Key,
        now: Time,
        loading: impl Future<Output = Result<Option<Loaded>, Trouble>>,
    ) -> Option<FromDisk> {
        let slot = self.slot(key);
        let (record, loaded) = self.read(slot, loading).await?;
        let order = record.stamp.order;
        let is_void = order <= self.table.given_up().max(self.queue.floor()) || self.void.get().is_some_and(|void| void.has(slot, order));
        if record.key != key.text() || is_void {
            return None;
        }
        let slices =
            |object, slice_bytes, length, is_sparse| Slices::new(Arc::clone(self), key.clone(), object, slice_bytes, length, is_sparse);
        let entry = head::entry(&record, &self.filling, slices);
        if entry.is_none() && record.kind != Kind::Nothing {
            self.damaged.inc();
        }
        let entry = entry?;
        if let Entry::Object(object) = &entry
            && object.freshness.responded_at > now.plus(AHEAD_MAX)
        {
            if !self.warned_of_clock.swap(true, Ordering::Relaxed) {
                tracing::warn!("the clock stands before answers that are stored on disk; they are not used until it has passed them");
            }
            return None;
        }
        Some(FromDisk { entry, slot, loaded })
    }

    /// Whether nothing newer was stored under its key since it was looked for.
    pub(crate) fn is_last(&self, found: &FromDisk) -> bool {
        self.queue.is_last(found.slot, &found.loaded)
    }

    /// How often the slot of a key was written; others may share the count.
    pub(crate) fn written(&self, key: &Key) -> u64 {
        self.queue.generation_of(self.slot(key))
    }

    /// What is stored under a key, for who only wants to know: also before the node has heard of the purges that it missed.
    pub(crate) async fn peek(self: &Arc<Self>, key: &Key, now: Time) -> Option<Entry> {
        let may_hold = self.is_serving() && self.queue.may_hold(self.slot(key));
        if may_hold { Some(self.find(key, now).await?.entry) } else { None }
    }

    /// What is in the slot of a slice; slices of its body are of so many bytes.
    async fn load_record(&self, slot: Slot, slice_bytes: u64) -> Option<Record> {
        // Never closed; who waits here holds nothing.
        let _room = self.loading.acquire_many(self.rooms(slice_bytes).min(self.settings.loading())).await.ok()?;
        Some(self.read(slot, self.queue.load_fixed(slot)).await?.0)
    }

    async fn read(&self, slot: Slot, loading: impl Future<Output = Result<Option<Loaded>, Trouble>>) -> Option<(Record, Loaded)> {
        let began = Instant::now();
        let loaded = tokio::time::timeout(READ_MAX, loading).await.unwrap_or(Err(Trouble::Stuck));
        self.read_micros.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        match loaded {
            Ok(loaded) => {
                self.failures.store(0, Ordering::Relaxed);
                let loaded = loaded?;
                let record = Record::decode(&loaded.value);
                if record.is_none() {
                    self.damaged.inc();
                    if let Some(log) = self.queue.log() {
                        log.remove(slot);
                    }
                }
                Some((record?, loaded))
            }
            Err(trouble) => {
                self.read_errors.inc();
                if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= READ_FAILURES_MAX {
                    self.take_out(&trouble);
                }
                None
            }
        }
    }

    /// Keeps what is stored under a key in memory, if it is of a kind that is kept, small, and worth it; what was kept of the key before is
    /// forgotten otherwise. A large body has to be in slices already.
    pub(crate) fn keep(&self, key: &Key, entry: &Entry) {
        let order = self.order.load(Ordering::Acquire);
        let slot = self.slot(key);
        let value = match entry {
            Entry::Marker(marker) => Some(head::of_marker(key, marker, order)),
            Entry::Search(rules) => Some(head::of_rules(key, rules, order)),
            Entry::Object(object) => self.of_object(slot, object),
            Entry::Parts(_) => None,
        };
        match value {
            Some(value) => {
                // A dropped one is counted by the queue, and leaves nothing older behind.
                let _ = self.queue.store(slot, value, order);
            }
            None => self.queue.forget(slot, order),
        }
        self.pass_floor_on();
    }

    /// What the queue gave up is to be given up after a restart too.
    fn pass_floor_on(&self) {
        if let Some(floor) = self.queue.take_floor() {
            self.table.give_up(floor);
        }
    }

    fn of_object(&self, slot: Slot, object: &Object) -> Option<Bytes> {
        if let Some(slices) = object.body.slices() {
            // When it began nobody may have known how long it would be.
            // Slices say under which key they were written; what a 304 put under another one would not find them after a restart.
            return (!slices.is_gone() && slices.are_of(&object.key))
                .then(|| head::of_object(object, Some(&slices.of_length(object.body.len()))));
        }
        let length = object.body.len();
        if object.part.is_some() || length > self.settings.slice || !object.body.is_resident() {
            return None;
        }
        self.admits_to(slot, length).then(|| head::of_object(object, None))
    }

    /// Whether an answer with a body of this length is written: what has to be asked for twice was asked for before.
    pub(crate) fn admits(&self, key: &Key, length: u64) -> bool {
        self.admits_to(self.slot(key), length)
    }

    fn admits_to(&self, slot: Slot, length: u64) -> bool {
        let admitted = !self.is_for_second_hit(length) || self.queue.may_hold(slot) || self.seen.again(slot);
        if !admitted {
            self.skipped.inc();
        }
        admitted
    }

    fn is_for_second_hit(&self, length: u64) -> bool {
        length < self.settings.second_hit_below || length > self.settings.second_hit_above
    }

    /// Whether an object may not have been written when it was stored, because nobody had asked for it twice.
    pub(crate) fn is_on_probation(&self, object: &Object) -> bool {
        self.is_for_second_hit(object.body.len()) && object.body.is_resident()
    }

    /// Nothing is to be under this key any more.
    pub(crate) fn forget(&self, key: &Key) {
        self.queue.forget(self.slot(key), self.order.load(Ordering::Acquire));
        self.pass_floor_on();
    }

    /// The same, if it is the object with this identity that is there.
    async fn forget_object(self: &Arc<Self>, key: &Key, object: u64) {
        // Whatever the clock says of when it came.
        let found = self.find(key, Time(u64::MAX)).await;
        if let Some(found) = found
            && let Entry::Object(there) = &found.entry
            && there.body.slices().is_some_and(|slices| slices.object == object)
            && self.is_last(&found)
        {
            self.forget(key);
        }
    }

    /// A hint that what is on disk under a key is not going to be used.
    pub(crate) fn is_of_no_use(&self, key: &Key) {
        if let Some(log) = self.queue.log() {
            log.remove(self.slot(key));
        }
    }

    /// Slices for a body that is too large to be kept with its head; none while the disk takes nothing. `length` is 0 when nobody knows it; sparse
    /// are those that come when they are asked for.
    pub(crate) fn slices(self: &Arc<Self>, key: &Key, length: u64, is_sparse: bool) -> Option<Slices> {
        let object = self.order.fetch_add(1, Ordering::AcqRel);
        let fits = length <= self.settings.size / 2;
        (self.is_serving() && fits).then(|| Slices::new(Arc::clone(self), key.clone(), object, self.settings.slice, length, is_sparse))
    }

    /// Stores a slice, which is put together when it is its turn; `false` when the disk takes nothing.
    async fn store_slice(&self, slot: Slot, value: impl FnOnce() -> Bytes) -> bool {
        let Ok(_turn) = self.putting.acquire().await else { return false };
        self.queue.store_when_room(slot, value()).await
    }

    /// The largest body that stays in memory whole while it comes, in bytes.
    pub(crate) fn resident_max(&self) -> u64 {
        self.settings.resident_max
    }

    /// The largest body that is stored with its head, in bytes.
    pub(crate) fn inline_max(&self) -> u64 {
        self.settings.slice
    }

    /// What a slice of so many bytes takes of the room for readers: it may have been written when slices were larger than they are now.
    fn rooms(&self, slice_bytes: u64) -> u32 {
        u32::try_from(slice_bytes.div_ceil(self.settings.slice.max(1))).unwrap_or(u32::MAX)
    }

    pub(crate) fn room_for_reader(&self, slice_bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.reading).try_acquire_many_owned(self.rooms(slice_bytes)).ok()
    }

    /// The same, waiting for it, in the order of those who do; none when it does not come in [`ROOM_MAX`].
    async fn wait_for_room(&self, slice_bytes: u64) -> Option<OwnedSemaphorePermit> {
        let rooms = self.rooms(slice_bytes);
        if rooms > self.settings.reading() {
            return None;
        }
        let room = tokio::time::timeout(ROOM_MAX, Arc::clone(&self.reading).acquire_many_owned(rooms)).await.ok().and_then(Result::ok);
        *self.crowded_at.lock() = room.is_none().then(Instant::now);
        room
    }

    /// Whether it is of no use to wait for room.
    fn is_crowded(&self) -> bool {
        self.crowded_at.lock().is_some_and(|at| at.elapsed() < CROWDED)
    }

    /// A slice that has come is not kept, as the device does not take it in time.
    fn dropped_slice(&self) {
        self.queue.dropped.inc();
    }

    /// Half of the room is for what is read at this moment.
    fn room_to_read_ahead(&self, slice_bytes: u64) -> Option<OwnedSemaphorePermit> {
        let all = self.settings.reading() as usize;
        (self.reading.available_permits() > all / 2).then(|| self.room_for_reader(slice_bytes)).flatten()
    }

    /// Waits until all that was stored so far is on disk, or the disk takes nothing.
    pub(crate) async fn settled(&self) {
        self.flights.settled().await;
        self.queue.settled().await;
    }

    /// Writes what waits and ends in order, as far as the device manages that in [`CLOSE_MAX`]. What waits for a log that did not open until then is
    /// lost, and with it what is on disk under the same keys.
    pub(crate) async fn close(&self) {
        self.queue.close();
        let mut ended = self.ended.subscribe();
        // The sender is here, so that the wait ends when the writer does.
        if tokio::time::timeout(CLOSE_MAX, ended.wait_for(|ended| *ended)).await.is_err() {
            tracing::warn!(bytes = self.queue.bytes(), "the disk was too slow for what still waited; that is lost");
            let closed = self.state.compare_exchange(State::Opening as u8, State::Closed as u8, Ordering::AcqRel, Ordering::Acquire);
            if closed.is_ok()
                && let Some(void) = self.queue.end_unopened()
                && tokio::time::timeout(CLOSE_MAX, self.settle_void(Some(void))).await.is_err()
            {
                self.table.give_up(self.order.load(Ordering::Acquire));
            }
        }
    }
}

#[cfg(test)]
mod tests;
