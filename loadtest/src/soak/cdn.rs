//! The CDN of a soak: a control plane and an edge, each a process of the `skerry` binary, from settings files as an operator writes them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The host of the one site.
pub(super) const HOST: &str = "soak.example.com";
/// How long a process may take to be ready, or to end, or a command to be done.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at whether it is.
const LOOK: Duration = Duration::from_millis(2);

/// What an edge says of itself in `ready.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) pid: u32,
    pub(super) http: Vec<String>,
    pub(super) https: Vec<String>,
    pub(super) h3: Vec<String>,
    pub(super) admin: String,
}

/// See the module. Its processes end with this one, because they hold its pipe.
#[derive(Debug)]
pub(super) struct Cdn {
    binary: PathBuf,
    folder: PathBuf,
    api: String,
    token: String,
    control: Child,
    edge: Option<Child>,
}

/// What is given to the edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// Its `memory_limit`, in bytes.
    pub(super) memory_limit: u64,
    /// Its `disk.size`, in bytes.
    pub(super) disk_size: u64,
}

impl Cdn {
    /// Starts the control plane and applies the site; the edge is started with [`Cdn::start_edge`].
    pub(super) async fn start(binary: &Path, folder: &Path, origin: &str, given: Given) -> Result<Self, String> {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        let data = folder.display();
        write(
            "control.toml",
            &format!(
                "role = \"control\"\ndata = \"{data}/control\"\n\
                 listen = {{ api = \"127.0.0.1:0\", nodes = \"127.0.0.1:0\", dns = \"127.0.0.1:0\" }}\n\
                 dns = {{ zone = \"cdn.test\", nameservers = [{{ name = \"ns1.cdn.test\", addresses = [\"127.0.0.1\"] }}] }}\n"
            ),
        )?;
        let control = spawn(binary, folder, "control")?;
        let ready: serde_json::Value = ready(folder, "control").await?;
        let at = |name: &str| ready[name].as_str().map(str::to_owned).ok_or_else(|| format!("control/ready.json names no {name}"));
        let token = std::fs::read_to_string(folder.join("control/admin.token")).map_err(|error| format!("no admin token: {error}"))?;
        let api = format!("http://{}", at("api")?);
        let cdn = Self { binary: binary.to_owned(), folder: folder.to_owned(), api, token: token.trim().to_owned(), control, edge: None };
        let join = cdn.skerry(&["node", "token", "create", "--role", "edge", "--region", "here", "--json"]).await?;
        let join: serde_json::Value = serde_json::from_str(&join).map_err(|error| format!("no join token: {error}"))?;
        let join = join["token"].as_str().unwrap_or_default();
        let [certificate, key] = authority().map_err(|error| format!("no authority can be made: {error}"))?;
        write("ca.pem", &certificate)?;
        write("ca.key", &key)?;
        write("edge.toml", &edge_settings(&folder.display().to_string(), &at("nodes")?, join, given))?;
        write(
            "site.toml",
            &format!("name = \"soak\"\nhosts = [\"{HOST}\"]\n[origin]\nurls = [\"{origin}\"]\n[cache]\nobject_max = \"1GiB\"\n"),
        )?;
        let site = folder.join("site.toml");
        cdn.skerry(&["site", "apply", &site.display().to_string()]).await?;
        Ok(cdn)
    }

    /// The authority that the edge's certificates come from.
    pub(super) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Starts the edge, and waits until it says that it is ready; how long that took.
    pub(super) async fn start_edge(&mut self) -> Result<(Ready, Duration), String> {
        let _ = std::fs::remove_file(self.folder.join("edge/ready.json"));
        let began = Instant::now();
        self.edge = Some(spawn(&self.binary, &self.folder, "edge")?);
        let ready = ready(&self.folder, "edge").await?;
        Ok((ready, began.elapsed()))
    }

    /// Ends the edge with SIGTERM, or at once without a word.
    pub(super) async fn end_edge(&mut self, at_once: bool) -> Result<(), String> {
        let Some(mut edge) = self.edge.take() else { return Ok(()) };
        if at_once {
            return edge.kill().await.map_err(|error| format!("the edge cannot be ended: {error}"));
        }
        // The end of its input is the same to it as SIGTERM.
        drop(edge.stdin.take());
        let ended = timeout(PATIENCE, edge.wait()).await.map_err(|_| "the edge does not end".to_owned())?;
        ended.map(|_| ()).map_err(|error| format!("the edge cannot be waited for: {error}"))
    }

    /// Runs an operator's command; its standard output.
    pub(super) async fn skerry(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("SKERRY_API", &self.api).env("SKERRY_TOKEN", &self.token).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await.map_err(|_| format!("skerry {arguments:?} does not end"))?;
        let output = output.map_err(|error| format!("skerry {arguments:?}: {error}"))?;
        if !output.status.success() {
            return Err(format!("skerry {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends everything in order.
    pub(super) async fn stop(mut self) -> Result<(), String> {
        self.end_edge(false).await?;
        drop(self.control.stdin.take());
        let _ = timeout(PATIENCE, self.control.wait()).await;
        Ok(())
    }
}

fn spawn(binary: &Path, folder: &Path, role: &str) -> Result<Child, String> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{role}.log")));
    let log = log.map_err(|error| format!("cannot write {}/{role}.log: {error}", folder.display()))?;
    let output = log.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new(binary);
    command.arg(role).arg("--config").arg(folder.join(format!("{role}.toml"))).env("SKERRY_STOP_WITH_STDIN", "1");
    command.stdin(Stdio::piped()).stdout(output).stderr(log).kill_on_drop(true);
    command.spawn().map_err(|error| format!("{} cannot be started: {error}", binary.display()))
}

async fn ready<T: for<'a> Deserialize<'a>>(folder: &Path, role: &str) -> Result<T, String> {
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

/// An authority for the edge to issue certificates with, in PEM: certificate and key.
fn authority() -> Result<[String; 2], rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.distinguished_name.push(DnType::CommonName, "soak CA");
    let key = KeyPair::generate()?;
    Ok([authority.self_signed(&key)?.pem(), key.serialize_pem()])
}

fn edge_settings(data: &str, control: &str, join: &str, given: Given) -> String {
    let Given { memory_limit, disk_size } = given;
    format!(
        "role = \"edge\"\nname = \"soak-1\"\ndata = \"{data}/edge\"\npublic_addresses = [\"127.0.0.1\"]\n\
         memory_limit = \"{memory_limit}B\"\n\
         control = {{ address = \"{control}\", join_token = \"{join}\" }}\n\
         [listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nh3 = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [cache]\nmemory = \"1GiB\"\nobject_max = \"256MiB\"\nfilling_max = \"1GiB\"\n\
         [disk]\npath = \"{data}/disk\"\nsize = \"{disk_size}B\"\n\
         [tls.issuer]\ncert = \"{data}/ca.pem\"\nkey = \"{data}/ca.key\"\n\
         [limits]\nconnections_per_address = 16384\nnew_connections_per_second = 16384\n"
    )
}
