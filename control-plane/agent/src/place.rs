//! A place in the history of purges, and whether another one has come as far.
//!
//! Numbers alone do not say it: a control plane that was put back to an older copy of its store gives numbers anew that nodes have heard already. So
//! every start of it begins a log with a name of its own, and says how far the ones before are of the same history. Pure: holds nothing of its own.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Earlier logs that are known at most.
pub const EARLIER_MAX: usize = 8;

/// How far a node is in the purges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Which log: the control plane names it anew whenever it starts.
    pub log: String,
    /// The number of the last purge.
    pub seq: u64,
    /// Logs that this one continues, the newest last; at most [`EARLIER_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
}

/// A log that a later one continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// Its name.
    pub log: String,
    /// The last number that is of the history of the later one.
    pub through: u64,
}

impl Place {
    /// The log and those before it, as one node tells them to another: `b, a=5`.
    #[must_use]
    pub fn history(&self) -> String {
        let mut text = self.log.clone();
        for Earlier { log, through } in self.earlier.iter().rev() {
            let _ = write!(text, ", {log}={through}");
        }
        text
    }

    /// Whether every purge is in force here that is so at a node with this number and [`history`](Self::history).
    ///
    /// Both are of one history where one log continues the other, up to the number where the later one began; what either heard beyond that, the other
    /// has never heard of. A node that has heard of no purge asks for nothing.
    #[must_use]
    pub fn has_reached(&self, seq: u64, history: &str) -> bool {
        if seq == 0 {
            return true;
        }
        let mut logs = history.split(", ");
        let log = logs.next().unwrap_or_default();
        let continues = |earlier: &Earlier| earlier.log == log && seq <= earlier.through;
        let is_continued = |earlier: &str| {
            let through = earlier.strip_prefix(&self.log).and_then(|rest| rest.strip_prefix('=')?.parse::<u64>().ok());
            through.is_some_and(|through| self.seq <= through)
        };
        self.seq >= seq
            && !log.is_empty()
            && (self.log == log || self.earlier.iter().any(continues) || logs.take(EARLIER_MAX).any(is_continued))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(log: &str, seq: u64, earlier: &[(&str, u64)]) -> Place {
        let earlier = earlier.iter().map(|&(log, through)| Earlier { log: log.to_owned(), through }).collect();
        Place { log: log.to_owned(), seq, earlier }
    }

    #[test]
    fn a_place_is_reached_by_number_within_one_history_alone() {
        let continued: &[(&str, u64)] = &[("a", 5), ("b", 8)];
        for (here, there, reached) in [
            // One log.
            (place("a", 5, &[]), place("a", 5, &[]), true),
            (place("a", 6, &[]), place("a", 5, &[]), true),
            (place("a", 4, &[]), place("a", 5, &[]), false),
            // The control plane started again, and only there it is known.
            (place("a", 5, &[]), place("b", 5, &[("a", 5)]), true),
            (place("a", 5, &[]), place("b", 6, &[("a", 5)]), false),
            (place("a", 5, &[]), place("c", 5, continued), true),
            (place("b", 8, &[("a", 5)]), place("c", 8, continued), true),
            // The same, and only here.
            (place("b", 5, &[("a", 5)]), place("a", 5, &[]), true),
            (place("c", 9, continued), place("a", 4, &[]), true),
            (place("c", 7, continued), place("b", 8, &[("a", 5)]), false),
            // The store was put back to an older copy: what `a` said beyond 5 nobody has heard of in `b`, and 6 of `b` is another purge.
            (place("a", 9, &[]), place("b", 6, &[("a", 5)]), false),
            (place("a", 6, &[]), place("b", 6, &[("a", 5)]), false),
            (place("b", 9, &[("a", 5)]), place("a", 6, &[]), false),
            // Nothing is known of one another.
            (place("x", 9, &[]), place("y", 3, &[]), false),
            (place("", 9, &[]), place("", 3, &[]), false),
            // Nobody asks for anything.
            (place("x", 0, &[]), place("y", 0, &[]), true),
            (place("x", 3, &[]), place("", 0, &[]), true),
        ] {
            assert_eq!(here.has_reached(there.seq, &there.history()), reached, "{here:?} {there:?}");
        }
        assert_eq!(place("c", 9, continued).history(), "c, b=8, a=5");
        for nonsense in ["", ",", "b, a", "b, a=", "b, a=x", "b, =5", "b,a=5"] {
            assert!(!place("a", 5, &[]).has_reached(5, nonsense), "{nonsense}");
        }
    }
}
