//! The messages and the service of `proto/skerry.proto`, and the bounds both sides keep. Written by the build script.

use std::time::Duration;

use crate::Role;

#[expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated code has its own style")]
mod generated {
    tonic::include_proto!("skerry.v1");
}

pub use generated::*;

/// The largest snapshot document that is sent or taken, in bytes of JSON.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

/// The largest piece of a snapshot in one message, in bytes. Each connection has one message encoded at a time: with a thousand nodes that are sent the same,
/// this is the memory it takes.
pub const SNAPSHOT_PART_BYTES_MAX: usize = 64 << 10;

/// The largest change of a snapshot that is sent, in bytes of JSON; where more differs the whole is sent.
pub const CHANGE_BYTES_MAX: usize = 1 << 20;

/// The most purges in one message.
pub const PURGES_PER_ORDER_MAX: usize = 256;

/// The most bytes of targets in one message, beside the first purge of it; as with snapshots.
pub const PURGE_BYTES_PER_ORDER_MAX: usize = 64 << 10;

/// The largest message either side takes, in bytes: one purge of the largest allowed size (1,000 entries of 4 KiB, escaped) with room to spare.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The largest answer to a question, in bytes of JSON.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Time between two HTTP/2 pings on an idle stream.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// Time after an unanswered ping until the peer counts as dead.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two load reports.
pub const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The most buckets of a node's history in one message.
pub const HISTORY_PER_REPORT_MAX: usize = 64;

/// The sites that a bucket tells of on their own, the busiest.
pub const HISTORY_SITES_MAX: usize = 8;

/// The most certificates that are revoked at once.
pub const REVOKED_MAX: usize = 20_000;

/// The most sites that are watched at once.
pub const SITES_WATCHED_MAX: usize = 1_000;

/// Time between two reports of how far origins are.
pub const NEAR_INTERVAL: Duration = Duration::from_secs(2);

/// The server name in the control plane's certificate that nodes verify, whatever address they reach it by. It holds a dot, so that no node can be called so.
pub const CONTROL_NAME: &str = "control.skerry";

impl From<Role> for NodeRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Edge => Self::Edge,
            Role::Shield => Self::Shield,
        }
    }
}

impl NodeRole {
    /// The role, when one was sent.
    #[must_use]
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Unspecified => None,
            Self::Edge => Some(Role::Edge),
            Self::Shield => Some(Role::Shield),
        }
    }
}
