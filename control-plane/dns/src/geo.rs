//! Where addresses and edges are, and how far apart.
//!
//! Owns the arithmetic of the sphere. What knows the places of addresses is behind [`Places`].

mod databases;

use std::fmt::Debug;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::databases::Databases;

/// The mean radius of the Earth, in km.
const EARTH_KM: f64 = 6_371.0;

/// What light makes in a millisecond, in km.
const LIGHT_KM_PER_MS: f64 = 299.792_458;

/// The least time there and back over so many km, in ms: no signal is faster.
#[must_use]
pub fn speed_of_light_ms(km: f64) -> f64 {
    2.0 * km.max(0.0) / LIGHT_KM_PER_MS
}

/// A place on Earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// North of the equator, -90 to 90.
    pub latitude: f32,
    /// East of Greenwich, -180 to 180.
    pub longitude: f32,
}

/// A place as a vector of length 1, for many distances to it.
#[derive(Clone, Copy, Debug)]
pub struct Spot([f64; 3]);

impl Spot {
    /// Of a place.
    #[must_use]
    pub fn new(at: Location) -> Self {
        let (latitude, longitude) = (f64::from(at.latitude).to_radians(), f64::from(at.longitude).to_radians());
        Self([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()])
    }

    /// The great circle to another place, in km.
    #[must_use]
    pub fn km(&self, other: &Self) -> f64 {
        let product: f64 = self.0.iter().zip(other.0).map(|(one, two)| one * two).sum();
        product.clamp(-1.0, 1.0).acos() * EARTH_KM
    }
}

/// Who knows where addresses are. Asked at every answer to a client that nothing was measured of: it must neither block nor fail.
pub trait Places: Debug + Send + Sync {
    /// Where an address is.
    fn location(&self, address: IpAddr) -> Option<Location>;

    /// The number of the network (ASN) that an address belongs to.
    fn network(&self, address: IpAddr) -> Option<u32>;

    /// Another number once what is known may be something else.
    fn edition(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn great_circles_are_what_maps_say() {
        let at = |latitude, longitude| Spot::new(Location { latitude, longitude });
        for (one, two, km) in [
            (at(51.5, -0.1), at(40.7, -74.0), 5_570.0),
            (at(35.7, 139.7), at(-33.9, 151.2), 7_820.0),
            (at(0.0, 0.0), at(0.0, 180.0), 20_015.0),
            (at(52.5, 13.4), at(52.5, 13.4), 0.0),
            (at(0.0, 179.5), at(0.0, -179.5), 111.2),
        ] {
            assert!((one.km(&two) - km).abs() < km * 0.01 + 0.1, "{one:?} {two:?} {}", one.km(&two));
        }
    }
}
