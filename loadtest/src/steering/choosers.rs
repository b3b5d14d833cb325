//! Who chooses a node for a prefix: an oracle, and geography.

use std::sync::Arc;

use super::TTL_S;
use super::world::World;

/// The utilization up to which the oracle gives a node more, from which it takes from it, and at which geography calls it full.
const ORACLE_FILL: f64 = 0.85;
const ORACLE_EMPTY: f64 = 0.9;
const FULL: f64 = 0.95;
/// What the oracle moves a prefix for: so many ms and this share less.
const GAIN_MS: f64 = 0.5;
const GAIN: f64 = 0.02;

/// Round trips of a prefix to a node, as the node measured them.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// The prefix.
    pub prefix: usize,
    /// The node that served it.
    pub node: usize,
    /// The smoothed round-trip time, in ms.
    pub rtt_ms: f64,
    /// In terms of the weights: how much was measured.
    pub weight: f64,
}

/// Whoever chooses. Time is simulated, in seconds.
pub trait Chooser {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// What nodes report of the time up to `at_s`: what they measured, and how much of their capacity was used, by node.
    fn told(&mut self, at_s: f64, measured: &[Measurement], used: &[f64]);

    /// A time at which every prefix is asked for once, in order.
    fn begin(&mut self, _at_s: f64) {}

    /// The node for a prefix at a time, and for how long the answer holds, in seconds.
    fn choose(&mut self, at_s: f64, prefix: usize) -> (usize, f64);
}

/// Knows every path and every demand, and keeps every node below its capacity.
#[derive(Debug)]
pub struct Oracle {
    world: Arc<World>,
    held: Vec<Option<usize>>,
}

impl Oracle {
    /// Of that world.
    #[must_use]
    pub fn new(world: Arc<World>) -> Self {
        let held = vec![None; world.prefixes()];
        Self { world, held }
    }

    /// The node with the shortest path among those that have room for so much more.
    fn best_with_room(&self, at_s: f64, prefix: usize, load: &[f64]) -> Option<(f64, usize)> {
        let demand = self.world.demand(at_s, prefix);
        let room = |&node: &usize| load[node] + demand <= self.world.capacity(node) * ORACLE_FILL;
        let paths = (0..self.world.nodes()).filter(room).map(|node| (self.world.path_ms(at_s, prefix, node), node));
        paths.min_by(|one, two| one.0.total_cmp(&two.0))
    }

    /// Takes from nodes that have too much what loses least by it.
    fn relieve(&mut self, at_s: f64, load: &mut [f64]) {
        for node in 0..self.world.nodes() {
            if load[node] <= self.world.capacity(node) * ORACLE_EMPTY {
                continue;
            }
            let held = (0..self.held.len()).filter(|&prefix| self.held[prefix] == Some(node));
            let mut losses: Vec<(f64, usize)> = held
                .map(|prefix| {
                    let other = self.best_with_room(at_s, prefix, load).map_or(f64::INFINITY, |(ms, _)| ms);
                    (other - self.world.path_ms(at_s, prefix, node), prefix)
                })
                .collect();
            losses.sort_by(|one, two| one.0.total_cmp(&two.0));
            for (_, prefix) in losses {
                if load[node] <= self.world.capacity(node) * ORACLE_FILL {
                    break;
                }
                load[node] -= self.world.demand(at_s, prefix);
                self.held[prefix] = None;
                // At once, so that what goes elsewhere fills that too.
                self.place(at_s, prefix, load);
            }
        }
    }

    /// Gives a prefix the best node with room, if that is a gain.
    fn place(&mut self, at_s: f64, prefix: usize, load: &mut [f64]) {
        let demand = self.world.demand(at_s, prefix);
        let found = self.best_with_room(at_s, prefix, load);
        let now = self.held[prefix];
        let chosen = match (found, now) {
            (Some((ms, node)), Some(held)) if ms * (1.0 + GAIN) + GAIN_MS < self.world.path_ms(at_s, prefix, held) => node,
            (_, Some(held)) => held,
            (Some((_, node)), None) => node,
            // Nobody has room: the one that is used least.
            (None, None) => least_used(&self.world, load),
        };
        if let Some(held) = now {
            load[held] -= demand;
        }
        load[chosen] += demand;
        self.held[prefix] = Some(chosen);
    }
}

fn least_used(world: &World, load: &[f64]) -> usize {
    let used = (0..world.nodes()).map(|node| (load[node] / world.capacity(node), node));
    used.min_by(|one, two| one.0.total_cmp(&two.0)).map_or(0, |(_, node)| node)
}

impl Chooser for Oracle {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn told(&mut self, _: f64, _: &[Measurement], _: &[f64]) {}

    fn begin(&mut self, at_s: f64) {
        let mut load = vec![0.0; self.world.nodes()];
        for (prefix, held) in self.held.iter().enumerate() {
            if let Some(node) = held {
                load[*node] += self.world.demand(at_s, prefix);
            }
        }
        self.relieve(at_s, &mut load);
        for prefix in 0..self.held.len() {
            self.place(at_s, prefix, &mut load);
        }
    }

    fn choose(&mut self, _: f64, prefix: usize) -> (usize, f64) {
        (self.held[prefix].unwrap_or_default(), TTL_S)
    }
}

/// Gives each prefix the nearest node by great circle that is not full.
#[derive(Debug)]
pub struct Geography {
    world: Arc<World>,
    nearest: Vec<Vec<usize>>,
    chosen: Vec<usize>,
}

impl Geography {
    /// Of that world.
    #[must_use]
    pub fn new(world: Arc<World>) -> Self {
        let nearest = (0..world.prefixes()).map(|prefix| world.by_distance(prefix)).collect();
        let chosen = vec![0; world.prefixes()];
        Self { world, nearest, chosen }
    }
}

impl Chooser for Geography {
    fn name(&self) -> &'static str {
        "geography"
    }

    fn told(&mut self, _: f64, _: &[Measurement], _: &[f64]) {}

    /// Every prefix is placed each time, whether it asks or not: those that ask see what the others need.
    fn begin(&mut self, at_s: f64) {
        let mut load = vec![0.0; self.world.nodes()];
        for prefix in 0..self.chosen.len() {
            let demand = self.world.demand(at_s, prefix);
            let room = |node: &&usize| load[**node] + demand <= self.world.capacity(**node) * FULL;
            let node = self.nearest[prefix].iter().find(room).or_else(|| self.nearest[prefix].first()).copied().unwrap_or_default();
            load[node] += demand;
            self.chosen[prefix] = node;
        }
    }

    fn choose(&mut self, _: f64, prefix: usize) -> (usize, f64) {
        (self.chosen[prefix], TTL_S)
    }
}
