//! Which prefixes are answered with a runner-up for a while, to learn about it.
//!
//! One prefix tries for its whole network. The more there is to learn, by what is expected and how unsure that is, the sooner; what is clearly worse
//! is never tried, and what runs at a time is a bounded share of prefixes and of traffic.

use std::collections::HashSet;

use super::super::estimate::is_in_doubt;
use super::super::groups::Group;
use super::super::table::{CHANGES_MAX, Entry, NOBODY};
use super::{Choosable, Number, Planning};
use crate::plan::Ranked;

/// How long a node is tried beyond the lifetime of the answers that were given before, in seconds; it ends once it was measured.
const TRIAL_S: f64 = 15.0;
/// A measurement so long after the beginning is one of the trial, in seconds.
const BEGUN_S: u32 = 2;
/// So many trials may run however few prefixes there are, so that a small CDN learns too.
const TRIALS_LEAST: usize = 2;
/// What is to be learned must be worth so much, in ms.
const WORTH_MS: f64 = 0.3;
/// A node that has so much to do is not given more to learn about it.
const BUSY: f64 = 0.7;
/// A prefix tries only so that a trial and the change back leave changes over for when they are needed, unless that is so already.
const CHANGES_LEFT: usize = 3;
const CHANGES_LEFT_IN_DOUBT: usize = 2;
/// What is known as well as that need not be tried, in ms and as a share.
const SURE_MS: f64 = 3.0;
const SURE: f64 = 0.1;

/// A trial that could be.
struct Trial {
    place: usize,
    group: Group,
    node: Number,
    worth: f64,
}

/// Ends trials that are over and begins others.
pub(super) fn trials(planning: &mut Planning<'_>, nodes: &mut [Choosable]) {
    let now = planning.now as u32;
    let length_s = planning.state.ttl.as_secs_f64() + TRIAL_S;
    let mut running: HashSet<(Group, Number)> = HashSet::new();
    let (mut tried, mut traffic, mut tried_traffic) = (0, 0.0, 0.0);
    for entry in planning.table.entries_mut() {
        traffic += f64::from(entry.rate);
        if entry.trial == NOBODY {
            continue;
        }
        let began = entry.trial_until.saturating_sub(length_s as u32);
        let is_measured = entry.slot(entry.trial).is_some_and(|slot| slot.at > began + BEGUN_S);
        if now >= entry.trial_until || is_measured || entry.trial == entry.held || !nodes[usize::from(entry.trial)].up {
            if entry.trial != entry.held {
                entry.leave(entry.trial, now);
                entry.changed(now);
            }
            (entry.trial, entry.trial_until) = (NOBODY, 0);
            continue;
        }
        running.insert((Group::widest(entry), entry.trial));
        tried += 1;
        tried_traffic += f64::from(entry.rate);
        nodes[usize::from(entry.trial)].assigned += f64::from(entry.rate);
    }
    let share = planning.settings.explore.clamp(0.0, 0.2);
    let least = if share > 0.0 { TRIALS_LEAST } else { 0 };
    let fits = (planning.table.len() as f64 * share) as usize;
    let (most, is_small) = (fits.max(least), fits < least);
    if tried >= most {
        return;
    }
    let mut wanted: Vec<Trial> = Vec::new();
    for (place, entry) in planning.table.entries().iter().enumerate() {
        let least = if is_in_doubt(entry, planning.now) { CHANGES_LEFT_IN_DOUBT } else { CHANGES_LEFT };
        let may = entry.trial == NOBODY && entry.changes(now) + least <= CHANGES_MAX;
        if let Some((node, worth)) = worth(entry, nodes).filter(|_| may) {
            wanted.push(Trial { place, group: Group::widest(entry), node, worth });
        }
    }
    wanted.sort_by(|one, two| two.worth.total_cmp(&one.worth).then(one.place.cmp(&two.place)));
    let most_traffic = traffic * share;
    for Trial { place, group, node, .. } in wanted {
        let entry = planning.table.entry(place);
        let rate = f64::from(entry.rate);
        if tried >= most {
            break;
        }
        // Of so few prefixes that none can be a small share one tries alone; of many the share holds for the first of them too.
        let may = tried_traffic + rate <= most_traffic || (is_small && tried == 0);
        let known = &mut nodes[usize::from(node)];
        if !may || known.utilization_with(rate).is_some_and(|utilization| utilization > BUSY) || !running.insert((group, node)) {
            continue;
        }
        known.assigned += rate;
        entry.trial = node;
        entry.trial_until = now + length_s as u32;
        entry.changed(now);
        tried += 1;
        tried_traffic += rate;
    }
}

/// The node that is most worth trying for a prefix, and how much that is: what is expected to be gained, by what the chance is and by how much.
fn worth(entry: &Entry, nodes: &[Choosable]) -> Option<(Number, f64)> {
    let held = entry.ranked().find(|ranked| ranked.node == entry.held)?;
    let own_ms = f64::from(held.ms) + nodes[usize::from(held.node)].cost_ms;
    let others = entry.ranked().filter(|ranked| ranked.node != held.node);
    let scored = others.filter_map(|ranked| Some((ranked.node, expected(&ranked, &nodes[usize::from(ranked.node)], own_ms)?)));
    let (node, gain_ms) = scored.max_by(|one, two| one.1.total_cmp(&two.1).then(two.0.cmp(&one.0)))?;
    // Of a network whoever has enough traffic to be measured by, and little of it.
    (gain_ms > WORTH_MS).then(|| (node, gain_ms * f64::from(entry.rate).sqrt()))
}

/// The expected gain of knowing a node, in ms.
fn expected(ranked: &Ranked, node: &Choosable, own_ms: f64) -> Option<f64> {
    let (ms, spread) = (f64::from(ranked.ms) + node.cost_ms, f64::from(ranked.spread_ms));
    let is_busy = node.utilization_with(0.0).is_some_and(|utilization| utilization > BUSY);
    // Clearly worse is what would be even at the better end of what is expected.
    if is_busy || ms - spread > own_ms || spread < SURE_MS.max(SURE * ms) {
        return None;
    }
    // The mean of what a normal distribution has below `own_ms`, its integral by the logistic curve.
    let z = (own_ms - ms) / spread;
    let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    let below = 1.0 / (1.0 + (-1.702 * z).exp());
    Some(spread * (z * below + density))
}
