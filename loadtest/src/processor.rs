//! Processor time and memory of processes, from the operating system's accounting in `/proc`.

use std::time::Duration;

/// The clock ticks a second in `/proc/PID/stat`: USER_HZ, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;
/// The step in which processor time is told.
pub const TICK: Duration = Duration::from_millis(1000 / TICKS_PER_SECOND);

/// The user and system time that processes have used so far, all threads together, to 10 ms.
///
/// # Errors
/// A sentence: one of them is not there.
pub fn used(pids: &[u32]) -> Result<Duration, String> {
    let all = pids.iter().map(|&pid| ticks(pid, 2)).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(all * 1000 / TICKS_PER_SECOND))
}

/// The user and system time of a process and of its children that have ended and were waited for, to 20 ms.
///
/// # Errors
/// A sentence: it is not there.
pub fn used_with_ended_children(pid: u32) -> Result<Duration, String> {
    Ok(Duration::from_millis(ticks(pid, 4)? * 1000 / TICKS_PER_SECOND))
}

/// The sum of the first `count` of utime, stime, cutime and cstime: fields 14 to 17, counted from after the name, which may hold anything but
/// ends at the last parenthesis.
fn ticks(pid: u32, count: usize) -> Result<u64, String> {
    let wrong = |why: String| format!("cannot account for process {pid}: {why}");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| wrong(error.to_string()))?;
    let times = fields(&stat).skip(11).take(count).map(str::parse::<u64>);
    times.sum::<Result<u64, _>>().map_err(|error| wrong(error.to_string()))
}

/// The time that all cores together have spent on programs, since the machine was started; time that a hypervisor took counts too. What the
/// kernel does for packets and devices outside of any program is not in it: it is work of whoever sends, and would pass for another program's.
///
/// # Errors
/// A sentence: it cannot be read.
pub fn machine() -> Result<Duration, String> {
    let stat = std::fs::read_to_string("/proc/stat").map_err(|error| format!("cannot account for the machine: {error}"))?;
    let first = stat.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
    let times = first.split_ascii_whitespace().skip(1).take(8).map(str::parse::<u64>);
    let times = times.collect::<Result<Vec<_>, _>>().map_err(|error| format!("cannot account for the machine: {error}"))?;
    let ticks: u64 = times.iter().enumerate().filter(|(index, _)| !matches!(index, 3..=6)).map(|(_, ticks)| ticks).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// The resident memory of processes, in bytes.
///
/// # Errors
/// A sentence: one of them is not there.
pub fn resident(pids: &[u32]) -> Result<u64, String> {
    let mut kib = 0;
    for &pid in pids {
        let wrong = |why: String| format!("cannot account for process {pid}: {why}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| wrong(error.to_string()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(|| wrong("it has no VmRSS".to_owned()))?;
        let number = line.trim().trim_end_matches("kB").trim();
        kib += number.parse::<u64>().map_err(|error| wrong(error.to_string()))?;
    }
    Ok(kib * 1024)
}

/// The memory of processes, in bytes, each page that several share counted once in all (`Pss`); where the system does not tell that, the sum of
/// what is resident of each.
///
/// # Errors
/// A sentence: one of them is not there.
pub fn proportional(pids: &[u32]) -> Result<u64, String> {
    pids.iter().map(|&pid| proportional_of(pid).map_or_else(|| resident(&[pid]), Ok)).sum()
}

fn proportional_of(pid: u32) -> Option<u64> {
    let told = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// What is resident of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub resident: u64,
    /// What is no part of a file.
    pub anonymous: u64,
    /// The most that `resident` ever was.
    pub peak: u64,
}

/// What is resident of a process, and the most that ever was.
///
/// # Errors
/// A sentence: it is not there.
pub fn memory(pid: u32) -> Result<Memory, String> {
    let wrong = |why: String| format!("cannot account for process {pid}: {why}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| wrong(error.to_string()))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| wrong(format!("it has no {name}")))?;
        let kib = line.trim().trim_end_matches("kB").trim().parse::<u64>().map_err(|error| wrong(error.to_string()))?;
        Ok::<u64, String>(kib * 1024)
    };
    Ok(Memory { resident: field("VmRSS:")?, anonymous: field("RssAnon:")?, peak: field("VmHWM:")? })
}

/// The process, its children, and theirs.
///
/// # Errors
/// A sentence: the list of processes cannot be read.
pub fn family(pid: u32) -> Result<Vec<u32>, String> {
    let entries = std::fs::read_dir("/proc").map_err(|error| format!("cannot list processes: {error}"))?;
    let all = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let parent = |other: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{other}/stat")).ok()?;
        fields(&stat).nth(1)?.parse::<u32>().ok()
    };
    let all: Vec<(u32, Option<u32>)> = all.map(|other| (other, parent(other))).collect();
    let mut family: Vec<u32> = all.iter().map(|(other, _)| *other).filter(|other| *other == pid).collect();
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(all.iter().filter(|(_, parent)| *parent == Some(member)).map(|(child, _)| *child));
        next += 1;
    }
    Ok(family)
}

/// The fields of a stat line from the third on, the state.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_accounted_to_the_process_that_did_it() {
        let own = std::process::id();
        let before = used(&[own]).expect("this process");
        let mut spun = 0_u64;
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while used(&[own]).expect("this process") < before + Duration::from_millis(50) {
            assert!(std::time::Instant::now() < deadline, "50 ms of work in 20 s");
            spun = (0..100_000).fold(spun, u64::wrapping_add);
        }
        std::hint::black_box(spun);
        assert!(used(&[u32::MAX]).expect_err("no such process").starts_with("cannot account for process 4294967295: "));
    }

    #[test]
    fn work_of_a_child_is_accounted_once_it_has_ended() {
        let own = std::process::id();
        let before = used_with_ended_children(own).expect("this process").saturating_sub(used(&[own]).expect("this process"));
        let mut worker = std::process::Command::new("dd");
        worker.args(["if=/dev/zero", "of=/dev/null", "bs=1M", "count=4000"]).stderr(std::process::Stdio::null());
        assert!(worker.status().expect("dd").success());
        let after = used_with_ended_children(own).expect("this process").saturating_sub(used(&[own]).expect("this process"));
        assert!(after > before, "{before:?} then {after:?}");
    }

    #[test]
    fn the_machine_works_at_least_as_long_as_this_process() {
        let (own, machine_before) = (std::process::id(), machine().expect("a machine"));
        let before = used(&[own]).expect("this process");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while used(&[own]).expect("this process") < before + Duration::from_millis(50) {
            assert!(std::time::Instant::now() < deadline, "50 ms of work in 20 s");
        }
        // Each count is cut to 10 ms by itself.
        assert!(machine().expect("a machine") + Duration::from_millis(20) >= machine_before + Duration::from_millis(50));
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let own = std::process::id();
        let before = resident(&[own]).expect("this process");
        let mut held = vec![1_u8; 64 << 20];
        std::hint::black_box(&mut held);
        let after = resident(&[own]).expect("this process");
        assert!(after > before + (48 << 20), "{before} then {after}");
        let whole = memory(own).expect("this process");
        assert!(whole.peak >= whole.resident && whole.resident > whole.anonymous && whole.anonymous >= 48 << 20, "{whole:?}");
        assert!(resident(&[u32::MAX]).expect_err("no such process").starts_with("cannot account for process 4294967295: "));
    }

    #[test]
    fn memory_that_processes_share_is_counted_once() {
        let own = std::process::id();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let together = proportional(&[own]).expect("this process");
        assert!(together >= 64 << 20, "{together} of {}", held.len());
        // Two of one program have most of their memory together.
        let child = || {
            let mut cat = std::process::Command::new("cat");
            cat.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("cat")
        };
        let mut children = [child(), child()];
        for child in &mut children {
            use std::io::{Read, Write};
            // It runs when it has given back what it was given.
            child.stdin.as_mut().expect("a pipe").write_all(b"x").expect("written");
            child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("read");
        }
        let pids = children.each_ref().map(std::process::Child::id);
        let (shared, apart) = (proportional(&pids).expect("two"), resident(&pids).expect("two"));
        assert!(shared > 0 && shared < apart * 3 / 4, "{shared} of {apart}");
        for child in &mut children {
            drop(child.stdin.take());
            child.wait().expect("it ends with its input");
        }
        assert!(proportional(&[u32::MAX]).expect_err("no such process").starts_with("cannot account for process 4294967295: "));
    }

    #[test]
    fn a_family_is_a_process_its_children_and_theirs() {
        use std::io::BufRead;
        let mut shell = std::process::Command::new("sh");
        // The second command keeps the shell from becoming the first.
        shell.args(["-c", "sh -c 'echo $PPID $$; cat; true'; true"]);
        let mut child = shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("sh");
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let said: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
        let own = std::process::id();
        let all = family(own).expect("a list");
        assert!(said.len() == 2 && said[0] == child.id() && said.iter().all(|pid| all.contains(pid)), "{said:?} in {all:?}");
        assert!(all.contains(&own) && !all.contains(&1), "{all:?}");
        assert!(!family(said[1]).expect("a list").contains(&said[0]));
        drop(child.stdin.take());
        child.wait().expect("the child ends with its input");
    }
}
