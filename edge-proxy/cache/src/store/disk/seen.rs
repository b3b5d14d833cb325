//! Which keys were asked for lately, so that what is asked for once need not be written.
//!
//! A table of fixed size, one place for all keys that share it: a later one takes it over. Who is mistaken for seen is written once too often.

use std::sync::atomic::{AtomicU32, Ordering};

use super::log::Slot;

/// Places; four bytes each.
const PLACES: usize = 1 << 18;

/// See the module.
#[derive(Debug)]
pub(super) struct Seen(Box<[AtomicU32]>);

impl Seen {
    pub(super) fn new() -> Self {
        Self((0..PLACES).map(|_| AtomicU32::new(0)).collect())
    }

    /// Whether it was here before; it is from here on.
    pub(super) fn again(&self, slot: Slot) -> bool {
        let place = usize::try_from(slot.0 % PLACES as u128).unwrap_or(0);
        let name = u32::try_from(slot.0 >> 96).unwrap_or(0) | 1;
        self.0[place].swap(name, Ordering::Relaxed) == name
    }
}
