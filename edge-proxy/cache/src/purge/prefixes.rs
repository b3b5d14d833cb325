//! Purged URL prefixes, found for a path in one pass over it.
//!
//! Each prefix is kept as a rolling hash of its host and characters; a path is hashed character by character and compared where a prefix of
//! that length exists. Two prefixes with one hash purge too much, never too little.

use std::collections::HashMap;

use super::{Epoch, fold_older_half};

/// Prefixes by host.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    by_hash: HashMap<u64, Prefix>,
    /// Lengths of prefixes by host hash, ascending. Bounded with `by_hash`: a length is there only with a prefix.
    lengths: HashMap<u64, Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct Prefix {
    epoch: Epoch,
    host: u64,
    length: u32,
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn rolled(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

impl Prefixes {
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// The hashes of a prefix and its host, and its length, which are all that is kept of it.
    pub(super) fn hashed(host: &str, prefix: &str) -> (u64, u64, u32) {
        let host = rolled(FNV_START, host.as_bytes());
        (rolled(host, prefix.as_bytes()), host, u32::try_from(prefix.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn raise_hashed(&mut self, hash: u64, host: u64, length: u32, seq: u64, soft: bool) {
        let new = Prefix { epoch: Epoch::default(), host, length };
        self.by_hash.entry(hash).or_insert(new).epoch.raise(seq, soft);
        self.note_length(host, length);
    }

    /// Every prefix: its hash, that of its host, its length, its epoch.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, u64, u32, Epoch)> {
        self.by_hash.iter().map(|(hash, prefix)| (*hash, prefix.host, prefix.length, prefix.epoch))
    }

    fn note_length(&mut self, host: u64, length: u32) {
        let lengths = self.lengths.entry(host).or_default();
        if let Err(at) = lengths.binary_search(&length) {
            lengths.insert(at, length);
        }
    }

    /// Shows every prefix that `path` starts with, and its epoch.
    pub(super) fn each<'a>(&self, host: &str, path: &'a str, mut visit: impl FnMut(&'a str, Epoch)) {
        let mut hash = rolled(FNV_START, host.as_bytes());
        let Some(lengths) = self.lengths.get(&hash) else { return };
        let bytes = path.as_bytes();
        let mut hashed = 0;
        for &length in lengths {
            let Some(more) = bytes.get(hashed..length as usize) else { return };
            hash = rolled(hash, more);
            hashed = length as usize;
            if let Some(found) = self.by_hash.get(&hash) {
                // A prefix is ASCII, so that it ends where a character does.
                visit(path.get(..hashed).unwrap_or(path), found.epoch);
            }
        }
    }

    /// Forgets the older half; answers with the highest numbers in it.
    pub(super) fn fold_older_half(&mut self) -> Epoch {
        let folded = fold_older_half(&mut self.by_hash, |prefix| prefix.epoch);
        self.lengths.clear();
        let kept: Vec<Prefix> = self.by_hash.values().copied().collect();
        for prefix in kept {
            self.note_length(prefix.host, prefix.length);
        }
        folded
    }
}
