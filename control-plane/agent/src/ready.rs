//! `ready.json` in the data directory: there when, and only when, the process answers on all its listeners.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

const FILE: &str = "ready.json";

/// Removes what an earlier process left.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn clear(data: &Path) -> io::Result<()> {
    match fs::remove_file(data.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Says that everything answers, and where.
///
/// # Errors
/// When the file cannot be written.
pub fn write(data: &Path, addresses: &Value) -> io::Result<()> {
    crate::disk::write(&data.join(FILE), format!("{addresses}\n").as_bytes(), 0o644)
}
