//! The audit journal: one numbered line for every write through the API, in `audit.log` and in the store.
//!
//! A write is answered after its line is in the file; the store follows, and what it missed when the process ended is put into it from the file at
//! the next start. While the file takes no lines, those of writes that were under way wait in memory, and no further write is let through. Nothing
//! changes a line, and nothing reads the journal to decide anything else.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::refusal::Refusal;
use crate::store::{self, Change, Store, Transaction};

const PREFIX: &str = "audit/";

/// Lines waiting to be written; a further write waits for its turn.
const LINES_WAITING_MAX: usize = 1024;

/// Bytes of lines that wait for a file which takes none; what comes beyond them is in the store only.
const HELD_BYTES_MAX: usize = 1 << 20;

/// Bytes of the path of a line; the rest is cut off.
const PATH_BYTES_MAX: usize = 512;

/// Lines written at once.
const LINES_AT_ONCE_MAX: usize = 256;

/// Lines kept in the store; the file keeps all.
const LINES_STORED_MAX: u64 = 100_000;

/// Bytes at the end of the file in which lines are looked for that the store has not.
const CAUGHT_UP_BYTES_MAX: u64 = 32 << 20;

/// Lines of one answer.
pub(crate) const LINES_READ_MAX: u64 = 1_000;

/// One write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditLine)]
pub(crate) struct Line {
    /// Its number; it rises with every line.
    #[serde(default)]
    pub(crate) number: u64,
    /// When, RFC 3339.
    pub(crate) time: String,
    /// The name of the token.
    pub(crate) author: String,
    /// The address it came from; empty in lines of a time when that was not kept.
    #[serde(default)]
    pub(crate) address: String,
    /// The method.
    pub(crate) method: String,
    /// The path, without its query: its first 512 bytes.
    pub(crate) path: String,
    /// The status of the answer.
    pub(crate) outcome: u16,
}

enum Waiting {
    /// To be written; told when it is in the file, or waits for it.
    Line(Line, oneshot::Sender<()>),
    /// Told when everything before is in the store, and what waited for the file was tried again.
    Read(oneshot::Sender<()>),
}

/// The journal.
#[derive(Clone)]
pub(crate) struct Journal {
    waiting: mpsc::Sender<Waiting>,
    store: Arc<dyn Store>,
    newest: Arc<AtomicU64>,
    is_stuck: Arc<AtomicBool>,
}

impl Journal {
    /// Opens the file and starts the writer, which ends when the last journal is dropped. Blocks.
    pub(crate) fn open(path: &Path, store: Arc<dyn Store>) -> Result<Self, String> {
        let unwritable = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path);
        let mut writer = Writer::new(file.map_err(unwritable)?, store);
        writer.catch_up().map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Self::start(writer).map_err(unwritable)
    }

    fn start(writer: Writer) -> std::io::Result<Self> {
        let (sender, waiting) = mpsc::channel(LINES_WAITING_MAX);
        let (store, newest, is_stuck) = (Arc::clone(&writer.store), Arc::clone(&writer.newest), Arc::clone(&writer.is_stuck));
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(waiting))?;
        Ok(Self { waiting: sender, store, newest, is_stuck })
    }

    /// Whether the file takes lines; where it did not, it is tried again.
    pub(crate) async fn ready(&self) -> Result<(), Refusal> {
        if self.is_stuck.load(Ordering::Acquire) {
            self.reach().await;
        }
        if self.is_stuck.load(Ordering::Acquire) {
            let says = "audit.log cannot be written, and nothing is changed without a line in it; the log of the control plane says why, and a full disk is the first thing to look for";
            return Err(Refusal::Busy(says.to_owned()));
        }
        Ok(())
    }

    /// Writes a line, whose number is chosen here; returns when it is in the file, or waits in memory for a file that takes none.
    pub(crate) async fn write(&self, mut line: Line) {
        line.path.truncate(line.path.floor_char_boundary(PATH_BYTES_MAX));
        let (done, written) = oneshot::channel();
        // The writer ends only after every journal is gone, and says itself what it could not write.
        if self.waiting.send(Waiting::Line(line, done)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// Lines with a number above `after`, at most `limit`, in order; without `after` the newest ones. All that were written before are there.
    pub(crate) async fn read(&self, after: Option<u64>, limit: u64) -> Result<Vec<Line>, Refusal> {
        self.reach().await;
        let newest = self.newest.load(Ordering::Acquire);
        let oldest = newest.saturating_sub(LINES_STORED_MAX);
        let after = after.unwrap_or(newest.saturating_sub(limit)).max(oldest);
        store::blocking(&self.store, move |store| {
            let mut lines = Vec::new();
            for number in after.saturating_add(1)..=newest.min(after.saturating_add(limit)) {
                let Some(value) = store.get(&key(number))? else { continue };
                let line: Line = serde_json::from_slice(&value).map_err(|error| format!("audit line {number} cannot be read: {error}"))?;
                let path = line.path.split('?').next().unwrap_or_default().to_owned();
                lines.push(Line { number, path, ..line });
            }
            Ok(lines)
        })
        .await
        .map_err(Refusal::Broken)
    }

    /// Waits until the writer has done what came before.
    async fn reach(&self) {
        let (done, reached) = oneshot::channel();
        if self.waiting.send(Waiting::Read(done)).await.is_ok() {
            let _ = reached.await;
        }
    }

    /// The number of the newest line.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }
}

struct Writer {
    file: File,
    store: Arc<dyn Store>,
    newest: Arc<AtomicU64>,
    /// Lines that the file has not taken.
    held: String,
    is_stuck: Arc<AtomicBool>,
    /// The file ends in what may be half a line.
    is_torn: bool,
}

impl Writer {
    fn new(file: File, store: Arc<dyn Store>) -> Self {
        Self { file, store, newest: Arc::default(), held: String::new(), is_stuck: Arc::default(), is_torn: false }
    }

    /// Puts the lines into the store that only the file has, and ends a line that was cut off.
    fn catch_up(&mut self) -> Result<(), String> {
        let said = |error: std::io::Error| error.to_string();
        let stored = self.store.list(PREFIX)?.last().and_then(|(key, _)| key.strip_prefix(PREFIX)?.parse::<u64>().ok()).unwrap_or(0);
        self.newest.store(stored, Ordering::Release);
        let length = self.file.metadata().map_err(said)?.len();
        self.file.seek(SeekFrom::Start(length.saturating_sub(CAUGHT_UP_BYTES_MAX))).map_err(said)?;
        let mut text = Vec::new();
        Read::by_ref(&mut self.file).take(length.min(CAUGHT_UP_BYTES_MAX)).read_to_end(&mut text).map_err(said)?;
        if text.last().is_some_and(|last| *last != b'\n') {
            self.file.write_all(b"\n").map_err(said)?;
        }
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let missed: Vec<Line> = lines.filter(|line| line.number > stored).collect();
        for batch in missed.chunks(LINES_AT_ONCE_MAX) {
            self.keep(batch)?;
        }
        Ok(())
    }

    fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::new();
        while waiting.blocking_recv_many(&mut batch, LINES_AT_ONCE_MAX) > 0 {
            let (mut lines, mut written, mut readers) = (Vec::new(), Vec::new(), Vec::new());
            let mut number = self.newest.load(Ordering::Acquire);
            for waiting in batch.drain(..) {
                match waiting {
                    Waiting::Line(line, done) => {
                        number += 1;
                        lines.push(Line { number, ..line });
                        written.push(done);
                    }
                    Waiting::Read(done) => readers.push(done),
                }
            }
            let text: String = lines.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n").collect();
            self.append(&text);
            // An error means that the writer of the request is gone.
            for done in written {
                let _ = done.send(());
            }
            if let Err(why) = self.keep(&lines) {
                tracing::warn!(why, "audit lines are in the file only");
            }
            for done in readers {
                let _ = done.send(());
            }
        }
    }

    /// Writes what is held and these lines, or holds them too.
    fn append(&mut self, lines: &str) {
        if self.held.len() + lines.len() > HELD_BYTES_MAX {
            tracing::error!(bytes = lines.len(), "audit lines are in the store only: {HELD_BYTES_MAX} bytes wait for the file already");
        } else {
            self.held.push_str(lines);
        }
        if self.held.is_empty() {
            return;
        }
        let written = self.write();
        match &written {
            Ok(()) => self.held.clear(),
            Err(error) => tracing::error!(%error, bytes = self.held.len(), "audit.log cannot be written; writes are refused until it can"),
        }
        self.is_stuck.store(written.is_err(), Ordering::Release);
    }

    /// Writes what is held, all of it or nothing.
    fn write(&mut self) -> std::io::Result<()> {
        let before = self.file.metadata()?.len();
        let start = if self.is_torn { "\n" } else { "" };
        let written = self.file.write_all(format!("{start}{}", self.held).as_bytes());
        self.is_torn = match &written {
            Ok(()) => false,
            Err(_) => self.file.set_len(before).is_err() || self.is_torn,
        };
        written
    }

    /// Puts numbered lines into the store, and takes the oldest out.
    fn keep(&mut self, lines: &[Line]) -> Result<(), String> {
        let Some(last) = lines.last() else { return Ok(()) };
        self.newest.store(last.number, Ordering::Release);
        let mut then = Vec::new();
        for line in lines {
            then.push(Change::Put(key(line.number), serde_json::to_vec(line).map_err(|error| error.to_string())?));
            then.extend(line.number.checked_sub(LINES_STORED_MAX).map(|old| Change::Delete(key(old))));
        }
        self.store.transact(&Transaction { when: Vec::new(), then, may_be_lost: true }).map(drop)
    }
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Redb;

    fn line(path: &str) -> Line {
        let text = |text: &str| text.to_owned();
        Line { number: 0, time: text("t"), author: text("a"), address: text("::1"), method: text("PUT"), path: text(path), outcome: 200 }
    }

    async fn paths(journal: &Journal, after: Option<u64>, limit: u64) -> Vec<(u64, String)> {
        journal.read(after, limit).await.unwrap().into_iter().map(|line| (line.number, line.path)).collect()
    }

    fn named(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|(number, path)| (*number, (*path).to_owned())).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lines_that_the_file_does_not_take_wait_for_it_and_are_not_joined_with_half_a_line() {
        // More than what is read below makes room for.
        const LATE: u64 = 400;
        let place = tempfile::tempdir().unwrap();
        let store = Arc::new(Redb::open(&place.path().join("kept")).unwrap()) as Arc<dyn Store>;
        // It takes bytes until it is full, in the middle of a line too, and takes more when somebody has read.
        let (full, mut reader) = std::os::unix::net::UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        let journal = Journal::start(Writer::new(File::from(std::os::fd::OwnedFd::from(full)), store)).unwrap();
        let long = format!("/{}", "é".repeat(400));
        let mut count = 0;
        while journal.ready().await.is_ok() {
            journal.write(line(&long)).await;
            count += 1;
            assert!(count < 100_000);
        }
        assert!(matches!(journal.ready().await, Err(Refusal::Busy(says)) if says.contains("audit.log")));
        // As if they had been under way.
        for _ in 0..LATE {
            journal.write(line(&long)).await;
        }
        let mut text = vec![0; 40 << 10];
        reader.read_exact(&mut text).unwrap();
        assert!(journal.ready().await.is_err());
        let rest = std::thread::spawn(move || {
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).map(|_| rest)
        });
        while journal.ready().await.is_err() {
            tokio::task::yield_now().await;
        }
        journal.write(line("/after")).await;
        drop(journal);
        text.extend(rest.join().unwrap().unwrap());
        let text = String::from_utf8_lossy(&text);
        let (whole, torn): (Vec<_>, Vec<_>) =
            text.lines().filter(|line| !line.is_empty()).partition(|line| serde_json::from_str::<Line>(line).is_ok());
        assert!(!torn.is_empty() && torn.iter().all(|line| line.matches("\"number\"").count() <= 1), "{torn:?}");
        let mut lines: Vec<Line> = whole.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_by_key(|line| line.number);
        lines.dedup_by_key(|line| line.number);
        assert!(lines.iter().map(|line| line.number).eq(1..=count + LATE + 1), "{count}");
        assert_eq!((lines[0].path.len(), &*lines[lines.len() - 1].path), (511, "/after"));
    }

    #[tokio::test]
    async fn what_the_store_has_lost_comes_back_from_the_file() {
        let place = tempfile::tempdir().unwrap();
        let (file, kept) = (place.path().join("audit.log"), place.path().join("kept"));
        let store = || Arc::new(Redb::open(&kept).unwrap()) as Arc<dyn Store>;
        let first = store();
        let journal = Journal::open(&file, Arc::clone(&first)).unwrap();
        for path in ["/1", "/2", "/3"] {
            journal.write(line(path)).await;
        }
        assert_eq!(paths(&journal, None, 2).await, named(&[(2, "/2"), (3, "/3")]));
        assert_eq!(paths(&journal, Some(0), 1).await, named(&[(1, "/1")]));
        assert_eq!(paths(&journal, Some(3), 9).await, named(&[]));
        drop(journal);
        // As after a crash: the store is behind, and the file ends in half a line.
        for number in [2, 3] {
            first.transact(&Transaction { then: vec![Change::Delete(key(number))], ..Transaction::default() }).unwrap();
        }
        first.close();
        let mut text = std::fs::read(&file).unwrap();
        text.extend(b"{\"number\":4,\"ti");
        std::fs::write(&file, text).unwrap();
        let journal = Journal::open(&file, store()).unwrap();
        journal.write(line("/4?secret=1")).await;
        assert_eq!(paths(&journal, Some(0), 9).await, named(&[(1, "/1"), (2, "/2"), (3, "/3"), (4, "/4")]));
        assert_eq!(journal.newest(), 4);
        let whole = std::fs::read_to_string(&file).unwrap();
        assert_eq!(whole.lines().filter(|line| serde_json::from_str::<Line>(line).is_ok()).count(), 4, "{whole}");
    }
}
