//! One chooser through two hours: prefixes ask, nodes measure and report, and what came of it is summed up.

use super::choosers::{Chooser, Measurement};
use super::figures::{ByMinute, Choices};
use super::world::World;
use super::{LEARNING_S, SECONDS, STEP_S};

/// What is as good as the best: so many ms above it, or this share.
const NEAR_MS: f64 = 5.0;
const NEAR: f64 = 0.1;
/// The utilization below which a node has room.
const ROOM: f64 = 0.95;
const MINUTE_S: f64 = 60.0;

/// What one chooser did in some time.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    traffic: f64,
    near: f64,
    ms: f64,
    /// The most that a node had to do, and the most while another one had room.
    used: f64,
    used_with_room: f64,
}

/// The two hours of one chooser.
#[must_use]
pub fn simulate(world: &World, chooser: &mut dyn Chooser) -> Choices {
    let count = world.prefixes();
    // An answer, and until when it holds; at first prefixes ask one after another.
    let mut chosen = vec![0; count];
    let mut holds_s: Vec<f64> = (0..count).map(|prefix| (prefix % 2) as f64 * -STEP_S).collect();
    let mut changes = vec![0_usize; count];
    let (mut sums, mut minute, mut by_minute) = (Sums::default(), Sums::default(), ByMinute::default());
    let mut at_s = 0.0;
    while at_s < SECONDS {
        let counts = at_s >= LEARNING_S;
        chooser.begin(at_s);
        for prefix in 0..count {
            if at_s < holds_s[prefix] {
                continue;
            }
            let (node, ttl_s) = chooser.choose(at_s, prefix);
            changes[prefix] += usize::from(counts && chosen[prefix] != node);
            chosen[prefix] = node;
            holds_s[prefix] = holds_s[prefix].max(at_s - STEP_S) + ttl_s;
        }
        let used = used(world, at_s, &chosen);
        let step = Sums::of(world, at_s, &chosen, &used);
        minute = minute.and(step);
        sums = if counts { sums.and(step) } else { sums };
        let measured: Vec<Measurement> = chosen
            .iter()
            .enumerate()
            .map(|(prefix, &node)| {
                let rtt_ms = world.measured_ms(at_s, prefix, node);
                Measurement { prefix, node, rtt_ms, weight: world.demand(at_s, prefix) }
            })
            .collect();
        at_s += STEP_S;
        chooser.told(at_s, &measured, &used);
        if at_s % MINUTE_S == 0.0 {
            by_minute.push(minute.near_percent(), minute.mean_ms(), minute.used * 100.0);
            minute = Sums::default();
        }
    }
    let mut changed = vec![0; changes.iter().max().map_or(0, |most| most + 1)];
    changes.into_iter().for_each(|changes| changed[changes] += 1);
    Choices {
        name: chooser.name().to_owned(),
        near_percent: sums.near_percent(),
        mean_ms: sums.mean_ms(),
        used_percent: sums.used_with_room * 100.0,
        changed,
        by_minute,
    }
}

/// How much of each node's capacity is used.
fn used(world: &World, at_s: f64, chosen: &[usize]) -> Vec<f64> {
    let mut used = vec![0.0; world.nodes()];
    for (prefix, &node) in chosen.iter().enumerate() {
        used[node] += world.demand(at_s, prefix) / world.capacity(node);
    }
    used
}

impl Sums {
    /// A moment.
    fn of(world: &World, at_s: f64, chosen: &[usize], used: &[f64]) -> Self {
        let mut sums = Self { used: used.iter().copied().fold(0.0, f64::max), ..Self::default() };
        for (prefix, &node) in chosen.iter().enumerate() {
            let demand = world.demand(at_s, prefix);
            let best = (0..world.nodes()).map(|other| world.path_ms(at_s, prefix, other)).fold(f64::INFINITY, f64::min);
            let ms = world.path_ms(at_s, prefix, node) + World::wait_ms(used[node]);
            sums.traffic += demand;
            sums.ms += demand * ms;
            if ms <= (best + NEAR_MS).max(best * (1.0 + NEAR)) {
                sums.near += demand;
            }
        }
        if used.iter().any(|used| *used < ROOM) {
            sums.used_with_room = sums.used;
        }
        sums
    }

    fn and(self, other: Self) -> Self {
        Self {
            traffic: self.traffic + other.traffic,
            near: self.near + other.near,
            ms: self.ms + other.ms,
            used: self.used.max(other.used),
            used_with_room: self.used_with_room.max(other.used_with_room),
        }
    }

    fn near_percent(&self) -> f64 {
        self.near / self.traffic * 100.0
    }

    fn mean_ms(&self) -> f64 {
        self.ms / self.traffic
    }
}
