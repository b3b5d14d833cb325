//! Whether a server is well, by what became of its requests and by what checks of it say. Time is an argument.
//!
//! A server that fails too often is taken out for a time that grows each time and shrinks again while it is well; whether it may go is for its pool
//! to say, so that not all go. What checks say holds until they say otherwise. The lock covers what is counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skerry_config::site::Ejection;

/// The time over which errors are counted as a share of requests.
const WINDOW: Duration = Duration::from_secs(10);
/// Requests in that time below which their share says nothing.
const WINDOW_REQUESTS_MIN: u32 = 20;
/// How many times as long the longest time out is as the first.
const GROWTH_MAX: u32 = 30;

/// The time that halves what a server is out for, when it is well for so many times as long as it is out at first.
const FORGIVEN_AFTER: u32 = 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
    /// Whether the checks say that it is down.
    down: AtomicBool,
}

#[derive(Debug)]
struct State {
    settings: Ejection,
    /// Errors in a row.
    errors: u32,
    window: Window,
    /// Until when it is out.
    out_until: Option<Instant>,
    /// How many times as long as the first time it is out next.
    growth: u32,
    /// Since when it is not out.
    well_since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    requests: u32,
    errors: u32,
}

impl Health {
    /// Of a server of which nothing is known.
    pub(crate) fn new(settings: Ejection, now: Instant) -> Self {
        let window = Window { began: now, requests: 0, errors: 0 };
        let state = State { settings, errors: 0, window, out_until: None, growth: 1, well_since: now };
        Self { state: Mutex::new(state), down: AtomicBool::new(false) }
    }

    /// Puts other settings in force.
    pub(crate) fn set(&self, settings: Ejection) {
        self.state.lock().settings = settings;
    }

    /// Takes note of how a request fared; whether the server is to go out, if its pool lets it.
    pub(crate) fn heard(&self, error: bool, now: Instant) -> bool {
        let mut state = self.state.lock();
        if now.saturating_duration_since(state.window.began) > WINDOW {
            state.window = Window { began: now, requests: 0, errors: 0 };
        }
        state.window.requests += 1;
        if !error {
            state.errors = 0;
            return false;
        }
        state.errors += 1;
        state.window.errors += 1;
        let Ejection { errors, percent, .. } = state.settings;
        let window = state.window;
        let in_a_row = errors > 0 && state.errors >= errors;
        let too_many = percent > 0 && window.requests >= WINDOW_REQUESTS_MIN && window.errors * 100 >= window.requests * percent;
        (in_a_row || too_many) && !state.is_out(now)
    }

    /// Takes the server out; for how long.
    pub(crate) fn eject(&self, now: Instant) -> Duration {
        let mut state = self.state.lock();
        let time = state.settings.time.0;
        let well = now.saturating_duration_since(state.well_since);
        let forgiven = well.as_millis() / (time * FORGIVEN_AFTER).as_millis().max(1);
        let growth = u32::try_from(forgiven).ok().and_then(|halves| state.growth.checked_shr(halves)).unwrap_or(0).max(1);
        let out = time * growth;
        state.growth = (growth * 2).min(GROWTH_MAX);
        state.out_until = Some(now + out);
        state.well_since = now + out;
        state.errors = 0;
        state.window = Window { began: now + out, requests: 0, errors: 0 };
        out
    }

    /// Whether it was taken out and is not back.
    pub(crate) fn is_out(&self, now: Instant) -> bool {
        self.state.lock().is_out(now)
    }

    /// Takes note of what the checks say; whether that is new.
    pub(crate) fn checked(&self, down: bool) -> bool {
        self.down.swap(down, Ordering::Relaxed) != down
    }

    /// Whether the checks say that it is down.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }
}

impl State {
    fn is_out(&self, now: Instant) -> bool {
        self.out_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use skerry_config::units::Period;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn health(errors: u32, percent: u32) -> (Health, Instant) {
        let now = Instant::now();
        (Health::new(Ejection { errors, percent, time: Period::from_secs(10) }, now), now)
    }

    #[test]
    fn errors_in_a_row_take_it_out() {
        let (health, now) = health(3, 0);
        let heard = |errors: &[bool]| errors.iter().map(|error| health.heard(*error, now)).collect::<Vec<_>>();
        assert_eq!(heard(&[true, true, false, true, true]), [false; 5]);
        assert_eq!(heard(&[true]), [true]);
        assert!(!health.is_out(now), "that is for the pool to say");
        assert_eq!(health.eject(now), 10 * SECOND);
        assert!(health.is_out(now) && !health.is_out(now + 10 * SECOND));
    }

    #[test]
    fn a_share_of_errors_takes_it_out_once_there_are_requests_enough() {
        let (health, now) = health(0, 50);
        let alternating = |many: u32| (0..many).map(|nth| health.heard(nth % 2 == 1, now)).collect::<Vec<_>>();
        assert!(alternating(WINDOW_REQUESTS_MIN - 1).iter().all(|out| !out));
        assert!(health.heard(true, now));
        assert!(!health.heard(true, now + 2 * WINDOW), "what was long ago does not count");
    }

    #[test]
    fn each_time_out_is_longer_until_it_was_well_for_long() {
        let (health, mut now) = health(1, 0);
        let times: Vec<u64> = (0..6)
            .map(|_| {
                assert!(health.heard(true, now));
                let out = health.eject(now);
                now += out;
                out.as_secs()
            })
            .collect();
        assert_eq!(times, [10, 20, 40, 80, 160, 300]);
        now += 1_000 * SECOND;
        assert_eq!(health.eject(now), 10 * SECOND);
    }

    #[test]
    fn what_checks_say_holds_until_they_say_otherwise() {
        let (health, _) = health(1, 0);
        assert!(health.checked(true) && health.is_down() && !health.checked(true));
        assert!(health.checked(false) && !health.is_down());
    }
}
