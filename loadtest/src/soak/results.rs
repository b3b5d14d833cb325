//! What a soak measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// How long a start may take to its first answer, whatever is on disk.
pub(super) const START_MAX: Duration = Duration::from_secs(1);
/// What an answer on disk may take of memory, in bytes.
pub(super) const EACH_MAX: f64 = 128.0;
/// The share of requests that may be refused for want of room, in percent.
pub(super) const REFUSED_MAX_PERCENT: u64 = 1;
/// The share of the small objects that must be on disk after a restart, in percent.
pub(super) const KEPT_MIN_PERCENT: u64 = 95;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// When it was made, as an IMF-fixdate.
    pub made: String,
    /// On what.
    pub machine: Machine,
    /// What version control calls what was measured.
    pub revision: Option<String>,
    /// The small objects on disk.
    pub objects: u64,
    /// The edge's `memory_limit`, in bytes.
    pub memory_limit: u64,
    /// What each object on disk takes of memory, in bytes: an edge that has them and has nothing to do, less one that has none.
    pub bytes_each: f64,
    /// Resident memory of an edge that has nothing on disk and nothing to do, in bytes.
    pub empty: u64,
    /// The same with everything on disk.
    pub idle: u64,
    /// The lives of the edge, in their order.
    pub lives: Vec<Life>,
    /// The mixed load.
    pub load: Load,
}

/// One process, from its start to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    /// What it did.
    pub name: String,
    /// How it began.
    pub start: Start,
    /// The most that was resident of it, in bytes.
    pub peak: u64,
}

/// A start; times are from the start of the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Start {
    /// Until it said that it was ready.
    pub ready: Duration,
    /// Until it had answered a request, with what the origin said.
    pub first_answer: Duration,
    /// Until it served from disk.
    pub disk: Duration,
    /// How many records the disk had then.
    pub records: u64,
}

/// What the mixed load was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// How long it lasted, in seconds.
    pub seconds: u64,
    /// The answers, each of them right to the last byte; what was refused or wrong is not among them.
    pub answers: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// How many of them came over which protocol.
    pub ways: Vec<(String, u64)>,
    /// The connections at a time, without those that came and went.
    pub connections: usize,
    /// Those among them that read slowly.
    pub slow: usize,
    /// Requests that reached the origin.
    pub fetched: u64,
    /// Lookups that were answered from disk.
    pub from_disk: u64,
    /// Records that the disk did not take.
    pub dropped: u64,
    /// The purges.
    pub purges: u64,
    /// Requests that were refused for want of room.
    pub refused: u64,
    /// Requests that got no right answer.
    pub failures: u64,
    /// The first of them in words.
    pub told: Vec<String>,
    /// Resident memory once a second, in bytes.
    pub resident: Vec<u64>,
}

impl Load {
    /// Whether more requests were refused than a few in a crowd may be.
    pub(super) fn refused_too_often(&self) -> bool {
        self.refused * 100 > (self.answers + self.refused) * REFUSED_MAX_PERCENT
    }
}

impl Results {
    /// What was not kept, in sentences.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for life in &self.lives {
            if life.peak > self.memory_limit {
                faults.push(format!("{}: {} bytes were resident, above the limit of {}", life.name, life.peak, self.memory_limit));
            }
            if life.start.first_answer > START_MAX {
                faults.push(format!("{}: the first answer took {:?}, more than {START_MAX:?}", life.name, life.start.first_answer));
            }
        }
        // The first life begins with an empty disk.
        for life in self.lives.iter().skip(1) {
            let records = life.start.records;
            if records * 100 < self.objects * KEPT_MIN_PERCENT {
                faults.push(format!("{}: {records} records were on disk after the start, of {} objects stored", life.name, self.objects));
            }
        }
        for (way, answers) in &self.load.ways {
            if *answers == 0 {
                faults.push(format!("no request over {way} was answered"));
            }
        }
        if self.load.refused_too_often() {
            let Load { refused, answers, .. } = self.load;
            let all = answers + refused;
            faults.push(format!("{refused} of {all} requests were refused for want of room, more than {REFUSED_MAX_PERCENT} %"));
        }
        if self.bytes_each > EACH_MAX {
            faults.push(format!("an answer on disk takes {:.0} bytes of memory, more than {EACH_MAX}", self.bytes_each));
        }
        if self.load.failures > 0 {
            faults.push(format!("{} requests failed: {}", self.load.failures, self.load.told.join("; ")));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was measured once, and kept every bound.
    fn measured() -> Results {
        serde_json::from_str(include_str!("../../../docs/performance-soak.json")).expect("results")
    }

    #[test]
    fn an_edge_that_refuses_or_forgets_keeps_no_bound() {
        assert_eq!(measured().faults(), Vec::<String>::new());
        let faults_of = |spoil: fn(&mut Results)| {
            let mut results = measured();
            spoil(&mut results);
            results.faults().join("; ")
        };
        for (spoil, said) in [
            (
                (|results| results.load.refused = results.load.answers) as fn(&mut Results),
                "requests were refused for want of room, more than 1 %",
            ),
            (|results| results.load.ways[2].1 = 0, "no request over HTTP/2 was answered"),
            (|results| results.lives[3].start.records = 12, "12 records were on disk after the start, of 1000000 objects"),
            (|results| results.load.failures = 1, "1 requests failed"),
            (|results| results.lives[2].peak = results.memory_limit + 1, "above the limit"),
        ] {
            let faults = faults_of(spoil);
            assert!(faults.contains(said), "{said}: {faults}");
        }
    }
}
