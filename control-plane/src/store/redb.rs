//! The store in one redb file.
//!
//! The lock covers whether the file is open; redb lets one writer in at a time by itself. After an I/O error, such as a full disk, redb
//! refuses everything until the file is opened anew: that is done at the next call.

use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::{Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Change, Fault, Store, Transaction};

const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
const PURGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("purges");

/// Bytes of the file that redb keeps in memory.
const CACHE_BYTES: usize = 32 << 20;

/// A store in a file.
pub(crate) struct Redb {
    path: PathBuf,
    file: RwLock<File>,
}

enum File {
    Open(Database),
    /// There was an I/O error.
    Broken,
    Closed,
}

impl Redb {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let store = Self { path: path.to_owned(), file: RwLock::new(File::Open(open(path)?)) };
        store.with(|database| {
            let write = database.begin_write()?;
            write.open_table(KEYS)?;
            write.open_table(PURGES)?;
            Ok(write.commit()?)
        })?;
        Ok(store)
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Fault> {
        self.mend()?;
        let file = self.file.read();
        let File::Open(database) = &*file else { return Err("the store is closed".to_owned()) };
        let outcome = work(database);
        drop(file);
        outcome.map_err(|error| {
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
                let mut file = self.file.write();
                if matches!(*file, File::Open(_)) {
                    *file = File::Broken;
                }
            }
            format!("the store failed: {error}")
        })
    }

    /// Opens the file anew after an I/O error.
    fn mend(&self) -> Result<(), Fault> {
        if !matches!(*self.file.read(), File::Broken) {
            return Ok(());
        }
        let mut file = self.file.write();
        if matches!(*file, File::Broken) {
            *file = File::Open(open(&self.path)?);
            tracing::info!(file = %self.path.display(), "the store was opened anew after an I/O error");
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, Fault> {
    Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => format!("{} is in use by another process", path.display()),
        error => format!("{} cannot be opened: {error}", path.display()),
    })
}

impl Store for Redb {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(KEYS)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(KEYS)?;
            let mut found = Vec::new();
            for entry in table.range(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    fn transact(&self, transaction: &Transaction) -> Result<bool, Fault> {
        self.with(|database| {
            let mut write = database.begin_write()?;
            if transaction.may_be_lost {
                write.set_durability(Durability::None).map_err(|error| redb::Error::Io(std::io::Error::other(error.to_string())))?;
            }
            {
                let mut table = write.open_table(KEYS)?;
                for condition in &transaction.when {
                    let holds = table.get(condition.key.as_str())?.map(|value| value.value().to_vec());
                    if holds != condition.holds {
                        return Ok(false);
                    }
                }
                for change in &transaction.then {
                    match change {
                        Change::Put(key, value) => drop(table.insert(key.as_str(), value.as_slice())?),
                        Change::Delete(key) => drop(table.remove(key.as_str())?),
                    }
                }
            }
            write.commit()?;
            Ok(true)
        })
    }

    fn append_purges(&self, entries: &[Vec<u8>], above: u64, keep: u64) -> Result<u64, Fault> {
        self.with(|database| {
            let write = database.begin_write()?;
            let first;
            {
                let mut table = write.open_table(PURGES)?;
                first = table.last()?.map_or(0, |(seq, _)| seq.value()).max(above) + 1;
                let mut next = first;
                for entry in entries {
                    table.insert(next, entry.as_slice())?;
                    next += 1;
                }
                let oldest = next.saturating_sub(keep);
                table.retain_in(..oldest, |_, _| false)?;
            }
            write.commit()?;
            Ok(first)
        })
    }

    fn purges(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Fault> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(PURGES)?;
            let mut found = Vec::new();
            for entry in table.range(after.saturating_add(1)..)?.take(limit) {
                let (seq, value) = entry?;
                found.push((seq.value(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    fn purge_bounds(&self) -> Result<(u64, u64), Fault> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(PURGES)?;
            let oldest = table.first()?.map_or(1, |(seq, _)| seq.value());
            let newest = table.last()?.map_or(0, |(seq, _)| seq.value());
            Ok((oldest, newest))
        })
    }

    fn close(&self) {
        *self.file.write() = File::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Condition;

    #[test]
    fn a_transaction_happens_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let store = Redb::open(&directory.path().join("store")).unwrap();
        let put = |holds: Option<&[u8]>, value: &[u8]| Transaction {
            when: vec![Condition { key: "a".into(), holds: holds.map(<[u8]>::to_vec) }],
            then: vec![Change::Put("a".into(), value.to_vec()), Change::Put("b/1".into(), value.to_vec())],
            may_be_lost: false,
        };
        assert!(store.transact(&put(None, b"1")).unwrap());
        assert!(!store.transact(&put(None, b"2")).unwrap());
        assert!(store.transact(&put(Some(b"1"), b"3")).unwrap());
        assert_eq!(store.get("a").unwrap().as_deref(), Some(b"3".as_slice()));
        assert_eq!(store.list("b/").unwrap(), [("b/1".to_owned(), b"3".to_vec())]);
        assert!(store.transact(&Transaction { then: vec![Change::Delete("a".into())], ..Transaction::default() }).unwrap());
        assert_eq!(store.get("a").unwrap(), None);
    }

    #[test]
    fn the_purge_log_numbers_from_one_and_keeps_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Redb::open(&path).unwrap();
        assert_eq!(store.purge_bounds().unwrap(), (1, 0));
        assert_eq!(store.append_purges(&[b"a".to_vec(), b"b".to_vec()], 0, 3).unwrap(), 1);
        assert_eq!(store.append_purges(&[b"c".to_vec(), b"d".to_vec()], 0, 3).unwrap(), 3);
        assert_eq!(store.purge_bounds().unwrap(), (2, 4));
        assert!(Redb::open(&path).is_err(), "two may not have the file open");
        store.close();
        assert!(store.get("a").is_err());
        let store = Redb::open(&path).unwrap();
        assert_eq!(store.purges(2, 1).unwrap(), [(3, b"c".to_vec())]);
        assert_eq!(store.append_purges(&[b"e".to_vec()], 0, 3).unwrap(), 5);
        assert_eq!(store.append_purges(&[b"f".to_vec()], 9, 3).unwrap(), 10);
        assert_eq!(store.purge_bounds().unwrap(), (10, 10));
    }

    /// A disk that is full while the switch says so.
    #[derive(Debug)]
    struct Full(redb::backends::InMemoryBackend, std::sync::Arc<std::sync::atomic::AtomicBool>);

    impl redb::StorageBackend for Full {
        fn len(&self) -> Result<u64, std::io::Error> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
            self.0.set_len(len)
        }
        fn sync_data(&self) -> Result<(), std::io::Error> {
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
            match self.1.load(std::sync::atomic::Ordering::Relaxed) {
                true => Err(std::io::ErrorKind::StorageFull.into()),
                false => self.0.write(offset, data),
            }
        }
    }

    #[test]
    fn a_disk_that_was_full_does_not_end_the_store_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let store = Redb::open(&directory.path().join("store")).unwrap();
        let full = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        *store.file.write() =
            File::Open(Database::builder().create_with_backend(Full(redb::backends::InMemoryBackend::new(), full.clone())).unwrap());
        full.store(true, std::sync::atomic::Ordering::Relaxed);
        let why = store.append_purges(&[b"a".to_vec()], 0, 3).unwrap_err();
        assert!(why.contains("I/O"), "{why}");
        assert_eq!(store.append_purges(&[b"a".to_vec()], 0, 3).unwrap(), 1);
        store.close();
        assert!(store.get("a").is_err(), "closed is closed");
    }
}
