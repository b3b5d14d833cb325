//! Who serves whom, who is tried, and for how long an answer holds.
//!
//! A prefix goes to the node with the least of expected latency, the operator's cost and the price of load. Moves are made one after another, each
//! against the load that those before it make, so that a crowd does not go from one full node to the next; a prefix moves for a gain that is worth
//! it, and not more often than [`super::table::CHANGES_MAX`] times an hour.

mod moves;
mod rows;
mod trials;

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::estimate::{Estimate, estimates};
use super::groups::Groups;
use super::load::{Loads, RATE_S, price_ms, smooth};
use super::table::{Entry, NOBODY, Table};
use super::{NodeKnown, Number, Settings};
use crate::place::{Client, Coverage};
use crate::plan::{Geography, Plan, RANKED_MAX, Ranked};
use crate::state::{State, Target};
use crate::steer::{takes, targets};

/// Plans in which every prefix is estimated anew once.
const TURNS: usize = 12;
/// The least time between two looks at rates, in seconds: as long as a few reports.
const RATES_EVERY_S: f64 = 9.5;
/// The time over which the slow rates are smoothed, against which the fast ones grow, in seconds.
const SLOW_RATE_S: f64 = 120.0;
/// How far ahead growth is looked, in seconds: until answers that are given hold no more.
const AHEAD_S: f64 = 30.0;
/// The most that growth counts for.
const GROWTH_MAX: f64 = 1.6;

/// What a plan is made from.
pub(super) struct Planning<'a> {
    pub(super) now: f64,
    pub(super) state: &'a State,
    pub(super) settings: Settings,
    pub(super) nodes: &'a [NodeKnown],
    pub(super) numbers: &'a HashMap<String, Number>,
    pub(super) table: &'a mut Table,
    pub(super) groups: &'a Groups,
    pub(super) geography: Geography,
    pub(super) loads: &'a mut Loads,
    pub(super) before: &'a Plan,
}

/// What is remembered from one plan to the next.
#[derive(Debug, Default)]
pub(super) struct Planner {
    turn: usize,
    rated: f64,
    moves: u64,
}

/// A node, by number, for one plan.
#[derive(Clone, Copy, Debug, Default)]
struct Choosable {
    /// Whether it may get clients at all.
    up: bool,
    cost_ms: f64,
    weight: u32,
    seed: u64,
    /// Samples a second that it can do.
    capacity: Option<f64>,
    /// Those that it will have to do, by who is answered with it.
    assigned: f64,
    /// By what demand will have grown when answers hold no more.
    growth: f64,
}

impl Choosable {
    /// With so many more samples a second.
    fn utilization_with(&self, more: f64) -> Option<f64> {
        self.capacity.map(|capacity| (self.assigned + more) * self.growth / capacity)
    }

    /// The price of its load with so many more samples a second.
    fn price_ms(&self, more: f64) -> f64 {
        self.utilization_with(more).map_or(0.0, price_ms)
    }
}

impl Planner {
    /// The clock was set by so many seconds.
    pub(super) fn clock(&mut self, by_s: f64) {
        self.rated += if self.rated > 0.0 { by_s } else { 0.0 };
    }

    pub(super) fn plan(&mut self, planning: &mut Planning<'_>) -> Plan {
        self.rate(planning);
        let mut nodes = choosable(planning);
        self.estimate(planning, &nodes);
        assign(planning.table, &mut nodes);
        self.moves += moves::moves(planning, &mut nodes);
        trials::trials(planning, &mut nodes);
        rows::rows(planning, &nodes, self.moves)
    }

    /// Rates of demand, of prefixes and nodes.
    fn rate(&mut self, planning: &mut Planning<'_>) {
        let dt_s = planning.now - self.rated;
        if dt_s < RATES_EVERY_S {
            return;
        }
        let is_first = self.rated == 0.0;
        self.rated = planning.now;
        if is_first {
            return;
        }
        for entry in planning.table.entries_mut() {
            let rate = f64::from(std::mem::take(&mut entry.counted)) / dt_s;
            let is_new = entry.slow_rate == 0.0;
            let smoothed = |value: f32, over_s| if is_new { rate } else { smooth(f64::from(value), rate, dt_s, over_s) } as f32;
            (entry.rate, entry.slow_rate) = (smoothed(entry.rate, RATE_S), smoothed(entry.slow_rate, SLOW_RATE_S));
        }
        let mut away: Vec<bool> = vec![true; planning.nodes.len()];
        for edge in &planning.state.edges {
            if let Some(number) = planning.numbers.get(&edge.name) {
                away[usize::from(*number)] = false;
                planning.loads.observe(usize::from(*number), edge.utilization, dt_s);
            }
        }
        (0..away.len()).filter(|&number| away[number]).for_each(|number| planning.loads.rest(number));
    }

    /// Estimates anew what has changed, and a part of all others.
    fn estimate(&mut self, planning: &mut Planning<'_>, nodes: &[Choosable]) {
        self.turn = (self.turn + 1) % TURNS;
        let declared = Declarations::of(planning, nodes);
        let mut all: Vec<Estimate> = Vec::with_capacity(nodes.len());
        let mut ranked: Vec<Ranked> = Vec::with_capacity(nodes.len());
        for (place, entry) in planning.table.entries_mut().enumerate() {
            let unserved = entry.held == NOBODY || !nodes.get(usize::from(entry.held)).is_some_and(|node| node.up);
            // One that ranks a node that is down or drained is ranked anew at once: nothing is moved there, nor tried.
            let is_past = unserved || entry.ranked().any(|ranked| !nodes[usize::from(ranked.node)].up);
            if !entry.is_stirred && place % TURNS != self.turn && !is_past {
                continue;
            }
            estimates(entry, planning.nodes, planning.groups, &planning.geography, planning.now, &mut all);
            rank(entry, nodes, &declared, &all, &mut ranked);
        }
    }
}

/// Ranks the nodes that may serve a prefix by latency and the operator's cost; the one that serves it stays among them.
fn rank(entry: &mut Entry, nodes: &[Choosable], declared: &Declarations, all: &[Estimate], ranked: &mut Vec<Ranked>) {
    let client = Client::new(entry.prefix.address(), entry.prefix.bits());
    let (only, group) = (declared.only(&client), client.group());
    let may = |number: usize| nodes[number].up && only.is_none_or(|only| only[number]);
    let takes = |number: usize| takes(nodes[number].weight, nodes[number].seed, &group);
    ranked.clear();
    let some_take = (0..all.len()).any(|number| may(number) && takes(number));
    ranked.extend((0..all.len()).filter(|&number| may(number) && (!some_take || takes(number))).map(|number| Ranked {
        node: number as Number,
        ms: all[number].ms as f32,
        spread_ms: all[number].spread_ms() as f32,
    }));
    let key = |ranked: &Ranked| f64::from(ranked.ms) + nodes[usize::from(ranked.node)].cost_ms;
    let order = |one: &Ranked, two: &Ranked| key(one).total_cmp(&key(two)).then(one.node.cmp(&two.node));
    if ranked.len() > RANKED_MAX {
        let held = ranked.iter().find(|ranked| ranked.node == entry.held).copied();
        ranked.select_nth_unstable_by(RANKED_MAX, order);
        ranked.truncate(RANKED_MAX);
        ranked.sort_by(order);
        if let Some(held) = held.filter(|held| ranked.iter().all(|ranked| ranked.node != held.node)) {
            ranked[RANKED_MAX - 1] = held;
        }
    } else {
        ranked.sort_by(order);
    }
    entry.rank(ranked);
}

/// What the operator declared, for prefixes of the table.
struct Declarations {
    coverage: Coverage,
    /// The nodes, by number, that each declaration allows.
    only: Vec<Vec<bool>>,
}

impl Declarations {
    fn of(planning: &Planning<'_>, nodes: &[Choosable]) -> Self {
        let targets = targets(planning.state);
        let coverage = planning.state.coverage.iter().filter_map(|(net, target)| Some((*net, *targets.get(target)?)));
        let coverage = Coverage::build(coverage);
        let region_of = |name: &str| planning.state.edges.iter().find(|edge| edge.name == name).map(|edge| edge.region.as_str());
        let only = targets.keys().map(|target| {
            let mut only = vec![false; nodes.len()];
            let is_up = |name: &str| planning.numbers.get(name).is_some_and(|number| nodes[usize::from(*number)].up);
            for edge in &planning.state.edges {
                let is_meant = match target {
                    Target::Region(region) => edge.region == *region,
                    Target::Node(name) if is_up(name) => edge.name == *name,
                    Target::Node(name) => region_of(name) == Some(edge.region.as_str()),
                };
                if let Some(number) = planning.numbers.get(&edge.name).filter(|_| is_meant && is_up(&edge.name)) {
                    only[usize::from(*number)] = true;
                }
            }
            only
        });
        Self { coverage, only: only.collect() }
    }

    /// The nodes that are declared for a client and up, if there are any.
    fn only(&self, client: &Client) -> Option<&Vec<bool>> {
        let declared = self.coverage.place(client).declared?;
        self.only.get(declared as usize).filter(|only| only.contains(&true))
    }
}

/// The nodes by number. When none is up all are, as with answers.
fn choosable(planning: &Planning<'_>) -> Vec<Choosable> {
    let mut nodes = vec![Choosable { growth: 1.0, ..Choosable::default() }; planning.nodes.len()];
    let capacities = planning.loads.capacities();
    let reachable = || planning.state.edges.iter().filter(|edge| !edge.addresses.is_empty());
    let anyone_up = reachable().any(|edge| edge.up);
    for edge in reachable().filter(|edge| edge.up || !anyone_up) {
        let Some(number) = planning.numbers.get(&edge.name).map(|number| usize::from(*number)) else { continue };
        nodes[number] = Choosable {
            up: true,
            cost_ms: edge.cost.as_secs_f64() * 1_000.0,
            weight: edge.weight,
            seed: xxh3_64(edge.name.as_bytes()),
            capacity: capacities[number],
            ..nodes[number]
        };
    }
    nodes
}

/// What each node has to do, and by what that grows.
fn assign(table: &Table, nodes: &mut [Choosable]) {
    let mut slow = vec![0.0; nodes.len()];
    for entry in table.entries() {
        if let Some(node) = nodes.get_mut(usize::from(entry.held)) {
            node.assigned += f64::from(entry.rate);
            slow[usize::from(entry.held)] += f64::from(entry.slow_rate);
        }
    }
    for (node, slow) in nodes.iter_mut().zip(slow) {
        // The fast rate lags by its own time, the slow one by more; between the two lies the slope.
        let slope = if slow > 0.0 { (node.assigned - slow) / slow / (SLOW_RATE_S - RATE_S) } else { 0.0 };
        node.growth = (1.0 + slope * (AHEAD_S + RATE_S)).clamp(1.0, GROWTH_MAX);
    }
}
