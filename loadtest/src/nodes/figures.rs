//! What was measured of many nodes on one control plane, and the bounds that were set for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bound::Verdict;
use crate::machine::Machine;

/// The bounds: of a purge in force everywhere, of URLs a second, of the time the last of them may lag, of a change in force everywhere, and of memory.
const PURGE_P50_US: u64 = 10_000;
const PURGE_P99_US: u64 = 50_000;
const RATE: u64 = 5_000;
const LAG_MS: f64 = 1_000.0;
const CHANGE_P99_US: u64 = 500_000;
const RESIDENT: u64 = 1 << 30;

/// Times, in microseconds. A percentile is the smallest time that so many are not above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Spread {
    /// Of these times; all zero when there are none.
    #[must_use]
    pub fn of(times: &[Duration]) -> Self {
        let mut sorted: Vec<u64> = times.iter().map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        Self { count: sorted.len() as u64, p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

/// Purges in batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batches {
    /// How many requests were due.
    pub requests: u64,
    /// How many URLs each named.
    pub urls_each: u64,
    /// How many URLs a second were due.
    pub rate: u64,
    /// How many requests were accepted; the others were refused because too many waited.
    pub accepted: u64,
    /// The time from the first until the last was in force everywhere, in seconds.
    pub seconds: f64,
    /// From when a request was due to its answer.
    pub answered: Spread,
    /// From when a request was due until its purge was in force on the last node.
    pub applied: Spread,
    /// The same of the last request, in milliseconds.
    pub last_lag_ms: f64,
    /// From then until the control plane had every node's word that it is on its disk, in milliseconds.
    pub confirmed_ms: f64,
}

impl Batches {
    /// URLs a second that came to be in force everywhere.
    #[must_use]
    pub fn urls_per_s(&self) -> f64 {
        (self.accepted * self.urls_each) as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Processor time of a part of the run, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// What was done.
    pub what: String,
    /// How long it took.
    pub seconds: f64,
    /// Of the control plane.
    pub control_s: f64,
    /// Of all nodes, with what sent the purges.
    pub nodes_s: f64,
}

impl Cost {
    pub(super) fn named(self, what: &str) -> Self {
        Self { what: what.to_owned(), ..self }
    }
}

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// When.
    pub made: String,
    /// On what.
    pub machine: Machine,
    /// Of what.
    pub revision: Option<String>,
    /// How many edges.
    pub edges: usize,
    /// How many shields.
    pub shields: usize,
    /// How many sites.
    pub sites: usize,
    /// What a small file takes to be whole on the control plane's disk, in microseconds.
    pub write_us: u64,
    /// The time until all had joined and followed, in seconds.
    pub join_s: f64,
    /// Single purges: from the request to its answer.
    pub answered: Spread,
    /// Single purges: from the request until the last node had it in force.
    pub applied: Spread,
    /// Purges in batches.
    pub batches: Batches,
    /// Changes of a site: from the request until the last node had adopted it.
    pub changes: Spread,
    /// What each part cost.
    pub costs: Vec<Cost>,
    /// The control plane's resident memory at the end, in bytes.
    pub resident: u64,
    /// The most that it ever was, in bytes.
    pub resident_peak: u64,
    /// How many streams ended and were opened again.
    pub reconnects: u64,
}

impl Figures {
    /// The bounds that were set for a thousand nodes.
    #[must_use]
    pub fn bounds(&self) -> Vec<Verdict> {
        let time = |what: &str, measured: u64, most: u64| Verdict {
            what: what.to_owned(),
            wanted: format!("< {}", ms(most)),
            measured: ms(measured),
            kept: measured < most,
        };
        let Batches { requests, accepted, rate, last_lag_ms, .. } = self.batches;
        vec![
            time("a purge in force on all nodes, p50", self.applied.p50_us, PURGE_P50_US),
            time("a purge in force on all nodes, p99", self.applied.p99_us, PURGE_P99_US),
            Verdict {
                what: "purges sustained in batches, in force on all nodes within 1 s of the last".to_owned(),
                wanted: format!(">= {RATE} a second"),
                measured: format!("{rate} a second sent, {accepted} of {requests} requests accepted, {last_lag_ms:.0} ms for the last"),
                kept: rate >= RATE && accepted == requests && last_lag_ms <= LAG_MS,
            },
            time("a change of a site in force on all nodes, p99", self.changes.p99_us, CHANGE_P99_US),
            Verdict {
                what: format!("memory of the control plane with {} sites", self.sites),
                wanted: format!("< {}", mib(RESIDENT)),
                measured: mib(self.resident_peak),
                kept: self.resident_peak < RESIDENT,
            },
        ]
    }
}

pub(super) fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}

pub(super) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let wanted = Spread { count: 200, p50_us: 100_000, p99_us: 198_000, max_us: 200_000 };
        assert_eq!(Spread::of(&times), wanted);
        assert_eq!(Spread::of(&[]), Spread::default());
        assert_eq!(Spread::of(&[Duration::from_micros(7)]), Spread { count: 1, p50_us: 7, p99_us: 7, max_us: 7 });
    }

    /// Figures that keep every bound.
    pub(in crate::nodes) fn fine() -> Figures {
        let spread = Spread { count: 1, p50_us: PURGE_P50_US - 1, p99_us: PURGE_P99_US - 1, max_us: 0 };
        let batches = Batches {
            requests: 10,
            urls_each: 100,
            rate: RATE,
            accepted: 10,
            seconds: 2.0,
            answered: spread,
            applied: spread,
            last_lag_ms: 20.0,
            confirmed_ms: 5.0,
        };
        Figures {
            made: String::new(),
            machine: Machine::this(),
            revision: None,
            edges: 9,
            shields: 1,
            sites: 1,
            write_us: 1,
            join_s: 1.0,
            answered: spread,
            applied: spread,
            batches,
            changes: spread,
            costs: Vec::new(),
            resident: 1,
            resident_peak: RESIDENT - 1,
            reconnects: 0,
        }
    }

    #[test]
    fn a_bound_is_kept_only_by_what_is_within_it() {
        let fine = fine();
        let (spread, batches) = (fine.applied, fine.batches);
        let broken = |figures: &Figures| figures.bounds().iter().filter(|verdict| !verdict.kept).count();
        assert_eq!(broken(&fine), 0, "{fine:?}");
        assert!((batches.urls_per_s() - 500.0).abs() < 1e-9);
        let slow = Spread { p50_us: PURGE_P50_US, p99_us: CHANGE_P99_US, ..spread };
        assert_eq!(broken(&Figures { applied: slow, ..fine.clone() }), 2);
        assert_eq!(broken(&Figures { changes: slow, ..fine.clone() }), 1);
        assert_eq!(broken(&Figures { resident_peak: RESIDENT, ..fine.clone() }), 1);
        for less in [Batches { accepted: 9, ..batches }, Batches { rate: RATE - 1, ..batches }, Batches { last_lag_ms: 1_001.0, ..batches }]
        {
            assert_eq!(broken(&Figures { batches: less, ..fine.clone() }), 1);
        }
    }
}
