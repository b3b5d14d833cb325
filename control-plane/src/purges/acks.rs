//! Which node has confirmed what: where each stands in the log, when it said so, and how long its last purges took from accept to applied.
//!
//! Lost when the control plane ends; nodes say again where they stand. The lock covers the table of nodes. The lowest numbers are kept as they
//! change, so that a word of one node among a thousand costs no look at the others; who waits for them is woken when they rise, not before.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skerry_agent::Role;
use tokio::sync::watch;

/// Acknowledgements of one node whose times are kept.
const ACKS_MAX: usize = 256;

/// Purges of one node whose time from accept to applied is kept.
const TIMES_MAX: usize = 256;

/// What is said where no node is connected: nothing is waited for.
pub(crate) const NOBODY: u64 = u64::MAX;

/// See the module.
pub(crate) struct Acks {
    table: Mutex<Table>,
    /// The number up to which every connected node has confirmed.
    lowest: watch::Sender<u64>,
    /// The same of shields.
    shields: watch::Sender<u64>,
    connected: AtomicUsize,
}

#[derive(Default)]
struct Table {
    nodes: HashMap<String, Entry>,
    connected: Heights,
    shields: Heights,
}

/// How many connected nodes stand at each number.
#[derive(Default)]
struct Heights {
    at: BTreeMap<u64, usize>,
    nodes: usize,
}

struct Entry {
    role: Role,
    session: u64,
    connected: bool,
    /// The number of the last purge it has confirmed.
    seq: u64,
    /// Up to here, when it said so is not known any more.
    forgotten: u64,
    acks: VecDeque<Ack>,
    times: VecDeque<Duration>,
}

/// A node's word: the purges after those before it, up to this one, are in force.
#[derive(Clone, Copy)]
struct Ack {
    through: u64,
    at: Instant,
}

/// What a node says of one purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is in force; since when, if that is still known.
    Confirmed(Option<Instant>),
    /// The node is connected and has not confirmed it yet.
    Pending,
    /// The node is not connected and has not confirmed it.
    Away,
}

/// How long the last purges of a node took from accept to applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spread {
    /// How many it is of, at most 256.
    pub(crate) count: usize,
    /// The median.
    pub(crate) p50: Duration,
    /// The 99th percentile.
    pub(crate) p99: Duration,
    /// The longest.
    pub(crate) max: Duration,
}

impl Acks {
    pub(crate) fn new() -> Self {
        Self {
            table: Mutex::default(),
            lowest: watch::Sender::new(NOBODY),
            shields: watch::Sender::new(NOBODY),
            connected: AtomicUsize::new(0),
        }
    }

    /// The number up to which every connected node has confirmed, [`NOBODY`] when none is connected; and word of the next ones.
    pub(crate) fn lowest(&self) -> watch::Receiver<u64> {
        self.lowest.subscribe()
    }

    /// The same of connected shields.
    pub(crate) fn lowest_shield(&self) -> watch::Receiver<u64> {
        self.shields.subscribe()
    }

    /// How many edges and shields are connected.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// A node's stream begins; it stands at `seq`. A stream of it that stood before counts no more.
    pub(crate) fn connect(&self, node: &str, role: Role, session: u64, seq: u64) {
        self.change(|table| {
            let mut entry = table.nodes.remove(node).unwrap_or_else(|| Entry::new(role, seq));
            if entry.connected {
                table.leave(&entry);
            }
            entry.role = role;
            entry.session = session;
            entry.connected = true;
            entry.stand(seq);
            table.enter(&entry);
            table.nodes.insert(node.to_owned(), entry);
        });
    }

    /// A node's stream ended.
    pub(crate) fn disconnect(&self, node: &str, session: u64) {
        self.change(|table| {
            let Some(entry) = table.nodes.get_mut(node).filter(|entry| entry.session == session && entry.connected) else { return };
            entry.connected = false;
            let (role, seq) = (entry.role, entry.seq);
            table.remove(role, seq);
        });
    }

    /// There is no such node any more.
    pub(crate) fn forget(&self, node: &str) {
        self.change(|table| {
            if let Some(entry) = table.nodes.remove(node).filter(|entry| entry.connected) {
                table.leave(&entry);
            }
        });
    }

    /// A node confirms purges up to `seq`; `ages` says how long those above a number have been on their way. They are returned.
    pub(crate) fn confirmed(&self, node: &str, session: u64, seq: u64, ages: impl FnOnce(u64) -> Vec<Duration>) -> Vec<Duration> {
        let mut took = Vec::new();
        self.change(|table| {
            let Some(entry) = table.nodes.get_mut(node).filter(|entry| entry.session == session && entry.connected) else { return };
            let (role, before) = (entry.role, entry.seq);
            took = ages(before);
            entry.stand(seq);
            entry.times.extend(&took);
            entry.times.drain(..entry.times.len().saturating_sub(TIMES_MAX));
            table.remove(role, before);
            table.add(role, seq);
        });
        took
    }

    /// The number of the last purge that a node has confirmed.
    pub(crate) fn seq(&self, node: &str) -> u64 {
        self.table.lock().nodes.get(node).map_or(0, |entry| entry.seq)
    }

    /// What each of these nodes says of a purge, in their order.
    pub(crate) fn of<'a>(&self, seq: u64, nodes: impl Iterator<Item = &'a String>) -> Vec<(&'a String, Standing)> {
        let table = self.table.lock();
        nodes.map(|name| (name, table.nodes.get(name).map_or(Standing::Away, |entry| entry.says(seq)))).collect()
    }

    /// How long the last purges of a node took.
    pub(crate) fn spread(&self, node: &str) -> Spread {
        let mut times: Vec<_> = match self.table.lock().nodes.get(node) {
            Some(entry) => entry.times.iter().copied().collect(),
            None => Vec::new(),
        };
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        Spread { count: times.len(), p50: at(50), p99: at(99), max: at(100) }
    }

    /// Changes the table and tells what became of the lowest numbers.
    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.table.lock();
        change(&mut table);
        // Under the lock: word of two changes must not go out in the other order.
        for (told, heights) in [(&self.lowest, &table.connected), (&self.shields, &table.shields)] {
            let now = heights.lowest();
            told.send_if_modified(|told| std::mem::replace(told, now) != now);
        }
        self.connected.store(table.connected.nodes, Ordering::Relaxed);
    }
}

impl Table {
    fn enter(&mut self, entry: &Entry) {
        self.add(entry.role, entry.seq);
    }

    fn leave(&mut self, entry: &Entry) {
        self.remove(entry.role, entry.seq);
    }

    fn add(&mut self, role: Role, seq: u64) {
        self.connected.add(seq);
        if role == Role::Shield {
            self.shields.add(seq);
        }
    }

    fn remove(&mut self, role: Role, seq: u64) {
        self.connected.remove(seq);
        if role == Role::Shield {
            self.shields.remove(seq);
        }
    }
}

impl Heights {
    fn add(&mut self, seq: u64) {
        *self.at.entry(seq).or_default() += 1;
        self.nodes += 1;
    }

    fn remove(&mut self, seq: u64) {
        if let Some(count) = self.at.get_mut(&seq) {
            *count -= 1;
            self.nodes -= 1;
            if *count == 0 {
                self.at.remove(&seq);
            }
        }
    }

    fn lowest(&self) -> u64 {
        self.at.keys().next().copied().unwrap_or(NOBODY)
    }
}

impl Entry {
    fn new(role: Role, seq: u64) -> Self {
        Self { role, session: 0, connected: false, seq, forgotten: seq, acks: VecDeque::new(), times: VecDeque::new() }
    }

    /// Takes where it stands now. Numbers that went back are of another history.
    fn stand(&mut self, seq: u64) {
        if seq < self.seq {
            self.acks.clear();
            self.forgotten = seq;
        } else if seq > self.seq {
            if self.acks.len() == ACKS_MAX
                && let Some(oldest) = self.acks.pop_front()
            {
                self.forgotten = oldest.through;
            }
            self.acks.push_back(Ack { through: seq, at: Instant::now() });
        }
        self.seq = seq;
    }

    fn says(&self, seq: u64) -> Standing {
        if self.seq >= seq {
            let at = self.acks.partition_point(|ack| ack.through < seq);
            return Standing::Confirmed(self.acks.get(at).filter(|_| seq > self.forgotten).map(|ack| ack.at));
        }
        if self.connected { Standing::Pending } else { Standing::Away }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings(acks: &Acks, seq: u64, names: &[&str]) -> Vec<Standing> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        acks.of(seq, names.iter()).into_iter().map(|(_, standing)| standing).collect()
    }

    #[test]
    fn the_lowest_number_is_of_those_that_are_connected() {
        let acks = Acks::new();
        let (lowest, shields) = (acks.lowest(), acks.lowest_shield());
        let told = || (*lowest.borrow(), *shields.borrow());
        assert_eq!(told(), (NOBODY, NOBODY));
        acks.connect("edge", Role::Edge, 1, 3);
        assert_eq!(told(), (3, NOBODY));
        acks.connect("shield", Role::Shield, 2, 5);
        assert_eq!(told(), (3, 5));
        acks.confirmed("edge", 1, 9, |_| Vec::new());
        assert_eq!((told(), acks.connected()), ((5, 5), 2));
        acks.connect("shield", Role::Shield, 3, 4);
        acks.confirmed("shield", 2, 9, |_| Vec::new());
        acks.disconnect("shield", 2);
        assert_eq!(told(), (4, 4), "the word of a stream that was replaced counts for nothing");
        acks.disconnect("shield", 3);
        assert_eq!((told(), acks.connected()), ((9, NOBODY), 1));
        assert_eq!(standings(&acks, 5, &["edge", "shield", "other"])[1..], [Standing::Away, Standing::Away]);
        acks.forget("edge");
        assert_eq!(told(), (NOBODY, NOBODY));
        assert_eq!((acks.seq("edge"), acks.seq("shield")), (0, 4));
    }

    #[test]
    fn who_waits_is_woken_when_the_lowest_rises_and_not_before() {
        let acks = Acks::new();
        acks.connect("a", Role::Edge, 1, 0);
        acks.connect("b", Role::Edge, 2, 0);
        let mut lowest = acks.lowest();
        lowest.mark_unchanged();
        acks.confirmed("a", 1, 1, |_| Vec::new());
        assert!(!lowest.has_changed().unwrap());
        acks.confirmed("b", 2, 1, |_| Vec::new());
        assert!(lowest.has_changed().unwrap());
    }

    #[test]
    fn the_time_of_an_acknowledgement_is_known_while_it_is_kept() {
        let acks = Acks::new();
        acks.connect("a", Role::Edge, 1, 2);
        assert_eq!(standings(&acks, 2, &["a"]), [Standing::Confirmed(None)], "it was so before anybody heard of it");
        acks.confirmed("a", 1, 4, |_| Vec::new());
        acks.confirmed("a", 1, 5, |_| Vec::new());
        let at = |seq| match standings(&acks, seq, &["a"])[0] {
            Standing::Confirmed(Some(at)) => at,
            other => panic!("{seq}: {other:?}"),
        };
        assert!(at(3) == at(4) && at(4) <= at(5));
        assert_eq!(standings(&acks, 6, &["a"]), [Standing::Pending]);
        for seq in 6..6 + ACKS_MAX as u64 {
            acks.confirmed("a", 1, seq, |_| Vec::new());
        }
        assert_eq!(standings(&acks, 5, &["a"]), [Standing::Confirmed(None)]);
        at(6);
        acks.connect("a", Role::Edge, 2, 3);
        assert_eq!(standings(&acks, 3, &["a"]), [Standing::Confirmed(None)], "numbers went back with another history");
        assert_eq!(standings(&acks, 6, &["a"]), [Standing::Pending]);
    }

    #[test]
    fn times_are_of_the_last_purges() {
        let acks = Acks::new();
        acks.connect("a", Role::Edge, 1, 0);
        let millis = |count: u64| (1..=count).map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!(acks.spread("a"), Spread::default());
        assert_eq!(
            acks.confirmed("a", 1, 200, |before| {
                assert_eq!(before, 0);
                millis(200)
            })
            .len(),
            200
        );
        let wanted =
            Spread { count: 200, p50: Duration::from_millis(100), p99: Duration::from_millis(198), max: Duration::from_millis(200) };
        assert_eq!(acks.spread("a"), wanted);
        acks.confirmed("a", 1, 500, |_| vec![Duration::from_millis(7); 300]);
        let sevens = Duration::from_millis(7);
        assert_eq!(acks.spread("a"), Spread { count: TIMES_MAX, p50: sevens, p99: sevens, max: sevens });
    }
}
