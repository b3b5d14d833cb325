//! The CDN of a soak: a control plane and an edge, each a process of the `skerry` binary, from settings files as an operator writes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde::Deserialize;
use tokio::process::Child;

use crate::control::{Control, end, ready, spawn, write};

/// The host of the one site.
pub(super) const HOST: &str = "soak.example.com";
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
    control: Control,
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
        let control = Control::start(binary, folder).await?;
        let cdn = Self { binary: binary.to_owned(), folder: folder.to_owned(), control, edge: None };
        let join = cdn.skerry(&["node", "token", "create", "--role", "edge", "--region", "here", "--json"]).await?;
        let join: serde_json::Value = serde_json::from_str(&join).map_err(|error| format!("no join token: {error}"))?;
        let join = join["token"].as_str().unwrap_or_default();
        let [certificate, key] = authority().map_err(|error| format!("no authority can be made: {error}"))?;
        write(folder, "ca.pem", &certificate)?;
        write(folder, "ca.key", &key)?;
        write(folder, "edge.toml", &edge_settings(&folder.display().to_string(), &cdn.control.nodes, join, given))?;
        write(
            folder,
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
        end(&mut edge, "edge").await
    }

    /// Runs an operator's command; its standard output.
    pub(super) async fn skerry(&self, arguments: &[&str]) -> Result<String, String> {
        self.control.skerry(arguments).await
    }

    /// Ends everything in order.
    pub(super) async fn stop(mut self) -> Result<(), String> {
        self.end_edge(false).await?;
        self.control.stop().await
    }
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
         [limits]\nconnections_per_address = 16384\nnew_connections_per_second = 16384\n\
         [origins]\nallow = [\"127.0.0.0/8\"]\n"
    )
}
