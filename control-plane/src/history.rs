//! What nodes did, in buckets of five minutes, as they report them: in the store, each bucket of a node's log once.
//!
//! One writer takes them from a bounded queue, those of several nodes at once, so that nobody who hears nodes waits for the disk. The lock orders
//! writes; a bucket and the word that it was taken are one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skerry_agent::wire::{self, HISTORY_SITES_MAX, HistoryEntry, HistorySums, HistoryTaken};
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::plane::Plane;
use crate::refusal::Refusal;
use crate::store::{self, Change, Condition, Store, Transaction};

const BUCKETS: &str = "history/";
const TAKEN: &str = "history-taken/";

/// How long buckets are kept, in seconds: as long as a node keeps those that are not taken.
pub(crate) const KEPT_SECONDS: u64 = 3 * 86_400;

/// How far ahead of our clock a bucket may be, in seconds.
const AHEAD_SECONDS_MAX: u64 = 86_400;

/// Reports that wait to be written, each of 80 KiB at most; one more is not taken, and its node sends it again.
const QUEUE_MAX: usize = 256;

/// Reports that are written in one transaction.
const TOGETHER_MAX: usize = 64;

/// Bytes of the name of a site or a log.
const NAME_BYTES_MAX: usize = 63;

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Those answered from the store.
    pub(crate) hits: u64,
    /// Answers of status 500 to 599, and answers cut off.
    pub(crate) errors: u64,
    /// Bytes of bodies sent.
    pub(crate) bytes: u64,
}

/// A bucket of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Its first second since 1970.
    pub(crate) from: u64,
    /// Of all sites.
    pub(crate) sums: Sums,
    /// Of the busiest.
    pub(crate) sites: BTreeMap<String, Sums>,
}

/// What was taken of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// The node's log, which it names anew when it lost the one before.
    log: String,
    /// The number of the last bucket of it.
    through: u64,
    /// All that it ever did.
    pub(crate) total: Sums,
    /// Buckets of this log, and requests in them, that the node had to drop.
    pub(crate) dropped: u64,
    pub(crate) dropped_requests: u64,
}

/// See the module.
pub(crate) struct History {
    store: Arc<dyn Store>,
    writing: tokio::sync::Mutex<()>,
    queue: mpsc::Sender<Told>,
    /// The writer's end.
    waiting: tokio::sync::Mutex<mpsc::Receiver<Told>>,
}

/// A report that waits.
struct Told {
    node: String,
    report: wire::History,
    /// Hears what the node may forget, once it is written.
    taken: Box<dyn FnOnce(HistoryTaken) + Send>,
}

impl History {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        Self { store, writing: tokio::sync::Mutex::default(), queue, waiting: waiting.into() }
    }

    /// Has the buckets of a report that are new taken; `taken` hears what the node may forget, unless they could not be. False, at once, when too many
    /// reports wait already.
    pub(crate) fn tell(&self, node: &str, report: wire::History, taken: impl FnOnce(HistoryTaken) + Send + 'static) -> bool {
        let told = Told { node: node.to_owned(), report: bounded(report), taken: Box::new(taken) };
        self.queue.try_send(told).is_ok()
    }

    /// Writes reports of nodes that are still `known`; of one node the first.
    async fn write(&self, told: Vec<Told>, known: impl Fn(&str) -> bool) {
        let _writing = self.writing.lock().await;
        let (mut reports, mut waiting) = (BTreeMap::new(), BTreeMap::new());
        // Under the lock: a node that is removed is forgotten after this, or known no more.
        for Told { node, report, taken } in told {
            if !reports.contains_key(&node) && known(&node) {
                reports.insert(node.clone(), report);
                waiting.insert(node, taken);
            }
        }
        match store::blocking(&self.store, move |store| take(store, reports)).await {
            Ok(all) => {
                for (node, word) in all {
                    if let Some(taken) = waiting.remove(&node) {
                        taken(word);
                    }
                }
            }
            Err(why) => tracing::error!(why, "the history of nodes is not taken"),
        }
    }

    /// The buckets of a node from a second since 1970 on, and what was taken of it in all.
    pub(crate) async fn read(&self, node: &str, from: u64) -> Result<(Vec<Bucket>, Taken), Refusal> {
        let node = node.to_owned();
        let read = store::blocking(&self.store, move |store| {
            let buckets = store.list(&prefix(&node))?.into_iter().map(|(key, value)| parse(&key, &value));
            let buckets: Result<Vec<Bucket>, _> = buckets.collect();
            let taken = match store.get(&taken_key(&node))? {
                Some(value) => parse(&taken_key(&node), &value)?,
                None => Taken::default(),
            };
            Ok((buckets?.into_iter().filter(|bucket| bucket.from >= from).collect(), taken))
        });
        read.await.map_err(Refusal::Broken)
    }

    /// Begins to forget a node that is removed.
    pub(crate) async fn forget(&self, node: &str) -> Result<Forgetting<'_>, Refusal> {
        let writing = self.writing.lock().await;
        let node = node.to_owned();
        let changes = store::blocking(&self.store, move |store| {
            let buckets = store.list(&prefix(&node))?.into_iter().map(|(key, _)| Change::Delete(key));
            Ok(buckets.chain([Change::Delete(taken_key(&node))]).collect())
        });
        Ok(Forgetting { changes: changes.await.map_err(Refusal::Broken)?, _writing: writing })
    }
}

/// A node that is being forgotten: nothing more is taken of any node until this is dropped.
pub(crate) struct Forgetting<'a> {
    /// What takes its history out of the store.
    pub(crate) changes: Vec<Change>,
    _writing: tokio::sync::MutexGuard<'a, ()>,
}

/// Keeps the reports of a queue, until `stop` says so. Nodes send again what waits then.
pub(crate) async fn keep(plane: Arc<Plane>, stop: watch::Receiver<bool>) {
    let history = &plane.history;
    let mut waiting = history.waiting.lock().await;
    let mut told = Vec::with_capacity(TOGETHER_MAX);
    loop {
        tokio::select! {
            () = skerry_agent::stopped(stop.clone()) => return,
            _ = waiting.recv_many(&mut told, TOGETHER_MAX) => {}
        }
        history.write(std::mem::take(&mut told), |node| plane.intent.node(node).is_ok()).await;
    }
}

/// Takes the reports of nodes in one transaction. One that cannot be taken is no hindrance to the others.
fn take(store: &dyn Store, reports: BTreeMap<String, wire::History>) -> Result<Vec<(String, HistoryTaken)>, String> {
    let (mut all, mut words) = (Transaction::default(), Vec::with_capacity(reports.len()));
    for (node, report) in reports {
        match add(store, &node, report) {
            Ok((Transaction { when, then, .. }, word)) => {
                all.when.extend(when);
                all.then.extend(then);
                words.push((node, word));
            }
            Err(why) => tracing::error!(node, why, "the history of a node is not taken"),
        }
    }
    if !store.transact(&all)? {
        return Err("somebody else took the history of one of the nodes at the same time".to_owned());
    }
    Ok(words)
}

/// What taking a report writes.
fn add(store: &dyn Store, node: &str, report: wire::History) -> Result<(Transaction, HistoryTaken), String> {
    let key = taken_key(node);
    let before = store.get(&key)?;
    let mut taken: Taken = before.as_ref().map(|value| parse(&key, value)).transpose()?.unwrap_or_default();
    if taken.log != report.log {
        taken = Taken { log: report.log, total: taken.total, ..Taken::default() };
    }
    (taken.dropped, taken.dropped_requests) = (report.dropped, report.dropped_requests);
    let now = clock::unix_seconds();
    let mut changed: BTreeMap<String, Bucket> = BTreeMap::new();
    for entry in report.entries {
        // Taken already: the word of it was lost.
        if entry.seq <= taken.through {
            continue;
        }
        taken.through = entry.seq;
        let bucket = Bucket::of(entry);
        taken.total.add(&bucket.sums);
        if bucket.from.saturating_add(KEPT_SECONDS) < now || bucket.from > now + AHEAD_SECONDS_MAX {
            continue;
        }
        let key = format!("{}{:012}", prefix(node), bucket.from);
        let kept = match changed.remove(&key) {
            Some(kept) => Some(kept),
            None => store.get(&key)?.map(|value| parse(&key, &value)).transpose()?,
        };
        changed.insert(key, kept.unwrap_or_default().with(bucket));
    }
    let oldest = format!("{}{:012}", prefix(node), now.saturating_sub(KEPT_SECONDS));
    let gone = store.list(&prefix(node))?.into_iter().map(|(key, _)| key).filter(|key| *key < oldest);
    let mut then: Vec<_> = gone.map(Change::Delete).collect();
    for (key, bucket) in changed {
        then.push(Change::Put(key, json(&bucket)?));
    }
    then.push(Change::Put(key.clone(), json(&taken)?));
    let transaction = Transaction { when: vec![Condition { key, holds: before }], then, ..Transaction::default() };
    Ok((transaction, HistoryTaken { log: taken.log, through: taken.through }))
}

/// A report within its bounds, and without room for more.
fn bounded(mut report: wire::History) -> wire::History {
    report.log = report.log.chars().take(NAME_BYTES_MAX).collect();
    report.entries.truncate(wire::HISTORY_PER_REPORT_MAX);
    report.entries.shrink_to_fit();
    for entry in &mut report.entries {
        entry.sites.retain(|site| site.site.len() <= NAME_BYTES_MAX);
        entry.sites.truncate(HISTORY_SITES_MAX);
        entry.sites.shrink_to_fit();
    }
    report
}

impl Bucket {
    /// A bucket as a node tells it.
    fn of(entry: HistoryEntry) -> Self {
        let sites = entry.sites.into_iter().map(|site| (site.site, Sums::of(site.sums))).collect();
        Self { from: entry.from - entry.from % skerry_agent::BUCKET_SECONDS, sums: Sums::of(entry.sums), sites }
    }

    /// With what another one of the same time has; of the sites the busiest stay.
    fn with(mut self, other: Self) -> Self {
        self.from = other.from;
        self.sums.add(&other.sums);
        for (site, sums) in other.sites {
            self.sites.entry(site).or_default().add(&sums);
        }
        while self.sites.len() > HISTORY_SITES_MAX
            && let Some(idlest) = self.sites.iter().min_by_key(|(_, sums)| sums.requests).map(|(site, _)| site.clone())
        {
            self.sites.remove(&idlest);
        }
        self
    }
}

impl Sums {
    fn of(sums: Option<HistorySums>) -> Self {
        let HistorySums { requests, hits, errors, bytes } = sums.unwrap_or_default();
        Self { requests, hits, errors, bytes }
    }

    fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.hits = self.hits.saturating_add(more.hits);
        self.errors = self.errors.saturating_add(more.errors);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

fn prefix(node: &str) -> String {
    format!("{BUCKETS}{node}/")
}

fn taken_key(node: &str) -> String {
    format!("{TAKEN}{node}")
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| format!("cannot write JSON: {error}"))
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("the store holds something else than expected at {key}: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::Redb;

    fn report(log: &str, entries: &[(u64, u64, u64)]) -> wire::History {
        let entries = entries.iter().map(|&(seq, from, requests)| HistoryEntry {
            seq,
            from,
            sums: Some(HistorySums { requests, ..HistorySums::default() }),
            sites: vec![wire::HistorySite { site: "shop".to_owned(), sums: Some(HistorySums { requests, ..HistorySums::default() }) }],
        });
        wire::History { log: log.to_owned(), entries: entries.collect(), dropped: 2, dropped_requests: 9 }
    }

    pub(crate) async fn take(history: &History, node: &str, report: wire::History) -> HistoryTaken {
        let (taken, word) = tokio::sync::oneshot::channel();
        let taken = Box::new(|through| taken.send(through).unwrap());
        history.write(vec![Told { node: node.to_owned(), report, taken }], |_| true).await;
        word.await.unwrap()
    }

    #[tokio::test]
    async fn reports_wait_in_a_bounded_queue_and_are_written_together() {
        let data = tempfile::tempdir().unwrap();
        let history = History::new(Arc::new(Redb::open(&data.path().join("store.redb")).unwrap()));
        let from = clock::unix_seconds() / 300 * 300;
        let (words, mut heard) = mpsc::unbounded_channel();
        // Nobody writes, as with a disk that takes its time: whoever tells does not wait.
        let tell = |number: usize| {
            let words = words.clone();
            history.tell(&format!("edge-{number}"), report("a", &[(1, from, 5)]), move |taken| words.send(taken.through).unwrap())
        };
        assert!((0..QUEUE_MAX).all(tell));
        assert!(!tell(QUEUE_MAX), "one more");
        let mut told = Vec::new();
        history.waiting.lock().await.recv_many(&mut told, QUEUE_MAX).await;
        // The same node once more, by another stream, and one that is removed meanwhile.
        assert!(tell(0));
        told.extend(history.waiting.lock().await.recv().await);
        history.write(told, |node| node != "edge-3").await;
        drop(words);
        let mut count = 0;
        while let Ok(through) = heard.try_recv() {
            assert_eq!(through, 1);
            count += 1;
        }
        assert_eq!(count, QUEUE_MAX - 1);
        assert_eq!(history.read("edge-0", 0).await.unwrap().1.total.requests, 5);
        assert_eq!(history.read("edge-3", 0).await.unwrap(), (Vec::new(), Taken::default()));
    }

    #[test]
    fn a_report_waits_within_its_bounds() {
        let mut large = report(&"a".repeat(1 << 20), &vec![(1, 300, 1); 1_000]);
        let site = large.entries[0].sites[0].clone();
        large.entries[0].sites = vec![site.clone(); 1_000];
        large.entries[1].sites = vec![wire::HistorySite { site: "s".repeat(1 << 20), ..site }];
        let bounded = bounded(large);
        assert_eq!((bounded.log.len(), bounded.entries.len()), (NAME_BYTES_MAX, wire::HISTORY_PER_REPORT_MAX));
        assert_eq!((bounded.entries[0].sites.len(), bounded.entries[1].sites.len()), (HISTORY_SITES_MAX, 0));
    }

    #[tokio::test]
    async fn a_bucket_counts_once_whatever_was_lost_on_the_way() {
        let data = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Redb::open(&data.path().join("store.redb")).unwrap());
        let history = History::new(Arc::clone(&store));
        let now = clock::unix_seconds();
        let from = now - now % 300;
        let taken = take(&history, "edge-1", report("a", &[(1, from - 300, 5), (2, from, 7)])).await;
        assert_eq!(taken, HistoryTaken { log: "a".to_owned(), through: 2 });
        // The word of it was lost: the node sends them again, and one more of the same time.
        take(&history, "edge-1", report("a", &[(1, from - 300, 5), (2, from, 7), (3, from, 1)])).await;
        // The node lost its log, and begins another one.
        take(&history, "edge-1", report("b", &[(1, from, 10)])).await;
        // Too old to be kept, but it counts.
        take(&history, "edge-1", report("b", &[(2, 300, 100)])).await;
        take(&history, "edge-2", report("c", &[(1, from, 1)])).await;
        let (buckets, taken) = history.read("edge-1", 0).await.unwrap();
        let found: Vec<_> = buckets.iter().map(|bucket| (bucket.from, bucket.sums.requests, bucket.sites["shop"].requests)).collect();
        assert_eq!(found, [(from - 300, 5, 5), (from, 18, 18)]);
        assert_eq!((taken.total.requests, taken.dropped, taken.dropped_requests), (123, 2, 9));
        assert_eq!(history.read("edge-1", from).await.unwrap().0.len(), 1);
        let forgetting = history.forget("edge-1").await.unwrap();
        store.transact(&Transaction { then: forgetting.changes.clone(), ..Transaction::default() }).unwrap();
        drop(forgetting);
        assert_eq!(history.read("edge-1", 0).await.unwrap(), (Vec::new(), Taken::default()));
        assert_eq!(history.read("edge-2", 0).await.unwrap().0.len(), 1);
        // A report that was on its way when its node was removed.
        let (taken, word) = tokio::sync::oneshot::channel();
        let taken = Box::new(|through| taken.send(through).unwrap());
        history.write(vec![Told { node: "edge-1".to_owned(), report: report("b", &[(3, from, 1)]), taken }], |_| false).await;
        assert!(word.await.is_err());
        assert_eq!(history.read("edge-1", 0).await.unwrap(), (Vec::new(), Taken::default()));
    }
}
