//! The table over restarts: made of its journal, and written anew when that has grown.
//!
//! Numbers that only this node counts go on above everything an earlier run can have given out: the number of the run is in their upper bits.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::journal::{Change, Journal, Of, Read, Whole};
use super::local::Local;
use super::prefixes::Prefixes;
use super::{Epoch, Epochs, Table};

/// The bits below the number of the run.
const RUN_BITS: u32 = 40;

/// What a table is of that outlives its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// Whose store it belongs to: what is stored under another identity has nothing to do with it.
    pub(crate) identity: u64,
    /// How often it was opened.
    pub(crate) run: u64,
}

impl Life {
    /// Where everything that the node counts by itself begins in this run.
    pub(crate) fn first(self) -> u64 {
        self.run << RUN_BITS
    }
}

impl Table {
    /// The table as it was, and every change of it in `journal` from [`Table::sync`] on, which has to be called before the first. Where there is
    /// no journal, or a damaged one, the table is empty, with another identity.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn open(journal: &Path) -> Result<(Self, Life), String> {
        let mut table = Self::default();
        let mut life = Life { identity: random(), run: 1 };
        if let Read::Changes(changes) = Journal::read(journal)? {
            for change in changes {
                match change {
                    Change::Start { identity, run } => life = Life { identity, run: run + 1 },
                    other => table.apply(&other),
                }
            }
        }
        table.local.continue_at(life.first());
        table.drops_from = life.first();
        // Objects that were compared with nothing yet have 0.
        table.changes = AtomicU64::new(1);
        table.life = Some(life);
        table.journal = Some(Journal::new(journal));
        Ok((table, life))
    }

    fn apply(&mut self, change: &Change) {
        let epochs = self.epochs.get_mut();
        match change {
            Change::Start { .. } => {}
            Change::Raised { of, seq, soft } => epochs.raise_one(*of, *seq, *soft),
            Change::InForce(seq) => *self.seq.get_mut() = (*self.seq.get_mut()).max(*seq),
            Change::Dropped { drops, seq } => {
                *epochs = Epochs::default();
                *self.drops.get_mut() = *drops;
                *self.seq.get_mut() = *seq;
            }
            Change::Invalidated { count, names } => self.local.apply(*count, names),
            Change::InvalidatedBefore(count) => self.local.apply_floor(*count),
            Change::GivenUp(order) => *self.given_up.get_mut() = (*self.given_up.get_mut()).max(*order),
        }
        epochs.fold();
    }

    /// Brings everything that is in force to the device. Blocks.
    ///
    /// # Errors
    /// When it cannot be written: after a restart some of it would be missing.
    pub(crate) fn sync(&self) -> Result<(), String> {
        let (Some(journal), Some(life)) = (&self.journal, self.life) else { return Ok(()) };
        journal.sync(|| self.whole(journal, life))
    }

    /// Everything that is in force. Nobody changes anything while it is put together, and no device is waited for.
    fn whole(&self, journal: &Journal, life: Life) -> Whole {
        let epochs = self.epochs.read();
        self.local.with_all(|count, floor, names| {
            let start = [
                Change::Start { identity: life.identity, run: life.run },
                Change::Dropped { drops: self.drops.load(Ordering::Acquire), seq: 0 },
                Change::InForce(self.seq()),
                Change::GivenUp(self.given_up()),
                Change::InvalidatedBefore(floor),
                Change::Invalidated { count, names: Vec::new() },
            ];
            let names = names.map(|(name, count)| Change::Invalidated { count, names: vec![name] });
            journal.begin_anew(start.into_iter().chain(epochs.changes()).chain(names))
        })
    }

    /// Whether [`Table::sync`] has something to do.
    pub(crate) fn is_behind(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_behind)
    }

    /// What was stored on disk as a head at or before this place is given up.
    pub(crate) fn give_up(&self, order: u64) {
        let _epochs = self.epochs.write();
        if let Some(journal) = &self.journal {
            journal.append(&[Change::GivenUp(order)]);
        }
        self.given_up.fetch_max(order, Ordering::AcqRel);
    }

    /// The place among heads up to which nothing that is on disk counts.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Acquire)
    }
}

impl Epochs {
    pub(super) fn raise_one(&mut self, of: Of, seq: u64, soft: bool) {
        match of {
            Of::All => self.all.raise(seq, soft),
            Of::Site(name) => self.sites.entry(name).or_default().raise(seq, soft),
            Of::Host(name) => self.hosts.entry(name).or_default().raise(seq, soft),
            Of::Url(name) => self.urls.entry(name).or_default().raise(seq, soft),
            Of::Tag(name) => {
                self.tags.entry(name).or_default().raise(seq, soft);
                self.any_tag.raise(seq, soft);
            }
            Of::Prefix { hash, host, length } => self.prefixes.raise_hashed(hash, host, length, seq, soft),
        }
    }

    /// What makes an empty table this one. Tags that were folded away are in the epoch of everything, so that those that are left tell enough.
    fn changes(&self) -> impl Iterator<Item = Change> {
        let named = |map: &'_ std::collections::HashMap<u128, Epoch>, of: fn(u128) -> Of| -> Vec<Change> {
            map.iter().flat_map(|(name, epoch)| raised(of(*name), *epoch)).collect()
        };
        let prefixes = |prefixes: &Prefixes| -> Vec<Change> {
            prefixes.all().flat_map(|(hash, host, length, epoch)| raised(Of::Prefix { hash, host, length }, epoch)).collect()
        };
        raised(Of::All, self.all)
            .chain(named(&self.sites, Of::Site))
            .chain(named(&self.hosts, Of::Host))
            .chain(named(&self.urls, Of::Url))
            .chain(named(&self.tags, Of::Tag))
            .chain(prefixes(&self.prefixes))
    }
}

fn raised(of: Of, epoch: Epoch) -> impl Iterator<Item = Change> {
    [(epoch.hard, false), (epoch.soft, true)].into_iter().filter(|(seq, _)| *seq > 0).map(move |(seq, soft)| Change::Raised {
        of,
        seq,
        soft,
    })
}

/// A number that no other store has: of the keys that the standard library draws for its maps.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Names that the node invalidated itself, as [`Local`] keeps them.
pub(super) type Invalidated<'a> = Box<dyn Iterator<Item = (u128, u64)> + 'a>;

impl Local {
    /// Counts on from here, if that is further.
    fn continue_at(&mut self, first: u64) {
        self.count.get_mut().max_with(first);
    }

    fn apply(&mut self, count: u64, names: &[u128]) {
        self.count.get_mut().max_with(count);
        self.names.get_mut().put(names, count);
    }

    fn apply_floor(&mut self, floor: u64) {
        self.names.get_mut().floor.max_with(floor);
    }

    /// Shows everything there is, while nothing is added.
    fn with_all<T>(&self, show: impl FnOnce(u64, u64, Invalidated<'_>) -> T) -> T {
        let names: parking_lot::RwLockReadGuard<'_, _> = RwLock::read(&self.names);
        show(self.count(), names.floor, Box::new(names.at.iter().map(|(name, count)| (*name, *count))))
    }
}

/// Raises a number, never lowers it.
trait MaxWith {
    fn max_with(self, other: u64);
}

impl MaxWith for &mut u64 {
    fn max_with(self, other: u64) {
        *self = (*self).max(other);
    }
}

#[cfg(test)]
mod tests;
