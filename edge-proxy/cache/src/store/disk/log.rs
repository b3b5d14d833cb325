//! The seam below the disk tier: a log of values under slots, which may lose any of them at any time.
//!
//! Owns the contract. A value that is read is the one that was stored last under its slot or an earlier one, whole or not at all damaged as far
//! as the log can tell; [`super::record`] tells the rest. Nothing here knows what a value means.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

mod blocks;
mod fit;
mod order;
mod places;
mod read;

pub(crate) use blocks::{Blocks, Shape};

/// What everything on the device is a multiple of, in bytes.
pub(crate) const PAGE_BYTES: u64 = 4 << 10;

/// Where a value is kept: a hash of what it belongs to. Two things with one slot displace each other; neither is mistaken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u128);

/// What a device did not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// A read failed; the value may be there.
    #[error("a read failed: {0}")]
    Read(String),
    /// Values were not written; how many.
    #[error("{0} values were not written")]
    Write(usize),
    /// A read or a write did not end.
    #[error("the device did not answer in time")]
    Stuck,
    /// Nothing can be opened there.
    #[error("{0}")]
    Open(String),
}

/// What a log counts. Counters rise only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Gauge: values, those among them that later ones displaced.
    pub(crate) entries: u64,
    /// Gauge: bytes they take on the device, filling included.
    pub(crate) bytes: u64,
    /// Bytes written to the device.
    pub(crate) written_bytes: u64,
    /// Bytes read from it.
    pub(crate) read_bytes: u64,
    /// Values that left to make room.
    pub(crate) evicted: u64,
    /// Gauge: seconds since what left last had been written.
    pub(crate) eviction_age_seconds: u64,
}

/// How far the opening of a log is, for whoever holds a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// So many blocks of all are looked through.
    pub(crate) fn tell(&self, looked: u64, all: u64) {
        self.0.store(looked.saturating_mul(1_000) / all.max(1), Ordering::Relaxed);
    }

    /// In thousandths.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module.
#[async_trait]
pub(crate) trait Log: Debug + Send + Sync + 'static {
    /// Whether there may be a value. Never waits.
    fn may_hold(&self, slot: Slot) -> bool;

    /// The value in a slot.
    ///
    /// # Errors
    /// When the device fails; a damaged value is none.
    async fn load(&self, slot: Slot) -> Result<Option<Bytes>, Trouble>;

    /// The value in a slot if it can be had without waiting for a device; none says nothing.
    fn load_now(&self, _: Slot) -> Option<Bytes> {
        None
    }

    /// Stores values, each slot at most once, together not larger than [`Log::batch_bytes`] says. When it returns they can be read and
    /// outlive this process. To be called by one task at a time.
    ///
    /// # Errors
    /// When the device fails; any of the values may be missing then, and what was in their slots before too.
    async fn store(&self, values: &[(Slot, Bytes)]) -> Result<(), Trouble>;

    /// The most bytes of values that one call of [`Log::store`] takes, each value counted by [`Log::room_of`].
    fn batch_bytes(&self) -> u64;

    /// What a value of so many bytes takes on the device.
    fn room_of(&self, bytes: usize) -> u64;

    /// A hint that a value is of no use any more. It may come back after a restart.
    fn remove(&self, slot: Slot);

    /// What it counts.
    fn counts(&self) -> Counts;

    /// Ends it in order.
    async fn close(&self);
}

/// A log that holds nothing: everything above it runs without a disk.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Noop;

#[cfg(test)]
#[async_trait]
impl Log for Noop {
    fn may_hold(&self, _: Slot) -> bool {
        false
    }

    async fn load(&self, _: Slot) -> Result<Option<Bytes>, Trouble> {
        Ok(None)
    }

    async fn store(&self, _: &[(Slot, Bytes)]) -> Result<(), Trouble> {
        Ok(())
    }

    fn batch_bytes(&self) -> u64 {
        u64::MAX
    }

    fn room_of(&self, bytes: usize) -> u64 {
        bytes as u64
    }

    fn remove(&self, _: Slot) {}

    fn counts(&self) -> Counts {
        Counts::default()
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests;
