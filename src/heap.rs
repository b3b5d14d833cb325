//! The allocator of the system, told to give memory back where memory has a limit.
//!
//! glibc keeps what is freed in up to eight arenas a core, so that what every thread once needed at one moment stays resident for good. It reads its
//! settings from the environment, once, before `main`: a process with a limit starts itself anew with them, under the same number.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use skerry_config::process::Process;

/// The settings: few arenas; blocks from 128 KiB on are the kernel's again when they are freed, and so is the free end of an arena.
const SETTINGS: [(&str, &str); 3] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Starts this process anew with the settings, if it has a limit and not all of them; those that the operator has made stay.
///
/// # Errors
/// A sentence, when it cannot; it goes on as it is then.
pub(crate) fn bound(process: &Process) -> Result<(), String> {
    let limit = match process {
        Process::Control(_) => None,
        Process::Shield(shield) => shield.memory_limit,
        Process::Edge(edge) => edge.memory_limit,
    };
    let missing: Vec<(&str, &str)> = SETTINGS.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if limit.is_none() || missing.is_empty() {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("memory may be kept beyond memory_limit: the process cannot start itself anew: {error}");
    let binary = std::env::current_exe().map_err(failed)?;
    // Comes back only when it failed.
    Err(failed(Command::new(binary).args(std::env::args_os().skip(1)).envs(missing).exec()))
}
