//! Process settings: what one process needs to know before it hears from anyone else.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Size;

mod clients;
mod control;
mod dns;
mod limits;
mod records;
mod tiers;

pub use clients::{Capacity, Location, Measuring};
pub use control::{Alarm, ApiTls, Certificates, Control, ControlApi, ControlListen, Purges, Rollout, Webhooks};
pub use dns::{Coverage, Dns, DnsGeo, DnsNode, DnsNodeListen, Nameserver};
pub(crate) use dns::{dns_explore_percent, dns_ttl};
pub use limits::Limits;
pub(crate) use records::record_ttl;
pub use records::{DnsLimits, DnsRecord, RECORD_TYPES, RecordData};
pub(crate) use tiers::slice;
pub use tiers::{Disk, Memory, Shares};

/// The settings file of one process; `role` says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum Process {
    /// The control plane.
    Control(Control),
    /// A shield.
    Shield(Shield),
    /// An edge.
    Edge(Edge),
    /// A host that answers DNS and nothing else, as it hears from the control plane.
    Dns(DnsNode),
}

/// Settings of an edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The node's name, unique in the CDN: 1 to 63 characters of `a-z`, `0-9` and `-`.
    pub name: String,
    /// The directory of its certificate, snapshot and purge position; made if missing, mode 0700.
    pub data: PathBuf,
    /// The control plane.
    pub control: ControlLink,
    /// Where it listens.
    pub listen: EdgeListen,
    /// The addresses DNS answers with for this edge; at least one.
    pub public_addresses: Vec<IpAddr>,
    /// Where the edge stands: `[latitude, longitude]` in degrees, such as `[52.52, 13.41]`. With it DNS can tell how far clients are that no edge has measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The memory tier.
    #[serde(default)]
    pub cache: Memory,
    /// The disk tier: what is stored beyond memory, and is there again after a restart. Without it memory is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// What the process may take of memory, such as `2GiB`. It is divided between stored answers, answers being fetched, the ways to and from the disk, its index, connections and requests; what is larger than its share in `cache` and `limits` is cut down to it. By default only those sizes count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Size>,
    /// Certificates for clients.
    #[serde(default)]
    pub tls: Tls,
    /// Where clients are.
    #[serde(default)]
    pub geo: Geo,
    /// What one client, or all of them together, may take of the edge.
    #[serde(default)]
    pub limits: Limits,
    /// How origins are reached.
    #[serde(default, skip_serializing_if = "Origins::is_default")]
    pub origins: Origins,
    /// What is measured of clients, so that DNS answers with the edge that is fastest for each.
    #[serde(default, skip_serializing_if = "Measuring::is_default")]
    pub measuring: Measuring,
    /// What the edge can do.
    #[serde(default, skip_serializing_if = "Capacity::is_default")]
    pub capacity: Capacity,
}

/// Where an edge listens: IP addresses with ports, such as `127.0.0.1:8400` or `[::]:443`, which takes IPv4 too and so cannot stand beside `0.0.0.0:443`. Port 0 chooses a free one; `ready.json` in the data directory tells which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeListen {
    /// HTTP/1.1 and HTTP/2 over cleartext.
    #[serde(default)]
    pub http: Vec<SocketAddr>,
    /// HTTP/1.1 and HTTP/2 over TLS.
    #[serde(default)]
    pub https: Vec<SocketAddr>,
    /// HTTP/3, over UDP. Clients learn of it by `Alt-Svc` in answers over TLS, which names this port, so use the one of `https`.
    #[serde(default)]
    pub h3: Vec<SocketAddr>,
    /// Listeners behind a load balancer that speaks the PROXY protocol.
    #[serde(default)]
    pub proxied: Vec<Proxied>,
    /// `/metrics` and `/healthz`, over cleartext HTTP: keep it private.
    pub admin: SocketAddr,
}

/// A listener whose connections begin with a header of the PROXY protocol, version 1 or 2, that tells the client's address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxied {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether TLS follows the header, so that this is a listener like those in `https`.
    #[serde(default)]
    pub tls: bool,
    /// The load balancers: connections from other addresses are closed at once, and one of these that begins with anything else too.
    #[schemars(with = "Vec<String>")]
    pub from: Vec<IpNet>,
}

/// Certificates for clients, chosen by server name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificate chains with their keys, in PEM files. The files are read again within a few seconds of a change.
    pub certificates: Vec<Certificate>,
    /// A certificate authority with which the edge issues certificates itself, for the hosts of its sites that no certificate above covers and, for clients that send no name, for its own addresses: for development and private networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Certificate>,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The PEM file of the chain, leaf first.
    pub cert: PathBuf,
    /// The PEM file of the private key.
    pub key: PathBuf,
}

/// Where clients are, for sites whose key has `country`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Geo {
    /// A country database in the MaxMind DB format, such as `/var/lib/skerry/country.mmdb`. The file is read again within a few seconds of a change. Without it no client's country is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<PathBuf>,
}

/// Settings of a shield.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shield {
    /// The node's name, unique in the CDN: 1 to 63 characters of `a-z`, `0-9` and `-`.
    pub name: String,
    /// The directory of its certificate, snapshot and purge position; made if missing, mode 0700.
    pub data: PathBuf,
    /// The control plane.
    pub control: ControlLink,
    /// Where it listens.
    pub listen: ShieldListen,
    /// The address edges reach `listen.tier` by; by default that address itself, which must then not be a wildcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// The memory tier.
    #[serde(default)]
    pub cache: Memory,
    /// The disk tier: what is stored beyond memory, and is there again after a restart. Without it memory is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// What the process may take of memory, such as `2GiB`. It is divided between stored answers, answers being fetched, the ways to and from the disk, its index, connections and requests; what is larger than its share in `cache` and `limits` is cut down to it. By default only those sizes count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Size>,
    /// How origins are reached.
    #[serde(default, skip_serializing_if = "Origins::is_default")]
    pub origins: Origins,
}

/// Where a shield listens: IP addresses with ports, such as `0.0.0.0:8402`. Port 0 chooses a free one; `ready.json` in the data directory tells which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShieldListen {
    /// Requests of edges, over mutual TLS; nobody else is answered.
    pub tier: SocketAddr,
    /// `/metrics` and `/healthz`, over cleartext HTTP: keep it private.
    pub admin: SocketAddr,
}

/// How a node reaches origins. Edges and shields both ask them, so that it is the same on each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Origins {
    /// Prefixes outside the public internet in which origins may be, such as `10.20.0.0/16`; at most 256. Without them an origin whose URL or name leads to a private, loopback, link-local or otherwise special address gets no connection: whoever writes a site would reach the node's own network. Shields are reached whatever this says.
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<IpNet>,
    /// The DNS servers that are asked for the names of origins, such as `10.0.0.53:53`; at most 16. Without them those of `/etc/resolv.conf`, which is read again after a change. `/etc/hosts` comes before both.
    pub resolvers: Vec<SocketAddr>,
}

impl Origins {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a node reaches the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlLink {
    /// `host:port` of the control plane's node listener.
    pub address: String,
    /// The one-time token to join with; needed until the node has its certificate, ignored afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<String>,
}

impl Edge {
    /// What its parts may take of memory.
    #[must_use]
    pub fn shares(&self) -> Shares {
        Shares::of(&self.cache, self.disk.as_ref(), self.memory_limit)
    }
}

impl Shield {
    /// What its parts may take of memory.
    #[must_use]
    pub fn shares(&self) -> Shares {
        Shares::of(&self.cache, self.disk.as_ref(), self.memory_limit)
    }
}

impl Process {
    /// Writes DNS names in lower case and without the dot at their end, as they are compared.
    pub(crate) fn normalise(&mut self) {
        let Self::Control(control) = self else { return };
        for name in control.dns.nameservers.iter_mut().map(|server| &mut server.name).chain([&mut control.dns.zone]) {
            name.make_ascii_lowercase();
            if name.ends_with('.') {
                name.pop();
            }
        }
    }
}
