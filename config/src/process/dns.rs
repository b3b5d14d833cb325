//! Settings of DNS: the zone, how clients are placed, and the node that answers for it alone.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ControlLink, DnsLimits, DnsRecord};
use crate::units::Period;

/// The zone the control plane is authoritative for, and how clients are placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// The zone, such as `cdn.example.net`. A site `shop` is the target `shop.cdn.example.net`.
    pub zone: String,
    /// The zone's name servers; at least one.
    pub nameservers: Vec<Nameserver>,
    /// The lifetime of an address answer.
    #[serde(default = "dns_ttl")]
    pub ttl: Period,
    /// Whether every edge has HTTP/3 on UDP port 443 (`listen.h3`), so that HTTPS records (RFC 9460) name it beside HTTP/2 and HTTP/1.1. Edges do not tell the control plane.
    #[serde(default)]
    pub h3: bool,
    /// Regions in the order in which they serve clients that no coverage names; regions that are not listed come after, by name.
    #[serde(default)]
    pub region_order: Vec<String>,
    /// Which client prefixes are served by which region or edge, whatever is measured; the longest prefix wins.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
    /// Records of the zone beside those that the CDN makes; at most 1,024.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
    /// How often DNS says the same, and its connections over TCP.
    #[serde(default, skip_serializing_if = "DnsLimits::is_default")]
    pub limits: DnsLimits,
    /// Where clients are that nothing was measured of.
    #[serde(default)]
    pub geo: DnsGeo,
    /// The share of client prefixes, and of what is measured, that is answered with a runner-up at a time to learn how far that is, in percent: from 0 to 20.
    #[serde(default = "dns_explore_percent")]
    pub explore_percent: u32,
}

/// The share that is explored unless it is set.
pub(crate) fn dns_explore_percent() -> u32 {
    2
}

pub(crate) fn dns_ttl() -> Period {
    Period::from_secs(20)
}

/// Databases in the MaxMind DB format, by which clients are placed that nothing was measured of. A file that changes is read again within some seconds; one that cannot be used then is told in the log and counted, and what was read before counts on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsGeo {
    /// Of cities, with latitude and longitude, such as `/var/lib/skerry/city.mmdb`. Edges have to say where they are (`location`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<PathBuf>,
    /// Of autonomous systems, such as `/var/lib/skerry/asn.mmdb`: what was measured of some prefixes of a network counts for its others; for clients that nothing was measured of only beside `city`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<PathBuf>,
}

/// One name server of the zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nameserver {
    /// Its full name; inside the zone it is answered with `addresses`.
    pub name: String,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

/// Client prefixes that a region serves, or one edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The region.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The name of the edge, in place of a region: while it cannot answer, its region does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// IPv4 and IPv6 prefixes.
    #[schemars(with = "Vec<String>")]
    pub prefixes: Vec<IpNet>,
}

/// Settings of a DNS node: it answers for the zone of the control plane that it follows, and from its copy on disk while that is away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsNode {
    /// The node's name, unique in the CDN: 1 to 63 characters of `a-z`, `0-9` and `-`.
    pub name: String,
    /// The directory of its certificate and its copy of the zone; made if missing, mode 0700.
    pub data: PathBuf,
    /// The control plane.
    pub control: ControlLink,
    /// Where it listens.
    pub listen: DnsNodeListen,
    /// Where clients are that nothing was measured of: the same databases as those of the control plane, so that it makes the same choices.
    #[serde(default)]
    pub geo: DnsGeo,
    /// How often DNS says the same, and its connections over TCP.
    #[serde(default, skip_serializing_if = "DnsLimits::is_default")]
    pub limits: DnsLimits,
}

/// Where a DNS node listens: IP addresses with ports, such as `0.0.0.0:53`. Port 0 chooses a free one; `ready.json` in the data directory tells which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsNodeListen {
    /// DNS over UDP and TCP.
    pub dns: SocketAddr,
    /// The routing host: cleartext HTTP that answers requests for the hosts of sites with redirects to an edge. Without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<SocketAddr>,
    /// `/metrics` and `/healthz`, over cleartext HTTP: keep it private.
    pub admin: SocketAddr,
}
