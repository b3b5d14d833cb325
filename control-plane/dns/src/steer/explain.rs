//! Why a client is given the edges that it is given: everything that counted, and what excluded the others.

use super::unmeasured::{Unmeasured, share_of_price};
use super::{Choice, Steer, Wanted, choose};
use crate::place::Client;
use crate::prefix::Prefix;
use crate::zone::{Addresses, Zone};

/// Why an edge was not considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// It is not up.
    Down,
    /// It has no address.
    NoAddress,
    /// It does not have the site, or the site's fence is around other regions.
    NotForSite,
    /// The operator declared others for the client's prefix.
    Declared,
    /// By its weight it does not take this group of clients.
    Weight,
    /// It is not among the best that are planned for the client's prefix.
    Unknown,
}

impl Excluded {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Down => "it is not up",
            Self::NoAddress => "it has no address",
            Self::NotForSite => "it does not have the site, or the site is fenced off from its region",
            Self::Declared => "another one is declared for the client's prefix",
            Self::Weight => "by its weight it does not take this client",
            Self::Unknown => "it is not among the best that are planned for the client's prefix",
        }
    }
}

/// An edge with all that counts for a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The expected latency, in ms; none when nothing is known.
    pub ms: Option<f64>,
    /// One standard deviation of that, in ms.
    pub spread_ms: Option<f64>,
    /// How sure the latency is, 0 to 1.
    pub certainty: f64,
    /// The operator's cost, in ms.
    pub cost_ms: f64,
    /// The price of its load, in ms, as this client counts it.
    pub price_ms: f64,
    /// How much of what it can do it will do by the plan, 1.0 being all; may be more; none when that is not known.
    pub utilization: Option<f32>,
    /// What excludes it.
    pub excluded: Option<Excluded>,
}

/// A choice with everything that counted.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The choice: exactly what DNS answers.
    pub choice: Choice<'a>,
    /// The prefix of the plan's row around the client, whether it was chosen by or not; none where nothing is planned for it.
    pub matched: Option<Prefix>,
    /// The edges, the best first, those that were excluded last.
    pub considered: Vec<Considered>,
}

/// Explains a choice; `None` for addresses that are the same for everybody.
#[must_use]
pub fn explain<'a>(zone: &'a Zone, addresses: &Addresses, client: &Client, wanted: Wanted, now: f64) -> Option<Explanation<'a>> {
    let choice = choose(zone, addresses, client, wanted, now)?;
    let steer = zone.steer(addresses)?;
    let row = zone.state().plan.around(Prefix::from(client));
    let matched = row.map(|row| row.prefix);
    let mut considered = steer.considered(zone, client);
    let place = |one: &Considered| choice.edges.iter().position(|edge| edge.name == one.name).unwrap_or(usize::MAX);
    let total = |one: &Considered| one.ms.unwrap_or(f64::MAX) + one.cost_ms + one.price_ms;
    considered.sort_by(|one, two| {
        let order = |one: &Considered| (one.excluded.is_some(), place(one));
        order(one).cmp(&order(two)).then(total(one).total_cmp(&total(two))).then_with(|| one.name.cmp(&two.name))
    });
    Some(Explanation { choice, matched, considered })
}

impl Steer {
    fn considered(&self, zone: &Zone, client: &Client) -> Vec<Considered> {
        let state = zone.state();
        let (group, prefix) = (client.group(), Prefix::from(client));
        let own =
            zone.coverage.place(client).declared.and_then(|declared| self.declared.get(declared as usize)).filter(|own| !own.is_empty());
        let row = state.plan.around(prefix);
        let is_known = |node: usize| self.planned.get(node).copied().flatten().is_some();
        // Where none of its edges may be answered with the row counts for nothing.
        let row = row.filter(|row| row.ranked().any(|ranked| is_known(usize::from(ranked.node))));
        let unmeasured = Unmeasured::of(self, state, prefix);
        let share = if row.is_some() || own.is_some() { 1.0 } else { share_of_price(&group) };
        let one = |(index, edge): (usize, &crate::state::Edge)| {
            let node = state.plan.nodes.iter().position(|node| node.name == edge.name);
            let planned = node.and_then(|node| Some((node, state.plan.nodes.get(node)?)));
            let ranked = row.and_then(|row| row.ranked().find(|ranked| Some(usize::from(ranked.node)) == node));
            let as_unmeasured = || unmeasured.as_ref()?.ms(index, &self.candidates[index]);
            let ms = ranked.map(|ranked| f64::from(ranked.ms)).or_else(as_unmeasured);
            let spread_ms =
                ranked.map(|ranked| f64::from(ranked.spread_ms)).or_else(|| ms.map(|_| f64::from(state.plan.geography.spread_ms)));
            let excluded = if edge.addresses.is_empty() {
                Some(Excluded::NoAddress)
            } else if !self.eligible[index] {
                Some(match edge.up || self.last_resort {
                    true if edge.weight == 0 => Excluded::Weight,
                    true => Excluded::NotForSite,
                    false => Excluded::Down,
                })
            } else if own.is_some_and(|own| !own.contains(&index)) {
                Some(Excluded::Declared)
            } else if !self.takes(index, &group) {
                Some(Excluded::Weight)
            } else if own.is_none() && row.is_some() && ranked.is_none() {
                Some(Excluded::Unknown)
            } else {
                None
            };
            Considered {
                name: edge.name.clone(),
                region: edge.region.clone(),
                ms,
                spread_ms,
                certainty: ms.zip(spread_ms).map_or(0.0, |(ms, spread)| ms / (ms + spread).max(f64::MIN_POSITIVE)),
                cost_ms: self.candidates[index].cost_ms,
                price_ms: planned.map_or(0.0, |(_, node)| f64::from(node.price_ms) * share),
                utilization: planned.and_then(|(_, node)| node.utilization).or(edge.utilization),
                excluded,
            }
        };
        state.edges.iter().enumerate().map(one).collect()
    }
}
