//! The file in which a running `skerry dev` says where it answers.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What of that file is used here; other members are of no concern.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoints {
    /// The URL of the origin behind the CDN.
    pub origin: String,
    /// The control plane.
    #[serde(default)]
    pub control: Control,
    /// The DNS zone, below which every site has a host of its name.
    #[serde(default)]
    pub zone: String,
    /// The edges; at least one.
    pub edges: Vec<Edge>,
    /// The shields.
    #[serde(default)]
    pub shields: Vec<Shield>,
}

/// The control plane.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Control {
    /// The URL of its API.
    pub api: Option<String>,
    /// A token for it.
    pub token: Option<String>,
    /// The file of the authority that the edges' certificates are from.
    pub ca: Option<PathBuf>,
}

/// An edge.
#[derive(Clone, Debug, Deserialize)]
pub struct Edge {
    /// Its name.
    pub name: String,
    /// Where it answers cleartext HTTP: address and port.
    pub http: String,
    /// Where it answers HTTP/1.1 and HTTP/2 over TLS, if it does.
    pub https: Option<String>,
    /// Where it answers HTTP/3, if it does.
    pub h3: Option<String>,
    /// Its process.
    pub pid: u32,
}

/// A shield.
#[derive(Clone, Debug, Deserialize)]
pub struct Shield {
    /// Its process, where the file tells it.
    pub pid: Option<u32>,
}

impl Endpoints {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence: it cannot be read, is not such a file, or names no edge.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let wrong = |why: String| format!("{} is no endpoints file of `skerry dev`: {why}", path.display());
        let endpoints: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if endpoints.edges.is_empty() { Err(wrong("it names no edge".to_owned())) } else { Ok(endpoints) }
    }
}
