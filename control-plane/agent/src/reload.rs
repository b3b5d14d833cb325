//! Files that operators renew under a running process: read again when they change, and once more after a while where that failed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// How often files are looked at.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// How long after a reading that failed files are read again though they look the same: what was wrong need not be in them.
pub const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Files, and what each looked like last.
#[derive(Debug)]
pub struct Watched {
    files: Arc<[PathBuf]>,
    /// `None` of one that is not there, or cannot be looked at.
    known: Vec<Option<Look>>,
    /// When they are read again whatever they look like.
    again: Option<Instant>,
}

/// What a file looks like: another content, name or mode is another look, also within one tick of the clock where it is another file or length.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    modified: (i64, i64),
    changed: (i64, i64),
    octets: u64,
    file: (u64, u64),
}

impl From<Metadata> for Look {
    fn from(meta: Metadata) -> Self {
        Self {
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            octets: meta.len(),
            file: (meta.dev(), meta.ino()),
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<Look>> {
    files.iter().map(|file| std::fs::metadata(file).ok().map(Look::from)).collect()
}

impl Watched {
    /// Notes the files as they are. Before they are read: a change in between is then seen as one. Blocks.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { known: look(&files), files: files.into(), again: None }
    }

    /// Whether one of them has changed since the last look, or a reading failed [`AGAIN_AFTER`] ago. Looks where nothing that serves waits for it.
    pub async fn changed(&mut self) -> bool {
        let files = Arc::clone(&self.files);
        let Ok(found) = spawn_blocking(move || look(&files)).await else { return false };
        self.differs(found, Instant::now())
    }

    fn differs(&mut self, found: Vec<Option<Look>>, now: Instant) -> bool {
        let is_other = std::mem::replace(&mut self.known, found) != self.known;
        let is_due = self.again.is_some_and(|at| now >= at);
        if is_other || is_due {
            self.again = None;
        }
        is_other || is_due
    }

    /// They could not be used after the last change.
    pub fn failed(&mut self) {
        self.again = Some(Instant::now() + AGAIN_AFTER);
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
                () = self.round(what, &reload) => {}
                // Whoever stops does not wait for a disk.
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn round(&mut self, what: &str, reload: &Arc<impl Fn() -> Result<(), String> + Send + Sync + 'static>) {
        tokio::time::sleep(INTERVAL).await;
        if !self.changed().await {
            return;
        }
        let reload = Arc::clone(reload);
        let reloaded = spawn_blocking(move || reload()).await;
        match reloaded.unwrap_or_else(|error| Err(format!("reading ended: {error}"))) {
            Ok(()) => tracing::info!(what, "files read again"),
            Err(error) => {
                self.failed();
                tracing::error!(what, error, "files not read again; what was read before stays in force, and it is tried again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Whether they differ from what they looked like before, so long from now.
    fn differs(watched: &mut Watched, later: Duration) -> bool {
        let found = look(&watched.files);
        watched.differs(found, Instant::now() + later)
    }

    #[test]
    fn another_mode_or_file_is_a_change_though_content_and_time_are_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("file"), directory.path().join("other"));
        fs::write(&file, "one").unwrap();
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        let mut watched = Watched::new(vec![file.clone()]);
        assert!(!differs(&mut watched, AGAIN_AFTER));
        // Times of files have the ticks of the kernel.
        let begun = Instant::now();
        while look(&watched.files) == watched.known {
            assert!(begun.elapsed() < Duration::from_secs(10), "the mode changed, the file looks the same");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
        assert!(differs(&mut watched, Duration::ZERO) && !differs(&mut watched, Duration::ZERO));
        fs::write(&other, "two").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(differs(&mut watched, Duration::ZERO) && !differs(&mut watched, Duration::ZERO));
    }

    #[test]
    fn a_reading_that_failed_is_tried_again_after_a_while_and_at_once_when_a_file_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let mut watched = Watched::new(vec![file.clone()]);
        watched.failed();
        assert!(!differs(&mut watched, Duration::ZERO));
        assert!(differs(&mut watched, 2 * AGAIN_AFTER) && !differs(&mut watched, 2 * AGAIN_AFTER), "once");
        watched.failed();
        fs::write(&file, "there").unwrap();
        assert!(differs(&mut watched, Duration::ZERO) && !differs(&mut watched, 2 * AGAIN_AFTER));
    }
}
