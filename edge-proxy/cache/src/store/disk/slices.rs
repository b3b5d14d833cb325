//! The body of a large object on disk: slices of one size, each a record of its own.
//!
//! Owns what of a body is stored, and what is lost or has not come yet and is fetched ([`flight`]); what readers hold together is [`shared`]'s, how one of
//! them gets one byte after another [`reading`]'s. What readers and slices on their way hold is bounded by [`super::Disk`]'s room for readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use self::flight::Flight;
pub(super) use self::flight::Flights;
pub(crate) use self::reading::Reading;
pub(super) use self::shared::Shared;
use self::shared::Slice;
use super::Disk;
use super::log::Slot;
use super::record::{Kind, Record, Stamp};
use crate::fetch::{Body, FetchError, FetchErrorKind};
use crate::key::Key;

mod flight;
mod reading;
mod shared;

/// How often a slice is looked for that is fetched and stored by somebody else meanwhile.
const LOOKS_MAX: usize = 3;

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
    /// Its head was stored before its slices, which come when they are asked for.
    pub(crate) is_sparse: bool,
    /// Some of it cannot be had any more.
    gone: Arc<AtomicBool>,
}

/// Gets bytes of a representation from upstream that are not here.
#[async_trait]
pub(crate) trait Mend: Send + Sync {
    /// The bytes from `start` up to `end`, of the very same representation, whose length is 0 while nobody knows it.
    ///
    /// # Errors
    /// When upstream does not have them any more, or gives no answer.
    async fn open(&self, start: u64, end: u64, length: u64) -> Result<Box<dyn Body>, Missed>;

    /// Whether what failed may be asked for once more; each time this is said counts as one time.
    fn may_repeat(&self) -> bool;
}

/// Why upstream did not send some bytes of a representation.
#[derive(Clone, Debug)]
pub(crate) enum Missed {
    /// It has another representation by now, or sends no parts of it: nobody gets them any more.
    Gone(FetchError),
    /// It gave no answer this time.
    Failed(FetchError),
    /// It does not answer a request like this one; another client's may be answered.
    Refused(FetchError),
}

impl Missed {
    pub(crate) fn error(self) -> FetchError {
        match self {
            Self::Gone(error) | Self::Failed(error) | Self::Refused(error) => error,
        }
    }
}

/// A slice that is in memory.
#[derive(Debug)]
enum Held {
    Stored(Arc<Slice>),
    Coming(Arc<Flight>),
}

impl Held {
    fn number(&self) -> u32 {
        match self {
            Self::Stored(slice) => slice.number(),
            Self::Coming(flight) => flight.number,
        }
    }
}

/// What a look for a slice came to.
#[derive(Debug)]
enum Got {
    Held(Held),
    /// It is stored; there is no room to keep it.
    Unkept(Bytes),
    /// It is not here, and cannot be sent for, or there was no room lately however long one waited.
    Nothing,
}

impl Slices {
    pub(super) fn new(disk: Arc<Disk>, key: Key, object: u64, slice_bytes: u64, length: u64, is_sparse: bool) -> Self {
        Self { disk, key, object, slice_bytes, length, is_sparse, gone: Arc::default() }
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

    /// A slice that goes from `start` up to `stop`: from whoever fetches it, from the disk, or from upstream.
    async fn get(
        &self,
        number: u32,
        (start, stop): (u64, u64),
        mut room: Option<OwnedSemaphorePermit>,
        mend: Option<&Arc<dyn Mend>>,
    ) -> Got {
        for _ in 0..LOOKS_MAX {
            if let Some(flight) = self.disk.flights.get(self.object, number) {
                return Got::Held(Held::Coming(flight));
            }
            let was_there = self.disk.queue.may_hold(self.slot(number));
            if was_there && let Some(got) = self.get_stored(number, stop - start, &mut room).await {
                return got;
            }
            let Some(mend) = mend.filter(|_| room.is_some() || !self.disk.is_crowded()) else { return Got::Nothing };
            // Who fetched it since it was looked for has stored it by now.
            let is_there = || !was_there && self.disk.queue.may_hold(self.slot(number));
            if let Some(flight) = self.send_for(number, (start, stop), &mut room, mend, None, is_there) {
                return Got::Held(Held::Coming(flight));
            }
        }
        Got::Nothing
    }

    /// A slice from the disk: together with all who are in it, or alone where there is no room. None when it was lost, and the room is there again.
    async fn get_stored(&self, number: u32, bytes: u64, room: &mut Option<OwnedSemaphorePermit>) -> Option<Got> {
        let Some(slice) = self.disk.shared.join(self.object, number, room) else {
            return self.load(number, bytes).await.map(Got::Unkept);
        };
        match slice.read(self.load(number, bytes)).await {
            // Who began while nobody knew where the body ends took another length for that of the last one.
            Some(read) if read.len() as u64 == bytes => Some(Got::Held(Held::Stored(slice))),
            Some(_) => self.load(number, bytes).await.map(Got::Unkept),
            None => {
                *room = room.take().or_else(|| slice.give_back());
                None
            }
        }
    }

    /// Has a slice that goes from `start` up to `stop` fetched, once there is room, or read from `opened`, which has its bytes and perhaps more
    /// behind them.
    fn send_for(
        &self,
        number: u32,
        (start, stop): (u64, u64),
        room: &mut Option<OwnedSemaphorePermit>,
        mend: &Arc<dyn Mend>,
        opened: Option<Box<dyn Body>>,
        is_there: impl FnOnce() -> bool,
    ) -> Option<Arc<Flight>> {
        let begin = || Flight::new(number, start, stop, room.take());
        let (flight, is_new) = self.disk.flights.join(self.object, number, is_there, begin)?;
        if is_new {
            flight::depart(self.clone(), Arc::clone(&flight), Arc::clone(mend), opened);
        }
        Some(flight)
    }

    /// Counts a slice that goes on its way.
    fn count_fetch(&self) {
        if self.is_sparse {
            self.disk.fetched.inc();
        } else {
            self.disk.lost.inc();
        }
    }

    /// Room for one of them.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.disk.room_for_reader(self.slice_bytes)
    }

    /// The same for a slice whose bytes are on their way, unless it is here.
    pub(crate) fn take_in(&self, number: u32, mend: &Arc<dyn Mend>, opened: Box<dyn Body>, room: OwnedSemaphorePermit) {
        let start = u64::from(number) * self.slice_bytes;
        let stop = (start + self.slice_bytes).min(self.length);
        let is_there = || self.disk.queue.may_hold(self.slot(number));
        self.send_for(number, (start, stop), &mut Some(room), mend, Some(opened), is_there);
    }
}

fn lost(at: u64) -> FetchError {
    FetchError { kind: FetchErrorKind::Cut, detail: format!("what was stored of the body from byte {at} on was lost"), retry_after: None }
}
