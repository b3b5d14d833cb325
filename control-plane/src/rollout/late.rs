//! How long a stage has been waited for. Reads no clock.

use std::time::{Duration, Instant};

/// For how long nodes of a stage have not put in force what rolls out.
#[derive(Default)]
pub(super) struct Lateness {
    /// The number of what they wait for, and since when.
    since: Option<(u64, Instant)>,
}

impl Lateness {
    /// They wait for this number, at `now`: for how long by then. Another number begins another time.
    pub(super) fn of(&mut self, snapshot: u64, now: Instant) -> Duration {
        let since = self.since.filter(|(known, _)| *known == snapshot).map_or(now, |(_, since)| since);
        self.since = Some((snapshot, since));
        now.saturating_duration_since(since)
    }

    /// Nobody waits: nobody is late.
    pub(super) fn end(&mut self) -> bool {
        self.since = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_late_from_when_it_began_to_wait_for_this_number() {
        let (mut lateness, start) = (Lateness::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // However old the stage is.
        assert_eq!(lateness.of(5, at(300)), Duration::ZERO);
        assert_eq!(lateness.of(5, at(359)), Duration::from_secs(59));
        assert_eq!(lateness.of(6, at(360)), Duration::ZERO, "another number");
        assert_eq!(lateness.of(6, at(420)), Duration::from_secs(60));
        assert!(!lateness.end());
        assert_eq!(lateness.of(6, at(421)), Duration::ZERO, "it had it in between");
    }
}
