//! What the rounds come to: figures of a side, ratios of the first side to another, and whether a measure may be believed.

use std::collections::BTreeMap;

use super::{Bound, Measure, OTHERS_MAX_PERCENT, Results, Round, SPREAD_MAX_PERCENT, Side, Spread};

/// The operating system counts processor time in steps of so many seconds.
const TICK_S: f64 = 0.01;
/// A round that took fewer such steps says nothing: one more or less is already 5 %.
const TICKS_MIN: f64 = 20.0;

/// Something that is said of every round.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What a bound names it, with its unit.
    pub name: &'static str,
    /// What it is, with its unit, for people.
    pub title: &'static str,
    value: fn(&Round) -> Option<f64>,
}

/// All of them, in the order in which they are shown.
pub const FIGURES: &[Figure] = &[
    Figure { name: "cpu_us", title: "processor time an answer, us", value: |round| part(round.server_s * 1e6, of(round.answers)) },
    Figure { name: "answers_per_second", title: "answers a second", value: |round| part(of(round.answers), round.seconds) },
    Figure { name: "answered_percent", title: "answered of planned, %", value: |round| percent(of(round.answers), of(round.planned)) },
    Figure { name: "p50_ms", title: "latency p50, ms", value: |round| Some(of(round.latency_us.p50) / 1e3) },
    Figure { name: "p99_ms", title: "latency p99, ms", value: |round| Some(of(round.latency_us.p99) / 1e3) },
    Figure { name: "p999_ms", title: "latency p99.9, ms", value: |round| Some(of(round.latency_us.p999) / 1e3) },
    Figure { name: "first_byte_p50_ms", title: "first byte p50, ms", value: |round| Some(of(round.first_byte_us.p50) / 1e3) },
    Figure { name: "memory_mib", title: "memory, MiB", value: |round| Some(of(round.memory_bytes) / f64::from(1 << 20)) },
    Figure { name: "hits_percent", title: "hits, %", value: |round| percent(of(round.hits?), of(round.answers)) },
    Figure { name: "server_percent", title: "server busy, % of a core", value: |round| percent(round.server_s, round.seconds) },
    Figure { name: "generator_percent", title: "generator busy, % of a core", value: |round| percent(round.generator_s, round.seconds) },
    Figure { name: "others_percent", title: "others busy, % of a core", value: |round| percent(round.others_s, round.seconds) },
];

#[expect(clippy::cast_precision_loss, reason = "counts and sizes of a run are far below 2^52")]
pub(super) fn of(count: u64) -> f64 {
    count as f64
}

fn part(value: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| value / whole)
}

fn percent(value: f64, whole: f64) -> Option<f64> {
    part(value * 100.0, whole)
}

impl Round {
    /// A figure of [`FIGURES`] or of [`Round::further`]; none if there is no such one, or nothing to tell it from.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        match FIGURES.iter().find(|figure| figure.name == name) {
            Some(figure) => (figure.value)(self),
            None => self.further.get(name).copied(),
        }
    }
}

impl Side {
    /// A figure over its rounds; none if a round does not have it.
    #[must_use]
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        let values: Option<Vec<f64>> = self.rounds.iter().map(|round| round.figure(figure)).collect();
        Spread::of(values?.into_iter())
    }

    /// The latencies of all rounds: upper ends in microseconds, and counts.
    #[must_use]
    pub fn histogram(&self) -> BTreeMap<u64, u64> {
        let mut merged = BTreeMap::new();
        for (end, count) in self.rounds.iter().flat_map(|round| &round.histogram) {
            *merged.entry(*end).or_default() += count;
        }
        merged
    }
}

impl Measure {
    /// The sides that were measured, ours first if it was.
    pub fn measured(&self) -> impl Iterator<Item = &Side> {
        self.sides.iter().filter(|side| side.absent.is_none())
    }

    /// The names of its figures and what they are: those of every measure, then those of the scenario.
    #[must_use]
    pub fn figures(&self) -> Vec<(&str, &str)> {
        let mut figures: Vec<(&str, &str)> = FIGURES.iter().map(|figure| (figure.name, figure.title)).collect();
        let own = self.sides.iter().flat_map(|side| &side.rounds).flat_map(|round| round.further.keys());
        let own: std::collections::BTreeSet<&str> = own.map(String::as_str).collect();
        figures.extend(own.into_iter().filter(|name| FIGURES.iter().all(|figure| figure.name != *name)).map(|name| (name, name)));
        figures
    }

    /// A figure of the first side over that of another, round by round: what slows the machine down for a while slows both of a round. None
    /// if a side was not measured, or the other's figure is nought.
    #[must_use]
    pub fn ratio(&self, figure: &str, against: &Side) -> Option<Spread> {
        let ours = self.sides.first()?;
        let pairs = ours.rounds.iter().zip(&against.rounds);
        let ratios: Option<Vec<f64>> = pairs.map(|(ours, beside)| part(ours.figure(figure)?, beside.figure(figure)?)).collect();
        Spread::of(ratios?.into_iter())
    }

    /// Why nothing may be concluded from it, with numbers; none if something may.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.measured().find_map(counted_too_little).or_else(|| self.disturbed()).or_else(|| self.noisy())
    }

    fn disturbed(&self) -> Option<String> {
        let busy = self.measured().filter_map(|side| Some((side, side.spread("others_percent")?.median)));
        let (side, percent) = busy.max_by(|one, other| one.1.total_cmp(&other.1)).filter(|(_, percent)| *percent > OTHERS_MAX_PERCENT)?;
        let name = &side.name;
        Some(format!("other programs used {percent:.0} % of a core while {name} was measured, where {OTHERS_MAX_PERCENT} % may be"))
    }

    fn noisy(&self) -> Option<String> {
        self.sides.iter().skip(1).find_map(|side| {
            let apart = self.ratio("cpu_us", side).map(|ratio| ratio.percent()).filter(|apart| *apart > SPREAD_MAX_PERCENT)?;
            let name = &side.name;
            Some(format!("the rounds' ratios of processor time to {name} are {apart:.0} % apart, where {SPREAD_MAX_PERCENT} % may be"))
        })
    }

    /// Whether a bound of it is kept; none if that cannot be told.
    #[must_use]
    pub fn is_kept(&self, bound: &Bound) -> Option<bool> {
        if self.refusal().is_some() {
            return None;
        }
        let against = self.sides.iter().find(|side| side.name == bound.against)?;
        // Nought beside nought has no ratio, but is within every bound.
        let (ours, beside) = (self.sides.first()?.spread(&bound.figure)?, against.spread(&bound.figure)?);
        if ours.max == 0.0 && beside.min >= 0.0 {
            return Some(true);
        }
        self.ratio(&bound.figure, against).map(|ratio| ratio.median <= bound.ratio_max)
    }
}

fn counted_too_little(side: &Side) -> Option<String> {
    let name = &side.name;
    side.rounds.iter().enumerate().find_map(|(index, round)| {
        let (number, ticks) = (index + 1, round.server_s / TICK_S);
        if round.answers == 0 {
            return Some(format!("{name} gave no answer in round {number}"));
        }
        // What was added up from steps may be a hair below them.
        (ticks + 1e-6 < TICKS_MIN).then(|| {
            let (seconds, needed) = (round.server_s, TICKS_MIN * TICK_S);
            format!("{name} used {seconds:.2} s of processor time in round {number}, below {needed:.2} s that is as coarse as its clock")
        })
    })
}

impl Results {
    /// The measures that are refused, and why; none of them may be concluded from.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        let refused = self.measures.iter().filter_map(|measure| Some(format!("{}: {}", measure.plan, measure.refusal()?)));
        refused.collect()
    }

    /// The bounds that are not kept, in words. One that cannot be told is none of them.
    #[must_use]
    pub fn broken_bounds(&self) -> Vec<String> {
        let all = self.measures.iter().flat_map(|measure| measure.bounds.iter().map(move |bound| (measure, bound)));
        let broken = all.filter(|(measure, bound)| measure.is_kept(bound) == Some(false));
        broken
            .map(|(measure, bound)| format!("{}: {} is more than {} of {}", measure.plan, bound.figure, bound.ratio_max, bound.against))
            .collect()
    }
}

/// The latency below which a part of all requests were, in microseconds; none of no requests.
pub(super) fn quantile(histogram: &BTreeMap<u64, u64>, part: f64) -> Option<u64> {
    let total: u64 = histogram.values().sum();
    let wanted = of(total) * part;
    let mut below = 0;
    let found = histogram.iter().find(|(_, count)| {
        below += **count;
        below > 0 && of(below) >= wanted
    });
    found.map(|(end, _)| *end)
}

/// A number as people read it: three digits that say something.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 0.995 => 3,
        size if size < 9.95 => 2,
        size if size < 99.5 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
