//! What a disk tier is given: where it is, what it takes of the device and of memory, and what is written at all.

use std::path::PathBuf;

use skerry_config::limits::SLICE_BYTES_MIN;
use skerry_config::process;

use super::log::PAGE_BYTES;

/// Larger bodies than this never stay in memory whole, in bytes.
const RESIDENT_MAX: u64 = 32 << 20;
/// So many large bodies can come at once, a slice of each in memory, within what bodies that come may take; slices are cut smaller for it.
const FILLED_AT_ONCE: u64 = 64;

/// What a disk tier is given.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory.
    pub path: PathBuf,
    /// What it takes there, in bytes.
    pub size: u64,
    /// The size of a slice of a body, in bytes; a body that is not larger is stored with its head.
    pub slice: u64,
    /// What may wait to be written, in bytes.
    pub waiting_max: u64,
    /// What is written at once, in bytes; twice that is taken of memory.
    pub buffer: u64,
    /// What readers of large objects may hold, in bytes.
    pub reading_max: u64,
    /// Answers with a body smaller than this, in bytes, are written when they are asked for again; 0 writes all at once.
    pub second_hit_below: u64,
    /// The same for those with a larger body than this, in bytes; `u64::MAX` for none.
    pub second_hit_above: u64,
    /// Bodies up to this many bytes are kept in memory whole while they come.
    pub resident_max: u64,
}

impl Settings {
    /// What the settings file says, with these shares of memory.
    #[must_use]
    pub fn of(disk: &process::Disk, shares: &process::Shares) -> Self {
        let slice = disk.slice.0.min((shares.filling / FILLED_AT_ONCE).next_multiple_of(PAGE_BYTES).max(SLICE_BYTES_MIN));
        Self {
            path: disk.path.clone(),
            size: disk.size.0,
            slice,
            waiting_max: shares.waiting,
            buffer: shares.buffer,
            reading_max: shares.reading,
            second_hit_below: disk.second_hit_below.0,
            second_hit_above: disk.second_hit_above.map_or(u64::MAX, |size| size.0),
            resident_max: (shares.stored / 16).clamp(slice, RESIDENT_MAX),
        }
    }

    /// So many slices readers may hold.
    pub(super) fn reading(&self) -> u32 {
        u32::try_from(self.reading_max / self.slice.max(1)).unwrap_or(u32::MAX >> 4)
    }

    /// So many slices may be on their way from the log.
    pub(super) fn loading(&self) -> u32 {
        (self.reading() / 2).max(2)
    }
}
