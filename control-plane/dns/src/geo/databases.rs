//! Places and networks from databases in the MaxMind DB format: of cities, and of autonomous systems.
//!
//! Both are read whole, so that a lookup waits for no disk.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{PathElement, Reader};
use serde::Deserialize;

use super::{Location, Places};

/// The largest database that is read, in bytes.
const DATABASE_BYTES_MAX: u64 = 1 << 30;

/// See the module.
#[derive(Debug, Default)]
pub struct Databases {
    cities: Option<Reader<Vec<u8>>>,
    networks: Option<Reader<Vec<u8>>>,
}

/// What is read of a city.
#[derive(Deserialize)]
struct Degrees {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Databases {
    /// Reads those that there are.
    ///
    /// # Errors
    /// One sentence with the path, what is wrong and what would be right.
    pub fn read(cities: Option<&Path>, networks: Option<&Path>) -> Result<Self, String> {
        let cities = cities
            .map(|path| read(path, "dns.geo.city (geo.city of a DNS node) is the path of a city database in the MaxMind DB format"))
            .transpose()?;
        let networks = networks
            .map(|path| read(path, "dns.geo.asn (geo.asn of a DNS node) is the path of an ASN database in the MaxMind DB format"))
            .transpose()?;
        Ok(Self { cities, networks })
    }
}

fn read(path: &Path, right: &str) -> Result<Reader<Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| format!("{}: cannot be read: {error}; {right}", path.display());
    if std::fs::metadata(path).map_err(unreadable)?.len() > DATABASE_BYTES_MAX {
        return Err(format!("{}: larger than {DATABASE_BYTES_MAX} bytes; {right}", path.display()));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    Reader::from_source(bytes).map_err(|error| format!("{}: not a database: {error}; {right}", path.display()))
}

impl Places for Databases {
    fn location(&self, address: IpAddr) -> Option<Location> {
        let found = self.cities.as_ref()?.lookup(address.to_canonical()).ok()?;
        let Degrees { latitude, longitude } = found.decode_path(&[PathElement::Key("location")]).ok()??;
        let (latitude, longitude) = (latitude?, longitude?);
        let is_on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        is_on_earth.then_some(Location { latitude: latitude as f32, longitude: longitude as f32 })
    }

    fn network(&self, address: IpAddr) -> Option<u32> {
        let found = self.networks.as_ref()?.lookup(address.to_canonical()).ok()?;
        found.decode_path(&[PathElement::Key("autonomous_system_number")]).ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_what_would_be_right() {
        let says =
            |city: Option<&str>, asn: Option<&str>| Databases::read(city.map(Path::new), asn.map(Path::new)).map(|_| ()).unwrap_err();
        let missing = says(Some("/nowhere/city.mmdb"), None);
        assert!(
            missing.starts_with("/nowhere/city.mmdb: cannot be read: ") && missing.ends_with("city database in the MaxMind DB format"),
            "{missing}"
        );
        let other = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let no_database = says(None, Some(other));
        assert!(no_database.starts_with(&format!("{other}: not a database: ")) && no_database.contains("dns.geo.asn"), "{no_database}");
    }

    #[test]
    fn without_databases_nothing_is_known() {
        let none = Databases::read(None, None).expect("nothing to read");
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!((none.location(address), none.network(address)), (None, None));
    }
}
