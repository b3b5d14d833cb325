//! The memory and disk tiers of a node, and how a limit of memory is divided.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Limits;
use crate::units::Size;

/// The memory tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// The bytes of stored answers kept in memory, heads and bookkeeping included.
    pub memory: Size,
    /// The largest answer that is stored; larger ones are passed on. Without a disk tier at most `memory`, with one at most a quarter of its size.
    pub object_max: Size,
    /// The bytes of answers being fetched at once that may still become stored ones; over it further answers go to disk while they come, or are passed on where there is none.
    pub filling_max: Size,
}

impl Default for Memory {
    fn default() -> Self {
        Self { memory: Size::from_mib(128), object_max: Size::from_mib(32), filling_max: Size::from_mib(64) }
    }
}

/// The disk tier. It has its directory for itself; what a failed disk held is not used again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Its directory, such as `/var/cache/skerry`; made if missing, mode 0700. Nothing but Skerry may put files there.
    pub path: PathBuf,
    /// The bytes it takes there; the file system must have them.
    pub size: Size,
    /// The size of the slices in which bodies are stored and read, `256KiB` to `2MiB`; smaller bodies are stored with their heads.
    #[serde(default = "slice")]
    pub slice: Size,
    /// Answers with a smaller body are written only when they are asked for a second time; `0B` writes all at once, so that all is there again after a crash.
    #[serde(default)]
    pub second_hit_below: Size,
    /// Answers with a larger body are written only when they are asked for a second time, such as `64MiB`: what is asked for once takes no writes then. Without it all are written at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_hit_above: Option<Size>,
}

pub(crate) fn slice() -> Size {
    Size::from_mib(1)
}

/// What the parts of a node may take of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Stored answers.
    pub stored: u64,
    /// Answers being fetched.
    pub filling: u64,
    /// What waits to be written to disk.
    pub waiting: u64,
    /// What is written at once; twice that is taken, and as much again by the table of where answers are on disk.
    pub buffer: u64,
    /// What readers hold of bodies on disk.
    pub reading: u64,
    /// Connections, and the requests on them that take the full way; without a limit they have only the bounds in `limits`.
    pub connections: Option<u64>,
}

impl Shares {
    /// What a connection is counted as: what it takes over TLS when it has nothing to do; in cleartext it is less than half of that.
    pub const CONNECTION_BYTES: u64 = 12 << 10;
    /// What a request that takes the full way is counted as, with what waits to be sent to its client.
    pub const REQUEST_BYTES: u64 = 48 << 10;
    /// What a process takes that has nothing stored and no clients.
    const OWN_BYTES: u64 = 32 << 20;
    /// What the smallest answer on disk takes there, and of memory.
    const ON_DISK_BYTES: u64 = 4 << 10;
    const INDEXED_BYTES: u64 = 97;

    /// With a limit, what the process takes for itself is set aside first, an eighth of the limit for what the allocator cannot fill, and the
    /// index of the disk as large as it can become, at most three eighths of the limit. The rest is divided: connections get five sixteenths,
    /// stored answers nine thirty-second parts, or half where there is no disk, answers being fetched an eighth, the ways to and from the disk a
    /// sixteenth each, and the table of where answers are on it half of that.
    #[must_use]
    pub fn of(cache: &Memory, disk: Option<&Disk>, limit: Option<Size>) -> Self {
        const MIB: u64 = 1 << 20;
        let Some(Size(limit)) = limit else {
            return Self {
                stored: cache.memory.0,
                filling: cache.filling_max.0,
                waiting: 64 * MIB,
                buffer: 16 * MIB,
                reading: 64 * MIB,
                connections: None,
            };
        };
        let index = disk.map_or(0, |disk| (disk.size.0 / Self::ON_DISK_BYTES).saturating_mul(Self::INDEXED_BYTES).min(limit / 8 * 3));
        let rest = limit.saturating_sub(Self::OWN_BYTES + limit / 8 + index).max(limit / 8);
        let stored = if disk.is_some() { rest / 32 * 9 } else { rest / 2 };
        Self {
            stored: cache.memory.0.min(stored),
            filling: cache.filling_max.0.min(rest / 8),
            waiting: (rest / 16).clamp(4 * MIB, 256 * MIB),
            buffer: (rest / 32).clamp(4 * MIB, 32 * MIB),
            reading: (rest / 16).clamp(4 * MIB, 256 * MIB),
            connections: Some(rest / 16 * 5),
        }
    }

    /// The limits for clients, cut down so that as many connections and requests as they admit stay within their share: three fifths of it are
    /// for connections, two for requests that take the full way.
    #[must_use]
    pub fn bound(&self, limits: &Limits) -> Limits {
        let Some(share) = self.connections else { return limits.clone() };
        let most = |fifths: u64, each: u64| u32::try_from(share / 5 * fifths / each).unwrap_or(u32::MAX).max(1);
        Limits {
            connections: limits.connections.min(most(3, Self::CONNECTION_BYTES)),
            requests: limits.requests.min(most(2, Self::REQUEST_BYTES)),
            ..limits.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn all(shares: &Shares) -> u64 {
        shares.stored + shares.filling + shares.waiting + 3 * shares.buffer + shares.reading + shares.connections.unwrap_or(0)
    }

    fn disk(size: u64) -> Disk {
        Disk { path: PathBuf::new(), size: Size(size), slice: slice(), second_hit_below: Size::default(), second_hit_above: None }
    }

    #[test]
    fn the_shares_of_a_limit_leave_room_for_the_process_and_the_index_of_the_disk() {
        let cache = Memory { memory: Size(u64::MAX), filling_max: Size(u64::MAX), ..Memory::default() };
        for limit in [128, 192, 256, 1_024, 65_536].map(|mib| mib * MIB) {
            for size in [64 * MIB, 1 << 32, 1 << 40] {
                let shares = Shares::of(&cache, Some(&disk(size)), Some(Size(limit)));
                let index = (size / Shares::ON_DISK_BYTES * Shares::INDEXED_BYTES).min(limit / 8 * 3);
                // What the ways to the disk need at least is more than their share of a small limit.
                assert!(all(&shares) + index + Shares::OWN_BYTES <= limit, "{limit} with {size}: {shares:?}");
            }
            let shares = Shares::of(&cache, None, Some(Size(limit)));
            let without = all(&shares) - shares.waiting - 3 * shares.buffer - shares.reading;
            assert!(without + Shares::OWN_BYTES + limit / 8 <= limit, "{limit}: {shares:?}");
        }
    }

    #[test]
    fn clients_are_bound_by_a_limit_of_memory_and_by_nothing_else_without_one() {
        let cache = Memory::default();
        let limits = Limits::default();
        assert_eq!(Shares::of(&cache, None, None).bound(&limits), limits);
        let bound = Shares::of(&cache, Some(&disk(1 << 32)), Some(Size(256 * MIB))).bound(&limits);
        let share = Shares::of(&cache, Some(&disk(1 << 32)), Some(Size(256 * MIB))).connections.unwrap();
        let taken = u64::from(bound.connections) * Shares::CONNECTION_BYTES + u64::from(bound.requests) * Shares::REQUEST_BYTES;
        assert!(taken <= share && taken > share - share / 16, "{taken} of {share}");
        assert_eq!(bound.streams, limits.streams);
        let few = Limits { connections: 10, requests: 5, ..limits };
        assert_eq!(Shares::of(&cache, None, Some(Size(256 * MIB))).bound(&few), few);
    }
}
