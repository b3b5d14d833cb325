//! The country of a client, from a database in the MaxMind DB format.
//!
//! One [`ArcSwapOption`] holds the database; a lookup reads it once and waits for nobody.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use arc_swap::ArcSwapOption;
use http::header::HeaderValue;
use maxminddb::{PathElement, Reader};

/// The largest database that is read into memory, in bytes.
const DATABASE_BYTES_MAX: u64 = 1 << 30;
/// For clients whose country is not known: a code that ISO 3166-1 leaves to its users.
pub(crate) const UNKNOWN: HeaderValue = HeaderValue::from_static("ZZ");

/// Tells countries.
pub(crate) struct Countries {
    database: ArcSwapOption<Reader<Vec<u8>>>,
}

impl Countries {
    /// Reads the database. Without one, no country is known.
    ///
    /// # Errors
    /// One sentence with the path, what is wrong and what would be right.
    pub(crate) fn load(path: Option<&PathBuf>) -> Result<Self, String> {
        let database = path.map(|path| read(path)).transpose()?;
        Ok(Self { database: ArcSwapOption::from_pointee(database) })
    }

    /// Reads the database again; on an error the one in force stays.
    ///
    /// # Errors
    /// As for [`Countries::load`].
    pub(crate) fn reload(&self, path: &Path) -> Result<(), String> {
        self.database.store(Some(read(path)?.into()));
        Ok(())
    }

    /// Two letters; `ZZ` for a client that the database does not know.
    pub(crate) fn of(&self, client: Option<IpAddr>) -> HeaderValue {
        let database = self.database.load();
        let (Some(database), Some(client)) = (database.as_ref(), client) else { return UNKNOWN };
        code(database, client.to_canonical()).unwrap_or(UNKNOWN)
    }
}

fn code(database: &Reader<Vec<u8>>, client: IpAddr) -> Option<HeaderValue> {
    let found = database.lookup(client).ok()?;
    let code: &str = found.decode_path(&[PathElement::Key("country"), PathElement::Key("iso_code")]).ok()??;
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    HeaderValue::from_str(code).ok().filter(|_| is_code)
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, String> {
    let right = "geo.database is the path of a country database in the MaxMind DB format";
    let unreadable = |error: std::io::Error| format!("{}: cannot be read: {error}; {right}", path.display());
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > DATABASE_BYTES_MAX {
        return Err(format!("{}: larger than {DATABASE_BYTES_MAX} bytes; {right}", path.display()));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    Reader::from_source(bytes).map_err(|error| format!("{}: not a database: {error}; {right}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_database_no_country_is_known() {
        let countries = Countries::load(None).unwrap();
        assert_eq!(countries.of(Some(IpAddr::from([192, 0, 2, 1]))), "ZZ");
        assert_eq!(countries.of(None), "ZZ");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_what_would_be_right() {
        let right = "geo.database is the path of a country database in the MaxMind DB format";
        let says = |path: &str| Countries::load(Some(&path.into())).err().unwrap_or_default();
        let missing = says("/nowhere/country.mmdb");
        assert!(missing.starts_with("/nowhere/country.mmdb: cannot be read: ") && missing.ends_with(right), "{missing}");
        let other = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let no_database = says(other);
        assert!(no_database.starts_with(&format!("{other}: not a database: ")) && no_database.ends_with(right), "{no_database}");
    }
}
