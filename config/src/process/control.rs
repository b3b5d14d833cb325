//! Settings of the control plane, but for its DNS.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dns;
use crate::units::Period;

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
