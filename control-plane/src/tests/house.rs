//! A control plane on free ports, nodes beside it, and a client for the API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use serde_json::{Value, json};
use skerry_agent::question::{self, Explain};
use skerry_agent::{Agent, Duties, Latency, Load, Role, Settings, SiteFigures};
use skerry_config::process::{
    Alarm, Certificates, Control, ControlApi, ControlLink, ControlListen, Dns, DnsGeo, DnsLimits, Nameserver, Purges, Rollout, Webhooks,
};
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;
use skerry_config::units::Period;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time anything here may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// Time between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Waits for a condition.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut look_again = tokio::time::interval(LOOK_INTERVAL);
    loop {
        look_again.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "{what} did not happen within {DEADLINE:?}");
    }
}

pub(crate) fn settings(data: &Path) -> Control {
    let any = "127.0.0.1:0".parse().unwrap();
    let nameservers = vec![Nameserver { name: "ns.cdn.test".into(), addresses: vec!["127.0.0.1".parse().unwrap()] }];
    let dns = Dns {
        zone: "cdn.test".into(),
        nameservers,
        ttl: Period::from_secs(5),
        h3: false,
        region_order: Vec::new(),
        coverage: Vec::new(),
        records: Vec::new(),
        // Tests ask again and again until an answer changes.
        limits: DnsLimits { same_per_second: 0, errors_per_second: 0, ..DnsLimits::default() },
        geo: DnsGeo::default(),
        explore_percent: 2,
    };
    let rollout = Rollout { hold: Period::default(), ..Rollout::default() };
    Control {
        data: data.to_owned(),
        listen: ControlListen { api: any, nodes: any, dns: any, route: None },
        names: Vec::new(),
        dns,
        api: ControlApi::default(),
        webhooks: Webhooks { allow: vec!["127.0.0.0/8".parse().unwrap()] },
        certificates: Certificates::default(),
        alarm: Alarm::default(),
        rollout,
        purges: Purges::default(),
    }
}

/// A control plane.
pub(super) struct House {
    pub(super) settings: Control,
    pub(super) addresses: Value,
    pub(super) token: String,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), String>>,
    directory: TempDir,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl House {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one whose settings differ.
    pub(super) async fn start_with(change: impl FnOnce(&mut Control)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings(&directory.path().join("control"));
        change(&mut settings);
        Self::with(directory, settings).await
    }

    async fn with(directory: TempDir, settings: Control) -> Self {
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(crate::run(settings.clone(), stopped));
        let ready = settings.data.join("ready.json");
        let addresses: Value = eventually("ready.json", async || {
            assert!(!running.is_finished(), "the control plane ended");
            serde_json::from_slice(&std::fs::read(&ready).ok()?).ok()
        })
        .await;
        let token = std::fs::read_to_string(settings.data.join("admin.token")).unwrap().trim().to_owned();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { settings, addresses, token, client, stop, running, directory }
    }

    /// Stops, and starts again on the same addresses.
    pub(super) async fn restart(self, between: impl FnOnce(&Path)) -> Self {
        let mut settings = self.settings.clone();
        settings.listen = ControlListen { api: self.address("api"), nodes: self.address("nodes"), dns: self.address("dns"), route: None };
        let directory = self.stop().await;
        between(&settings.data);
        Self::with(directory, settings).await
    }

    pub(super) async fn stop(self) -> TempDir {
        self.stop.send_replace(true);
        self.running.await.unwrap().unwrap();
        assert!(!self.settings.data.join("ready.json").exists());
        self.directory
    }

    pub(super) fn address(&self, name: &str) -> std::net::SocketAddr {
        self.addresses[name].as_str().unwrap().parse().unwrap()
    }

    /// A path for a node's data.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) async fn send(&self, request: http::request::Builder, body: impl Into<bytes::Bytes>) -> Answer {
        let response = self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let uri = format!("http://{}{path}", self.address("api"));
        Request::builder().method(method).uri(uri).header("authorization", format!("Bearer {}", self.token))
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path), "").await
    }

    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(self.request(method, path).header("content-type", "application/json"), body.to_string()).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, &body).await
    }

    pub(super) async fn put_site(&self, name: &str, host: &str) -> Answer {
        self.call(Method::PUT, &format!("/v1/sites/{name}"), &site(name, host)).await
    }

    pub(super) async fn join_token(&self, role: Role) -> String {
        self.join_token_in(role, "north").await
    }

    async fn join_token_in(&self, role: Role, region: &str) -> String {
        let answer = self.post("/v1/tokens", json!({"kind": "join", "role": role.word(), "region": region})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub(super) fn node_settings(&self, role: Role, name: &str, token: Option<String>) -> Settings {
        Settings {
            role,
            name: name.to_owned(),
            data: self.data(name),
            control: ControlLink { address: self.addresses["nodes"].as_str().unwrap().to_owned(), join_token: token },
            public_addresses: if role == Role::Edge { vec!["127.0.0.9".parse().unwrap()] } else { Vec::new() },
            tier_address: (role == Role::Shield).then(|| "127.0.0.8:8443".parse().unwrap()),
            location: None,
        }
    }

    /// Joins and follows.
    pub(super) async fn node(&self, role: Role, name: &str) -> TestNode {
        self.node_in(role, name, "north").await
    }

    /// The same in another region.
    pub(super) async fn node_in(&self, role: Role, name: &str, region: &str) -> TestNode {
        let token = self.join_token_in(role, region).await;
        let node = TestNode::start(self.node_settings(role, name, Some(token))).await;
        self.connected(name).await;
        node
    }

    /// Waits until no rollout is under way and no change waits for one.
    pub(super) async fn settled(&self) {
        eventually("everything is settled", async || {
            let list = self.get("/v1/rollouts").await.json();
            (list["settled"] == list["snapshot"] && list["waiting"] == json!([])).then_some(())
        })
        .await;
    }

    /// Waits until a node is connected and runs the configuration in force.
    pub(super) async fn connected(&self, name: &str) -> Value {
        eventually("a node connects", async || {
            let list = self.get("/v1/nodes").await.json();
            let node = list["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name)?.clone();
            (node["connected"] == true && node["snapshot"] == list["snapshot"]).then_some(node)
        })
        .await
    }
}

pub(super) fn site(name: &str, host: &str) -> Value {
    json!({"name": name, "hosts": [host], "origin": {"urls": ["http://127.0.0.1:9"]}})
}

/// What a node was told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) snapshots: Mutex<Vec<u64>>,
    pub(super) purges: Mutex<Vec<u64>>,
    pub(super) dropped_through: Mutex<Vec<u64>>,
    /// While true, snapshots are refused.
    pub(super) refuses: Mutex<bool>,
    /// Snapshots are put in force only once its other end is dropped.
    pub(super) gate: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    /// While true, purges cannot be brought to disk.
    pub(super) cannot_settle: Mutex<bool>,
    /// What it says it did, by site.
    pub(super) sites: Mutex<BTreeMap<String, SiteFigures>>,
    /// What it says of its clients when it is asked next.
    pub(super) latency: Mutex<Latency>,
}

impl Duties for Told {
    fn adopt(&self, snapshot: Arc<Snapshot>) -> Result<(), String> {
        if let Some(gate) = &*self.gate.lock() {
            let _ = gate.recv();
        }
        if *self.refuses.lock() {
            return Err("this node is contrary".to_owned());
        }
        self.snapshots.lock().push(snapshot.version());
        Ok(())
    }

    fn purge(&self, purges: &[Purge]) {
        self.purges.lock().extend(purges.iter().map(|purge| purge.seq));
    }

    fn purge_all_through(&self, seq: u64) {
        self.dropped_through.lock().push(seq);
    }

    fn settle(&self) -> Result<(), String> {
        if *self.cannot_settle.lock() { Err("the disk of this node is full".to_owned()) } else { Ok(()) }
    }

    fn load(&self) -> Load {
        Load { requests: 3, hits: 2, bytes: 1, errors: 1, memory: 1 << 20, connections: 7, utilization: Some(250) }
    }

    fn latency(&self, most: usize) -> Latency {
        let Latency { prefixes, dropped } = &mut *self.latency.lock();
        let taken = prefixes.drain(..most.min(prefixes.len())).collect();
        Latency { prefixes: taken, dropped: *dropped }
    }

    fn sites(&self) -> Vec<(String, SiteFigures)> {
        self.sites.lock().iter().map(|(name, figures)| (name.clone(), figures.clone())).collect()
    }

    fn metrics(&self, names: &[String]) -> Result<Value, String> {
        Ok(json!({"text": format!("{}\n", names.join(" ")), "cut": names.is_empty()}))
    }

    fn failures(&self) -> Value {
        json!({"errors": [{"at_ms": 951_782_399_500_u64, "site": "shop", "method": "GET", "url": "shop.test/a", "status": 502, "reason": "connect"}]})
    }

    fn site_figures(&self, site: &str) -> Option<SiteFigures> {
        self.sites.lock().get(site).cloned()
    }

    fn explain(self: Arc<Self>, request: Explain) -> question::Answer {
        let contrary = request.url.contains("refuse");
        if request.url.contains("ponder") {
            return Box::pin(std::future::pending());
        }
        Box::pin(async move { if contrary { Err("this node is contrary".to_owned()) } else { Ok(json!({"asked": request})) } })
    }
}

/// A node.
pub(super) struct TestNode {
    pub(super) agent: Agent,
    pub(super) told: Arc<Told>,
    pub(super) settings: Settings,
    stop: watch::Sender<bool>,
    following: JoinHandle<()>,
}

impl TestNode {
    pub(super) async fn start(settings: Settings) -> Self {
        let agent = Agent::prepare(settings.clone()).await.unwrap();
        let told = Arc::new(Told::default());
        let (stop, stopped) = watch::channel(false);
        let following = agent.follow(Arc::clone(&told) as Arc<dyn Duties>, stopped);
        Self { agent, told, settings, stop, following }
    }

    /// Ends as a process does that is killed.
    pub(super) async fn kill(self) -> Settings {
        self.following.abort();
        assert!(self.following.await.is_err_and(|error| error.is_cancelled()));
        without_token(self.settings)
    }

    /// Stops; the settings to start it again, without a token.
    pub(super) async fn stop(self) -> Settings {
        self.stop.send_replace(true);
        self.following.await.unwrap();
        without_token(self.settings)
    }
}

fn without_token(mut settings: Settings) -> Settings {
    settings.control.join_token = None;
    settings
}
