//! Process settings: what one process needs to know before it hears from anyone else.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{AT_ONCE_MAX, HEAD_BYTES_MAX, STREAMS_MAX};
use crate::units::{Period, Size};

mod clients;
mod records;

pub use clients::{Capacity, Location, Measuring};
pub(crate) use records::record_ttl;
pub use records::{DnsLimits, DnsRecord, RECORD_TYPES, RecordData};

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
    /// The certificates of the nodes.
    #[serde(default)]
    pub certificates: Certificates,
    /// What is told of nodes that are not as they should be.
    #[serde(default)]
    pub alarm: Alarm,
    /// How changes of sites reach the nodes.
    #[serde(default)]
    pub rollout: Rollout,
    /// How many purges are taken and kept.
    #[serde(default)]
    pub purges: Purges,
    /// How the REST API is served.
    #[serde(default, skip_serializing_if = "ControlApi::is_default")]
    pub api: ControlApi,
    /// Where webhooks may be sent.
    #[serde(default, skip_serializing_if = "Webhooks::is_default")]
    pub webhooks: Webhooks,
}

/// The certificates of the nodes, which the control plane issues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// How long one is valid: from `10s`, which is for tests, to `3650d`. A node renews its own at two thirds of that. Who could not goes on as long again, and at most 30 days, and has to join anew after that.
    pub life: Period,
}

impl Default for Certificates {
    fn default() -> Self {
        Self { life: Period::from_secs(90 * 86_400) }
    }
}

/// What is told of nodes that are not as they should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alarm {
    /// How long a node may be away, or have a configuration or purges in force that are older than those it should have, until that is told: from `1s` to `1d`.
    pub behind: Period,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { behind: Period::from_secs(60) }
    }
}

/// How changes of sites reach the nodes: one node, one region, all. A stage is held for a while, and a site that fares worse on the nodes that have its change than on those that do not is rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// For how long the figures of a stage are looked at once all of its nodes have the change in force, at most an hour. With `0s` nothing is compared, and the stages follow each other at once.
    pub hold: Period,
    /// The requests for a site in the hold of a stage below which it is not judged.
    pub requests_min: u32,
    /// By how many percent of the requests more may fail (5xx or cut off) than on the nodes without the change.
    pub errors_percent: u32,
    /// By how many percent of the requests fewer may be hits.
    pub hits_percent: u32,
    /// By how many percent the time to the head of the answer, at the slowest tenth of the requests, may be longer; what is below 50ms is not compared.
    pub slower_percent: u32,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { hold: Period::from_secs(10), requests_min: 50, errors_percent: 5, hits_percent: 30, slower_percent: 100 }
    }
}

/// How many purges the control plane takes and keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Purges {
    /// The entries that each API token may purge in a second over time: every URL, prefix, tag, host and site is one, and everything is one. Further ones are refused with 429 and `Retry-After`.
    pub rate: u32,
    /// The entries that a token may purge at once after a pause; at least as many as one purge may have.
    pub burst: u32,
    /// The purges kept for nodes that are away; a node that missed more drops everything it has stored.
    pub keep: u32,
}

impl Default for Purges {
    fn default() -> Self {
        Self { rate: 10_000, burst: 50_000, keep: 100_000 }
    }
}

/// Where webhooks may be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Prefixes outside the public internet in which receivers may be, such as `10.20.0.0/16`; at most 256. Without them a webhook whose URL or name leads to a private, loopback, link-local or otherwise special address is not sent: whoever writes it would reach the control plane's own network.
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<IpNet>,
}

impl Webhooks {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How the REST API is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ControlApi {
    /// TLS for the API, `/metrics` and `/healthz`. Without it they are cleartext.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ApiTls>,
}

impl ControlApi {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The certificate of the API. With neither file the CDN's own authority issues it, for `names`, the addresses of the listeners and `localhost`; `ca.pem` in the data directory is then what clients trust.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiTls {
    /// The PEM file of the chain, leaf first; read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The PEM file of the leaf's key; read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// Where the control plane listens: IP addresses with ports, such as `127.0.0.1:8400` or `[::]:443`. Port 0 chooses a free one; `ready.json` in the data directory tells which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlListen {
    /// The REST API, `/metrics` and `/healthz`: over TLS with `api.tls`, else over cleartext HTTP, which belongs on loopback.
    pub api: SocketAddr,
    /// The stream of the nodes: gRPC over mutual TLS.
    pub nodes: SocketAddr,
    /// DNS over UDP and TCP.
    pub dns: SocketAddr,
    /// The routing host: cleartext HTTP that answers requests for the hosts of sites with redirects to an edge. Without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<SocketAddr>,
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

/// Databases in the MaxMind DB format, by which clients are placed that nothing was measured of. A file that changes is read again within some seconds; one that cannot be used then is told in the log and counted, and what was read before counts on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsGeo {
    /// Of cities, with latitude and longitude, such as `/var/lib/skerry/city.mmdb`. Edges have to say where they are (`location`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<PathBuf>,
    /// Of autonomous systems, such as `/var/lib/skerry/asn.mmdb`: what was measured of a network counts for all of it.
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

/// What one client, or all of them together, may take of an edge. Over a bound a request is refused, or a connection closed, as each field says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The bytes of a request's head as HTTP/2 counts its fields, 32 bytes a field included; a larger one gets 431.
    pub head: Size,
    /// The header fields of a request; with more it gets 431.
    pub fields: u32,
    /// The bytes of path and query; a longer target gets 414.
    pub target: Size,
    /// The bytes of a request's body; a longer one gets 413, or is cut off where its length was not told. `0` is no limit.
    pub body: Size,
    /// The requests of one connection; with the last one's answer it is closed.
    pub requests_per_connection: u32,
    /// Requests of one HTTP/2 or HTTP/3 connection at the same time.
    pub streams: u32,
    /// The time for a TLS or QUIC handshake, a PROXY protocol header among it; the connection is closed.
    pub handshake_time: Period,
    /// The time from the first byte of a request's head to its last; over it, 408.
    pub head_time: Period,
    /// How long a connection may be without a request.
    pub idle_time: Period,
    /// The bytes per second at which a client must at least send a body or take an answer, over any 10 seconds; a slower one is cut off.
    pub rate_min: Size,
    /// The connections of all clients; further ones wait in the kernel, or are closed where they cannot.
    pub connections: u32,
    /// The connections of one client address (of one /64 in IPv6); further ones are closed at once.
    pub connections_per_address: u32,
    /// The new connections of one client address (of one /64 in IPv6) in a second; further ones are closed at once.
    pub new_connections_per_second: u32,
    /// The requests being answered at the same time, those from memory not counted; further ones get 503 with `Retry-After`.
    pub requests: u32,
    /// How long running requests may go on after a stop was asked for.
    pub drain_time: Period,
}

impl Limits {
    /// Between the tiers: few peers, who are known, and each asks for many.
    #[must_use]
    pub fn between_tiers() -> Self {
        Self {
            // What an edge takes of a client has to fit, with what it adds to the head.
            head: Size(64 << 10),
            target: Size(HEAD_BYTES_MAX),
            fields: 256,
            streams: STREAMS_MAX,
            body: Size(0),
            requests_per_connection: u32::MAX,
            connections_per_address: AT_ONCE_MAX,
            new_connections_per_second: AT_ONCE_MAX,
            // Edges keep their links open, and see for themselves that they live.
            idle_time: Period::from_secs(3_600),
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Size(48 << 10),
            fields: 128,
            target: Size(16 << 10),
            body: Size(1 << 30),
            requests_per_connection: 100_000,
            streams: 128,
            handshake_time: Period::from_secs(10),
            head_time: Period::from_secs(10),
            idle_time: Period::from_secs(60),
            rate_min: Size(256),
            connections: 16_384,
            connections_per_address: 1_024,
            new_connections_per_second: 1_024,
            requests: 16_384,
            drain_time: Period::from_secs(10),
        }
    }
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

/// The memory tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// The bytes of stored answers kept in memory, heads and bookkeeping included.
    pub memory: Size,
    /// The largest answer that is stored; larger ones are passed on. Without a disk tier at most `memory`, with one at most a quarter of its size.
    pub object_max: Size,
    /// The bytes of answers being fetched at once that may still become stored ones; over it further answers go to disk while they come, or are passed on where there is none.
    pub filling_max: Size,
}

impl Default for Memory {
    fn default() -> Self {
        Self { memory: Size::from_mib(128), object_max: Size::from_mib(32), filling_max: Size::from_mib(64) }
    }
}

/// The disk tier. It has its directory for itself; what a failed disk held is not used again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Its directory, such as `/var/cache/skerry`; made if missing, mode 0700. Nothing but Skerry may put files there.
    pub path: PathBuf,
    /// The bytes it takes there; the file system must have them.
    pub size: Size,
    /// The size of the slices in which bodies are stored and read, `256KiB` to `2MiB`; smaller bodies are stored with their heads.
    #[serde(default = "slice")]
    pub slice: Size,
    /// Answers with a smaller body are written only when they are asked for a second time; `0B` writes all at once, so that all is there again after a crash.
    #[serde(default)]
    pub second_hit_below: Size,
    /// Answers with a larger body are written only when they are asked for a second time, such as `64MiB`: what is asked for once takes no writes then. Without it all are written at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_hit_above: Option<Size>,
}

/// What the parts of a node may take of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Stored answers.
    pub stored: u64,
    /// Answers being fetched.
    pub filling: u64,
    /// What waits to be written to disk.
    pub waiting: u64,
    /// What is written at once; twice that is taken, and as much again by the table of where answers are on disk.
    pub buffer: u64,
    /// What readers hold of bodies on disk.
    pub reading: u64,
    /// Connections, and the requests on them that take the full way; without a limit they have only the bounds in `limits`.
    pub connections: Option<u64>,
}

impl Shares {
    /// What a connection is counted as: what it takes over TLS when it has nothing to do; in cleartext it is less than half of that.
    pub const CONNECTION_BYTES: u64 = 12 << 10;
    /// What a request that takes the full way is counted as, with what waits to be sent to its client.
    pub const REQUEST_BYTES: u64 = 48 << 10;
    /// What a process takes that has nothing stored and no clients.
    const OWN_BYTES: u64 = 32 << 20;
    /// What the smallest answer on disk takes there, and of memory.
    const ON_DISK_BYTES: u64 = 4 << 10;
    const INDEXED_BYTES: u64 = 97;

    /// With a limit, what the process takes for itself is set aside first, an eighth of the limit for what the allocator cannot fill, and the
    /// index of the disk as large as it can become, at most three eighths of the limit. The rest is divided: connections get five sixteenths,
    /// stored answers nine thirty-second parts, or half where there is no disk, answers being fetched an eighth, the ways to and from the disk a
    /// sixteenth each, and the table of where answers are on it half of that.
    #[must_use]
    pub fn of(cache: &Memory, disk: Option<&Disk>, limit: Option<Size>) -> Self {
        const MIB: u64 = 1 << 20;
        let Some(Size(limit)) = limit else {
            return Self {
                stored: cache.memory.0,
                filling: cache.filling_max.0,
                waiting: 64 * MIB,
                buffer: 16 * MIB,
                reading: 64 * MIB,
                connections: None,
            };
        };
        let index = disk.map_or(0, |disk| (disk.size.0 / Self::ON_DISK_BYTES).saturating_mul(Self::INDEXED_BYTES).min(limit / 8 * 3));
        let rest = limit.saturating_sub(Self::OWN_BYTES + limit / 8 + index).max(limit / 8);
        let stored = if disk.is_some() { rest / 32 * 9 } else { rest / 2 };
        Self {
            stored: cache.memory.0.min(stored),
            filling: cache.filling_max.0.min(rest / 8),
            waiting: (rest / 16).clamp(4 * MIB, 256 * MIB),
            buffer: (rest / 32).clamp(4 * MIB, 32 * MIB),
            reading: (rest / 16).clamp(4 * MIB, 256 * MIB),
            connections: Some(rest / 16 * 5),
        }
    }

    /// The limits for clients, cut down so that as many connections and requests as they admit stay within their share: three fifths of it are
    /// for connections, two for requests that take the full way.
    #[must_use]
    pub fn bound(&self, limits: &Limits) -> Limits {
        let Some(share) = self.connections else { return limits.clone() };
        let most = |fifths: u64, each: u64| u32::try_from(share / 5 * fifths / each).unwrap_or(u32::MAX).max(1);
        Limits {
            connections: limits.connections.min(most(3, Self::CONNECTION_BYTES)),
            requests: limits.requests.min(most(2, Self::REQUEST_BYTES)),
            ..limits.clone()
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn all(shares: &Shares) -> u64 {
        shares.stored + shares.filling + shares.waiting + 3 * shares.buffer + shares.reading + shares.connections.unwrap_or(0)
    }

    fn disk(size: u64) -> Disk {
        Disk { path: PathBuf::new(), size: Size(size), slice: slice(), second_hit_below: Size::default(), second_hit_above: None }
    }

    #[test]
    fn the_shares_of_a_limit_leave_room_for_the_process_and_the_index_of_the_disk() {
        let cache = Memory { memory: Size(u64::MAX), filling_max: Size(u64::MAX), ..Memory::default() };
        for limit in [128, 192, 256, 1_024, 65_536].map(|mib| mib * MIB) {
            for size in [64 * MIB, 1 << 32, 1 << 40] {
                let shares = Shares::of(&cache, Some(&disk(size)), Some(Size(limit)));
                let index = (size / Shares::ON_DISK_BYTES * Shares::INDEXED_BYTES).min(limit / 8 * 3);
                // What the ways to the disk need at least is more than their share of a small limit.
                assert!(all(&shares) + index + Shares::OWN_BYTES <= limit, "{limit} with {size}: {shares:?}");
            }
            let shares = Shares::of(&cache, None, Some(Size(limit)));
            let without = all(&shares) - shares.waiting - 3 * shares.buffer - shares.reading;
            assert!(without + Shares::OWN_BYTES + limit / 8 <= limit, "{limit}: {shares:?}");
        }
    }

    #[test]
    fn clients_are_bound_by_a_limit_of_memory_and_by_nothing_else_without_one() {
        let cache = Memory::default();
        let limits = Limits::default();
        assert_eq!(Shares::of(&cache, None, None).bound(&limits), limits);
        let bound = Shares::of(&cache, Some(&disk(1 << 32)), Some(Size(256 * MIB))).bound(&limits);
        let share = Shares::of(&cache, Some(&disk(1 << 32)), Some(Size(256 * MIB))).connections.unwrap();
        let taken = u64::from(bound.connections) * Shares::CONNECTION_BYTES + u64::from(bound.requests) * Shares::REQUEST_BYTES;
        assert!(taken <= share && taken > share - share / 16, "{taken} of {share}");
        assert_eq!(bound.streams, limits.streams);
        let few = Limits { connections: 10, requests: 5, ..limits };
        assert_eq!(Shares::of(&cache, None, Some(Size(256 * MIB))).bound(&few), few);
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

pub(crate) fn slice() -> Size {
    Size::from_mib(1)
}

pub(crate) fn dns_ttl() -> Period {
    Period::from_secs(20)
}
