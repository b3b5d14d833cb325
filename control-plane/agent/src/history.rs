//! What the node did, in buckets of five minutes, kept on disk until the control plane has it: `history.json` and `history-closed.json` in the data
//! directory.
//!
//! Every bucket has a number of its own within a log of its own, and is sent only when it is closed and on disk, so that it is taken once whatever is
//! lost on the way. One lock covers the buckets, another one lets only one writer at the files.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::wire::{self, HISTORY_SITES_MAX, HistoryEntry, HistorySite, HistorySums};
use crate::{Load, SiteFigures, disk};

const OPEN: &str = "history.json";
const CLOSED: &str = "history-closed.json";

/// The length of a bucket, in seconds.
pub const BUCKET_SECONDS: u64 = 300;

/// How often what was counted is brought to disk: so much is lost at a crash.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Closed buckets that wait to be taken, three days of them; beyond, the oldest is dropped and counted.
const CLOSED_MAX: usize = 864;

/// Sites of an open bucket that are brought to disk, the busiest; more than a closed one has, as another may become busier.
const OPEN_SITES_MAX: usize = 64;

/// Counts of one node or one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    requests: u64,
    hits: u64,
    errors: u64,
    bytes: u64,
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    seq: u64,
    /// Its first second since 1970.
    from: u64,
    sums: Sums,
    sites: BTreeMap<String, Sums>,
}

/// As the files have it.
#[derive(Debug, Serialize, Deserialize)]
struct OpenFile {
    log: String,
    open: Bucket,
    dropped: u64,
    dropped_requests: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClosedFile {
    log: String,
    closed: VecDeque<Bucket>,
}

/// What is to be brought to disk.
#[derive(Debug)]
struct Changed {
    open: OpenFile,
    /// `None` where the file has them.
    closed: Option<ClosedFile>,
    /// The change that this is after.
    changes: (u64, u64),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    data: PathBuf,
    inner: Mutex<Inner>,
    /// The change that the files have.
    written: Mutex<(u64, u64)>,
    /// Buckets were closed and are on disk.
    pub(crate) stored: Notify,
}

#[derive(Debug)]
struct Inner {
    log: String,
    open: Bucket,
    closed: VecDeque<Bucket>,
    dropped: u64,
    dropped_requests: u64,
    /// What the process had counted when it was last looked at.
    counted: (Sums, HashMap<String, Sums>),
    /// The last closed bucket that is on disk.
    stored_through: u64,
    /// Count the changes of the open bucket and of the closed ones.
    changes: (u64, u64),
}

impl History {
    /// Reads what is kept. Damaged files are set aside and count as none. Where the number of the next bucket is lost with them, another log begins: the control
    /// plane would take what has a number twice for what it has taken already.
    pub(crate) fn load(data: &Path) -> Result<Self, String> {
        let open: Option<OpenFile> = read(&data.join(OPEN))?;
        let closed: Option<ClosedFile> = read(&data.join(CLOSED))?;
        let log = match (&open, &closed) {
            (Some(open), _) => open.log.clone(),
            // The last closed one is that before the one that is lost.
            (None, Some(closed)) if !closed.closed.is_empty() => closed.log.clone(),
            (None, Some(closed)) => {
                let log = new_log()?;
                tracing::warn!(
                    before = closed.log,
                    log,
                    "the number of the node's next bucket of history is lost; its history goes on in another log"
                );
                log
            }
            (None, None) => new_log()?,
        };
        let closed = closed.filter(|closed| closed.log == log).map(|closed| closed.closed).unwrap_or_default();
        let through = closed.back().map_or(0, |bucket| bucket.seq);
        let (mut bucket, dropped, dropped_requests) =
            open.map_or((Bucket::default(), 0, 0), |open| (open.open, open.dropped, open.dropped_requests));
        if bucket.seq <= through {
            // It was being closed, or is not there.
            bucket = Bucket { seq: through + 1, ..Bucket::default() };
        }
        let inner = Inner {
            log,
            open: bucket,
            closed,
            dropped,
            dropped_requests,
            counted: Default::default(),
            stored_through: through,
            changes: (0, 0),
        };
        Ok(Self { data: data.to_owned(), inner: Mutex::new(inner), written: Mutex::default(), stored: Notify::new() })
    }

    /// Adds what was counted since the last look: `load` and `sites` since the process began, at second `now` since 1970. A bucket whose time is over
    /// is closed; with `close` the present one is.
    pub(crate) fn count(&self, now: u64, load: &Load, sites: Vec<(String, SiteFigures)>, close: bool) {
        let mut inner = self.inner.lock();
        let total = Sums { requests: load.requests, hits: load.hits, errors: load.errors, bytes: load.bytes };
        let sites = sites.into_iter().map(|(name, figures)| (name, Sums::of(&figures)));
        inner.add(now, total, sites);
        // Streams that begin again and again must not push out what waits.
        let close = close && inner.closed.len() < CLOSED_MAX / 2;
        if !inner.open.is_empty() && (close || inner.open.from != bucket_of(now)) {
            inner.close();
        }
    }

    /// Brings everything to disk that has changed. Blocks.
    pub(crate) fn store(&self) -> Result<(), String> {
        let mut written = self.written.lock();
        let changed = self.inner.lock().changed(*written);
        let changes = changed.changes;
        self.bring(changed, *written)?;
        *written = changes;
        Ok(())
    }

    /// Brings to disk what has changed since the change `written`.
    fn bring(&self, changed: Changed, written: (u64, u64)) -> Result<(), String> {
        let Changed { open, closed, changes } = changed;
        if let Some(closed) = closed {
            let (log, through) = (closed.log.clone(), closed.closed.back().map(|bucket| bucket.seq));
            write(&self.data.join(CLOSED), &closed)?;
            // Before one of them is sent the open one on disk must be another.
            write(&self.data.join(OPEN), &open)?;
            if let Some(through) = through {
                let mut inner = self.inner.lock();
                // Another log that began meanwhile has nothing on disk.
                if inner.log == log {
                    inner.stored_through = through;
                }
            }
            self.stored.notify_one();
        } else if changes.0 != written.0 {
            write(&self.data.join(OPEN), &open)?;
        }
        Ok(())
    }

    /// The next buckets to be sent, the oldest first; `None` when there is none.
    pub(crate) fn next(&self) -> Option<wire::History> {
        let inner = self.inner.lock();
        let stored = inner.closed.iter().filter(|bucket| bucket.seq <= inner.stored_through);
        let entries: Vec<_> = stored.take(wire::HISTORY_PER_REPORT_MAX).map(Bucket::entry).collect();
        (!entries.is_empty()).then(|| wire::History {
            log: inner.log.clone(),
            entries,
            dropped: inner.dropped,
            dropped_requests: inner.dropped_requests,
        })
    }

    /// The control plane has the buckets up to `through`. A number that this log has not come to means that it fell back, as when the data directory was damaged or
    /// put back to an earlier state: another log begins, and what waits counts as taken, because nobody knows whether it was.
    pub(crate) fn taken(&self, taken: &wire::HistoryTaken) {
        let mut inner = self.inner.lock();
        if inner.log != taken.log {
            return;
        }
        if taken.through >= inner.open.seq {
            return inner.begin_anew(taken.through);
        }
        let before = inner.closed.len();
        // What is not on disk was not sent.
        let through = taken.through.min(inner.stored_through);
        inner.closed.retain(|bucket| bucket.seq > through);
        if inner.closed.len() != before {
            inner.changes.1 += 1;
        }
    }
}

impl Inner {
    fn add(&mut self, now: u64, total: Sums, sites: impl Iterator<Item = (String, Sums)>) {
        let (before, known) = &mut self.counted;
        let more = total.since(before);
        *before = total;
        if self.open.is_empty() {
            self.open.from = bucket_of(now);
        }
        if more != Sums::default() {
            self.changes.0 += 1;
            self.open.sums.add(&more);
        }
        for (name, sums) in sites {
            let before = known.entry(name.clone()).or_default();
            let more = sums.since(before);
            *before = sums;
            if more != Sums::default() {
                self.open.sites.entry(name).or_default().add(&more);
            }
        }
    }

    /// What has changed since the change `written`.
    fn changed(&self, written: (u64, u64)) -> Changed {
        let closed = (self.changes.1 != written.1).then(|| ClosedFile { log: self.log.clone(), closed: self.closed.clone() });
        let mut open = self.open.clone();
        open.keep_busiest(OPEN_SITES_MAX);
        let open = OpenFile { log: self.log.clone(), open, dropped: self.dropped, dropped_requests: self.dropped_requests };
        Changed { open, closed, changes: self.changes }
    }

    fn close(&mut self) {
        let next = Bucket { seq: self.open.seq + 1, ..Bucket::default() };
        let mut closed = std::mem::replace(&mut self.open, next);
        closed.keep_busiest(HISTORY_SITES_MAX);
        self.closed.push_back(closed);
        while self.closed.len() > CLOSED_MAX
            && let Some(oldest) = self.closed.pop_front()
        {
            self.dropped += 1;
            self.dropped_requests += oldest.sums.requests;
        }
        self.changes.0 += 1;
        self.changes.1 += 1;
    }
}

impl Inner {
    /// Goes on in another log.
    fn begin_anew(&mut self, taken: u64) {
        let log = match new_log() {
            Ok(log) => log,
            Err(why) => return tracing::error!(why, "the numbers of the node's history fell back, and another log cannot begin"),
        };
        tracing::warn!(
            before = self.log,
            log,
            taken,
            next = self.open.seq,
            waiting = self.closed.len(),
            "the control plane has taken buckets of the node's history that the node does not know; it goes on in another log"
        );
        self.log = log;
        self.open.seq = 1;
        self.closed.clear();
        (self.dropped, self.dropped_requests, self.stored_through) = (0, 0, 0);
        self.changes = (self.changes.0 + 1, self.changes.1 + 1);
    }
}

impl Bucket {
    fn is_empty(&self) -> bool {
        self.sums == Sums::default()
    }

    fn keep_busiest(&mut self, sites_max: usize) {
        if self.sites.len() > sites_max {
            let mut busiest: Vec<_> = std::mem::take(&mut self.sites).into_iter().collect();
            busiest.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.requests));
            busiest.truncate(sites_max);
            self.sites = busiest.into_iter().collect();
        }
    }

    fn entry(&self) -> HistoryEntry {
        let sites = self.sites.iter().map(|(site, sums)| HistorySite { site: site.clone(), sums: Some(sums.wire()) });
        HistoryEntry { seq: self.seq, from: self.from, sums: Some(self.sums.wire()), sites: sites.collect() }
    }
}

impl Sums {
    fn of(figures: &SiteFigures) -> Self {
        Self { requests: figures.requests(), hits: figures.hits, errors: figures.errors, bytes: figures.bytes }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            hits: self.hits.saturating_sub(before.hits),
            errors: self.errors.saturating_sub(before.errors),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }

    fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.hits += more.hits;
        self.errors += more.errors;
        self.bytes += more.bytes;
    }

    fn wire(&self) -> HistorySums {
        let Self { requests, hits, errors, bytes } = *self;
        HistorySums { requests, hits, errors, bytes }
    }
}

/// The first second of the bucket that a second is in.
fn bucket_of(second: u64) -> u64 {
    second - second % BUCKET_SECONDS
}

fn new_log() -> Result<String, String> {
    let mut name = [0; 8];
    SystemRandom::new().fill(&mut name).map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(name.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, String> {
    let json = disk::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(json.and_then(|json| match serde_json::from_slice(&json) {
        Ok(read) => Some(read),
        Err(error) => {
            disk::set_aside(path, &error.to_string());
            None
        }
    }))
}

fn write(path: &Path, content: &impl Serialize) -> Result<(), String> {
    let json = serde_json::to_vec(content).map_err(|error| error.to_string())?;
    disk::write(path, &json, 0o600).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests;
