//! The numbers of nodes: a node keeps its own as long as the CDN has it, and another one gets it once nothing is left of the first.
//!
//! A node that is gone is taken out of the table and the groups at once, so that the next plan is without its number; when that one is in force the
//! number is free. Whoever keeps a copy of the plan is told the names of the nodes and the rows with their numbers in one change.

use super::{Learner, NODES_MAX, Number};
use crate::geo::Spot;

/// What is known of a node beside what it measured.
#[derive(Debug, Default)]
pub(super) struct NodeKnown {
    /// Nothing of a number that is no node's.
    pub(super) name: String,
    pub(super) spot: Option<Spot>,
    /// Prefixes that it brought in.
    pub(super) brought: u32,
}

impl NodeKnown {
    pub(super) fn is_someone(&self) -> bool {
        !self.name.is_empty()
    }
}

impl Learner {
    /// Forgets all nodes but those that the CDN has, drained and unconnected ones among them.
    pub fn only(&mut self, now: f64, has: impl Fn(&str) -> bool) {
        let gone: Vec<bool> = self.nodes.iter().map(|node| node.is_someone() && !has(&node.name)).collect();
        if !gone.contains(&true) {
            return;
        }
        for (number, _) in (0..).zip(&gone).filter(|(_, is_gone)| **is_gone) {
            let node = std::mem::take(&mut self.nodes[usize::from(number)]);
            self.numbers.remove(&node.name);
            self.loads.begin(number);
            self.parted.insert(number);
        }
        let is_gone = |number: Number| gone.get(usize::from(number)).is_some_and(|is_gone| *is_gone);
        self.table.entries_mut().for_each(|entry| entry.part_with(is_gone, now as u32));
        self.groups.part_with(is_gone);
    }

    /// The number of a node, which it keeps; `None` when there are too many, or it has no name.
    pub(super) fn number(&mut self, name: &str) -> Option<Number> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        if name.is_empty() {
            return None;
        }
        let next = || Number::try_from(self.nodes.len()).ok().filter(|number| usize::from(*number) < NODES_MAX);
        let number = self.free.pop_first().or_else(next)?;
        if usize::from(number) == self.nodes.len() {
            self.nodes.push(NodeKnown::default());
        }
        self.nodes[usize::from(number)].name = name.to_owned();
        self.numbers.insert(name.to_owned(), number);
        self.loads.begin(number);
        Some(number)
    }

    /// Gives the next number to a node that was kept, or to none where the name is empty; `None` when there are too many, or two of that name.
    pub(super) fn restore_number(&mut self, name: String) -> Option<()> {
        let number = Number::try_from(self.nodes.len()).ok().filter(|number| usize::from(*number) < NODES_MAX)?;
        self.loads.begin(number);
        if name.is_empty() {
            self.parted.insert(number);
        } else if self.numbers.insert(name.clone(), number).is_some() {
            return None;
        }
        self.nodes.push(NodeKnown { name, ..NodeKnown::default() });
        Some(())
    }

    /// Frees the numbers of nodes that are gone and that the plan in force has no more.
    pub(super) fn free_numbers(&mut self) {
        if !self.parted.is_empty() {
            let mut planned = vec![false; self.nodes.len()];
            for number in self.plan.numbers() {
                if let Some(planned) = planned.get_mut(usize::from(number)) {
                    *planned = true;
                }
            }
            let is_planned = |number: Number| planned.get(usize::from(number)).is_some_and(|planned| *planned);
            let (kept, freed) = std::mem::take(&mut self.parted).into_iter().partition(|number| is_planned(*number));
            self.parted = kept;
            self.free.extend::<std::collections::BTreeSet<Number>>(freed);
        }
        // What was many once is looked through no more.
        while let Some(last) =
            self.nodes.len().checked_sub(1).and_then(|last| Number::try_from(last).ok()).filter(|last| self.free.remove(last))
        {
            self.nodes.truncate(usize::from(last));
            self.loads.keep(usize::from(last));
        }
    }
}
