//! An edge as it is answered with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::geo::Spot;
use crate::state::{Edge, WEIGHT_USUAL};

/// How many addresses of each family one edge is answered with; more would only make packets longer.
pub const ADDRESSES_PER_EDGE_MAX: usize = 4;
/// Mixed into the seed of an edge where the share it takes is drawn, so that this says nothing about its turn.
const WEIGHT_SEED: u64 = 0x77;

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

/// See the module.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The edge's number in the state.
    pub number: usize,
    /// The edge's name.
    pub name: String,
    /// At most [`ADDRESSES_PER_EDGE_MAX`].
    pub ipv4: Vec<Ipv4Addr>,
    /// At most [`ADDRESSES_PER_EDGE_MAX`].
    pub ipv6: Vec<Ipv6Addr>,
    /// Mixed into the hash of a client group.
    pub(super) seed: u64,
    pub(super) weight: u32,
    /// The operator's cost, in ms.
    pub(super) cost_ms: f64,
    pub(super) spot: Option<Spot>,
}

impl Candidate {
    pub(super) fn new((number, edge): (usize, &Edge)) -> Self {
        let ipv4 = edge.addresses.iter().filter_map(|address| if let IpAddr::V4(ipv4) = address { Some(*ipv4) } else { None });
        let ipv6 = edge.addresses.iter().filter_map(|address| if let IpAddr::V6(ipv6) = address { Some(*ipv6) } else { None });
        Self {
            number,
            name: edge.name.clone(),
            ipv4: ipv4.take(ADDRESSES_PER_EDGE_MAX).collect(),
            ipv6: ipv6.take(ADDRESSES_PER_EDGE_MAX).collect(),
            seed: xxh3_64(edge.name.as_bytes()),
            weight: edge.weight,
            cost_ms: edge.cost.as_secs_f64() * 1_000.0,
            spot: edge.location.map(Spot::new),
        }
    }

    /// Its own number in hashes by which edges take turns.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn has(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Ipv4 => !self.ipv4.is_empty(),
            Wanted::Ipv6 => !self.ipv6.is_empty(),
            Wanted::Any => true,
        }
    }

    /// Whether the edge by its weight takes a group of clients.
    pub(super) fn takes(&self, group: &[u8; 17]) -> bool {
        takes(self.weight, self.seed, group)
    }
}

/// Whether an edge of a weight, in percent, and a seed, the hash of its name, takes a group of clients.
pub(crate) fn takes(weight: u32, seed: u64, group: &[u8; 17]) -> bool {
    weight >= WEIGHT_USUAL || (xxh3_64_with_seed(group, seed ^ WEIGHT_SEED) % u64::from(WEIGHT_USUAL)) < u64::from(weight)
}
