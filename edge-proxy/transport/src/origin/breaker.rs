//! When a server is left alone: after errors in a row, and for as long as it asked to be. Time is an argument.
//!
//! Closed, everything goes; open, nothing does until a time has come; then half open, where one request tries whether it is well again. The lock
//! covers the phase.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skerry_config::site::Breaker as Settings;

/// Answers in a row with 429 and `Retry-After` before they are taken for the server's state: one of them may be about one client alone.
const BUSY_IN_A_ROW: u32 = 3;
/// How many times the time to be left alone doubles while each try fails.
const DOUBLINGS_MAX: u32 = 5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug)]
struct State {
    settings: Settings,
    phase: Phase,
    /// How many times in a row it opened without having been closed.
    opened: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed { errors: u32, busy: u32 },
    Open { until: Instant },
    HalfOpen { is_tried: bool },
}

/// How a request fared, as far as its server's state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An answer.
    Fine,
    /// No connection, no answer, or one that says that something is wrong.
    Error,
    /// 503: come back after this time.
    Unavailable(Duration),
    /// 429: come back after this time.
    Busy(Duration),
}

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Ask.
    Ask,
    /// Ask: nobody else may until it is known how that fared.
    Try,
    /// Ask again after this time.
    Wait(Duration),
}

/// What became of a breaker by what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It opened, for this time.
    Opened(Duration),
    /// It closed.
    Closed,
}

impl Breaker {
    /// A closed one.
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Mutex::new(State { settings, phase: Phase::Closed { errors: 0, busy: 0 }, opened: 0 }))
    }

    /// Puts other settings in force, for what is heard from here on.
    pub(crate) fn set(&self, settings: Settings) {
        self.0.lock().settings = settings;
    }

    /// Whether the server may be asked.
    pub(crate) fn ask(&self, now: Instant) -> Leave {
        let mut state = self.0.lock();
        match state.phase {
            Phase::Closed { .. } => Leave::Ask,
            Phase::Open { until } if now < until => Leave::Wait(until - now),
            Phase::HalfOpen { is_tried: true } => Leave::Wait(state.settings.open.0),
            Phase::Open { .. } | Phase::HalfOpen { is_tried: false } => {
                state.phase = Phase::HalfOpen { is_tried: true };
                Leave::Try
            }
        }
    }

    /// For how long a request would be refused, if it would be.
    pub(crate) fn waits(&self, now: Instant) -> Option<Duration> {
        let state = self.0.lock();
        match state.phase {
            Phase::Open { until } if now < until => Some(until - now),
            Phase::HalfOpen { is_tried: true } => Some(state.settings.open.0),
            _ => None,
        }
    }

    /// Takes note of how a request fared; `is_try` of the one that had leave to try.
    pub(crate) fn heard(&self, heard: Heard, is_try: bool, now: Instant) -> Option<Change> {
        let mut state = self.0.lock();
        match state.phase {
            Phase::Closed { errors, busy } => state.heard_closed(heard, errors, busy, now),
            // Requests from before it opened end when they do.
            Phase::Open { .. } | Phase::HalfOpen { .. } if !is_try => None,
            Phase::Open { .. } | Phase::HalfOpen { .. } => match heard {
                Heard::Fine => {
                    state.phase = Phase::Closed { errors: 0, busy: 0 };
                    state.opened = 0;
                    Some(Change::Closed)
                }
                Heard::Error => Some(state.open(None, now)),
                Heard::Unavailable(wait) | Heard::Busy(wait) => Some(state.open(Some(wait), now)),
            },
        }
    }

    /// Gives back the leave to try, of a request that ended before anything was heard.
    pub(crate) fn untried(&self) {
        let mut state = self.0.lock();
        if state.phase == (Phase::HalfOpen { is_tried: true }) {
            state.phase = Phase::HalfOpen { is_tried: false };
        }
    }
}

impl State {
    fn heard_closed(&mut self, heard: Heard, errors: u32, busy: u32, now: Instant) -> Option<Change> {
        let (errors, busy, wait) = match heard {
            Heard::Fine => (0, 0, None),
            Heard::Error => (errors.saturating_add(1), busy, None),
            Heard::Unavailable(wait) => (errors.saturating_add(1), busy, Some(wait)),
            Heard::Busy(wait) => (errors, busy.saturating_add(1), (busy.saturating_add(1) >= BUSY_IN_A_ROW).then_some(wait)),
        };
        self.phase = Phase::Closed { errors, busy };
        let wait = wait.filter(|_| !self.settings.retry_after_max.0.is_zero());
        if wait.is_none() && (self.settings.errors == 0 || errors < self.settings.errors) {
            return None;
        }
        Some(self.open(wait, now))
    }

    fn open(&mut self, wait: Option<Duration>, now: Instant) -> Change {
        let grown = self.settings.open.0 * (1 << self.opened.min(DOUBLINGS_MAX));
        let wait = wait.map_or(grown, |wait| wait.min(self.settings.retry_after_max.0).max(self.settings.open.0));
        self.opened = self.opened.saturating_add(1);
        self.phase = Phase::Open { until: now + wait };
        Change::Opened(wait)
    }
}

#[cfg(test)]
mod tests;
