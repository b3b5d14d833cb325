//! A control plane alone, and operators' commands to it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::cdn::SOON;
use super::command::{Ran, binary, skerry};
use super::wait::wait_for;

/// A control plane alone, in a directory of its own.
pub(crate) struct Control {
    place: Option<TempDir>,
    child: Child,
    ready: Value,
}

impl Control {
    /// Starts it with these settings beside the usual ones, the API at `api`, in a directory that may be that of an earlier one.
    #[track_caller]
    pub(crate) fn start(place: TempDir, more: &str, api: &str) -> Self {
        let settings = format!(
            "role = \"control\"\ndata = \"{}\"\n[listen]\napi = \"{api}\"\nnodes = \"127.0.0.1:0\"\ndns = \"127.0.0.1:0\"\n\
             [dns]\nzone = \"cdn.test\"\nnameservers = [{{ name = \"ns1.cdn.test\", addresses = [\"127.0.0.1\"] }}]\n{more}",
            place.path().join("data").display()
        );
        let config = place.path().join("control.toml");
        std::fs::write(&config, settings).unwrap();
        let log = std::fs::File::create(place.path().join("log")).unwrap();
        let mut command = Command::new(binary());
        command.arg("control").arg("--config").arg(&config);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let said = || std::fs::read_to_string(place.path().join("log")).unwrap_or_default();
        let ready = wait_for("the control plane", SOON, || {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", said());
            let text = std::fs::read(place.path().join("data/ready.json")).map_err(|_| said())?;
            serde_json::from_slice::<Value>(&text).map_err(|_| said())
        });
        Self { place: Some(place), child, ready }
    }

    /// Its directory.
    pub(crate) fn place(&self) -> &Path {
        self.place.as_ref().unwrap().path()
    }

    /// Ends it without a warning; its directory, to start it again in.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let place = self.place.take().unwrap();
        // What says that it answers is of the process that is gone.
        let _ = std::fs::remove_file(place.path().join("data/ready.json"));
        place
    }

    /// Where its API answers, `host:port`.
    pub(crate) fn api(&self) -> &str {
        self.ready["api"].as_str().unwrap()
    }

    /// Where its DNS answers, `host:port`.
    pub(crate) fn dns(&self) -> &str {
        self.ready["dns"].as_str().unwrap()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place().join("log")).unwrap()
    }

    /// The admin token.
    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.place().join("data/admin.token")).unwrap().trim().to_owned()
    }

    /// An operator's command, with what it says after the API and the token.
    #[track_caller]
    pub(crate) fn ask(&self, url: &str, token: &str, ca: Option<&Path>, words: &[&str]) -> Ran {
        let mut all = vec!["--api", url, "--token", token];
        if let Some(ca) = ca {
            all.extend(["--ca", ca.to_str().unwrap()]);
        }
        let (command, rest) = words.split_first().unwrap();
        skerry(&[&[*command], all.as_slice(), rest].concat())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
