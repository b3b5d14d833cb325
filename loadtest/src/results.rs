//! What a side-by-side run measured, as it is written to a file and read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::report::Latency;

/// The version of the file's shape.
pub const FORMAT: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The version of its shape: [`FORMAT`].
    pub format: u32,
    /// When it was made, as an IMF-fixdate.
    pub made: String,
    /// On what.
    pub machine: Machine,
    /// The programs, by name and version; the first is ours.
    pub versions: Vec<String>,
    /// What version control calls what was measured.
    pub revision: Option<String>,
    /// The core of the servers, by number; none where they share the only one.
    pub server_core: Option<usize>,
    /// The core of whoever asks and of the origin.
    pub generator_core: Option<usize>,
    /// What each plan measured.
    pub measures: Vec<Measure>,
}

/// What one plan measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The name of its scenario.
    pub plan: String,
    /// The same in a sentence.
    pub what: String,
    /// How it was asked, in words.
    pub load: String,
    /// Ours first, then the peers.
    pub sides: Vec<Side>,
    /// What a reader must know, in sentences.
    pub notes: Vec<String>,
    /// What our figures must keep.
    pub bounds: Vec<Bound>,
}

/// A bound of one figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The name of the figure.
    pub figure: String,
    /// The side that ours is compared with.
    pub against: String,
    /// The most that ours may be, as a multiple of theirs.
    pub ratio_max: f64,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Every round; none if it is absent.
    pub rounds: Vec<Round>,
    /// Why there is nothing to measure.
    pub absent: Option<String>,
}

/// What one round measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// How long it took.
    pub seconds: f64,
    /// How many requests were to be sent.
    pub planned: u64,
    /// Whole, right answers.
    pub answers: u64,
    /// Those that say they came from a cache.
    pub hits: u64,
    /// Octets of their bodies.
    pub body_octets: u64,
    /// Processor time of all processes of the server, in seconds.
    pub server_s: f64,
    /// Of whoever asks.
    pub generator_s: f64,
    /// Of everything else on the machine, the origin among it.
    pub others_s: f64,
    /// Resident memory of all processes of the server at the end.
    pub memory_bytes: u64,
    /// To the last octet of an answer; in an open loop from when the request was due.
    pub latency_us: Latency,
    /// To the first octet of its body.
    pub first_byte_us: Latency,
    /// Latencies in buckets: upper end in microseconds, and count, rising.
    pub histogram: Vec<(u64, u64)>,
    /// Figures of the scenario, each with its unit in its name.
    pub further: BTreeMap<String, f64>,
}
