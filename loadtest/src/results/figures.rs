//! What the rounds come to: figures of a side, and ratios of the first side to another.

use std::collections::BTreeMap;

use super::{Measure, Round, Side, Spread};

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
    /// Why it has no figures, if it has none.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let failed = self.failed.as_ref().map(|why| format!("failed: {why}"));
        failed.or_else(|| self.absent.as_ref().map(|why| format!("not measured: {why}")))
    }

    /// A figure over its rounds; none if a round does not have it, or it may not be told.
    #[must_use]
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        if self.withheld(figure).is_some() {
            return None;
        }
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
        self.sides.iter().filter(|side| side.missing().is_none())
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
    /// if a side was not measured, the figure may not be told of it, or the other's is nought.
    #[must_use]
    pub fn ratio(&self, figure: &str, against: &Side) -> Option<Spread> {
        let ours = self.sides.first()?;
        if ours.withheld(figure).or(against.withheld(figure)).is_some() {
            return None;
        }
        let pairs = ours.rounds.iter().zip(&against.rounds);
        let ratios: Option<Vec<f64>> = pairs.map(|(ours, beside)| part(ours.figure(figure)?, beside.figure(figure)?)).collect();
        Spread::of(ratios?.into_iter())
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
