//! The control plane's part inside every node: joins, follows the stream, keeps what it was told on disk, counts, reports.
//!
//! Never answers a client and never decides what a snapshot or a purge means: that is [`Duties`], which the node brings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use skerry_config::process::{ControlLink, Location};
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;
use skerry_transport::private::Private;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;

pub mod admin;
mod connect;
pub mod disk;
pub mod figures;
mod follow;
mod history;
pub mod identity;
mod join;
mod keep;
pub mod latency;
pub mod listen;
pub mod place;
pub mod question;
pub mod ready;
pub mod reload;
pub mod token;
pub mod wire;

pub use figures::SiteFigures;
pub use history::BUCKET_SECONDS;
pub use identity::Identity;
pub use latency::{Latency, PrefixTimes};
pub use place::Place;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves clients.
    Edge,
    /// Serves edges.
    Shield,
    /// Answers DNS.
    Dns,
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
    /// Where the node stands, if it says so (edges).
    pub location: Option<Location>,
}

/// What a node does with what it is told. Called from one task, in order.
pub trait Duties: Send + Sync + 'static {
    /// What is kept in place of a snapshot that was checked, equal to it: where many nodes are in one process, one for all of them that have the same.
    fn share(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        snapshot
    }

    /// Puts a checked snapshot in force. May take its time: it is called where blocking is allowed. An error leaves the old one in force and is reported.
    ///
    /// # Errors
    /// One sentence, when the node cannot run it.
    fn adopt(&self, snapshot: Arc<Snapshot>) -> Result<(), String>;

    /// Puts purges in force, in order of number; when it returns no later answer uses what they name. Must not block.
    fn purge(&self, purges: &[Purge]);

    /// Drops everything and takes `seq` as the purge number in force: the control plane's log no longer reaches back to where this node stood.
    fn purge_all_through(&self, seq: u64);

    /// Brings the purges in force to the node's own disk, where it keeps any; the position that says so is written afterwards. Called where
    /// blocking is allowed.
    ///
    /// # Errors
    /// One sentence, when they would not outlive a restart: they are not confirmed then.
    fn settle(&self) -> Result<(), String> {
        Ok(())
    }

    /// The node has heard of every purge that it missed. Must not block.
    fn caught_up(&self) {}

    /// What the node has done since it started, for `skerry status`.
    fn load(&self) -> Load;

    /// What the node has done for a site since it started; `None` for one that it never served.
    fn site_figures(&self, site: &str) -> Option<SiteFigures> {
        let _ = site;
        None
    }

    /// What the node has done for every site that it was asked for since it started.
    fn sites(&self) -> Vec<(String, SiteFigures)> {
        Vec::new()
    }

    /// The metrics whose names begin with one of `names`, as [`figures::metrics`] makes them.
    ///
    /// # Errors
    /// One sentence, when there are none.
    fn metrics(&self, names: &[String]) -> Result<serde_json::Value, String> {
        let _ = names;
        Err("this node has no metrics".to_owned())
    }

    /// The last requests that were answered with an error or cut off, as [`figures::Figures::failures`] makes them.
    fn failures(&self) -> serde_json::Value {
        serde_json::json!({ "errors": [] })
    }

    /// The time to the origins of the sites that want that known, as far as they can be reached, by the name of the site.
    fn times_to_origins(&self) -> Vec<(String, Duration)> {
        Vec::new()
    }

    /// Takes the round trips of clients that were measured and not taken yet, of at most `most` prefixes; what is left is for the next call.
    fn latency(&self, most: usize) -> Latency {
        let _ = most;
        Latency::default()
    }

    /// What the node has of the zone, as a hello says it (DNS nodes); empty where it has none.
    fn zone(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes a piece of a change of the zone (DNS nodes); the number of the change once it is whole and in force. Called where blocking is allowed.
    ///
    /// # Errors
    /// One sentence, when it is no piece of a change that can follow what the node has.
    fn change_zone(&self, part: wire::ZonePart) -> Result<Option<u64>, String> {
        let _ = part;
        Err("a zone was sent to a node that answers no DNS".to_owned())
    }

    /// What the node has for a request and what the next one like it would get, for `skerry explain`. Changes nothing, and asks nobody but its own
    /// disk. Orders do not wait for it.
    ///
    /// # Errors
    /// One sentence, when there can be no such request.
    fn explain(self: Arc<Self>, request: question::Explain) -> question::Answer;
}

/// Counts since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered from the store.
    pub hits: u64,
    /// Bytes of bodies sent.
    pub bytes: u64,
    /// Answers of status 500 to 599, and answers cut off because upstream ended early.
    pub errors: u64,
    /// Not a count: the memory that the process has, in bytes.
    pub memory: u64,
    /// Not a count: open connections of clients.
    pub connections: u64,
    /// Not a count: how much of what the node can do it does, of a thousand; `None` when it does not know.
    pub utilization: Option<u16>,
}

/// The agent of one node. Clones are the same agent; the data directory is locked while one lives.
#[derive(Clone, Debug)]
pub struct Agent {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    identity: ArcSwap<Identity>,
    private: Arc<Private>,
    revoked: keep::Revoked,
    snapshot: ArcSwapOption<Snapshot>,
    /// The snapshot on disk.
    snapshots: Mutex<keep::Snapshots>,
    position: keep::Position,
    history: history::History,
    /// Read-locked while something is being written to disk.
    busy: Arc<RwLock<()>>,
    _lock: disk::Lock,
}

impl Inner {
    /// Reads what the data directory holds.
    fn open(settings: Settings, identity: Identity, lock: disk::Lock) -> Result<Self, String> {
        let private = Arc::new(Private::new(&identity.certificate, &identity.key, &identity.ca)?);
        let revoked = keep::Revoked::load(&settings.data)?;
        private.revoke(revoked.certificates());
        let identity = ArcSwap::from_pointee(identity);
        let (snapshots, snapshot) = keep::Snapshots::load(&settings.data)?;
        let (snapshots, snapshot) = (Mutex::new(snapshots), ArcSwapOption::new(snapshot.map(Arc::new)));
        let position = keep::Position::load(&settings.data)?;
        let history = history::History::load(&settings.data)?;
        let busy = Arc::default();
        Ok(Self { settings, identity, private, revoked, snapshot, snapshots, position, history, busy, _lock: lock })
    }
}

impl Agent {
    /// Makes and locks the data directory, reads what it holds, and joins the CDN if the node has no certificate yet,
    /// trying again (50 ms to 2 s apart, without end) while the control plane cannot be reached. Dropping the future gives up.
    ///
    /// # Errors
    /// One sentence: the data directory cannot be used or belongs to another node, or the control plane refuses the token.
    pub async fn prepare(settings: Settings) -> Result<Self, String> {
        let lock = disk::claim(&settings.data)?;
        let identity = match identity::load(&settings)? {
            Some(identity) => identity,
            None => join::join(&settings).await?,
        };
        Ok(Self { inner: Arc::new(Inner::open(settings, identity, lock)?) })
    }

    /// The node's credentials at this moment; they are renewed at two thirds of their life.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.inner.identity.load_full()
    }

    /// Who the node is to the others of its CDN, kept at what is renewed and revoked.
    #[must_use]
    pub fn private(&self) -> Arc<Private> {
        Arc::clone(&self.inner.private)
    }

    /// The snapshot on disk: the last one the node adopted.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.inner.snapshot.load_full()
    }

    /// The number of the last purge in force.
    #[must_use]
    pub fn purge_seq(&self) -> u64 {
        self.inner.position.applied().seq
    }

    /// Where the node stands in the purges, and word of each change once what it says is in force.
    #[must_use]
    pub fn places(&self) -> watch::Receiver<Arc<Place>> {
        self.inner.position.places()
    }

    /// Follows the control plane until `stop` says so, reconnecting (50 ms to 2 s apart) whenever the stream ends. To be called once.
    pub fn follow(&self, duties: Arc<dyn Duties>, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::spawn(follow::run(Arc::clone(&self.inner), duties, stop))
    }
}

/// Waits until `stop` says so, or nobody is left who could.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody can stop this process in order any more, so it stops.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Role {
    /// The role's word: `edge`, `shield` or `dns`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Shield => "shield",
            Self::Dns => "dns",
        }
    }

    /// Whether it answers with what origins said: sites, purges and rollouts concern it.
    #[must_use]
    pub fn is_tier(self) -> bool {
        matches!(self, Self::Edge | Self::Shield)
    }

    /// The role of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Edge, Self::Shield, Self::Dns].into_iter().find(|role| role.word() == word)
    }
}
