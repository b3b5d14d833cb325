//! One run: a control plane, a shield and two edges, operators, clients, faults; then calm, and what must be true.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use skerry_agent::Role;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::chance::{Chance, rest};
use super::lossy::Lossy;
use super::node::{Node, clients};
use super::plane::{Api, Plane};

/// The one site.
pub(super) const SITE: &str = "shop";
pub(super) const HOST: &str = "shop.test";

/// What there is to be served; odd and even have a tag and a prefix each.
const OBJECTS: usize = 8;
/// By name: the role, and whether what is stored outlives a restart.
const NODES: [(&str, Role, bool); 3] = [("shield-1", Role::Shield, false), ("edge-1", Role::Edge, false), ("edge-2", Role::Edge, true)];
/// Who purges and publishes at the same time.
const OPERATORS: u64 = 2;
/// How long faults are drawn.
const ROUGH: Duration = Duration::from_millis(2_500);
/// How long all may take to converge when they have ended.
const PATIENCE: Duration = Duration::from_secs(40);
/// The rest between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What is so, what was promised, and what was served.
pub(super) struct Truth {
    pub(super) versions: Vec<AtomicU64>,
    /// From this purge on, no lower version of the object may be served.
    promised: Mutex<Vec<Promise>>,
    /// By which node, under which purge, of which object, which version.
    pub(super) served: Mutex<HashSet<(usize, u64, usize, u64)>>,
    /// How often each node's clients have asked for everything.
    pub(super) rounds: Vec<watch::Sender<u64>>,
    published: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    seq: u64,
    object: usize,
    version: u64,
}

impl Truth {
    pub(super) fn version(&self, object: usize) -> u64 {
        self.versions[object].load(Ordering::SeqCst)
    }

    /// What was served although it was purged.
    fn broken(&self) -> Option<String> {
        let promised = self.promised.lock().unwrap();
        let served = self.served.lock().unwrap();
        served.iter().find_map(|&(node, seq, object, version)| {
            let broken = |promise: &&Promise| promise.object == object && promise.seq <= seq && version < promise.version;
            let promise = promised.iter().find(broken)?;
            Some(format!("{} served version {version} of object {object} under purge {seq}, and {promise:?}", NODES[node].0))
        })
    }
}

/// Runs a seed; how much happened, or what must not have been.
pub(super) fn run(seed: u64) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let went = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(world(seed))));
    runtime.shutdown_background();
    went.unwrap_or_else(|_| Err("it panicked, as is told above".to_owned()))
}

async fn world(seed: u64) -> Result<String, String> {
    let mut chance = Chance::new(seed);
    let place = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(place.path()).await;
    let truth = Arc::new(Truth {
        versions: (0..OBJECTS).map(|_| AtomicU64::new(1)).collect(),
        promised: Mutex::default(),
        served: Mutex::default(),
        rounds: NODES.iter().map(|_| watch::Sender::new(0)).collect(),
        published: AtomicU64::new(0),
    });
    publish(&plane.api, &truth, 1).await.ok_or("the site is not taken")?;
    let (mut nodes, mut ways, mut work) = (Vec::new(), Vec::new(), JoinSet::new());
    for (number, (name, role, outlives)) in NODES.into_iter().enumerate() {
        let way = Lossy::start(plane.nodes, chance.fork()).await;
        let token = plane.api.join_token(role.word()).await;
        let node = Node::join(name, role, outlives, place.path(), way.address.to_string(), token).await;
        work.spawn(clients(number, Arc::clone(&node.cache), Arc::clone(&truth), chance.fork()));
        ways.push(way);
        nodes.push(node);
    }
    converged(&plane, &nodes, &truth).await?;

    ways.iter().for_each(|way| way.rough(true));
    let mut operators = JoinSet::new();
    let until = Instant::now() + ROUGH;
    for _ in 0..OPERATORS {
        operators.spawn(operate(plane.api.clone(), Arc::clone(&truth), chance.fork(), until));
    }
    let faults = faults(&mut plane, &mut nodes, &ways, &mut chance, until).await;
    for way in &ways {
        way.rough(false);
        way.part(false);
    }
    while operators.join_next().await.is_some() {}

    converged(&plane, &nodes, &truth).await?;
    // What is asked for now is asked for under the last number.
    for rounds in &truth.rounds {
        let mut rounds = rounds.subscribe();
        let now = *rounds.borrow();
        timeout(PATIENCE, rounds.wait_for(|rounds| *rounds > now + 1)).await.map_err(|_| "nothing is served any more")?.unwrap();
    }
    let promised = truth.promised.lock().unwrap().clone();
    for Promise { seq, .. } in &promised {
        match plane.api.ask("GET", &format!("/v1/purges/{seq}"), &Value::Null).await {
            Some((200, _)) => {}
            other => return Err(format!("purge {seq} was accepted and is not in the log: {other:?}")),
        }
    }
    work.shutdown().await;
    for node in &mut nodes {
        node.end(false).await;
    }
    plane.end(false).await;
    if let Some(why) = nodes.iter().find_map(Node::fault).or_else(|| truth.broken()) {
        return Err(why);
    }
    let served = truth.served.lock().unwrap().len();
    Ok(format!("{faults}; {} promises, {served} answers that differ", promised.len()))
}

/// Purges and publishes.
async fn operate(api: Api, truth: Arc<Truth>, mut chance: Chance, until: Instant) {
    let mut ttl = 1;
    while Instant::now() < until {
        if chance.percent(15) {
            ttl += 1;
            publish(&api, &truth, ttl).await;
        } else {
            purge(&api, &truth, &mut chance).await;
        }
        rest(chance.millis(1..40)).await;
    }
}

/// Publishes a version of the site; its configuration's number.
async fn publish(api: &Api, truth: &Truth, ttl: u64) -> Option<u64> {
    let site = json!({
        "name": SITE, "hosts": [HOST], "origin": {"urls": ["http://127.0.0.1:9"]}, "cache": {"default_ttl": format!("{ttl}s")},
    });
    let (status, answer) = api.ask("PUT", &format!("/v1/sites/{SITE}"), &site).await?;
    let snapshot = answer["snapshot"].as_u64().filter(|_| status < 300)?;
    truth.published.fetch_max(snapshot, Ordering::SeqCst);
    Some(snapshot)
}

/// Changes objects at the origin and purges them. What was not answered promises nothing.
async fn purge(api: &Api, truth: &Truth, chance: &mut Chance) {
    let object = usize::try_from(chance.of(0..OBJECTS as u64)).unwrap();
    let half = object % 2;
    let halves = |object: &usize| *object % 2 == half;
    let (targets, changed): (Value, Vec<usize>) = match chance.of(0..8) {
        0 => (json!({"all": true}), (0..OBJECTS).collect()),
        1 => (json!({"hosts": [HOST]}), (0..OBJECTS).collect()),
        2 => (json!({"prefixes": [format!("https://{HOST}/{half}/")]}), (0..OBJECTS).filter(halves).collect()),
        3 => (json!({"tags": [format!("t{half}")]}), (0..OBJECTS).filter(halves).collect()),
        _ => (json!({"urls": [format!("https://{HOST}/{half}/{object}")]}), vec![object]),
    };
    let change = |object: usize| (object, truth.versions[object].fetch_add(1, Ordering::SeqCst) + 1);
    let changed: Vec<_> = changed.into_iter().map(change).collect();
    if let Some((202, answer)) = api.ask("POST", "/v1/purges", &targets).await {
        let seq = answer["seq"].as_u64().unwrap();
        let promises = changed.into_iter().map(|(object, version)| Promise { seq, object, version });
        truth.promised.lock().unwrap().extend(promises);
    }
}

/// Draws faults for a time; how many.
async fn faults(plane: &mut Plane, nodes: &mut [Node], ways: &[Lossy], chance: &mut Chance, until: Instant) -> String {
    let (mut partitions, mut nodes_ended, mut planes_ended) = (0, 0, 0);
    while Instant::now() < until {
        rest(chance.millis(30..200)).await;
        let number = usize::try_from(chance.of(0..NODES.len() as u64)).unwrap();
        let kill = chance.percent(60);
        match chance.of(0..10) {
            0..4 => {
                partitions += 1;
                ways[number].part(true);
                rest(chance.millis(50..400)).await;
                ways[number].part(false);
            }
            4..7 => {
                nodes_ended += 1;
                nodes[number].end(kill).await;
                rest(chance.millis(0..150)).await;
                nodes[number].start().await;
            }
            _ => {
                planes_ended += 1;
                plane.end(kill).await;
                rest(chance.millis(0..150)).await;
                plane.again().await;
            }
        }
    }
    format!("{partitions} partitions, {nodes_ended} restarts of nodes, {planes_ended} of the control plane")
}

/// Waits until every node has the newest purge and the newest configuration.
async fn converged(plane: &Plane, nodes: &[Node], truth: &Truth) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let log = plane.api.ask("GET", "/v1/purges", &Value::Null).await;
        let list = plane.api.ask("GET", "/v1/nodes", &Value::Null).await;
        let newest = log.and_then(|(_, log)| log["newest"].as_u64()).zip(list.and_then(|(_, list)| list["snapshot"].as_u64()));
        let stands: Vec<_> = nodes.iter().map(Node::stands).collect();
        if let Some((seq, snapshot)) = newest
            && stands.iter().all(|stands| *stands == (seq, snapshot))
        {
            let accepted = truth.promised.lock().unwrap().iter().map(|promise| promise.seq).max().unwrap_or(0);
            let published = truth.published.load(Ordering::SeqCst);
            if seq < accepted || snapshot < published {
                return Err(format!("purge {accepted} and configuration {published} were taken, and {newest:?} are the newest"));
            }
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("the newest are {newest:?}, and nodes stand at {stands:?}"));
        }
        rest(LOOK).await;
    }
}
