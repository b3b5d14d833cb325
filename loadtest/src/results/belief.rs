//! Whether a measure may be believed, and which of its figures may be told.
//!
//! Owns the limits of noise, and every reason for which something is refused or withheld, with its numbers.

use super::{Measure, OTHERS_MAX_PERCENT, ROUNDS_MIN, Round, SPREAD_MAX_PERCENT, Side};

/// The operating system counts processor time in steps of so many seconds.
const TICK_S: f64 = 0.01;
/// A round that took fewer such steps says nothing: one more or less is already 5 %.
const TICKS_MIN: f64 = 20.0;
/// A percentile is told where so many samples of every round are beyond it.
pub(super) const BEYOND_MIN: u64 = 10;
/// From here on whoever asks, or the server, has no time left, in percent of a core.
const BUSY_PERCENT: f64 = 95.0;
/// How busy the cores of whoever asks and of the server were while asked, among [`Round::further`].
const GENERATOR_BUSY: &str = "generator_busy_percent";
const SERVER_BUSY: &str = "server_busy_percent";
/// Figures of how much came in a time.
const THROUGHPUT: [&str; 2] = ["answers_per_second", "mib_per_second"];
/// Figures that are percentiles: one sample in so many is beyond it. Those of purges are of as many samples as there were purges, all others of as
/// many as there were answers.
const PERCENTILES: [(&str, u64); 8] = [
    ("p50_ms", 2),
    ("p99_ms", 100),
    ("p999_ms", 1_000),
    ("first_byte_p50_ms", 2),
    ("first_byte_p99_over_first", 100),
    ("sent_late_p99_us", 100),
    ("purge_p50_us", 2),
    ("purge_p99_us", 100),
];

/// Why a figure is not told of a side, though its rounds have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Withheld {
    /// It is a percentile, and a round had `samples` where it needs `needed`.
    FewSamples { samples: u64, needed: u64 },
    /// It is as much as the generator could do.
    Generator { round: usize, generator_percent: f64, server_percent: f64 },
}

impl Withheld {
    /// In words, behind what is not told.
    pub(super) fn reason(self) -> String {
        match self {
            Self::FewSamples { samples, needed } => {
                format!("a round had {samples} samples, and {needed} leave {BEYOND_MIN} beyond it")
            }
            Self::Generator { round, generator_percent, server_percent } => format!(
                "in round {round} the generator was busy for {generator_percent:.0} % and the server for {server_percent:.0} %, so it is what the \
                 generator can do"
            ),
        }
    }
}

impl Side {
    /// Why a figure is not told of it, if it is not.
    pub(super) fn withheld(&self, figure: &str) -> Option<Withheld> {
        if let Some((_, one_in)) = PERCENTILES.iter().find(|(name, _)| *name == figure) {
            let needed = one_in * BEYOND_MIN;
            let samples = self.rounds.iter().map(|round| samples(round, figure)).min()?;
            return (samples < needed).then_some(Withheld::FewSamples { samples, needed });
        }
        if !THROUGHPUT.contains(&figure) {
            return None;
        }
        self.rounds.iter().zip(1..).find_map(|(round, number)| {
            let generator_percent = round.figure(GENERATOR_BUSY)?;
            let server_percent = round.figure(SERVER_BUSY).or_else(|| round.figure("server_percent"))?;
            let is_its_own = generator_percent > BUSY_PERCENT && server_percent < BUSY_PERCENT;
            is_its_own.then_some(Withheld::Generator { round: number, generator_percent, server_percent })
        })
    }

    fn counted_too_little(&self) -> Option<String> {
        let name = &self.name;
        self.rounds.iter().zip(1..).find_map(|(round, number)| {
            if round.answers == 0 {
                return Some(format!("{name} gave no answer in round {number}"));
            }
            // What was added up from steps may be a hair below them.
            (round.server_s / TICK_S + 1e-6 < TICKS_MIN).then(|| {
                let (seconds, needed) = (round.server_s, TICKS_MIN * TICK_S);
                format!(
                    "{name} used {seconds:.2} s of processor time in round {number}, below {needed:.2} s that is as coarse as its clock"
                )
            })
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that was made a float, or what a file says in its place"
)]
fn samples(round: &Round, figure: &str) -> u64 {
    if figure.starts_with("purge_") { round.further.get("purges").map_or(0, |purges| *purges as u64) } else { round.answers }
}

impl Measure {
    /// Why nothing may be concluded from it, with numbers; none if something may.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.unsound().or_else(|| self.too_few())
    }

    /// Why not even its figures may be shown.
    pub(super) fn unsound(&self) -> Option<String> {
        self.measured().find_map(Side::counted_too_little).or_else(|| self.disturbed()).or_else(|| self.noisy())
    }

    /// Why its figures may be shown but nothing be concluded from them: nobody knows how far rounds are apart.
    pub(super) fn too_few(&self) -> Option<String> {
        let rounds = self.measured().next()?.rounds.len();
        (rounds < ROUNDS_MIN).then(|| format!("too few rounds to conclude: {rounds}, where {ROUNDS_MIN} are the least"))
    }

    fn disturbed(&self) -> Option<String> {
        let busy = self.measured().filter_map(|side| Some((side, side.spread("others_percent")?.max)));
        let (side, percent) = busy.max_by(|one, other| one.1.total_cmp(&other.1)).filter(|(_, percent)| *percent > OTHERS_MAX_PERCENT)?;
        let name = &side.name;
        Some(format!("other programs used {percent:.0} % of a core in a round of {name}, where {OTHERS_MAX_PERCENT} % may be"))
    }

    fn noisy(&self) -> Option<String> {
        let mut measured = self.measured();
        if let (Some(alone), None) = (measured.next(), measured.next()) {
            let apart = alone.spread("cpu_us").and_then(|spread| spread.beyond(SPREAD_MAX_PERCENT))?;
            let name = &alone.name;
            return Some(format!("the rounds of {name} are {apart:.0} % apart in processor time, where {SPREAD_MAX_PERCENT} % may be"));
        }
        self.sides.iter().skip(1).find_map(|side| {
            let (apart, name) = (self.noise("cpu_us", side)?, &side.name);
            Some(format!("the rounds' ratios of processor time to {name} are {apart:.0} % apart, where {SPREAD_MAX_PERCENT} % may be"))
        })
    }

    /// How far the ratios of a figure to that of another side are apart, in percent, if that is too far for a ratio to be told.
    pub(super) fn noise(&self, figure: &str, against: &Side) -> Option<f64> {
        self.ratio(figure, against)?.beyond(SPREAD_MAX_PERCENT)
    }
}
