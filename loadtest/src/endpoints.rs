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
    /// Its process, where the file tells it.
    pub pid: Option<u32>,
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

    /// All processes of the CDN: edges, shields and the control plane.
    ///
    /// # Errors
    /// A sentence: the file does not tell one of them, whose work would then be nobody's.
    pub fn pids(&self) -> Result<Vec<u32>, String> {
        let lacking = |whose: &str| format!("the endpoints file does not tell the pid of {whose}, so its processor time cannot be counted");
        let edges = self.edges.iter().map(|edge| Ok(edge.pid));
        let shields = self.shields.iter().map(|shield| shield.pid.ok_or_else(|| lacking("a shield")));
        let control = std::iter::once(self.control.pid.ok_or_else(|| lacking("the control plane")));
        edges.chain(shields).chain(control).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_counts_and_none_may_lack() {
        let pids = |text: &str| serde_json::from_str::<Endpoints>(text).expect("endpoints").pids();
        let edges = r#""origin": "http://a", "edges": [{"name": "e", "http": "127.0.0.1:1", "pid": 1}]"#;
        assert_eq!(pids(&format!(r#"{{{edges}, "shields": [{{"pid": 2}}], "control": {{"pid": 3}}}}"#)), Ok(vec![1, 2, 3]));
        for (rest, whose) in [(r#""shields": [{}], "control": {"pid": 3}"#, "a shield"), (r#""control": {}"#, "the control plane")] {
            let error = pids(&format!("{{{edges}, {rest}}}")).expect_err(whose);
            assert!(error.starts_with(&format!("the endpoints file does not tell the pid of {whose}, so")), "{error}");
        }
    }
}
