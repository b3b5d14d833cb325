//! How far the node is in the purge log: `purge.json`. The lock lets only one writer at the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Place, disk};

const POSITION: &str = "purge.json";

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
}
