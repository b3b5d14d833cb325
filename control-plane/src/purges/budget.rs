//! How much each API token may purge: a bucket of entries that fills again with time. Pure: what time it is, is an argument.
//!
//! A bucket that is full again says nothing and is forgotten. The lock covers the buckets.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Buckets at most; there is one for each token that purged lately. A further token is refused until another one's is full again.
const BUCKETS_MAX: usize = 10_000;

/// See the module.
pub(super) struct Budget {
    /// Entries a second.
    rate: f64,
    /// Entries in a full bucket.
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    entries: f64,
    at: Instant,
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries a second, {} at once", self.rate, self.burst)
    }
}

impl Budget {
    /// With so many entries a second over time, and so many at once after a pause.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        Self { rate: f64::from(rate), burst: f64::from(burst), buckets: Mutex::default() }
    }

    /// Takes entries out of a token's bucket; when they are not there, the time until they are, and nothing is taken.
    pub(super) fn take(&self, token: &str, entries: usize, now: Instant) -> Result<(), Duration> {
        let cost = f64::from(u32::try_from(entries).unwrap_or(u32::MAX));
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(token) {
            buckets.retain(|_, bucket| self.filled(bucket, now) < self.burst);
        }
        let known = buckets.get(token).map_or(self.burst, |bucket| self.filled(bucket, now));
        let left = known - cost;
        if left < 0.0 {
            return Err(Duration::from_secs_f64(-left / self.rate));
        }
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(token) {
            return Err(Duration::from_secs_f64(cost / self.rate));
        }
        buckets.insert(token.to_owned(), Bucket { entries: left, at: now });
        Ok(())
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        since.mul_add(self.rate, bucket.entries).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_by_entries_and_filled_by_time() {
        let budget = Budget::new(10, 1_000);
        let start = Instant::now();
        assert_eq!(budget.take("a", 900, start), Ok(()));
        assert_eq!(budget.take("a", 200, start), Err(Duration::from_secs(10)));
        assert_eq!(budget.take("b", 1_000, start), Ok(()), "tokens do not share");
        assert_eq!(budget.take("a", 100, start), Ok(()), "what was refused cost nothing");
        assert_eq!(budget.take("a", 100, start + Duration::from_secs(9)), Err(Duration::from_secs(1)));
        assert_eq!(budget.take("a", 100, start + Duration::from_secs(10)), Ok(()));
        let later = start + Duration::from_secs(86_400);
        assert_eq!(budget.take("a", 1_000, later), Ok(()));
        assert_eq!(budget.take("a", 1, later), Err(Duration::from_millis(100)), "no more than a burst is saved up");
    }

    #[test]
    fn buckets_that_are_full_again_make_place() {
        let budget = Budget::new(1, 1_000);
        let start = Instant::now();
        for number in 0..BUCKETS_MAX {
            assert_eq!(budget.take(&number.to_string(), 2, start), Ok(()));
        }
        assert_eq!(budget.take("one more", 3, start), Err(Duration::from_secs(3)));
        assert_eq!(budget.take("7", 3, start), Ok(()), "who has a bucket keeps it");
        assert_eq!(budget.take("one more", 3, start + Duration::from_secs(2)), Ok(()));
        assert_eq!(budget.buckets.lock().len(), 2);
    }
}
