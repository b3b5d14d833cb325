//! From what is decided to the rows of the plan; a row that says nothing else than before stays as it is.

use std::sync::Arc;

use super::super::table::{Entry, NOBODY};
use super::{Choosable, Number, Planning};
use crate::plan::{Node, Plan, Ranked, Row, Summary, Why};
use crate::steer::TTL_MIN_S;

/// A latency that differs by less, in ms and as a share, is no other row.
const SAME_MS: f32 = 1.0;
const SAME: f32 = 0.1;
/// Measurements that are older are old, in seconds.
const OLD_S: u32 = 900;
/// The price of the faster node that makes load the reason, as a share of what it would gain.
const SPILLED: f64 = 0.5;
/// For so long after a change an answer is short-lived, in seconds: another one may follow.
const UNSTEADY_S: u32 = 60;
/// From this utilization on, and where demand grows by so much, answers are short-lived: the next ones may have to be others.
const BUSY: f64 = 0.65;
const GROWING: f64 = 1.15;

pub(super) fn rows(planning: &Planning<'_>, nodes: &[Choosable], moves: u64) -> Plan {
    let mut summary = Summary { prefixes: planning.table.len(), moves, ..Summary::default() };
    let (mut traffic, mut rows) = (0.0, 0);
    let (mut set, mut gone) = (Vec::new(), Vec::new());
    for entry in planning.table.entries() {
        let row = row(entry, nodes, planning.now as u32).filter(|_| planning.state.geo.is_none() || entry.has_witnesses());
        let Some(row) = row else {
            gone.extend(planning.before.row(entry.prefix).map(|row| row.prefix));
            continue;
        };
        rows += 1;
        let rate = f64::from(entry.rate);
        traffic += rate;
        let ms = |number: Number| entry.ranked().find(|ranked| ranked.node == number).map_or(0.0, |ranked| f64::from(ranked.ms));
        let best = entry.ranked().map(|ranked| f64::from(ranked.ms)).fold(f64::INFINITY, f64::min);
        let given = if entry.trial == NOBODY { entry.held } else { entry.trial };
        summary.mean_ms += rate * ms(given);
        summary.regret_ms += rate * (ms(given) - best);
        summary.explored += if entry.trial == NOBODY { 0.0 } else { rate };
        let is_old = entry.slot(entry.held).is_none_or(|slot| (planning.now as u32).saturating_sub(slot.at) > OLD_S);
        summary.stale += if is_old { rate } else { 0.0 };
        if planning.before.row(entry.prefix).is_none_or(|old| differs(old, &row)) {
            set.push(row);
        }
    }
    for part in [&mut summary.mean_ms, &mut summary.regret_ms, &mut summary.explored, &mut summary.stale] {
        *part = if traffic > 0.0 { *part / traffic } else { 0.0 };
    }
    let mut plan = planning.before.with_rows(set, gone);
    if plan.len() > rows {
        let gone: Vec<_> = plan.rows().map(|row| row.prefix).filter(|prefix| !planning.table.has(*prefix)).collect();
        plan = plan.with_rows([], gone);
    }
    let named = super::super::names(planning.nodes).zip(nodes).map(|(name, node)| Node {
        name: name.to_owned(),
        price_ms: node.price_ms(0.0) as f32,
        utilization: node.utilization_with(0.0).map(|utilization| utilization as f32),
    });
    plan.made = planning.now;
    plan.nodes = Arc::new(named.collect());
    plan.geography = planning.geography;
    plan.summary = summary;
    plan.networks = Arc::clone(planning.groups.for_plan());
    plan
}

/// The row of a prefix: whom it is answered with, then the others by all that counts.
fn row(entry: &Entry, nodes: &[Choosable], now: u32) -> Option<Row> {
    let held = entry.ranked().find(|ranked| ranked.node == entry.held)?;
    let rate = f64::from(entry.rate);
    let node = &nodes[usize::from(held.node)];
    let score =
        |ranked: &Ranked| f64::from(ranked.ms) + nodes[usize::from(ranked.node)].cost_ms + nodes[usize::from(ranked.node)].price_ms(rate);
    let mut others: Vec<Ranked> = entry.ranked().filter(|ranked| ranked.node != held.node).collect();
    others.sort_by(|one, two| score(one).total_cmp(&score(two)).then(one.node.cmp(&two.node)));
    let by_latency = |ranked: &Ranked| f64::from(ranked.ms) + nodes[usize::from(ranked.node)].cost_ms;
    let best = entry.ranked().min_by(|one, two| by_latency(one).total_cmp(&by_latency(two)))?;
    let why = if best.node == held.node {
        if entry.slot(held.node).is_some_and(|slot| now.saturating_sub(slot.at) <= OLD_S) { Why::Measured } else { Why::Estimated }
    } else if nodes[usize::from(best.node)].price_ms(rate) - node.price_ms(0.0) > SPILLED * (by_latency(&held) - by_latency(&best)) {
        Why::Spilled
    } else {
        Why::Held
    };
    let is_busy = node.utilization_with(0.0).is_some_and(|utilization| utilization > BUSY) || node.growth > GROWING;
    let is_unsteady = is_busy || entry.trial != NOBODY || now.saturating_sub(entry.changed_at().max(entry.doubted)) < UNSTEADY_S;
    let trial = (entry.trial != NOBODY).then_some((entry.trial, entry.trial_until));
    let row = Row::new(entry.prefix, std::iter::once(held).chain(others));
    Some(row.with(why, if is_unsteady { TTL_MIN_S as u8 } else { 0 }).trying(trial))
}

/// Whether a row says something else to who asks.
fn differs(old: &Row, new: &Row) -> bool {
    let far = |one: f32, two: f32| (one - two).abs() > SAME_MS.max(one * SAME);
    let other = |(one, two): (Ranked, Ranked)| one.node != two.node || far(one.ms, two.ms) || far(one.spread_ms, two.spread_ms);
    let said = |row: &Row| (row.why, row.ttl_s, row.trial(0.0), row.ranked().count());
    said(old) != said(new) || old.ranked().zip(new.ranked()).any(other)
}
