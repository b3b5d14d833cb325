//! Purges: numbered from 1, on disk before they are answered for, sent in order, shields before edges.
//!
//! One thread appends, so that purges which arrive during one write share the next. The lock covers the tail of the log that is
//! kept in memory. Who has confirmed what is `health`'s.

mod lineage;
mod release;
mod targets;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skerry_config::purge::Targets;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::refusal::Refusal;
use crate::store::{self, Store};

pub(crate) use lineage::Lineage;
pub(crate) use release::release;
pub(crate) use targets::check;

/// Purges kept in the log; a node that is further back drops everything.
pub(crate) const LOG_MAX: u64 = 100_000;

/// Purges waiting to be written; further ones are refused.
const WAITING_MAX: usize = 1024;

/// Purges written at once.
const AT_ONCE_MAX: usize = 512;

/// Who is said to have made the purges of [`Purges::lift`].
const LIFT_AUTHOR: &str = "control-plane";

/// Bytes of purges kept in memory for connected nodes; older ones are read from the store.
const TAIL_BYTES_MAX: usize = 16 << 20;

/// A purge in the log.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) seq: u64,
    /// What is purged, in the JSON of the API.
    pub(crate) targets: Bytes,
    /// When it was accepted, RFC 3339.
    pub(crate) at: String,
    /// The name of the token.
    pub(crate) author: String,
    /// When it was accepted, if that was in this process.
    pub(crate) accepted: Option<Instant>,
}

/// An entry as it lies in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    at: String,
    author: String,
    targets: Targets,
}

struct Waiting {
    /// Its number is to be above this one.
    above: u64,
    stored: Vec<u8>,
    entry: Entry,
    done: oneshot::Sender<Result<u64, String>>,
}

#[derive(Default)]
struct Tail {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// What comes after a place in the log.
pub(crate) enum Next {
    /// These purges.
    Entries(Vec<Arc<Entry>>),
    /// The log does not reach back so far.
    Cut,
}

/// The purge log.
pub(crate) struct Purges {
    /// Which history the numbers are of.
    pub(crate) lineage: Lineage,
    store: Arc<dyn Store>,
    waiting: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
    /// What edges may be sent.
    released: watch::Sender<u64>,
}

struct Shared {
    tail: Mutex<Tail>,
    head: watch::Sender<u64>,
}

impl Purges {
    /// Opens the log and starts its writer, which ends when the log is dropped. `snapshot` is the configuration in force. Blocks.
    pub(crate) fn open(store: Arc<dyn Store>, snapshot: u64) -> Result<Self, String> {
        let (_, newest) = store.purge_bounds()?;
        let lineage = Lineage::begin(&store, newest, snapshot)?;
        let shared = Arc::new(Shared { tail: Mutex::default(), head: watch::Sender::new(newest) });
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        let writer = (Arc::clone(&store), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("purge log".to_owned())
            .spawn(move || write(queue, &*writer.0, &writer.1))
            .map_err(|error| format!("cannot start the writer of the purge log: {error}"))?;
        Ok(Self { lineage, store, waiting, shared, released: watch::Sender::new(newest) })
    }

    /// The number of the newest purge.
    pub(crate) fn head(&self) -> u64 {
        *self.shared.head.borrow()
    }

    /// The number of the newest purge, and word of the next ones.
    pub(crate) fn heads(&self) -> watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    /// The number up to which edges may be sent purges, and word of its rise.
    pub(crate) fn releases(&self) -> watch::Receiver<u64> {
        self.released.subscribe()
    }

    /// Appends checked targets; their number, once they are on disk.
    pub(crate) async fn append(&self, targets: Targets, author: &str) -> Result<u64, Refusal> {
        self.append_above(0, targets, author).await
    }

    /// Purges everything under a number above `seq`, that a node has from another history: what it stores carries numbers up to there,
    /// and no purge with a lower one would count against it.
    pub(crate) async fn lift(&self, seq: u64) -> Result<u64, Refusal> {
        self.append_above(seq, Targets { all: true, ..Targets::default() }, LIFT_AUTHOR).await
    }

    async fn append_above(&self, above: u64, targets: Targets, author: &str) -> Result<u64, Refusal> {
        let broken = |error: serde_json::Error| Refusal::Broken(format!("cannot write JSON: {error}"));
        let json = Bytes::from(serde_json::to_vec(&targets).map_err(broken)?);
        let (at, author) = (clock::now(), author.to_owned());
        let stored = serde_json::to_vec(&Stored { at: at.clone(), author: author.clone(), targets }).map_err(broken)?;
        let targets = json;
        let entry = Entry { seq: 0, targets, at, author, accepted: Some(Instant::now()) };
        let (done, answer) = oneshot::channel();
        let full = |_| Refusal::Busy(format!("{WAITING_MAX} purges are waiting to be written already; try again in a moment"));
        self.waiting.try_send(Waiting { above, stored, entry, done }).map_err(full)?;
        match answer.await {
            Ok(Ok(seq)) => Ok(seq),
            Ok(Err(why)) => Err(Refusal::Broken(why)),
            Err(_) => Err(Refusal::Broken("the purge log is closed".to_owned())),
        }
    }

    /// What comes after `after`, up to `through`, at most `limit` and at most about `bytes` of it.
    pub(crate) async fn next(&self, after: u64, through: u64, limit: usize, bytes: usize) -> Result<Next, String> {
        let found = match self.tail_after(after, limit) {
            Some(found) => found,
            None => {
                let read = store::blocking(&self.store, move |store| store.purges(after, limit)).await?;
                read.into_iter().map(|(seq, value)| parse(seq, &value).map(Arc::new)).collect::<Result<_, _>>()?
            }
        };
        let mut size = 0;
        let mut next = Vec::new();
        for entry in found.into_iter().take_while(|entry| entry.seq <= through) {
            if next.is_empty() && entry.seq != after + 1 {
                return Ok(Next::Cut);
            }
            size += entry.targets.len();
            if !next.is_empty() && size > bytes {
                break;
            }
            next.push(entry);
        }
        // Nothing although there should be something: what was there has been cut away.
        if next.is_empty() && after < through { Ok(Next::Cut) } else { Ok(Next::Entries(next)) }
    }

    /// One purge, while the log has it.
    pub(crate) async fn get(&self, seq: u64) -> Result<Arc<Entry>, Refusal> {
        let head = self.head();
        let gone = || match seq <= head && seq > 0 {
            true => Refusal::Missing(format!("purge {seq} is no longer in the log, which keeps the last {LOG_MAX}")),
            false => Refusal::Missing(format!("there is no purge {seq}; the newest is {head}")),
        };
        let after = seq.checked_sub(1).ok_or_else(gone)?;
        match self.next(after, seq, 1, usize::MAX).await.map_err(Refusal::Broken)? {
            Next::Entries(entries) => entries.into_iter().next().ok_or_else(gone),
            Next::Cut => Err(gone()),
        }
    }

    /// How long each purge in `(after, through]` that was accepted by this process has been on its way, at most `limit` of them.
    pub(crate) fn ages(&self, after: u64, through: u64, limit: usize) -> Vec<std::time::Duration> {
        let entries = self.tail_after(after, limit).unwrap_or_default();
        entries.iter().take_while(|entry| entry.seq <= through).filter_map(|entry| Some(entry.accepted?.elapsed())).collect()
    }

    /// Entries after `after` from memory; `None` when it does not reach back so far.
    fn tail_after(&self, after: u64, limit: usize) -> Option<Vec<Arc<Entry>>> {
        let tail = self.shared.tail.lock();
        let first = tail.entries.front()?.seq;
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        Some(tail.entries.iter().skip(skip).take(limit).map(Arc::clone).collect())
    }
}

fn parse(seq: u64, value: &[u8]) -> Result<Entry, String> {
    let wrong = |error: serde_json::Error| format!("the store holds something else than purge {seq}: {error}");
    let stored: Stored = serde_json::from_slice(value).map_err(wrong)?;
    let targets = serde_json::to_vec(&stored.targets).map_err(wrong)?.into();
    Ok(Entry { seq, targets, at: stored.at, author: stored.author, accepted: None })
}

fn write(mut queue: mpsc::Receiver<Waiting>, store: &dyn Store, shared: &Shared) {
    let mut batch = Vec::new();
    while queue.blocking_recv_many(&mut batch, AT_ONCE_MAX) > 0 {
        let values: Vec<_> = batch.iter_mut().map(|waiting| std::mem::take(&mut waiting.stored)).collect();
        let above = batch.iter().map(|waiting| waiting.above).max().unwrap_or(0);
        match store.append_purges(&values, above, LOG_MAX) {
            Ok(first) => {
                let mut seq = first;
                let mut answers = Vec::new();
                let mut tail = shared.tail.lock();
                for Waiting { mut entry, done, .. } in batch.drain(..) {
                    entry.seq = seq;
                    tail.push(entry);
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
}

impl Tail {
    /// Adds an entry and forgets the oldest beyond the bound, but never the newest. Numbers in the tail rise by one: what is before a gap goes.
    fn push(&mut self, entry: Entry) {
        if self.entries.back().is_some_and(|last| last.seq + 1 != entry.seq) {
            *self = Self::default();
        }
        self.bytes += entry.targets.len() + size_of::<Entry>();
        self.entries.push_back(Arc::new(entry));
        while self.bytes > TAIL_BYTES_MAX && self.entries.len() > 1 {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.targets.len() + size_of::<Entry>();
        }
    }
}
