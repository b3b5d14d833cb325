//! The audit journal: one numbered line for every write through the API, in `audit.log` and in the store.
//!
//! A write is answered after its line is in the file; the store follows, and what it missed when the process ended is put into it from the file at
//! the next start. Nothing changes a line, and nothing reads the journal to decide anything.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::refusal::Refusal;
use crate::store::{self, Change, Store, Transaction};

const PREFIX: &str = "audit/";

/// Lines waiting to be written; a further write waits for its turn.
const LINES_WAITING_MAX: usize = 1024;

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
    /// The path, without its query.
    pub(crate) path: String,
    /// The status of the answer.
    pub(crate) outcome: u16,
}

enum Waiting {
    /// To be written; told when it is in the file.
    Line(Line, oneshot::Sender<()>),
    /// Told when everything before is in the store.
    Read(oneshot::Sender<()>),
}

/// The journal.
#[derive(Clone)]
pub(crate) struct Journal {
    waiting: mpsc::Sender<Waiting>,
    store: Arc<dyn Store>,
    newest: Arc<AtomicU64>,
}

impl Journal {
    /// Opens the file and starts the writer, which ends when the last journal is dropped. Blocks.
    pub(crate) fn open(path: &Path, store: Arc<dyn Store>) -> Result<Self, String> {
        let unwritable = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path);
        let mut writer = Writer { file: file.map_err(unwritable)?, store: Arc::clone(&store), newest: Arc::default() };
        writer.catch_up().map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let newest = Arc::clone(&writer.newest);
        let (sender, waiting) = mpsc::channel(LINES_WAITING_MAX);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(waiting)).map_err(unwritable)?;
        Ok(Self { waiting: sender, store, newest })
    }

    /// Writes a line, whose number is chosen here; returns when it is in the file.
    pub(crate) async fn write(&self, line: Line) {
        let (done, written) = oneshot::channel();
        // The writer ends only after every journal is gone, and says itself what it could not write.
        if self.waiting.send(Waiting::Line(line, done)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// Lines with a number above `after`, at most `limit`, in order; without `after` the newest ones. All that were written before are there.
    pub(crate) async fn read(&self, after: Option<u64>, limit: u64) -> Result<Vec<Line>, Refusal> {
        let (done, stored) = oneshot::channel();
        if self.waiting.send(Waiting::Read(done)).await.is_ok() {
            let _ = stored.await;
        }
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

    /// The number of the newest line.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }
}

struct Writer {
    file: File,
    store: Arc<dyn Store>,
    newest: Arc<AtomicU64>,
}

impl Writer {
    /// Puts the lines into the store that only the file has, and ends a line that was cut off.
    fn catch_up(&mut self) -> Result<(), String> {
        let said = |error: std::io::Error| error.to_string();
        let stored = self.store.list(PREFIX)?.last().and_then(|(key, _)| key.strip_prefix(PREFIX)?.parse::<u64>().ok()).unwrap_or(0);
        self.newest.store(stored, Ordering::Release);
        let length = self.file.metadata().map_err(said)?.len();
        self.file.seek(SeekFrom::Start(length.saturating_sub(CAUGHT_UP_BYTES_MAX))).map_err(said)?;
        let mut text = Vec::new();
        Read::by_ref(&mut self.file).take(CAUGHT_UP_BYTES_MAX).read_to_end(&mut text).map_err(said)?;
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
            if let Err(error) = self.file.write_all(text.as_bytes()) {
                tracing::error!(%error, lines = lines.len(), "the audit journal cannot be written");
            }
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
