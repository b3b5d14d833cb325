//! When requests are sent: each as soon as the one before it is answered (closed loop), or at instants that are planned in advance
//! (open loop), whatever becomes of the ones before.
//!
//! In an open loop a stall of the server delays nothing but answers, and latency counts from the planned instant, so a stall is in the
//! numbers of everyone who came meanwhile. A thread of its own says when an instant has come: the runtime's timers ring to the millisecond.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp};
use serde::Deserialize;
use tokio::sync::Semaphore;

/// The highest rate, in requests a second.
pub const RATE_MAX: f64 = 1_000_000.0;
/// The most instants that are planned for one run; each takes 8 bytes.
pub const PLANNED_MAX: usize = 20_000_000;
/// How much later than planned the last request may be sent, as a share of the plan. What is not sent by then is not sent: it was not asked at that
/// rate.
const LATE_SHARE_MAX: f64 = 0.02;
/// The same in seconds, for plans of which that share is less than a machine with other work may hold anyone up.
const LATE_LEAST_S: f64 = 0.25;
/// The longest that the thread sleeps at a time, in milliseconds: how long it outlives a run that is given up.
const NAP_MAX_MS: u64 = 100;
/// All plans are the same ones: a difference between two runs is none of the plan.
const SEED: u64 = 9;

/// How requests follow one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Each stream asks again when it is answered.
    #[default]
    Closed,
    /// At even distances; requests a second, all streams together.
    Constant(f64),
    /// As those of many clients who do not know of one another (a Poisson process); requests a second, all streams together.
    Poisson(f64),
}

impl Arrivals {
    /// The rate, in requests a second; none of a closed loop.
    #[must_use]
    pub const fn rate(self) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Constant(rate) | Self::Poisson(rate) => Some(rate),
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Closed => "closed loop".to_owned(),
            Self::Constant(rate) => format!("open loop, {rate} requests/s, constant"),
            Self::Poisson(rate) => format!("open loop, {rate} requests/s, Poisson"),
        }
    }

    /// Whether such a run can be made.
    ///
    /// # Errors
    /// A sentence: the rate is out of bounds, or too many requests are planned.
    pub fn check(self, length: Duration) -> Result<(), String> {
        let Some(rate) = self.rate() else { return Ok(()) };
        // A rate that is no number is not above 0 either.
        if !(rate > 0.0 && rate <= RATE_MAX) {
            return Err(format!("a rate of {rate} requests/s is not above 0 and at most {RATE_MAX}"));
        }
        let planned = rate * length.as_secs_f64();
        if planned > PLANNED_MAX as f64 {
            return Err(format!("{rate} requests/s for {} s are more than {PLANNED_MAX} requests", length.as_secs_f64()));
        }
        if planned < 1.0 {
            return Err(format!("{rate} requests/s for {} s are not one request", length.as_secs_f64()));
        }
        Ok(())
    }

    /// The instants, in nanoseconds from the beginning, rising; none of a closed loop.
    fn instants(self, length: Duration) -> Vec<u64> {
        let Some(rate) = self.rate() else { return Vec::new() };
        let end = length.as_secs_f64();
        let nanoseconds = |seconds: f64| (seconds * 1e9) as u64;
        match self {
            Self::Poisson(_) => {
                let mut random = SmallRng::seed_from_u64(SEED);
                let Ok(gaps) = Exp::new(rate) else { return Vec::new() };
                let mut at = 0.0;
                let next = || {
                    at += gaps.sample(&mut random);
                    (at < end).then(|| nanoseconds(at))
                };
                std::iter::from_fn(next).take(PLANNED_MAX).collect()
            }
            _ => (0..(rate * end) as usize).map(|number| nanoseconds(number as f64 / rate)).collect(),
        }
    }
}

/// When the last request of a run that is planned for so many seconds may be sent, in seconds from its beginning.
#[must_use]
pub(crate) fn last_sent(planned_s: f64) -> f64 {
    planned_s + (planned_s * LATE_SHARE_MAX).max(LATE_LEAST_S)
}

/// The instants of one run, and who takes the next.
#[derive(Debug)]
pub(crate) struct Schedule {
    instants: Vec<u64>,
    last_sent: Duration,
    /// One permit for each instant that has come.
    come: Semaphore,
    next: AtomicUsize,
    given_up: AtomicBool,
}

impl Schedule {
    /// A plan; none of a closed loop.
    pub(crate) fn of(arrivals: Arrivals, length: Duration) -> Option<Arc<Self>> {
        let instants = arrivals.instants(length);
        arrivals.rate()?;
        let last_sent = Duration::from_secs_f64(last_sent(length.as_secs_f64()));
        Some(Arc::new(Self { instants, last_sent, come: Semaphore::new(0), next: AtomicUsize::new(0), given_up: AtomicBool::new(false) }))
    }

    /// How many requests are planned.
    pub(crate) fn planned(&self) -> u64 {
        self.instants.len() as u64
    }

    /// Waits for the next instant, from the beginning; none when all are taken, or it is too late for more.
    pub(crate) async fn next(&self, begun: Instant) -> Option<Duration> {
        self.come.acquire().await.ok()?.forget();
        if begun.elapsed() > self.last_sent {
            return None;
        }
        self.instants.get(self.next.fetch_add(1, Ordering::Relaxed)).map(|&instant| Duration::from_nanos(instant))
    }

    /// Lets instants come, until the last has, or the other half is dropped. `takers` are let know of the end.
    pub(crate) fn begin(self: &Arc<Self>, begun: Instant, takers: usize) -> Result<Pace, String> {
        let schedule = Arc::clone(self);
        let thread = std::thread::Builder::new().name("arrivals".to_owned()).spawn(move || {
            let mut come = 0;
            while let Some(&instant) = schedule.instants.get(come) {
                if schedule.given_up.load(Ordering::Relaxed) {
                    return;
                }
                let elapsed = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                if instant > elapsed {
                    std::thread::sleep(Duration::from_nanos(instant - elapsed).min(Duration::from_millis(NAP_MAX_MS)));
                    continue;
                }
                let due = schedule.instants[come..].iter().take_while(|&&instant| instant <= elapsed).count();
                schedule.come.add_permits(due);
                come += due;
            }
            schedule.come.add_permits(takers);
        });
        thread.map_err(|error| format!("no thread for the arrivals: {error}"))?;
        Ok(Pace(Arc::clone(self)))
    }
}

/// A schedule that is under way; dropped, it is given up.
#[derive(Debug)]
pub(crate) struct Pace(Arc<Schedule>);

impl Drop for Pace {
    fn drop(&mut self) {
        self.0.given_up.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_are_even_and_poisson_ones_are_not() {
        let length = Duration::from_secs(10);
        let even = Arrivals::Constant(100.0).instants(length);
        assert_eq!((even.len(), even[0], even[1], even[999]), (1000, 0, 10_000_000, 9_990_000_000));
        let random = Arrivals::Poisson(1000.0).instants(length);
        // 10,000 are expected with a standard deviation of 100.
        assert!((9_500..10_500).contains(&random.len()), "{}", random.len());
        assert!(random.is_sorted() && random.last().is_some_and(|&last| last < 10_000_000_000));
        let gaps: Vec<f64> = random.windows(2).map(|two| (two[1] - two[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // Of an exponential distribution both are the same.
        assert!((0.95..1.05).contains(&(deviation / mean)), "{deviation} of {mean}");
        assert_eq!(Arrivals::Poisson(1000.0).instants(length), random);
    }

    #[test]
    fn a_rate_that_cannot_be_is_a_sentence() {
        let second = Duration::from_secs(1);
        assert_eq!(Arrivals::Poisson(50_000.0).check(second), Ok(()));
        assert_eq!(Arrivals::Closed.check(second), Ok(()));
        for (rate, seconds, said) in [
            (0.0, 1, "a rate of 0 requests/s is not above 0"),
            (-3.0, 1, "a rate of -3 requests/s is not above 0"),
            (f64::NAN, 1, "a rate of NaN requests/s is not above 0"),
            (f64::INFINITY, 1, "is not above 0 and at most 1000000"),
            (1e6, 100, "are more than 20000000 requests"),
            (0.01, 1, "are not one request"),
        ] {
            let error = Arrivals::Constant(rate).check(Duration::from_secs(seconds)).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }

    #[tokio::test]
    async fn each_instant_is_taken_once_and_not_before_it_has_come() {
        let schedule = Schedule::of(Arrivals::Constant(1000.0), Duration::from_millis(50)).expect("a schedule");
        assert_eq!(schedule.planned(), 50);
        let begun = Instant::now();
        let _pace = schedule.begin(begun, 1).expect("a thread");
        let mut taken = Vec::new();
        while let Some(planned) = schedule.next(begun).await {
            assert!(begun.elapsed() >= planned, "{planned:?}");
            taken.push(planned);
        }
        assert!(taken.is_sorted() && taken.len() == 50, "{taken:?}");
    }
}
