//! What a node keeps of what it was told: `snapshot.json`, `purge.json` and `revoked.json` in its data directory.
//!
//! The locks in [`Position`] and [`Revoked`] let only one writer at each file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use skerry_config::snapshot::{Document, Snapshot};
use skerry_transport::private::Fingerprint;
use tokio::sync::watch;

use crate::{Place, disk};

const SNAPSHOT: &str = "snapshot.json";
const POSITION: &str = "purge.json";
const REVOKED: &str = "revoked.json";

/// The snapshot on disk. A damaged one is set aside and counts as none.
pub(crate) fn load_snapshot(data: &Path) -> Result<Option<Snapshot>, String> {
    let path = data.join(SNAPSHOT);
    let Some(json) = disk::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))? else { return Ok(None) };
    let built = parse_document(&json).and_then(|document| Snapshot::build(document).map_err(|faults| one_line(&faults)));
    match built {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(why) => {
            disk::set_aside(&path, &why);
            Ok(None)
        }
    }
}

/// Keeps the document of the snapshot in force.
pub(crate) fn save_snapshot(data: &Path, json: &[u8]) -> Result<(), String> {
    let path = data.join(SNAPSHOT);
    disk::write(&path, json, 0o600).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// The document in JSON.
pub(crate) fn parse_document(json: &[u8]) -> Result<Document, String> {
    serde_json::from_slice(json).map_err(|error| format!("the snapshot is not a configuration document: {error}"))
}

/// Faults as one sentence.
pub(crate) fn one_line(faults: &skerry_config::check::Faults) -> String {
    faults.to_string().replace('\n', "; ")
}

/// How far the node is in the purge log: in force, and on disk.
#[derive(Debug)]
pub(crate) struct Position {
    path: PathBuf,
    applied: watch::Sender<Arc<Place>>,
    stored: Mutex<Option<Place>>,
}

impl Position {
    /// Reads the position. A damaged one is set aside and counts as none: the control plane will then have everything dropped.
    pub(crate) fn load(data: &Path) -> Result<Self, String> {
        let path = data.join(POSITION);
        let json = disk::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let mut stored = None;
        if let Some(json) = json {
            match serde_json::from_slice::<Place>(&json) {
                Ok(place) => stored = Some(place),
                Err(error) => disk::set_aside(&path, &error.to_string()),
            }
        }
        let applied = watch::Sender::new(Arc::new(stored.clone().unwrap_or_default()));
        Ok(Self { path, applied, stored: Mutex::new(stored) })
    }

    /// The position in force.
    pub(crate) fn applied(&self) -> Arc<Place> {
        Arc::clone(&self.applied.borrow())
    }

    /// The position in force, and word of its changes.
    pub(crate) fn places(&self) -> watch::Receiver<Arc<Place>> {
        self.applied.subscribe()
    }

    /// Purges up to `place` are in force.
    pub(crate) fn advance(&self, place: Place) {
        self.applied.send_replace(Arc::new(place));
    }

    /// Brings the position in force to disk and returns it, once `settle` has brought there what is in force by then. Blocks.
    pub(crate) fn store(&self, settle: impl FnOnce() -> Result<(), String>) -> Result<Place, String> {
        let mut stored = self.stored.lock();
        let place = Place::clone(&self.applied());
        settle()?;
        if stored.as_ref() != Some(&place) {
            let json = serde_json::to_vec(&place).map_err(|error| error.to_string())?;
            disk::write(&self.path, &json, 0o600).map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
            *stored = Some(place.clone());
        }
        Ok(place)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_position_is_set_aside_and_counts_as_none() {
        let data = tempfile::tempdir().unwrap();
        let at = |seq| Place { log: "a".into(), seq, earlier: Vec::new() };
        std::fs::write(data.path().join(POSITION), b"{\"log\":\"a\",\"se").unwrap();
        let position = Position::load(data.path()).unwrap();
        assert_eq!(*position.applied(), Place::default());
        assert!(data.path().join("purge.json.damaged").exists());
        position.advance(at(7));
        position.store(|| Ok(())).unwrap();
        position.advance(at(8));
        assert!(position.store(|| Err("full".to_owned())).is_err());
        assert_eq!(*Position::load(data.path()).unwrap().applied(), at(7));
    }

    #[test]
    fn a_damaged_snapshot_is_set_aside_and_counts_as_none() {
        let data = tempfile::tempdir().unwrap();
        assert!(load_snapshot(data.path()).unwrap().is_none());
        save_snapshot(data.path(), br#"{"version":3,"sites":[],"shields":[]}"#).unwrap();
        assert_eq!(load_snapshot(data.path()).unwrap().unwrap().version(), 3);
        std::fs::write(data.path().join(SNAPSHOT), b"\0\0\0").unwrap();
        assert!(load_snapshot(data.path()).unwrap().is_none());
        assert!(data.path().join("snapshot.json.damaged").exists());
    }
}
