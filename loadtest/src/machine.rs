//! What a measurement was made on, so that a reader can tell what its numbers are worth.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its processor.
    pub processor: String,
    /// How many cores there are.
    pub cores: usize,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// The kernel's name and release.
    pub kernel: String,
}

impl Machine {
    /// This one; what is not known is said to be.
    #[must_use]
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let processors = read("/proc/cpuinfo");
        let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: field(&processors, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_mib: memory.unwrap_or_default() / 1024,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

/// Where Linux has files in memory.
const MEMORY_FILES: &str = "/dev/shm";
/// The free space, in bytes, with which that is taken.
const MEMORY_FILES_MIN: u64 = 4 << 30;

/// Where what is measured keeps its files: `SKERRY_BENCH_DIR`; else memory, where it has room; else the folder for temporary files. A file system
/// on a disk makes some pay for what others did before: after many files were removed, ext4 looks long for a place for a new one.
#[must_use]
pub fn files() -> PathBuf {
    if let Some(chosen) = std::env::var_os("SKERRY_BENCH_DIR").filter(|chosen| !chosen.is_empty()) {
        return chosen.into();
    }
    let room = statvfs(MEMORY_FILES).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    if room >= MEMORY_FILES_MIN { Path::new(MEMORY_FILES).to_owned() } else { std::env::temp_dir() }
}

/// So many open files are allowed where more are not needed: a server that inherits what is allowed here keeps its files open as in operation.
const FILES_WISHED: u64 = 65_536;

/// Allows this process, and what it starts from then on, to have `needed` files open; `what` needs them.
///
/// # Errors
/// A sentence: so many cannot be allowed.
pub fn allow_files(needed: u64, what: &str) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = enough(needed, limit)
        .map_err(|allowed| format!("{what}: {needed} open files are needed, and {allowed} are allowed (ulimit -Hn)"))?;
    let Some(wanted) = wanted else { return Ok(()) };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    raised.map_err(|error| format!("{what}: cannot allow {wanted} open files: {error}"))
}

/// What is to be allowed, if that is more than is; else how many may be at most, where those are too few.
fn enough(needed: u64, limit: Rlimit) -> Result<Option<u64>, u64> {
    // Without a number there is no limit.
    let most = limit.maximum.unwrap_or(u64::MAX);
    let Some(current) = limit.current else { return Ok(None) };
    if needed > most {
        return Err(most);
    }
    let wanted = needed.max(FILES_WISHED).min(most);
    Ok((wanted > current).then_some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_allowed_as_far_as_they_may_be() {
        let of = |needed, current, maximum| enough(needed, Rlimit { current, maximum });
        assert_eq!(of(2_000, Some(1_024), Some(1 << 20)), Ok(Some(FILES_WISHED)));
        assert_eq!(of(100_000, Some(1_024), None), Ok(Some(100_000)));
        assert_eq!(of(2_000, Some(1_024), Some(4_096)), Ok(Some(4_096)));
        assert_eq!(of(5_000, Some(1_024), Some(4_096)), Err(4_096));
        assert_eq!(of(5, Some(100_000), Some(100_000)), Ok(None));
        assert_eq!(of(5, None, None), Ok(None));
        let error = allow_files(u64::MAX, "a test").err();
        assert!(error.is_none_or(|error| error.starts_with("a test: 18446744073709551615 open files are needed, and ")));
    }

    #[test]
    fn this_machine_has_a_core_and_a_kernel() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.processor.is_empty(), "{machine:?}");
        assert!(machine.kernel.starts_with("Linux ") && machine.kernel.len() > "Linux ".len(), "{machine:?}");
    }
}
