//! The rows of the zone on disk: one redb file, in which a change is one transaction.
//!
//! Not shared: one caller at a time. After an I/O error, such as a full disk, redb refuses everything until the file is opened anew, which is done at the
//! next change; that is written whole then.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use skerry_agent::disk;

use skerry_dns::plan::Row;

use crate::feed::planned;
use crate::feed::rows::{Edit, Rows};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// The file in the data directory.
const FILE: &str = "zone.redb";

/// Bytes of the file that redb keeps in memory.
const CACHE_BYTES: usize = 8 << 20;

/// What was found on disk.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// All rows but those of planned prefixes.
    pub(super) rows: Rows,
    /// What is planned for prefixes.
    pub(super) planned: Vec<Row>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct DiskCopy {
    path: PathBuf,
    /// `None` when it does not hold what the node has: the next change is written whole.
    file: Option<Database>,
}

impl DiskCopy {
    /// Opens the file, or makes it, and reads it. One that is damaged is set aside and counts as none. Blocks.
    ///
    /// # Errors
    /// One sentence, when there can be no file.
    pub(super) fn open(data: &Path) -> Result<(Self, Found), String> {
        let path = data.join(FILE);
        let read = open(&path).and_then(|file| Ok((read(&file)?, file)));
        let (found, file) = match read {
            Ok(found) => found,
            Err(why) if path.exists() => {
                disk::set_aside(&path, &why);
                (Found::default(), open(&path).map_err(|why| unusable(&path, &why))?)
            }
            Err(why) => return Err(unusable(&path, &why)),
        };
        Ok((Self { path, file: Some(file) }, found))
    }

    /// What was found is of no use: the next change takes its place.
    pub(super) fn discard(&mut self) {
        self.file = None;
    }

    /// Keeps what becomes of rows; `whole` gives all of them as they are afterwards. Blocks.
    ///
    /// # Errors
    /// One sentence; the file has what it had before.
    pub(super) fn keep<W: Iterator<Item = Edit>>(
        &mut self,
        edits: impl Iterator<Item = Edit>,
        whole: impl FnOnce() -> W,
    ) -> Result<(), String> {
        let written = match self.file.take() {
            Some(file) => write(&file, false, edits).map(|()| file),
            None => open(&self.path).and_then(|file| write(&file, true, whole()).map(|()| file)),
        };
        self.file = Some(written.map_err(|why| unusable(&self.path, &why))?);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, String> {
    // It holds the secrets of DNS cookies.
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let opened =
        opened.and_then(|file| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file)).map_err(|error| error.to_string())?;
    let backend = FileBackend::new(opened).map_err(|error| error.to_string())?;
    let file = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(|error| error.to_string())?;
    write(&file, false, std::iter::empty())?;
    Ok(file)
}

fn read(file: &Database) -> Result<Found, String> {
    let rows = || -> Result<Found, redb::Error> {
        let table = file.begin_read()?.open_table(ROWS)?;
        let mut found = Found::default();
        for row in table.iter()? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            if planned::is_key(key) {
                // One that cannot be read is told again, because it is missing in what the node says it has.
                found.planned.extend(planned::prefix(key).and_then(|prefix| planned::row(prefix, value)));
            } else {
                found.rows.insert(key.to_vec(), value.to_vec());
            }
        }
        Ok(found)
    };
    rows().map_err(|error| error.to_string())
}

fn write(file: &Database, is_whole: bool, edits: impl Iterator<Item = Edit>) -> Result<(), String> {
    let written = || -> Result<(), redb::Error> {
        let mut write = file.begin_write()?;
        write.set_durability(Durability::Immediate).map_err(|error| redb::Error::Io(std::io::Error::other(error.to_string())))?;
        if is_whole {
            write.delete_table(ROWS)?;
        }
        let mut table = write.open_table(ROWS)?;
        for (key, value) in edits {
            match value {
                Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                None => drop(table.remove(key.as_slice())?),
            }
        }
        drop(table);
        write.commit()?;
        Ok(())
    };
    written().map_err(|error| error.to_string())
}

fn unusable(path: &Path, why: &str) -> String {
    format!("the copy of the zone {} cannot be used: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use skerry_dns::plan::Ranked;
    use skerry_dns::prefix::Prefix;

    use super::*;

    fn rows(list: &[(&str, &str)]) -> Rows {
        list.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn edit(key: &str, value: Option<&str>) -> Edit {
        (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))
    }

    #[test]
    fn what_was_kept_is_there_again_and_a_damaged_file_counts_as_none() {
        let data = tempfile::tempdir().unwrap();
        let (mut copy, found) = DiskCopy::open(data.path()).unwrap();
        assert_eq!(found, Found::default());
        let planned = Row::new(Prefix::of("10.1.2.0".parse().unwrap(), 24), [Ranked { node: 3, ms: 7.5, spread_ms: 2.0 }]);
        let edits = [edit("a", Some("1")), edit("b", Some("2")), planned::edit(&planned)];
        copy.keep(edits.into_iter(), std::iter::empty).unwrap();
        copy.keep([edit("a", None), edit("c", Some("3"))].into_iter(), std::iter::empty).unwrap();
        drop(copy);
        let (copy, found) = DiskCopy::open(data.path()).unwrap();
        assert_eq!(found, Found { rows: rows(&[("b", "2"), ("c", "3")]), planned: vec![planned] });
        drop(copy);
        std::fs::write(data.path().join(FILE), vec![7; 8_192]).unwrap();
        let (copy, found) = DiskCopy::open(data.path()).unwrap();
        assert_eq!(found, Found::default());
        assert!(data.path().join("zone.redb.damaged").exists());
        drop(copy);
    }

    #[test]
    fn after_a_change_that_could_not_be_written_the_next_one_writes_all() {
        let data = tempfile::tempdir().unwrap();
        let (mut copy, _) = DiskCopy::open(data.path()).unwrap();
        copy.keep([edit("a", Some("1")), edit("b", Some("2"))].into_iter(), std::iter::empty).unwrap();
        copy.file = None;
        let whole = [edit("b", Some("3")), edit("c", Some("4"))];
        copy.keep([edit("c", Some("4"))].into_iter(), || whole.into_iter()).unwrap();
        drop(copy);
        assert_eq!(DiskCopy::open(data.path()).unwrap().1.rows, rows(&[("b", "3"), ("c", "4")]));
    }
}
