//! All that answers are made from, as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cookie::Secrets;
use crate::geo::{Location, Places};
use crate::plan::Plan;

/// The share of its clients that an edge is given usually, in percent.
pub const WEIGHT_USUAL: u32 = 100;

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
    /// What the operator declared for client prefixes: above all that is learned.
    pub coverage: Vec<(IpNet, Target)>,
    /// Records of the zone that an operator declared, beside those that the CDN makes.
    pub records: Vec<Record>,
    /// The edges that DNS may answer with. One that must not be answered with even when no edge is up, as a drained one, is left out.
    pub edges: Vec<Edge>,
    /// The sites.
    pub sites: Vec<Site>,
    /// The edges that do not have a site, by its name: they are no answer for it, even when no other edge is up. Only sites that some edge lacks; those
    /// that the same edges lack share the set.
    pub lacking: BTreeMap<String, Arc<BTreeSet<String>>>,
    /// What was learned about client prefixes. Another plan with the same [`State::serial`] is no change of the zone.
    pub plan: Arc<Plan>,
    /// What all name servers of the zone make cookies by; none: each has its own. Others with the same [`State::serial`] are no change of the zone.
    pub cookies: Secrets,
    /// Where addresses are, if that is known.
    pub geo: Option<Arc<dyn Places>>,
}

/// Whom the operator declared for a client prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The edges of a region.
    Region(String),
    /// One edge, by name; while it cannot answer, those of its region.
    Node(String),
}

/// An edge. What is not said of one when it is read is as by default, but its name and whether it is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Its name.
    pub name: String,
    /// Its region.
    #[serde(default)]
    pub region: String,
    /// The addresses to answer with.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Whether it may get clients: connected, not drained, and with a configuration.
    pub up: bool,
    /// The share of the clients it would have that it is given, in percent: [`WEIGHT_USUAL`] and above all, 0 none while another edge can answer.
    #[serde(default = "weight_usual")]
    pub weight: u32,
    /// What its operator has it cost: it counts as so much farther away.
    #[serde(default)]
    pub cost: Duration,
    /// How much of what it can do it does, as it reported, 1.0 being all; none when that is not known. Only in the state that is planned for.
    #[serde(default)]
    pub utilization: Option<f32>,
    /// Where it is, if its operator said so.
    #[serde(default)]
    pub location: Option<Location>,
}

fn weight_usual() -> u32 {
    WEIGHT_USUAL
}

impl Default for Edge {
    /// Up, with the usual weight.
    fn default() -> Self {
        Self {
            name: String::new(),
            region: String::new(),
            addresses: Vec::new(),
            up: true,
            weight: WEIGHT_USUAL,
            cost: Duration::ZERO,
            utilization: None,
            location: None,
        }
    }
}

/// A site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its name; the label of its target in the zone.
    pub name: String,
    /// Its hosts, as in the site file.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The regions whose edges may answer for it, and no others in any case; empty: all.
    pub regions: Vec<String>,
    /// How the routing host sends its clients to an edge.
    #[serde(default)]
    pub redirect: Redirect,
}

/// How a routing host sends clients to an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Whether each path has an edge of its own; else it is that of the client.
    pub by_path: bool,
    /// Whether over HTTP in the clear; else over TLS.
    pub cleartext: bool,
}

/// A record that an operator declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The whole name, in the zone.
    pub name: String,
    /// How long it may be kept.
    pub ttl: Duration,
    /// What it says.
    pub data: Data,
}

/// What a declared record says, by type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME: the whole other name.
    Cname(String),
    /// TXT: one text, of any length that fits in a record.
    Txt(String),
    /// MX.
    Mx {
        /// The smaller it is the sooner the server is tried.
        preference: u16,
        /// The whole name of the server.
        exchange: String,
    },
    /// CAA (RFC 8659).
    Caa {
        /// Whether who does not know the tag must not issue.
        critical: bool,
        /// Such as `issue`.
        tag: String,
        /// Such as the name of an authority.
        value: String,
    },
}
