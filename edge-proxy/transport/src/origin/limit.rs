//! How many requests one server is asked at once, and who waits for a place: a bounded queue in which the keys take turns.
//!
//! A [`Place`] is given back when it is dropped; one who stops waiting leaves the queue at once. The lock covers the counts and the queue, and is
//! held while a place comes or goes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use skerry_config::site::OriginLimits;
use tokio::sync::oneshot;

/// See the module.
#[derive(Debug)]
pub(crate) struct Limit(Mutex<State>);

#[derive(Debug)]
struct State {
    bounds: OriginLimits,
    running: u32,
    waiting: u32,
    /// The keys for which somebody waits, in the order of their turns.
    turns: VecDeque<u64>,
    /// Who waits for each of them; never an empty line.
    lines: HashMap<u64, VecDeque<Waiter>>,
    /// The number of the next one who waits.
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    told: oneshot::Sender<()>,
}

/// One of the requests that run.
#[derive(Debug)]
pub(crate) struct Place(Arc<Limit>);

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many wait as may.
    Queue,
    /// None was given back in time.
    Time,
}

/// One who waits, until he has a place.
struct Waiting<'a> {
    limit: &'a Arc<Limit>,
    key: u64,
    number: u64,
    place: bool,
}

impl Limit {
    /// A limit with nobody in it.
    pub(crate) fn new(bounds: OriginLimits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { bounds, running: 0, waiting: 0, turns: VecDeque::new(), lines: HashMap::new(), next: 0 })))
    }

    /// Puts other bounds in force. A lower one ends nothing that runs or waits, a higher one lets in who waits.
    pub(crate) fn set(&self, bounds: OriginLimits) {
        let mut state = self.0.lock();
        state.bounds = bounds;
        while state.running < state.bounds.concurrent && state.let_in() {
            state.running += 1;
        }
    }

    /// A place, as soon as one is free and it is the turn of `key`.
    ///
    /// # Errors
    /// When as many wait as may, or it takes too long.
    pub(crate) async fn enter(self: &Arc<Self>, key: u64) -> Result<Place, Full> {
        // In this order, so that one who gives up leaves the queue before he stops listening.
        let (mut told, mut waiting, time) = {
            let mut state = self.0.lock();
            if state.running < state.bounds.concurrent {
                state.running += 1;
                return Ok(Place(Arc::clone(self)));
            }
            if state.waiting >= state.bounds.queue {
                return Err(Full::Queue);
            }
            let (told, number) = state.line_up(key);
            (told, Waiting { limit: self, key, number, place: false }, state.bounds.queue_time.0)
        };
        match tokio::time::timeout(time, &mut told).await {
            Ok(Ok(())) => {
                waiting.place = true;
                Ok(Place(Arc::clone(self)))
            }
            _ => Err(Full::Time),
        }
    }

    /// Whether a request would have a place at once.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.0.lock();
        state.running < state.bounds.concurrent
    }

    /// The requests that run, and those that wait.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let state = self.0.lock();
        (state.running, state.waiting)
    }

    fn leave(&self) {
        let mut state = self.0.lock();
        // The place goes to the next one, unless there are fewer by now.
        if state.running > state.bounds.concurrent || !state.let_in() {
            state.running -= 1;
        }
    }
}

impl State {
    fn line_up(&mut self, key: u64) -> (oneshot::Receiver<()>, u64) {
        let (told, hears) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        let line = self.lines.entry(key).or_default();
        if line.is_empty() {
            self.turns.push_back(key);
        }
        line.push_back(Waiter { number, told });
        (hears, number)
    }

    /// Tells the one whose turn it is; whether there is one.
    fn let_in(&mut self) -> bool {
        let Some(key) = self.turns.pop_front() else { return false };
        let Some(line) = self.lines.get_mut(&key) else { return false };
        let Some(waiter) = line.pop_front() else { return false };
        if line.is_empty() {
            self.lines.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        self.waiting -= 1;
        // Who waits hears it: he leaves the queue under the same lock before he stops listening.
        waiter.told.send(()).is_ok()
    }

    /// Takes somebody out of the queue; whether he was in it.
    fn step_out(&mut self, key: u64, number: u64) -> bool {
        let Some(line) = self.lines.get_mut(&key) else { return false };
        let Some(at) = line.iter().position(|waiter| waiter.number == number) else { return false };
        line.remove(at);
        if line.is_empty() {
            self.lines.remove(&key);
            self.turns.retain(|turn| *turn != key);
        }
        self.waiting -= 1;
        true
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.place {
            return;
        }
        let was_in = self.limit.0.lock().step_out(self.key, self.number);
        if !was_in {
            // He was let in and did not take the place.
            self.limit.leave();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests;
