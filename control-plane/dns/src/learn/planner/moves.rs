//! Which prefixes change their node.

use super::super::table::{CHANGES_MAX, Entry, NOBODY};
use super::{Choosable, Number, Planning};

/// A move is made for a gain above this, in ms and as a share of the latency.
const GAIN_MS: f64 = 1.5;
const GAIN: f64 = 0.04;
/// What is less sure counts for so much more, as a share of one standard deviation.
const RISK: f64 = 1.0;
/// Changes that are kept for when they are needed: when a node has too much to do, or has become much worse.
const KEPT: usize = 1;
/// What makes a change needed: a gain of so many ms, and so much of the latency.
const NEEDED_MS: f64 = 10.0;
const NEEDED: f64 = 0.25;

/// A move that would be a gain.
struct Move {
    place: usize,
    gain_ms: f64,
}

/// Makes all moves that are a gain, the largest first. Says how many.
pub(super) fn moves(planning: &mut Planning<'_>, nodes: &mut [Choosable]) -> u64 {
    let now = planning.now as u32;
    let mut wanted = Vec::new();
    for place in 0..planning.table.len() {
        let entry = planning.table.entry(place);
        let is_served =
            nodes.get(usize::from(entry.held)).is_some_and(|node| node.up) && entry.ranked().any(|ranked| ranked.node == entry.held);
        if !is_served {
            serve(entry, nodes, now);
        }
        if let Some((_, gain_ms)) = gain(entry, nodes, now) {
            wanted.push(Move { place, gain_ms });
        }
    }
    wanted.sort_by(|one, two| two.gain_ms.total_cmp(&one.gain_ms).then(one.place.cmp(&two.place)));
    let mut made = 0;
    for Move { place, .. } in wanted {
        let entry = planning.table.entry(place);
        // Those before it have changed the loads.
        let Some((to, _)) = gain(entry, nodes, now) else { continue };
        let rate = f64::from(entry.rate);
        nodes[usize::from(entry.held)].assigned -= rate;
        nodes[usize::from(to)].assigned += rate;
        if entry.trial == to && now < entry.trial_until {
            // Its clients are there already.
            (entry.trial, entry.trial_until) = (NOBODY, 0);
        } else {
            entry.changed(now);
        }
        entry.leave(entry.held, now);
        entry.held = to;
        made += 1;
    }
    made
}

/// Gives a node to a prefix that has none, or whose node may not be answered with: that is no change of the kind that is counted.
fn serve(entry: &mut Entry, nodes: &mut [Choosable], now: u32) {
    let rate = f64::from(entry.rate);
    if let Some(node) = nodes.get_mut(usize::from(entry.held)) {
        node.assigned -= rate;
    }
    let is_new = entry.is_new();
    if entry.held != NOBODY {
        entry.leave(entry.held, now);
    }
    // A new one is where it was measured.
    let own = entry.ranked().find(|ranked| is_new && ranked.node == entry.brought_by);
    let best = || {
        let score = |ranked: &crate::plan::Ranked| {
            f64::from(ranked.ms) + nodes[usize::from(ranked.node)].cost_ms + nodes[usize::from(ranked.node)].price_ms(rate)
        };
        entry.ranked().min_by(|one, two| score(one).total_cmp(&score(two)).then(one.node.cmp(&two.node)))
    };
    entry.held = own.or_else(best).map_or(NOBODY, |ranked| ranked.node);
    if let Some(node) = nodes.get_mut(usize::from(entry.held)) {
        node.assigned += rate;
    }
}

/// The node that a prefix would gain most by, and how much, if it may move for that.
fn gain(entry: &Entry, nodes: &[Choosable], now: u32) -> Option<(Number, f64)> {
    let held = entry.ranked().find(|ranked| ranked.node == entry.held)?;
    let rate = f64::from(entry.rate);
    let known = |number: Number| &nodes[usize::from(number)];
    let price_ms = known(held.node).price_ms(0.0);
    let own_ms = f64::from(held.ms) + known(held.node).cost_ms + price_ms;
    let others = entry.ranked().filter(|ranked| ranked.node != held.node);
    let scored = others.map(|ranked| {
        let less_sure = f64::from(ranked.spread_ms - held.spread_ms).max(0.0);
        let ms = f64::from(ranked.ms) + known(ranked.node).cost_ms + known(ranked.node).price_ms(rate);
        (ranked.node, ms + RISK * less_sure)
    });
    let (to, ms) = scored.min_by(|one, two| one.1.total_cmp(&two.1).then(one.0.cmp(&two.0)))?;
    let gain_ms = own_ms - ms - GAIN_MS.max(GAIN * f64::from(held.ms));
    let is_needed = price_ms > NEEDED_MS || gain_ms > NEEDED_MS.max(NEEDED * f64::from(held.ms));
    let left = CHANGES_MAX - entry.changes(now).min(CHANGES_MAX);
    let may = left > if is_needed { 0 } else { KEPT } || (entry.trial == to && now < entry.trial_until);
    (gain_ms > 0.0 && may).then_some((to, gain_ms))
}
