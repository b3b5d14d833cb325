//! How far the node is in the purge log: `purge.json`, and `purge.seq` beside it. The lock lets only one writer at the files.
//!
//! The first has the whole place and is written anew with another log, which is seldom. Within a log only the number changes, with every purge: it is
//! written over one of two slots of the second file, so that a confirmation costs one write that moves nothing on the disk, and a write that was cut
//! short leaves the other slot.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use tokio::sync::watch;

use crate::{Place, disk};

const PLACE: &str = "purge.json";
const NUMBER: &str = "purge.seq";

/// Bytes of a slot: what a disk writes whole or not at all. A log whose name does not fit is written to the first file each time.
const SLOT_BYTES: usize = 512;

/// How far the node is in the purge log: in force, and on disk.
#[derive(Debug)]
pub(crate) struct Position {
    path: PathBuf,
    applied: watch::Sender<Arc<Place>>,
    stored: Mutex<Stored>,
}

/// What is on disk.
#[derive(Debug)]
struct Stored {
    place: Option<Place>,
    /// The second file, and the slot that is written next.
    numbers: File,
    slot: usize,
}

impl Position {
    /// Reads the position. A damaged one is set aside and counts as none: the control plane will then have everything dropped.
    pub(crate) fn load(data: &Path) -> Result<Self, String> {
        let path = data.join(PLACE);
        let json = disk::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let mut place = None;
        if let Some(json) = json {
            match serde_json::from_slice::<Place>(&json) {
                Ok(read) => place = Some(read),
                Err(error) => disk::set_aside(&path, &error.to_string()),
            }
        }
        let (numbers, slots) = numbers(&data.join(NUMBER))?;
        let mut slot = 0;
        if let Some(place) = &mut place {
            for (index, seq) in slots.iter().enumerate() {
                let seq = seq.as_ref().filter(|(log, seq)| *log == place.log && *seq >= place.seq);
                if let Some((_, seq)) = seq {
                    place.seq = *seq;
                    slot = (index + 1) % slots.len();
                }
            }
        }
        let applied = watch::Sender::new(Arc::new(place.clone().unwrap_or_default()));
        Ok(Self { path, applied, stored: Mutex::new(Stored { place, numbers, slot }) })
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
        if stored.place.as_ref() != Some(&place) {
            stored.write(&self.path, &place)?;
            stored.place = Some(place.clone());
        }
        Ok(place)
    }
}

impl Stored {
    fn write(&mut self, path: &Path, place: &Place) -> Result<(), String> {
        let unwritable = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        let goes_on = |before: &Place| before.log == place.log && before.earlier == place.earlier && before.seq <= place.seq;
        if self.place.as_ref().is_some_and(goes_on)
            && let Some(text) = slot(&place.log, place.seq)
        {
            self.numbers.write_all_at(&text, (self.slot * SLOT_BYTES) as u64).map_err(unwritable)?;
            self.numbers.sync_data().map_err(unwritable)?;
            self.slot = 1 - self.slot;
            return Ok(());
        }
        if self.place.as_ref().is_some_and(|before| before.log == place.log) {
            // Higher numbers of the same log would count when it is read.
            self.numbers.write_all_at(&[b' '; 2 * SLOT_BYTES], 0).map_err(unwritable)?;
            self.numbers.sync_data().map_err(unwritable)?;
        }
        let json = serde_json::to_vec(place).map_err(|error| error.to_string())?;
        disk::write(path, &json, 0o600).map_err(unwritable)
    }
}

/// What a slot says.
type Slot = Option<(String, u64)>;

/// Opens the second file, and makes it if it is missing; what its slots say.
fn numbers(path: &Path) -> Result<(File, [Slot; 2]), String> {
    let unusable = |error: std::io::Error| format!("{} cannot be used: {error}", path.display());
    if disk::read(path).map_err(unusable)?.is_none_or(|content| content.len() != 2 * SLOT_BYTES) {
        disk::write(path, &[b' '; 2 * SLOT_BYTES], 0o600).map_err(unusable)?;
    }
    let file = OpenOptions::new().read(true).write(true).mode(0o600).open(path).map_err(unusable)?;
    let mut content = [0; 2 * SLOT_BYTES];
    file.read_exact_at(&mut content, 0).map_err(unusable)?;
    let (first, second) = content.split_at(SLOT_BYTES);
    Ok((file, [parse(first), parse(second)]))
}

/// The text of a slot, if it fits: the log, the number, and a sum of both.
fn slot(log: &str, seq: u64) -> Option<[u8; SLOT_BYTES]> {
    let text = format!("{log} {seq} {}", sum(log, seq));
    let mut slot = [b' '; SLOT_BYTES];
    slot.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(slot)
}

fn parse(slot: &[u8]) -> Slot {
    let mut words = std::str::from_utf8(slot).ok()?.trim_end().rsplitn(3, ' ');
    let (said, seq, log) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    (sum(log, seq) == said).then(|| (log.to_owned(), seq))
}

fn sum(log: &str, seq: u64) -> String {
    let digest = digest(&SHA256, format!("{log} {seq}").as_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(log: &str, seq: u64) -> Place {
        Place { log: log.into(), seq, earlier: Vec::new() }
    }

    fn stored(position: &Position, place: Place) {
        position.advance(place);
        position.store(|| Ok(())).unwrap();
    }

    fn read(data: &Path) -> Place {
        Place::clone(&Position::load(data).unwrap().applied())
    }

    #[test]
    fn a_damaged_position_is_set_aside_and_counts_as_none() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(PLACE), b"{\"log\":\"a\",\"se").unwrap();
        let position = Position::load(data.path()).unwrap();
        assert_eq!(*position.applied(), Place::default());
        assert!(data.path().join("purge.json.damaged").exists());
        stored(&position, at("a", 7));
        position.advance(at("a", 8));
        assert!(position.store(|| Err("full".to_owned())).is_err());
        assert_eq!(read(data.path()), at("a", 7));
    }

    #[test]
    fn numbers_of_a_log_are_written_in_turn_and_the_newest_whole_one_counts() {
        let data = tempfile::tempdir().unwrap();
        let position = Position::load(data.path()).unwrap();
        for seq in 7..=10 {
            stored(&position, at("a", seq));
            assert_eq!(read(data.path()), at("a", seq));
        }
        assert!(std::fs::read_to_string(data.path().join(PLACE)).unwrap().contains("\"seq\":7"), "only the number is written");
        // A write of the newest that was cut short leaves the one before.
        let path = data.path().join(NUMBER);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.replace("a 10 ", "a 11 ")).unwrap();
        assert_eq!(read(data.path()), at("a", 9));
        std::fs::write(&path, "short").unwrap();
        assert_eq!(read(data.path()), at("a", 7), "without numbers the place is what was written whole");
        // And the next one goes over the slot that does not count.
        std::fs::write(&path, whole.replace("a 10 ", "a 11 ")).unwrap();
        let position = Position::load(data.path()).unwrap();
        stored(&position, at("a", 12));
        assert_eq!(read(data.path()), at("a", 12));
    }

    #[test]
    fn numbers_of_one_log_say_nothing_of_another() {
        let data = tempfile::tempdir().unwrap();
        let position = Position::load(data.path()).unwrap();
        stored(&position, at("a", 7));
        stored(&position, at("a", 9));
        stored(&position, at("b", 3));
        assert_eq!(read(data.path()), at("b", 3));
        stored(&position, at("b", 4));
        stored(&position, at("b", 2));
        assert_eq!(read(data.path()), at("b", 2), "a number that went back counts");
        let long = "l".repeat(2 * SLOT_BYTES);
        stored(&position, at(&long, 1));
        stored(&position, at(&long, 2));
        assert_eq!(read(data.path()), at(&long, 2), "a name that does not fit is written whole");
    }
}
