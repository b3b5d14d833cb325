//! What nodes measured, and what follows from it.

use std::time::Duration;

use ipnet::IpNet;

/// What one node measured of the clients of a prefix since its last report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The prefix: at most 24 bits of IPv4 or 48 of IPv6.
    pub prefix: IpNet,
    /// How many connections it was measured on.
    pub count: u32,
    /// The mean of their smoothed round trips.
    pub smoothed: Duration,
    /// The least round trip of all.
    pub least: Duration,
    /// How long ago it was measured, on average.
    pub age: Duration,
}
