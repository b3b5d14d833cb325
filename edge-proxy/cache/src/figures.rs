//! What the cache counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::answer::Forwarded;
use crate::cacheable::Refusal;
use crate::disk::DiskFigures;

/// The figures of one cache at one moment. Counters rise only; gauges say what is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Answers from the store, stale ones among them.
    pub hits: u64,
    /// Of these, stale ones.
    pub stale_hits: u64,
    /// Answers for which upstream was asked, by reason.
    pub forwarded: Vec<(Forwarded, u64)>,
    /// Answers that came out of another request's fetch.
    pub collapsed: u64,
    /// Answers stored.
    pub stored: u64,
    /// Stored answers that upstream confirmed with 304.
    pub revalidated: u64,
    /// Answers that may not be stored, by reason.
    pub uncacheable: Vec<(Refusal, u64)>,
    /// Fetches that failed before a head came.
    pub failed: u64,
    /// Bodies that ended early.
    pub cut: u64,
    /// Bodies that a second fetch completed after the first one ended early.
    pub resumed: u64,
    /// Large bodies of which only what readers want is fetched, in slices.
    pub sliced: u64,
    /// Bodies made whole of stored parts and fetched ones.
    pub completed: u64,
    /// Waits for another request's head that took too long.
    pub waits_given_up: u64,
    /// Bodies that grew too large to be stored, or came while too many grew.
    pub windows: u64,
    /// Lookups that a hard purge turned into a miss.
    pub purged: u64,
    /// Answers with more tags than are told apart.
    pub tags_overflowed: u64,
    /// Entries evicted for want of room.
    pub evictions: u64,
    /// Gauge: entries.
    pub entries: u64,
    /// Gauge: their weight in bytes.
    pub bytes: u64,
    /// Gauge: bytes of bodies that are being fetched.
    pub filling_bytes: u64,
    /// Gauge: fetches that others can join.
    pub flights: u64,
    /// Gauge: keys remembered as uncacheable.
    pub remembered: u64,
    /// Those of the disk tier, where there is one.
    pub disk: Option<DiskFigures>,
}

/// The counters behind [`Figures`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) stale_hits: Counter,
    pub(crate) forwarded: [Counter; Forwarded::ALL.len()],
    pub(crate) collapsed: Counter,
    pub(crate) stored: Counter,
    pub(crate) revalidated: Counter,
    pub(crate) uncacheable: [Counter; Refusal::ALL.len()],
    pub(crate) failed: Counter,
    pub(crate) cut: Counter,
    pub(crate) resumed: Counter,
    pub(crate) sliced: Counter,
    pub(crate) completed: Counter,
    pub(crate) waits_given_up: Counter,
    pub(crate) windows: Counter,
    pub(crate) purged: Counter,
    pub(crate) tags_overflowed: Counter,
}

impl Counters {
    /// The counters; gauges are left 0.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            hits: self.hits.get(),
            stale_hits: self.stale_hits.get(),
            forwarded: Forwarded::ALL.iter().map(|&reason| (reason, self.forwarded[reason.index()].get())).collect(),
            collapsed: self.collapsed.get(),
            stored: self.stored.get(),
            revalidated: self.revalidated.get(),
            uncacheable: Refusal::ALL.iter().map(|&reason| (reason, self.uncacheable[reason.index()].get())).collect(),
            failed: self.failed.get(),
            cut: self.cut.get(),
            resumed: self.resumed.get(),
            sliced: self.sliced.get(),
            completed: self.completed.get(),
            waits_given_up: self.waits_given_up.get(),
            windows: self.windows.get(),
            purged: self.purged.get(),
            tags_overflowed: self.tags_overflowed.get(),
            ..Figures::default()
        }
    }
}

/// A number that rises by one.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
