//! The purge table on disk: every change, written before it is in force.
//!
//! Owns the file and what is believed of it. A change is one frame; a frame that is not whole at the end was never in force, and anything else
//! that is wrong makes the whole of it worthless, and with it everything that is stored under its identity. The lock covers the file and what is
//! appended while it is written anew, and is never held while a device is waited for; another one has whoever does that wait for its turn.
//!
//! ```text
//! length 4 | the same inverted 4 | XXH3 of the payload 8 | payload: changes in a row
//! ```
//!
//! A length that is wrong would make what follows look like an end that was never written: hence twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{Reader, Writer};

/// A file that has grown by so many bytes since it was written anew is written anew.
const GROWN_MAX: u64 = 4 << 20;
/// The payload of a frame where a whole table is written, in bytes; a change may make a larger one.
const FRAME_BYTES: usize = 64 << 10;
/// The largest payload that is read, in bytes: more than the control plane sends at once.
const FRAME_BYTES_MAX: u64 = 64 << 20;
const FRAME_HEAD: usize = 16;
/// What may be appended while the file is written anew, in bytes; with more it is begun anew at the next [`Journal::sync`].
const MEANWHILE_MAX: usize = 64 << 20;

/// What an epoch is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    All,
    Site(u128),
    Host(u128),
    Url(u128),
    Tag(u128),
    /// As [`super::prefixes`] has it.
    Prefix {
        hash: u64,
        host: u64,
        length: u32,
    },
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Whose journal it is, and how often it was opened. The first of all.
    Start { identity: u64, run: u64 },
    /// An epoch was raised.
    Raised { of: Of, seq: u64, soft: bool },
    /// The number of the last purge in force.
    InForce(u64),
    /// Everything was dropped, and the purges begin anew.
    Dropped { drops: u64, seq: u64 },
    /// The node invalidated these names itself.
    Invalidated { count: u64, names: Vec<u128> },
    /// What was fetched before this count of invalidations is out of date.
    InvalidatedBefore(u64),
    /// What was stored as a head before this place is given up.
    GivenUp(u64),
}

impl Change {
    pub(super) fn write(&self, out: &mut Writer) {
        match self {
            Self::Start { identity, run } => {
                out.byte(1);
                out.number(*identity);
                out.number(*run);
            }
            Self::Raised { of, seq, soft } => {
                out.byte(2);
                of.write(out);
                out.number(*seq);
                out.byte(u8::from(*soft));
            }
            Self::InForce(seq) => {
                out.byte(3);
                out.number(*seq);
            }
            Self::Dropped { drops, seq } => {
                out.byte(4);
                out.number(*drops);
                out.number(*seq);
            }
            Self::Invalidated { count, names } => {
                out.byte(5);
                out.number(*count);
                out.names(names.iter());
            }
            Self::InvalidatedBefore(count) => {
                out.byte(6);
                out.number(*count);
            }
            Self::GivenUp(order) => {
                out.byte(7);
                out.number(*order);
            }
        }
    }

    fn read(from: &mut Reader) -> Option<Self> {
        Some(match from.byte()? {
            1 => Self::Start { identity: from.number()?, run: from.number()? },
            2 => Self::Raised { of: Of::read(from)?, seq: from.number()?, soft: from.byte()? != 0 },
            3 => Self::InForce(from.number()?),
            4 => Self::Dropped { drops: from.number()?, seq: from.number()? },
            5 => Self::Invalidated { count: from.number()?, names: from.names()? },
            6 => Self::InvalidatedBefore(from.number()?),
            7 => Self::GivenUp(from.number()?),
            _ => return None,
        })
    }
}

impl Of {
    fn write(self, out: &mut Writer) {
        let (kind, name) = match self {
            Self::All => (0, 0),
            Self::Site(name) => (1, name),
            Self::Host(name) => (2, name),
            Self::Url(name) => (3, name),
            Self::Tag(name) => (4, name),
            Self::Prefix { hash, host, length } => {
                out.byte(5);
                out.number(hash);
                out.number(host);
                out.word(length);
                return;
            }
        };
        out.byte(kind);
        out.name(name);
    }

    fn read(from: &mut Reader) -> Option<Self> {
        Some(match from.byte()? {
            0 => from.name().map(|_| Self::All)?,
            1 => Self::Site(from.name()?),
            2 => Self::Host(from.name()?),
            3 => Self::Url(from.name()?),
            4 => Self::Tag(from.name()?),
            5 => Self::Prefix { hash: from.number()?, host: from.number()?, length: from.word()? },
            _ => return None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    inner: Mutex<Inner>,
    /// Of who syncs or writes anew: what one of them has brought to the device, no other takes away.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    /// None while it lacks a change.
    file: Option<File>,
    /// Bytes since it was written anew.
    grown: u64,
    /// Frames that were appended, or should have been, ever.
    appended: u64,
    synced: bool,
    /// What was appended since it began to be written anew.
    meanwhile: Option<Vec<u8>>,
}

/// A table on its way into a new file.
#[derive(Debug)]
pub(super) struct Whole(Vec<u8>);

/// What a journal said, change by change, and whether it is to be believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Changes(Vec<Change>),
    /// There was none, or a damaged one, which was set aside.
    Nothing,
}

impl Journal {
    /// A journal that is to be written anew before anything else.
    pub(super) fn new(path: &Path) -> Self {
        let inner = Inner { file: None, grown: 0, appended: 0, synced: false, meanwhile: None };
        Self { path: path.to_owned(), inner: Mutex::new(inner), turn: Mutex::new(()) }
    }

    /// Reads what is there.
    pub(super) fn read(path: &Path) -> Result<Read, String> {
        let content = match fs::read(path) {
            Ok(content) => Bytes::from(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Nothing),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        if let Some(changes) = changes(content)
            && matches!(changes.first(), Some(Change::Start { .. }))
        {
            return Ok(Read::Changes(changes));
        }
        let mut aside = path.as_os_str().to_owned();
        aside.push(".damaged");
        let kept = fs::rename(path, &aside).map_or_else(|error| error.to_string(), |()| "set aside as .damaged".to_owned());
        tracing::warn!(file = %path.display(), kept, "the journal of purges is damaged; everything stored on disk is given up");
        Ok(Read::Nothing)
    }

    /// Writes changes down. They are in the file when this returns, unless it cannot be written; then it is removed, so that a start without
    /// them finds none, and written anew at the next [`Journal::sync`].
    pub(super) fn append(&self, changes: &[Change]) {
        let mut payload = Writer::default();
        changes.iter().for_each(|change| change.write(&mut payload));
        let frame = frame(payload.finish());
        let mut inner = self.inner.lock();
        inner.synced = false;
        inner.appended += 1;
        inner.meanwhile = inner.meanwhile.take().filter(|frames| frames.len() + frame.len() <= MEANWHILE_MAX);
        if let Some(frames) = &mut inner.meanwhile {
            frames.extend_from_slice(&frame);
        }
        let Some(file) = &mut inner.file else { return };
        match file.write_all(&frame) {
            Ok(()) => inner.grown += frame.len() as u64,
            Err(error) => {
                inner.file = None;
                let gone = fs::remove_file(&self.path).map_or_else(|error| error.to_string(), |()| "removed".to_owned());
                tracing::error!(file = %self.path.display(), %error, gone, "the journal of purges cannot be written");
            }
        }
    }

    /// Whether something is to be done for it to survive a loss of power.
    pub(super) fn is_behind(&self) -> bool {
        !self.inner.lock().synced
    }

    /// Whether it should be written anew rather than synced.
    fn is_to_be_rewritten(&self) -> bool {
        let inner = self.inner.lock();
        inner.file.is_none() || inner.grown > GROWN_MAX
    }

    /// Has it written anew at the next sync.
    #[cfg(test)]
    pub(super) fn grow(&self) {
        self.inner.lock().grown = GROWN_MAX + 1;
    }

    /// Whether what is appended goes into a new file too.
    #[cfg(test)]
    pub(super) fn is_begun_anew(&self) -> bool {
        self.inner.lock().meanwhile.is_some()
    }

    /// Brings it to the device. Blocks, but nobody who appends meanwhile: they may be answering requests. `whole` is everything that is in
    /// force, where the file has to be written anew; it calls [`Journal::begin_anew`] while nothing changes.
    pub(super) fn sync(&self, whole: impl FnOnce() -> Whole) -> Result<(), String> {
        let _turn = self.turn.lock();
        if self.is_to_be_rewritten() {
            let written = self.replace(&whole());
            self.inner.lock().meanwhile = None;
            written.map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
        }
        self.sync_file()
    }

    fn sync_file(&self) -> Result<(), String> {
        let lacking = || format!("{} lacks purges", self.path.display());
        let failed = |error: io::Error| format!("{} cannot be synced: {error}", self.path.display());
        let (file, appended) = {
            let inner = self.inner.lock();
            if inner.synced {
                return Ok(());
            }
            let file = inner.file.as_ref().ok_or_else(lacking)?;
            (file.try_clone().map_err(failed)?, inner.appended)
        };
        file.sync_data().map_err(failed)?;
        let mut inner = self.inner.lock();
        if inner.file.is_none() {
            return Err(lacking());
        }
        // What was appended meanwhile waits for the next time.
        inner.synced = inner.appended == appended;
        Ok(())
    }

    /// Everything that is in force, as `changes` that make an empty table this one. What is appended from here on is kept for the new file too, so
    /// that nothing may change between the first of these changes and the return.
    pub(super) fn begin_anew(&self, changes: impl Iterator<Item = Change>) -> Whole {
        let mut whole = Vec::new();
        let mut payload = Writer::default();
        for change in changes {
            change.write(&mut payload);
            if payload.len() >= FRAME_BYTES {
                whole.extend(frame(std::mem::take(&mut payload).finish()));
            }
        }
        if payload.len() > 0 {
            whole.extend(frame(payload.finish()));
        }
        self.inner.lock().meanwhile = Some(Vec::new());
        Whole(whole)
    }

    /// Puts a new file in the place of the old one, which has every change until then.
    fn replace(&self, whole: &Whole) -> io::Result<()> {
        let mut temporary = self.path.as_os_str().to_owned();
        temporary.push(".new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(&whole.0)?;
        file.sync_all()?;
        {
            let mut inner = self.inner.lock();
            let meanwhile = inner.meanwhile.take().ok_or_else(|| io::Error::other("too much was purged while it was written"))?;
            file.write_all(&meanwhile)?;
            fs::rename(&temporary, &self.path)?;
            let grown = meanwhile.len() as u64;
            *inner = Inner { file: Some(file), grown, appended: inner.appended, synced: false, meanwhile: None };
        }
        let named = self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all());
        if named.is_err() {
            // The name may still be the old file's on the device: once more.
            self.inner.lock().grown = GROWN_MAX + 1;
        }
        named
    }
}

fn frame(payload: Vec<u8>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEAD + payload.len());
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&(!length).to_be_bytes());
    frame.extend_from_slice(&xxh3_64(&payload).to_be_bytes());
    frame.extend_from_slice(&payload);
    frame
}

/// All changes; none when something other than the end is wrong.
fn changes(content: Bytes) -> Option<Vec<Change>> {
    let mut rest = Reader::new(content);
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let mut ahead = rest.clone();
        let (Some(length), Some(inverted), Some(checksum)) = (ahead.word(), ahead.word(), ahead.number()) else { return Some(changes) };
        let body = ahead.rest();
        if inverted != !length || u64::from(length) > FRAME_BYTES_MAX {
            return None;
        }
        let length = usize::try_from(length).ok()?;
        if body.len() < length {
            return Some(changes);
        }
        if xxh3_64(&body[..length]) != checksum {
            return None;
        }
        let mut payload = Reader::new(body.slice(..length));
        while !payload.is_empty() {
            changes.push(Change::read(&mut payload)?);
        }
        rest = Reader::new(body.slice(length..));
    }
    Some(changes)
}

#[cfg(test)]
mod tests;
