//! A point in time, given by whoever calls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time from this one back to `earlier`; zero when `earlier` is later, as after a clock step.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The time `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Whole seconds since the Unix epoch, as HTTP dates count.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self(u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX))
    }
}
