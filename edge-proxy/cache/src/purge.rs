//! Purges in force: a table of epochs that a stored answer is compared with when it is looked up.
//!
//! Owns the epochs by kind (all, site, host, prefix, URL, tag), each hard and soft. An object carries the number of the last purge in force
//! when its fetch began; it may be used only if no hard epoch that matches it is higher, and is stale if a soft one is. Nothing walks the
//! store. Names are kept as hashes: two names with one hash purge too much, never too little.
//!
//! Where answers are stored on disk, `journal` has every change before it is in force, and `kept` makes the table of it again.
//!
//! The lock covers all epochs; a lookup takes it to read, briefly, and only for an object that was not compared since the last change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use skerry_config::purge::{Purge, Targets};
use skerry_config::snapshot::Snapshot;

mod compared;
mod identity;
mod journal;
mod kept;
mod local;
mod prefixes;
mod tags;
mod url;

pub(crate) use identity::{Identity, group_name};
pub(crate) use kept::Life;
pub(crate) use tags::Tags;

use journal::{Change, Journal, Of};
use local::Local;
use prefixes::Prefixes;
use url::{Location, hashed};

/// The most names of one kind. When they are more, the older half is folded into the epoch of everything.
const NAMES_MAX: usize = 100_000;

/// Two purge numbers; 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    hard: u64,
    soft: u64,
}

impl Epoch {
    fn raise(&mut self, seq: u64, soft: bool) {
        let slot = if soft { &mut self.soft } else { &mut self.hard };
        *slot = (*slot).max(seq);
    }

    fn join(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    fn newest(self) -> u64 {
        self.hard.max(self.soft)
    }
}

/// What the purges make of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// None matches.
    Untouched,
    /// A soft one matches: stale.
    Stale,
    /// A hard one matches: as if it were not there.
    Gone,
}

/// Where a node stands in all that takes answers out of use. Read before the store is looked at: what is fetched for what was found then counts
/// as old when something is taken out of use in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The number of the last purge in force.
    pub(crate) seq: u64,
    /// How often this node invalidated something by itself.
    invalidations: u64,
    /// How often everything was dropped.
    drops: u64,
}

/// What an object knows of purges.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// Where the node stood when the fetch began.
    began: Position,
    tags: Tags,
    /// Its place in the order in which heads came; clocks may step back.
    order: u64,
    /// Its cache groups.
    groups: Box<[u128]>,
    /// The change of the table up to which nothing matched.
    clean_at: AtomicU64,
}

impl Clone for Mark {
    fn clone(&self) -> Self {
        Self {
            began: self.began,
            order: self.order,
            tags: self.tags.clone(),
            groups: self.groups.clone(),
            clean_at: AtomicU64::new(self.clean_at.load(Ordering::Relaxed)),
        }
    }
}

impl Mark {
    pub(crate) fn new(began: Position, tags: Tags, groups: Box<[u128]>) -> Self {
        Self { began, order: 0, tags, groups, clean_at: AtomicU64::new(0) }
    }

    /// The same for the head that came as this one of all.
    pub(crate) fn in_order(self, order: u64) -> Self {
        Self { order, ..self }
    }

    /// The numbers of it: the last purge in force, the invalidations and the drops when the fetch began, and its place among all heads.
    pub(crate) fn numbers(&self) -> [u64; 4] {
        [self.began.seq, self.began.invalidations, self.began.drops, self.order]
    }

    /// What these numbers were of.
    pub(crate) fn of_numbers([seq, invalidations, drops, order]: [u64; 4], tags: Tags, groups: Box<[u128]>) -> Self {
        Self { order, ..Self::new(Position { seq, invalidations, drops }, tags, groups) }
    }

    pub(crate) fn groups(&self) -> &[u128] {
        &self.groups
    }

    /// Grows with what an answer can know: how often everything had been dropped and which purges were in force when it was asked for, and when
    /// its head came. With a drop the numbers of purges may begin anew.
    pub(crate) fn recency(&self) -> (u64, u64, u64) {
        (self.began.drops, self.began.seq, self.order)
    }

    /// The number of the last purge in force when the fetch began.
    pub(crate) fn stamp(&self) -> u64 {
        self.began.seq
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.tags
    }

    /// In bytes, beside the mark itself.
    pub(crate) fn weight(&self) -> u64 {
        self.tags.weight() + 16 * self.groups.len() as u64 + 2 * crate::object::ALLOCATION_COST
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Table {
    epochs: RwLock<Epochs>,
    local: Local,
    /// Counts changes of the epochs, so that an object is compared once for each; from 1.
    changes: AtomicU64,
    /// The number of the last purge in force.
    seq: AtomicU64,
    /// Counts the times at which everything was dropped.
    drops: AtomicU64,
    /// Below this no drop of this run is counted.
    drops_from: u64,
    /// What is on disk of heads up to this place does not count.
    given_up: AtomicU64,
    /// Where every change is written before it is in force, where the table outlives its process.
    journal: Option<Journal>,
    life: Option<Life>,
}

#[derive(Debug)]
struct Epochs {
    all: Epoch,
    /// Sites, hosts and URLs; [`named`] keeps the kinds apart.
    sites: HashMap<u128, Epoch>,
    hosts: HashMap<u128, Epoch>,
    urls: HashMap<u128, Epoch>,
    tags: HashMap<u128, Epoch>,
    /// The newest of all tags, for objects with more tags than are kept.
    any_tag: Epoch,
    prefixes: Prefixes,
    names_max: usize,
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            all: Epoch::default(),
            sites: HashMap::new(),
            hosts: HashMap::new(),
            urls: HashMap::new(),
            tags: HashMap::new(),
            any_tag: Epoch::default(),
            prefixes: Prefixes::default(),
            names_max: NAMES_MAX,
        }
    }
}

/// What an epoch is about, as far as an object's names tell.
#[derive(Clone, Copy, Debug)]
enum Named<'a> {
    All,
    Site,
    /// As purges write it.
    Host(&'a str),
    Url,
    /// Host, and the beginning of path and query.
    Prefix(&'a str, &'a str),
    /// The hash of its name.
    Tag(u128),
    /// Some tag: of an object with more of them than are kept.
    AnyTag,
}

impl Table {
    /// What a fetch carries that begins for what is looked up after this.
    pub(crate) fn position(&self) -> Position {
        // In the order contrary to that of `drop_all`.
        let drops = self.drops.load(Ordering::Acquire);
        Position { seq: self.seq(), invalidations: self.local.count(), drops }
    }

    /// The number of the last purge in force.
    pub(crate) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Puts purges in force; when this returns, every lookup sees them.
    pub(crate) fn raise(&self, purges: &[Purge], snapshot: &Snapshot) {
        let seq = purges.iter().map(|purge| purge.seq).max().unwrap_or(0);
        let mut changes = Vec::new();
        for purge in purges {
            of(&purge.targets, purge.seq, snapshot, |of| changes.push(Change::Raised { of, seq: purge.seq, soft: purge.targets.soft }));
        }
        changes.push(Change::InForce(seq));
        let mut epochs = self.epochs.write();
        self.note(&changes);
        for change in changes {
            if let Change::Raised { of, seq, soft } = change {
                epochs.raise_one(of, seq, soft);
            }
        }
        epochs.fold();
        self.changed(seq);
    }

    fn note(&self, changes: &[Change]) {
        if let Some(journal) = &self.journal {
            journal.append(changes);
        }
    }

    /// Takes out of use everything that was asked for before, and begins anew at `seq`: in place of purges that were missed, or of another
    /// count of them, whose numbers compare nothing with the ones before.
    pub(crate) fn drop_all(&self, seq: u64) {
        let mut epochs = self.epochs.write();
        let drops = self.drops.load(Ordering::Acquire).max(self.drops_from);
        self.note(&[Change::Dropped { drops: drops + 2, seq }]);
        self.drops.store(drops + 1, Ordering::Release);
        *epochs = Epochs { names_max: epochs.names_max, ..Epochs::default() };
        self.seq.store(seq, Ordering::Release);
        // Once more, for who began to look in between.
        self.drops.store(drops + 2, Ordering::Release);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes up the position of an earlier run. A table that outlived its process and does not reach there missed purges, as when it was not
    /// kept for a while: everything is dropped.
    pub(crate) fn resume(&self, seq: u64) {
        if self.journal.is_some() && seq > self.seq() {
            return self.drop_all(seq);
        }
        self.seq.fetch_max(seq, Ordering::AcqRel);
    }

    fn changed(&self, seq: u64) {
        self.seq.fetch_max(seq, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes everything with these identities or in these groups out of use that was asked for before.
    pub(crate) fn invalidate(&self, targets: &[Identity], groups: &[u128]) {
        let names: Vec<u128> = targets.iter().flat_map(|target| &target.resources).chain(groups).copied().collect();
        self.local.invalidate(&names, |count| self.note(&[Change::Invalidated { count, names: names.clone() }]));
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether this node itself took an object out of use.
    pub(crate) fn is_invalidated(&self, identity: &Identity, mark: &Mark) -> bool {
        self.local.is_out(identity.resources.iter().chain(&mark.groups), mark.began.invalidations)
    }

    /// Compares an object.
    pub(crate) fn verdict(&self, identity: &Identity, mark: &Mark) -> Verdict {
        let changes = self.changes.load(Ordering::Acquire);
        if mark.clean_at.load(Ordering::Relaxed) == changes {
            return Verdict::Untouched;
        }
        if self.is_dropped(mark.began) || self.is_invalidated(identity, mark) {
            return Verdict::Gone;
        }
        let epoch = if mark.stamp() >= self.seq() { Epoch::default() } else { self.epochs.read().matching(identity, &mark.tags) };
        let verdict = judged(epoch, mark.stamp());
        if verdict == Verdict::Untouched {
            mark.clean_at.store(changes, Ordering::Relaxed);
        }
        verdict
    }

    /// Compares a fetch whose head, with its tags, has not come.
    pub(crate) fn verdict_before_head(&self, identity: &Identity, began: Position) -> Verdict {
        if self.is_dropped(began) || self.local.is_out(identity.resources.iter(), began.invalidations) {
            return Verdict::Gone;
        }
        if began.seq >= self.seq() {
            return Verdict::Untouched;
        }
        judged(self.epochs.read().matching(identity, &Tags::default()), began.seq)
    }

    fn is_dropped(&self, began: Position) -> bool {
        began.drops != self.drops.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn bound_names(&self, names_max: usize) {
        self.epochs.write().names_max = names_max;
    }
}

fn judged(epoch: Epoch, stamp: u64) -> Verdict {
    if stamp < epoch.hard {
        Verdict::Gone
    } else if stamp < epoch.soft {
        Verdict::Stale
    } else {
        Verdict::Untouched
    }
}

/// What the targets of a purge are epochs of.
fn of(targets: &Targets, seq: u64, snapshot: &Snapshot, mut each: impl FnMut(Of)) {
    if targets.all {
        each(Of::All);
    }
    targets.sites.iter().for_each(|site| each(Of::Site(hashed("site", &[site.as_bytes()]))));
    for host in targets.hosts.iter().flat_map(|host| url::with_aliases(host, snapshot)) {
        each(Of::Host(hashed("host", &[host.as_bytes()])));
    }
    targets.tags.iter().for_each(|tag| each(Of::Tag(hashed("tag", &[tag.as_bytes()]))));
    for text in &targets.urls {
        match Location::of(text) {
            Some(location) => location.names(snapshot).into_iter().for_each(|name| each(Of::Url(name))),
            None => tracing::warn!(seq, url = text, "purge names no URL"),
        }
    }
    for text in &targets.prefixes {
        match Location::of(text) {
            Some(location) => {
                for host in url::with_aliases(&location.host, snapshot) {
                    let (hash, host, length) = Prefixes::hashed(&host, &location.path_and_query);
                    each(Of::Prefix { hash, host, length });
                }
            }
            None => tracing::warn!(seq, prefix = text, "purge names no URL prefix"),
        }
    }
}

impl Epochs {
    /// The highest epochs that match.
    fn matching(&self, identity: &Identity, tags: &Tags) -> Epoch {
        let mut epoch = Epoch::default();
        self.each(identity, tags, |_, found| epoch.join(found));
        epoch
    }

    /// Shows every epoch that matches, with what it is about.
    fn each(&self, identity: &Identity, tags: &Tags, mut visit: impl FnMut(Named<'_>, Epoch)) {
        visit(Named::All, self.all);
        let mut look = |map: &HashMap<u128, Epoch>, name: &u128, named: Named<'_>| {
            if let Some(found) = map.get(name) {
                visit(named, *found);
            }
        };
        look(&self.sites, &identity.site, Named::Site);
        identity.hosts.iter().for_each(|(name, host)| look(&self.hosts, name, Named::Host(host)));
        identity.urls.iter().for_each(|name| look(&self.urls, name, Named::Url));
        tags.iter().for_each(|name| look(&self.tags, name, Named::Tag(*name)));
        if tags.overflowed() {
            visit(Named::AnyTag, self.any_tag);
        }
        for (_, host) in &identity.hosts {
            self.prefixes.each(host, &identity.path_and_query, |prefix, found| visit(Named::Prefix(host, prefix), found));
        }
    }

    /// Keeps every kind below its bound.
    fn fold(&mut self) {
        for map in [&mut self.sites, &mut self.hosts, &mut self.urls, &mut self.tags] {
            if map.len() > self.names_max {
                self.all.join(fold_older_half(map, |epoch| *epoch));
            }
        }
        if self.prefixes.len() > self.names_max {
            self.all.join(self.prefixes.fold_older_half());
        }
    }
}

/// Removes the older half of the names; answers with the highest numbers among them.
fn fold_older_half<K, V>(map: &mut HashMap<K, V>, epoch: impl Fn(&V) -> Epoch) -> Epoch {
    let mut newest: Vec<u64> = map.values().map(|value| epoch(value).newest()).collect();
    if newest.is_empty() {
        return Epoch::default();
    }
    let middle = newest.len() / 2;
    let (_, &mut median, _) = newest.select_nth_unstable(middle);
    let mut folded = Epoch::default();
    map.retain(|_, value| {
        let epoch = epoch(value);
        let keep = epoch.newest() > median;
        if !keep {
            folded.join(epoch);
        }
        keep
    });
    folded
}

#[cfg(test)]
mod tests;
