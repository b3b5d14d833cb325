//! What was measured, by group of client prefixes: neighbours, and networks; and what distance makes of latency.
//!
//! A prefix of which little is known is like its neighbours, and a path of a network to a node is much the same for all of it.

use std::collections::{BTreeMap, HashMap};

use super::table::Entry;
use crate::plan::{Geography, NETWORK_NODES_MAX, Network, Number};
use crate::prefix::Prefix;

/// Pairs of group and node that are known; one more is not taken until old ones are forgotten.
pub(super) const PAIRS_MAX: usize = 1_048_576;
/// The part of them that one node may bring in.
pub(super) const PAIRS_PER_NODE_MAX: usize = PAIRS_MAX / 2;
/// The lengths of a neighbourhood.
const IPV4_NEIGHBOURS_BITS: u8 = 20;
const IPV6_NEIGHBOURS_BITS: u8 = 40;
/// The time in which what was measured loses half of its weight against what is measured, in seconds.
const HALF_LIFE_S: f64 = 300.0;
/// The weight of one report, and of all.
const REPORT_WEIGHT_MAX: f64 = 2.0;
const WEIGHT_MAX: f64 = 24.0;
/// The time between two looks at geography and at how much alike groups are, in seconds.
const REFRESH_EVERY_S: u32 = 30;
/// What a pair may pull at the line through all, in ms.
const PULL_MS: f64 = 20.0;
/// What the line rests on beside what was measured: so many pairs at each of two distances, as by [`Geography::default`].
const PRIOR_PAIRS: f64 = 10.0;
const PRIOR_KM: [f64; 2] = [100.0, 4_000.0];
/// The bounds of what is learned of geography.
const BASE_MS: (f64, f64) = (0.5, 60.0);
const MS_PER_KM: (f64, f64) = (0.008, 0.05);
const SPREAD_MS: (f64, f64) = (4.0, 40.0);
/// How much prefixes of a group differ until that is known, in ms, and how many measurements that counts for.
const WITHIN_MS: f64 = 8.0;
const WITHIN_PRIOR: f64 = 4.0;
/// By how much all paths of a network may differ from others when that rests on fewer than three nodes, in ms.
const OFFSET_MS: f64 = 10.0;

/// A group of client prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Group {
    /// Those around it.
    Neighbours(Prefix),
    /// Those of its network.
    Network(u32),
}

impl Group {
    /// The groups that a prefix is in.
    pub(super) fn of(entry: &Entry) -> impl Iterator<Item = Self> + use<> {
        let network = (entry.network != 0).then_some(Self::Network(entry.network));
        [Self::neighbours(entry.prefix)].into_iter().chain(network)
    }

    /// The group that knows most: its network, or its neighbours where that is not known.
    pub(super) fn widest(entry: &Entry) -> Self {
        if entry.network == 0 { Self::neighbours(entry.prefix) } else { Self::Network(entry.network) }
    }

    fn neighbours(prefix: Prefix) -> Self {
        Self::Neighbours(prefix.wider(if prefix.is_ipv4() { IPV4_NEIGHBOURS_BITS } else { IPV6_NEIGHBOURS_BITS }))
    }
}

/// The path of a group to a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) node: Number,
    /// Both on average; no distance when it is not known.
    pub(super) ms: f32,
    pub(super) km: f32,
    /// Of single measurements around that, in ms squared.
    pub(super) variance: f32,
    pub(super) weight: f32,
    pub(super) at: u32,
}

impl Pair {
    /// By how much it is longer than distance makes it, in ms.
    pub(super) fn beyond(&self, geography: &Geography) -> f64 {
        f64::from(self.ms) - geography.ms(f64::from(self.km))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Group, Vec<Pair>, foldhash::fast::FixedState>,
    pairs: usize,
    /// By node.
    brought: HashMap<Number, usize>,
    refreshed: u32,
    looked: u32,
    /// How much prefixes of a neighbourhood differ, and those of a network, in ms squared.
    within: [f64; 2],
    networks: std::sync::Arc<BTreeMap<u32, Network>>,
}

impl Groups {
    /// What a node measured of one prefix goes in.
    pub(super) fn told(&mut self, group: Group, node: Number, ms: f64, km: Option<f64>, count: u32, at: u32) {
        let km = km.unwrap_or(0.0);
        let more = f64::from(count).min(REPORT_WEIGHT_MAX);
        let brought = self.brought.entry(node).or_default();
        let full = self.pairs >= PAIRS_MAX || *brought >= PAIRS_PER_NODE_MAX;
        let pairs = match self.groups.get_mut(&group) {
            Some(pairs) => pairs,
            None if full => return,
            None => self.groups.entry(group).or_default(),
        };
        let Some(pair) = pairs.iter_mut().find(|pair| pair.node == node) else {
            if !full {
                self.pairs += 1;
                *brought += 1;
                pairs.push(Pair { node, ms: ms as f32, km: km as f32, variance: 0.0, weight: more as f32, at });
            }
            return;
        };
        let kept = f64::from(pair.weight) * (-f64::from(at.saturating_sub(pair.at)) / HALF_LIFE_S).exp2();
        let gain = more / (kept + more);
        let off = ms - f64::from(pair.ms);
        pair.ms += (off * gain) as f32;
        pair.km += ((km - f64::from(pair.km)) * gain) as f32;
        pair.variance += ((off * off - f64::from(pair.variance)) * gain) as f32;
        pair.weight = (kept + more).min(WEIGHT_MAX) as f32;
        pair.at = pair.at.max(at);
    }

    /// All groups with their paths.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Group, &Vec<Pair>)> {
        self.groups.iter()
    }

    /// A group that was kept; `None` when there is no room.
    pub(super) fn put(&mut self, group: Group, pairs: Vec<Pair>) -> Option<()> {
        self.pairs = Some(self.pairs + pairs.len()).filter(|count| *count <= PAIRS_MAX)?;
        pairs.iter().for_each(|pair| *self.brought.entry(pair.node).or_default() += 1);
        self.groups.insert(group, pairs).is_none().then_some(())
    }

    /// The paths of a group.
    pub(super) fn of(&self, group: Group) -> &[Pair] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }

    /// How far a prefix of a group may well be from what the group is, in ms squared.
    pub(super) fn variance(&self, group: Group, pair: &Pair) -> f64 {
        let usual = self.within[usize::from(matches!(group, Group::Network(_)))];
        let usual = if usual > 0.0 { usual } else { WITHIN_MS * WITHIN_MS };
        let weight = f64::from(pair.weight);
        (f64::from(pair.variance) * weight + usual * WITHIN_PRIOR) / (weight + WITHIN_PRIOR)
    }

    /// By how much all paths of a group are longer than distance makes them, in ms: the median, as a detour to one node says nothing of the others.
    pub(super) fn offset(&self, group: Group, geography: &Geography) -> f64 {
        let mut beyond: Vec<f64> = self.of(group).iter().filter(|pair| pair.km > 0.0).map(|pair| pair.beyond(geography)).collect();
        beyond.sort_by(f64::total_cmp);
        let (Some(lower), Some(upper)) = (beyond.get(beyond.len().saturating_sub(1) / 2), beyond.get(beyond.len() / 2)) else { return 0.0 };
        // Of an even number the mean of the two in the middle: neither decides alone.
        let median = f64::midpoint(*lower, *upper);
        let sure = beyond.len() as f64 / (beyond.len() as f64 + 1.0);
        sure * if beyond.len() < 3 { median.clamp(-OFFSET_MS, OFFSET_MS) } else { median }
    }

    /// Learns anew, now and then, what distance makes of latency.
    pub(super) fn refresh(&mut self, now: u32, geography: Geography) -> Geography {
        if now < self.refreshed.saturating_add(REFRESH_EVERY_S) {
            return geography;
        }
        self.refreshed = now;
        self.within = [self.alike(false), self.alike(true)];
        let geography = self.line(&geography);
        self.networks = std::sync::Arc::new(self.networks(&geography));
        geography
    }

    /// For the plan: how the paths of networks differ from geography.
    pub(super) fn for_plan(&self) -> &std::sync::Arc<BTreeMap<u32, Network>> {
        &self.networks
    }

    fn networks(&self, geography: &Geography) -> BTreeMap<u32, Network> {
        let networks = self.groups.iter().filter_map(|(group, pairs)| match group {
            Group::Network(number) => Some((*number, *group, pairs)),
            Group::Neighbours(_) => None,
        });
        let rounded = |ms: f64| ms.round() as f32;
        networks
            .map(|(number, group, pairs)| {
                let mut known: Vec<&Pair> = pairs.iter().filter(|pair| pair.km > 0.0).collect();
                known.sort_by(|one, two| two.at.cmp(&one.at).then(one.node.cmp(&two.node)));
                let nodes = known.into_iter().take(NETWORK_NODES_MAX).map(|pair| (pair.node, rounded(pair.beyond(geography))));
                (number, Network { offset_ms: rounded(self.offset(group, geography)), nodes: nodes.collect() })
            })
            .collect()
    }

    /// How much the prefixes of a kind of group differ, in ms squared: the median over nodes, each by the median of its pairs, so that neither a few
    /// mixed ones nor one node with many move it.
    fn alike(&self, networks: bool) -> f64 {
        let of_kind = self.groups.iter().filter(|(group, _)| matches!(group, Group::Network(_)) == networks);
        let pairs = of_kind.flat_map(|(_, pairs)| pairs).filter(|pair| f64::from(pair.weight) > 2.0 * REPORT_WEIGHT_MAX);
        let mut by_node: BTreeMap<Number, Vec<f32>> = BTreeMap::new();
        pairs.for_each(|pair| by_node.entry(pair.node).or_default().push(pair.variance));
        let medians = by_node.into_values().filter_map(|mut variances| median(&mut variances));
        // An exponential's mean square is above its median, and one that knows nothing must not be believed.
        median(&mut medians.collect::<Vec<f32>>()).map_or(0.0, |median| f64::from(median).mul_add(1.5, 1.0))
    }

    /// The line through latency by distance. Every node counts alike, whatever it reports, and no pair pulls by more than [`PULL_MS`].
    fn line(&self, old: &Geography) -> Geography {
        let mut by_node: HashMap<Number, f64> = HashMap::new();
        let networks_known = self.groups.keys().any(|group| matches!(group, Group::Network(_)));
        let pairs = || {
            let groups = self.groups.iter().filter(|(group, _)| matches!(group, Group::Network(_)) == networks_known);
            groups.flat_map(|(_, pairs)| pairs).filter(|pair| pair.km > 0.0)
        };
        pairs().for_each(|pair| *by_node.entry(pair.node).or_default() += 1.0);
        let (mut weight, mut x, mut y, mut xx, mut xy, mut off) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        let mut add = |w: f64, km: f64, ms: f64| {
            weight += w;
            x += w * km;
            y += w * ms;
            xx += w * km * km;
            xy += w * km * ms;
        };
        PRIOR_KM.iter().for_each(|km| add(PRIOR_PAIRS, *km, Geography::default().ms(*km)));
        let busiest = by_node.values().copied().fold(0.0, f64::max);
        let (mut all, mut pulled) = (2.0 * PRIOR_PAIRS, 0.0);
        for pair in pairs() {
            let share = by_node.get(&pair.node).map_or(0.0, |own| (busiest / by_node.len() as f64 / own).min(1.0));
            let beyond = pair.beyond(old).clamp(-PULL_MS, PULL_MS);
            add(share, f64::from(pair.km), old.ms(f64::from(pair.km)) + beyond);
            all += share;
            pulled += share * beyond * beyond;
        }
        off += (pulled + 2.0 * PRIOR_PAIRS * f64::from(Geography::default().spread_ms).powi(2)) / all;
        let slope = (weight * xy - x * y) / (weight * xx - x * x);
        let slope = if slope.is_finite() { slope.clamp(MS_PER_KM.0, MS_PER_KM.1) } else { f64::from(old.ms_per_km) };
        let base = ((y - slope * x) / weight).clamp(BASE_MS.0, BASE_MS.1);
        Geography { base_ms: base as f32, ms_per_km: slope as f32, spread_ms: off.sqrt().clamp(SPREAD_MS.0, SPREAD_MS.1) as f32 }
    }

    /// Nodes are there no more: nothing is known of paths to them.
    pub(super) fn part_with(&mut self, is_gone: impl Fn(Number) -> bool) {
        self.groups.retain(|_, pairs| {
            pairs.retain(|pair| !is_gone(pair.node));
            !pairs.is_empty()
        });
        self.count();
        let networks = std::sync::Arc::make_mut(&mut self.networks);
        networks.values_mut().for_each(|network| network.nodes.retain(|(node, _)| !is_gone(*node)));
    }

    /// Counts the pairs, in all and by node.
    fn count(&mut self) {
        self.pairs = self.groups.values().map(Vec::len).sum();
        self.brought.clear();
        self.groups.values().flatten().for_each(|pair| *self.brought.entry(pair.node).or_default() += 1);
    }

    /// The clock was set: every time that is remembered moves.
    pub(super) fn clock(&mut self, moved: impl Fn(u32) -> u32) {
        (self.refreshed, self.looked) = (moved(self.refreshed), moved(self.looked));
        self.groups.values_mut().flatten().for_each(|pair| pair.at = moved(pair.at));
    }

    /// Forgets what was not heard of since a time.
    pub(super) fn forget(&mut self, since: u32) {
        if since < self.looked.saturating_add(REFRESH_EVERY_S) {
            return;
        }
        self.looked = since;
        self.groups.retain(|_, pairs| {
            pairs.retain(|pair| pair.at >= since);
            !pairs.is_empty()
        });
        self.count();
    }
}

/// The upper one of two in the middle; `None` of nothing.
fn median(values: &mut [f32]) -> Option<f32> {
    let middle = Some(values.len() / 2).filter(|middle| *middle < values.len())?;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}
