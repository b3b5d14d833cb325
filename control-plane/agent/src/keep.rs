//! What a node keeps of what it was told: the snapshot, the position in the purges and the revoked certificates, in its data directory.

mod position;
mod revoked;
mod snapshots;

pub(crate) use position::Position;
pub(crate) use revoked::Revoked;
pub(crate) use snapshots::{Snapshots, one_line, parse_document};
