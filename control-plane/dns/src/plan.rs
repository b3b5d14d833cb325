//! What was learned, ready to be answered from: client prefixes with the nodes that are best for them, in order.
//!
//! Owns the table and how it is looked up and told from an older one. Immutable; plans share the pages in which they do not differ, so that one
//! more costs what has changed. Decides nothing: [`crate::learn::Learner`] fills it, [`crate::steer`] chooses by it.

mod difference;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

pub use self::difference::Difference;
use crate::prefix::{IPV4_BITS_MAX, IPV6_BITS_MAX, Prefix};

/// Nodes that a row ranks; where none of them may be answered with, geography chooses.
pub const RANKED_MAX: usize = 6;
/// Nodes of a network whose paths are told apart from geography.
pub const NETWORK_NODES_MAX: usize = 8;
/// The nodes that one plan may name.
pub const NODES_MAX: usize = 4_096;
/// The pages of a plan: at 1,000,000 rows a page has about 250 of them, 12 kB.
const PAGES: usize = 4_096;
/// Stands for no node.
const NOBODY: u16 = u16::MAX;

/// A node by its place in [`Plan::nodes`].
pub type Number = u16;

/// A node as rows have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Which one.
    pub node: Number,
    /// The expected latency, in ms, at most 6,553.
    pub ms: f32,
    /// How far the latency may well be from that, one standard deviation in ms, at most 255.
    pub spread_ms: f32,
}

/// Why a node is the first of its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// Its latency to this prefix was measured.
    Measured,
    /// Its latency was estimated from the neighbours, the network and geography.
    #[default]
    Estimated,
    /// Another one is better, but not by so much that a change is worth it, or the prefix has no change left.
    Held,
    /// A faster one has too much to do.
    Spilled,
}

/// What is planned for the clients of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The prefix.
    pub prefix: Prefix,
    nodes: [Number; RANKED_MAX],
    /// In tenths of a millisecond.
    tenths: [u16; RANKED_MAX],
    spread: [u8; RANKED_MAX],
    /// Why the first one is the first.
    pub why: Why,
    /// The longest lifetime of an answer, in seconds; 0: as long as the zone has it.
    pub ttl_s: u8,
    trial: Number,
    trial_until_s: u32,
}

impl Row {
    /// A row of the first [`RANKED_MAX`] nodes, the one to answer with first.
    #[must_use]
    pub fn new(prefix: Prefix, ranked: impl IntoIterator<Item = Ranked>) -> Self {
        let mut row = Self {
            prefix,
            nodes: [NOBODY; RANKED_MAX],
            tenths: [0; RANKED_MAX],
            spread: [0; RANKED_MAX],
            why: Why::default(),
            ttl_s: 0,
            trial: NOBODY,
            trial_until_s: 0,
        };
        for (place, ranked) in ranked.into_iter().take(RANKED_MAX).enumerate() {
            row.nodes[place] = ranked.node;
            row.tenths[place] = (ranked.ms * 10.0).round() as u16;
            row.spread[place] = ranked.spread_ms.round() as u8;
        }
        row
    }

    /// The same for a reason, and with a lifetime.
    #[must_use]
    pub fn with(self, why: Why, ttl_s: u8) -> Self {
        Self { why, ttl_s, ..self }
    }

    /// The same with a node that is tried until a time, in seconds since 1970.
    #[must_use]
    pub fn trying(self, trial: Option<(Number, u32)>) -> Self {
        let (trial, trial_until_s) = trial.unwrap_or((NOBODY, 0));
        Self { trial, trial_until_s, ..self }
    }

    /// The nodes in order.
    pub fn ranked(&self) -> impl Iterator<Item = Ranked> + '_ {
        let places = (0..RANKED_MAX).take_while(|&place| self.nodes[place] != NOBODY);
        places.map(|place| Ranked {
            node: self.nodes[place],
            ms: f32::from(self.tenths[place]) / 10.0,
            spread_ms: f32::from(self.spread[place]),
        })
    }

    /// The node that is tried at a time in seconds since 1970, and until when.
    #[must_use]
    pub fn trial(&self, now: f64) -> Option<(Number, u32)> {
        (self.trial != NOBODY && now < f64::from(self.trial_until_s)).then_some((self.trial, self.trial_until_s))
    }
}

/// A node as it was when the plan was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What its load counts for, in ms of latency.
    pub price_ms: f32,
    /// How much of what it can do it will do by this plan, 1.0 being all; none when that is not known.
    pub utilization: Option<f32>,
}

/// What distance makes of latency, learned from all that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Geography {
    /// The latency at no distance, in ms.
    pub base_ms: f32,
    /// What a km adds, in ms.
    pub ms_per_km: f32,
    /// How far paths are from that, one standard deviation in ms.
    pub spread_ms: f32,
}

impl Default for Geography {
    /// Light in fibre on a path 1.4 times the great circle, and a last mile.
    fn default() -> Self {
        Self { base_ms: 8.0, ms_per_km: 0.014, spread_ms: 15.0 }
    }
}

impl Geography {
    /// The latency over so many km, in ms.
    #[must_use]
    pub fn ms(&self, km: f64) -> f64 {
        f64::from(self.base_ms) + f64::from(self.ms_per_km) * km
    }
}

/// How the paths of a network differ from geography.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// By how much all of its paths do, in ms.
    pub offset_ms: f32,
    /// By how much those to some nodes do, in ms; at most [`NETWORK_NODES_MAX`].
    pub nodes: Vec<(Number, f32)>,
}

/// What the planner can say of its own work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Client prefixes with something measured.
    pub prefixes: usize,
    /// The mean expected latency of all traffic, in ms.
    pub mean_ms: f64,
    /// By how much that is above the mean of the best known nodes, in ms.
    pub regret_ms: f64,
    /// The share of traffic that is answered with a runner-up to learn about it, 0 to 1.
    pub explored: f64,
    /// The share of traffic whose choice rests on measurements that are old, or on none, 0 to 1.
    pub stale: f64,
    /// Prefixes that changed node since the process began; those that were explored not counted.
    pub moves: u64,
}

/// See the module.
#[derive(Clone, Default)]
pub struct Plan {
    /// When it was made, in seconds since 1970; 0 when nothing is planned.
    pub made: f64,
    /// The nodes that it names, by number. A number means the same node in all plans of one learner while the CDN has that node; one that stands for none
    /// has no name here, and no row or network with it.
    pub nodes: Arc<Vec<Node>>,
    /// What distance makes of latency.
    pub geography: Geography,
    /// What the planner says of its work.
    pub summary: Summary,
    /// By number of the network (ASN).
    pub networks: Arc<BTreeMap<u32, Network>>,
    /// [`PAGES`] of rows sorted by prefix, or none.
    pages: Vec<Arc<Vec<Row>>>,
    lengths: Lengths,
}

/// In short: a plan may have a million rows.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { made, nodes, geography, summary, networks, .. } = self;
        let (networks, rows) = (networks.len(), self.len());
        write!(f, "Plan of {made} s with {rows} rows and {networks} networks: {geography:?}, {summary:?}, {nodes:?}")
    }
}

/// How many rows have which length, so that only lengths that occur are looked up.
#[derive(Clone, Debug, PartialEq)]
struct Lengths {
    ipv4: [u32; IPV4_BITS_MAX as usize + 1],
    ipv6: [u32; IPV6_BITS_MAX as usize + 1],
}

impl Default for Lengths {
    fn default() -> Self {
        Self { ipv4: [0; IPV4_BITS_MAX as usize + 1], ipv6: [0; IPV6_BITS_MAX as usize + 1] }
    }
}

impl Lengths {
    fn of(&mut self, prefix: Prefix) -> &mut u32 {
        let lengths: &mut [u32] = if prefix.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 };
        &mut lengths[usize::from(prefix.bits())]
    }
}

fn page_of(prefix: Prefix) -> usize {
    (xxh3_64(&prefix.packed().to_le_bytes()) as usize) % PAGES
}

impl Plan {
    /// The same with these rows set and those of `gone` taken away. Pages in which nothing changes are shared.
    #[must_use]
    pub fn with_rows(&self, set: impl IntoIterator<Item = Row>, gone: impl IntoIterator<Item = Prefix>) -> Self {
        let mut by_page: BTreeMap<usize, Vec<(Prefix, Option<Row>)>> = BTreeMap::new();
        for prefix in gone {
            by_page.entry(page_of(prefix)).or_default().push((prefix, None));
        }
        for row in set {
            by_page.entry(page_of(row.prefix)).or_default().push((row.prefix, Some(row)));
        }
        let mut plan = self.clone();
        if plan.pages.is_empty() && !by_page.is_empty() {
            plan.pages = vec![Arc::default(); PAGES];
        }
        for (number, mut changes) in by_page {
            // Of two words about one prefix the last one counts.
            changes.sort_by_key(|(prefix, _)| *prefix);
            let page = merged(&plan.pages[number], &changes, &mut plan.lengths);
            plan.pages[number] = Arc::new(page);
        }
        plan
    }

    /// The row of exactly this prefix.
    #[must_use]
    pub fn row(&self, prefix: Prefix) -> Option<&Row> {
        let page = self.pages.get(page_of(prefix))?;
        page.binary_search_by_key(&prefix, |row| row.prefix).ok().map(|place| &page[place])
    }

    /// The row of the longest prefix around this one.
    #[must_use]
    pub fn around(&self, prefix: Prefix) -> Option<&Row> {
        if self.pages.is_empty() {
            return None;
        }
        let lengths: &[u32] = if prefix.is_ipv4() { &self.lengths.ipv4 } else { &self.lengths.ipv6 };
        (0..=prefix.bits()).rev().filter(|&bits| lengths[usize::from(bits)] > 0).find_map(|bits| self.row(prefix.wider(bits)))
    }

    /// All rows, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// The numbers of all nodes that a row or a network has, again and again.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = Number> {
        let rows = self.rows().flat_map(|row| row.nodes.into_iter().chain([row.trial]));
        let networks = self.networks.values().flat_map(|network| network.nodes.iter().map(|(node, _)| *node));
        rows.chain(networks)
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.iter().map(|page| page.len()).sum()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.iter().all(|page| page.is_empty())
    }
}

/// A page after changes, which are sorted by prefix.
fn merged(page: &[Row], changes: &[(Prefix, Option<Row>)], lengths: &mut Lengths) -> Vec<Row> {
    let mut rows = Vec::with_capacity(page.len() + changes.len());
    let mut before = page.iter().peekable();
    for (index, (prefix, row)) in changes.iter().enumerate() {
        if changes.get(index + 1).is_some_and(|(next, _)| next == prefix) {
            continue;
        }
        while let Some(row) = before.next_if(|row| row.prefix < *prefix) {
            rows.push(*row);
        }
        let had = before.next_if(|row| row.prefix == *prefix).is_some();
        let count = lengths.of(*prefix);
        *count = count.saturating_add(u32::from(row.is_some())).saturating_sub(u32::from(had));
        rows.extend(*row);
    }
    rows.extend(before);
    rows
}

#[cfg(test)]
mod tests;
