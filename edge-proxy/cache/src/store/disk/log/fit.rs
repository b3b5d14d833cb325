//! Makes the files of a log fit what it may take, before anything is open: fewer blocks than there were, and one at least that is free.
//!
//! Owns which blocks leave: the oldest, as ever, so that no older value outlives a newer one. Blocks that stay and have a number that the smaller
//! log does not reach take the number of one that left; nothing in a block says which it is. foyer would leave the files beyond its last block
//! where they are, read what is in the others though it is older, and find the newer values again when the log is made larger. It also waits
//! for ever for a free block where all hold something, as when a process was killed between the last one and the next.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;

use super::blocks::{Shape, paged};
use super::order::{block_file, block_number};
use super::places::{INDEX_BYTES, Places};

/// What left, as it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// See the module. It waits for the device.
///
/// # Errors
/// When a file cannot be removed, emptied or given another number.
pub(super) fn fit(shape: &Shape) -> io::Result<Left> {
    let found = fs::read_dir(&shape.directory)?.map(|entry| entry.map(|entry| block_number(&entry.file_name())));
    let mut found: Vec<u32> = found.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect();
    found.sort_unstable();
    let reach = u64::from(found.iter().max().map_or(0, |highest| highest + 1));
    let blocks = u32::try_from(shape.blocks()).unwrap_or(u32::MAX);
    let places = Places::new(&shape.directory, reach, shape.block_bytes(), 0);
    // What holds nothing that foyer would find is free.
    let is_free = |block: u32| !matches!(places.first(block), Ok(Some(_)));
    if reach <= u64::from(blocks) && (0..blocks).any(is_free) {
        return Ok(Left::default());
    }
    let mut held: Vec<(u64, u32)> = found.iter().filter_map(|block| Some((places.first(*block).ok()??, *block))).collect();
    held.sort_unstable();
    let leaving = held.len().saturating_sub(blocks as usize - 1);
    let mut left = Left::default();
    // The oldest first, so that whenever this ends what is there is what was written last.
    for (_, block) in held.drain(..leaving) {
        for entry in places.recovered(block).unwrap_or_default() {
            left.entries += 1;
            left.bytes += paged(entry.bytes as usize);
        }
        empty(shape, block)?;
    }
    let taken = |block: &u32| held.iter().any(|(_, held)| held == block);
    let mut free = (0..blocks).filter(|block| !taken(block));
    for beyond in found.into_iter().filter(|block| *block >= blocks) {
        let path = shape.directory.join(block_file(beyond));
        match if taken(&beyond) { free.next() } else { None } {
            Some(number) => fs::rename(path, shape.directory.join(block_file(number)))?,
            None => fs::remove_file(path)?,
        }
    }
    if leaving > 0 {
        tracing::info!(blocks, leaving, "the oldest blocks of the disk tier made room");
    }
    Ok(left)
}

/// Takes away the page by which foyer finds what is in a block, as it does itself.
fn empty(shape: &Shape, block: u32) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(shape.directory.join(block_file(block)))?;
    file.write_all_at(&[0; INDEX_BYTES], 0)
}
