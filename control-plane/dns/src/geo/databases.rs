//! Places and networks from databases in the MaxMind DB format: of cities, and of autonomous systems.
//!
//! Both are read whole, so that a lookup waits for no disk; and again when they are told to be, beside the lookups, which go on in the one before.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use maxminddb::{PathElement, Reader};
use serde::Deserialize;

use super::{Location, Places};

/// The largest database that is read, in bytes.
const DATABASE_BYTES_MAX: u64 = 1 << 30;
/// The kinds, and what would be right where a file is none.
const CITIES: &str = "dns.geo.city (geo.city of a DNS node) is the path of a city database in the MaxMind DB format";
const NETWORKS: &str = "dns.geo.asn (geo.asn of a DNS node) is the path of an ASN database in the MaxMind DB format";

/// See the module.
#[derive(Debug, Default)]
pub struct Databases {
    cities: Option<Database>,
    networks: Option<Database>,
    /// How often one was read again.
    edition: AtomicU64,
}

/// One file, and what it said when it was read last.
struct Database {
    path: PathBuf,
    right: &'static str,
    reader: ArcSwap<Reader<Vec<u8>>>,
}

/// In short: it may have a gigabyte.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// What is read of a city.
#[derive(Deserialize)]
struct Degrees {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Databases {
    /// Reads those that there are. Blocks.
    ///
    /// # Errors
    /// One sentence with the path, what is wrong and what would be right.
    pub fn read(cities: Option<&Path>, networks: Option<&Path>) -> Result<Self, String> {
        let cities = cities.map(|path| Database::read(path, CITIES)).transpose()?;
        let networks = networks.map(|path| Database::read(path, NETWORKS)).transpose()?;
        Ok(Self { cities, networks, edition: AtomicU64::new(0) })
    }

    /// Reads them again; of one that cannot be used what was read before stays. Blocks.
    ///
    /// # Errors
    /// As for [`Databases::read`], of the first that cannot be used; the other one is read nevertheless.
    pub fn reload(&self) -> Result<(), String> {
        let read: Vec<Result<(), String>> = self.cities.iter().chain(&self.networks).map(Database::reload).collect();
        if read.iter().any(Result::is_ok) {
            self.edition.fetch_add(1, Ordering::Release);
        }
        read.into_iter().collect()
    }
}

impl Database {
    fn read(path: &Path, right: &'static str) -> Result<Self, String> {
        Ok(Self { path: path.to_owned(), right, reader: ArcSwap::from_pointee(read(path, right)?) })
    }

    fn reload(&self) -> Result<(), String> {
        self.reader.store(read(&self.path, self.right)?.into());
        Ok(())
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
        let cities = self.cities.as_ref()?.reader.load();
        let found = cities.lookup(address.to_canonical()).ok()?;
        let Degrees { latitude, longitude } = found.decode_path(&[PathElement::Key("location")]).ok()??;
        let (latitude, longitude) = (latitude?, longitude?);
        let is_on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        is_on_earth.then_some(Location { latitude: latitude as f32, longitude: longitude as f32 })
    }

    fn network(&self, address: IpAddr) -> Option<u32> {
        let networks = self.networks.as_ref()?.reader.load();
        let found = networks.lookup(address.to_canonical()).ok()?;
        found.decode_path(&[PathElement::Key("autonomous_system_number")]).ok()?
    }

    fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::mmdb::{Value, mmdb};

    /// Databases of cities, one of which is nowhere on Earth, and of networks.
    fn written(directory: &Path, berlin: f64) -> (PathBuf, PathBuf) {
        let (city, asn) = (directory.join("city.mmdb"), directory.join("asn.mmdb"));
        let cities = [
            ("192.0.2.0/24", Value::city(berlin, 13.41)),
            ("2001:db8:1::/48", Value::city(-33.87, 151.21)),
            ("198.51.100.0/24", Value::city(95.0, 0.0)),
            ("203.0.113.0/24", Value::country("DE")),
        ];
        let networks = [("192.0.2.0/24", Value::network(64_500)), ("2001:db8::/32", Value::network(4_200_000_000))];
        std::fs::write(&city, mmdb("Test-City", &cities)).expect("written");
        std::fs::write(&asn, mmdb("Test-ASN", &networks)).expect("written");
        (city, asn)
    }

    #[test]
    fn places_and_networks_are_those_of_the_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let (city, asn) = written(directory.path(), 52.52);
        let databases = Databases::read(Some(&city), Some(&asn)).expect("read");
        let at = |latitude, longitude| Some(Location { latitude, longitude });
        for (address, location, network) in [
            ("192.0.2.1", at(52.52, 13.41), Some(64_500)),
            ("192.0.2.255", at(52.52, 13.41), Some(64_500)),
            ("::ffff:192.0.2.1", at(52.52, 13.41), Some(64_500)),
            ("192.0.3.1", None, None),
            ("2001:db8:1::7", at(-33.87, 151.21), Some(4_200_000_000)),
            ("2001:db8:2::7", None, Some(4_200_000_000)),
            ("198.51.100.1", None, None),
            ("203.0.113.1", None, None),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!((databases.location(address), databases.network(address)), (location, network), "{address}");
        }
        let cities_alone = Databases::read(Some(&city), None).expect("read");
        assert_eq!(cities_alone.network([192, 0, 2, 1].into()), None);
    }

    #[test]
    fn what_is_read_again_counts_and_a_broken_file_leaves_the_one_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let (city, asn) = written(directory.path(), 52.52);
        let databases = Databases::read(Some(&city), Some(&asn)).expect("read");
        let latitude = || databases.location([192, 0, 2, 1].into()).map(|at| at.latitude);
        assert_eq!(databases.edition(), 0);
        written(directory.path(), 48.0);
        assert_eq!(latitude(), Some(52.52));
        databases.reload().expect("read again");
        assert_eq!((latitude(), databases.edition()), (Some(48.0), 1));
        written(directory.path(), 10.0);
        std::fs::write(&asn, "broken").expect("written");
        let why = databases.reload().expect_err("broken");
        assert!(why.starts_with(&format!("{}: not a database: ", asn.display())), "{why}");
        assert_eq!((latitude(), databases.network([192, 0, 2, 1].into())), (Some(10.0), Some(64_500)), "the other one is read");
        std::fs::remove_file(&city).expect("there");
        let edition = databases.edition();
        assert!(databases.reload().is_err());
        assert_eq!((latitude(), databases.edition()), (Some(10.0), edition), "nothing was read");
    }

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
