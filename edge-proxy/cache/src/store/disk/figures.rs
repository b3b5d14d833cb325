//! What the disk tier counts about itself.

use super::Disk;

/// What a disk tier does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It finds out what it holds, and takes what is stored meanwhile.
    #[default]
    Opening,
    /// It reads and writes.
    Serving,
    /// Its device failed; memory goes on alone until a restart.
    Out,
    /// It was closed in order.
    Closed,
}

impl State {
    /// All states, each at the place of its number.
    pub const ALL: [Self; 4] = [Self::Opening, Self::Serving, Self::Out, Self::Closed];

    pub(super) fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Out)
    }

    /// The state as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Serving => "serving",
            Self::Out => "out",
            Self::Closed => "closed",
        }
    }
}

/// The figures of a disk tier. Counters rise only; gauges say what is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Gauge: what it does.
    pub state: State,
    /// Lookups that it answered.
    pub hits: u64,
    /// Lookups that it was asked for in vain.
    pub misses: u64,
    /// Records written.
    pub written: u64,
    /// Records dropped because too many waited, or the device took none.
    pub dropped: u64,
    /// Answers not written because nobody had asked for them twice.
    pub skipped: u64,
    /// Records that were damaged.
    pub damaged: u64,
    /// Slices that were gone when they were needed.
    pub lost: u64,
    /// Of these, slices that were fetched again.
    pub mended: u64,
    /// Slices that were fetched when they were asked for, of bodies whose head was stored first.
    pub fetched: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Records that left to make room.
    pub evicted: u64,
    /// Bytes written to the device.
    pub written_bytes: u64,
    /// Bytes read from it.
    pub read_bytes: u64,
    /// Microseconds that reads took, waits among them.
    pub read_micros: u64,
    /// Microseconds that writes took.
    pub write_micros: u64,
    /// Gauge: records on disk, those among them that later ones displaced; counted over restarts, and after a crash without its last seconds.
    pub entries: u64,
    /// Gauge: bytes they take.
    pub bytes: u64,
    /// Gauge: bytes that wait to be written.
    pub waiting_bytes: u64,
    /// Gauge: seconds since what left last had been written.
    pub eviction_age_seconds: u64,
    /// Gauge: how much of the disk was looked through since the start, in thousandths; all of it once it is open.
    pub recovered_permille: u64,
    /// Gauge: milliseconds that opening took; 0 while it is opening.
    pub opened_in_ms: u64,
}

impl Disk {
    pub(crate) fn figures(&self) -> DiskFigures {
        let counts = self.queue.log().map(|log| log.counts()).unwrap_or_default();
        DiskFigures {
            state: self.state(),
            hits: self.hits.get(),
            misses: self.misses.get(),
            written: self.queue.written.get(),
            dropped: self.queue.dropped.get(),
            skipped: self.skipped.get(),
            damaged: self.damaged.get(),
            lost: self.lost.get(),
            mended: self.mended.get(),
            fetched: self.fetched.get(),
            read_errors: self.read_errors.get(),
            evicted: counts.evicted,
            written_bytes: counts.written_bytes,
            read_bytes: counts.read_bytes,
            read_micros: self.read_micros.load(std::sync::atomic::Ordering::Relaxed),
            write_micros: self.queue.write_micros(),
            entries: counts.entries,
            bytes: counts.bytes,
            waiting_bytes: self.queue.bytes(),
            eviction_age_seconds: counts.eviction_age_seconds,
            recovered_permille: self.progress.get(),
            opened_in_ms: self.opened_in_ms.load(std::sync::atomic::Ordering::Relaxed),
        }
    }
}
