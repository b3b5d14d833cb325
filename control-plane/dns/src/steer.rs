//! From a region to the edges that answer for it.
//!
//! Owns the candidates of each region, compiled from what is up. Knows no DNS names and no addresses of clients beyond a
//! group of them. Choosing by measured latency and load belongs here too, behind [`Steer::choose`].

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::place::{Client, Region};
use crate::state::{Edge, State};

/// How many edges one answer names: the chosen one and the next, which a client tries when the first does not connect.
pub const EDGES_PER_ANSWER_MAX: usize = 2;
/// How many addresses of each family one edge is answered with; more would only make packets longer.
pub const ADDRESSES_PER_EDGE_MAX: usize = 4;

/// An edge as it is answered with.
#[derive(Debug)]
pub struct Candidate {
    /// Mixed into the hash of a client group.
    seed: u64,
    /// At most [`ADDRESSES_PER_EDGE_MAX`].
    pub ipv4: Vec<Ipv4Addr>,
    /// At most [`ADDRESSES_PER_EDGE_MAX`].
    pub ipv6: Vec<Ipv6Addr>,
}

impl Candidate {
    fn new(edge: &Edge) -> Self {
        let ipv4 = edge.addresses.iter().filter_map(|address| if let IpAddr::V4(ipv4) = address { Some(*ipv4) } else { None });
        let ipv6 = edge.addresses.iter().filter_map(|address| if let IpAddr::V6(ipv6) = address { Some(*ipv6) } else { None });
        Self {
            seed: xxh3_64(edge.name.as_bytes()),
            ipv4: ipv4.take(ADDRESSES_PER_EDGE_MAX).collect(),
            ipv6: ipv6.take(ADDRESSES_PER_EDGE_MAX).collect(),
        }
    }
}

/// What an edge must have to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An address of either family.
    Any,
}

/// The edges chosen for a client.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The chosen one first; at most [`EDGES_PER_ANSWER_MAX`], empty when no edge of the region has what was wanted.
    pub edges: Vec<&'a Candidate>,
    /// Whether another group of clients in the same region may be given other edges, or these in another order.
    pub by_group: bool,
}

/// The candidates of each region.
#[derive(Debug, Default)]
pub struct Steer {
    /// The numbers of the regions.
    regions: HashMap<String, Region>,
    /// By region, its own; empty when it has none that may be chosen.
    served_by: Vec<Vec<usize>>,
    /// Those of the first region that has any: for clients that no coverage names, and for regions that have none.
    uncovered: Vec<usize>,
    candidates: Vec<Candidate>,
}

impl Steer {
    /// Compiles the candidates of every region of a state: the edges of the region that are up; when it has none, those of the
    /// next region in the declared order, then of the others by name. When no edge at all is up every edge counts as up,
    /// because a wrong belief about their health must not take the whole service away.
    #[must_use]
    pub fn build(state: &State) -> Self {
        Self::without(state, &BTreeSet::new())
    }

    /// The same without some edges, by name, which are chosen in no case. The regions have the same numbers.
    #[must_use]
    pub fn without(state: &State, left_out: &BTreeSet<String>) -> Self {
        let named = state.coverage.iter().map(|(_, region)| region.as_str()).chain(state.edges.iter().map(|edge| edge.region.as_str()));
        let rest: BTreeSet<&str> = named.filter(|region| !state.region_order.iter().any(|ordered| ordered == region)).collect();
        let order: Vec<&str> = state.region_order.iter().map(String::as_str).chain(rest).collect();

        let reachable = |edge: &&(usize, &Edge)| !edge.1.addresses.is_empty() && !left_out.contains(&edge.1.name);
        let edges: Vec<(usize, &Edge)> = state.edges.iter().enumerate().collect();
        let anyone_up = edges.iter().filter(reachable).any(|(_, edge)| edge.up);
        let mut by_region: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, edge) in edges.iter().filter(reachable).filter(|(_, edge)| edge.up || !anyone_up) {
            by_region.entry(edge.region.as_str()).or_default().push(*index);
        }

        let uncovered = order.iter().find_map(|region| by_region.get(region)).cloned().unwrap_or_default();
        let served_by = order.iter().map(|region| by_region.remove(region).unwrap_or_default()).collect();
        let mut regions = HashMap::new();
        for (number, region) in (0..).zip(&order) {
            regions.entry((*region).to_owned()).or_insert(number);
        }
        Self { regions, served_by, uncovered, candidates: state.edges.iter().map(Candidate::new).collect() }
    }

    /// The number of a region that the state names.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<Region> {
        self.regions.get(name).copied()
    }

    /// Chooses by rendezvous hash over the client's group, so that load spreads, a client keeps its edge, and only the clients
    /// of an edge that leaves are moved.
    #[must_use]
    pub fn choose(&self, region: Option<Region>, client: &Client, wanted: Wanted) -> Choice<'_> {
        let served = region.and_then(|region| self.served_by.get(region as usize)).filter(|own| !own.is_empty()).unwrap_or(&self.uncovered);
        let group = client.group();
        let mut ranked: Vec<(u64, &Candidate)> = served
            .iter()
            .filter_map(|&index| self.candidates.get(index))
            .filter(|candidate| match wanted {
                Wanted::Ipv4 => !candidate.ipv4.is_empty(),
                Wanted::Ipv6 => !candidate.ipv6.is_empty(),
                Wanted::Any => true,
            })
            .map(|candidate| (xxh3_64_with_seed(&group, candidate.seed), candidate))
            .collect();
        let by_group = ranked.len() > 1;
        ranked.sort_by_key(|&(score, candidate)| (std::cmp::Reverse(score), candidate.seed));
        Choice { edges: ranked.into_iter().take(EDGES_PER_ANSWER_MAX).map(|(_, candidate)| candidate).collect(), by_group }
    }
}

#[cfg(test)]
mod tests;
