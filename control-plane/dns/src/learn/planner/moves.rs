//! Which prefixes change their node.

use super::super::table::{CHANGES_MAX, CHANGES_WITHIN_S, Entry, NOBODY};
use super::{Choosable, Number, Planning};
use crate::plan::Ranked;

/// A move is made for a gain above this, in ms and as a share of the latency.
const GAIN_MS: f64 = 1.5;
const GAIN: f64 = 0.04;
/// What is less sure counts for so much more, as a share of one standard deviation.
const RISK: f64 = 1.0;
/// Changes that are kept for when they are needed: when a node has too much to do, or has become much worse.
const KEPT: usize = 1;
/// What makes one of these needed where no other one will be there for an hour: a gain of so many ms, and so much of the latency. The sooner another
/// one will be, the less it takes.
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

/// Gives a node to a prefix that has none, or whose node may not be answered with. It cannot wait, and is counted only where the old node is up, as where
/// the one that was declared comes back.
fn serve(entry: &mut Entry, nodes: &mut [Choosable], now: u32) {
    let rate = f64::from(entry.rate);
    let before = entry.held;
    if let Some(node) = nodes.get_mut(usize::from(before)) {
        node.assigned -= rate;
    }
    let is_new = entry.is_new();
    if before != NOBODY {
        entry.leave(before, now);
    }
    // A new one is where it was measured.
    let own = entry.ranked().find(|ranked| is_new && ranked.node == entry.brought_by);
    let best = || {
        let score = |ranked: &Ranked| {
            f64::from(ranked.ms) + nodes[usize::from(ranked.node)].cost_ms + nodes[usize::from(ranked.node)].price_ms(rate)
        };
        entry.ranked().min_by(|one, two| score(one).total_cmp(&score(two)).then(one.node.cmp(&two.node)))
    };
    entry.held = own.or_else(best).map_or(NOBODY, |ranked| ranked.node);
    if entry.held != NOBODY && nodes.get(usize::from(before)).is_some_and(|node| node.up) {
        entry.changed(now);
    }
    if let Some(node) = nodes.get_mut(usize::from(entry.held)) {
        node.assigned += rate;
    }
}

/// The node that a prefix would gain most by, and how much, if it may move for that.
fn gain(entry: &Entry, nodes: &[Choosable], now: u32) -> Option<(Number, f64)> {
    let held = entry.ranked().find(|ranked| ranked.node == entry.held)?;
    let rate = f64::from(entry.rate);
    let known = |number: Number| &nodes[usize::from(number)];
    let latency_ms = |ranked: &Ranked| f64::from(ranked.ms) + known(ranked.node).cost_ms;
    let price_ms = known(held.node).price_ms(0.0);
    let others = entry.ranked().filter(|ranked| ranked.node != held.node);
    let scored = others.map(|ranked| {
        let less_sure = f64::from(ranked.spread_ms - held.spread_ms).max(0.0);
        (ranked, latency_ms(&ranked) + known(ranked.node).price_ms(rate) + RISK * less_sure)
    });
    let (to, ms) = scored.min_by(|one, two| one.1.total_cmp(&two.1).then(one.0.node.cmp(&two.0.node)))?;
    let mut gain_ms = latency_ms(&held) + price_ms - ms - GAIN_MS.max(GAIN * f64::from(held.ms));
    let left = CHANGES_MAX - entry.changes(now).min(CHANGES_MAX);
    let mut may = left > KEPT;
    if !may {
        // What it loses by giving way to others it loses for long, as it cannot come back: so let others go first.
        gain_ms -= (latency_ms(&to) - latency_ms(&held)).max(0.0);
        let waits = f64::from(entry.one_more_in_s(now)) / f64::from(CHANGES_WITHIN_S);
        let is_needed = price_ms > NEEDED_MS || gain_ms > NEEDED_MS.max(NEEDED * f64::from(held.ms)) * waits;
        may = left > 0 && is_needed || entry.trial == to.node && now < entry.trial_until;
    }
    (gain_ms > 0.0 && may).then_some((to.node, gain_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::Prefix;

    const NOW: u32 = 1_000_000_000;

    /// A prefix of one sample a second that is served by the first of two nodes and changed so many seconds ago.
    fn entry(ms: [f32; 2], changed_ago_s: &[u32]) -> Entry {
        let prefix = Prefix::measured("10.1.2.0/24".parse().expect("a net")).expect("a prefix");
        let mut entry = Entry::new(prefix, 0);
        (entry.held, entry.rate) = (0, 1.0);
        entry.rank(&[0, 1].map(|node| Ranked { node, ms: ms[usize::from(node)], spread_ms: 1.0 }));
        changed_ago_s.iter().for_each(|ago_s| entry.changed(NOW - ago_s));
        entry
    }

    /// Two nodes, of which the first does so many of a hundred samples a second that it can.
    fn nodes(assigned: f64) -> [Choosable; 2] {
        let node = Choosable { up: true, growth: 1.0, capacity: Some(100.0), ..Choosable::default() };
        [Choosable { assigned, ..node }, node]
    }

    #[test]
    fn the_last_change_is_kept_for_much_or_until_the_next_one_is_near() {
        let may = |ms, ago: &[u32]| gain(&entry(ms, ago), &nodes(0.0), NOW).is_some();
        let (little, much) = ([30.0, 24.0], [30.0, 10.0]);
        assert!(may(little, &[]) && may(little, &[60, 60]));
        // Of three the last one is the reserve.
        assert!(!may(little, &[60, 60, 60]) && may(much, &[60, 60, 60]));
        // An hour ago is soon no more.
        assert!(may(little, &[3_000, 60, 60]) && !may(little, &[600, 60, 60]));
        // None is left, however much there would be to gain.
        assert!(!may(much, &[3_000, 60, 60, 60]));
    }

    #[test]
    fn a_change_that_cannot_wait_is_counted_where_the_node_before_is_up() {
        let changes = |is_up: bool| {
            let (mut entry, mut nodes) = (entry([30.0, 24.0], &[]), nodes(0.0));
            nodes[0].up = is_up;
            entry.rank(&[Ranked { node: 1, ms: 24.0, spread_ms: 1.0 }]);
            serve(&mut entry, &mut nodes, NOW);
            (entry.held, entry.changes(NOW))
        };
        assert_eq!((changes(true), changes(false)), ((1, 1), (1, 0)));
    }

    #[test]
    fn who_can_come_back_gives_way_first() {
        let gain = |ago: &[u32]| gain(&entry([20.0, 35.0], ago), &nodes(92.0), NOW).map(|(_, gain_ms)| gain_ms);
        let (free, last) = (gain(&[60, 60]).expect("moves"), gain(&[60, 60, 60]).expect("moves"));
        assert!((free - last - 15.0).abs() < 0.1, "{free} {last}");
    }
}
