//! Which cores processes run on.
//!
//! Owns the change and its undoing; the kernel does the rest.

use rustix::io::Errno;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// How often the list of threads is read again, because a thread may start others while it is pinned.
const LOOKS_MAX: usize = 10;

/// Processes held on one core, until this is dropped.
#[derive(Debug)]
pub struct Pinned {
    before: Vec<(Pid, CpuSet)>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        for (thread, cores) in &self.before {
            // A thread that has ended needs none.
            let _ = sched_setaffinity(Some(*thread), cores);
        }
    }
}

/// The cores that this process may run on, by number.
///
/// # Errors
/// A sentence: the kernel does not tell.
pub fn cores() -> Result<Vec<usize>, String> {
    let set = sched_getaffinity(None).map_err(|error| format!("cannot tell which cores there are: {error}"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Holds all threads of processes, and those that they start, on one core.
///
/// # Errors
/// A sentence: a process is not there, or the core is none that it may have.
pub fn pin(pids: &[u32], core: usize) -> Result<Pinned, String> {
    let mut only = CpuSet::new();
    only.set(core);
    let mut pinned = Pinned { before: Vec::new() };
    for &pid in pids {
        let mut looks = 0;
        while pin_threads(pid, &only, &mut pinned).map_err(|error| format!("cannot hold process {pid} on core {core}: {error}"))? {
            looks += 1;
            if looks == LOOKS_MAX {
                return Err(format!("cannot hold process {pid} on core {core}: it starts threads without end"));
            }
        }
    }
    Ok(pinned)
}

/// Pins the threads that are not pinned yet; whether there was one.
fn pin_threads(pid: u32, only: &CpuSet, pinned: &mut Pinned) -> std::io::Result<bool> {
    let mut found = false;
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Some(thread) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        match sched_getaffinity(Some(thread)) {
            Ok(before) if before == *only => {}
            Ok(before) => {
                sched_setaffinity(Some(thread), only)?;
                pinned.before.push((thread, before));
                found = true;
            }
            // It has ended in between.
            Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_held_on_one_core_and_let_go() {
        let all = cores().expect("cores");
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let allowed = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("its status");
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a line").trim().to_owned()
        };
        let before = allowed();
        let last = all[all.len() - 1];
        let pinned = pin(&[child.id()], last).expect("pinned");
        assert_eq!(allowed(), last.to_string());
        drop(pinned);
        assert_eq!(allowed(), before);
        assert!(pin(&[u32::MAX], last).expect_err("no such process").starts_with("cannot hold process 4294967295 on core "));
        drop(child.stdin.take());
        child.wait().expect("the child ends with its input");
    }
}
