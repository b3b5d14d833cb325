//! The prefixes whose round trips wait to be reported, in the order in which they were first measured.
//!
//! Pure: reads no clock. Times are since the process began.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ipnet::IpNet;
use skerry_agent::PrefixTimes;
use skerry_transport::client::RoundTrip;

use super::Dropped;

/// Prefixes that wait. With 24 bytes of sums each, twice the 18 of its name, and the room that a hash table leaves empty, that is less than 3 MiB.
pub(super) const PREFIXES_MAX: usize = 16_384;

/// Prefixes that are left when there was no room: making room costs a look at all, so that it is made for many.
const ROOMY: usize = PREFIXES_MAX / 4 * 3;

/// How much a prefix counts in a report at most. Further measurements move its mean as if it had this many.
pub(super) const COUNT_MAX: u32 = 1_024;

/// The lengths that prefixes are widened to, in turn.
const V4_LENGTHS: [u8; 2] = [20, 16];
const V6_LENGTHS: [u8; 2] = [40, 32];

/// See the module.
#[derive(Default)]
pub(super) struct Table {
    sums: HashMap<IpNet, Sums>,
    /// The prefixes of `sums`, the one that was measured first at the front.
    queue: VecDeque<IpNet>,
    dropped: u64,
}

/// What was measured of a prefix.
#[derive(Clone, Copy, Debug)]
struct Sums {
    /// When it was first measured, in milliseconds. What is older than its time is dropped by this.
    first: u64,
    /// When it was measured, the mean of that, in milliseconds after `first`.
    after: f32,
    /// The mean of the smoothed round trips, in microseconds.
    smoothed: f32,
    /// In microseconds.
    least: u32,
    count: u32,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Measurements that are in no report.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a measurement in.
    pub(super) fn note(&mut self, prefix: IpNet, times: RoundTrip, at: Duration) -> Dropped {
        let mut dropped = Dropped::default();
        if let Some(sums) = self.sums.get_mut(&prefix) {
            sums.add(&Sums::of(times, at));
            return dropped;
        }
        if self.sums.len() >= PREFIXES_MAX {
            dropped.room = self.make_room();
        }
        self.sums.insert(prefix, Sums::of(times, at));
        self.queue.push_back(prefix);
        dropped
    }

    /// Takes out those that have waited longest.
    pub(super) fn take(&mut self, most: usize, now: Duration) -> Vec<PrefixTimes> {
        let due = self.queue.drain(..most.min(self.queue.len()));
        due.filter_map(|prefix| self.sums.remove(&prefix).map(|sums| sums.of_prefix(prefix, now))).collect()
    }

    /// Drops what was first measured longer than `keep` ago.
    pub(super) fn forget(&mut self, now: Duration, keep: Duration) -> Dropped {
        let mut old = 0;
        while let Some(prefix) = self.queue.front()
            && self.sums.get(prefix).is_none_or(|sums| now.saturating_sub(sums.first()) > keep)
        {
            old += self.drop_front();
        }
        Dropped { old, room: 0 }
    }

    fn drop_front(&mut self) -> u64 {
        let sums = self.queue.pop_front().and_then(|prefix| self.sums.remove(&prefix));
        let count = sums.map_or(0, |sums| u64::from(sums.count));
        self.dropped += count;
        count
    }

    /// Widens prefixes, those of the fewest measurements first, and where that is not enough drops those that have waited longest. Tells how many
    /// measurements were dropped.
    fn make_room(&mut self) -> u64 {
        for step in 0..V4_LENGTHS.len() {
            self.widen(step);
            if self.sums.len() <= ROOMY {
                return 0;
            }
        }
        let mut dropped = 0;
        while self.sums.len() > ROOMY {
            dropped += self.drop_front();
        }
        dropped
    }

    /// Widens the thinner half of the prefixes that are longer than the `step`th length.
    fn widen(&mut self, step: usize) {
        let mut counts: Vec<u32> = self.sums.values().map(|sums| sums.count).collect();
        let middle = counts.len() / 2;
        let (_, &mut thin, _) = counts.select_nth_unstable(middle);
        let mut thinner = middle + 1;
        let queue = std::mem::take(&mut self.queue);
        for prefix in queue {
            let Some(sums) = self.sums.get(&prefix) else { continue };
            let wider = if sums.count <= thin && thinner > 0 { wider(prefix, step) } else { None };
            let Some(wider) = wider else {
                self.queue.push_back(prefix);
                continue;
            };
            thinner -= 1;
            let Some(sums) = self.sums.remove(&prefix) else { continue };
            match self.sums.get_mut(&wider) {
                Some(there) => there.add(&sums),
                None => {
                    self.sums.insert(wider, sums);
                    self.queue.push_back(wider);
                }
            }
        }
        // One that was there already may have been given what is older than it.
        let sums = &self.sums;
        self.queue.make_contiguous().sort_by_key(|prefix| sums.get(prefix).map_or(0, |sums| sums.first));
    }
}

fn wider(prefix: IpNet, step: usize) -> Option<IpNet> {
    let length = match prefix {
        IpNet::V4(_) => V4_LENGTHS[step],
        IpNet::V6(_) => V6_LENGTHS[step],
    };
    (prefix.prefix_len() > length).then(|| IpNet::new(prefix.addr(), length).ok().map(|wider| wider.trunc()))?
}

impl Sums {
    fn of(times: RoundTrip, at: Duration) -> Self {
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let first = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        #[expect(clippy::cast_precision_loss, reason = "a round trip need not be known to more than 24 bits")]
        let smoothed = micros(times.smoothed) as f32;
        Self { first, after: 0.0, smoothed, least: micros(times.least), count: 1 }
    }

    fn first(&self) -> Duration {
        Duration::from_millis(self.first)
    }

    /// Merges others of the same prefix, or of one within it.
    fn add(&mut self, other: &Self) {
        let first = self.first.min(other.first);
        // Both are at most as far apart as measurements are kept.
        #[expect(clippy::cast_precision_loss, reason = "a day has 27 bits of milliseconds")]
        let after = |sums: &Self| (sums.first - first) as f32 + sums.after;
        let count = self.count + other.count;
        #[expect(clippy::cast_precision_loss, reason = "both counts are small")]
        let weight = other.count as f32 / count as f32;
        let (mine, others) = (after(self), after(other));
        self.after = (mine + (others - mine) * weight).max(0.0);
        self.smoothed += (other.smoothed - self.smoothed) * weight;
        self.least = self.least.min(other.least);
        self.count = count.min(COUNT_MAX);
        self.first = first;
    }

    fn of_prefix(&self, prefix: IpNet, now: Duration) -> PrefixTimes {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of whole numbers")]
        let smoothed = self.smoothed.round() as u64;
        PrefixTimes {
            prefix,
            count: self.count,
            smoothed: Duration::from_micros(smoothed),
            least: Duration::from_micros(self.least.into()),
            age: now.saturating_sub(self.first() + Duration::from_secs_f32(self.after / 1e3)),
        }
    }
}
