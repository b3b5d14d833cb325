//! How well each chooser did, and the bounds that were set for it.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::bound::{Verdict, Verdicts};

/// The bounds: of traffic near its best in percent, of the mean above the oracle's and below geography's in percent, of the most loaded node in percent,
/// and of changes of node in an hour.
pub(super) const NEAR_PERCENT: f64 = 95.0;
pub(super) const ABOVE_ORACLE_PERCENT: f64 = 5.0;
pub(super) const BELOW_GEOGRAPHY_PERCENT: f64 = 15.0;
pub(super) const USED_PERCENT: f64 = 95.0;
pub(super) const CHANGES: usize = 4;
/// What sums of fractions may be off by.
const ROUNDING: f64 = 1e-6;

/// One chooser in the hour that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// Whose.
    pub name: String,
    /// The traffic that went to a node within 5 ms or 10 % of its best, in percent.
    pub near_percent: f64,
    /// The mean over all traffic, in ms, with the wait in nodes that had too much to do.
    pub mean_ms: f64,
    /// The most that a node had to do while another one had room, in percent of its capacity.
    pub used_percent: f64,
    /// How many prefixes changed node not at all, once, twice and so on; the last of these numbers is not 0.
    pub changed: Vec<u64>,
    /// Of both hours.
    pub by_minute: ByMinute,
}

/// One chooser by minute, in hundredths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByMinute {
    /// See [`Choices`].
    pub near_percent: Vec<f64>,
    /// See [`Choices`].
    pub mean_ms: Vec<f64>,
    /// The most that a node had to do, whether another one had room or not.
    pub used_percent: Vec<f64>,
}

impl ByMinute {
    /// One more minute.
    pub(super) fn push(&mut self, near_percent: f64, mean_ms: f64, used_percent: f64) {
        let hundredths = |value: f64| (value * 100.0).round() / 100.0;
        self.near_percent.push(hundredths(near_percent));
        self.mean_ms.push(hundredths(mean_ms));
        self.used_percent.push(hundredths(used_percent));
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The seed.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many prefixes.
    pub prefixes: usize,
    /// By chooser; the oracle, geography and the product's code among them.
    pub choices: Vec<Choices>,
}

impl Figures {
    /// What a chooser did.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Choices> {
        self.choices.iter().find(|choices| choices.name == name)
    }

    /// The bounds, and whether a chooser keeps them; none of who is not there.
    #[must_use]
    pub fn bounds(&self, name: &str) -> Vec<Verdict> {
        let (Some(own), Some(oracle), Some(geography)) = (self.of(name), self.of("oracle"), self.of("geography")) else {
            return Vec::new();
        };
        let percent = |what: &str, least: bool, bound: f64, measured: f64| Verdict {
            what: format!("{name}: {what}"),
            wanted: format!("{} {bound} %", if least { ">=" } else { "<=" }),
            measured: format!("{measured:.1} %"),
            kept: if least { measured >= bound - ROUNDING } else { measured <= bound + ROUNDING },
        };
        let (above, below) = (own.above_percent(oracle), -own.above_percent(geography));
        vec![
            percent("traffic within 5 ms or 10 % of its best", true, NEAR_PERCENT, own.near_percent),
            percent("mean above the oracle's", false, ABOVE_ORACLE_PERCENT, above),
            percent("mean below geography's", true, BELOW_GEOGRAPHY_PERCENT, below),
            percent("most used node while others had room", false, USED_PERCENT, own.used_percent),
            Verdict {
                what: format!("{name}: most changes of node of a prefix in an hour"),
                wanted: format!("<= {CHANGES}"),
                measured: own.changes().to_string(),
                kept: own.changes() <= CHANGES,
            },
        ]
    }
}

impl Choices {
    /// The most changes of node of one prefix.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changed.len().saturating_sub(1)
    }

    /// How much more its mean is than another's, in percent.
    #[must_use]
    pub fn above_percent(&self, other: &Self) -> f64 {
        (self.mean_ms / other.mean_ms - 1.0) * 100.0
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, prefixes, choices } = self;
        writeln!(f, "{nodes} nodes, {prefixes} client prefixes, seed {seed}; the second of two simulated hours.\n")?;
        writeln!(
            f,
            "| chooser | within 5 ms or 10 % of the best | mean | to the oracle | to geography | most used node while others had room | most changes of a \
             prefix |\n|---|---:|---:|---:|---:|---:|---:|"
        )?;
        for own in choices {
            let to = |name: &str| self.of(name).map_or_else(String::new, |other| format!("{:+.1} %", own.above_percent(other)));
            let Choices { name, near_percent, mean_ms, used_percent, .. } = own;
            let changes = own.changes();
            let (oracle, geography) = (to("oracle"), to("geography"));
            writeln!(f, "| {name} | {near_percent:.1} % | {mean_ms:.2} ms | {oracle} | {geography} | {used_percent:.1} % | {changes} |")?;
        }
        writeln!(f)?;
        Verdicts(&self.bounds("skerry")).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_broken_by_what_is_beyond_it() {
        let choices = |name: &str, mean_ms| Choices {
            name: name.to_owned(),
            near_percent: 96.0,
            mean_ms,
            used_percent: 90.0,
            changed: vec![5, 4, 3, 2, 1],
            by_minute: ByMinute::default(),
        };
        let figures = |own: Choices| Figures {
            seed: 1,
            nodes: 2,
            prefixes: 3,
            choices: vec![choices("oracle", 10.0), choices("geography", 20.0), own],
        };
        let broken = |own: Choices| figures(own).bounds("skerry").iter().filter(|verdict| !verdict.kept).count();
        let fine = choices("skerry", 10.4);
        assert_eq!(broken(fine.clone()), 0);
        assert_eq!(broken(Choices { near_percent: 94.9, ..fine.clone() }), 1);
        assert_eq!(broken(Choices { mean_ms: 10.6, ..fine.clone() }), 1);
        assert_eq!(broken(Choices { mean_ms: 17.1, ..fine.clone() }), 2);
        assert_eq!(broken(Choices { used_percent: 95.1, ..fine.clone() }), 1);
        assert_eq!(broken(Choices { changed: vec![9, 0, 0, 0, 0, 1], ..fine.clone() }), 1);
        assert!(figures(fine).bounds("nobody").is_empty());
    }
}
