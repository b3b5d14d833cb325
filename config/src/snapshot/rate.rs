//! Rate limits, ready to be compared with requests.

use crate::glob::Glob;
use crate::site::{RateBy, RateLimit};

/// One rate limit of a site.
#[derive(Debug)]
pub struct Rate {
    /// Its place in `rate_limits`, from 0.
    pub index: usize,
    path: Option<Glob>,
    /// Who is one client.
    pub by: RateBy,
    /// Nanoseconds after which one more request is allowed.
    pub interval: u64,
    /// Nanoseconds by which requests may be ahead of that.
    pub tolerance: u64,
}

impl Rate {
    pub(super) fn new(index: usize, limit: &RateLimit) -> Self {
        // The bounds of both keep these far below the end of the numbers.
        let period = u64::try_from(limit.period.0.as_nanos()).unwrap_or(u64::MAX);
        let interval = (period / u64::from(limit.requests.max(1))).max(1);
        let burst = u64::from(limit.burst.unwrap_or(limit.requests).max(1));
        let path = limit.path.as_deref().map(Glob::new);
        Self { index, path, by: limit.by.clone(), interval, tolerance: interval.saturating_mul(burst) }
    }

    /// Whether requests for a path, as sent and without query, count.
    #[must_use]
    pub fn is_about(&self, path: &str) -> bool {
        self.path.as_ref().is_none_or(|glob| glob.matches(path))
    }
}
