//! Commands: run to their end with a deadline, and what they said.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wait::wait_for;

/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; -1 when a signal ended it.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// This, if the command succeeded.
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Whether the command failed with `code` and one sentence, which is returned.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        let sentence = self.stderr.trim_end().strip_prefix("skerry: ").unwrap_or_else(|| panic!("no sentence in {self:?}"));
        assert!(!sentence.contains('\n'), "more than one sentence: {sentence}");
        assert!(!sentence.contains("panicked"), "{sentence}");
        sentence
    }
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_skerry"))
}

/// Runs the binary under test.
#[track_caller]
pub(crate) fn skerry<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ran {
    run(Command::new(binary()).args(arguments).env_remove("SKERRY_API").env_remove("SKERRY_TOKEN"))
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ran {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}; run make setup"));
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    // Both at once: a command that fills one pipe while we read the other would never end.
    let errors = std::thread::spawn(move || text(&mut stderr));
    let output = std::thread::spawn(move || text(&mut stdout));
    let code = end_of(&mut child, &program, COMMAND_MAX);
    Ran { code, stdout: output.join().unwrap(), stderr: errors.join().unwrap() }
}

fn text(pipe: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the end of a process; its exit code.
#[track_caller]
pub(crate) fn end_of(child: &mut Child, name: &str, limit: Duration) -> i32 {
    let status = wait_for(&format!("the end of {name}"), limit, || child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned()));
    status.code().unwrap_or(-1)
}

/// Sends a signal to a process that the house started.
#[track_caller]
pub(crate) fn kill(signal: &str, pid: u64) {
    assert!(pid > 1, "a pid of one process");
    run(Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string())).fine();
}

/// Whether a process is there and not merely unburied.
pub(crate) fn is_running(pid: u64) -> bool {
    let mut status = String::new();
    let Ok(mut file) = std::fs::File::open(format!("/proc/{pid}/stat")) else { return false };
    let read = file.read_to_string(&mut status);
    read.is_ok() && !status.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}
