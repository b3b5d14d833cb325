//! What nodes measured, and what follows from it: the expected latency from each client prefix to each node, and a plan.
//!
//! Owns all that is learned. Pure: time is an argument, in seconds since 1970; no socket, no clock, no chance. Nothing that a node says makes it
//! panic, and what a node says counts for that node alone:
//! - `table`: what was measured, by prefix, in a bounded table;
//! - `groups`: the same by neighbourhood and network, and what distance makes of latency;
//! - `estimate`: the blend of all that, for one prefix;
//! - `load`: what nodes have to do, and what that counts for;
//! - `planner`: who serves whom, who is tried, and for how long an answer holds;
//! - `numbers`: which number stands for which node;
//! - `keep`: all of it in octets, for a file.

mod estimate;
mod groups;
mod keep;
mod load;
mod numbers;
mod planner;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ipnet::IpNet;

use self::groups::{Group, Groups};
use self::load::Loads;
use self::numbers::NodeKnown;
use self::table::{Entry, NOBODY, Table};
use crate::geo::{Spot, speed_of_light_ms};
use crate::plan::{Geography, NODES_MAX, Number, Plan};
use crate::prefix::Prefix;
use crate::state::State;

/// Client prefixes that are known; one more is refused until an old one is forgotten.
pub const PREFIXES_MAX: usize = 1_000_000;
/// The part of them that one node may bring in.
pub const PREFIXES_PER_NODE_MAX: u32 = 500_000;
/// Samples that a prefix may count for in one report: as many as an edge of ours counts.
pub const COUNT_MAX: u32 = 1_024;
/// The longest round trip that is believed.
pub const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
/// The oldest measurement that is taken.
pub const AGE_MAX: Duration = Duration::from_secs(3_600);
/// After so long without a measurement a prefix is forgotten, in seconds.
pub const FORGET_AFTER_S: u32 = 21_600;
/// A clock that goes back by more was set, in seconds.
const CLOCK_BACK_S: f64 = 1.0;
/// Nothing is told or planned for so long only when the clock was set forward, or the machine slept, in seconds.
const PAUSE_MAX_S: f64 = 3_600.0;
/// How far off the place of an address may well be, in km: databases of places are.
const PLACE_KM: f64 = 500.0;
/// No database is off by so much, in km: what is too fast even so is a lie whoever else measured.
const PLACE_ALONE_KM: f64 = 5_000.0;
/// So many contradictions make a measurement a lie.
const CONTRADICTIONS: usize = 2;
/// How old a measurement of another node may be to contradict, in seconds.
const WITNESS_S: u32 = 3_600;

/// What one node measured of the clients of a prefix since its last report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The prefix: at most 24 bits of IPv4 or 48 of IPv6.
    pub prefix: IpNet,
    /// How many samples there are: a connection is measured at a request, at most every 5 s. A stand-in for demand.
    pub count: u32,
    /// The mean of their smoothed round trips.
    pub smoothed: Duration,
    /// The least round trip of all.
    pub least: Duration,
    /// How long ago it was measured, on average.
    pub age: Duration,
}

/// Why a measurement was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// No edge measures such a prefix, it has no sample, or the least round trip is above the mean.
    Absurd,
    /// The round trip is above [`ROUND_TRIP_MAX`].
    Slow,
    /// Light is slower than that, by what others measured and the place of the address.
    FasterThanLight,
    /// It is older than [`AGE_MAX`].
    Old,
    /// There is no room for another prefix, or for one more of this node.
    Full,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Absurd, Self::Slow, Self::FasterThanLight, Self::Old, Self::Full];

    /// In one word, as figures have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Absurd => "absurd",
            Self::Slow => "slow",
            Self::FasterThanLight => "faster_than_light",
            Self::Old => "old",
            Self::Full => "full",
        }
    }
}

/// What became of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Measurements that were taken.
    pub taken: usize,
    /// Those that were not, by reason.
    pub refused: BTreeMap<Refused, usize>,
}

/// What an operator may set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The share of prefixes, and of traffic, that is answered with a runner-up at a time, to learn about it; 0 to 0.2.
    pub explore: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { explore: 0.02 }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Learner {
    settings: Settings,
    nodes: Vec<NodeKnown>,
    numbers: HashMap<String, Number>,
    /// Numbers of nodes that are gone: those that the plan in force may have, and those that are free.
    parted: BTreeSet<Number>,
    free: BTreeSet<Number>,
    table: Table,
    groups: Groups,
    geography: Geography,
    loads: Loads,
    planner: planner::Planner,
    plan: Plan,
    /// When something was told or planned last; 0: not yet.
    clock: f64,
    /// Which edition of places and networks prefixes were looked up in; `None` after a start, as places that were kept may be of other files.
    edition: Option<u64>,
}

impl Learner {
    /// Knows nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// How many prefixes something is known of.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.table.len()
    }

    /// A node reports what it measured. Whoever takes reports bounds how many prefixes one has.
    pub fn told(&mut self, now: f64, node: &str, report: &[Measured]) -> Taken {
        self.clock(now);
        let mut taken = Taken::default();
        let number = self.number(node);
        for measured in report {
            match number.ok_or(Refused::Full).and_then(|number| self.take(now, number, measured)) {
                Ok(()) => taken.taken += 1,
                Err(why) => *taken.refused.entry(why).or_default() += 1,
            }
        }
        taken
    }

    fn take(&mut self, now: f64, node: Number, measured: &Measured) -> Result<(), Refused> {
        let prefix = Prefix::measured(measured.prefix).ok_or(Refused::Absurd)?;
        if measured.count == 0 || measured.least > measured.smoothed {
            return Err(Refused::Absurd);
        }
        if measured.smoothed > ROUND_TRIP_MAX {
            return Err(Refused::Slow);
        }
        if measured.age > AGE_MAX {
            return Err(Refused::Old);
        }
        let at = (now - measured.age.as_secs_f64()).max(0.0) as u32;
        let count = measured.count.min(COUNT_MAX);
        let (ms, least_ms) = (measured.smoothed.as_secs_f64() * 1_000.0, measured.least.as_secs_f64() * 1_000.0);
        let Some(entry) = self.table.find(prefix) else {
            let known = &mut self.nodes[usize::from(node)];
            if known.brought >= PREFIXES_PER_NODE_MAX {
                return Err(Refused::Full);
            }
            let entry = self.table.insert(prefix, node).ok_or(Refused::Full)?;
            known.brought += 1;
            entry.measured(node, ms, count, at);
            entry.counted += count as f32;
            self.loads.counted(node, count);
            return Ok(());
        };
        if contradictions(entry, node, least_ms, at, &self.nodes) >= CONTRADICTIONS {
            entry.forget(node);
            return Err(Refused::FasterThanLight);
        }
        entry.measured(node, ms, count, at);
        // Its demand is what its own nodes say: another one could make it look large at will. When that came counts, not how old it says it is.
        entry.asked(node, count, now as u32);
        self.loads.counted(node, count);
        if entry.is_placed {
            let km = distance(entry, &self.nodes[usize::from(node)]);
            for group in Group::of(entry) {
                self.groups.told(group, node, ms, km, count, at);
            }
        }
        Ok(())
    }

    /// Makes the plan for a state. Work is proportional to the prefixes; a part of them is estimated anew each time, and those that changed.
    pub fn plan(&mut self, now: f64, state: &State) -> Plan {
        self.clock(now);
        self.free_numbers();
        for edge in &state.edges {
            if let Some(number) = self.number(&edge.name) {
                let known = &mut self.nodes[usize::from(number)];
                // One that has not connected yet since the control plane began is where it was.
                known.spot = edge.location.map(Spot::new).or(known.spot);
            }
        }
        self.forget(now as u32);
        self.place(state);
        self.geography = self.groups.refresh(now as u32, self.geography);
        let mut planning = planner::Planning {
            now,
            state,
            settings: self.settings,
            nodes: &self.nodes,
            numbers: &self.numbers,
            table: &mut self.table,
            groups: &self.groups,
            geography: self.geography,
            loads: &mut self.loads,
            before: &self.plan,
        };
        self.plan = self.planner.plan(&mut planning);
        self.plan.clone()
    }

    /// A clock that was set back, or forward by more than [`PAUSE_MAX_S`], takes all that is remembered with it; what still lies ahead, as after a
    /// restart, is now.
    fn clock(&mut self, now: f64) {
        let before = std::mem::replace(&mut self.clock, now);
        let by_s = if before > 0.0 { now - before } else { 0.0 };
        if before > 0.0 && (-CLOCK_BACK_S..PAUSE_MAX_S).contains(&by_s) {
            return;
        }
        let moved = |at: u32| if at == 0 { 0 } else { (i64::from(at) + by_s as i64).clamp(1, (now as i64).max(1)) as u32 };
        self.table.clock(moved);
        self.groups.clock(moved);
        self.planner.clock(by_s);
    }

    /// Forgets prefixes of which nothing was heard for long.
    fn forget(&mut self, now: u32) {
        let nodes = &mut self.nodes;
        self.table.forget(now.saturating_sub(FORGET_AFTER_S), |entry| {
            if let Some(node) = nodes.get_mut(usize::from(entry.brought_by)) {
                node.brought = node.brought.saturating_sub(1);
            }
        });
        self.groups.forget(now.saturating_sub(FORGET_AFTER_S));
    }

    /// Gives prefixes that are new their place and network, and others too where those are known to be other ones.
    fn place(&mut self, state: &State) {
        if let Some(places) = state.geo.as_ref().filter(|places| self.edition != Some(places.edition())) {
            self.edition = Some(places.edition());
            for entry in self.table.entries_mut() {
                let address = entry.prefix.address();
                let (location, network) = (places.location(address).into(), places.network(address).unwrap_or(0));
                entry.is_placed &= (location, network) == (entry.location, entry.network);
            }
        }
        for entry in self.table.entries_mut().filter(|entry| !entry.is_placed) {
            let address = entry.prefix.address();
            (entry.is_placed, entry.is_stirred) = (true, true);
            entry.location = state.geo.as_ref().and_then(|places| places.location(address)).into();
            entry.network = state.geo.as_ref().and_then(|places| places.network(address)).unwrap_or(0);
            // Whoever spoke of it first could not be doubted then.
            for slot in entry.slots {
                if contradictions(entry, slot.node, slot.ms(), slot.at, &self.nodes) >= CONTRADICTIONS {
                    entry.forget(slot.node);
                }
            }
            for slot in entry.slots.iter().filter(|slot| slot.node != NOBODY) {
                let Some(node) = self.nodes.get(usize::from(slot.node)) else { continue };
                let km = distance(entry, node);
                for group in Group::of(entry) {
                    self.groups.told(group, slot.node, slot.ms(), km, slot.weight() as u32, slot.at);
                }
            }
        }
    }
}

/// From a prefix to a node in km, when it is known where both are.
fn distance(entry: &Entry, node: &NodeKnown) -> Option<f64> {
    let (client, node) = (entry.location.spot()?, node.spot?);
    Some(client.km(&node))
}

/// How many witnesses say that light is slower than this round trip: the place of the address, which is enough when it is far off, and each other node that measured the same clients
/// not long ago. A signal from one node over the client to the other cannot be faster than light between the two.
fn contradictions(entry: &Entry, node: Number, least_ms: f64, at: u32, nodes: &[NodeKnown]) -> usize {
    let Some(spot) = nodes.get(usize::from(node)).and_then(|known| known.spot) else { return 0 };
    let too_fast = |km: f64, ms: f64| ms < speed_of_light_ms(km);
    let by_place = entry.location.spot().map_or(0, |client| {
        let km = client.km(&spot);
        if too_fast(km - PLACE_ALONE_KM, least_ms) { CONTRADICTIONS } else { usize::from(too_fast(km - PLACE_KM, least_ms)) }
    });
    let others = entry.slots.iter().filter(|slot| slot.node != NOBODY && slot.node != node && at.saturating_sub(slot.at) < WITNESS_S);
    let by_others = others.filter(|slot| {
        let other = nodes.get(usize::from(slot.node)).and_then(|known| known.spot);
        other.is_some_and(|other| too_fast(other.km(&spot), least_ms + slot.ms()))
    });
    by_place + by_others.count()
}

/// The names of nodes by number, for the plan.
fn names(nodes: &[NodeKnown]) -> impl Iterator<Item = &str> {
    nodes.iter().map(|node| node.name.as_str())
}

#[cfg(test)]
mod tests;
