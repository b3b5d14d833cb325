//! How the nodes do: connected or not, what they have put in force, their load. Lost when the control plane ends; nodes say it again.
//!
//! The lock covers the table of nodes; that of what they measured is taken within it. Word of changes goes out after it is let go.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use skerry_agent::wire::{self, Near, SITES_WATCHED_MAX};
use skerry_agent::{Load, Role, SiteFigures};
use skerry_config::limits::SITES_MAX;
use skerry_config::process::Location;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::intent::Node;
use crate::measured::{Measured, Taken, Told};
use crate::purges::Acks;

/// A node that has said nothing for so long is down although its stream stands.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Loads by which a node's rates are told: of the last ten seconds.
const LOADS_MAX: usize = 11;

/// Time after the start in which known nodes that have not connected yet count as up.
const START_GRACE: Duration = Duration::from_secs(10);

/// How a node does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// Whether its stream stands.
    pub(crate) connected: bool,
    /// The configuration in force.
    pub(crate) snapshot: Option<u64>,
    /// Why it refused a newer one.
    pub(crate) refused: Option<String>,
    /// The serial of the zone in force (DNS nodes).
    pub(crate) zone: Option<u32>,
    /// The number of the last purge it has confirmed.
    pub(crate) purge_seq: u64,
    /// Its load.
    pub(crate) load: Load,
    /// Requests answered in a second, of the last ones.
    pub(crate) requests_per_second: f64,
    /// The part of them answered from the store; `None` where there were none.
    pub(crate) hit_ratio: Option<f64>,
    /// Where it stands, if it says so.
    pub(crate) location: Option<Location>,
    /// The version of its software.
    pub(crate) software: String,
    /// When it last said something.
    pub(crate) last_seen: Option<SystemTime>,
}

struct Entry {
    live: Live,
    role: Role,
    heard: Instant,
    session: u64,
    /// The last loads, the newest last.
    loads: VecDeque<(Instant, Load)>,
    /// The time to the origin by site, in microseconds (shields).
    near: HashMap<String, u64>,
    /// What it did for the sites that are watched, since its process began.
    sites: HashMap<String, SiteFigures>,
    /// Ends the stream.
    end: CancellationToken,
}

/// How the nodes do.
pub(crate) struct Health {
    nodes: Mutex<BTreeMap<String, Entry>>,
    /// Streams so far: each has a number of its own, also after its node was forgotten.
    sessions: AtomicU64,
    start: Instant,
    /// Rises when a node connects, disconnects or puts a snapshot in force.
    changes: watch::Sender<u64>,
    /// Who has confirmed which purges.
    pub(crate) acks: Arc<Acks>,
    /// How far clients are, as nodes said.
    pub(crate) measured: Measured,
    /// The sites whose figures nodes report.
    watched: watch::Sender<Arc<BTreeSet<String>>>,
}

/// A node's stream, as long as it stands. Dropping it says that the node is gone.
pub(crate) struct Session {
    health: Arc<Health>,
    name: String,
    number: u64,
    /// Cancelled when the stream has to end.
    pub(crate) end: CancellationToken,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Mutex::default(),
            sessions: AtomicU64::new(0),
            start: Instant::now(),
            changes: watch::Sender::new(0),
            acks: Arc::new(Acks::new()),
            measured: Measured::default(),
            watched: watch::Sender::default(),
        }
    }

    /// Has all nodes report the figures of these sites every second, and of no others; of more than 1,000 the first by name.
    pub(crate) fn watch(&self, sites: BTreeSet<String>) {
        let sites: BTreeSet<_> = sites.into_iter().take(SITES_WATCHED_MAX).collect();
        // Before the nodes hear of it: what they then report is of the new ones.
        self.nodes.lock().values_mut().for_each(|entry| entry.sites.retain(|site, _| sites.contains(site)));
        self.watched.send_replace(Arc::new(sites));
    }

    /// The sites that are watched, and word of each change.
    pub(crate) fn watched(&self) -> watch::Receiver<Arc<BTreeSet<String>>> {
        self.watched.subscribe()
    }

    /// Shows every connected edge and shield to `look`, all at one moment: its name, its role, the configuration in force, and what it did for the watched sites.
    pub(crate) fn each_connected(&self, mut look: impl FnMut(&str, Role, Option<u64>, &HashMap<String, SiteFigures>)) {
        for (name, entry) in self.nodes.lock().iter().filter(|(_, entry)| entry.live.connected && entry.role.is_tier()) {
            look(name, entry.role, entry.live.snapshot, &entry.sites);
        }
    }

    /// What a connected node did for a watched site since its process began, as it said last; `None` when it has said nothing of it, as for a site
    /// that it never served. Counts that are lower than before mean that the process is another.
    pub(crate) fn figures(&self, node: &str, site: &str) -> Option<SiteFigures> {
        let nodes = self.nodes.lock();
        nodes.get(node).filter(|entry| entry.live.connected)?.sites.get(site).cloned()
    }

    /// Word of nodes that connect, disconnect or put a snapshot in force.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A node's stream begins. One that stood before is ended: there is one node of a name.
    pub(crate) fn connect(self: &Arc<Self>, name: &str, role: Role, snapshot: Option<u64>, purge_seq: u64, software: String) -> Session {
        let end = CancellationToken::new();
        let live = Live { connected: true, snapshot, software, last_seen: Some(SystemTime::now()), ..Live::default() };
        let mut nodes = self.nodes.lock();
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            live,
            role,
            heard: Instant::now(),
            session: number,
            loads: VecDeque::new(),
            near: HashMap::new(),
            sites: HashMap::new(),
            end: end.clone(),
        };
        if let Some(before) = nodes.insert(name.to_owned(), entry) {
            before.end.cancel();
        }
        if role.is_tier() {
            self.acks.connect(name, role, number, purge_seq);
        }
        drop(nodes);
        self.tell();
        Session { health: Arc::clone(self), name: name.to_owned(), number, end }
    }

    /// Ends a node's stream and forgets it.
    pub(crate) fn forget(&self, name: &str) {
        let entry = self.nodes.lock().remove(name);
        if let Some(entry) = entry {
            entry.end.cancel();
        }
        self.acks.forget(name);
        self.measured.forget(name);
        self.tell();
    }

    /// How a node does.
    pub(crate) fn live(&self, name: &str) -> Live {
        let live = self.nodes.lock().get(name).map(|entry| entry.live.clone()).unwrap_or_default();
        Live { purge_seq: self.acks.seq(name), ..live }
    }

    /// Whether an edge may get clients.
    pub(crate) fn up(&self, node: &Node) -> bool {
        if node.drained {
            return false;
        }
        match self.nodes.lock().get(&node.name) {
            Some(entry) => entry.live.connected && entry.live.snapshot.is_some() && entry.heard.elapsed() < SILENCE_MAX,
            None => self.start.elapsed() < START_GRACE,
        }
    }

    /// The time from a shield to the origin of a site in microseconds, when both are there.
    pub(crate) fn time_to(&self, shield: &str, site: &str) -> Option<u64> {
        let nodes = self.nodes.lock();
        let entry = nodes.get(shield).filter(|entry| entry.live.connected && entry.heard.elapsed() < SILENCE_MAX)?;
        entry.near.get(site).copied()
    }

    /// How many of a role are connected.
    pub(crate) fn connected(&self, role: Role) -> usize {
        self.nodes.lock().values().filter(|entry| entry.live.connected && entry.role == role).count()
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Session {
    /// The node said something; `note` is what it changes.
    fn heard<T>(&self, note: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.said(|entry| note(&mut entry.live))
    }

    fn said<T>(&self, note: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut nodes = self.health.nodes.lock();
        let entry = nodes.get_mut(&self.name).filter(|entry| entry.session == self.number)?;
        entry.heard = Instant::now();
        entry.live.last_seen = Some(SystemTime::now());
        Some(note(entry))
    }

    /// A snapshot is in force.
    pub(crate) fn adopted(&self, version: u64) {
        self.heard(|live| {
            live.snapshot = Some(version);
            live.refused = None;
        });
        self.health.changes.send_modify(|count| *count += 1);
    }

    /// A snapshot was refused.
    pub(crate) fn refused(&self, reason: String) {
        self.heard(|live| live.refused = Some(reason));
    }

    /// The zone of this serial is in force.
    pub(crate) fn has_zone(&self, serial: u32) {
        self.heard(|live| live.zone = Some(serial));
    }

    /// Purges are confirmed up to `seq`; `ages` and what comes back are as with [`Acks::confirmed`].
    pub(crate) fn confirmed(&self, seq: u64, ages: impl FnOnce(u64) -> Vec<Duration>) -> Vec<Duration> {
        self.heard(|_| {});
        self.health.acks.confirmed(&self.name, self.number, seq, ages)
    }

    /// The node stands here.
    pub(crate) fn stands(&self, location: Option<Location>) {
        self.heard(|live| live.location = location);
        self.health.tell();
    }

    /// The node is alive, and this is how far clients are.
    pub(crate) fn latency(&self, told: Told) -> Taken {
        // Under the lock under which nodes are forgotten: what one said that was removed meanwhile must not wait.
        self.said(|entry| self.health.measured.keep(&self.name, told, entry.heard)).unwrap_or_default()
    }

    /// The node is alive, and this is how far origins are.
    pub(crate) fn near(&self, near: Near) {
        let times = near.times.into_iter().take(SITES_MAX).map(|time| (time.site, time.micros));
        self.said(|entry| entry.near = times.collect());
    }

    /// The node is alive, and this is what it did for the sites that are watched.
    pub(crate) fn site_figures(&self, told: wire::SiteFigures) {
        let watched = self.health.watched.borrow().clone();
        let sites = told.sites.into_iter().filter(|counts| watched.contains(&counts.site));
        let sites = sites.map(|counts| (counts.site.clone(), counts.into())).collect();
        self.said(|entry| entry.sites = sites);
    }

    /// The node is alive and has this load.
    pub(crate) fn load(&self, load: Load) {
        self.said(|entry| {
            entry.live.load = load;
            entry.loads.push_back((entry.heard, load));
            if entry.loads.len() > LOADS_MAX {
                entry.loads.pop_front();
            }
            let Some((since, before)) = entry.loads.front() else { return };
            let more = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).map_or(f64::MAX, f64::from);
            let (requests, hits) = (more(load.requests, before.requests), more(load.hits, before.hits));
            let seconds = entry.heard.duration_since(*since).as_secs_f64();
            entry.live.requests_per_second = if seconds > 0.0 { requests / seconds } else { 0.0 };
            entry.live.hit_ratio = (requests > 0.0).then(|| hits / requests);
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.health.acks.disconnect(&self.name, self.number);
        if self.heard(|live| live.connected = false).is_some() {
            self.health.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_stream_that_ends_late_does_not_take_the_node_down() {
        let health = Arc::new(Health::new());
        let first = health.connect("a", Role::Shield, None, 3, String::new());
        let second = health.connect("a", Role::Shield, None, 4, String::new());
        assert!(first.end.is_cancelled() && !second.end.is_cancelled());
        drop(first);
        assert!(health.live("a").connected);
        assert_eq!(*health.acks.lowest_shield().borrow(), 4);
        drop(second);
        assert!(!health.live("a").connected);
        assert_eq!(health.live("a").purge_seq, 4);
    }

    #[test]
    fn a_stream_of_a_node_that_was_forgotten_does_not_take_its_next_one_down() {
        let health = Arc::new(Health::new());
        let first = health.connect("a", Role::Edge, None, 3, String::new());
        health.forget("a");
        let _second = health.connect("a", Role::Edge, None, 4, String::new());
        drop(first);
        assert!(health.live("a").connected);
    }

    #[test]
    fn an_edge_that_connects_anew_is_heard_no_sooner_and_one_that_was_forgotten_not_at_all() {
        let health = Arc::new(Health::new());
        let connect = || health.connect("a", Role::Edge, None, 3, String::new());
        let prefix = wire::PrefixTimes { address: vec![192, 0, 2, 0].into(), length: 24, count: 1, ..wire::PrefixTimes::default() };
        let told = || Told::read(wire::Latency { prefixes: vec![prefix.clone()], dropped: 0 });
        let first = connect();
        assert_eq!(first.latency(told()), Taken { taken: 1, ..Taken::default() });
        let second = connect();
        assert_eq!(second.latency(told()), Taken { unasked: 1, ..Taken::default() });
        health.forget("a");
        assert_eq!(second.latency(told()), Taken::default());
        assert!(health.measured.take().reports.is_empty());
    }
}
