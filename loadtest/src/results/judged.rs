//! Whether bounds are kept, and everything for which a run fails once it is told.

use super::figures::number;
use super::{Measure, Results, SPREAD_MAX_PERCENT, Side, Spread};
use crate::bound::Bound;

/// What became of a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is kept.
    Kept,
    /// It is not: what was measured, in words.
    Broken(String),
    /// Both sides were measured, but it cannot be told: why.
    NotKnown(String),
    /// A side was not measured: why.
    NotMeasured(String),
}

impl Measure {
    /// What became of a bound of it.
    #[must_use]
    pub fn judge(&self, bound: &Bound) -> Judged {
        let (Some(ours), Some(against)) = (self.sides.first(), self.sides.iter().find(|side| side.name == bound.against)) else {
            return Judged::NotMeasured(format!("{} was not asked for", bound.against));
        };
        if let Some((side, why)) = [ours, against].into_iter().find_map(|side| Some((side, side.missing()?))) {
            return Judged::NotMeasured(format!("{}: {why}", side.name));
        }
        if let Some(reason) = self.refusal() {
            return Judged::NotKnown(format!("refused: {reason}"));
        }
        for side in [ours, against] {
            if let Some(withheld) = side.withheld(&bound.figure) {
                return Judged::NotKnown(format!("{}: {}", side.name, withheld.reason()));
            }
        }
        let rounds = ours.rounds.iter().zip(&against.rounds);
        let ratios: Option<Vec<f64>> =
            rounds.map(|(ours, beside)| Some(ratio(ours.figure(&bound.figure)?, beside.figure(&bound.figure)?))).collect();
        match ratios.and_then(|ratios| Spread::of(ratios.into_iter())) {
            Some(ratios) => judge(&ratios, bound.ratio_max, || in_words(&ratios, bound, ours, against)),
            None => Judged::NotKnown(format!("not every round of {} and {} has the figure", ours.name, against.name)),
        }
    }
}

/// Nought is within every bound, also of nought; something is beyond every bound of nought.
fn ratio(ours: f64, beside: f64) -> f64 {
    if ours <= 0.0 {
        0.0
    } else if beside > 0.0 {
        ours / beside
    } else {
        f64::INFINITY
    }
}

/// Ratios that are far apart are judged where all of them are on one side of the bound.
fn judge(ratios: &Spread, most: f64, measured: impl Fn() -> String) -> Judged {
    if ratios.max <= most {
        Judged::Kept
    } else if ratios.min > most {
        Judged::Broken(measured())
    } else if ratios.percent().is_nan() || ratios.beyond(SPREAD_MAX_PERCENT).is_some() {
        Judged::NotKnown(format!("the ratios of the rounds are from {} to {}", number(ratios.min), number(ratios.max)))
    } else if ratios.median <= most {
        Judged::Kept
    } else {
        Judged::Broken(measured())
    }
}

fn in_words(ratios: &Spread, bound: &Bound, ours: &Side, against: &Side) -> String {
    let of = |side: &Side| side.spread(&bound.figure).map_or_else(|| "-".to_owned(), |spread| number(spread.median));
    let beside = format!("{} beside {}", of(ours), of(against));
    if ratios.median.is_finite() { format!("{} ({beside})", number(ratios.median)) } else { beside }
}

impl Results {
    /// The measures that are refused, and why; none of them may be concluded from.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        let refused = self.measures.iter().filter_map(|measure| Some(format!("{}: {}", measure.plan, measure.refusal()?)));
        refused.collect()
    }

    /// Everything for which the run is none that succeeded, in words: refused measures, sides whose answers were wrong or late, and bounds that are
    /// not kept or of which that cannot be told.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures = self.refusals();
        for measure in &self.measures {
            let plan = &measure.plan;
            let failed = measure.sides.iter().filter_map(|side| Some(format!("{plan}: {} failed: {}", side.name, side.failed.as_ref()?)));
            failures.extend(failed);
            // A refused measure is told already.
            for bound in measure.bounds.iter().filter(|_| measure.refusal().is_none()) {
                let name = format!("{plan}: the bound of {} beside {}", bound.figure, bound.against);
                match measure.judge(bound) {
                    Judged::Kept | Judged::NotMeasured(_) => {}
                    Judged::Broken(measured) => {
                        failures.push(format!("{name} is not kept: {measured}, at most {} is wanted", number(bound.ratio_max)));
                    }
                    Judged::NotKnown(why) => failures.push(format!("{name} cannot be judged: {why}")),
                }
            }
        }
        failures
    }
}
