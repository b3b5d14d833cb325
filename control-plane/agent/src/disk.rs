//! Files of a data directory: its making and its lock, whole writes, and setting aside what cannot be read.
//!
//! Never knows what a file means.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The lock on a data directory, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Makes the data directory (mode 0700) if it is missing, checks that it can be written, and locks it for this process.
///
/// # Errors
/// One sentence that names the directory: it cannot be made, cannot be written, or another process has it.
pub fn claim(data: &Path) -> Result<Lock, String> {
    let unwritable = |error: io::Error| format!("data directory {} cannot be written: {error}", data.display());
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(unwritable)?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).map_err(unwritable)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(data.join("lock")).map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(format!("data directory {} is in use by another process", data.display())),
        Err(TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

/// Writes a file whole: a reader, and a start after a crash, sees the old content or the new one.
///
/// # Errors
/// When the file system says no; the old content stays.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// The content of a file, `None` when there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renames a file that cannot be understood to `NAME.damaged`, so that it is kept for a person and not read again.
pub fn set_aside(path: &Path, why: &str) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(file = %path.display(), why, "file is damaged and was set aside as .damaged"),
        Err(error) => tracing::warn!(file = %path.display(), why, %error, "file is damaged and could not be set aside"),
    }
}
