//! Slots whose values of earlier runs are void, where there are too many of them to remember one by one.
//!
//! While the log is opening nobody knows what it holds and nothing is written, so that every slot has to be remembered whose value is not the
//! last one any more. Owns a table of bits, one for all slots that share it: what shares its bit with a void one is void too, so that a part of what is on
//! disk is lost with each, and never does anything older count. The table lies in a file beside the log's from the moment at which that is open.
//!
//! ```text
//! XXH3 of all that follows 8 | the first place among the heads that is not meant 8 | the bits
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::log::Slot;

/// The bits of the table, which takes 2 MiB: each slot voids the 16-millionth part of what is on disk.
const BITS: usize = 1 << 24;
/// The name of the file.
const FILE: &str = "void";
/// Where what the checksum covers begins, and where the bits do.
const CHECKED_FROM: usize = 8;
const BITS_AT: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Void {
    /// What came as this one of all heads, or later, is not meant.
    before: u64,
    bits: Box<[u8]>,
}

impl Void {
    /// A table that nothing is in.
    pub(super) fn new() -> Self {
        Self { before: 0, bits: vec![0; BITS / 8].into() }
    }

    /// Voids what earlier runs stored in a slot.
    pub(super) fn add(&mut self, slot: Slot) {
        let (byte, bit) = place(slot);
        self.bits[byte] |= bit;
    }

    /// Whether what is in a slot is void, if it came as this one of all heads.
    pub(super) fn has(&self, slot: Slot, order: u64) -> bool {
        let (byte, bit) = place(slot);
        order < self.before && self.bits[byte] & bit != 0
    }

    /// What is void from here on: what became so in this run, whose heads begin at `first`, and in those that had the directory before. Without a
    /// directory nothing outlives the process. Waits for the device.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged: then nobody knows what is void.
    pub(super) fn settled(new: Option<Self>, first: u64, directory: Option<&Path>) -> io::Result<Option<Self>> {
        let earlier = directory.map_or(Ok(None), Self::read)?;
        let Some(mut new) = new else { return Ok(earlier) };
        new.before = first;
        if let Some(earlier) = earlier {
            new.bits.iter_mut().zip(&earlier.bits).for_each(|(new, earlier)| *new |= earlier);
        }
        directory.map_or(Ok(()), |directory| new.write(directory))?;
        Ok(Some(new))
    }

    fn read(directory: &Path) -> io::Result<Option<Self>> {
        let content = match fs::read(directory.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            content => content?,
        };
        let number = |at: usize| Some(u64::from_be_bytes(content.get(at..at + 8)?.try_into().ok()?));
        let (Some(checksum), Some(before)) = (number(0), number(CHECKED_FROM)) else { return Err(damaged()) };
        if content.len() != BITS_AT + BITS / 8 || checksum != xxh3_64(&content[CHECKED_FROM..]) {
            return Err(damaged());
        }
        Ok(Some(Self { before, bits: content[BITS_AT..].into() }))
    }

    fn write(&self, directory: &Path) -> io::Result<()> {
        let mut content = vec![0; CHECKED_FROM];
        content.extend_from_slice(&self.before.to_be_bytes());
        content.extend_from_slice(&self.bits);
        let checksum = xxh3_64(&content[CHECKED_FROM..]);
        content[..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
        let path = directory.join(FILE);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        // Without it the old one may be there again after a loss of power.
        File::open(directory)?.sync_all()
    }
}

/// The byte and the bit of a slot.
fn place(slot: Slot) -> (usize, u8) {
    let at = usize::try_from(slot.0 % BITS as u128).unwrap_or(0);
    (at / 8, 1 << (at % 8))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_void_stays_so_beside_what_becomes_so() {
        let directory = tempfile::tempdir().unwrap();
        let settled = |slots: &[u128], first| {
            let mut void = Void::new();
            slots.iter().for_each(|slot| void.add(Slot(*slot)));
            Void::settled((!slots.is_empty()).then_some(void), first, Some(directory.path())).unwrap()
        };
        assert!(settled(&[], 10).is_none());
        let void = settled(&[1, 7], 20).unwrap();
        assert_eq!([(1, 19), (7, 19), (7, 20), (2, 19)].map(|(slot, order)| void.has(Slot(slot), order)), [true, true, false, false]);
        let void = settled(&[], 30).unwrap();
        assert_eq!([(1, 19), (7, 20), (2, 19)].map(|(slot, order)| void.has(Slot(slot), order)), [true, false, false]);
        let void = settled(&[2], 40).unwrap();
        assert_eq!([(1, 39), (2, 39), (2, 40), (3, 1)].map(|(slot, order)| void.has(Slot(slot), order)), [true, true, false, false]);
    }

    #[test]
    fn a_file_that_is_damaged_or_cut_off_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        Void::settled(Some(Void::new()), 1, Some(directory.path())).unwrap();
        let whole = fs::read(directory.path().join(FILE)).unwrap();
        let mut flipped = whole.clone();
        flipped[BITS_AT + 5] ^= 1;
        for wrong in [&flipped[..], &whole[..whole.len() - 1], &whole[..5], &[]] {
            fs::write(directory.path().join(FILE), wrong).unwrap();
            assert_eq!(Void::settled(None, 2, Some(directory.path())).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
