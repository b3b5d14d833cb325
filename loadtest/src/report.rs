//! What a run measured, and how it is told: numbers to people, JSON to programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_MAX_US: u64 = 600_000_000;
/// The digits to which latencies are kept.
const LATENCY_DIGITS: u8 = 3;
/// How many different faults are kept in words; all are counted.
const FAULTS_TOLD_MAX: usize = 5;

/// What one connection, or all together, have seen.
#[derive(Clone, Debug)]
pub struct Tally {
    latency_us: Histogram<u64>,
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
        let latency_us = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).map_err(|error| error.to_string())?;
        let (statuses, faults) = (BTreeMap::new(), Vec::new());
        Ok(Self { latency_us, statuses, body_octets: 0, hits: 0, wrong_bodies: 0, errors: 0, faults })
    }

    /// Counts a whole answer.
    pub fn answer(&mut self, status: u16, latency: Duration, body_octets: u64, hit: bool) {
        self.latency_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US).max(1));
        *self.statuses.entry(status).or_default() += 1;
        self.body_octets += body_octets;
        self.hits += u64::from(hit);
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
    pub fn add(&mut self, other: Self) {
        // Same bounds on both sides, so nothing can be out of range.
        let _ = self.latency_us.add(&other.latency_us);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.body_octets += other.body_octets;
        self.hits += other.hits;
        self.wrong_bodies += other.wrong_bodies;
        self.errors += other.errors;
        other.faults.into_iter().for_each(|fault| self.tell(fault));
    }

    /// How many whole answers came.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// The report of a run that took `elapsed`.
    #[must_use]
    pub fn report(self, elapsed: Duration) -> Report {
        let at = |percentile: f64| self.latency_us.value_at_percentile(percentile);
        let seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
        let answers_per_second = if seconds > 0.0 { self.answers() as f64 / seconds } else { 0.0 };
        Report {
            seconds,
            answers: self.answers(),
            answers_per_second,
            latency_us: Latency {
                min: self.latency_us.min(),
                p50: at(50.0),
                p90: at(90.0),
                p99: at(99.0),
                p999: at(99.9),
                max: self.latency_us.max(),
            },
            statuses: self.statuses,
            body_octets: self.body_octets,
            hits: self.hits,
            wrong_bodies: self.wrong_bodies,
            errors: self.errors,
            faults: self.faults,
        }
    }
}

/// Percentiles of the time from sending a request to the last octet of its answer, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How long it took.
    pub seconds: f64,
    /// Whole answers.
    pub answers: u64,
    /// Whole answers a second.
    pub answers_per_second: f64,
    /// Of whole answers. Closed loop: a stall of the server delays the requests behind it, which is not in these numbers.
    pub latency_us: Latency,
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

impl Report {
    /// Why the run must not be taken for a measurement, if anything went wrong.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let first = self.faults.first().map_or(String::new(), |fault| format!(": {fault}"));
        let succeeded: u64 = self.statuses.range(200..300).map(|(_, count)| count).sum();
        if self.wrong_bodies > 0 {
            Some(format!("{} of {} answers had a wrong body{first}", self.wrong_bodies, self.answers))
        } else if self.errors > 0 {
            Some(format!("{} requests had no whole answer{first}", self.errors))
        } else if succeeded == 0 {
            Some(format!("no request succeeded, of {} answers", self.answers))
        } else {
            None
        }
    }
}

impl Report {
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
        let latency = &self.latency_us;
        writeln!(
            f,
            "latency   p50 {} us, p90 {} us, p99 {} us, p99.9 {} us, max {} us (closed loop)",
            latency.p50, latency.p90, latency.p99, latency.p999, latency.max
        )?;
        let statuses: Vec<String> = self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(f, "statuses  {}", statuses.join(", "))?;
        writeln!(f, "bodies    {} octets, {} wrong", self.body_octets, self.wrong_bodies)?;
        writeln!(f, "hits      {}", self.hits)?;
        write!(f, "errors    {}", self.errors)?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}
