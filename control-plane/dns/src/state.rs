//! All that answers are made from, as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// The state of the zone. Immutable; a change is another one.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The zone, lower case without final dot: `cdn.example.net`.
    pub zone: String,
    /// The SOA serial.
    pub serial: u32,
    /// The zone's name servers with their addresses.
    pub nameservers: Vec<(String, Vec<IpAddr>)>,
    /// The lifetime of an address answer.
    pub ttl: Duration,
    /// Whether the edges have HTTP/3, so that HTTPS records name it.
    pub h3: bool,
    /// Regions in the order in which they serve clients that no coverage names.
    pub region_order: Vec<String>,
    /// Which client prefixes are served by which region.
    pub coverage: Vec<(IpNet, String)>,
    /// The edges that DNS may answer with. One that must not be answered with even when no edge is up, as a drained one, is left out.
    pub edges: Vec<Edge>,
    /// The sites.
    pub sites: Vec<Site>,
    /// The edges that do not have a site, by its name: they are no answer for it, even when no other edge is up. Only sites that some edge lacks; those
    /// that the same edges lack share the set.
    pub lacking: BTreeMap<String, Arc<BTreeSet<String>>>,
}

/// An edge.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The addresses to answer with.
    pub addresses: Vec<IpAddr>,
    /// Whether it may get clients: connected, not drained, and with a configuration.
    pub up: bool,
}

/// A site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name; the label of its target in the zone.
    pub name: String,
    /// Its hosts, as in the site file.
    pub hosts: Vec<String>,
}
