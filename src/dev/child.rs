//! The processes of the roles: started, watched, stopped. None outlives `skerry dev`: each holds the other end of its standard input.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::data::Data;
use crate::cli::Role;
use crate::stop;

/// How long a process may take to stop before it is killed: longer than an edge drains.
const STOP_MAX: Duration = Duration::from_secs(13);
/// How often processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much of the end of a log is read for the reason a process ended, in bytes.
const LOG_TAIL_BYTES: usize = 8 << 10;

/// One process.
#[derive(Debug)]
struct Running {
    name: String,
    role: Role,
    config: PathBuf,
    log: PathBuf,
    pid: u32,
    child: Child,
}

/// All processes, in the order they were started.
#[derive(Debug, Default)]
pub(crate) struct Children {
    running: Vec<Running>,
    /// What is known of every process that was started: name and pid.
    pids: Vec<(String, u32)>,
}

impl Children {
    /// Starts a role with its settings file; its log goes to `NAME.log` in the data directory, and begins anew.
    pub(crate) fn start(&mut self, data: &Data, name: &str, role: Role, config: PathBuf) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{name} cannot be started: {error}");
        let log = data.file(&format!("{name}.log"));
        let output = File::create(&log).map_err(|error| format!("{} cannot be written: {error}", log.display()))?;
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg(role.name())
            .arg("--config")
            .arg(&config)
            .env(stop::WITH_STDIN, "1")
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            // A group of its own, so that Ctrl-C reaches us alone and the roles stop in our order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().unwrap_or(0);
        self.pids.push((name.to_owned(), pid));
        self.running.push(Running { name: name.to_owned(), role, config, log, pid, child });
        Ok(())
    }

    /// The pid with which a process was started.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        self.pids.iter().find(|(found, _)| found == name).map(|(_, pid)| *pid)
    }

    /// The reason for which a process ended that should not have, if one did.
    pub(crate) fn fault(&mut self) -> Option<String> {
        let (gone, status) = self.take_gone()?;
        let said = last_words(&gone.log).unwrap_or_else(|| format!("its log is {}", gone.log.display()));
        Some(format!("{} ended with {}: {said}", gone.name, ended(status)))
    }

    /// Waits until a process ends, and says how to start it again.
    pub(crate) async fn next_gone(&mut self) -> String {
        loop {
            if let Some((gone, status)) = self.take_gone() {
                return format!(
                    "{} (pid {}) ended with {}; start it again with: skerry {} --config {}",
                    gone.name,
                    gone.pid,
                    ended(status),
                    gone.role.name(),
                    gone.config.display()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn take_gone(&mut self) -> Option<(Running, ExitStatus)> {
        for index in 0..self.running.len() {
            if let Ok(Some(status)) = self.running[index].child.try_wait() {
                return Some((self.running.remove(index), status));
            }
        }
        None
    }

    /// Stops every process: asks by ending its standard input, and kills what has not ended in time.
    pub(crate) async fn stop(&mut self) {
        let mut stopping = JoinSet::new();
        for mut running in self.running.drain(..) {
            stopping.spawn(async move {
                drop(running.child.stdin.take());
                if timeout(STOP_MAX, running.child.wait()).await.is_err() {
                    eprintln!(
                        "skerry: {} did not stop within {STOP_MAX:?} and is killed; its log is {}",
                        running.name,
                        running.log.display()
                    );
                    // An error means that it has ended meanwhile.
                    let _ = running.child.kill().await;
                }
            });
        }
        while stopping.join_next().await.is_some() {}
    }
}

/// `exit code 1`, `signal 9`.
fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The sentence a process ended with, from the end of its log.
fn last_words(log: &Path) -> Option<String> {
    let bytes = std::fs::read(log).ok()?;
    let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
    let line =
        tail.lines().rev().find_map(|line| line.strip_prefix("skerry: ")).or_else(|| tail.lines().rev().find(|line| !line.is_empty()))?;
    Some(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_sentence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "an event\nskerry: port 80 is taken\nanother event\n").unwrap();
        assert_eq!(last_words(file.path()).as_deref(), Some("port 80 is taken"));
        std::fs::write(file.path(), "thread panicked\n\n").unwrap();
        assert_eq!(last_words(file.path()).as_deref(), Some("thread panicked"));
        std::fs::write(file.path(), "").unwrap();
        assert_eq!(last_words(file.path()), None);
    }
}
