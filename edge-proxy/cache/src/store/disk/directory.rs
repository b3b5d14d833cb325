//! The directory of the disk tier: whose it is, which version of ours, and that one process has it.
//!
//! Never touches what Skerry did not put there. What it finds of another version, or of another node, is removed.
//!
//! ```text
//! PATH/lock                   locked while a process has the directory; its number inside
//! PATH/skerry-foyer-0.22-1/   the version: of foyer's format and of ours
//!     store                   the identity of the store, the size of a block, and the number of the run that had it last
//!     void                    what does not count of what is in the log, if there is such
//!     ...                     the log's files
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::purge::Life;

/// The directory within the directory: foyer's format, and the one of [`super::record`].
const VERSION: &str = "skerry-foyer-0.22-1";
/// What every version of ours begins with.
const OURS: &str = "skerry-";
/// What else may be there: ours, and what file systems put into their root.
const OTHERS: [&str; 2] = ["lock", "lost+found"];
const STORE: &str = "store";

/// See the module. The lock is held until it is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Where the log has its files.
    pub(crate) log: PathBuf,
    identity: u64,
    run: u64,
    block_bytes: u64,
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is missing and takes it. What it holds is kept only if it has blocks of this size and is of the store with this
    /// identity, from the run before this one: what another run had meanwhile, as where the data directory was put back to an earlier state,
    /// may have the numbers that this run gives out.
    ///
    /// # Errors
    /// One sentence that names the directory: it cannot be used, another process has it, what is in it is not ours, or it has too little room.
    pub(crate) fn claim(path: &Path, life: Life, capacity: u64, block_bytes: u64) -> Result<Self, String> {
        let (identity, run) = (life.identity, life.run);
        let unusable = |error: io::Error| format!("the disk tier cannot use {}: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let stale = stale(path)?;
        let lock = lock(path)?;
        for version in stale {
            tracing::warn!(directory = %version.display(), "removed what another version had stored");
            fs::remove_dir_all(&version).map_err(unusable)?;
        }
        let log = path.join(VERSION);
        let wanted = said(identity, block_bytes, run.saturating_sub(1));
        let known = match fs::read_to_string(log.join(STORE)) {
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(String::new()),
            Err(error) => return Err(unusable(error)),
        };
        if known.as_ref() != Some(&wanted) {
            if log.exists() {
                tracing::warn!(
                    directory = %log.display(),
                    "what is stored there is of another node, of another run than the one before, or of blocks of another size, and was removed"
                );
                fs::remove_dir_all(&log).map_err(unusable)?;
            }
            DirBuilder::new().mode(0o700).create(&log).map_err(unusable)?;
        }
        has_room(path, &log, capacity)?;
        Ok(Self { log, identity, run, block_bytes, _lock: lock })
    }

    /// Says that this run has it, before anything is stored and after the journal says which run it is. Without that it is begun anew.
    ///
    /// # Errors
    /// One sentence that names the directory, when it cannot be written.
    pub(crate) fn begin(&self) -> Result<(), String> {
        let store = self.log.join(STORE);
        let new = store.with_extension("new");
        let written = fs::write(&new, said(self.identity, self.block_bytes, self.run)).and_then(|()| fs::rename(&new, &store));
        written.map_err(|error| format!("the disk tier cannot use {}: {error}", self.log.display()))
    }
}

fn said(identity: u64, block_bytes: u64, run: u64) -> String {
    format!("{identity:016x} {block_bytes} {run}\n")
}

/// The versions of ours that are not this one.
fn stale(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unusable = |error: io::Error| format!("the disk tier cannot use {}: {error}", path.display());
    let mut stale = Vec::new();
    for entry in fs::read_dir(path).map_err(unusable)? {
        let name = entry.map_err(unusable)?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(OURS) {
            if name != VERSION {
                stale.push(path.join(&*name));
            }
        } else if !OTHERS.contains(&&*name) {
            return Err(format!(
                "the disk tier cannot use {}: it holds {name:?}, which Skerry did not put there; name a directory of its own",
                path.display()
            ));
        }
    }
    Ok(stale)
}

fn lock(path: &Path) -> Result<File, String> {
    let unusable = |error: io::Error| format!("the disk tier cannot use {}: {error}", path.display());
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Without its number the sentence says less, and is true.
            let _ = file.read_to_string(&mut owner);
            let owner = owner.trim().parse::<u32>().map_or_else(|_| "another process".to_owned(), |pid| format!("process {pid}"));
            return Err(format!("the disk tier cannot use {}: {owner} has it", path.display()));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    file.set_len(0).map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
}

/// Whether the file system has so many bytes for the log, those among them that it has already.
fn has_room(path: &Path, log: &Path, capacity: u64) -> Result<(), String> {
    let unusable = |error: io::Error| format!("the disk tier cannot use {}: {error}", path.display());
    let found = rustix::fs::statvfs(path).map_err(|error| unusable(error.into()))?;
    let mut room = found.f_bavail.saturating_mul(found.f_frsize);
    for entry in fs::read_dir(log).map_err(unusable)? {
        room = room.saturating_add(entry.and_then(|entry| entry.metadata()).map_err(unusable)?.blocks() * 512);
    }
    if capacity > room {
        let room = skerry_config::units::Size(room - room % (1 << 20));
        let capacity = skerry_config::units::Size(capacity);
        return Err(format!("the disk tier cannot have {capacity} in {}: its file system has {room} for it", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIFE: Life = Life { identity: 1, run: 1 };

    #[test]
    fn a_directory_has_one_process_and_says_which() {
        let path = tempfile::tempdir().unwrap();
        let held = Directory::claim(path.path(), LIFE, MIB, MIB).unwrap();
        let refused = Directory::claim(path.path(), LIFE, MIB, MIB).unwrap_err();
        assert!(refused.ends_with(&format!("process {} has it", std::process::id())), "{refused}");
        drop(held);
        Directory::claim(path.path(), LIFE, MIB, MIB).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_named_and_left_alone() {
        let path = tempfile::tempdir().unwrap();
        fs::create_dir(path.path().join("lost+found")).unwrap();
        fs::write(path.path().join("letters.txt"), "dear").unwrap();
        fs::create_dir(path.path().join("skerry-foyer-0.21-1")).unwrap();
        let refused = Directory::claim(path.path(), LIFE, MIB, MIB).unwrap_err();
        assert!(refused.contains("\"letters.txt\""), "{refused}");
        assert!(path.path().join("skerry-foyer-0.21-1").exists());
        assert_eq!(fs::read(path.path().join("letters.txt")).unwrap(), b"dear");
    }

    #[test]
    fn other_versions_other_nodes_other_runs_and_other_blocks_are_removed_and_our_own_is_kept() {
        let path = tempfile::tempdir().unwrap();
        fs::create_dir(path.path().join("skerry-foyer-0.21-1")).unwrap();
        let first = Directory::claim(path.path(), LIFE, MIB, MIB).unwrap();
        first.begin().unwrap();
        let log = first.log.clone();
        drop(first);
        assert!(!path.path().join("skerry-foyer-0.21-1").exists());
        let kept = |identity, run, block| {
            fs::write(log.join("a"), "a").unwrap();
            Directory::claim(path.path(), Life { identity, run }, MIB, block).unwrap().begin().unwrap();
            log.join("a").exists()
        };
        assert_eq!((kept(1, 2, MIB), kept(2, 3, MIB), kept(2, 4, MIB), kept(2, 5, 2 * MIB)), (true, false, true, false));
        // The data directory was put back to what it was; and the runs between had another directory.
        assert_eq!((kept(2, 5, 2 * MIB), kept(2, 4, 2 * MIB), kept(2, 5, 2 * MIB), kept(2, 7, 2 * MIB)), (false, false, true, false));
        fs::write(log.join(STORE), [0xff, 0xfe]).unwrap();
        assert!(!kept(2, 8, 2 * MIB));
    }

    #[test]
    fn more_than_the_file_system_has_is_refused_with_what_it_has() {
        let path = tempfile::tempdir().unwrap();
        let refused = Directory::claim(path.path(), LIFE, 1 << 60, MIB).unwrap_err();
        assert!(refused.contains("1024PiB") || refused.contains("1048576TiB"), "{refused}");
        assert!(refused.contains("for it"), "{refused}");
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let path = tempfile::tempdir().unwrap();
        let file = path.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = Directory::claim(&file, LIFE, MIB, MIB).unwrap_err();
        assert!(refused.contains("cannot use") && refused.contains("file"), "{refused}");
    }
}
