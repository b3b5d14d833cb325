//! What a seed draws: the same numbers for the same seed (SplitMix64), and rests of a drawn length.

use std::ops::Range;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Another one, whose draws do not depend on how many this one makes from here on.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number of a range.
    pub(super) fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// Whether what happens so many times in a hundred happens now.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.of(0..100) < percent
    }

    /// A time in milliseconds.
    pub(super) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.of(range))
    }
}

/// Rests; faults have a length, which is not waiting for anything.
pub(super) async fn rest(length: Duration) {
    let _ = tokio::time::timeout(length, std::future::pending::<()>()).await;
}
