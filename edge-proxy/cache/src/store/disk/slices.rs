//! The body of a large object on disk: slices of one size, each a record of its own.
//!
//! Owns how a reader gets one byte after another: the slice it is in, the next ones read ahead, and a slice that is lost fetched again. What one
//! reader holds is bounded by [`super::Disk`]'s room for readers; who finds none there reads in small pieces and keeps nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::Disk;
use super::log::Slot;
use super::record::{Kind, Record, Stamp};
use crate::fetch::{FetchError, FetchErrorKind};
use crate::key::Key;

/// What a reader without room for a slice takes of it at once, in bytes.
const PIECE_BYTES: u64 = 64 << 10;
/// How many slices one reader has read ahead at most: the device, the check and the client are to work at the same time.
const AHEAD_SLICES_MAX: u32 = 2;

/// See the module. Clones are the same slices.
#[derive(Clone, Debug)]
pub(crate) struct Slices {
    disk: Arc<Disk>,
    /// The text of the object's key.
    key: Key,
    /// The identity of the object.
    pub(crate) object: u64,
    /// The size of every slice but the last, in bytes.
    pub(crate) slice_bytes: u64,
    /// The length of the body, in bytes; 0 while nobody knows it.
    pub(crate) length: u64,
    /// Some of it cannot be had any more.
    gone: Arc<AtomicBool>,
}

/// Gets bytes of a representation from upstream that were lost here.
#[async_trait]
pub(crate) trait Mend: Send + Sync {
    /// The bytes from `start` up to `end`, of the very same representation, whose length is 0 while nobody knows it.
    ///
    /// # Errors
    /// When upstream does not have them any more, or gives no answer.
    async fn bytes(&self, start: u64, end: u64, length: u64) -> Result<Bytes, FetchError>;
}

impl Slices {
    pub(super) fn new(disk: Arc<Disk>, key: Key, object: u64, slice_bytes: u64, length: u64) -> Self {
        Self { disk, key, object, slice_bytes, length, gone: Arc::default() }
    }

    /// The same with the length that its end has told.
    pub(crate) fn of_length(&self, length: u64) -> Self {
        Self { length, ..self.clone() }
    }

    /// Whether they were written for the object under this key.
    pub(super) fn are_of(&self, key: &Key) -> bool {
        self.key == *key
    }

    /// Whether some of it cannot be had any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Some of it cannot be had: who looks the object up from here on does not find it. What came under its key after it stays.
    async fn give_up(&self) {
        self.gone.store(true, Ordering::Release);
        self.disk.forget_object(&self.key, self.object).await;
    }

    fn slot(&self, number: u32) -> Slot {
        self.disk.slot_of_slice(self.object, number)
    }

    /// Stores a slice; waits for room. `false` when the disk takes nothing.
    pub(crate) async fn store(&self, number: u32, pieces: &[Bytes]) -> bool {
        let key = Bytes::copy_from_slice(self.key.text());
        let stamp = Stamp { order: self.object, ..Stamp::default() };
        let record = Record { kind: Kind::Slice, key, object: self.object, number, total: self.length, stamp, payload: Bytes::new() };
        self.disk.store_slice(self.slot(number), || record.encode(pieces)).await
    }

    /// A slice that has so many bytes; none when it was lost.
    async fn load(&self, number: u32, bytes: u64) -> Option<Bytes> {
        let record = self.disk.load_record(self.slot(number), self.slice_bytes).await?;
        let is_it = record.kind == Kind::Slice
            && record.object == self.object
            && record.number == number
            && record.key == self.key.text()
            && (record.total == 0 || self.length == 0 || record.total == self.length)
            && record.payload.len() as u64 == bytes;
        is_it.then_some(record.payload)
    }
}

/// A slice that is in memory, with the room that it takes.
#[derive(Debug)]
struct Held {
    number: u32,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// A slice on its way.
#[derive(Debug)]
struct Ahead {
    number: u32,
    task: JoinHandle<Option<Held>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One reader of slices.
pub(crate) struct Reading {
    slices: Slices,
    held: Option<Held>,
    /// A slice that was looked for ahead and is not there.
    lost: Option<u32>,
    /// What comes next, one slice after another.
    ahead: VecDeque<Ahead>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("held", &self.held.as_ref().map(|held| held.number)).finish()
    }
}

impl Reading {
    pub(crate) fn new(slices: Slices) -> Self {
        Self { slices, held: None, lost: None, ahead: VecDeque::new() }
    }

    /// The body has this length, which nobody may have known when the reader began.
    pub(crate) fn is_of_length(&mut self, length: u64) {
        self.slices.length = length;
    }

    /// Bytes from `at` on, at least one and none from `end` on. `stored` is how many bytes of the body are in slices. Safe to cancel.
    pub(crate) async fn next(&mut self, at: u64, end: u64, stored: u64, mend: Option<&Arc<dyn Mend>>) -> Result<Bytes, FetchError> {
        let slice_bytes = self.slices.slice_bytes;
        let number = u32::try_from(at / slice_bytes).map_err(|_| lost(at))?;
        let start = u64::from(number) * slice_bytes;
        let stop = (start + slice_bytes).min(stored);
        if self.held.as_ref().is_none_or(|held| held.number != number) {
            self.held = None;
            let ahead = self.taken_ahead(number).await;
            let is_lost = matches!(ahead, Some(None));
            self.held = ahead.flatten();
            if is_lost {
                self.lost = Some(number);
            }
        }
        if self.held.is_none() {
            let room = self.slices.disk.room_for_reader(slice_bytes);
            // What was not there a moment ago is not looked for again.
            let bytes = if self.lost == Some(number) { None } else { self.slices.load(number, stop - start).await };
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => self.mended(number, start, stop, mend).await?,
            };
            self.lost = None;
            let Some(room) = room else {
                let from = usize::try_from(at - start).unwrap_or(usize::MAX);
                let to = usize::try_from((at + PIECE_BYTES).min(stop).min(end) - start).unwrap_or(usize::MAX);
                return Ok(Bytes::copy_from_slice(&bytes[from..to]));
            };
            self.held = Some(Held { number, bytes, _room: room });
        }
        self.read_ahead(number, end.min(stored));
        let held = self.held.as_ref().ok_or_else(|| lost(at))?;
        let from = usize::try_from(at - start).unwrap_or(usize::MAX);
        let to = usize::try_from(stop.min(end) - start).unwrap_or(usize::MAX);
        Ok(held.bytes.slice(from..to))
    }

    /// A slice that was read ahead, if it was; nothing in it when it was lost.
    async fn taken_ahead(&mut self, number: u32) -> Option<Option<Held>> {
        // Who jumps does not want what lies between.
        while self.ahead.front().is_some_and(|ahead| ahead.number != number) {
            self.ahead.pop_front();
        }
        let held = (&mut self.ahead.front_mut()?.task).await.ok();
        self.ahead.pop_front();
        held
    }

    /// Begins to read the slices behind `number` that the reader wants some of, that are stored whole, and for which there is room.
    fn read_ahead(&mut self, number: u32, end: u64) {
        if self.ahead.front().is_some_and(|ahead| ahead.number != number + 1) {
            self.ahead.clear();
        }
        let first = self.ahead.back().map_or(number, |ahead| ahead.number) + 1;
        for next in first..=number.saturating_add(AHEAD_SLICES_MAX) {
            let start = u64::from(next) * self.slices.slice_bytes;
            if start >= end || !self.read_one_ahead(next, start, end) {
                return;
            }
        }
    }

    fn read_one_ahead(&mut self, number: u32, start: u64, end: u64) -> bool {
        let stop = start + self.slices.slice_bytes;
        let stop = if self.slices.length == 0 { stop } else { stop.min(self.slices.length) };
        if stop > end && self.slices.length == 0 {
            return false;
        }
        let Some(room) = self.slices.disk.room_to_read_ahead(self.slices.slice_bytes) else { return false };
        let slices = self.slices.clone();
        let task = tokio::spawn(async move {
            let bytes = slices.load(number, stop - start).await?;
            Some(Held { number, bytes, _room: room })
        });
        self.ahead.push_back(Ahead { number, task });
        true
    }

    /// A lost slice from upstream, which is stored again on the way.
    async fn mended(&self, number: u32, start: u64, stop: u64, mend: Option<&Arc<dyn Mend>>) -> Result<Bytes, FetchError> {
        let slices = &self.slices;
        slices.disk.lost.inc();
        let mended = match mend {
            Some(mend) => mend.bytes(start, stop, slices.length).await,
            None => Err(lost(start)),
        };
        match mended {
            Ok(bytes) => {
                slices.disk.mended.inc();
                slices.store(number, std::slice::from_ref(&bytes)).await;
                Ok(bytes)
            }
            Err(error) => {
                slices.give_up().await;
                Err(error)
            }
        }
    }
}

fn lost(at: u64) -> FetchError {
    FetchError { kind: FetchErrorKind::Cut, detail: format!("what was stored of the body from byte {at} on was lost"), retry_after: None }
}
