//! What a run measured, and how it is told: numbers to people, JSON to programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::arrivals;

/// The longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_MAX_US: u64 = 600_000_000;
/// The digits to which latencies are kept.
const LATENCY_DIGITS: u8 = 3;
/// How much further each bucket of a report reaches than the one before it.
const BUCKET_RATIO: f64 = 1.05;
/// How many different faults are kept in words; all are counted.
const FAULTS_TOLD_MAX: usize = 5;

/// What one connection, or all together, have seen.
#[derive(Clone, Debug)]
pub struct Tally {
    latency_us: Histogram<u64>,
    first_byte_us: Histogram<u64>,
    sent_late_us: Histogram<u64>,
    longest: Duration,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Octets of bodies.
    pub body_octets: u64,
    /// Answers that say they came from a cache.
    pub hits: u64,
    /// Answers whose body is not the expected one.
    pub wrong_bodies: u64,
    /// Requests without a whole answer.
    pub errors: u64,
    /// The first faults, in words; at most `FAULTS_TOLD_MAX`.
    pub faults: Vec<String>,
}

impl Tally {
    /// Nothing seen.
    ///
    /// # Errors
    /// The histogram's bounds are refused.
    pub fn new() -> Result<Self, String> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).map_err(|error| error.to_string());
        let (latency_us, first_byte_us, sent_late_us) = (histogram()?, histogram()?, histogram()?);
        let (statuses, faults) = (BTreeMap::new(), Vec::new());
        Ok(Self {
            latency_us,
            first_byte_us,
            sent_late_us,
            longest: Duration::ZERO,
            statuses,
            body_octets: 0,
            hits: 0,
            wrong_bodies: 0,
            errors: 0,
            faults,
        })
    }

    /// Counts a whole answer.
    pub fn answer(&mut self, status: u16, latency: Duration, body_octets: u64, hit: bool) {
        self.latency_us.saturating_record(micros(latency));
        *self.statuses.entry(status).or_default() += 1;
        self.body_octets += body_octets;
        self.hits += u64::from(hit);
    }

    /// Counts when the first octet of a body came, and how much later than it was due the request was sent.
    pub fn first_byte(&mut self, after: Duration, sent_late: Duration) {
        self.first_byte_us.saturating_record(micros(after));
        self.sent_late_us.saturating_record(micros(sent_late));
    }

    /// Counts how long after it was sent a request was answered.
    pub fn asked(&mut self, after: Duration) {
        self.longest = self.longest.max(after);
    }

    /// How much longer the last hundredth waited for the first octet than who had it first.
    #[must_use]
    pub fn first_byte_ratio(&self) -> f64 {
        self.first_byte_us.value_at_percentile(99.0) as f64 / self.first_byte_us.min().max(1) as f64
    }

    /// Counts an answer with the wrong body.
    pub fn wrong_body(&mut self, fault: String) {
        self.wrong_bodies += 1;
        self.tell(fault);
    }

    /// Counts a request without a whole answer.
    pub fn error(&mut self, fault: String) {
        self.errors += 1;
        self.tell(fault);
    }

    fn tell(&mut self, fault: String) {
        if self.faults.len() < FAULTS_TOLD_MAX && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Adds what another connection has seen.
    pub fn add(&mut self, other: &Self) {
        // Same bounds on both sides, so nothing can be out of range.
        let _ = self.latency_us.add(&other.latency_us);
        let _ = self.first_byte_us.add(&other.first_byte_us);
        let _ = self.sent_late_us.add(&other.sent_late_us);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.body_octets += other.body_octets;
        self.longest = self.longest.max(other.longest);
        self.hits += other.hits;
        self.wrong_bodies += other.wrong_bodies;
        self.errors += other.errors;
        other.faults.iter().for_each(|fault| self.tell(fault.clone()));
    }

    /// How many whole answers came.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// The report of a run that took `elapsed`, and of what was planned of it in an open loop.
    #[must_use]
    pub fn report(self, elapsed: Duration, planned: Option<Planned>) -> Report {
        let seconds = elapsed.as_secs_f64();
        let answers_per_second = if seconds > 0.0 { self.answers() as f64 / seconds } else { 0.0 };
        Report {
            seconds,
            generator_s: None,
            answers: self.answers(),
            answers_per_second,
            planned,
            latency_us: Latency::of(&self.latency_us),
            first_byte_us: Latency::of(&self.first_byte_us),
            sent_late_us: Latency::of(&self.sent_late_us),
            longest_s: self.longest.as_secs_f64(),
            histogram: buckets(&self.latency_us),
            statuses: self.statuses,
            body_octets: self.body_octets,
            hits: self.hits,
            wrong_bodies: self.wrong_bodies,
            errors: self.errors,
            faults: self.faults,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LATENCY_MAX_US).max(1)
}

/// A histogram in few buckets, each of which ends some 5 % above the one before: upper ends and counts, rising.
fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let iterator = histogram.iter_log(1, BUCKET_RATIO).map(|step| (step.value_iterated_to(), step.count_since_last_iteration()));
    iterator.filter(|&(_, count)| count > 0).collect()
}

/// What was planned of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// Requests.
    pub requests: u64,
    /// The time that they are spread over.
    pub seconds: f64,
}

/// Percentiles of a time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is the percentile it is named for")]
pub struct Latency {
    pub min: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |percentile: f64| histogram.value_at_percentile(percentile);
        Self { min: histogram.min(), p50: at(50.0), p90: at(90.0), p99: at(99.0), p999: at(99.9), max: histogram.max() }
    }
}

/// What a run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How long it took.
    pub seconds: f64,
    /// The processor time of who asked, in seconds, opening connections included; where nobody else did anything in this process.
    pub generator_s: Option<f64>,
    /// Whole answers.
    pub answers: u64,
    /// Whole answers a second.
    pub answers_per_second: f64,
    /// What was planned, in an open loop.
    pub planned: Option<Planned>,
    /// Of whole answers, to their last octet. In an open loop from when a request was due, so that a stall is in the numbers of all who came
    /// meanwhile; in a closed loop from when it was sent: a stall delays the requests behind it, which is not in these numbers.
    pub latency_us: Latency,
    /// The same to the first octet of the body.
    pub first_byte_us: Latency,
    /// How much later than it was due a request was sent, because no stream was free or the generator was not at its turn.
    pub sent_late_us: Latency,
    /// How long after it was sent the request was answered that took longest, in seconds.
    pub longest_s: f64,
    /// Latencies in buckets: upper end in microseconds, and count, rising.
    pub histogram: Vec<(u64, u64)>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Octets of bodies.
    pub body_octets: u64,
    /// Answers that say they came from a cache.
    pub hits: u64,
    /// Answers whose body is not the expected one.
    pub wrong_bodies: u64,
    /// Requests without a whole answer.
    pub errors: u64,
    /// The first faults, in words.
    pub faults: Vec<String>,
}

/// Whether an answer of that status has what was asked for, or says that the client has it (304).
const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299 | 304)
}

impl Report {
    /// Why the run must not be taken for a measurement, if anything went wrong.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let first = self.faults.first().map_or(String::new(), |fault| format!(": {fault}"));
        let refused: Vec<_> = self.statuses.iter().filter(|(status, _)| !is_success(**status)).collect();
        if self.wrong_bodies > 0 {
            Some(format!("{} of {} answers had a wrong body{first}", self.wrong_bodies, self.answers))
        } else if self.errors > 0 {
            Some(format!("{} requests had no whole answer{first}", self.errors))
        } else if !refused.is_empty() {
            let number: u64 = refused.iter().map(|(_, count)| **count).sum();
            let each: Vec<String> = refused.iter().map(|(status, count)| format!("{status}: {count}")).collect();
            Some(format!("{number} of {} answers had a status that is no success ({})", self.answers, each.join(", ")))
        } else if self.answers == 0 {
            Some("no request was answered".to_owned())
        } else {
            self.not_kept_up()
        }
    }
}

impl Report {
    /// Why the run was none at its rate.
    fn not_kept_up(&self) -> Option<String> {
        let planned = self.planned?;
        let per_second = planned.requests as f64 / planned.seconds;
        let in_time = self.seconds <= arrivals::last_sent(planned.seconds) + self.longest_s;
        if in_time && self.answers >= planned.requests {
            return None;
        }
        Some(format!(
            "the rate of {per_second:.0} requests/s was not reached: {} of {} requests were answered in {:.2} s, planned were {:.2} s",
            self.answers, planned.requests, self.seconds, planned.seconds
        ))
    }

    /// The report, if the run may be taken for a measurement.
    ///
    /// # Errors
    /// What [`Self::failure`] says.
    pub fn sound(self) -> Result<Self, String> {
        match self.failure() {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "answers   {} in {:.2} s, {:.0} a second", self.answers, self.seconds, self.answers_per_second)?;
        let from = match self.planned {
            Some(planned) => {
                writeln!(
                    f,
                    "planned   {} in {:.2} s, {:.0} a second",
                    planned.requests,
                    planned.seconds,
                    planned.requests as f64 / planned.seconds
                )?;
                "open loop: from when it was due"
            }
            None => "closed loop: from when it was sent",
        };
        for (name, latency) in [("latency", &self.latency_us), ("first", &self.first_byte_us), ("late", &self.sent_late_us)] {
            let Latency { p50, p90, p99, p999, max, .. } = latency;
            writeln!(f, "{name:<9} p50 {p50} us, p90 {p90} us, p99 {p99} us, p99.9 {p999} us, max {max} us")?;
        }
        writeln!(f, "          ({from})")?;
        let statuses: Vec<String> = self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(f, "statuses  {}", statuses.join(", "))?;
        writeln!(f, "bodies    {} octets, {} wrong", self.body_octets, self.wrong_bodies)?;
        writeln!(f, "hits      {}", self.hits)?;
        if let Some(used) = self.generator_s {
            let percent = used * 100.0 / self.seconds.max(f64::EPSILON);
            writeln!(f, "generator {used:.2} s of processor time, {percent:.0} % of one core")?;
        }
        write!(f, "errors    {}", self.errors)?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The report of a run of so many requests in 100 s, all of which but so many were answered, each within a second of being sent.
    fn planned(missing: u64, seconds: f64) -> Report {
        let mut tally = Tally::new().expect("a tally");
        for _ in missing..1_000 {
            tally.answer(200, Duration::from_secs(60), 1, false);
            tally.asked(Duration::from_secs(1));
        }
        tally.report(Duration::from_secs_f64(seconds), Some(Planned { requests: 1_000, seconds: 100.0 }))
    }

    #[test]
    fn a_rate_is_reached_when_the_last_is_sent_in_time_and_answered() {
        // The share of the plan and the longest answer; how long someone waited to be sent gives no time.
        assert_eq!(planned(0, 102.9).failure(), None);
        for (missing, seconds) in [(0, 103.1), (1, 100.0)] {
            let failure = planned(missing, seconds).failure().expect("not reached");
            assert!(failure.starts_with("the rate of 10 requests/s was not reached: "), "{failure}");
        }
        // A short plan is not failed by a machine that had other work for a moment.
        assert_eq!((arrivals::last_sent(1.0), arrivals::last_sent(100.0)), (1.25, 102.0));
    }
}
