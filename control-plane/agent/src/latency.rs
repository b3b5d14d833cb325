//! How far clients are: round trips by prefix, as nodes report them.
//!
//! Measures nothing and keeps nothing; that is the node's.

use std::time::Duration;

use ipnet::IpNet;

/// What was measured of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixTimes {
    /// The prefix.
    pub prefix: IpNet,
    /// How many times a connection was measured.
    pub count: u32,
    /// The mean of the smoothed round trips.
    pub smoothed: Duration,
    /// The least round trip.
    pub least: Duration,
    /// How long ago the measurements were taken, the mean of them.
    pub age: Duration,
}

/// What was measured since it was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Each prefix once.
    pub prefixes: Vec<PrefixTimes>,
    /// Measurements since the process started that are in no report.
    pub dropped: u64,
}
