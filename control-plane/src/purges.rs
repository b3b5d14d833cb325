//! Purges: numbered from 1, on disk before they are answered for, sent in order, shields before edges.
//!
//! One thread appends ([`writer`]), so that purges which arrive during one write share the next. What others append to the store's log is
//! followed and sent to nodes as well.

mod acks;
mod budget;
mod lineage;
mod release;
mod targets;
mod writer;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skerry_config::process;
use skerry_config::purge::Targets;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::refusal::Refusal;
use crate::store::{self, Follow, Heard, Store, Subject};

pub(crate) use acks::{Acks, Spread, Standing};
pub(crate) use lineage::Lineage;
pub(crate) use release::release;
pub(crate) use targets::check;

use budget::Budget;
use writer::{Job, Shared, Waiting};

/// Purges waiting to be written; further ones are refused.
const WAITING_MAX: usize = 1024;

/// Who is said to have made the purges of [`Purges::lift`].
const LIFT_AUTHOR: &str = "control-plane";

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
    budget: Budget,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    /// What edges may be sent.
    released: watch::Sender<u64>,
}

impl Purges {
    /// Opens the log and starts its writer, which ends when the log is dropped. `snapshot` is the configuration in force. Blocks.
    pub(crate) fn open(store: Arc<dyn Store>, snapshot: u64, settings: &process::Purges) -> Result<Self, String> {
        let (_, newest) = store.purge_bounds()?;
        let lineage = Lineage::begin(&store, newest, snapshot)?;
        let shared = Arc::new(Shared::new(newest, settings.keep.into()));
        let (jobs, queue) = mpsc::channel(WAITING_MAX);
        let writer = (Arc::clone(&store), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("purge log".to_owned())
            .spawn(move || writer::run(queue, &*writer.0, &writer.1))
            .map_err(|error| format!("cannot start the writer of the purge log: {error}"))?;
        let budget = Budget::new(settings.rate, settings.burst);
        Ok(Self { lineage, store, budget, jobs, shared, released: watch::Sender::new(newest) })
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

    /// Appends checked targets; their number, once they are on disk. `author` is the name of the token, which may purge so much and no more.
    pub(crate) async fn append(&self, targets: Targets, author: &str) -> Result<u64, Refusal> {
        let entries = targets.entries();
        self.budget.take(author, entries, Instant::now()).map_err(|again_in| {
            let says = format!("{entries} entries are more than token {author:?} may purge now ({}); try again later", self.budget);
            Refusal::Limited { says, again_in }
        })?;
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
        self.jobs.try_send(Job::Append(Waiting { above, stored, entry, done })).map_err(full)?;
        match answer.await {
            Ok(Ok(seq)) => Ok(seq),
            Ok(Err(why)) => Err(Refusal::Broken(why)),
            Err(_) => Err(Refusal::Broken("the purge log is closed".to_owned())),
        }
    }

    /// The numbers of the oldest and the newest purge in the log; `(1, 0)` when there never was one.
    pub(crate) async fn bounds(&self) -> Result<(u64, u64), String> {
        store::blocking(&self.store, |store| store.purge_bounds()).await
    }

    /// What comes after `after`, up to `through`, at most `limit` and at most about `bytes` of it.
    pub(crate) async fn next(&self, after: u64, through: u64, limit: usize, bytes: usize) -> Result<Next, String> {
        let found = match self.shared.after(after, limit) {
            Some(found) => found,
            None => {
                let read = store::blocking(&self.store, move |store| store.purges(after, limit)).await?;
                read.into_iter().map(|(seq, value)| parse(seq, &value).map(Arc::new)).collect::<Result<_, _>>()?
            }
        };
        let (mut size, mut last) = (0, after);
        let mut next = Vec::new();
        for entry in found.into_iter().take_while(|entry| entry.seq <= through) {
            // The log has gaps where it was lifted.
            if entry.seq != last + 1 {
                break;
            }
            size += entry.targets.len();
            if !next.is_empty() && size > bytes {
                break;
            }
            last = entry.seq;
            next.push(entry);
        }
        // Nothing although there should be something: what was there has been cut away, or never was.
        if next.is_empty() && after < through { Ok(Next::Cut) } else { Ok(Next::Entries(next)) }
    }

    /// One purge, while the log has it.
    pub(crate) async fn get(&self, seq: u64) -> Result<Arc<Entry>, Refusal> {
        let head = self.head();
        let gone = || match seq <= head && seq > 0 {
            true => Refusal::Missing(format!("purge {seq} is no longer in the log, which keeps the last {}", self.shared.keep)),
            false => Refusal::Missing(format!("there is no purge {seq}; the newest is {head}")),
        };
        let after = seq.checked_sub(1).ok_or_else(gone)?;
        match self.next(after, seq, 1, usize::MAX).await.map_err(Refusal::Broken)? {
            Next::Entries(entries) => entries.into_iter().next().ok_or_else(gone),
            Next::Cut => Err(gone()),
        }
    }

    /// The store's log goes up to `seq`.
    async fn heard(&self, seq: u64) {
        if seq > self.head() {
            // An error means that the log is closed.
            let _ = self.jobs.send(Job::Heard(seq)).await;
        }
    }

    /// How long each purge in `(after, through]` that was accepted by this process has been on its way, at most `limit` of them.
    pub(crate) fn ages(&self, after: u64, through: u64, limit: usize) -> Vec<std::time::Duration> {
        let entries = self.shared.after(after, limit).unwrap_or_default();
        entries.iter().take_while(|entry| entry.seq <= through).filter_map(|entry| Some(entry.accepted?.elapsed())).collect()
    }
}

/// Follows what is appended to the store's log by others than this process, until `stop` says so.
pub(crate) async fn follow(purges: Arc<Purges>, stop: watch::Receiver<bool>) {
    let followed = async {
        let mut log = Follow::new(&purges.store, Subject::Purges);
        while let Some(heard) = log.next().await? {
            let newest = match heard {
                Heard::ReadAnew => purges.bounds().await?.1,
                Heard::Step(step) => step.purges.unwrap_or(0),
            };
            purges.heard(newest).await;
        }
        Ok::<_, String>(())
    };
    tokio::select! {
        () = skerry_agent::stopped(stop) => {}
        ended = followed => ended.unwrap_or_else(|why| tracing::error!(why, "purges that others append are not seen any more")),
    }
}

fn parse(seq: u64, value: &[u8]) -> Result<Entry, String> {
    let wrong = |error: serde_json::Error| format!("the store holds something else than purge {seq}: {error}");
    let stored: Stored = serde_json::from_slice(value).map_err(wrong)?;
    let targets = serde_json::to_vec(&stored.targets).map_err(wrong)?.into();
    Ok(Entry { seq, targets, at: stored.at, author: stored.author, accepted: None })
}
