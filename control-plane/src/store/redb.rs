//! The store in one redb file.
//!
//! One lock covers whether the file is open, one the order in which changes are written and told. After an I/O error, such as a full disk, redb
//! refuses everything until the file is opened anew: that is done at the next call.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use redb::{Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use super::history::History;
use super::{Change, Fault, Step, Store, Subject, Transaction, Watch};

const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
const PURGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("purges");
/// One entry: the number of the last change.
const REVISION: TableDefinition<'_, (), u64> = TableDefinition::new("revision");

/// Bytes of the file that redb keeps in memory.
const CACHE_BYTES: usize = 32 << 20;

/// A store in a file.
pub(crate) struct Redb {
    path: PathBuf,
    file: RwLock<File>,
    writing: Mutex<()>,
    history: Arc<History>,
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
        let database = open(path)?;
        let revision = begin(&database).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let history = Arc::new(History::new(revision));
        Ok(Self { path: path.to_owned(), file: RwLock::new(File::Open(database)), writing: Mutex::default(), history })
    }

    /// Changes the file: what `work` makes of it is the next revision, unless it says that nothing happened.
    fn write<T>(
        &self,
        may_be_lost: bool,
        work: impl FnOnce(&WriteTransaction) -> Result<(T, Option<Step>), redb::Error>,
    ) -> Result<T, Fault> {
        let _order = self.writing.lock();
        let (done, step) = self.with(|database| {
            let mut write = database.begin_write()?;
            if may_be_lost {
                write.set_durability(Durability::None).map_err(|error| redb::Error::Io(std::io::Error::other(error.to_string())))?;
            }
            let (done, step) = work(&write)?;
            let Some(step) = step else { return Ok((done, None)) };
            let revision = self.history.newest() + 1;
            write.open_table(REVISION)?.insert((), revision)?;
            write.commit()?;
            Ok((done, Some(Step { revision, ..step })))
        })?;
        step.into_iter().for_each(|step| self.history.note(step));
        Ok(done)
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
            // What might be lost may be so by now.
            self.history.forget();
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

/// Makes what is missing in the file; the number of its last change.
fn begin(database: &Database) -> Result<u64, redb::Error> {
    let write = database.begin_write()?;
    write.open_table(KEYS)?;
    write.open_table(PURGES)?;
    let revision = write.open_table(REVISION)?.get(())?.map_or(0, |revision| revision.value());
    write.commit()?;
    Ok(revision)
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
        self.write(transaction.may_be_lost, |write| {
            let mut table = write.open_table(KEYS)?;
            for condition in &transaction.when {
                let holds = table.get(condition.key.as_str())?.map(|value| value.value().to_vec());
                if holds != condition.holds {
                    return Ok((false, None));
                }
            }
            for change in &transaction.then {
                match change {
                    Change::Put(key, value) => drop(table.insert(key.as_str(), value.as_slice())?),
                    Change::Delete(key) => drop(table.remove(key.as_str())?),
                }
            }
            Ok((true, Some(Step { revision: 0, keys: transaction.then.clone(), purges: None })))
        })
    }

    fn append_purges(&self, entries: &[Vec<u8>], above: u64, keep: u64) -> Result<u64, Fault> {
        self.write(false, |write| {
            let mut table = write.open_table(PURGES)?;
            let first = table.last()?.map_or(0, |(seq, _)| seq.value()).max(above) + 1;
            let mut next = first;
            for entry in entries {
                table.insert(next, entry.as_slice())?;
                next += 1;
            }
            let oldest = next.saturating_sub(keep);
            table.retain_in(..oldest, |_, _| false)?;
            Ok((first, Some(Step { revision: 0, keys: Vec::new(), purges: Some(next - 1) })))
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

    fn revision(&self) -> Result<u64, Fault> {
        self.with(|_| Ok(self.history.newest()))
    }

    fn watch(&self, subject: Subject, after: u64) -> Watch {
        Watch::new(&self.history, subject, after)
    }

    fn close(&self) {
        *self.file.write() = File::Closed;
        self.history.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::conformance;

    conformance!(|path: &Path| Arc::new(Redb::open(path).unwrap()) as Arc<dyn Store>);

    #[test]
    fn two_may_not_have_the_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let _store = Redb::open(&path).unwrap();
        assert!(Redb::open(&path).is_err_and(|why| why.contains("in use by another process")));
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
