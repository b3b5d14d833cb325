//! The state of a zone as rows, and back: one row for each thing that changes by itself, so that what is sent of a change is what changed.
//!
//! A row is a key and a value, both bytes. Comparing two sets of rows, and telling by digests in which blocks they differ, needs no knowledge of what
//! the rows say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skerry_agent::wire::{ZONE_BLOCK_BYTES, ZONE_BLOCKS};
use skerry_config::limits;
use skerry_dns::state::{Edge, Record, Site, State};
use skerry_dns::{learn, plan};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::planned::{Beside, Head};
use crate::intent;

/// The row of everything that there is once.
const SETTINGS: &str = "settings";
/// The row of the secrets of cookies, which no error quotes.
const COOKIES: &str = "cookies";
const COVERAGE: &str = "coverage/";
const EDGE: &str = "edge/";
const RECORD: &str = "record/";
const LACKING: &str = "lacking/";
/// What a plan has once, and for each of its nodes and networks.
const PLAN: &str = "plan";
const PLAN_NODE: &str = "plan/node/";
const PLAN_NETWORK: &str = "plan/network/";
const SITE: &str = "site/";

/// The networks that rows tell of, those with the lowest numbers: more than there are with a number. To DNS nodes, paths of further ones are as of those
/// of which nothing is known.
const NETWORKS_MAX: usize = 131_072;

/// The rows of a zone, as many as all that is in one is bounded to: the three that there are once; prefixes planned for and declared; sites, and sets of those
/// that the same edges lack; edges; records; nodes and networks of the plan.
pub(crate) const ROWS_MAX: usize = 3
    + learn::PREFIXES_MAX
    + limits::PREFIXES_MAX
    + 2 * limits::SITES_MAX
    + intent::NODES_MAX
    + limits::RECORDS_MAX * limits::RECORD_VALUES_MAX
    + plan::NODES_MAX
    + NETWORKS_MAX;

/// Rows by key.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What becomes of a row: its key, and what it says from then on, if there is one.
pub(crate) type Edit = (Vec<u8>, Option<Vec<u8>>);

/// A digest for each block of rows, whatever their order: the sum of the digests of the rows in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digests(Vec<u128>);

/// What rows say.
pub(crate) struct Said {
    /// All of the state but its plan.
    pub(crate) state: State,
    /// What the plan has beside its own rows.
    pub(crate) beside: Beside,
    /// How many rows say something that this version cannot read, as those of another may: they count as saying nothing.
    pub(crate) unread: usize,
    /// Why not, of the first of them.
    pub(crate) why: Option<String>,
}

/// What there is once.
#[derive(Serialize, Deserialize)]
struct Settings {
    zone: String,
    serial: u32,
    nameservers: Vec<(String, Vec<IpAddr>)>,
    ttl: Duration,
    h3: bool,
    region_order: Vec<String>,
}

/// Edges that lack the same sites.
#[derive(Serialize, Deserialize)]
struct Lacking {
    edges: BTreeSet<String>,
    sites: Vec<String>,
}

impl Default for Digests {
    /// Of no rows.
    fn default() -> Self {
        Self(vec![0; ZONE_BLOCKS])
    }
}

impl Digests {
    /// Counts a row.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        // Told apart from the same bytes parted elsewhere, and from the two exchanged.
        let row = xxh3_128(value).rotate_left(1) ^ xxh3_128(key);
        if let Some(sum) = self.0.get_mut(block(key)) {
            *sum = sum.wrapping_add(row);
        }
    }

    /// As a hello says them.
    pub(crate) fn told(&self) -> Vec<u8> {
        self.0.iter().flat_map(|sum| sum.to_be_bytes()).collect()
    }

    /// What a hello said; `None` when that is something else.
    pub(crate) fn read(told: &[u8]) -> Option<Self> {
        let sums = told.chunks_exact(ZONE_BLOCK_BYTES).filter_map(|sum| Some(u128::from_be_bytes(sum.try_into().ok()?)));
        (told.len() == ZONE_BLOCKS * ZONE_BLOCK_BYTES).then(|| Self(sums.collect()))
    }

    /// The blocks in which they differ.
    pub(crate) fn differing(&self, other: &Self) -> BTreeSet<usize> {
        (0..ZONE_BLOCKS).filter(|block| self.0.get(*block) != other.0.get(*block)).collect()
    }
}

/// The block that the row of a key is in.
pub(crate) fn block(key: &[u8]) -> usize {
    usize::try_from(xxh3_64(key) % (ZONE_BLOCKS as u64)).unwrap_or(0)
}

/// The edits that make `after` of `before`.
pub(crate) fn edits(before: &Rows, after: &Rows) -> Vec<Edit> {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), None));
    let other = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, value)| (key.clone(), Some(value.clone())));
    gone.chain(other).collect()
}

/// All of a state but what is planned for prefixes.
///
/// # Errors
/// One sentence, when something cannot be written as JSON.
pub(crate) fn of_state(state: &State) -> Result<Rows, String> {
    let mut rows = Rows::new();
    let mut put = |key: String, value: Vec<u8>| rows.insert(key.into_bytes(), value);
    for (net, target) in &state.coverage {
        put(format!("{COVERAGE}{net}"), json(target)?);
    }
    for edge in &state.edges {
        put(format!("{EDGE}{}", edge.name), json(edge)?);
    }
    for site in &state.sites {
        put(format!("{SITE}{}", site.name), json(site)?);
    }
    for (number, record) in state.records.iter().enumerate() {
        put(format!("{RECORD}{number:05}"), json(record)?);
    }
    // Sites that the same edges lack share one row, and most of them one set.
    let mut by_set: BTreeMap<*const BTreeSet<String>, (&BTreeSet<String>, Vec<String>)> = BTreeMap::new();
    for (site, edges) in &state.lacking {
        by_set.entry(Arc::as_ptr(edges)).or_insert((edges, Vec::new())).1.push(site.clone());
    }
    let mut alike: BTreeMap<&BTreeSet<String>, Vec<String>> = BTreeMap::new();
    for (edges, sites) in by_set.into_values() {
        alike.entry(edges).or_default().extend(sites);
    }
    for (edges, mut sites) in alike {
        sites.sort_unstable();
        let named = xxh3_64(&json(edges)?);
        put(format!("{LACKING}{named:016x}"), json(&Lacking { edges: edges.clone(), sites })?);
    }
    if !state.cookies.all().is_empty() {
        put(COOKIES.to_owned(), json(&state.cookies)?);
    }
    let plan = &state.plan;
    put(PLAN.to_owned(), json(&Head::of(plan))?);
    for (number, node) in plan.nodes.iter().enumerate() {
        put(format!("{PLAN_NODE}{number:05}"), json(node)?);
    }
    for (number, network) in plan.networks.iter().take(NETWORKS_MAX) {
        put(format!("{PLAN_NETWORK}{number:010}"), json(network)?);
    }
    let State { zone, serial, nameservers, ttl, h3, region_order, .. } = state.clone();
    put(SETTINGS.to_owned(), json(&Settings { zone, serial, nameservers, ttl, h3, region_order })?);
    Ok(rows)
}

/// What rows say; `None` where they say nothing of a zone yet. Rows of a kind that only a later version knows say nothing.
///
/// # Errors
/// One sentence, when the settings cannot be read: without them there is no zone.
pub(crate) fn to_state(rows: &Rows) -> Result<Option<Said>, String> {
    let mut said = Said { state: State::default(), beside: Beside::default(), unread: 0, why: None };
    for (key, value) in rows {
        let key = std::str::from_utf8(key).unwrap_or_default();
        match enter((&mut said.state, &mut said.beside), key, value) {
            Err(why) if key == SETTINGS => return Err(why),
            Err(why) => {
                said.unread += 1;
                said.why.get_or_insert(why);
            }
            Ok(()) => {}
        }
    }
    Ok(rows.contains_key(SETTINGS.as_bytes()).then_some(said))
}

/// Enters what a row says.
fn enter((state, beside): (&mut State, &mut Beside), key: &str, value: &[u8]) -> Result<(), String> {
    if key == SETTINGS {
        let Settings { zone, serial, nameservers, ttl, h3, region_order } = parse(key, value)?;
        (state.zone, state.serial, state.nameservers) = (zone, serial, nameservers);
        (state.ttl, state.h3, state.region_order) = (ttl, h3, region_order);
    } else if key == COOKIES {
        let unread = |_| format!("the row {key:?} of the zone says something else than it should");
        state.cookies = serde_json::from_slice(value).map_err(unread)?;
    } else if let Some(net) = key.strip_prefix(COVERAGE) {
        let net: IpNet = net.parse().map_err(|_| format!("the row {key:?} of the zone names no prefix"))?;
        state.coverage.push((net, parse(key, value)?));
    } else if key.starts_with(EDGE) {
        state.edges.push(parse::<Edge>(key, value)?);
    } else if key.starts_with(SITE) {
        state.sites.push(parse::<Site>(key, value)?);
    } else if key.starts_with(RECORD) {
        state.records.push(parse::<Record>(key, value)?);
    } else if key.starts_with(LACKING) {
        let Lacking { edges, sites } = parse(key, value)?;
        let edges = Arc::new(edges);
        state.lacking.extend(sites.into_iter().map(|site| (site, Arc::clone(&edges))));
    } else if key == PLAN {
        beside.head = parse(key, value)?;
    } else if let Some(number) = key.strip_prefix(PLAN_NODE) {
        beside.nodes.insert(number.parse().map_err(|_| unnumbered(key))?, parse(key, value)?);
    } else if let Some(number) = key.strip_prefix(PLAN_NETWORK) {
        beside.networks.insert(number.parse().map_err(|_| unnumbered(key))?, parse(key, value)?);
    }
    Ok(())
}

fn unnumbered(key: &str) -> String {
    format!("the row {key:?} of the zone has no number")
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| format!("cannot write JSON: {error}"))
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("the row {key:?} of the zone says something else than it should: {error}"))
}
