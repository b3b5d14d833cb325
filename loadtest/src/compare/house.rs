//! What a side-by-side run measures: an origin, our CDN and the peers before it, each as processes of its own on this machine.
//!
//! Owns their starts and ends. Measures nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Request;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::affinity;
use crate::api::Api;
use crate::client::{Client, Protocol, Trust};
use crate::endpoints::Endpoints;
use crate::machine;
use crate::origin::{FIGURES, Figures};
use crate::peer::{Kind, Peer, Workers};
use crate::plan::Plan;
use crate::target::{Resolve, Target};

/// How long a process may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at whether it is.
const LOOK: Duration = Duration::from_millis(5);
/// The site of `skerry dev` that serves every host.
const SITE: &str = "default";

/// Which cores whom is on; none of either where there is one core only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cores {
    pub(super) server: Option<usize>,
    pub(super) generator: Option<usize>,
}

impl Cores {
    /// The first for the servers, the last for whoever asks and for the origin.
    pub(super) fn of_this_machine() -> Result<Self, String> {
        let cores = affinity::cores()?;
        if let [first, .., last] = cores[..] { Ok(Self { server: Some(first), generator: Some(last) }) } else { Ok(Self::default()) }
    }
}

/// The origin's process.
#[derive(Debug)]
pub(crate) struct Origin {
    child: Child,
    /// Where it answers.
    pub(crate) url: String,
    /// What tells its counts.
    pub(crate) counter: Counter,
}

/// Asks the origin what it has counted.
#[derive(Clone, Debug)]
pub(crate) struct Counter(Client);

#[derive(Deserialize)]
struct Listening {
    listening: String,
}

impl Origin {
    async fn start(delay_ms: u64) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| format!("cannot tell which program this is: {error}"))?;
        let mut command = Command::new(own);
        command.args(["origin", "--delay-ms", &delay_ms.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("the origin does not start: {error}"))?;
        let output = child.stdout.take().ok_or("the origin has no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.map_err(|_| "the origin does not start in time".to_owned())?;
        let line = line.ok().flatten().ok_or("the origin ends at once")?;
        let said: Listening = serde_json::from_str(&line).map_err(|error| format!("the origin says `{line}`: {error}"))?;
        let url = format!("http://{}", said.listening);
        let client = Client::new(Target::find(&format!("{url}{FIGURES}"), &[]).await?, Protocol::H1, None)?;
        Ok(Self { child, url, counter: Counter(client) })
    }

    /// Its process.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.child.id().into_iter().collect()
    }

    /// What it has counted so far.
    pub(crate) async fn figures(&self) -> Result<Figures, String> {
        self.counter.figures().await
    }
}

impl Counter {
    /// What the origin has counted so far.
    pub(crate) async fn figures(&self) -> Result<Figures, String> {
        let mut connection = self.0.connect().await?;
        let request: Request<()> = self.0.request(&self.0.target().path)?;
        let mut body = Vec::new();
        connection.ask(request, |part| body.extend_from_slice(part)).await.map_err(|error| format!("the origin: {error}"))?;
        serde_json::from_slice(&body).map_err(|error| format!("the origin's figures are not understood: {error}"))
    }
}

/// A side of the comparison.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its name.
    pub(crate) name: String,
    /// All processes whose work counts.
    pub(crate) pids: Vec<u32>,
    /// A client for each of its edges; none where it does not speak what is asked, and then why.
    pub(crate) clients: Result<Vec<Client>, String>,
    /// Where purges go; none: it has no purge by tag.
    pub(crate) purges: Option<Api>,
}

/// Everything that runs for one plan.
#[derive(Debug)]
pub(super) struct House {
    pub(super) origin: Origin,
    pub(super) servers: Vec<Server>,
    cdn: Child,
    peers: Vec<Peer>,
    _folder: TempDir,
}

impl House {
    /// Starts everything: servers on their core, the origin on that of the generator.
    pub(super) async fn start(plan: &Plan, skerry: &Path, peers: &[Kind], cores: Cores) -> Result<Self, String> {
        // Whoever is started inherits what is allowed here.
        machine::allow_files(plan.files(), "the plan")?;
        let own = std::process::id();
        let hold = |core: Option<usize>| core.map(|core| affinity::pin(&[own], core)).transpose();
        let held = hold(cores.generator)?;
        let origin = Origin::start(plan.origin.delay_ms).await?;
        drop(held);
        // What is started inherits the core, and has the threads that one core gets.
        let _held = hold(cores.server)?;
        let place = machine::files();
        let folder = TempDir::new_in(&place).map_err(|error| format!("no folder for the CDN in {}: {error}", place.display()))?;
        let (cdn, endpoints) = cdn(skerry, folder.path(), &origin.url, plan).await?;
        let mut servers = vec![ours(&endpoints, plan).await?];
        let workers = if cores.server.is_some() { Workers::One } else { Workers::OnePerCore };
        let mut started = Vec::with_capacity(peers.len());
        for &kind in peers {
            let peer = Peer::start(kind, &origin.url, workers).await?;
            servers.push(theirs(&peer, plan).await?);
            started.push(peer);
        }
        Ok(Self { origin, servers, cdn, peers: started, _folder: folder })
    }

    /// Ends everything in order.
    pub(super) async fn stop(mut self) {
        for peer in self.peers {
            peer.stop().await;
        }
        for child in [&mut self.cdn, &mut self.origin.child] {
            // The end of its input is what a terminal's Ctrl-C is to it.
            drop(child.stdin.take());
            if timeout(PATIENCE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

async fn cdn(skerry: &Path, folder: &Path, origin: &str, plan: &Plan) -> Result<(Child, Endpoints), String> {
    let path: PathBuf = folder.join("endpoints.json");
    let log_path = folder.join("dev.log");
    let log = std::fs::File::create(&log_path).map_err(|error| format!("cannot write {}: {error}", log_path.display()))?;
    let copy = log.try_clone().map_err(|error| format!("cannot write {}: {error}", log_path.display()))?;
    let mut command = Command::new(skerry);
    command.args(["dev", "--origin", origin, "--edges", &plan.edges.to_string(), "--shields", &plan.shields.to_string()]);
    command.arg("--data").arg(folder.join("data")).arg("--endpoints").arg(&path).env("SKERRY_STOP_WITH_STDIN", "1");
    command.stdin(Stdio::piped()).stdout(copy).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot run {}: {error}", skerry.display()))?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if path.exists() {
            return Ok((child, Endpoints::read(&path)?));
        }
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            break;
        }
        sleep(LOOK).await;
    }
    let said = std::fs::read_to_string(&log_path).unwrap_or_default();
    Err(format!("{} dev does not answer: {}", skerry.display(), said.lines().next_back().unwrap_or("it says nothing")))
}

async fn ours(endpoints: &Endpoints, plan: &Plan) -> Result<Server, String> {
    let trust = endpoints.control.ca.as_deref().map(Trust::read).transpose()?;
    let protocol = plan.protocol()?;
    let host = format!("{SITE}.{}", endpoints.zone);
    let mut clients = Vec::with_capacity(endpoints.edges.len());
    for edge in &endpoints.edges {
        let address = match (protocol, plan.load.tls) {
            (Protocol::H3, _) => edge.h3.as_ref(),
            (_, true) => edge.https.as_ref(),
            (_, false) => Some(&edge.http),
        };
        let address = address.ok_or_else(|| format!("{} does not speak {protocol}", edge.name))?;
        clients.push(client(&host, address, plan, trust.as_ref()).await?);
    }
    let purges = match endpoints.control.api.as_deref().zip(endpoints.control.token.as_deref()) {
        Some((api, token)) => Some(Api::connect(api.trim_start_matches("http://"), token).await?),
        None => None,
    };
    Ok(Server { name: "skerry".to_owned(), pids: endpoints.pids()?, clients: Ok(clients), purges })
}

async fn theirs(peer: &Peer, plan: &Plan) -> Result<Server, String> {
    let protocol = plan.protocol()?;
    let address = match (protocol, plan.load.tls) {
        (Protocol::H1, false) => Some(peer.address()),
        (Protocol::H2, false) => peer.cleartext_h2(),
        (Protocol::H1 | Protocol::H2, true) => peer.secure(),
        (Protocol::H3, _) => None,
    };
    let clients = match address {
        Some(address) => {
            let trust = peer.authority().filter(|_| plan.load.tls).map(Trust::read).transpose()?;
            Ok(vec![client(crate::peer::HOST, &address.to_string(), plan, trust.as_ref()).await?])
        }
        None => Err(format!("{} is not set up for {protocol}{}", peer.name(), if plan.load.tls { " over TLS" } else { "" })),
    };
    Ok(Server { name: peer.name().to_owned(), pids: peer.processes()?, clients, purges: None })
}

async fn client(host: &str, address: &str, plan: &Plan, trust: Option<&Trust>) -> Result<Client, String> {
    let protocol = plan.protocol()?;
    let secure = plan.load.tls || protocol == Protocol::H3;
    let scheme = if secure { "https" } else { "http" };
    let port = address.rsplit(':').next().unwrap_or_default();
    let resolve: Resolve = format!("{host}:{address}").parse()?;
    let target = Target::find(&format!("{scheme}://{host}:{port}/"), &[resolve]).await?;
    Client::new(target, protocol, trust.filter(|_| secure))
}
