//! What nodes have to do, what they can, and what that counts for.
//!
//! Counted are samples: a connection is one at a request, at most every 5 s. What a node can do in samples a second is what it was given divided by the utilization that it reported then.

use super::Number;

/// The time over which rates are smoothed, in seconds.
pub(super) const RATE_S: f64 = 20.0;
/// The time over which what a node can do is.
const CAPACITY_S: f64 = 60.0;
/// Below this utilization nothing follows from it.
const IDLE: f64 = 0.01;
/// The utilization from which on load counts, that at which it counts for [`PRICE_MS`], and how steeply it rises.
const FREE: f64 = 0.74;
const TARGET: f64 = 0.87;
const PRICE_MS: f64 = 20.0;
const STEEP: i32 = 4;
/// Beyond that a price says no more.
const PRICE_MS_MAX: f64 = 2_000.0;

/// What a utilization counts for, in ms of latency: nothing at first, then smoothly ever more, so that a crowd goes elsewhere before a node is full.
pub(super) fn price_ms(utilization: f64) -> f64 {
    (PRICE_MS * ((utilization - FREE) / (TARGET - FREE)).max(0.0).powi(STEEP)).min(PRICE_MS_MAX)
}

/// Moves a smoothed value towards one that held for `dt_s` seconds.
pub(super) fn smooth(value: f64, now: f64, dt_s: f64, over_s: f64) -> f64 {
    value + (now - value) * (1.0 - (-dt_s / over_s).exp())
}

/// One node.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Samples since the rates were told.
    counted: f64,
    /// Samples a second, and how much of what it can do they were.
    rate: f64,
    utilization: f64,
    /// Samples a second that it can do.
    capacity: Option<f64>,
}

/// All nodes, by number.
#[derive(Debug, Default)]
pub(super) struct Loads(Vec<Load>);

impl Loads {
    /// Of this node nothing is known. There is a place for each number, those of nodes that are gone included.
    pub(super) fn begin(&mut self, node: Number) {
        let place = usize::from(node);
        self.0.resize(self.0.len().max(place + 1), Load::default());
        self.0[place] = Load::default();
    }

    /// Only the first so many nodes are left.
    pub(super) fn keep(&mut self, nodes: usize) {
        self.0.truncate(nodes);
    }

    pub(super) fn counted(&mut self, node: Number, count: u32) {
        if let Some(load) = self.0.get_mut(usize::from(node)) {
            load.counted += f64::from(count);
        }
    }

    /// After so many seconds, with what a node reported meanwhile.
    pub(super) fn observe(&mut self, node: usize, utilization: Option<f32>, dt_s: f64) {
        let Some(load) = self.0.get_mut(node) else { return };
        let rate = std::mem::take(&mut load.counted) / dt_s;
        let Some(utilization) = utilization.map(f64::from).filter(|utilization| utilization.is_finite()) else {
            *load = Load::default();
            return;
        };
        let is_first = load.rate == 0.0;
        load.rate = if is_first { rate } else { smooth(load.rate, rate, dt_s, RATE_S) };
        load.utilization = if is_first { utilization } else { smooth(load.utilization, utilization, dt_s, RATE_S) };
        if load.utilization > IDLE && load.rate > 0.0 {
            let capacity = load.rate / load.utilization;
            load.capacity = Some(load.capacity.map_or(capacity, |old| smooth(old, capacity, dt_s, CAPACITY_S)));
        }
    }

    /// A node that gets no clients: what it can do is as it was, the rest begins anew.
    pub(super) fn rest(&mut self, node: usize) {
        if let Some(load) = self.0.get_mut(node) {
            *load = Load { capacity: load.capacity, ..Load::default() };
        }
    }

    /// What each node can do in samples a second: as is known, or as most can where it is not; none when of no node it is.
    pub(super) fn capacities(&self) -> Vec<Option<f64>> {
        let mut known: Vec<f64> = self.0.iter().filter_map(|load| load.capacity).collect();
        known.sort_by(f64::total_cmp);
        let median = known.get(known.len() / 2).copied();
        self.0.iter().map(|load| load.capacity.or(median)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_counts_for_nothing_at_first_and_then_ever_more() {
        assert_eq!((price_ms(0.0), price_ms(FREE)), (0.0, 0.0));
        assert!((price_ms(TARGET) - PRICE_MS).abs() < 1e-6);
        let mut last = 0.0;
        for percent in 60..200 {
            let price = price_ms(f64::from(percent) / 100.0);
            assert!(price >= last, "{percent} %");
            last = price;
        }
        assert_eq!(price_ms(f64::INFINITY), PRICE_MS_MAX);
    }

    #[test]
    fn what_a_node_can_do_follows_from_what_it_did_and_what_that_was_of_it() {
        let mut loads = Loads::default();
        loads.begin(0);
        loads.begin(1);
        for _ in 0..100 {
            loads.counted(0, 500);
            loads.observe(0, Some(0.25), 10.0);
        }
        let capacities = loads.capacities();
        assert!((capacities[0].expect("known") - 200.0).abs() < 1.0, "{capacities:?}");
        assert_eq!(capacities[1], capacities[0], "as most");
    }
}
