//! What a side-by-side run measured: the data, its file, and what it means.
//!
//! Owns the format that is written and read, and the rules by which a measure is believed. Never measures, and never shows a figure of a
//! measure that it refuses, unless for having too few rounds alone, which it then says.

mod belief;
mod difference;
mod figures;
mod file;
mod html;
mod judged;
mod markdown;
mod page;
mod plots;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::difference::{Change, Difference, difference};
pub use self::figures::{FIGURES, Figure};
pub use self::file::{read, write};
pub use self::html::html;
pub use self::judged::Judged;
pub use self::markdown::markdown;
pub use self::spread::{OTHERS_MAX_PERCENT, ROUNDS_MIN, SPREAD_MAX_PERCENT, Spread};
use crate::bound::Bound;
use crate::machine::Machine;
use crate::report::Latency;

/// The format of the file. A file of another one is refused.
pub const FORMAT: u32 = 2;
/// The most buckets that the histogram of a round may have.
pub const BUCKETS_MAX: usize = 500;

/// All that one run of the program measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was made, as an IMF-fixdate.
    pub made: String,
    /// On what.
    pub machine: Machine,
    /// The programs, by name and version; the first is the one that is measured.
    pub versions: Vec<String>,
    /// What version control calls what was measured.
    pub revision: Option<String>,
    /// The core of the servers, by number; none if they were not kept to one.
    pub server_core: Option<usize>,
    /// The core of the generator; none if it was not kept to one.
    pub generator_core: Option<usize>,
    /// What was measured, in this order.
    pub measures: Vec<Measure>,
}

/// One load, and what each side did under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The name of its plan, which is that of the plan's file; there is one measure of a plan.
    pub plan: String,
    /// What is measured, in one sentence.
    pub what: String,
    /// The load in words: "open loop, 2000 requests/s, Poisson, 16 connections, HTTP/1.1".
    pub load: String,
    /// Every setting of the plan that makes the load what it is, by its name: "load.connections". Measures are compared where these are equal.
    pub asked: BTreeMap<String, serde_json::Value>,
    /// Ours first, then what stands beside it.
    pub sides: Vec<Side>,
    /// Warnings, in words.
    pub notes: Vec<String>,
    /// What must hold.
    pub bounds: Vec<Bound>,
}

/// One server of a measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Its name: "skerry", "nginx".
    pub name: String,
    /// Every round, in their order; as many as every other side has, or none if it is absent or failed.
    pub rounds: Vec<Round>,
    /// Why it could not be asked so, if it could not: it is not installed, or does not speak what is asked.
    pub absent: Option<String>,
    /// What went wrong, if a round of it failed: an answer was wrong or missing, or the rate was not reached.
    pub failed: Option<String>,
}

/// What one round of one side measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// How long it took.
    pub seconds: f64,
    /// The requests that were to be made.
    pub planned: u64,
    /// Whole, right answers.
    pub answers: u64,
    /// Those that were hits; none where an answer is neither hit nor miss.
    pub hits: Option<u64>,
    /// Octets of bodies.
    pub body_octets: u64,
    /// Processor time of all processes of the server, user and system, in seconds.
    pub server_s: f64,
    /// Of the generator.
    pub generator_s: f64,
    /// Of everything else on the machine.
    pub others_s: f64,
    /// Memory of all processes of the server at the end, in bytes; what they share is counted once.
    pub memory_bytes: u64,
    /// From the moment a request was to be made to the last octet of its answer, in microseconds.
    pub latency_us: Latency,
    /// From that moment to the first octet.
    pub first_byte_us: Latency,
    /// The latencies: the upper end of a bucket in microseconds, rising, and how many are in it. At most [`BUCKETS_MAX`].
    pub histogram: Vec<(u64, u64)>,
    /// Figures of the scenario alone, by a name that has the unit in it: "`stalls_per_viewer`".
    pub further: BTreeMap<String, f64>,
}
