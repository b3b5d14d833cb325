//! The snapshot on disk: `snapshot.json`, the last one that was written whole, and `snapshot.changes`, what made the present one of it, so that a
//! change costs the disk what it changes. When the changes are as large as the whole, the whole is written anew.
//!
//! A line of the changes is the SHA-256 of a change in hexadecimal, a space, and its JSON. One that was cut off by a crash, and everything after it,
//! counts as never said: the node begins with what is before it, and the control plane tells the rest. Not shared: one task writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use skerry_config::snapshot::{Change, Document, Snapshot};

use crate::disk;

const WHOLE: &str = "snapshot.json";
const CHANGES: &str = "snapshot.changes";

/// Bytes of changes that are kept beside a smaller whole.
const CHANGES_BYTES_MIN: u64 = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Snapshots {
    whole: PathBuf,
    changes: PathBuf,
    whole_bytes: u64,
    changes_bytes: u64,
    /// The number of the snapshot that both together make; `None` when they make none that changes can follow.
    version: Option<u64>,
}

impl Snapshots {
    /// The snapshot on disk. A damaged whole is set aside and counts as none.
    pub(crate) fn load(data: &Path) -> Result<(Self, Option<Snapshot>), String> {
        let mut kept = Self { whole: data.join(WHOLE), changes: data.join(CHANGES), whole_bytes: 0, changes_bytes: 0, version: None };
        let Some(json) = read(&kept.whole)? else { return Ok((kept, None)) };
        let built = parse_document(&json).and_then(|document| Snapshot::build(document).map_err(|faults| one_line(&faults)));
        let mut snapshot = match built {
            Ok(snapshot) => snapshot,
            Err(why) => {
                disk::set_aside(&kept.whole, &why);
                return Ok((kept, None));
            }
        };
        kept.whole_bytes = bytes(&json);
        let lines = read(&kept.changes)?.unwrap_or_default();
        kept.changes_bytes = replay(&lines, &mut snapshot);
        if kept.changes_bytes < bytes(&lines) {
            tracing::warn!(file = %kept.changes.display(), version = snapshot.version(), "changes of the configuration are cut off or damaged from here on");
            cut(&kept.changes, kept.changes_bytes).map_err(|error| unwritten(&kept.changes, &error))?;
        }
        kept.version = Some(snapshot.version());
        Ok((kept, Some(snapshot)))
    }

    /// Keeps a snapshot that came whole. Blocks.
    pub(crate) fn put(&mut self, version: u64, json: &[u8]) -> Result<(), String> {
        self.version = None;
        disk::write(&self.whole, json, 0o600).map_err(|error| unwritten(&self.whole, &error))?;
        self.whole_bytes = bytes(json);
        // Those that are left after a crash here are of older numbers, and are passed over.
        cut(&self.changes, 0).map_err(|error| unwritten(&self.changes, &error))?;
        self.changes_bytes = 0;
        self.version = Some(version);
        Ok(())
    }

    /// Keeps a snapshot that a change made of the one before. Blocks.
    pub(crate) fn change(&mut self, from: u64, json: &[u8], made: &Snapshot) -> Result<(), String> {
        let line = [hash(json).as_bytes(), b" ", json, b"\n"].concat();
        let fits = self.changes_bytes + bytes(&line) <= self.whole_bytes.max(CHANGES_BYTES_MIN);
        if self.version != Some(from) || !fits || json.contains(&b'\n') {
            return self.put(made.version(), &made.to_json()?);
        }
        self.version = None;
        append(&self.changes, self.changes_bytes, &line).map_err(|error| unwritten(&self.changes, &error))?;
        self.changes_bytes += bytes(&line);
        self.version = Some(made.version());
        Ok(())
    }
}

/// Makes of `snapshot` what the lines say; how many of their bytes were sound.
fn replay(lines: &[u8], snapshot: &mut Snapshot) -> u64 {
    let mut sound = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let Some(change) = change_of(line) else { break };
        if change.version > snapshot.version() {
            let Ok(next) = snapshot.apply(change) else { break };
            *snapshot = next;
        }
        sound += bytes(line);
    }
    sound
}

fn change_of(line: &[u8]) -> Option<Change> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
    let json = json.strip_prefix(b" ")?;
    (hash(json).as_bytes() == sum).then(|| serde_json::from_slice(json).ok())?
}

/// The document in JSON.
pub(crate) fn parse_document(json: &[u8]) -> Result<Document, String> {
    serde_json::from_slice(json).map_err(|error| format!("the snapshot is not a configuration document: {error}"))
}

/// Faults as one sentence.
pub(crate) fn one_line(faults: &skerry_config::check::Faults) -> String {
    faults.to_string().replace('\n', "; ")
}

/// Writes at the end of what is sound, and brings it to disk.
fn append(path: &Path, at: u64, line: &[u8]) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file = open(path)?;
    file.set_len(at)?;
    io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
    file.write_all(line)?;
    file.sync_data()?;
    match path.parent().filter(|_| is_new) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn cut(path: &Path, at: u64) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let file = open(path)?;
    file.set_len(at)?;
    file.sync_data()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    disk::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn unwritten(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

fn bytes(content: &[u8]) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}

fn hash(json: &[u8]) -> String {
    digest(&SHA256, json).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = br#"{"version":3,"sites":[],"shields":[]}"#;

    /// The JSON of a change that puts a site.
    fn put(from: u64, host: &str) -> Vec<u8> {
        let site = serde_json::json!({"name": "shop", "hosts": [host], "origin": {"urls": ["http://127.0.0.1:9"]}});
        serde_json::to_vec(&serde_json::json!({"from": from, "version": from + 1, "sites": [site]})).unwrap()
    }

    fn follow(kept: &mut Snapshots, snapshot: &mut Snapshot, json: &[u8]) {
        let change: Change = serde_json::from_slice(json).unwrap();
        let from = change.from;
        *snapshot = snapshot.apply(change).unwrap();
        kept.change(from, json, snapshot).unwrap();
    }

    #[test]
    fn a_damaged_whole_is_set_aside_and_counts_as_none() {
        let data = tempfile::tempdir().unwrap();
        let (mut kept, none) = Snapshots::load(data.path()).unwrap();
        assert!(none.is_none());
        kept.put(3, EMPTY).unwrap();
        assert_eq!(Snapshots::load(data.path()).unwrap().1.unwrap().version(), 3);
        std::fs::write(data.path().join(WHOLE), b"\0\0\0").unwrap();
        assert!(Snapshots::load(data.path()).unwrap().1.is_none());
        assert!(data.path().join("snapshot.json.damaged").exists());
    }

    #[test]
    fn changes_are_found_again_and_a_torn_one_counts_as_never_said() {
        let data = tempfile::tempdir().unwrap();
        let (mut kept, _) = Snapshots::load(data.path()).unwrap();
        kept.put(3, EMPTY).unwrap();
        let mut snapshot = Snapshots::load(data.path()).unwrap().1.unwrap();
        for (from, host) in [(3, "a.test"), (4, "b.test"), (5, "c.test")] {
            follow(&mut kept, &mut snapshot, &put(from, host));
        }
        assert_eq!(std::fs::read(data.path().join(WHOLE)).unwrap(), EMPTY, "the whole was not written again");
        let found = Snapshots::load(data.path()).unwrap().1.unwrap();
        assert_eq!((found.digest(), found.version()), (snapshot.digest(), 6));

        let path = data.path().join(CHANGES);
        let lines = std::fs::read(&path).unwrap();
        let third = lines.len() - put(5, "c.test").len() - 66;
        for end in third..lines.len() {
            std::fs::write(&path, &lines[..end]).unwrap();
            let (mut kept, found) = Snapshots::load(data.path()).unwrap();
            let mut found = found.unwrap();
            assert_eq!(found.version(), 5, "cut at {end}");
            follow(&mut kept, &mut found, &put(5, "d.test"));
            let found = Snapshots::load(data.path()).unwrap().1.unwrap();
            assert!(found.version() == 6 && found.site_for_host("d.test").is_some(), "cut at {end}");
        }
        let mut flipped = lines.clone();
        flipped[100] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert_eq!(Snapshots::load(data.path()).unwrap().1.unwrap().version(), 3);
    }

    #[test]
    fn many_changes_become_a_whole_and_those_left_of_before_are_passed_over() {
        let data = tempfile::tempdir().unwrap();
        let (mut kept, _) = Snapshots::load(data.path()).unwrap();
        kept.put(3, EMPTY).unwrap();
        let mut snapshot = Snapshots::load(data.path()).unwrap().1.unwrap();
        let mut largest = 0;
        let mut before = Vec::new();
        while kept.whole_bytes < 100 {
            before = std::fs::read(data.path().join(CHANGES)).unwrap_or_default();
            let from = snapshot.version();
            follow(&mut kept, &mut snapshot, &put(from, "a.test"));
            largest = largest.max(kept.changes_bytes);
        }
        assert!(largest > CHANGES_BYTES_MIN / 2 && largest <= CHANGES_BYTES_MIN, "{largest}");
        assert_eq!(kept.changes_bytes, 0);
        // As a crash between the two writes leaves them.
        std::fs::write(data.path().join(CHANGES), before).unwrap();
        let (mut kept, found) = Snapshots::load(data.path()).unwrap();
        let mut found = found.unwrap();
        assert_eq!(found.digest(), snapshot.digest());
        let from = found.version();
        follow(&mut kept, &mut found, &put(from, "b.test"));
        assert_eq!(Snapshots::load(data.path()).unwrap().1.unwrap().digest(), found.digest());
    }
}
