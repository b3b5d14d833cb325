//! How often a site's requests may be repeated: a share of them, and a few beyond it for sites that are asked seldom. Time is an argument.
//!
//! Repeating helps against the failure of one connection or one server, and is what brings down servers that fail because they are asked too much.
//! The lock covers the two accounts.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skerry_config::site::Retries;

/// The last so many requests are those of which a share may be repeated.
const REQUESTS_KEPT: u64 = 1_000;
/// The time in which the retries beyond the share are there again.
const FLOOR_TIME: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<State>);

#[derive(Debug)]
struct State {
    settings: Retries,
    /// What requests have paid in, in hundredths of a retry.
    share: u64,
    /// Retries beyond the share that have been taken, and when that was last reckoned.
    taken: f64,
    reckoned: Instant,
    made: u64,
    refused: u64,
}

impl Budget {
    /// One from which nothing has been taken.
    pub(crate) fn new(settings: Retries, now: Instant) -> Self {
        Self(Mutex::new(State { settings, share: 0, taken: 0.0, reckoned: now, made: 0, refused: 0 }))
    }

    /// Puts other settings in force.
    pub(crate) fn set(&self, settings: Retries) {
        self.0.lock().settings = settings;
    }

    /// A request that is no retry.
    pub(crate) fn deposit(&self) {
        let mut state = self.0.lock();
        let percent = u64::from(state.settings.percent);
        state.share = (state.share + percent).min(percent * REQUESTS_KEPT);
    }

    /// Whether there may be a retry; it is taken then.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        if state.share >= 100 {
            state.share -= 100;
            state.made += 1;
            return true;
        }
        let floor = f64::from(state.settings.floor);
        let again = now.saturating_duration_since(state.reckoned).as_secs_f64() / FLOOR_TIME.as_secs_f64() * floor;
        state.taken = (state.taken - again).max(0.0);
        state.reckoned = now;
        let may = state.taken + 1.0 <= floor;
        if may {
            state.taken += 1.0;
            state.made += 1;
        } else {
            state.refused += 1;
        }
        may
    }

    /// How many retries there were, and how many there might not be.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.made, state.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(percent: u32, floor: u32) -> (Budget, Instant) {
        let now = Instant::now();
        (Budget::new(Retries { percent, floor }, now), now)
    }

    /// How many retries there may be at one time.
    fn all(budget: &Budget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn a_share_of_the_requests_may_be_repeated_and_a_few_beyond() {
        let (budget, now) = budget(20, 3);
        assert_eq!(all(&budget, now), 3);
        for _ in 0..50 {
            budget.deposit();
        }
        assert_eq!(all(&budget, now), 10);
        assert_eq!(budget.counts().1, 2);
    }

    #[test]
    fn what_was_paid_in_long_ago_is_forgotten() {
        let (budget, now) = budget(20, 0);
        for _ in 0..100_000 {
            budget.deposit();
        }
        assert_eq!(all(&budget, now), 200);
    }

    #[test]
    fn those_beyond_the_share_come_again_with_time() {
        let (budget, now) = budget(0, 6);
        assert_eq!(all(&budget, now), 6);
        assert_eq!(all(&budget, now + FLOOR_TIME / 6), 1);
        assert_eq!(all(&budget, now + 10 * FLOOR_TIME), 6);
        budget.set(Retries { percent: 0, floor: 0 });
        assert!(!budget.take(now + 20 * FLOOR_TIME));
    }
}
