//! Where an edge stands, what it measures of its clients, and what it can do for them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{BitRate, Period};

/// A place on the earth, written as `[latitude, longitude]` in degrees, such as `[52.52, 13.41]`: north and east are positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
#[schemars(with = "[f64; 2]", inline)]
pub struct Location {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

impl Location {
    /// Whether there is such a place.
    #[must_use]
    pub fn is_on_earth(&self) -> bool {
        (-90.0..=90.0).contains(&self.latitude) && (-180.0..=180.0).contains(&self.longitude)
    }
}

impl From<[f64; 2]> for Location {
    fn from([latitude, longitude]: [f64; 2]) -> Self {
        Self { latitude, longitude }
    }
}

impl From<Location> for [f64; 2] {
    fn from(location: Location) -> Self {
        [location.latitude, location.longitude]
    }
}

/// The round trips of clients, which the edge measures by their prefixes (/24 in IPv4, /48 in IPv6, or wider) and reports to the control plane. Nobody's address is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Measuring {
    /// How long a measurement is kept that could not be reported: from `10s` to `1h`. Nothing older is learned from.
    pub keep: Period,
    /// Whether `/.well-known/skerry/rtt` is answered on every host with 204, for pages that have this edge measured by asking for it.
    pub beacon: bool,
}

impl Default for Measuring {
    fn default() -> Self {
        Self { keep: Period::from_secs(3_600), beacon: false }
    }
}

impl Measuring {
    /// The least of `keep`.
    pub const KEEP_MIN: Duration = Duration::from_secs(10);
    /// The most of `keep`.
    pub const KEEP_MAX: Duration = Duration::from_secs(3_600);

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What an edge can do beyond what it can see for itself: its processors and `limits.connections`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Capacity {
    /// What it can send to clients, such as `10Gbit`. DNS sends fewer clients to an edge the nearer it comes to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<BitRate>,
}

impl Capacity {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
