//! Two files of results beside each other: what became more or less, and by more than the rounds themselves differ.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::figures::number;
use super::markdown::{escape, write_table};
use super::page::{Line, Table};
use super::{Measure, ROUNDS_MIN, Results, Side, Spread};

/// What two results say of each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// What else differs than what was measured.
    pub warnings: Vec<String>,
    /// The measures that are in both and are not compared, and why.
    pub refused: Vec<String>,
    /// Every figure that is in both.
    pub changes: Vec<Change>,
    /// What is in the old file alone.
    pub only_old: Vec<String>,
    /// What is in the new file alone.
    pub only_new: Vec<String>,
}

/// A figure that is in both.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The measure.
    pub plan: String,
    /// The side.
    pub side: String,
    /// The figure's name.
    pub figure: String,
    /// Over the rounds of the old file.
    pub old: Spread,
    /// Over those of the new one.
    pub new: Spread,
    /// How many rounds the file has that has fewer.
    pub rounds: usize,
}

impl Change {
    /// By how much the median changed, in percent of the old one; none of nought.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        (self.old.median != 0.0).then(|| (self.new.median - self.old.median) * 100.0 / self.old.median)
    }

    /// Whether it changed by more than the rounds differ: those of one file are all above those of the other. Nobody knows of fewer rounds than
    /// [`ROUNDS_MIN`].
    #[must_use]
    pub fn is_beyond(&self) -> Option<bool> {
        (self.rounds >= ROUNDS_MIN).then_some(self.new.min > self.old.max || self.new.max < self.old.min)
    }
}

/// Compares two results. A measure whose figures are not shown in one of them, or whose plans differ, is not compared.
#[must_use]
pub fn difference(old: &Results, new: &Results) -> Difference {
    let mut found = Difference { warnings: circumstances(old, new), ..Difference::default() };
    for before in &old.measures {
        match new.measures.iter().find(|measure| measure.plan == before.plan) {
            Some(after) => found.measures(before, after),
            None => found.only_old.push(before.plan.clone()),
        }
    }
    let is_old = |plan: &str| old.measures.iter().any(|measure| measure.plan == plan);
    found.only_new.extend(new.measures.iter().filter(|measure| !is_old(&measure.plan)).map(|measure| measure.plan.clone()));
    found
}

fn circumstances(old: &Results, new: &Results) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.machine != new.machine {
        let name = |results: &Results| {
            let machine = &results.machine;
            format!("{}, {} cores, {} MiB, {}", machine.processor, machine.cores, machine.memory_mib, machine.kernel)
        };
        warnings.push(format!("not comparable: the machines differ, {} and {}", name(old), name(new)));
    }
    let name = |core: Option<usize>| core.map_or_else(|| "any".to_owned(), |core| core.to_string());
    for (what, one, other) in [("server", old.server_core, new.server_core), ("generator", old.generator_core, new.generator_core)] {
        if one != other {
            warnings.push(format!("not comparable: the cores of the {what} differ, {} and {}", name(one), name(other)));
        }
    }
    warnings
}

/// The settings in which the plans differ, with both values.
fn differing(old: &Measure, new: &Measure) -> Vec<String> {
    let names: BTreeSet<&String> = old.asked.keys().chain(new.asked.keys()).collect();
    let value = |measure: &Measure, name: &String| measure.asked.get(name).map_or_else(|| "not set".to_owned(), ToString::to_string);
    let differing = names.into_iter().filter(|name| old.asked.get(*name) != new.asked.get(*name));
    differing.map(|name| format!("{name} is {} and {}", value(old, name), value(new, name))).collect()
}

impl Difference {
    fn measures(&mut self, old: &Measure, new: &Measure) {
        let plan = &old.plan;
        let before = self.refused.len();
        let differing = differing(old, new);
        if !differing.is_empty() {
            self.refused.push(format!("{plan} is not compared: its plans differ, old and new: {}", differing.join(", ")));
        }
        for (which, reason) in [("old", old.unsound()), ("new", new.unsound())] {
            self.refused.extend(reason.map(|reason| format!("{plan} is not compared: it is refused in the {which} file: {reason}")));
        }
        if self.refused.len() > before {
            return;
        }
        for side in &old.sides {
            match new.sides.iter().find(|other| other.name == side.name) {
                Some(other) => self.sides(old, side, new, other),
                None => self.only_old.push(format!("{plan}, {}", side.name)),
            }
        }
        let is_old = |name: &str| old.sides.iter().any(|side| side.name == name);
        self.only_new.extend(new.sides.iter().filter(|side| !is_old(&side.name)).map(|side| format!("{plan}, {}", side.name)));
    }

    fn sides(&mut self, old: &Measure, old_side: &Side, new: &Measure, new_side: &Side) {
        let (plan, side) = (&old.plan, &old_side.name);
        let mut names: Vec<&str> = old.figures().into_iter().chain(new.figures()).map(|(name, _)| name).collect();
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        let rounds = old_side.rounds.len().min(new_side.rounds.len());
        match (old_side.missing(), new_side.missing()) {
            (None, None) => {}
            (Some(_), Some(_)) => return,
            (None, Some(_)) => return self.only_old.push(format!("{plan}, {side}")),
            (Some(_), None) => return self.only_new.push(format!("{plan}, {side}")),
        }
        for name in names {
            match (old_side.spread(name), new_side.spread(name)) {
                (Some(old), Some(new)) => {
                    self.changes.push(Change { plan: plan.clone(), side: side.clone(), figure: name.to_owned(), old, new, rounds });
                }
                (Some(_), None) => self.only_old.push(format!("{plan}, {side}, {name}")),
                (None, Some(_)) => self.only_new.push(format!("{plan}, {side}, {name}")),
                (None, None) => {}
            }
        }
    }

    /// As a page of Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("# Differences\n\n");
        let warnings = self.warnings.iter().chain(&self.refused);
        for warning in warnings.clone() {
            let _ = writeln!(text, "- **{}.**", escape(warning));
        }
        if warnings.count() > 0 {
            text.push('\n');
        }
        text.push_str(
            "Medians of the rounds. A change is beyond the spread where all rounds of one file are above all of the other, else it is within the spread. \
             Nothing is said of fewer than three rounds.\n\n",
        );
        let head = ["measure", "side", "figure", "old", "new", "change, %", "verdict"];
        let lines = self.changes.iter().map(|change| {
            let percent = change.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1}"));
            let verdict = match change.is_beyond() {
                Some(true) => "beyond the spread",
                Some(false) => "within the spread",
                None => "too few rounds",
            };
            let (old, new) = (number(change.old.median), number(change.new.median));
            Line::Cells(vec![change.plan.clone(), change.side.clone(), change.figure.clone(), old, new, percent, verdict.to_owned()])
        });
        write_table(&mut text, &Table { head: head.map(str::to_owned).to_vec(), lines: lines.collect() });
        for (which, only) in [("old", &self.only_old), ("new", &self.only_new)] {
            if !only.is_empty() {
                let _ = writeln!(text, "\nIn the {which} file alone:\n");
                for what in only {
                    let _ = writeln!(text, "- {}", escape(what));
                }
            }
        }
        text
    }
}
