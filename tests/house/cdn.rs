//! A whole CDN: `skerry dev` as a user starts it, what it says of itself, and the processes it is made of.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Ran, binary, end_of, is_running, kill, run};
use super::wait::{wait_for, wait_until};

/// How long the CDN may take to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How long a process that was killed may take to be gone, and one that was started to be ready.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running CDN. Dropping it stops it and everything that was started again in it.
pub(crate) struct Cdn {
    place: TempDir,
    child: Option<Child>,
    /// What was started again, by name; the last of a name runs.
    again: Vec<(String, Child)>,
    endpoints: Value,
}

impl Cdn {
    /// Starts it with these options beside `--endpoints` and `--data`, and waits until it says that everything answers.
    #[track_caller]
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    /// Starts it in a directory, which may be that of an earlier run.
    #[track_caller]
    pub(crate) fn start_in(place: TempDir, options: &[&str]) -> Self {
        let endpoints = place.path().join("endpoints.json");
        let log = place.path().join("dev.log");
        let output = File::create(&log).unwrap();
        let mut child = Command::new(binary())
            .arg("dev")
            .args(options)
            .arg("--endpoints")
            .arg(&endpoints)
            .arg("--data")
            .arg(place.path().join("data"))
            // It ends with the test, even when that is killed.
            .env("SKERRY_STOP_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let endpoints = wait_for("the endpoints file", START_MAX, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("skerry dev ended with {status}: {}\n{}", said(), logs(&place.path().join("data")));
            }
            let text = std::fs::read_to_string(&endpoints).map_err(|_| said())?;
            Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("the endpoints file is half a file: {error}: {text}")))
        });
        Self { place, child: Some(child), again: Vec::new(), endpoints }
    }

    /// What the endpoints file says.
    pub(crate) fn endpoints(&self) -> &Value {
        &self.endpoints
    }

    /// Where edge `number`, from 1, answers cleartext HTTP.
    #[track_caller]
    pub(crate) fn edge(&self, number: usize) -> &str {
        self.endpoints["edges"][number - 1]["http"].as_str().unwrap()
    }

    /// A value of the endpoints file that is text, by its JSON pointer.
    #[track_caller]
    pub(crate) fn at(&self, pointer: &str) -> &str {
        let found = self.endpoints.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("{pointer} is no text in {:#}", self.endpoints))
    }

    /// A file of the data directory.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.place.path().join("data").join(name)
    }

    /// What `skerry dev` itself has printed.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.place.path().join("dev.log")).unwrap_or_default()
    }

    /// Writes a file beside the data directory.
    #[track_caller]
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.place.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs an operator's command against this CDN.
    #[track_caller]
    pub(crate) fn skerry(&self, arguments: &[&str]) -> Ran {
        run(Command::new(binary())
            .args(arguments)
            .env("SKERRY_API", self.at("/control/api"))
            .env("SKERRY_TOKEN", self.at("/control/token")))
    }

    /// Runs an operator's command; its answer as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.skerry(&arguments).fine().stdout).unwrap()
    }

    /// Whether a node is connected and has everything.
    pub(crate) fn follows(&self, name: &str) -> bool {
        let status = self.json(&["status"]);
        let node = status["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).cloned().unwrap_or_default();
        node["connected"] == true && node["snapshot"] == status["snapshot"] && node["purge_seq"] == status["purge_seq"]
    }

    /// Whether a DNS node is connected.
    pub(crate) fn follows_zone(&self, name: &str) -> bool {
        let status = self.json(&["status"]);
        status["nodes"].as_array().unwrap().iter().any(|node| node["name"] == name && node["connected"] == true)
    }

    /// The pid and the settings file of a process, by name.
    #[track_caller]
    pub(crate) fn process(&self, name: &str) -> (u64, String) {
        let nodes = ["shields", "edges"].iter().filter_map(|kind| self.endpoints[kind].as_array()).flatten();
        let control = Some(&self.endpoints["control"]).filter(|_| name == "control");
        let found = control.or_else(|| nodes.into_iter().find(|node| node["name"] == name)).unwrap_or_else(|| panic!("no {name}"));
        let again = self.again.iter().rev().find(|(again, _)| again == name).map(|(_, child)| u64::from(child.id()));
        (again.unwrap_or_else(|| found["pid"].as_u64().unwrap()), found["config"].as_str().unwrap().to_owned())
    }

    /// Ends a process without a warning, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&self, name: &str) {
        let (pid, _) = self.process(name);
        kill("KILL", pid);
        wait_until(&format!("the end of {name}"), SOON, || !is_running(pid));
    }

    /// Ends a process without a warning, changes its settings file, and starts it again.
    #[track_caller]
    pub(crate) fn start_changed(&mut self, name: &str, change: impl FnOnce(&mut toml::Table)) {
        let (_, config) = self.process(name);
        self.kill(name);
        let mut settings: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
        change(&mut settings);
        std::fs::write(&config, settings.to_string()).unwrap();
        self.start_again(name);
    }

    /// Starts a process again from its settings file, and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start_again(&mut self, name: &str) {
        self.start_again_with(name, &[]);
    }

    /// The same with these environment variables.
    #[track_caller]
    pub(crate) fn start_again_with(&mut self, name: &str, environment: &[(&str, &str)]) {
        let (_, config) = self.process(name);
        let ready = self.data(name).join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let role = name.split('-').next().unwrap();
        let log = File::create(self.data(&format!("{name}-again.log"))).unwrap();
        let mut child = Command::new(binary())
            .args([role, "--config", &config])
            .envs(environment.iter().copied())
            .env("SKERRY_STOP_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_until(&format!("{name} to be ready"), SOON, || {
            assert!(child.try_wait().unwrap().is_none(), "{name} ended: {}", logs(&self.place.path().join("data")));
            ready.exists()
        });
        self.again.push((name.to_owned(), child));
    }

    /// Stops it with a signal; its exit code and its directory, for another run.
    #[track_caller]
    pub(crate) fn stop(mut self, signal: &str) -> (i32, TempDir) {
        let mut child = self.child.take().unwrap();
        kill(signal, u64::from(child.id()));
        let code = end_of(&mut child, "skerry dev", STOP_MAX);
        (code, std::mem::replace(&mut self.place, tempfile::tempdir().unwrap()))
    }
}

impl Drop for Cdn {
    fn drop(&mut self) {
        for mut child in self.child.take().into_iter().chain(self.again.drain(..).map(|(_, child)| child)) {
            drop(child.stdin.take());
            if std::thread::panicking() {
                // The test has failed already; its processes end with their standard input, and must not hold the report up.
                let _ = child.kill();
            }
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.said(), logs(&self.place.path().join("data")));
        }
    }
}

/// The ends of all logs in a data directory, for the report of a test that failed.
fn logs(data: &Path) -> String {
    const LINES: usize = 30;
    let mut all = String::new();
    for entry in std::fs::read_dir(data).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
            all.push_str(&format!("--- {}\n{tail}\n", entry.path().display()));
        }
    }
    all
}
