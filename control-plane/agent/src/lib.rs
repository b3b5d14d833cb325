//! The control plane's part inside every node: joins, follows the stream, keeps what it was told on disk, reports.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use skerry_config::process::ControlLink;
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves clients.
    Edge,
    /// Serves edges.
    Shield,
}

/// What the agent is told by its node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the node is; must be what its join token says.
    pub role: Role,
    /// The node's name.
    pub name: String,
    /// The node's data directory.
    pub data: PathBuf,
    /// The control plane.
    pub control: ControlLink,
    /// Addresses for DNS (edges).
    pub public_addresses: Vec<std::net::IpAddr>,
    /// Where edges reach this node (shields).
    pub tier_address: Option<SocketAddr>,
}

/// What a node does with what it is told. Called from one task, in order.
pub trait Duties: Send + Sync + 'static {
    /// Puts a checked snapshot in force. An error leaves the old one in force and is reported.
    ///
    /// # Errors
    /// One sentence, when the node cannot run it.
    fn adopt(&self, snapshot: Arc<Snapshot>) -> Result<(), String>;

    /// Puts purges in force, in order of number; when it returns no later answer uses what they name.
    fn purge(&self, purges: &[Purge]);

    /// Drops everything and takes `seq` as the purge number in force: the control plane's log no longer reaches back to where this node stood.
    fn purge_all_through(&self, seq: u64);

    /// What the node has done since it started, for `skerry status`.
    fn load(&self) -> Load;
}

/// Counts since the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered from the store.
    pub hits: u64,
    /// Bytes of bodies sent.
    pub bytes: u64,
}

/// The node's credentials, from the control plane's own CA.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS#8 DER.
    pub key: Vec<u8>,
    /// The CA certificate, DER.
    pub ca: Vec<u8>,
}
