//! Slices on their way from upstream: one fetch of each, whoever needs it.
//!
//! Owns the bytes that have come of a slice, which its readers follow, and how it is fetched on from where it broke. The fetch is a task of its
//! own, so that no reader's leaving stops what others read; it ends with its slice. Where there is no room for it, the task waits for that, and all
//! who want the slice wait with it, rather than fetch it each by themselves. The locks cover the bytes of one slice and the map, and are never held
//! over a wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::{Mend, Missed, Slices, lost};
use crate::answer::cut_short;
use crate::fetch::{Body, FetchError};

/// How often a slice that was cut short is asked for again from where it ended.
pub(super) const RESUMES_MAX: usize = 3;

/// How long a slice that has come waits for its place in line to be written; it is not kept then. Shorter than the wait for room
/// ([`super::super::ROOM_MAX`]), so that a device that stands still holds no reader up for longer than this.
const PLACE_MAX: Duration = Duration::from_secs(2);

/// Why no more of a slice comes.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// Upstream did not send it.
    Failed(FetchError),
    /// There was no room for it, or the request that it was asked for by was refused: who wants it reads it by himself.
    Alone,
}

/// One slice.
#[derive(Debug)]
pub(in crate::store::disk) struct Flight {
    pub(super) number: u32,
    /// Where in the body it begins, in bytes.
    start: u64,
    /// Where it ends.
    stop: u64,
    state: Mutex<State>,
    /// Told to readers: more bytes, or the end.
    grown: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What has come: pieces of one allocation, which is as large as the slice, each with its place in the body.
    pieces: Vec<(u64, Bytes)>,
    spare: BytesMut,
    len: u64,
    ended: Option<Ended>,
    /// Its room, once it has some; nothing is fetched before.
    room: Option<OwnedSemaphorePermit>,
}

impl Flight {
    pub(super) fn new(number: u32, start: u64, stop: u64, room: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        Arc::new(Self { number, start, stop, state: Mutex::new(State { room, ..State::default() }), grown: Notify::new() })
    }

    /// Whether all of it has come.
    pub(super) fn is_whole(&self) -> bool {
        self.state.lock().len == self.stop - self.start
    }

    /// Whether no more of it comes, and some is missing.
    pub(super) fn has_failed(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    /// What has come from byte `at` of the body on, at least one byte; none while that is nothing.
    pub(super) fn ready(&self, at: u64) -> Option<Result<Bytes, Ended>> {
        let state = self.state.lock();
        if at >= self.stop {
            return Some(Err(Ended::Failed(lost(at))));
        }
        if at < self.start + state.len {
            let index = state.pieces.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
            let (start, bytes) = &state.pieces[index];
            return Some(Ok(bytes.slice(usize::try_from(at - start).unwrap_or(usize::MAX)..)));
        }
        state.ended.clone().map(Err)
    }

    /// The same, waiting for it. Safe to cancel.
    pub(super) async fn next(&self, at: u64) -> Result<Bytes, Ended> {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if let Some(ready) = self.ready(at) {
                return ready;
            }
            grown.await;
        }
    }

    /// Where in the body the next byte belongs.
    fn at(&self) -> u64 {
        self.start + self.state.lock().len
    }

    /// Takes what is of this slice; whether that is all of it.
    fn append(&self, bytes: &[u8]) -> bool {
        let mut state = self.state.lock();
        let owed = usize::try_from(self.stop - self.start - state.len).unwrap_or(usize::MAX);
        if state.len == 0 && state.pieces.is_empty() {
            state.spare.reserve(owed);
        }
        // Copied, so that no larger buffer of the transport stays alive behind it.
        let taken = &bytes[..bytes.len().min(owed)];
        state.spare.extend_from_slice(taken);
        let (at, piece) = (self.start + state.len, state.spare.split().freeze());
        state.len += piece.len() as u64;
        state.pieces.push((at, piece));
        let is_whole = taken.len() == owed;
        drop(state);
        self.grown.notify_waiters();
        is_whole
    }

    /// No more of it comes; the first word counts, and none does of what is whole.
    fn end(&self, how: Ended) {
        if !self.is_whole() {
            self.state.lock().ended.get_or_insert(how);
        }
        self.grown.notify_waiters();
    }

    fn has_room(&self) -> bool {
        self.state.lock().room.is_some()
    }

    /// Waits for room; whether there was some in time.
    async fn wait_for_room(&self, slices: &Slices) -> bool {
        let room = slices.disk.wait_for_room(slices.slice_bytes).await;
        self.state.lock().room = room;
        self.has_room()
    }

    fn pieces(&self) -> Vec<Bytes> {
        self.state.lock().pieces.iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Reads the slice to its end, on from where it broke when it does.
    async fn fetch(&self, slices: &Slices, mend: &Arc<dyn Mend>, opened: Option<Box<dyn Body>>) -> Result<(), Missed> {
        let mut opened = opened;
        let mut resumes = 0;
        loop {
            let body = match opened.take() {
                Some(body) => Ok(body),
                None => mend.open(self.at(), self.stop, slices.length).await,
            };
            let error = match body {
                Ok(body) => match self.read(body).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                Err(Missed::Failed(error)) => error,
                Err(missed) => return Err(missed),
            };
            if resumes == RESUMES_MAX || !mend.may_repeat() {
                return Err(Missed::Failed(error));
            }
            resumes += 1;
        }
    }

    async fn read(&self, mut body: Box<dyn Body>) -> Result<(), FetchError> {
        while let Some(bytes) = body.chunk().await? {
            if self.append(&bytes) {
                return Ok(());
            }
        }
        Err(cut_short(self.stop - self.at()))
    }
}

/// All slices on their way, by object and number; bounded by the room that each of them has.
#[derive(Debug, Default)]
pub(in crate::store::disk) struct Flights {
    map: Mutex<HashMap<(u64, u32), Arc<Flight>>>,
    landed: Notify,
}

impl Flights {
    /// The slice, if it is on its way.
    pub(super) fn get(&self, object: u64, number: u32) -> Option<Arc<Flight>> {
        self.map.lock().get(&(object, number)).filter(|flight| !flight.has_failed()).map(Arc::clone)
    }

    /// The same, or a new one; whether it is. None when it need not be fetched any more.
    pub(super) fn join(
        &self,
        object: u64,
        number: u32,
        is_there: impl FnOnce() -> bool,
        begin: impl FnOnce() -> Arc<Flight>,
    ) -> Option<(Arc<Flight>, bool)> {
        let mut map = self.map.lock();
        if let Some(flight) = map.get(&(object, number)).filter(|flight| !flight.has_failed()) {
            return Some((Arc::clone(flight), false));
        }
        if is_there() {
            return None;
        }
        let flight = begin();
        map.insert((object, number), Arc::clone(&flight));
        Some((flight, true))
    }

    /// Takes a slice off that nobody waits for any more; whether it was so.
    fn call_off(&self, object: u64, flight: &Arc<Flight>) -> bool {
        let mut map = self.map.lock();
        // The map has it, and its own task does.
        let is_alone = Arc::strong_count(flight) <= 2;
        if is_alone {
            map.remove(&(object, flight.number));
        }
        is_alone
    }

    fn land(&self, object: u64, flight: &Arc<Flight>) {
        let mut map = self.map.lock();
        if map.get(&(object, flight.number)).is_some_and(|there| Arc::ptr_eq(there, flight)) {
            map.remove(&(object, flight.number));
        }
        drop(map);
        self.landed.notify_waiters();
    }

    /// Waits until nothing is on its way.
    pub(in crate::store::disk) async fn settled(&self) {
        loop {
            let landed = self.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if self.map.lock().is_empty() {
                return;
            }
            landed.await;
        }
    }
}

/// Ends the flight when its task does, however that comes, so that no reader waits forever.
struct Landing {
    slices: Slices,
    flight: Arc<Flight>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flight.end(Ended::Failed(lost(self.flight.at())));
        self.slices.disk.flights.land(self.slices.object, &self.flight);
    }
}

/// Sends a flight on its way.
pub(super) fn depart(slices: Slices, flight: Arc<Flight>, mend: Arc<dyn Mend>, opened: Option<Box<dyn Body>>) {
    let landing = Landing { slices, flight };
    tokio::spawn(async move {
        let Landing { slices, flight } = &landing;
        let waited = !flight.has_room();
        if waited && !flight.wait_for_room(slices).await {
            return flight.end(Ended::Alone);
        }
        if waited && slices.disk.flights.call_off(slices.object, flight) {
            return;
        }
        slices.count_fetch();
        match flight.fetch(slices, &mend, opened).await {
            Ok(()) => {
                if !slices.is_sparse {
                    slices.disk.mended.inc();
                }
                // The slice keeps its room until it is in line to be written: a slow device slows the fetches down.
                if tokio::time::timeout(PLACE_MAX, slices.store(flight.number, &flight.pieces())).await.is_err() {
                    slices.disk.dropped_slice();
                }
            }
            // Who else wants it asks by himself.
            Err(Missed::Refused(_)) => flight.end(Ended::Alone),
            Err(missed) => {
                if matches!(missed, Missed::Gone(_)) {
                    slices.give_up().await;
                }
                flight.end(Ended::Failed(missed.error()));
            }
        }
    });
}
