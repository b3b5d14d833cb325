//! The expected latency from a prefix to every node, and how sure that is: a blend of its own measurements, its neighbours', its network's and
//! geography, each by how sure it is.

use super::groups::{Group, Groups};
use super::table::{Entry, NOBODY};
use super::{NodeKnown, distance};
use crate::plan::Geography;

/// Where it is not known where a client or a node is.
const UNPLACED_MS: f64 = 60.0;
const UNPLACED_SPREAD_MS: f64 = 60.0;
/// A single measurement is off by so much, as a share, and by so many ms.
const NOISE: f64 = 0.15;
const NOISE_MS: f64 = 1.0;
/// By how much a path may well have changed after [`DRIFT_S`], in ms; and by which share of what it is beyond geography, as what is bad gets better.
const DRIFT_MS: f64 = 4.0;
const DRIFT_S: f64 = 1_200.0;
const DRIFT_BEYOND: f64 = 0.7;
/// What a measurement of others is less sure by, as a factor of variance.
const OTHERS: f64 = 1.5;

/// What a node whose place is not known measured of clients whose place is: nothing checks it, so it is less sure, as a factor of variance.
const UNCHECKED: f64 = 2.0;

/// For so long after its node became much worse all else that is known of a prefix is less sure, in seconds, and by so much of the latency.
const DOUBT_S: f64 = 180.0;
const DOUBT: f64 = 0.4;

/// A latency in ms, and its variance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub(super) ms: f64,
    pub(super) variance: f64,
}

impl Estimate {
    pub(super) fn spread_ms(&self) -> f64 {
        self.variance.sqrt()
    }

    /// With one more thing that is known.
    fn and(self, other: Self) -> Self {
        let (own, its) = (1.0 / self.variance, 1.0 / other.variance);
        Self { ms: (self.ms * own + other.ms * its) / (own + its), variance: 1.0 / (own + its) }
    }
}

/// What may have changed since it was measured, as a variance.
fn drift(age_s: f64, beyond_ms: f64) -> f64 {
    let beyond = beyond_ms.max(0.0) * DRIFT_BEYOND;
    DRIFT_MS * DRIFT_MS * age_s / DRIFT_S + beyond * beyond * (1.0 - (-age_s / DRIFT_S).exp())
}

/// Whether the node of a prefix became much worse not long ago.
pub(super) fn is_in_doubt(entry: &Entry, now: f64) -> bool {
    now - f64::from(entry.doubted) < DOUBT_S
}

/// Estimates for all nodes, by number, into `all`.
pub(super) fn estimates(entry: &Entry, nodes: &[NodeKnown], groups: &Groups, geography: &Geography, now: f64, all: &mut Vec<Estimate>) {
    all.clear();
    let offset = groups.offset(Group::widest(entry), geography);
    let spread = f64::from(geography.spread_ms);
    let by_geography = |node: &NodeKnown| match distance(entry, node) {
        Some(km) => Estimate { ms: geography.ms(km) + offset, variance: spread * spread },
        None => Estimate { ms: UNPLACED_MS, variance: UNPLACED_SPREAD_MS * UNPLACED_SPREAD_MS },
    };
    all.extend(nodes.iter().map(by_geography));
    let age = |at: u32| (now - f64::from(at)).max(0.0);
    for group in Group::of(entry) {
        for pair in groups.of(group) {
            let Some(estimate) = all.get_mut(usize::from(pair.node)) else { continue };
            let km = nodes.get(usize::from(pair.node)).and_then(|node| distance(entry, node));
            let here = km.map_or(f64::from(pair.ms), |km| geography.ms(km) + pair.beyond(geography));
            let noise = (here * NOISE + NOISE_MS).powi(2) / f64::from(pair.weight).max(0.5);
            let variance = (groups.variance(group, pair) + noise) * OTHERS + drift(age(pair.at), here - estimate.ms);
            *estimate = estimate.and(Estimate { ms: here.max(0.1), variance });
        }
    }
    for slot in entry.slots.iter().filter(|slot| slot.node != NOBODY) {
        let Some(estimate) = all.get_mut(usize::from(slot.node)) else { continue };
        let noise = (slot.ms() * NOISE + NOISE_MS).powi(2) / slot.weight().max(0.5);
        let is_checked = entry.location.spot().is_none() || nodes.get(usize::from(slot.node)).is_some_and(|node| node.spot.is_some());
        let variance = (noise + drift(age(slot.at), slot.ms() - estimate.ms)) * if is_checked { 1.0 } else { UNCHECKED };
        *estimate = estimate.and(Estimate { ms: slot.ms(), variance });
    }
    if is_in_doubt(entry, now) {
        let others = all
            .iter_mut()
            .zip(0..)
            .filter(|(_, number)| *number != entry.held && entry.slot(*number).is_none_or(|slot| slot.at < entry.doubted));
        others.for_each(|(estimate, _)| estimate.variance += (estimate.ms * DOUBT).powi(2));
    }
}
