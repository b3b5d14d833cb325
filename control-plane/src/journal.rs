//! The audit journal: one line for every write through the API, in `audit.log` and in the store.
//!
//! A write is answered after its line is in the file; the store follows. Nothing reads the journal to decide anything.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::store::{Change, Store, Transaction};

const PREFIX: &str = "audit/";

/// Lines waiting to be written; a further write waits for its turn.
const LINES_WAITING_MAX: usize = 1024;

/// Lines written at once.
const LINES_AT_ONCE_MAX: usize = 256;

/// Lines kept in the store; the file keeps all.
const LINES_STORED_MAX: u64 = 100_000;

/// One write.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// When, RFC 3339.
    pub(crate) time: String,
    /// The name of the token.
    pub(crate) author: String,
    /// The method.
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// The status of the answer.
    pub(crate) outcome: u16,
}

type Waiting = (Line, oneshot::Sender<()>);

/// The journal.
#[derive(Clone)]
pub(crate) struct Journal {
    lines: mpsc::Sender<Waiting>,
}

impl Journal {
    /// Opens the file and starts the writer, which ends when the last journal is dropped. Blocks.
    pub(crate) fn open(path: &Path, store: Arc<dyn Store>) -> Result<Self, String> {
        let unwritable = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(unwritable)?;
        let newest = store.list(PREFIX)?.last().and_then(|(key, _)| key.strip_prefix(PREFIX)?.parse::<u64>().ok()).unwrap_or(0);
        let (lines, waiting) = mpsc::channel(LINES_WAITING_MAX);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || write(file, waiting, &*store, newest)).map_err(unwritable)?;
        Ok(Self { lines })
    }

    /// Writes a line; returns when it is in the file.
    pub(crate) async fn write(&self, line: Line) {
        let (done, written) = oneshot::channel();
        // The writer ends only after every journal is gone, and says itself what it could not write.
        if self.lines.send((line, done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

fn write(mut file: File, mut waiting: mpsc::Receiver<Waiting>, store: &dyn Store, mut newest: u64) {
    let mut batch = Vec::new();
    while waiting.blocking_recv_many(&mut batch, LINES_AT_ONCE_MAX) > 0 {
        let lines: Vec<_> = batch.iter().filter_map(|(line, _)| serde_json::to_vec(line).ok()).collect();
        let mut text = lines.join(&b'\n');
        text.push(b'\n');
        if let Err(error) = file.write_all(&text) {
            tracing::error!(%error, lines = lines.len(), "the audit journal cannot be written");
        }
        for (_, done) in batch.drain(..) {
            // An error means that the writer of the request is gone.
            let _ = done.send(());
        }
        let mut then = Vec::new();
        for line in lines {
            newest += 1;
            then.push(Change::Put(key(newest), line));
            then.extend(newest.checked_sub(LINES_STORED_MAX).map(|old| Change::Delete(key(old))));
        }
        if let Err(why) = store.transact(&Transaction { when: Vec::new(), then, may_be_lost: true }) {
            tracing::debug!(why, "audit lines are in the file only");
        }
    }
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}
