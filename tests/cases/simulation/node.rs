//! A node: the real agent and the real cache, and clients that write down what it serves.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use skerry_agent::question::{Answer, Explain};
use skerry_agent::{Agent, Duties, Load, Role, Settings};
use skerry_cache::exchange::{Bounds, Exchange};
use skerry_cache::fetch::{Body, Fetch, FetchError, Fetched, Forward};
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::process::ControlLink;
use skerry_config::purge::Purge;
use skerry_config::snapshot::{Policy, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::chance::{Chance, rest};
use super::world::{HOST, SITE, Truth};

/// The time an agent may take to end, and to let go of its directory.
const PATIENCE: Duration = Duration::from_secs(20);
/// The rest between two tries.
const LOOK: Duration = Duration::from_millis(5);
/// The time of every request: nothing grows old.
const NOW: Time = Time(1_767_225_600_000);

/// See the module.
pub(super) struct Node {
    settings: Settings,
    /// Whether what is stored, and the purges it is compared with, are there again after a restart, as with a disk tier.
    outlives: bool,
    up: Option<Up>,
    /// What clients ask, while it is there.
    pub(super) cache: Arc<Mutex<Option<Arc<Exchange>>>>,
    told: Arc<Told>,
}

struct Up {
    agent: Agent,
    stop: watch::Sender<bool>,
    following: JoinHandle<()>,
}

/// What it was told over all its runs.
#[derive(Default)]
struct Told {
    version: Mutex<u64>,
    fault: Mutex<Option<String>>,
}

/// What the agent hands its orders to.
struct Hands {
    exchange: Arc<Exchange>,
    snapshot: Mutex<Arc<Snapshot>>,
    told: Arc<Told>,
}

impl Duties for Hands {
    fn adopt(&self, snapshot: Arc<Snapshot>) -> Result<(), String> {
        self.told.has(snapshot.version());
        *self.snapshot.lock().unwrap() = snapshot;
        Ok(())
    }

    fn purge(&self, purges: &[Purge]) {
        let before = self.exchange.purge_seq();
        let snapshot = Arc::clone(&self.snapshot.lock().unwrap());
        self.exchange.purge(purges, &snapshot);
        if self.exchange.purge_seq() < before {
            self.told.fail(format!("purge {} came after {before}", self.exchange.purge_seq()));
        }
    }

    fn purge_all_through(&self, seq: u64) {
        self.exchange.purge_all_through(seq);
    }

    fn settle(&self) -> Result<(), String> {
        self.exchange.sync_purges()
    }

    fn caught_up(&self) {
        self.exchange.caught_up();
    }

    fn load(&self) -> Load {
        Load::default()
    }

    fn explain(self: Arc<Self>, _: Explain) -> Answer {
        Box::pin(std::future::ready(Err("nobody asks".to_owned())))
    }
}

impl Told {
    /// A configuration is in force, or was so before a restart.
    fn has(&self, version: u64) {
        let before = std::mem::replace(&mut *self.version.lock().unwrap(), version);
        if version < before {
            self.fail(format!("configuration {version} came after {before}"));
        }
    }

    fn fail(&self, why: String) {
        self.fault.lock().unwrap().get_or_insert(why);
    }
}

impl Node {
    /// Joins and follows.
    pub(super) async fn join(name: &str, role: Role, outlives: bool, place: &Path, control: String, token: String) -> Self {
        let settings = Settings {
            role,
            name: name.to_owned(),
            data: place.join(name),
            control: ControlLink { address: control, join_token: Some(token) },
            public_addresses: if role == Role::Edge { vec!["127.0.0.9".parse().unwrap()] } else { Vec::new() },
            tier_address: (role == Role::Shield).then(|| "127.0.0.8:8443".parse().unwrap()),
            location: None,
        };
        let mut node = Self { settings, outlives, up: None, cache: Arc::default(), told: Arc::default() };
        node.start().await;
        node
    }

    /// Starts it with what its directory holds.
    pub(super) async fn start(&mut self) {
        let agent = patiently(async || Agent::prepare(self.settings.clone()).await).await;
        let snapshot = agent.snapshot();
        if let Some(snapshot) = &snapshot {
            self.told.has(snapshot.version());
        }
        let bounds = Bounds { memory: 8 << 20, object_max: 1 << 20, filling_max: 4 << 20 };
        let mut cache = self.cache.lock().unwrap();
        let exchange = cache.get_or_insert_with(|| {
            let exchange = Exchange::new(bounds);
            exchange.resume_at(agent.purge_seq());
            exchange
        });
        let exchange = Arc::clone(exchange);
        drop(cache);
        let (stop, stopped) = watch::channel(false);
        let hands =
            Hands { exchange: Arc::clone(&exchange), snapshot: Mutex::new(snapshot.unwrap_or_default()), told: Arc::clone(&self.told) };
        let following = agent.follow(Arc::new(hands), stopped);
        self.up = Some(Up { agent, stop, following });
    }

    /// Ends it: in order, or in the middle of what it does. What it had stored is gone, unless that outlives its process.
    pub(super) async fn end(&mut self, kill: bool) {
        let up = self.up.take().unwrap();
        if kill {
            up.following.abort();
        } else {
            up.stop.send_replace(true);
        }
        // An abort is what a killed one ends with.
        let _ = tokio::time::timeout(PATIENCE, up.following).await.expect("the agent ends");
        if !self.outlives {
            self.cache.lock().unwrap().take();
        }
    }

    /// The purge and the configuration in force.
    pub(super) fn stands(&self) -> (u64, u64) {
        let up = self.up.as_ref().unwrap();
        let seq = self.cache.lock().unwrap().as_ref().unwrap().purge_seq();
        (seq.min(up.agent.purge_seq()), up.agent.snapshot().map_or(0, |snapshot| snapshot.version()))
    }

    /// What must not have been.
    pub(super) fn fault(&self) -> Option<String> {
        self.told.fault.lock().unwrap().as_ref().map(|why| format!("{}: {why}", self.settings.name))
    }
}

/// Tries until it succeeds.
async fn patiently<T>(mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = tokio::time::Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(why) => assert!(began.elapsed() < PATIENCE, "{why}"),
        }
        rest(LOOK).await;
    }
}

/// Asks for everything again and again and writes down which version came, and under which purge number it was asked for.
pub(super) async fn clients(number: usize, cache: Arc<Mutex<Option<Arc<Exchange>>>>, truth: Arc<Truth>, mut chance: Chance) {
    let policy = Arc::new(Policy { site: SITE.into(), ..Policy::default() });
    loop {
        for object in 0..truth.versions.len() {
            let Some(exchange) = cache.lock().unwrap().clone() else { break };
            let seq = exchange.purge_seq();
            let origin = Origin { truth: Arc::clone(&truth), object, late: chance.millis(0..12) };
            if let Ok(mut answer) = exchange.run(request(object), &policy, NOW, Arc::new(origin)).await {
                let mut body = Vec::new();
                while let Ok(Some(piece)) = answer.body.chunk().await {
                    body.extend_from_slice(&piece);
                }
                let version = std::str::from_utf8(&body).unwrap().parse().unwrap();
                truth.served.lock().unwrap().insert((number, seq, object, version));
            }
        }
        truth.rounds[number].send_modify(|rounds| *rounds += 1);
        rest(Duration::from_millis(2)).await;
    }
}

fn request(object: usize) -> Request {
    let path_and_query = format!("/{}/{object}", object % 2);
    Request { head_only: false, scheme: "https", authority: HOST.to_owned(), path_and_query, headers: HeaderMap::new() }
}

/// The origin: what it sends is the version of the moment at which it was asked.
struct Origin {
    truth: Arc<Truth>,
    object: usize,
    late: Duration,
}

struct Whole(Option<Bytes>);

#[async_trait]
impl Body for Whole {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        Ok(self.0.take())
    }
}

#[async_trait]
impl Fetch for Origin {
    async fn fetch(&self, _: Forward) -> Result<Fetched, FetchError> {
        let body = Bytes::from(self.truth.version(self.object).to_string());
        rest(self.late).await;
        let tag = format!("t{}", self.object % 2);
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static("max-age=3600"));
        headers.insert(HeaderName::from_static("cache-tag"), tag.parse().unwrap());
        headers.insert("content-length", HeaderValue::from(body.len()));
        let body = Box::new(Whole(Some(body)));
        Ok(Fetched { status: StatusCode::OK, headers, interim: Vec::new(), body, age: None, requested_at: NOW, responded_at: NOW })
    }
}
