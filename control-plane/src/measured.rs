//! How far clients are, as edges reported it: what waits for `latency` to learn from it.
//!
//! Learns nothing itself. A report is looked at for what no edge of ours would send; whether what it says can be true is for whoever learns. The lock
//! covers what waits.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skerry_agent::PrefixTimes;
use skerry_agent::wire::{self, LATENCY_PREFIXES_MAX};

/// Reports of one edge that wait; of more the oldest is dropped. No edge takes the place of another: those of a thousand that nobody takes are 147 MB.
const REPORTS_PER_NODE_MAX: usize = 2;

/// How soon after another a report is taken: half of [`wire::LATENCY_INTERVAL`], as one may have been on its way for long.
const SOONEST: Duration = Duration::from_millis(2_500);

/// Nodes that are remembered as removed until what waits is taken, which is every few seconds; of one beyond them what was learned is kept where another
/// one was let in under its name before that.
const GONE_MAX: usize = 4_096;

/// The longest and the least that are measured: a /16 to a /24 of IPv4, a /32 to a /48 of IPv6. A longer one would be about a few people, a shorter
/// one about more than edges fold into one.
const V4_LENGTHS: std::ops::RangeInclusive<u8> = 16..=24;
const V6_LENGTHS: std::ops::RangeInclusive<u8> = 32..=48;

/// What one edge measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// When it came.
    pub(crate) at: Instant,
    /// Each prefix once.
    pub(crate) prefixes: Vec<PrefixTimes>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Measured {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By the name of the edge.
    edges: HashMap<String, Heard>,
    /// Nodes that were removed since the last [`Measured::take`].
    gone: BTreeSet<String>,
}

/// What waited.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// The names of nodes that were removed. What waits under such a name is of another one, which was let in since.
    pub(crate) gone: BTreeSet<String>,
    /// Reports in order, by the name of the edge.
    pub(crate) reports: HashMap<String, VecDeque<Report>>,
}

/// What was heard of one edge, over all its streams.
#[derive(Default)]
struct Heard {
    /// When its last report was taken.
    last: Option<Instant>,
    /// Those that wait, in order.
    waiting: VecDeque<Report>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Prefixes that wait.
    pub(crate) taken: u64,
    /// Prefixes that are none, or that no edge measures, or that the report has twice.
    pub(crate) malformed: u64,
    /// Prefixes beyond what a report may have.
    pub(crate) beyond: u64,
    /// Prefixes of an older report that nobody took.
    pub(crate) dropped: u64,
    /// Prefixes of a report that came too early, or not of an edge.
    pub(crate) unasked: u64,
}

/// A report that was read.
#[derive(Debug)]
pub(crate) struct Told {
    prefixes: Vec<PrefixTimes>,
    taken: Taken,
}

impl Told {
    /// Reads a report.
    pub(crate) fn read(told: wire::Latency) -> Self {
        let mut taken = Taken { beyond: told.prefixes.len().saturating_sub(LATENCY_PREFIXES_MAX) as u64, ..Taken::default() };
        let mut seen = std::collections::HashSet::new();
        let mut prefixes = Vec::new();
        for times in told.prefixes.into_iter().take(LATENCY_PREFIXES_MAX) {
            match PrefixTimes::try_from(times) {
                Ok(times) if is_measured(&times) && seen.insert(times.prefix) => prefixes.push(times),
                _ => taken.malformed += 1,
            }
        }
        taken.taken = prefixes.len() as u64;
        Self { prefixes, taken }
    }

    /// What becomes of one that nobody asked for.
    pub(crate) fn refuse(self) -> Taken {
        let Taken { taken, malformed, beyond, .. } = self.taken;
        Taken { unasked: taken + malformed + beyond, ..Taken::default() }
    }
}

impl Measured {
    /// Has a report of an edge wait, unless it comes too soon after the last one.
    pub(crate) fn keep(&self, node: &str, told: Told, now: Instant) -> Taken {
        let mut kept = self.kept.lock();
        let edge = kept.edges.entry(node.to_owned()).or_default();
        if edge.last.is_some_and(|last| now.saturating_duration_since(last) < SOONEST) {
            return told.refuse();
        }
        edge.last = Some(now);
        let Told { prefixes, mut taken } = told;
        if prefixes.is_empty() {
            return taken;
        }
        if edge.waiting.len() >= REPORTS_PER_NODE_MAX {
            taken.dropped = edge.waiting.pop_front().map_or(0, |oldest| oldest.prefixes.len() as u64);
        }
        edge.waiting.push_back(Report { at: now, prefixes });
        taken
    }

    /// Takes all that waits.
    pub(crate) fn take(&self) -> Waiting {
        let mut kept = self.kept.lock();
        let told = kept.edges.iter_mut().filter(|(_, edge)| !edge.waiting.is_empty());
        let reports = told.map(|(node, edge)| (node.clone(), std::mem::take(&mut edge.waiting))).collect();
        Waiting { gone: std::mem::take(&mut kept.gone), reports }
    }

    /// Drops what a node said that is one no more, and has what was learned of it forgotten.
    pub(crate) fn forget(&self, node: &str) {
        let mut kept = self.kept.lock();
        kept.edges.remove(node);
        if kept.gone.len() < GONE_MAX {
            kept.gone.insert(node.to_owned());
        }
    }
}

fn is_measured(times: &PrefixTimes) -> bool {
    let lengths = if times.prefix.addr().is_ipv4() { V4_LENGTHS } else { V6_LENGTHS };
    times.count > 0 && lengths.contains(&times.prefix.prefix_len())
}

impl Taken {
    /// Each count with its word in figures.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 5] {
        let Self { taken, malformed, beyond, dropped, unasked } = *self;
        [("taken", taken), ("malformed", malformed), ("beyond", beyond), ("dropped", dropped), ("unasked", unasked)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(prefix: &str, count: u32) -> wire::PrefixTimes {
        let millis = Duration::from_millis;
        PrefixTimes { prefix: prefix.parse().unwrap(), count, smoothed: millis(20), least: millis(15), age: millis(2_500) }.into()
    }

    fn report(prefixes: Vec<wire::PrefixTimes>) -> Told {
        Told::read(wire::Latency { prefixes, dropped: 0 })
    }

    #[test]
    fn what_is_no_measurement_is_counted_and_the_rest_is_taken() {
        let (measured, now) = (Measured::default(), Instant::now());
        let good = [of("192.0.2.0/24", 3), of("2001:db8::/48", 1), of("10.0.0.0/16", 7)];
        let odd = [
            of("192.0.2.0/24", 3),
            of("192.0.2.7/32", 1),
            of("2001:db8::/64", 1),
            of("0.0.0.0/0", 1),
            of("10.0.0.0/15", 1),
            of("2001:db8::/31", 1),
            of("198.51.100.0/24", 0),
            wire::PrefixTimes { length: 25, ..of("192.0.2.0/24", 1) },
            wire::PrefixTimes { length: u32::MAX, ..of("192.0.2.0/24", 1) },
            wire::PrefixTimes { address: vec![192, 0, 2, 1].into(), ..of("192.0.2.0/24", 1) },
            wire::PrefixTimes { address: vec![192, 0, 2].into(), ..of("192.0.2.0/24", 1) },
            wire::PrefixTimes::default(),
        ];
        let taken = measured.keep("edge-1", report([&good[..], &odd].concat()), now);
        assert_eq!(taken, Taken { taken: 3, malformed: odd.len() as u64, ..Taken::default() });
        let waits = measured.take().reports;
        let told: Vec<wire::PrefixTimes> = waits["edge-1"][0].prefixes.iter().map(|times| (*times).into()).collect();
        assert_eq!(told, good);
        assert!(measured.take().reports.is_empty(), "what was taken waits no more");
    }

    #[test]
    fn no_edge_takes_more_than_its_place() {
        let (measured, now) = (Measured::default(), Instant::now());
        let many = |first: u32| -> Vec<_> {
            (first..first + 2 * LATENCY_PREFIXES_MAX as u32)
                .map(|nth| of(&format!("{}/24", std::net::Ipv4Addr::from(nth << 8)), 1))
                .collect()
        };
        measured.keep("quiet", report(vec![of("192.0.2.0/24", 1)]), now);
        let most = LATENCY_PREFIXES_MAX as u64;
        for nth in 0..10 {
            let taken = measured.keep("loud", report(many(0x0b_00_00 + nth)), now + nth * SOONEST);
            let dropped = if nth < REPORTS_PER_NODE_MAX as u32 { 0 } else { most };
            assert_eq!(taken, Taken { taken: most, malformed: 0, beyond: most, dropped, unasked: 0 });
        }
        measured.keep("gone", report(vec![of("192.0.2.0/24", 1)]), now);
        measured.forget("gone");
        let Waiting { gone, reports } = measured.take();
        assert_eq!((reports["loud"].len(), reports["quiet"].len(), reports.len()), (REPORTS_PER_NODE_MAX, 1, 2));
        assert_eq!(gone, BTreeSet::from(["gone".to_owned()]));
        (0..=GONE_MAX).for_each(|nth| measured.forget(&nth.to_string()));
        assert_eq!((measured.take().gone.len(), measured.take().gone.len()), (GONE_MAX, 0));
    }

    #[test]
    fn an_edge_is_heard_at_its_pace() {
        let (measured, began) = (Measured::default(), Instant::now());
        let heard = [0, 100, 2_400, 2_500, 4_900, 5_000].map(|millis| {
            measured.take();
            let odd = of("198.51.100.0/24", 0);
            let taken = measured.keep("edge-1", report(vec![of("192.0.2.0/24", 1), odd]), began + Duration::from_millis(millis));
            (taken.taken, taken.malformed, taken.unasked)
        });
        let (kept, unasked) = ((1, 1, 0), (0, 0, 2));
        assert_eq!(heard, [kept, unasked, unasked, kept, unasked, kept]);
    }

    proptest! {
        #[test]
        fn whatever_is_told_is_taken_or_counted(
            told in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..18), any::<u32>(), any::<u32>(), any::<u32>()), 0..50)
        ) {
            let measured = Measured::default();
            let prefixes: Vec<_> = told.into_iter().map(|(address, length, count, micros)| wire::PrefixTimes {
                address: address.into(), length: length % 130, count, smoothed_micros: micros, least_micros: micros, age_millis: micros,
            }).collect();
            let all = prefixes.len() as u64;
            let taken = measured.keep("edge-1", report(prefixes), Instant::now());
            prop_assert_eq!(taken.counts().iter().map(|(_, count)| count).sum::<u64>(), all);
        }
    }
}
