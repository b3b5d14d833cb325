//! What was measured, as it is written to a file and read back.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::results::{OTHERS_MAX_PERCENT, SPREAD_MAX_PERCENT, Spread};

/// A whole measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// When it was made, as an IMF-fixdate.
    pub made: String,
    /// On what.
    pub machine: Machine,
    /// The programs, by name and version; the first is the one that is measured.
    pub versions: Vec<String>,
    /// How often each side was measured, in turn.
    pub rounds: usize,
    /// How long each time, in milliseconds.
    pub round_ms: u64,
    /// The core of the servers, by number.
    pub server_core: usize,
    /// The core of the generator.
    pub generator_core: usize,
    /// Processor time.
    pub rows: Vec<Row>,
    /// Memory.
    pub idle: Vec<IdleRow>,
}

/// Processor time of one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What `--only` names.
    pub id: String,
    /// What was asked for.
    pub name: String,
    /// How many connections.
    pub connections: usize,
    /// How many requests at once on each.
    pub streams: usize,
    /// What asked.
    pub generator: String,
    /// The cipher suite that was agreed on, over TLS and TCP.
    pub suite: Option<String>,
    /// The most that the ratio may be.
    pub bound: f64,
    /// Why there is nothing to measure.
    pub absent: Option<String>,
    /// Ours, and what stands beside it; none if it is absent.
    pub sides: Vec<Side>,
}

/// One server, or protocol, of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Every round.
    pub rounds: Vec<Round>,
}

/// What one round measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// How long it took.
    pub seconds: f64,
    /// Whole, right answers.
    pub answers: u64,
    /// Those that were hits, where the generator looks at each.
    pub hits: Option<u64>,
    /// Processor time of the server, in seconds.
    pub server_s: f64,
    /// Of the generator.
    pub generator_s: f64,
    /// Of everything else on the machine.
    pub others_s: f64,
    /// Latency, in microseconds.
    pub p50_us: u64,
    /// The same.
    pub p99_us: u64,
}

impl Round {
    /// Processor time of the server for one request, in microseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    pub fn server_us(&self) -> f64 {
        self.server_s * 1e6 / self.answers.max(1) as f64
    }
}

impl Side {
    /// A value of its rounds.
    #[must_use]
    pub fn spread(&self, value: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(value))
    }
}

impl Row {
    /// Processor time of the first side over that of the second, round by round: what slows the machine down for a while slows both of a
    /// round. None without a second side, or if the clock saw no work.
    #[must_use]
    pub fn ratio(&self) -> Option<Spread> {
        let [ours, beside] = self.sides.as_slice() else { return None };
        let pairs = ours.rounds.iter().zip(&beside.rounds).map(|(ours, beside)| (ours.server_us(), beside.server_us()));
        if pairs.clone().any(|(ours, beside)| ours <= 0.0 || beside <= 0.0) {
            return None;
        }
        Spread::of(pairs.map(|(ours, beside)| ours / beside))
    }

    /// Whether the rounds differ too much for the row to say anything.
    #[must_use]
    pub fn is_noisy(&self) -> bool {
        self.absent.is_none() && self.ratio().is_none_or(|ratio| ratio.percent() > SPREAD_MAX_PERCENT)
    }

    /// How busy the machine was with other things, in percent of one core, if that was too much.
    #[must_use]
    pub fn disturbed_percent(&self) -> Option<f64> {
        let medians = self.sides.iter().filter_map(|side| side.spread(|round| round.others_s * 100.0 / round.seconds));
        medians.map(|spread| spread.median).max_by(f64::total_cmp).filter(|percent| *percent > OTHERS_MAX_PERCENT)
    }

    /// Whether the bound is kept; none if it cannot be told.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        self.ratio().map(|ratio| ratio.median <= self.bound)
    }
}

/// Memory of connections that have nothing to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdleRow {
    /// What `--only` names.
    pub id: String,
    /// What kind they are.
    pub name: String,
    /// The most that one may cost, in bytes.
    pub bound_bytes: u64,
    /// Why there is nothing to measure.
    pub absent: Option<String>,
    /// Ours, and what stands beside it.
    pub sides: Vec<IdleSide>,
}

/// One server of such a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdleSide {
    /// Its name.
    pub name: String,
    /// How many connections there were.
    pub connections: u64,
    /// Resident memory without them, in bytes.
    pub before_bytes: u64,
    /// Resident memory with them.
    pub after_bytes: u64,
}

impl IdleSide {
    /// Memory of one connection, in bytes.
    #[must_use]
    pub fn each_bytes(&self) -> u64 {
        self.after_bytes.saturating_sub(self.before_bytes) / self.connections.max(1)
    }
}
