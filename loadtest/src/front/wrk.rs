//! wrk as the generator of a round.
//!
//! It takes less of the processor for a small answer than the generator of this crate, so that either server is the slower side even where a hit
//! costs least. It looks at no body, so the generator of this crate asks for the same target before and after.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::target::Target;

/// What is run.
const WRK: &str = "wrk";
/// How much longer than it was told a run may take, in seconds.
const PATIENCE_S: u64 = 10;
/// The most octets that the head of an answer may have, on average.
const HEAD_MAX: u64 = 1024;
/// Called once, when the run is over: nothing of Lua runs while it is measured.
const SCRIPT: &str = "function done(summary, latency)
    local errors = summary.errors
    io.stderr:write(string.format(
        '{\"answers\":%d,\"octets\":%d,\"failed\":%d,\"refused\":%d,\"p50_us\":%d,\"p99_us\":%d}',
        summary.requests, summary.bytes, errors.connect + errors.read + errors.write + errors.timeout, errors.status,
        latency:percentile(50), latency:percentile(99)))
end
";

/// What it says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// Whole answers.
    pub(super) answers: u64,
    /// Octets of their heads and bodies.
    octets: u64,
    /// Connections and exchanges that broke.
    failed: u64,
    /// Answers with a status of 400 or more.
    refused: u64,
    /// Latency, in microseconds.
    pub(super) p50_us: u64,
    /// The same.
    pub(super) p99_us: u64,
}

/// Its version, as it tells it; none if it is not installed.
pub(super) async fn version() -> Option<String> {
    let output = Command::new(WRK).arg("--version").output().await.ok()?;
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .take(2)
        .map(str::to_owned)
        .reduce(|name, version| format!("{name} {version}"))
}

/// Asks for a body of `bytes` over so many connections, each again and again, for `length`, which is rounded up to whole seconds.
///
/// # Errors
/// A sentence: it does not run, or an answer was not what it should be.
pub(super) async fn run(target: &Target, connections: usize, length: Duration, bytes: u64) -> Result<Said, String> {
    let seconds = length.as_millis().div_ceil(1000).max(1);
    let script = std::env::temp_dir().join(format!("skerry-loadtest-wrk-{}.lua", std::process::id()));
    std::fs::write(&script, SCRIPT).map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let mut command = Command::new(WRK);
    command.args(["-t", "1", "-c", &connections.to_string(), "-d", &format!("{seconds}s")]);
    command.arg("-s").arg(&script).arg("-H").arg(format!("Host: {}", target.host)).arg(format!("http://{}{}", target.address, target.path));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let limit = length + Duration::from_secs(1 + PATIENCE_S);
    let output = timeout(limit, command.output()).await;
    let _ = std::fs::remove_file(&script);
    let output =
        output.map_err(|_| format!("{WRK} does not end within {limit:?}"))?.map_err(|error| format!("cannot run {WRK}: {error}"))?;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let read = serde_json::from_str::<Said>(error.trim()).map_err(|_| format!("{WRK} says: {} {}", said.trim(), error.trim()))?;
    read.sound(bytes)
}

impl Said {
    fn sound(self, bytes: u64) -> Result<Self, String> {
        if self.failed > 0 || self.refused > 0 || self.answers == 0 {
            return Err(format!(
                "{WRK} had {} answers, {} of them of a status above 399, and {} failures",
                self.answers, self.refused, self.failed
            ));
        }
        let each = self.octets / self.answers;
        if !(bytes..=bytes + HEAD_MAX).contains(&each) {
            return Err(format!("{WRK} had answers of {each} octets on average, heads and all, where bodies have {bytes}"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Said = Said { answers: 10, octets: 13_000, failed: 0, refused: 0, p50_us: 1, p99_us: 2 };

    #[test]
    fn a_run_with_failures_or_other_bodies_is_none() {
        assert_eq!(FINE.sound(1024), Ok(FINE));
        for (said, why) in [
            (Said { failed: 1, ..FINE }, "1 failures"),
            (Said { refused: 2, ..FINE }, "2 of them of a status above 399"),
            (Said { answers: 0, ..FINE }, "had 0 answers"),
            (Said { octets: 5_000, ..FINE }, "answers of 500 octets"),
            (Said { octets: 30_000, ..FINE }, "answers of 3000 octets"),
        ] {
            let error = said.sound(1024).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
