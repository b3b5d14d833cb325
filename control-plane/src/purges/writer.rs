//! The one writer of the purge log, and the log's newest part in memory, which nodes that are connected are sent from.
//!
//! Runs in a thread of its own: it blocks. The lock covers the part in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Entry, parse};
use crate::store::Store;

/// Purges written at once.
const AT_ONCE_MAX: usize = 512;

/// Bytes of purges kept in memory for connected nodes; older ones are read from the store.
const TAIL_BYTES_MAX: usize = 16 << 20;

/// Purges of others that are read at once.
const READ_MAX: usize = 512;

/// What the writer is to do.
pub(super) enum Job {
    /// Append a purge.
    Append(Waiting),
    /// Take what others have appended up to a number.
    Heard(u64),
}

/// A purge that waits to be written.
pub(super) struct Waiting {
    /// Its number is to be above this one.
    pub(super) above: u64,
    pub(super) stored: Vec<u8>,
    pub(super) entry: Entry,
    pub(super) done: oneshot::Sender<Result<u64, String>>,
}

/// What the writer has made known.
pub(super) struct Shared {
    tail: Mutex<Tail>,
    /// Purges kept in the log, and here at most; a node that is further back drops everything.
    pub(super) keep: u64,
    pub(super) head: watch::Sender<u64>,
}

#[derive(Default)]
struct Tail {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// Writes until nobody can ask any more.
pub(super) fn run(mut queue: mpsc::Receiver<Job>, store: &dyn Store, shared: &Shared) {
    let mut jobs = Vec::new();
    let mut batch = Vec::new();
    while queue.blocking_recv_many(&mut jobs, AT_ONCE_MAX) > 0 {
        let mut heard = 0;
        for job in jobs.drain(..) {
            match job {
                Job::Append(waiting) => batch.push(waiting),
                Job::Heard(seq) => heard = heard.max(seq),
            }
        }
        if !batch.is_empty() {
            append(&mut batch, store, shared);
        }
        shared.take(store, heard);
    }
}

fn append(batch: &mut Vec<Waiting>, store: &dyn Store, shared: &Shared) {
    let values: Vec<_> = batch.iter_mut().map(|waiting| std::mem::take(&mut waiting.stored)).collect();
    let above = batch.iter().map(|waiting| waiting.above).max().unwrap_or(0);
    match store.append_purges(&values, above, shared.keep) {
        Ok(first) => {
            shared.take(store, first - 1);
            let mut seq = first;
            let mut answers = Vec::new();
            let mut tail = shared.tail.lock();
            for Waiting { mut entry, done, .. } in batch.drain(..) {
                entry.seq = seq;
                tail.push(entry, shared.keep);
                answers.push((done, seq));
                seq += 1;
            }
            drop(tail);
            shared.head.send_replace(seq - 1);
            answers.into_iter().for_each(|(done, seq)| drop(done.send(Ok(seq))));
        }
        Err(why) => batch.drain(..).for_each(|waiting| drop(waiting.done.send(Err(why.clone())))),
    }
}

impl Shared {
    /// For a log whose newest number is `head`, and that keeps the last purges.
    pub(super) fn new(head: u64, keep: u64) -> Self {
        Self { tail: Mutex::default(), keep, head: watch::Sender::new(head) }
    }

    /// Takes what others have appended up to a number, as far as it can be read.
    fn take(&self, store: &dyn Store, through: u64) {
        let mut at = *self.head.borrow();
        while at < through {
            let read = store.purges(at, READ_MAX).unwrap_or_default();
            let read = read.into_iter().take_while(|(seq, _)| *seq <= through);
            let entries: Vec<_> = read.map_while(|(seq, value)| parse(seq, &value).ok()).collect();
            let Some(last) = entries.last() else { return };
            at = last.seq;
            let mut tail = self.tail.lock();
            entries.into_iter().for_each(|entry| tail.push(entry, self.keep));
            drop(tail);
            self.head.send_replace(at);
        }
    }

    /// Entries after `after` from memory; `None` when it does not reach back so far, or not so far yet.
    pub(super) fn after(&self, after: u64, limit: usize) -> Option<Vec<Arc<Entry>>> {
        let tail = self.tail.lock();
        let (first, last) = (tail.entries.front()?.seq, tail.entries.back()?.seq);
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok().filter(|_| after < last)?;
        Some(tail.entries.iter().skip(skip).take(limit).map(Arc::clone).collect())
    }
}

impl Tail {
    /// Adds an entry and forgets the oldest beyond the bounds, but never the newest. Numbers in the tail rise by one: what is before a gap goes.
    fn push(&mut self, entry: Entry, keep: u64) {
        if self.entries.back().is_some_and(|last| last.seq + 1 != entry.seq) {
            *self = Self::default();
        }
        self.bytes += entry.targets.len() + size_of::<Entry>();
        self.entries.push_back(Arc::new(entry));
        while (self.bytes > TAIL_BYTES_MAX || self.entries.len() as u64 > keep) && self.entries.len() > 1 {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.targets.len() + size_of::<Entry>();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use skerry_config::process;
    use skerry_config::purge::Targets;

    use crate::purges::{Next, Purges, follow};
    use crate::store::{Redb, Store};

    #[tokio::test]
    async fn what_another_one_appends_to_the_same_store_is_sent_too() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Redb::open(&directory.path().join("store")).unwrap());
        let open = || Arc::new(Purges::open(Arc::clone(&store), 1, &process::Purges::default()).unwrap());
        let (here, there) = (open(), open());
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        tokio::spawn(follow(Arc::clone(&here), stopped));
        let tag = |tag: &str| Targets { tags: vec![tag.to_owned()], ..Targets::default() };
        let told = async |through: u64| {
            let mut heads = here.heads();
            tokio::time::timeout(Duration::from_secs(20), heads.wait_for(|head| *head >= through)).await.unwrap().unwrap();
            let Next::Entries(entries) = here.next(0, through, 9, 1 << 20).await.unwrap() else { panic!("cut") };
            entries.iter().map(|entry| (entry.seq, String::from_utf8_lossy(&entry.targets).contains("there"))).collect::<Vec<_>>()
        };
        assert_eq!(there.append(tag("there"), "a").await.unwrap(), 1);
        assert_eq!(told(1).await, [(1, true)]);
        assert_eq!(here.append(tag("here"), "a").await.unwrap(), 2);
        assert_eq!(there.append(tag("there"), "a").await.unwrap(), 3);
        assert_eq!(here.append(tag("here"), "a").await.unwrap(), 4);
        assert_eq!(told(4).await, [(1, true), (2, false), (3, true), (4, false)]);
        store.close();
    }

    #[tokio::test]
    async fn where_the_log_was_lifted_what_comes_before_is_sent_and_then_everything_is_purged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let mut store: Arc<dyn Store> = Arc::new(Redb::open(&path).unwrap());
        let mut purges = Purges::open(Arc::clone(&store), 1, &process::Purges::default()).unwrap();
        for _ in 0..2 {
            purges.append(Targets { all: true, ..Targets::default() }, "a").await.unwrap();
        }
        assert_eq!(purges.lift(1_000).await.unwrap(), 1_001);
        // From memory, and from the store.
        for again in [false, true] {
            if again {
                drop(purges);
                store.close();
                store = Arc::new(Redb::open(&path).unwrap());
                purges = Purges::open(Arc::clone(&store), 1, &process::Purges::default()).unwrap();
            }
            let next = async |after| match purges.next(after, 1_001, 9, 1 << 20).await.unwrap() {
                Next::Entries(entries) => Some(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()),
                Next::Cut => None,
            };
            if again {
                assert_eq!(next(0).await, Some(vec![1, 2]));
            }
            assert_eq!((next(2).await, next(1_000).await), (None, Some(vec![1_001])));
        }
        store.close();
    }
}
