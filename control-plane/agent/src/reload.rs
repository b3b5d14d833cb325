//! Files that operators renew under a running process: read again when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// How often files are looked at.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// Files, and when each last changed as far as is known.
#[derive(Debug)]
pub struct Watched {
    files: Vec<PathBuf>,
    known: Vec<Option<SystemTime>>,
}

impl Watched {
    /// Notes the files as they are. Before they are read: a change in between is then seen as one.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        let mut watched = Self { files, known: Vec::new() };
        watched.known = watched.modified();
        watched
    }

    fn modified(&self) -> Vec<Option<SystemTime>> {
        self.files.iter().map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok()).collect()
    }

    /// Whether one of them has changed since the last look.
    pub fn changed(&mut self) -> bool {
        let found = self.modified();
        std::mem::replace(&mut self.known, found) != self.known
    }

    /// Calls `reload` when a file has changed, until stopped; what cannot be used leaves the old in force. It may block: nothing that serves waits for it.
    pub async fn follow(
        mut self,
        what: &str,
        reload: impl Fn() -> Result<(), String> + Send + Sync + 'static,
        mut stop: watch::Receiver<bool>,
    ) {
        let reload = Arc::new(reload);
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if self.changed() {
                let reload = Arc::clone(&reload);
                let reloaded = tokio::task::spawn_blocking(move || reload()).await;
                match reloaded.unwrap_or_else(|error| Err(format!("reading ended: {error}"))) {
                    Ok(()) => tracing::info!(what, "files read again"),
                    Err(error) => tracing::error!(what, error, "files not read again; what was read before stays in force"),
                }
            }
        }
    }
}
