//! What a node counts by site. Each site it serves has a number, its slot, by which a request is counted without looking for a name.
//!
//! The lock covers who has which slot; counting takes none.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use skerry_config::limits::SITES_MAX;
use skerry_config::snapshot::{Served, Snapshot};

use super::{Answered, Outcome};

/// Slots at most: those of all sites that a document can have, and as many of sites that are gone. After that the slot of the site that has
/// been gone longest is given to the next one.
const SLOTS_MAX: usize = 2 * SITES_MAX;

/// Upper bounds of the classes of time to the head of an answer, in milliseconds; what took longer is in one more.
pub const HEAD_MILLIS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// The classes of time to the head of an answer.
pub const HEAD_CLASSES: usize = HEAD_MILLIS.len() + 1;

/// What a node did for one site since its process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteFigures {
    /// Requests answered from the store.
    pub hits: u64,
    /// Requests for which upstream was asked.
    pub misses: u64,
    /// Requests passed through.
    pub passes: u64,
    /// Requests not answered, or not to the end.
    pub failures: u64,
    /// Answers of status 500 to 599, and answers cut off because upstream ended early.
    pub errors: u64,
    /// Bytes of bodies sent.
    pub bytes: u64,
    /// Requests by the time from their head to the head of their answer, in the classes of [`HEAD_MILLIS`]. An answer in memory is in the first.
    pub heads: [u64; HEAD_CLASSES],
    /// The sum of those times, in microseconds.
    pub head_micros: u64,
}

/// The counters of one site.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) name: Arc<str>,
    /// Whether `/metrics` has the site by name.
    pub(super) is_shown: AtomicBool,
    outcomes: [AtomicU64; 4],
    errors: AtomicU64,
    bytes: AtomicU64,
    heads: [AtomicU64; HEAD_CLASSES],
    head_micros: AtomicU64,
}

/// The counters of all sites.
#[derive(Debug, Default)]
pub(super) struct Sites {
    /// By slot.
    table: ArcSwap<Vec<Arc<Counts>>>,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_name: HashMap<Arc<str>, Slot>,
    /// Counts the snapshots.
    turn: u64,
    /// The number of the last one.
    version: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    index: u32,
    /// Since which snapshot there is no such site.
    gone: Option<u64>,
}

impl Sites {
    /// Gives every site of a snapshot its slot, before the snapshot is used. A site keeps its slot, and with it its counts, also when it goes and
    /// comes back.
    pub(super) fn adopt(&self, snapshot: &Snapshot) {
        let mut slots = self.slots.lock();
        slots.turn += 1;
        let fresh = match snapshot.changed_since(slots.version) {
            Some(changed) => slots.follow(changed.iter().map(|name| (name.as_str(), snapshot.site(name)))),
            None => {
                let turn = slots.turn;
                slots.by_name.values_mut().for_each(|slot| slot.gone = slot.gone.or(Some(turn)));
                slots.follow(snapshot.sites().map(|served| (served.site().name.as_str(), Some(served))))
            }
        };
        slots.version = snapshot.version();
        if fresh.is_empty() {
            return;
        }
        let mut table = Vec::clone(&self.table.load());
        let mut gone = slots.longest_gone((table.len() + fresh.len()).saturating_sub(SLOTS_MAX)).into_iter();
        for served in fresh {
            let name: Arc<str> = served.site().name.as_str().into();
            let counts = Arc::new(Counts { name: Arc::clone(&name), ..Counts::default() });
            let index = if table.len() < SLOTS_MAX {
                table.push(counts);
                table.len() - 1
            } else {
                let Some(index) = gone.next() else { break };
                if let Some(place) = table.get_mut(index as usize) {
                    *place = counts;
                }
                index as usize
            };
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            served.give_slot(index);
            slots.by_name.insert(name, Slot { index, gone: None });
        }
        self.table.store(Arc::new(table));
    }

    /// Counts an answer.
    pub(super) fn answered(&self, slot: u32, answered: &Answered) {
        if let Some(counts) = self.table.load().get(slot as usize) {
            counts.add(answered);
        }
    }

    /// What was done for a site, if it was ever served here.
    pub(super) fn read(&self, site: &str) -> Option<SiteFigures> {
        let index = self.slots.lock().by_name.get(site)?.index;
        self.table.load().get(index as usize).map(|counts| counts.read())
    }

    /// All counters, those of sites that are gone among them.
    pub(super) fn all(&self) -> Arc<Vec<Arc<Counts>>> {
        self.table.load_full()
    }
}

impl Slots {
    /// Notes which of these sites there are, and gives them their slots; those that have none yet.
    fn follow<'a>(&mut self, sites: impl Iterator<Item = (&'a str, Option<&'a Arc<Served>>)>) -> Vec<&'a Arc<Served>> {
        let mut fresh = Vec::new();
        for (name, served) in sites {
            match (self.by_name.get_mut(name), served) {
                (Some(slot), Some(served)) => {
                    slot.gone = None;
                    served.give_slot(slot.index);
                }
                (Some(slot), None) => slot.gone = slot.gone.or(Some(self.turn)),
                (None, Some(served)) => fresh.push(served),
                (None, None) => {}
            }
        }
        fresh
    }

    /// Takes so many slots from sites that the present snapshot does not have, those gone longest first.
    fn longest_gone(&mut self, wanted: usize) -> Vec<u32> {
        if wanted == 0 {
            return Vec::new();
        }
        let gone = self.by_name.iter().filter_map(|(name, slot)| Some((slot.gone?, slot.index, Arc::clone(name))));
        let mut gone: Vec<_> = gone.collect();
        gone.sort_unstable();
        gone.truncate(wanted);
        gone.into_iter()
            .map(|(_, index, name)| {
                self.by_name.remove(&name);
                index
            })
            .collect()
    }
}

impl Counts {
    fn add(&self, answered: &Answered) {
        let one = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        one(&self.outcomes[answered.outcome as usize]);
        if answered.is_error() {
            one(&self.errors);
        }
        if answered.bytes > 0 {
            self.bytes.fetch_add(answered.bytes, Ordering::Relaxed);
        }
        let Some(head) = answered.head else {
            one(&self.heads[0]);
            return;
        };
        one(&self.heads[class(head)]);
        self.head_micros.fetch_add(u64::try_from(head.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> SiteFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of = |outcome: Outcome| read(&self.outcomes[outcome as usize]);
        SiteFigures {
            hits: of(Outcome::Hit),
            misses: of(Outcome::Miss),
            passes: of(Outcome::Pass),
            failures: of(Outcome::Error),
            errors: read(&self.errors),
            bytes: read(&self.bytes),
            heads: std::array::from_fn(|class| read(&self.heads[class])),
            head_micros: read(&self.head_micros),
        }
    }
}

impl SiteFigures {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.hits.saturating_add(self.misses).saturating_add(self.passes).saturating_add(self.failures)
    }

    /// Adds those of another site, or of another node.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.passes += other.passes;
        self.failures += other.failures;
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.head_micros += other.head_micros;
        for (sum, more) in self.heads.iter_mut().zip(other.heads) {
            *sum += more;
        }
    }
}

/// The class of a time to the head of an answer.
fn class(head: Duration) -> usize {
    HEAD_MILLIS.partition_point(|bound| head > Duration::from_millis(*bound))
}

#[cfg(test)]
mod tests {
    use skerry_config::site::Site;
    use skerry_config::snapshot::{Change, Document};

    use super::*;

    fn snapshot(version: u64, names: impl IntoIterator<Item = String>) -> Snapshot {
        let site = |name: String| {
            serde_json::from_value::<Site>(
                serde_json::json!({"name": name, "hosts": [format!("{name}.test")], "origin": {"urls": ["http://127.0.0.1:9"]}}),
            )
            .unwrap()
        };
        Snapshot::build(Document { version, sites: names.into_iter().map(site).collect(), ..Document::default() }).unwrap()
    }

    fn answer(sites: &Sites, snapshot: &Snapshot, site: &str) {
        let slot = snapshot.site(site).unwrap().slot();
        let answered = Answered {
            slot,
            status: 200,
            outcome: Outcome::Miss,
            is_cut: false,
            bytes: 7,
            head: Some(Duration::from_millis(3)),
            seconds: 1.0,
        };
        sites.answered(slot.unwrap(), &answered);
    }

    #[test]
    fn a_time_is_in_the_first_class_that_reaches_it() {
        let classes = [0, 1_000, 1_001, 2_000, 5_000_000, 5_000_001].map(|micros| class(Duration::from_micros(micros)));
        assert_eq!(classes, [0, 0, 1, 1, 11, 12]);
    }

    #[test]
    fn a_site_keeps_its_counts_over_snapshots_and_when_it_comes_back() {
        let sites = Sites::default();
        let both = snapshot(1, ["a".to_owned(), "b".to_owned()]);
        sites.adopt(&both);
        answer(&sites, &both, "a");
        let other = snapshot(2, ["c".to_owned(), "b".to_owned()]);
        sites.adopt(&other);
        // A request that began with the older snapshot.
        answer(&sites, &both, "a");
        answer(&sites, &other, "c");
        let back = snapshot(3, ["a".to_owned()]);
        sites.adopt(&back);
        answer(&sites, &back, "a");
        let a = sites.read("a").unwrap();
        assert_eq!((a.requests(), a.misses, a.bytes, a.heads[2], a.head_micros), (3, 3, 21, 3, 9_000));
        assert_eq!(sites.read("c").unwrap().requests(), 1);
        assert_eq!(sites.read("b"), Some(SiteFigures::default()));
        assert_eq!(sites.read("d"), None);
    }

    #[test]
    fn a_change_gives_slots_to_what_it_names_and_leaves_the_others_theirs() {
        let sites = Sites::default();
        let both = snapshot(1, ["a".to_owned(), "b".to_owned()]);
        sites.adopt(&both);
        let put = both.site("a").unwrap().site().clone();
        let named = |name: &str| skerry_config::site::Site { name: name.to_owned(), hosts: vec![format!("{name}.new")], ..put.clone() };
        let change = Change { from: 1, version: 2, sites: vec![named("a"), named("c")], gone: vec!["b".to_owned()], ..Change::default() };
        let next = both.apply(change).unwrap();
        sites.adopt(&next);
        assert_eq!(next.site("a").unwrap().slot(), both.site("a").unwrap().slot());
        answer(&sites, &next, "c");
        assert_eq!(sites.read("c").unwrap().requests(), 1);
        let slots = sites.slots.lock();
        assert_eq!(["a", "b", "c"].map(|name| slots.by_name[name].gone), [None, Some(2), None]);
    }

    #[test]
    fn the_slot_of_the_site_gone_longest_is_taken_when_all_are_given() {
        let sites = Sites::default();
        let turns = [1, 2, 3].map(|turn| {
            let snapshot = snapshot(turn, (0..SITES_MAX).map(|site| format!("s{turn}-{site}")));
            sites.adopt(&snapshot);
            answer(&sites, &snapshot, &format!("s{turn}-7"));
            snapshot
        });
        assert_eq!(sites.all().len(), SLOTS_MAX);
        assert_eq!(sites.read("s1-7"), None);
        assert_eq!((sites.read("s2-7").unwrap().requests(), sites.read("s3-7").unwrap().requests()), (1, 1));
        let mut slots: Vec<_> = turns[1..].iter().flat_map(Snapshot::sites).map(|served| served.slot().unwrap()).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), SLOTS_MAX);
    }
}
