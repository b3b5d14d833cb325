//! What makes one plan out of another: for those that keep a copy and are not to be sent the whole table every few seconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Geography, Network, Node, Plan, Row, Summary};
use crate::prefix::Prefix;

/// What differs from one plan to a later one of the same learner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// [`Plan::made`] of the later one.
    pub made: f64,
    /// All of its nodes.
    pub nodes: Vec<Node>,
    /// Its geography.
    pub geography: Geography,
    /// Its summary.
    pub summary: Summary,
    /// The networks that are other or were not there.
    pub networks: Vec<(u32, Network)>,
    /// The networks that are there no more.
    pub networks_gone: Vec<u32>,
    /// The rows that are other or were not there.
    pub rows: Vec<Row>,
    /// The rows that are there no more.
    pub gone: Vec<Prefix>,
}

impl Plan {
    /// What differs from an older plan; from an empty one that is everything.
    #[must_use]
    pub fn since(&self, before: &Self) -> Difference {
        let mut difference = Difference {
            made: self.made,
            nodes: self.nodes.to_vec(),
            geography: self.geography,
            summary: self.summary,
            ..Difference::default()
        };
        if !Arc::ptr_eq(&self.networks, &before.networks) {
            let other = self.networks.iter().filter(|(number, network)| before.networks.get(number) != Some(network));
            difference.networks = other.map(|(number, network)| (*number, network.clone())).collect();
            difference.networks_gone = before.networks.keys().filter(|number| !self.networks.contains_key(number)).copied().collect();
        }
        let empty = Arc::default();
        for number in 0..self.pages.len().max(before.pages.len()) {
            let (page, old) = (self.pages.get(number).unwrap_or(&empty), before.pages.get(number).unwrap_or(&empty));
            if !Arc::ptr_eq(page, old) {
                difference.rows.extend(page.iter().filter(|row| before.row(row.prefix) != Some(row)));
                difference.gone.extend(old.iter().map(|row| row.prefix).filter(|prefix| self.row(*prefix).is_none()));
            }
        }
        difference
    }

    /// The later plan again.
    #[must_use]
    pub fn after(&self, difference: &Difference) -> Self {
        let mut plan = self.with_rows(difference.rows.iter().copied(), difference.gone.iter().copied());
        if !difference.networks.is_empty() || !difference.networks_gone.is_empty() {
            let mut networks: BTreeMap<u32, Network> = (*plan.networks).clone();
            networks.retain(|number, _| !difference.networks_gone.contains(number));
            networks.extend(difference.networks.iter().cloned());
            plan.networks = Arc::new(networks);
        }
        Self {
            made: difference.made,
            nodes: Arc::new(difference.nodes.clone()),
            geography: difference.geography,
            summary: difference.summary,
            ..plan
        }
    }
}
