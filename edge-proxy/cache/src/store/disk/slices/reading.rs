//! One reader of slices: the slice it is in, and the next ones read ahead.
//!
//! Who finds no room for a slice that is stored reads it in small pieces. One that is not here is waited for until there is room, with all who want
//! it; where there is none in time each reads it straight from upstream, and keeps nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::flight::{Ended, RESUMES_MAX};
use super::{Got, Held, Mend, Missed, Slices, lost};
use crate::fetch::{Body, FetchError};

/// What a reader without room for a slice takes of it at once, in bytes.
const PIECE_BYTES: u64 = 64 << 10;
/// How many slices one reader has ahead at least once one was stored, or came faster than it was read: the device, the check and the client are to
/// work at the same time.
const AHEAD_SLICES_MIN: u32 = 2;
/// How many it has ahead at most.
const AHEAD_SLICES_MAX: u32 = 16;

/// A slice that is looked for, and sent for where it is not there.
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

/// A slice that nobody keeps, straight from upstream.
struct Through {
    body: Box<dyn Body>,
    /// The next byte of the body.
    at: u64,
    /// The byte after the last that it owes.
    stop: u64,
}

/// See the module.
pub(crate) struct Reading {
    slices: Slices,
    held: Option<Held>,
    /// What comes next, one slice after another.
    ahead: VecDeque<Ahead>,
    /// How many slices are to be ahead.
    ahead_wanted: u32,
    /// It waited for bytes of the slice that it is in.
    has_waited: bool,
    through: Option<Through>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("held", &self.held.as_ref().map(Held::number)).finish_non_exhaustive()
    }
}

impl Reading {
    pub(crate) fn new(slices: Slices) -> Self {
        Self { slices, held: None, ahead: VecDeque::new(), ahead_wanted: 1, has_waited: false, through: None }
    }

    /// The body has this length, which nobody may have known when the reader began.
    pub(crate) fn is_of_length(&mut self, length: u64) {
        self.slices.length = length;
    }

    /// Bytes from `at` on, at least one and none from `end` on. `stored` is how many bytes of the body are in slices, or can be fetched as such.
    /// Safe to cancel.
    pub(crate) async fn next(&mut self, at: u64, end: u64, stored: u64, mend: Option<&Arc<dyn Mend>>) -> Result<Bytes, FetchError> {
        let slice_bytes = self.slices.slice_bytes;
        let number = u32::try_from(at / slice_bytes).map_err(|_| lost(at))?;
        let start = u64::from(number) * slice_bytes;
        let stop = (start + slice_bytes).min(stored);
        if self.through.as_ref().is_some_and(|through| through.at == at && through.stop == stop.min(end)) {
            return self.next_through(at, stop.min(end), mend).await;
        }
        if self.held.as_ref().is_none_or(|held| held.number() != number) {
            self.held = None;
            let next = self.taken_ahead(number).await;
            self.pace(next.as_ref());
            self.held = next;
        }
        if self.held.is_none() {
            let room = self.slices.room();
            if room.is_none() {
                // Who waits for room keeps none from others.
                self.ahead.clear();
            }
            match self.slices.get(number, (start, stop), room, mend).await {
                Got::Held(held) => {
                    self.pace(Some(&held));
                    self.held = Some(held);
                }
                Got::Unkept(bytes) => {
                    let from = usize::try_from(at - start).unwrap_or(usize::MAX);
                    let to = usize::try_from((at + PIECE_BYTES).min(stop).min(end) - start).unwrap_or(usize::MAX);
                    return Ok(Bytes::copy_from_slice(&bytes[from..to]));
                }
                Got::Nothing => return self.next_through(at, stop.min(end), mend).await,
            }
        }
        self.read_ahead(number, end.min(stored), mend);
        let bytes = match self.held.as_ref().ok_or_else(|| lost(at))? {
            Held::Stored(slice) => {
                let bytes = slice.bytes().ok_or_else(|| lost(at))?;
                Ok(bytes.slice(usize::try_from(at - start).unwrap_or(usize::MAX)..))
            }
            Held::Coming(flight) => match flight.ready(at) {
                Some(bytes) => bytes,
                None => {
                    self.has_waited = true;
                    flight.next(at).await
                }
            },
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(Ended::Failed(error)) => return Err(error),
            Err(Ended::Alone) => {
                self.held = None;
                return self.next_through(at, stop.min(end), mend).await;
            }
        };
        let to = usize::try_from(stop.min(end) - at).unwrap_or(usize::MAX);
        Ok(if bytes.len() > to { bytes.slice(..to) } else { bytes })
    }

    /// A slice that was read ahead, if it was and has not failed since.
    async fn taken_ahead(&mut self, number: u32) -> Option<Held> {
        // Who jumps does not want what lies between.
        while self.ahead.front().is_some_and(|ahead| ahead.number != number) {
            self.ahead.pop_front();
            self.ahead_wanted = (self.ahead_wanted / 2).max(1);
        }
        let held = (&mut self.ahead.front_mut()?.task).await.ok();
        self.ahead.pop_front();
        held.flatten().filter(|held| !matches!(held, Held::Coming(flight) if flight.has_failed()))
    }

    /// Has more slices ahead for who waited, fewer for who does not even wait for the last of them.
    fn pace(&mut self, next: Option<&Held>) {
        let Some(next) = next else { return };
        if std::mem::take(&mut self.has_waited) {
            self.ahead_wanted = (self.ahead_wanted * 2).min(AHEAD_SLICES_MAX);
            return;
        }
        let is_last_here = self.ahead.back().is_none_or(|last| {
            last.task.is_finished() && self.slices.disk.flights.get(self.slices.object, last.number).is_none_or(|flight| flight.is_whole())
        });
        let is_here = match next {
            Held::Stored(_) => true,
            Held::Coming(flight) => flight.is_whole(),
        };
        if is_here && is_last_here {
            self.ahead_wanted = self.ahead_wanted.saturating_sub(1).max(AHEAD_SLICES_MIN);
        }
    }

    /// Begins to get the slices behind `number` that the reader wants some of, and for which there is room.
    fn read_ahead(&mut self, number: u32, end: u64, mend: Option<&Arc<dyn Mend>>) {
        if self.ahead.front().is_some_and(|ahead| ahead.number != number + 1) {
            self.ahead.clear();
        }
        let first = self.ahead.back().map_or(number, |ahead| ahead.number) + 1;
        for next in first..=number.saturating_add(self.ahead_wanted) {
            let start = u64::from(next) * self.slices.slice_bytes;
            if start >= end || !self.get_ahead(next, start, end, mend) {
                return;
            }
        }
    }

    fn get_ahead(&mut self, number: u32, start: u64, end: u64, mend: Option<&Arc<dyn Mend>>) -> bool {
        let stop = start + self.slices.slice_bytes;
        let stop = if self.slices.length == 0 { stop } else { stop.min(self.slices.length) };
        if stop > end && self.slices.length == 0 {
            return false;
        }
        let Some(room) = self.slices.disk.room_to_read_ahead(self.slices.slice_bytes) else { return false };
        let (slices, mend) = (self.slices.clone(), mend.cloned());
        let task = tokio::spawn(async move {
            match slices.get(number, (start, stop), Some(room), mend.as_ref()).await {
                Got::Held(held) => Some(held),
                Got::Unkept(_) | Got::Nothing => None,
            }
        });
        self.ahead.push_back(Ahead { number, task });
        true
    }

    /// Bytes from `at` on, and none from `stop` on, of a slice that is not here and for which there is no room.
    async fn next_through(&mut self, at: u64, stop: u64, mend: Option<&Arc<dyn Mend>>) -> Result<Bytes, FetchError> {
        let Some(mend) = mend else {
            self.slices.disk.lost.inc();
            self.slices.give_up().await;
            return Err(lost(at));
        };
        let mut resumes = 0;
        loop {
            // Out of its place while it is read: a body must not be read on after a read that was dropped.
            let error = match self.through.take().filter(|through| through.at == at && through.stop == stop) {
                Some(through) => through.next().await,
                None => match mend.open(at, stop, self.slices.length).await {
                    Ok(body) => Through { body, at, stop }.next().await,
                    Err(Missed::Gone(error)) => {
                        self.slices.give_up().await;
                        return Err(error);
                    }
                    Err(Missed::Refused(error)) => return Err(error),
                    Err(Missed::Failed(error)) => Err(error),
                },
            };
            match error {
                Ok((bytes, rest)) => {
                    self.through = rest;
                    return Ok(bytes);
                }
                Err(error) if resumes == RESUMES_MAX || !mend.may_repeat() => return Err(error),
                Err(_) => resumes += 1,
            }
        }
    }
}

impl Through {
    /// The next bytes, and what is left.
    async fn next(mut self) -> Result<(Bytes, Option<Self>), FetchError> {
        let owed = self.stop - self.at;
        let Some(bytes) = self.body.chunk().await? else { return Err(crate::answer::cut_short(owed)) };
        if bytes.len() as u64 > owed {
            return Err(crate::answer::too_long());
        }
        self.at += bytes.len() as u64;
        Ok((bytes, (self.at < self.stop).then_some(self)))
    }
}
