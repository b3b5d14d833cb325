//! Two files of results beside each other: what became more or less, and by more than the rounds themselves differ.

use std::fmt::Write as _;

use super::figures::number;
use super::markdown::{escape, write_table};
use super::page::{Line, Table};
use super::{Measure, Results, Side, Spread};

/// What two results say of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Why they may not be compared, or not all of them.
    pub warnings: Vec<String>,
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
}

impl Change {
    /// By how much the median changed, in percent of the old one; none of nought.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        (self.old.median != 0.0).then(|| (self.new.median - self.old.median) * 100.0 / self.old.median)
    }

    /// Whether it changed by more than the rounds differ: those of one file are all above those of the other.
    #[must_use]
    pub fn is_larger(&self) -> bool {
        self.new.min > self.old.max || self.new.max < self.old.min
    }
}

/// Compares two results. A measure that is refused in one of them is not compared.
#[must_use]
pub fn difference(old: &Results, new: &Results) -> Difference {
    let mut found = Difference { warnings: circumstances(old, new), changes: Vec::new(), only_old: Vec::new(), only_new: Vec::new() };
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

impl Difference {
    fn measures(&mut self, old: &Measure, new: &Measure) {
        let plan = &old.plan;
        if old.load != new.load {
            self.warnings.push(format!("{plan} is not comparable: the loads differ, {} and {}", old.load, new.load));
        }
        let refusals = [("old", old.refusal()), ("new", new.refusal())];
        let refused =
            refusals.into_iter().filter_map(|(which, reason)| Some(format!("{plan} is refused in the {which} file: {}", reason?)));
        let before = self.warnings.len();
        self.warnings.extend(refused);
        if self.warnings.len() > before {
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
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        match (&old_side.absent, &new_side.absent) {
            (None, None) => {}
            (Some(_), Some(_)) => return,
            (None, Some(_)) => return self.only_old.push(format!("{plan}, {side}")),
            (Some(_), None) => return self.only_new.push(format!("{plan}, {side}")),
        }
        for name in names {
            match (old_side.spread(name), new_side.spread(name)) {
                (Some(old), Some(new)) => {
                    self.changes.push(Change { plan: plan.clone(), side: side.clone(), figure: name.to_owned(), old, new });
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
        for warning in &self.warnings {
            let _ = writeln!(text, "- **{}.**", escape(warning));
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        text.push_str("Medians of the rounds. A change is larger where all rounds of one file are above all of the other, else it is within their spread.\n\n");
        let head = ["measure", "side", "figure", "old", "new", "change, %", "beside the spread"];
        let lines = self.changes.iter().map(|change| {
            let percent = change.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1}"));
            let verdict = if change.is_larger() { "larger" } else { "within spread" };
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
