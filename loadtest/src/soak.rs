//! What an edge takes of memory: a real one with a `memory_limit` and many small answers on disk, under load of every kind, and after restarts.
//!
//! Owns the order of events: fill, restart, load, kill, restart. Memory is what the kernel says of the process, its highest mark from start
//! to end of each of its lives.

mod cdn;
mod load;
mod page;
mod plan;
mod results;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use tokio::time::{Instant, sleep};

use self::cdn::{Cdn, Given, HOST, Ready};
use self::load::{Counts, Crowd, Shared, Way};
pub use self::page::page;
pub use self::plan::Plan;
pub use self::results::{Life, Load, Results, Start};
use crate::client::{Client, Protocol, Trust};
use crate::machine::Machine;
use crate::object::{Object, Pattern};
use crate::origin::Origin;
use crate::processor::{Memory, memory};
use crate::target::Target;

/// The most small objects.
pub const OBJECTS_MAX: u64 = 4_000_000;
/// The longest load, in seconds.
pub const SECONDS_MAX: u64 = 3_600;
/// How long the fill may take, and a disk tier may take to open or to write what waits.
const FILL_MAX: Duration = Duration::from_secs(1_800);
const DISK_MAX: Duration = Duration::from_secs(120);
/// The requests at once of the fill.
const FILL_CONNECTIONS: u64 = 24;
/// How long a process that has nothing to do is let alone before its memory is looked at.
const REST: Duration = Duration::from_secs(5);
/// The pause between two looks at whether something has come about.
const LOOK: Duration = Duration::from_millis(5);
/// The pause between two purges.
const PURGE_EVERY: Duration = Duration::from_millis(500);
/// What the disk has room for beside the small objects, in bytes, and what each of those takes.
const DISK_BESIDE: u64 = 3 << 30;
const DISK_EACH: u64 = 5 << 10;

/// How a soak is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `skerry` binary.
    pub binary: PathBuf,
    /// Where everything is put; it must be empty.
    pub folder: PathBuf,
    /// How many small objects are stored first, at most [`OBJECTS_MAX`].
    pub objects: u64,
    /// How long the mixed load lasts.
    pub load: Duration,
    /// The edge's `memory_limit`, in bytes.
    pub memory_limit: u64,
    /// How many clients there are, in percent of the usual crowd.
    pub crowd_percent: usize,
    /// What version control calls what is measured.
    pub revision: Option<String>,
}

/// The usual crowd, on each way.
fn crowds(percent: usize) -> [Crowd; 4] {
    let some = |count: usize| (count * percent / 100).max(1);
    let crowd = |busy, streams, idle, slow| Crowd { busy: (some(busy), streams), idle: some(idle), slow: some(slow) };
    [crowd(16, 1, 400, 40), crowd(8, 1, 400, 30), crowd(4, 16, 200, 20), crowd(4, 8, 100, 10)]
}

/// Makes one.
///
/// # Errors
/// A sentence: something did not come about. That memory went above the limit, or that an answer was wrong, is in the results.
pub async fn run(settings: &Settings) -> Result<Results, String> {
    if settings.objects == 0 || settings.objects > OBJECTS_MAX {
        return Err(format!("{} objects are not between 1 and {OBJECTS_MAX}", settings.objects));
    }
    let pattern = Arc::new(Pattern::new());
    let origin =
        Origin::start(Arc::clone(&pattern), Duration::ZERO).await.map_err(|error| format!("the origin does not start: {error}"))?;
    let disk_size = (settings.objects * DISK_EACH + DISK_BESIDE).next_multiple_of(1 << 20);
    let given = Given { memory_limit: settings.memory_limit, disk_size };
    let mut soak = Soak {
        cdn: Cdn::start(&settings.binary, &settings.folder, &format!("http://{}", origin.address), given).await?,
        settings,
        pattern,
        origin,
        unseen: Arc::new(AtomicU64::new(settings.objects)),
    };
    soak.warm_up().await?;
    let (empty, fill) = soak.fill().await?;
    let (full, idle) = soak.rest("started again after SIGTERM, then left alone").await?;
    let load = soak.load().await?;
    let (killed, _) = soak.rest("started again after kill -9, then left alone").await?;
    let Soak { cdn, .. } = soak;
    cdn.stop().await?;
    Ok(Results {
        made: httpdate::fmt_http_date(SystemTime::now()),
        machine: Machine::this(),
        revision: settings.revision.clone(),
        objects: settings.objects,
        memory_limit: settings.memory_limit,
        bytes_each: idle.anonymous.saturating_sub(empty.anonymous) as f64 / settings.objects as f64,
        empty: empty.resident,
        idle: idle.resident,
        lives: vec![fill, full, load.0, killed],
        load: load.1,
    })
}

struct Soak<'a> {
    settings: &'a Settings,
    cdn: Cdn,
    pattern: Arc<Pattern>,
    origin: Origin,
    unseen: Arc<AtomicU64>,
}

/// An edge that runs.
struct Edge {
    ready: Ready,
    start: Start,
    admin: Client,
    clients: Arc<[Client; 4]>,
}

impl Soak<'_> {
    /// A first life, in which the edge joins and hears of its site: no later one waits for the control plane.
    async fn warm_up(&mut self) -> Result<(), String> {
        let (ready, _) = self.cdn.start_edge().await?;
        let edge = self.edge(ready)?;
        let began = Instant::now();
        loop {
            let shared = self.shared(&edge, DISK_MAX);
            shared.one(Object::small(self.unseen.fetch_add(1, Ordering::Relaxed))).await;
            match shared.counts.unanswered() {
                None => return self.cdn.end_edge(false).await,
                Some(why) if began.elapsed() > DISK_MAX => return Err(format!("the edge does not serve its site: {why}")),
                Some(_) => sleep(LOOK).await,
            }
        }
    }

    /// Starts the edge and asks it for what it has not: how long the answer takes, and how long it takes until the disk serves.
    async fn start(&mut self) -> Result<Edge, String> {
        let (ready, ready_in) = self.cdn.start_edge().await?;
        let began = Instant::now() - ready_in;
        let mut edge = self.edge(ready)?;
        edge.start.ready = ready_in;
        let shared = self.shared(&edge, DISK_MAX);
        shared.one(Object::small(self.unseen.fetch_add(1, Ordering::Relaxed))).await;
        edge.start.first_answer = began.elapsed();
        if let Some(why) = shared.counts.unanswered() {
            return Err(format!("the first request after a start was not answered: {why}"));
        }
        edge.wait_for("its disk to serve", "skerry_disk_state{state=\"serving\"}", |state| state == 1.0).await?;
        edge.start.disk = began.elapsed();
        edge.start.records = edge.figure("skerry_disk_records").await? as u64;
        Ok(edge)
    }

    /// The clients of an edge that answers there.
    fn edge(&self, ready: Ready) -> Result<Edge, String> {
        let trust = Trust::read(&self.cdn.ca())?;
        let mut clients = Vec::new();
        for way in Way::ALL {
            let (protocol, secure) = load::protocol(way);
            let addresses = match (protocol, secure) {
                (Protocol::H3, _) => &ready.h3,
                (_, true) => &ready.https,
                _ => &ready.http,
            };
            let address = addresses.first().and_then(|address| address.parse().ok()).ok_or("the edge names no address")?;
            let path = PathAndQuery::from_static("/");
            let target = Target { address, secure, name: HOST.to_owned(), host: HOST.to_owned(), path };
            clients.push(Client::new(target, protocol, secure.then_some(&trust))?);
        }
        let clients: Arc<[Client; 4]> = Arc::new(clients.try_into().map_err(|_| "not every way has a client")?);
        let address = ready.admin.parse().map_err(|error| format!("the edge's admin address {}: {error}", ready.admin))?;
        let (name, path) = (HOST.to_owned(), PathAndQuery::from_static("/metrics"));
        let admin = Client::new(Target { address, secure: false, host: name.clone(), name, path }, Protocol::H1, None)?;
        Ok(Edge { ready, start: Start::default(), admin, clients })
    }

    fn shared(&self, edge: &Edge, time: Duration) -> Shared {
        Shared {
            pattern: Arc::clone(&self.pattern),
            counts: Arc::new(Counts::default()),
            objects: self.settings.objects,
            unseen: Arc::clone(&self.unseen),
            clients: Arc::clone(&edge.clients),
            end: Instant::now() + time,
        }
    }

    fn life(name: &str, edge: &Edge, memory: &Memory) -> Life {
        Life { name: name.to_owned(), start: edge.start.clone(), peak: memory.peak }
    }

    /// What an edge with nothing stored takes, and the fill.
    async fn fill(&mut self) -> Result<(Memory, Life), String> {
        let edge = self.start().await?;
        sleep(REST).await;
        let empty = memory(edge.ready.pid)?;
        let shared = self.shared(&edge, FILL_MAX);
        let began = Instant::now();
        shared.fill(FILL_CONNECTIONS).await;
        self.checked("the fill", &shared)?;
        edge.wait_for("what waits to be on disk", "skerry_disk_queue_bytes", |bytes| bytes == 0.0).await?;
        let (seconds, records) = (began.elapsed().as_secs(), edge.figure("skerry_disk_records").await?);
        eprintln!("filled: {} objects in {seconds} s, {records} records on disk", self.settings.objects);
        if (records as u64) < self.settings.objects * 95 / 100 {
            return Err(format!("{} objects were stored and {records} records are on disk", self.settings.objects));
        }
        let life = Self::life("filled", &edge, &memory(edge.ready.pid)?);
        self.cdn.end_edge(false).await?;
        Ok((empty, life))
    }

    /// A start, and what is taken by an edge that has nothing to do.
    async fn rest(&mut self, name: &str) -> Result<(Life, Memory), String> {
        let edge = self.start().await?;
        sleep(REST).await;
        let memory = memory(edge.ready.pid)?;
        self.cdn.end_edge(false).await?;
        Ok((Self::life(name, &edge, &memory), memory))
    }

    /// The mixed load on an edge that has just been started; it is killed at the end.
    async fn load(&mut self) -> Result<(Life, Load), String> {
        let edge = self.start().await?;
        let shared = self.shared(&edge, self.settings.load);
        let asked_before = self.origin.counts.requests.load(Ordering::Relaxed);
        let crowds = crowds(self.settings.crowd_percent);
        let mut purges = 0;
        let purging = async {
            while Instant::now() < shared.end {
                let arguments = load::purge(purges, HOST);
                self.cdn.skerry(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await?;
                purges += 1;
                sleep(PURGE_EVERY).await;
            }
            Ok::<(), String>(())
        };
        let watching = async {
            let mut highest = Vec::new();
            while Instant::now() < shared.end {
                highest.push(memory(edge.ready.pid)?.resident);
                if highest.len() % 10 == 0 {
                    let memory = memory(edge.ready.pid)?;
                    let answers = shared.counts.answers.load(Ordering::Relaxed);
                    eprintln!("{} MiB resident, at most {} MiB, {answers} answers", memory.resident >> 20, memory.peak >> 20);
                }
                sleep(Duration::from_secs(1)).await;
            }
            Ok::<Vec<u64>, String>(highest)
        };
        let ((), purged, resident) = tokio::join!(shared.run(crowds), purging, watching);
        purged?;
        let memory = memory(edge.ready.pid)?;
        let counts = &shared.counts;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let load = Load {
            seconds: self.settings.load.as_secs(),
            answers: get(&counts.answers),
            bytes: get(&counts.bytes),
            ways: Way::ALL.iter().zip(&counts.ways).map(|(way, count)| (way.name().to_owned(), get(count))).collect(),
            connections: crowds.iter().map(|crowd| crowd.busy.0 + 2 + crowd.idle + crowd.slow).sum(),
            slow: crowds.iter().map(|crowd| crowd.slow).sum(),
            fetched: self.origin.counts.requests.load(Ordering::Relaxed) - asked_before,
            from_disk: edge.figure("skerry_disk_hits_total").await? as u64,
            dropped: edge.figure("skerry_disk_dropped_total").await? as u64,
            purges,
            refused: get(&counts.refused),
            failures: get(&counts.failures),
            told: counts.told.lock().clone(),
            resident: resident?,
        };
        self.cdn.end_edge(true).await?;
        Ok((Self::life("mixed load", &edge, &memory), load))
    }

    fn checked(&self, what: &str, shared: &Shared) -> Result<(), String> {
        match shared.counts.failures.load(Ordering::Relaxed) {
            0 => Ok(()),
            failures => Err(format!("{failures} requests of {what} failed: {}", shared.counts.told.lock().join("; "))),
        }
    }
}

impl Edge {
    /// A figure of the edge, by its name and labels.
    async fn figure(&self, name: &str) -> Result<f64, String> {
        let mut text = Vec::new();
        let request = self.admin.request(&self.admin.target().path)?;
        let mut connection = self.admin.connect().await?;
        connection.ask(request, |part| text.extend_from_slice(part)).await.map_err(|error| format!("no figures: {error}"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).ok_or_else(|| format!("the edge has no figure {name}"))
    }

    async fn wait_for(&self, what: &str, name: &str, is_so: impl Fn(f64) -> bool) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < DISK_MAX {
            if is_so(self.figure(name).await?) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        Err(format!("the edge was waited for {DISK_MAX:?}: {what}"))
    }
}

/// Reads what [`Results`] were written as.
///
/// # Errors
/// A sentence: it is no such file.
pub fn read(path: &Path) -> Result<Results, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no file that `soak --json` wrote: {error}", path.display()))
}
