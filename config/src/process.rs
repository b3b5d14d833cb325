//! Process settings: what one process needs to know before it hears from anyone else.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Period, Size};

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
}

/// Settings of the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The directory of its store, certificates and keys; made if missing, mode 0700.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: ControlListen,
    /// The host names and addresses by which nodes reach it, for its certificate; by default the address of `listen.nodes`.
    #[serde(default)]
    pub names: Vec<String>,
    /// The DNS it answers.
    pub dns: Dns,
}

/// Where the control plane listens: IP addresses with ports, such as `127.0.0.1:8400` or `[::]:443`. Port 0 chooses a free one; `ready.json` in the data directory tells which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlListen {
    /// The REST API, `/metrics` and `/healthz`, over cleartext HTTP: keep it on loopback or a private network.
    pub api: SocketAddr,
    /// The stream of the nodes: gRPC over mutual TLS.
    pub nodes: SocketAddr,
    /// DNS over UDP and TCP.
    pub dns: SocketAddr,
}

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
    /// Regions in the order in which they serve clients that no coverage names; regions that are not listed come after, by name.
    #[serde(default)]
    pub region_order: Vec<String>,
    /// Which client prefixes are served by which region; the longest prefix wins.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
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

/// Client prefixes that a region serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The region.
    pub region: String,
    /// IPv4 and IPv6 prefixes.
    #[schemars(with = "Vec<String>")]
    pub prefixes: Vec<IpNet>,
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
    /// The memory tier.
    #[serde(default)]
    pub cache: Memory,
    /// Certificates for clients.
    #[serde(default)]
    pub tls: Tls,
    /// Where clients are.
    #[serde(default)]
    pub geo: Geo,
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
    /// `/metrics` and `/healthz`, over cleartext HTTP: keep it private.
    pub admin: SocketAddr,
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

/// The memory tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// The bytes of stored answers kept in memory, heads and bookkeeping included.
    pub memory: Size,
    /// The largest answer that is stored; larger ones are passed on.
    pub object_max: Size,
    /// The bytes of answers being fetched at once that may still become stored ones; over it further answers are passed on.
    pub filling_max: Size,
}

impl Default for Memory {
    fn default() -> Self {
        Self { memory: Size::from_mib(128), object_max: Size::from_mib(32), filling_max: Size::from_mib(64) }
    }
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

pub(crate) fn dns_ttl() -> Period {
    Period::from_secs(20)
}
