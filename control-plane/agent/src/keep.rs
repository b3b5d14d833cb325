//! What a node keeps of what it was told: the snapshot and the position in the purges, in its data directory.

mod position;
mod snapshots;

pub(crate) use position::Position;
pub(crate) use snapshots::{Snapshots, one_line, parse_document};
