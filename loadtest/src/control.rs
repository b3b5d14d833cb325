//! A control plane as a process of the `skerry` binary, from a settings file as an operator writes one, and the commands an operator has.
//!
//! Owns the processes' start, their word that they are ready, and their end; each ends with this one, because it holds their standard input.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a process may take to be ready, or to end, or a command to be done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at whether it is.
const LOOK: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Control {
    binary: PathBuf,
    /// `host:port` of the API.
    pub(crate) api: String,
    /// `host:port` of the nodes' door.
    pub(crate) nodes: String,
    /// The admin token.
    pub(crate) token: String,
    /// The process.
    pub(crate) pid: u32,
    child: Child,
}

#[derive(Deserialize)]
struct Ready {
    pid: u32,
    api: String,
    nodes: String,
}

impl Control {
    /// Starts one that keeps everything in `folder`, on ports that are free.
    pub(crate) async fn start(binary: &Path, folder: &Path) -> Result<Self, String> {
        let data = folder.display();
        write(
            folder,
            "control.toml",
            &format!(
                "role = \"control\"\ndata = \"{data}/control\"\n\
                 listen = {{ api = \"127.0.0.1:0\", nodes = \"127.0.0.1:0\", dns = \"127.0.0.1:0\" }}\n\
                 dns = {{ zone = \"cdn.test\", nameservers = [{{ name = \"ns1.cdn.test\", addresses = [\"127.0.0.1\"] }}] }}\n\
                 rollout = {{ hold = \"0s\" }}\n"
            ),
        )?;
        let child = spawn(binary, folder, "control")?;
        let Ready { pid, api, nodes } = ready(folder, "control").await?;
        let token = std::fs::read_to_string(folder.join("control/admin.token")).map_err(|error| format!("no admin token: {error}"))?;
        Ok(Self { binary: binary.to_owned(), api, nodes, token: token.trim().to_owned(), pid, child })
    }

    /// Runs an operator's command; its standard output.
    pub(crate) async fn skerry(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.binary);
        let api = format!("http://{}", self.api);
        command.args(arguments).env("SKERRY_API", api).env("SKERRY_TOKEN", &self.token).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await.map_err(|_| format!("skerry {arguments:?} does not end"))?;
        let output = output.map_err(|error| format!("skerry {arguments:?}: {error}"))?;
        if !output.status.success() {
            return Err(format!("skerry {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        end(&mut self.child, "control plane").await
    }
}

/// Ends a process in order: the end of its input is the same to it as SIGTERM.
pub(crate) async fn end(child: &mut Child, name: &str) -> Result<(), String> {
    drop(child.stdin.take());
    let ended = timeout(PATIENCE, child.wait()).await.map_err(|_| format!("the {name} does not end within {PATIENCE:?}"))?;
    ended.map(drop).map_err(|error| format!("the {name} cannot be waited for: {error}"))
}

/// Writes a file of the folder.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Starts a role from `ROLE.toml` in the folder, with its log in `ROLE.log`.
pub(crate) fn spawn(binary: &Path, folder: &Path, role: &str) -> Result<Child, String> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{role}.log")));
    let log = log.map_err(|error| format!("cannot write {}/{role}.log: {error}", folder.display()))?;
    let output = log.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new(binary);
    command.arg(role).arg("--config").arg(folder.join(format!("{role}.toml"))).env("SKERRY_STOP_WITH_STDIN", "1");
    command.stdin(Stdio::piped()).stdout(output).stderr(log).kill_on_drop(true);
    command.spawn().map_err(|error| format!("{} cannot be started: {error}", binary.display()))
}

/// Waits for what a role says of itself when it is ready.
pub(crate) async fn ready<T: for<'a> Deserialize<'a>>(folder: &Path, role: &str) -> Result<T, String> {
    let path = folder.join(role).join("ready.json");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // It is written whole.
        if let Ok(text) = std::fs::read_to_string(&path) {
            return serde_json::from_str(&text).map_err(|error| format!("{} is not understood: {error}", path.display()));
        }
        sleep(LOOK).await;
    }
    let log = std::fs::read_to_string(folder.join(format!("{role}.log"))).unwrap_or_default();
    Err(format!("the {role} is not ready within {PATIENCE:?}: {}", log.lines().next_back().unwrap_or("it says nothing")))
}
