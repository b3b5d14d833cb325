//! The messages and the service of `proto/skerry.proto`, and the bounds both sides keep. Written by the build script.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

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

/// The blocks that the rows of a zone are counted in.
pub const ZONE_BLOCKS: usize = 1_024;

/// What a hello says of one block of the zone, in bytes.
pub const ZONE_BLOCK_BYTES: usize = 16;

/// The bytes of rows in one piece of a change of the zone, beside the last row of it; as with snapshots.
pub const ZONE_PART_BYTES_MAX: usize = 64 << 10;

/// The bytes of the rows of a zone.
pub const ZONE_BYTES_MAX: usize = 512 << 20;

/// The most purges in one message.
pub const PURGES_PER_ORDER_MAX: usize = 256;

/// The most bytes of targets in one message, beside the first purge of it; as with snapshots.
pub const PURGE_BYTES_PER_ORDER_MAX: usize = 64 << 10;

/// The longest time that a node waits before it confirms purges.
pub const CONFIRM_AFTER_MAX: Duration = Duration::from_millis(50);

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

/// Time between two reports of how far clients are.
pub const LATENCY_INTERVAL: Duration = Duration::from_secs(5);

/// The most prefixes in one report of how far clients are. One takes at most 46 bytes, a report 46 KiB.
pub const LATENCY_PREFIXES_MAX: usize = 1_024;

/// The longest time that is reported of a round trip or of its age; a longer one is reported as this.
pub const LATENCY_TIME_MAX: Duration = Duration::from_secs(3_600);

/// All that a node can do, as it reports how much of it it does. More than that is taken as that.
pub const UTILIZATION_MAX: u16 = 1_000;

/// The server name in the control plane's certificate that nodes verify, whatever address they reach it by. It holds a dot, so that no node can be called so.
pub const CONTROL_NAME: &str = "control.skerry";

impl From<crate::Load> for Load {
    fn from(load: crate::Load) -> Self {
        let crate::Load { requests, hits, bytes, errors, memory, connections, utilization } = load;
        Self { requests, hits, bytes, errors, memory, connections, utilization: utilization.map(Into::into) }
    }
}

impl From<Load> for crate::Load {
    fn from(told: Load) -> Self {
        let Load { requests, hits, bytes, errors, memory, connections, utilization } = told;
        let utilization = utilization.map(|permille| u16::try_from(permille).unwrap_or(u16::MAX).min(UTILIZATION_MAX));
        Self { requests, hits, bytes, errors, memory, connections, utilization }
    }
}

impl From<crate::PrefixTimes> for PrefixTimes {
    fn from(times: crate::PrefixTimes) -> Self {
        let address = match times.prefix.network() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let [smoothed, least, age] = [times.smoothed, times.least, times.age].map(|time| time.min(LATENCY_TIME_MAX));
        Self {
            address: address.into(),
            length: times.prefix.prefix_len().into(),
            count: times.count,
            smoothed_micros: u32::try_from(smoothed.as_micros()).unwrap_or(u32::MAX),
            least_micros: u32::try_from(least.as_micros()).unwrap_or(u32::MAX),
            age_millis: u32::try_from(age.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

impl TryFrom<PrefixTimes> for crate::PrefixTimes {
    type Error = String;

    /// What was told of a prefix, when there is such a prefix.
    fn try_from(told: PrefixTimes) -> Result<Self, String> {
        let octets = &told.address[..];
        let address = <[u8; 4]>::try_from(octets).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
        let address = address.map_err(|_| format!("an address of {} octets; it has 4 or 16", octets.len()))?;
        let length = u8::try_from(told.length).unwrap_or(u8::MAX);
        let prefix = IpNet::new(address, length).map_err(|_| format!("a prefix of {} bits, more than its address has", told.length))?;
        if prefix.trunc() != prefix {
            return Err(format!("the prefix {prefix} has bits after its length"));
        }
        let micros = |micros: u32| Duration::from_micros(micros.into());
        Ok(Self {
            prefix,
            count: told.count,
            smoothed: micros(told.smoothed_micros),
            least: micros(told.least_micros),
            age: Duration::from_millis(told.age_millis.into()),
        })
    }
}

impl From<Role> for NodeRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Edge => Self::Edge,
            Role::Shield => Self::Shield,
            Role::Dns => Self::Dns,
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
            Self::Dns => Some(Role::Dns),
        }
    }
}
