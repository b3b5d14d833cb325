//! A DNS node beside a CDN: `skerry dns`, as an operator starts it.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::cdn::SOON;
use super::command::binary;
use super::wait::wait_for;
use super::{Cdn, get};

/// A DNS node that runs.
pub(crate) struct DnsNode {
    place: TempDir,
    child: Child,
    ready: Value,
}

impl DnsNode {
    /// Joins a CDN under a name, and waits until it is ready.
    #[track_caller]
    pub(crate) fn join(cdn: &Cdn, name: &str) -> Self {
        let ready: Value = serde_json::from_slice(&std::fs::read(cdn.data("control").join("ready.json")).unwrap()).unwrap();
        Self::join_at(cdn, name, ready["nodes"].as_str().unwrap())
    }

    /// The same by another address of the control plane.
    #[track_caller]
    pub(crate) fn join_at(cdn: &Cdn, name: &str, control: &str) -> Self {
        let token = cdn.skerry(&["node", "token", "create", "--role", "dns", "--region", "region-1"]).fine().stdout;
        let place = tempfile::tempdir().unwrap();
        let settings = format!(
            "role = \"dns\"\nname = \"{name}\"\ndata = \"{}\"\ncontrol = {{ address = \"{control}\", join_token = \"{}\" }}\n\
             listen = {{ dns = \"127.0.0.1:0\", route = \"127.0.0.1:0\", admin = \"127.0.0.1:0\" }}\n",
            place.path().join("data").display(),
            token.trim()
        );
        std::fs::write(place.path().join("dns.toml"), settings).unwrap();
        Self::start(place)
    }

    /// Starts it again in the directory of an earlier run.
    #[track_caller]
    pub(crate) fn start(place: TempDir) -> Self {
        let log = File::create(place.path().join("log")).unwrap();
        let mut child = Command::new(binary())
            .arg("dns")
            .arg("--config")
            .arg(place.path().join("dns.toml"))
            .env("SKERRY_STOP_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let said = || std::fs::read_to_string(place.path().join("log")).unwrap_or_default();
        let ready = wait_for("the DNS node", SOON, || {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", said());
            let text = std::fs::read(place.path().join("data/ready.json")).map_err(|_| said())?;
            serde_json::from_slice::<Value>(&text).map_err(|_| said())
        });
        Self { place, child, ready }
    }

    /// Ends it without a warning; its directory, to start it again in.
    pub(crate) fn kill(mut self) -> TempDir {
        let place = std::mem::replace(&mut self.place, tempfile::tempdir().unwrap());
        drop(self);
        // What says that it answers is of the process that is gone.
        let _ = std::fs::remove_file(place.path().join("data/ready.json"));
        place
    }

    /// Ends it without a warning, and starts it with this at the end of its settings.
    #[track_caller]
    pub(crate) fn again_with(self, settings: &str) -> Self {
        let place = self.kill();
        let file = place.path().join("dns.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}{settings}")).unwrap();
        Self::start(place)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The value of a metric without labels, or with these.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = get(self.at("admin"), "localhost", "/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Where a listener of it is: `dns`, `route` or `admin`.
    #[track_caller]
    pub(crate) fn at(&self, listener: &str) -> &str {
        self.ready[listener].as_str().unwrap()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }
}

impl Drop for DnsNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the DNS node\n{}", self.log());
        }
    }
}
