//! What was measured, by client prefix, in a table of bounded size.
//!
//! An entry remembers the nodes that measured it last; of more than [`SLOTS`] the one with the least to say goes.

use std::collections::HashMap;

use super::PREFIXES_MAX;
use crate::geo::{Location, Spot};
use crate::plan::{Number, RANKED_MAX, Ranked};
use crate::prefix::{IPV4_BITS_MAX, IPV6_BITS_MAX, Prefix};

/// Nodes that one prefix remembers measurements of.
pub(super) const SLOTS: usize = 6;
/// Stands for no node.
pub(super) const NOBODY: Number = Number::MAX;
/// Changes of node that are remembered: as many as may be within [`CHANGES_WITHIN_S`].
pub(super) const CHANGES_MAX: usize = 4;
/// The time in which no more than [`CHANGES_MAX`] changes may be, in seconds: an hour, and what an answer may outlive its change.
pub(super) const CHANGES_WITHIN_S: u32 = 3_720;
/// The time in which what was measured loses half of its weight against what is measured, in seconds.
const HALF_LIFE_S: f64 = 90.0;
/// The weight of one report, and of all, in samples.
const REPORT_WEIGHT_MAX: f64 = 8.0;
const WEIGHT_MAX: f64 = 32.0;
/// A report that differs by more, in ms and as a share, is a change rather than noise, when it rests on so many samples.
const CHANGE_MS: f64 = 5.0;
const CHANGE: f64 = 0.3;
const CHANGE_COUNT: u32 = 2;
/// What such a report counts for at least.
const CHANGE_GAIN: f64 = 0.8;
/// Weights are kept in sixteenths.
const WEIGHT_UNIT: f64 = 16.0;
/// A node that ceased to be the one that serves still gets clients for so long, in seconds.
const LINGER_S: u32 = 300;
/// What a prefix may be said to ask for between two looks at rates by others than its node, in seconds of its usual rate: ten and a quarter more.
const USUAL: f32 = 12.5;

/// What one node measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) node: Number,
    tenths: u16,
    weight: u16,
    /// When, in seconds since 1970.
    pub(super) at: u32,
}

impl Slot {
    pub(super) const EMPTY: Self = Self { node: NOBODY, tenths: 0, weight: 0, at: 0 };

    pub(super) fn new(node: Number, ms: f64, weight: f64, at: u32) -> Self {
        Self { node, tenths: (ms * 10.0).round() as u16, weight: (weight * WEIGHT_UNIT) as u16, at }
    }

    /// Node, latency in tenths of a millisecond, weight in sixteenths, and time.
    pub(super) fn parts(&self) -> (Number, u16, u16, u32) {
        (self.node, self.tenths, self.weight, self.at)
    }

    pub(super) fn of_parts(node: Number, tenths: u16, weight: u16, at: u32) -> Self {
        Self { node, tenths, weight, at }
    }

    pub(super) fn ms(&self) -> f64 {
        f64::from(self.tenths) / 10.0
    }

    /// In samples.
    pub(super) fn weight(&self) -> f64 {
        f64::from(self.weight) / WEIGHT_UNIT
    }
}

/// A place in a hundredth of a degree, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(Option<(i16, i16)>);

impl From<Option<Location>> for Place {
    fn from(location: Option<Location>) -> Self {
        Self(location.map(|at| ((at.latitude * 100.0) as i16, (at.longitude * 100.0) as i16)))
    }
}

impl Place {
    /// In hundredths of a degree.
    pub(super) fn at(degrees: Option<(i16, i16)>) -> Self {
        Self(degrees)
    }

    pub(super) fn degrees(self) -> Option<(i16, i16)> {
        self.0
    }

    pub(super) fn spot(self) -> Option<Spot> {
        self.0.map(|(latitude, longitude)| {
            Spot::new(Location { latitude: f32::from(latitude) / 100.0, longitude: f32::from(longitude) / 100.0 })
        })
    }
}

/// A prefix.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) prefix: Prefix,
    pub(super) location: Place,
    /// The number of its network; 0 when that is not known.
    pub(super) network: u32,
    /// Samples since the last look at rates.
    pub(super) counted: f32,
    /// Samples a second, of the last seconds and of the last minutes.
    pub(super) rate: f32,
    pub(super) slow_rate: f32,
    /// When something was heard of it.
    pub(super) heard: u32,
    /// When its node changed.
    changes: [u32; CHANGES_MAX],
    /// When the node that is tried is not tried any more.
    pub(super) trial_until: u32,
    pub(super) slots: [Slot; SLOTS],
    nodes: [Number; RANKED_MAX],
    tenths: [u16; RANKED_MAX],
    spread: [u8; RANKED_MAX],
    /// Whom it is answered with.
    pub(super) held: Number,
    pub(super) trial: Number,
    /// Whom it was answered with before, and until when.
    left: Number,
    left_at: u32,
    /// What its node measured before it became worse, in tenths of a millisecond; 0 when it did not, or that is confirmed.
    before: u16,
    /// When its node was confirmed to have become much worse: what is known of the others may be over too.
    pub(super) doubted: u32,
    pub(super) brought_by: Number,
    /// Whether its place and network were looked up.
    pub(super) is_placed: bool,
    /// Whether it has to be estimated anew.
    pub(super) is_stirred: bool,
}

impl Entry {
    pub(super) fn new(prefix: Prefix, brought_by: Number) -> Self {
        Self {
            prefix,
            location: Place(None),
            network: 0,
            counted: 0.0,
            rate: 0.0,
            slow_rate: 0.0,
            heard: 0,
            changes: [0; CHANGES_MAX],
            trial_until: 0,
            slots: [Slot::EMPTY; SLOTS],
            nodes: [NOBODY; RANKED_MAX],
            tenths: [0; RANKED_MAX],
            spread: [0; RANKED_MAX],
            held: NOBODY,
            trial: NOBODY,
            left: NOBODY,
            left_at: 0,
            before: 0,
            doubted: 0,
            brought_by,
            is_placed: false,
            is_stirred: true,
        }
    }

    /// What a node measured goes in.
    pub(super) fn measured(&mut self, node: Number, ms: f64, count: u32, at: u32) {
        self.heard = self.heard.max(at);
        let more = f64::from(count).min(REPORT_WEIGHT_MAX);
        let place = self.slots.iter().position(|slot| slot.node == node).unwrap_or_else(|| self.least_telling());
        let old = self.slots[place];
        if old.node != node {
            self.slots[place] = Slot::new(node, ms, more, at);
            self.is_stirred = true;
            return;
        }
        if node == self.held {
            self.doubt(&old, ms, at);
        }
        let kept = old.weight() * (-f64::from(at.saturating_sub(old.at)) / HALF_LIFE_S).exp2();
        let mut gain = more / (kept + more);
        if count >= CHANGE_COUNT && (ms - old.ms()).abs() > CHANGE_MS.max(old.ms() * CHANGE) {
            gain = gain.max(CHANGE_GAIN);
            self.is_stirred = true;
        }
        let blended = old.ms() + (ms - old.ms()) * gain;
        self.slots[place] = Slot::new(node, blended, (kept + more).min(WEIGHT_MAX), at.max(old.at));
    }

    /// Once is chance, twice is a change.
    fn doubt(&mut self, old: &Slot, ms: f64, at: u32) {
        let is_worse = |before: f64| ms - before > CHANGE_MS.max(before * CHANGE);
        let before = f64::from(self.before) / 10.0;
        if self.before == 0 {
            self.before = if is_worse(old.ms()) { old.tenths.max(1) } else { 0 };
        } else {
            if is_worse(before) {
                self.doubted = at;
                self.is_stirred = true;
            }
            self.before = 0;
        }
    }

    /// The slot that is free, or the oldest.
    fn least_telling(&self) -> usize {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.node == NOBODY || slot.node != self.held);
        slots.min_by_key(|(_, slot)| (slot.node != NOBODY, slot.at)).map_or(0, |(place, _)| place)
    }

    /// What a node said is forgotten.
    pub(super) fn forget(&mut self, node: Number) {
        for slot in self.slots.iter_mut().filter(|slot| slot.node == node) {
            *slot = Slot::EMPTY;
            self.is_stirred = true;
        }
    }

    /// Nodes are there no more: nothing is left of them, so that their numbers may be others'.
    pub(super) fn part_with(&mut self, is_gone: impl Fn(Number) -> bool, now: u32) {
        for slot in self.slots.iter_mut().filter(|slot| is_gone(slot.node)) {
            *slot = Slot::EMPTY;
            self.is_stirred = true;
        }
        if self.nodes.iter().any(|node| is_gone(*node)) {
            self.nodes = [NOBODY; RANKED_MAX];
            self.is_stirred = true;
        }
        if is_gone(self.held) {
            (self.held, self.before) = (NOBODY, 0);
            // Whoever was left before is not who its clients come from now.
            (self.left, self.left_at) = (NOBODY, now.max(1));
        }
        if is_gone(self.trial) {
            (self.trial, self.trial_until) = (NOBODY, 0);
        }
        for number in [&mut self.left, &mut self.brought_by] {
            if is_gone(*number) {
                *number = NOBODY;
            }
        }
    }

    /// Whether it was never answered with any node.
    pub(super) fn is_new(&self) -> bool {
        self.held == NOBODY && self.left_at == 0
    }

    /// Whether what is known of it is more than what one node says of clients that it need not ever have seen: a wide prefix takes two. Where
    /// clients are is known, geography answers it until then.
    pub(super) fn has_witnesses(&self) -> bool {
        let longest = if self.prefix.is_ipv4() { IPV4_BITS_MAX } else { IPV6_BITS_MAX };
        self.prefix.bits() >= longest || self.slots.iter().filter(|slot| slot.node != NOBODY).count() > 1
    }

    pub(super) fn slot(&self, node: Number) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.node == node)
    }

    /// A node counted so many samples. Those of the node that serves the prefix are demand; one that is tried, or was answered with not long
    /// ago, may at most say that it is as it was and a little more; no other one is asked.
    pub(super) fn asked(&mut self, node: Number, count: u32, now: u32) {
        let is_first = self.held == NOBODY && (self.brought_by == node || self.brought_by == NOBODY);
        let lingers = self.left == node && now < self.left_at.saturating_add(LINGER_S);
        let more = self.counted + count as f32;
        if is_first || self.held == node {
            self.counted = more;
        } else if self.trial == node || lingers {
            self.counted = more.min(self.counted.max(self.slow_rate * USUAL));
        }
    }

    /// Its clients are sent to a node no more.
    pub(super) fn leave(&mut self, node: Number, at: u32) {
        (self.left, self.left_at) = (node, at);
    }

    /// Its node changes.
    pub(super) fn changed(&mut self, at: u32) {
        self.changes = self.change_times_with(at);
    }

    /// How often its node changed within the time that counts.
    pub(super) fn changes(&self, now: u32) -> usize {
        self.changes.iter().filter(|at| **at != 0 && now.saturating_sub(**at) < CHANGES_WITHIN_S).count()
    }

    /// In how many seconds it may change once more than now; 0 when none of its changes counts.
    pub(super) fn one_more_in_s(&self, now: u32) -> u32 {
        let ages = self.changes.iter().filter(|at| **at != 0).map(|at| now.saturating_sub(*at));
        ages.filter(|age_s| *age_s < CHANGES_WITHIN_S).max().map_or(0, |age_s| CHANGES_WITHIN_S - age_s)
    }

    /// When its node changed last.
    pub(super) fn changed_at(&self) -> u32 {
        self.changes.iter().max().copied().unwrap_or(0)
    }

    pub(super) fn change_times(&self) -> [u32; CHANGES_MAX] {
        self.changes
    }

    /// The same with one more, in the place of the oldest.
    pub(super) fn change_times_with(&self, at: u32) -> [u32; CHANGES_MAX] {
        let mut changes = self.changes;
        if let Some(oldest) = changes.iter_mut().min() {
            *oldest = at;
        }
        changes
    }

    /// With what was kept.
    pub(super) fn restored(mut self, slots: [Slot; SLOTS], changes: [u32; CHANGES_MAX]) -> Self {
        (self.slots, self.changes) = (slots, changes);
        self
    }

    /// The estimates, the least latency first.
    pub(super) fn ranked(&self) -> impl Iterator<Item = Ranked> + '_ {
        let places = (0..RANKED_MAX).take_while(|&place| self.nodes[place] != NOBODY);
        places.map(|place| Ranked {
            node: self.nodes[place],
            ms: f32::from(self.tenths[place]) / 10.0,
            spread_ms: f32::from(self.spread[place]),
        })
    }

    pub(super) fn rank(&mut self, ranked: &[Ranked]) {
        self.nodes = [NOBODY; RANKED_MAX];
        for (place, ranked) in ranked.iter().take(RANKED_MAX).enumerate() {
            self.nodes[place] = ranked.node;
            self.tenths[place] = (ranked.ms * 10.0).round() as u16;
            self.spread[place] = ranked.spread_ms.ceil() as u8;
        }
        self.is_stirred = false;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    places: HashMap<Prefix, u32, foldhash::fast::FixedState>,
    /// When it was last looked through for what is to be forgotten.
    looked: u32,
}

/// The time between two looks for what is to be forgotten, in seconds.
const LOOK_EVERY_S: u32 = 60;

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&mut self, prefix: Prefix) -> Option<&mut Entry> {
        self.places.get(&prefix).and_then(|place| self.entries.get_mut(*place as usize))
    }

    pub(super) fn has(&self, prefix: Prefix) -> bool {
        self.places.contains_key(&prefix)
    }

    /// An entry for a prefix that has none; `None` when there is no room.
    pub(super) fn insert(&mut self, prefix: Prefix, brought_by: Number) -> Option<&mut Entry> {
        self.put(Entry::new(prefix, brought_by))
    }

    /// The same, made already; `None` also when its prefix has one.
    pub(super) fn put(&mut self, entry: Entry) -> Option<&mut Entry> {
        let place = u32::try_from(self.entries.len()).ok().filter(|place| (*place as usize) < PREFIXES_MAX)?;
        if self.places.contains_key(&entry.prefix) {
            return None;
        }
        self.places.insert(entry.prefix, place);
        self.entries.push(entry);
        self.entries.last_mut()
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entry(&mut self, place: usize) -> &mut Entry {
        &mut self.entries[place]
    }

    /// The clock was set: every time that is remembered moves.
    pub(super) fn clock(&mut self, moved: impl Fn(u32) -> u32) {
        self.looked = moved(self.looked);
        for entry in &mut self.entries {
            let Entry { heard, changes, trial_until, slots, left_at, doubted, .. } = entry;
            let times = changes.iter_mut().chain(slots.iter_mut().map(|slot| &mut slot.at));
            times.chain([heard, trial_until, left_at, doubted]).for_each(|at| *at = moved(*at));
        }
    }

    /// Forgets what was not heard of since a time.
    pub(super) fn forget(&mut self, since: u32, mut gone: impl FnMut(&Entry)) {
        if since < self.looked.saturating_add(LOOK_EVERY_S) {
            return;
        }
        self.looked = since;
        let before = self.entries.len();
        self.entries.retain(|entry| {
            let keep = entry.heard >= since;
            if !keep {
                gone(entry);
            }
            keep
        });
        if self.entries.len() != before {
            self.places = self.entries.iter().zip(0..).map(|(entry, place)| (entry.prefix, place)).collect();
        }
    }
}
