//! The certificates that are revoked: `revoked.json`. The lock lets only one writer at it.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use skerry_transport::private::Fingerprint;

use crate::disk;

const REVOKED: &str = "revoked.json";

/// The certificates that are revoked, so that they are so after a restart without the control plane too.
#[derive(Debug)]
pub(crate) struct Revoked {
    path: PathBuf,
    stored: Mutex<Vec<Fingerprint>>,
}

impl Revoked {
    /// Reads them. A damaged file is set aside and counts as none: the control plane tells them with every stream.
    pub(crate) fn load(data: &Path) -> Result<Self, String> {
        let path = data.join(REVOKED);
        let json = disk::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let mut stored = Vec::new();
        if let Some(json) = json {
            match serde_json::from_slice(&json) {
                Ok(list) => stored = list,
                Err(error) => disk::set_aside(&path, &error.to_string()),
            }
        }
        Ok(Self { path, stored: Mutex::new(stored) })
    }

    /// Those that are kept.
    pub(crate) fn certificates(&self) -> Vec<Fingerprint> {
        self.stored.lock().clone()
    }

    /// Keeps these in place of those before. Blocks.
    pub(crate) fn store(&self, certificates: Vec<Fingerprint>) -> Result<(), String> {
        let mut stored = self.stored.lock();
        if *stored != certificates {
            let json = serde_json::to_vec(&certificates).map_err(|error| error.to_string())?;
            disk::write(&self.path, &json, 0o600).map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
            *stored = certificates;
        }
        Ok(())
    }
}
