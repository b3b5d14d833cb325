//! Scripts in Python that use packages nobody here wrote (`tests/python`): run to their end as clients, or kept as origins.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::TempDir;

use super::command::{Ran, binary, run};
use super::wait::wait_for;

/// How long a script may take to say where it answers.
const START_MAX: Duration = Duration::from_secs(30);

/// The interpreter with the packages; made beside the build by the first test that asks.
static INTERPRETER: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = binary().ancestors().nth(2).unwrap().to_path_buf();
    let made = Command::new(root().join(".ci/python")).arg(target.join("python")).stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "no Python with the packages of tests/python: {}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim_end())
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The command of a script of `tests/python`.
#[track_caller]
pub(crate) fn command(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(&*INTERPRETER);
    command.arg("-u").arg(root().join("tests/python").join(script)).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a script to its end.
#[track_caller]
pub(crate) fn python(script: &str, arguments: &[&str]) -> Ran {
    run(&mut command(script, arguments))
}

/// A script that runs beside the test. The first line it prints says where it answers; the others are its notes.
pub(crate) struct Script {
    place: TempDir,
    child: Child,
    address: String,
}

impl Script {
    /// Starts it, and waits for its first line.
    #[track_caller]
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let output = File::create(place.path().join("said")).unwrap();
        let errors = File::create(place.path().join("errors")).unwrap();
        let mut child = command(script, arguments).stdin(Stdio::piped()).stdout(output).stderr(errors).spawn().unwrap();
        let text = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap_or_default();
        let address = wait_for(script, START_MAX, || {
            assert!(child.try_wait().unwrap().is_none(), "{script} ended: {}", text("errors"));
            text("said").split_once('\n').map(|(first, _)| first.to_owned()).ok_or_else(|| text("errors"))
        });
        Self { place, child, address }
    }

    /// Where it answers: what its first line says.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it has said since.
    pub(crate) fn notes(&self) -> Vec<String> {
        let said = std::fs::read_to_string(self.place.path().join("said")).unwrap_or_default();
        // The last line may be half a line.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().skip(1).map(str::to_owned).collect()
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let errors = std::fs::read_to_string(self.place.path().join("errors")).unwrap_or_default();
            eprintln!("--- script: {:?}\n{errors}", self.notes());
        }
    }
}
