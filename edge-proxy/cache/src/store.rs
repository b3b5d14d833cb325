//! Where answers are kept: in memory, and behind it on disk.
//!
//! Owns what an entry is. A lookup compares the whole key, so that two keys with one hash are two misses, never one wrong answer.

use std::sync::Arc;

use crate::no_vary_search;
use crate::object::{Object, Parts};
use crate::vary;

pub(crate) mod disk;
mod memory;

pub(crate) use disk::{Disk, FromDisk, Mend, Missed, Reading, Slices};
pub(crate) use memory::Memory;

/// What is stored under a key.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// Answers for this key vary; they are under the keys of their variants.
    Marker(Arc<Marker>),
    /// How the answers below a path look at queries; they are under the keys with canonical ones.
    Search(Arc<no_vary_search::Rules>),
    /// An answer with a whole body, or one to HEAD.
    Object(Arc<Object>),
    /// Parts of an answer's body.
    Parts(Arc<Parts>),
}

/// That the answers for a key vary.
#[derive(Debug)]
pub(crate) struct Marker {
    /// On these fields.
    pub(crate) fields: vary::Fields,
    /// Part of the variants' keys: without the marker they are never found again.
    pub(crate) generation: u64,
}

/// What a marker costs beside what it says, in bytes.
const MARKER_COST: u64 = 128;

impl Entry {
    /// What it costs in memory, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Marker(marker) => MARKER_COST + marker.fields.iter().map(|name| 32 + name.as_str().len() as u64).sum::<u64>(),
            Self::Search(rules) => MARKER_COST + rules.weight(),
            Self::Object(object) => object.weight(),
            Self::Parts(parts) => parts.weight(),
        }
    }
}
