//! What waits to be written to the log, and the one task that writes it.
//!
//! Owns the bound of what waits and what a full queue means. What waits can be read. A value that finds no room is dropped and counted; because
//! the log may hold an earlier one of its slot, a word that there is nothing takes its place, which needs next to no room. While the log is opening
//! these words only become more: beyond their bound a [`Void`] has them. The generations tell whether a slot was written while something read it. The
//! lock covers everything that waits and is never held over a wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::log::{Log, Slot, Trouble};
use super::record::Record;
use super::void::Void;
use crate::figures::Counter;

/// The most slots that wait to be told that they have nothing. With more before the log is open they are voided in a table; with more after it is,
/// everything that was stored before is given up.
const NOTHINGS_MAX: usize = 65_536;
/// The most of these that are written at once.
const NOTHINGS_PER_BATCH: usize = 64;
/// How long what waits may wait for more that is written with it. One write of many values costs little more than one of a single value.
const GATHER: Duration = Duration::from_millis(20);
/// With this part of a batch, or of all that may wait, nothing is waited for any more.
const GATHERED_PART: u64 = 4;
/// How long one batch may take; a device that takes longer counts as failed.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// What waiting costs beside the value, in bytes.
const WAITING_COST: u64 = 128;
/// So many places in line are never looked through for ones that are left behind.
const PLACES_MIN: usize = 1_024;
/// How often a slot is looked into that is written meanwhile, or shares its generation with one that is.
const LOOKS: usize = 3;
/// Slots share generations; two that do make one another's readers look again, no more.
const GENERATIONS: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    /// None until it is known what the log holds.
    log: OnceLock<Arc<dyn Log>>,
    waiting: Mutex<Waiting>,
    generations: Box<[AtomicU64]>,
    bytes_max: u64,
    /// Told to the writer: something waits, or it is to end.
    work: Notify,
    /// Told to those who wait for room or for the queue to be empty.
    room: Notify,
    closing: AtomicBool,
    pub(crate) written: Counter,
    pub(crate) dropped: Counter,
    write_micros: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    values: HashMap<Slot, (u64, Bytes)>,
    nothings: HashMap<Slot, u64>,
    /// What were too many of these before the log was open.
    void: Option<Void>,
    /// It was taken, so that nothing more can go there.
    is_void_settled: bool,
    order: VecDeque<(Slot, u64)>,
    bytes: u64,
    /// Tells one writing of a slot from the next.
    serial: u64,
    /// What was stored up to this place among the heads is given up: too many slots waited to be told so one by one.
    floor: u64,
    /// Nobody took it yet to have it outlive the process.
    is_floor_new: bool,
    /// The log takes nothing more.
    ended: bool,
}

/// What a look into a slot found.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) value: Bytes,
    generation: u64,
}

/// What waits for a slot.
enum Waits {
    Value(Loaded),
    /// That it is to have nothing.
    Nothing,
    /// It is as the log has it, in this generation.
    NotHere(u64),
}

/// There was no room for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Queue {
    /// `bytes_max` bounds what waits.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            log: OnceLock::new(),
            waiting: Mutex::default(),
            generations: (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect(),
            bytes_max,
            work: Notify::new(),
            room: Notify::new(),
            closing: AtomicBool::new(false),
            written: Counter::default(),
            dropped: Counter::default(),
            write_micros: AtomicU64::new(0),
        }
    }

    /// Whether there may be a value. Never waits.
    pub(crate) fn may_hold(&self, slot: Slot) -> bool {
        let waiting = self.waiting.lock();
        if waiting.values.contains_key(&slot) {
            return true;
        }
        let is_void = waiting.nothings.contains_key(&slot);
        drop(waiting);
        !is_void && self.log().is_some_and(|log| log.may_hold(slot))
    }

    /// The value in a slot, if it is still the last one when it has been read.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) async fn load(&self, slot: Slot) -> Result<Option<Loaded>, Trouble> {
        for _ in 0..LOOKS {
            let Some(loaded) = self.load_fixed(slot).await? else { return Ok(None) };
            if self.is_last(slot, &loaded) {
                return Ok(Some(loaded));
            }
        }
        Ok(None)
    }

    /// The same if it can be had without waiting; none says nothing.
    pub(crate) fn load_now(&self, slot: Slot) -> Option<Loaded> {
        let generation = match self.waits(slot) {
            Waits::Value(loaded) => return Some(loaded),
            Waits::Nothing => return None,
            Waits::NotHere(generation) => generation,
        };
        let loaded = Loaded { value: self.log()?.load_now(slot)?, generation };
        self.is_last(slot, &loaded).then_some(loaded)
    }

    /// The same for a slot whose value is never another one.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) async fn load_fixed(&self, slot: Slot) -> Result<Option<Loaded>, Trouble> {
        let generation = match self.waits(slot) {
            Waits::Value(loaded) => return Ok(Some(loaded)),
            Waits::Nothing => return Ok(None),
            Waits::NotHere(generation) => generation,
        };
        let Some(log) = self.log() else { return Ok(None) };
        Ok(log.load(slot).await?.map(|value| Loaded { value, generation }))
    }

    /// What waits for a slot, and which generation it has at this moment.
    fn waits(&self, slot: Slot) -> Waits {
        let waiting = self.waiting.lock();
        let generation = self.generation_of(slot);
        match waiting.values.get(&slot) {
            Some((_, value)) => Waits::Value(Loaded { value: value.clone(), generation }),
            None if waiting.nothings.contains_key(&slot) => Waits::Nothing,
            None => Waits::NotHere(generation),
        }
    }

    /// Whether nothing was written to the slot since this was looked for.
    pub(crate) fn is_last(&self, slot: Slot, loaded: &Loaded) -> bool {
        self.generation_of(slot) == loaded.generation
    }

    /// How often the slot was written, or another one that shares the count.
    pub(crate) fn generation_of(&self, slot: Slot) -> u64 {
        self.generation(slot).load(Ordering::Acquire)
    }

    fn generation(&self, slot: Slot) -> &AtomicU64 {
        &self.generations[usize::try_from(slot.0 % GENERATIONS as u128).unwrap_or(0)]
    }

    /// Puts a value in line; what waited for the slot before is forgotten. `order` is its place among all heads.
    ///
    /// # Errors
    /// When there is no room; the slot counts as empty then.
    pub(crate) fn store(&self, slot: Slot, value: Bytes, order: u64) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        self.generation(slot).fetch_add(1, Ordering::AcqRel);
        let cost = value.len() as u64 + WAITING_COST;
        if waiting.ended || waiting.bytes + cost > self.bytes_max {
            self.dropped.inc();
            if !waiting.ended {
                self.put_nothing(&mut waiting, slot, order);
            }
            return Err(Full);
        }
        waiting.put(slot, value);
        drop(waiting);
        self.work.notify_one();
        Ok(())
    }

    /// The same, but waits for room; for values of slots that had none before. `false` when the log takes nothing more.
    pub(crate) async fn store_when_room(&self, slot: Slot, value: Bytes) -> bool {
        let cost = value.len() as u64 + WAITING_COST;
        if cost > self.bytes_max {
            self.dropped.inc();
            return false;
        }
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut waiting = self.waiting.lock();
                if waiting.ended {
                    return false;
                }
                if waiting.bytes + cost <= self.bytes_max {
                    waiting.put(slot, value);
                    break;
                }
            }
            room.await;
        }
        self.work.notify_one();
        true
    }

    /// The slot is to have nothing, also after a restart.
    pub(crate) fn forget(&self, slot: Slot, order: u64) {
        let mut waiting = self.waiting.lock();
        self.generation(slot).fetch_add(1, Ordering::AcqRel);
        if !waiting.ended {
            self.put_nothing(&mut waiting, slot, order);
        }
    }

    fn put_nothing(&self, waiting: &mut Waiting, slot: Slot, order: u64) {
        let had = waiting.take(slot);
        // Before the log is open nobody knows.
        if !had && self.log().is_some_and(|log| !log.may_hold(slot)) {
            return;
        }
        let may_be_voided = self.log().is_none() && !waiting.is_void_settled;
        if may_be_voided && (waiting.void.is_some() || waiting.nothings.len() >= NOTHINGS_MAX) {
            return waiting.void_with(slot);
        }
        if waiting.nothings.len() >= NOTHINGS_MAX {
            waiting.floor = waiting.floor.max(order);
            waiting.is_floor_new = true;
            waiting.nothings.clear();
            return;
        }
        waiting.serial += 1;
        let serial = waiting.serial;
        waiting.nothings.insert(slot, serial);
        self.work.notify_one();
    }

    /// The place among the heads up to which everything is given up.
    pub(crate) fn floor(&self) -> u64 {
        self.waiting.lock().floor
    }

    /// The same, once.
    pub(crate) fn take_floor(&self) -> Option<u64> {
        let mut waiting = self.waiting.lock();
        std::mem::take(&mut waiting.is_floor_new).then_some(waiting.floor)
    }

    /// The slots that were too many to be remembered one by one, once, before the log is written to.
    pub(crate) fn take_void(&self) -> Option<Void> {
        let mut waiting = self.waiting.lock();
        waiting.is_void_settled = true;
        waiting.void.take()
    }

    /// Takes nothing more where the log never opened. The slots of all that was to be written or emptied; none where that is nothing.
    pub(crate) fn end_unopened(&self) -> Option<Void> {
        let mut waiting = self.waiting.lock();
        let slots: Vec<Slot> = waiting.values.keys().copied().collect();
        slots.into_iter().for_each(|slot| waiting.void_with(slot));
        if !waiting.nothings.is_empty() {
            waiting.void_nothings();
        }
        let void = waiting.void.take();
        drop(waiting);
        self.end();
        void
    }

    /// The log, once it is open.
    pub(crate) fn log(&self) -> Option<&Arc<dyn Log>> {
        self.log.get()
    }

    /// Writes what waits and what comes into a log that is open, until the queue is closed and empty.
    ///
    /// # Errors
    /// When the device fails; what waited is dropped then, and nothing more is taken.
    pub(crate) async fn write(&self, log: Arc<dyn Log>) -> Result<(), Trouble> {
        self.waiting.lock().nothings.retain(|slot, _| log.may_hold(*slot));
        let log = self.log.get_or_init(|| log);
        let ended = self.write_on(log.as_ref()).await;
        self.end();
        ended
    }

    /// Takes nothing more; what waits is dropped.
    pub(crate) fn end(&self) {
        let mut waiting = self.waiting.lock();
        waiting.ended = true;
        for _ in 0..waiting.values.len() {
            self.dropped.inc();
        }
        *waiting = Waiting {
            ended: true,
            floor: waiting.floor,
            is_floor_new: waiting.is_floor_new,
            is_void_settled: waiting.is_void_settled,
            ..Waiting::default()
        };
        drop(waiting);
        self.close();
        self.room.notify_waiters();
    }

    async fn write_on(&self, log: &dyn Log) -> Result<(), Trouble> {
        loop {
            self.gather(log).await;
            let work = self.work.notified();
            let batch = self.batch(log);
            if batch.is_empty() {
                // What waited may have been nothing that had to be written.
                self.room.notify_waiters();
                if self.closing.load(Ordering::Acquire) {
                    return Ok(());
                }
                work.await;
                continue;
            }
            let values: Vec<(Slot, Bytes)> = batch.iter().map(|(slot, _, value)| (*slot, value.clone())).collect();
            let began = Instant::now();
            tokio::time::timeout(WRITE_MAX, log.store(&values)).await.unwrap_or(Err(Trouble::Stuck))?;
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.write_micros.fetch_add(micros, Ordering::Relaxed);
            self.done(&batch);
        }
    }

    /// Lets more come before a batch is taken, unless there is much already or it is time to end.
    async fn gather(&self, log: &dyn Log) {
        let is_much = self.bytes() >= log.batch_bytes().min(self.bytes_max) / GATHERED_PART;
        if !is_much && !self.closing.load(Ordering::Acquire) {
            tokio::time::sleep(GATHER).await;
        }
    }

    /// What is to be written next. It waits on until it is written, so that it can be read.
    fn batch(&self, log: &dyn Log) -> Vec<(Slot, u64, Bytes)> {
        let mut waiting = self.waiting.lock();
        let mut batch = Vec::new();
        let mut room = log.batch_bytes();
        for (slot, serial) in waiting.nothings.iter().take(NOTHINGS_PER_BATCH) {
            let value = Record::nothing(0).encode(&[]);
            let takes = log.room_of(value.len());
            if takes > room {
                break;
            }
            room -= takes;
            batch.push((*slot, *serial, value));
        }
        while let Some((slot, serial)) = waiting.order.front().copied() {
            let value = waiting.values.get(&slot).filter(|(known, _)| *known == serial).map(|(_, value)| value.clone());
            // Written anew since, or taken away.
            let Some(value) = value else {
                waiting.order.pop_front();
                continue;
            };
            let takes = log.room_of(value.len());
            if takes > room {
                // What never fits is dropped here, rather than waited for.
                if takes > log.batch_bytes() {
                    waiting.take(slot);
                    waiting.order.pop_front();
                    self.dropped.inc();
                    continue;
                }
                break;
            }
            room -= takes;
            waiting.order.pop_front();
            batch.push((slot, serial, value));
        }
        batch
    }

    fn done(&self, batch: &[(Slot, u64, Bytes)]) {
        let mut waiting = self.waiting.lock();
        for (slot, serial, _) in batch {
            if waiting.values.get(slot).is_some_and(|(known, _)| known == serial) {
                waiting.take(*slot);
                self.written.inc();
            }
            if waiting.nothings.get(slot) == Some(serial) {
                waiting.nothings.remove(slot);
            }
        }
        drop(waiting);
        self.room.notify_waiters();
    }

    /// Waits until everything that waits now has been written, or nothing is written any more.
    pub(crate) async fn settled(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let waiting = self.waiting.lock();
                if waiting.ended || (waiting.values.is_empty() && waiting.nothings.is_empty()) {
                    return;
                }
            }
            room.await;
        }
    }

    /// Lets the writer end once everything is written.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// What waits, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.waiting.lock().bytes
    }

    /// Microseconds spent on writing so far.
    pub(crate) fn write_micros(&self) -> u64 {
        self.write_micros.load(Ordering::Relaxed)
    }
}

impl Waiting {
    fn put(&mut self, slot: Slot, value: Bytes) {
        self.take(slot);
        self.nothings.remove(&slot);
        self.serial += 1;
        self.bytes += value.len() as u64 + WAITING_COST;
        self.order.push_back((slot, self.serial));
        // Slots that are written anew again and again leave their former places behind.
        if self.order.len() > 2 * self.values.len() + PLACES_MIN {
            let values = &self.values;
            self.order.retain(|(slot, serial)| values.get(slot).is_some_and(|(known, _)| known == serial) || *serial == self.serial);
        }
        self.values.insert(slot, (self.serial, value));
    }

    /// Remembers a slot, and all that are to have nothing, in the table.
    fn void_with(&mut self, slot: Slot) {
        self.void_nothings().add(slot);
    }

    fn void_nothings(&mut self) -> &mut Void {
        let void = self.void.get_or_insert_with(Void::new);
        self.nothings.drain().for_each(|(slot, _)| void.add(slot));
        void
    }

    /// Takes what waits for a slot out of the line; whether there was something.
    fn take(&mut self, slot: Slot) -> bool {
        let Some((_, value)) = self.values.remove(&slot) else { return false };
        self.bytes -= value.len() as u64 + WAITING_COST;
        true
    }
}

#[cfg(test)]
mod tests;
