//! The allocator of the system, told to give memory back where memory has a limit.
//!
//! glibc keeps what is freed in up to eight arenas a core, so that what every thread once needed at one moment stays resident for good. It reads its
//! settings from the environment, once, before `main`: a process with a limit starts itself anew with them, under the same number, and never twice.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use skerry_config::process::Process;

/// The settings: few arenas; blocks from 128 KiB on are the kernel's again when they are freed, and so is the free end of an arena.
const SETTINGS: [(&str, &str); 3] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];
/// The number of the process that has started itself anew.
const ANEW: &str = "SKERRY_STARTED_ANEW";

/// Starts this process anew with the settings, if it has a limit and not all of them; those that the operator has made stay. `file` is where the
/// process settings were read, and will be read again.
///
/// # Errors
/// A sentence, when it cannot; it goes on as it is then.
pub(crate) fn bound(process: &Process, file: &Path) -> Result<(), String> {
    let limit = match process {
        Process::Control(_) | Process::Dns(_) => None,
        Process::Shield(shield) => shield.memory_limit,
        Process::Edge(edge) => edge.memory_limit,
    };
    if limit.is_none() {
        return Ok(());
    }
    let failed = |why: &str| {
        let settings = SETTINGS.map(|(name, value)| format!("{name}={value}")).join(" ");
        format!(
            "memory may be kept beyond memory_limit: the process cannot start itself anew: {why}; start it with {settings} in its environment"
        )
    };
    let number = std::process::id().to_string();
    let missing = missing(|name| std::env::var_os(name), &number).map_err(failed)?;
    if missing.is_empty() {
        return Ok(());
    }
    // A pipe has been read, and holds nothing for who reads it again.
    if !file.is_file() {
        return Err(failed(&format!("{} can be read only once", file.display())));
    }
    let binary = std::env::current_exe().map_err(|error| failed(&error.to_string()))?;
    // Comes back only when it failed.
    let error = Command::new(binary).args(std::env::args_os().skip(1)).envs(missing).env(ANEW, number).exec();
    Err(failed(&error.to_string()))
}

/// The settings that an environment lacks.
///
/// # Errors
/// Why they are not to be put there: the process of this number did so before.
fn missing(environment: impl Fn(&str) -> Option<OsString>, number: &str) -> Result<Vec<(&'static str, &'static str)>, &'static str> {
    let missing: Vec<_> = SETTINGS.into_iter().filter(|(name, _)| environment(name).is_none()).collect();
    if !missing.is_empty() && environment(ANEW).is_some_and(|started| started == number) {
        return Err("it did, and its environment did not keep them, as that of a program with capabilities of its own");
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_starts_itself_anew_once_also_where_its_environment_does_not_keep_the_settings() {
        let of = |known: &'static [(&str, &str)]| {
            move |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        assert_eq!(missing(of(&[]), "7"), Ok(SETTINGS.to_vec()));
        assert_eq!(missing(of(&[("MALLOC_ARENA_MAX", "8")]), "7"), Ok(SETTINGS[1..].to_vec()));
        assert!(missing(of(&[(ANEW, "7")]), "7").is_err());
        // Of a parent that did.
        assert_eq!(missing(of(&[(ANEW, "6")]), "7"), Ok(SETTINGS.to_vec()));
        assert_eq!(missing(of(&SETTINGS), "7"), Ok(Vec::new()));
    }
}
