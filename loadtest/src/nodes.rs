//! Many nodes on one control plane: how soon a purge and a change of a site are in force on the last of them, and what that costs.
//!
//! The control plane is a process of the `skerry` binary; the nodes are the real agent code in this process, whose duties only write down
//! what they were told and when. A node that missed a purge, or had one out of order, fails the run. With the settings file of a plan, one run is
//! join, rest, single purges, purges in batches, changes of a site.

mod board;
mod figures;
mod fleet;
mod page;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use self::board::{Board, Kind};
pub use self::figures::{Batches, Cost, Figures, Spread};
use self::fleet::{Fleet, Size};
pub use self::page::page;
use crate::api::Api;
use crate::control::Control;
use crate::machine::{Machine, allow_files};
use crate::plan::faults::Faults;
use crate::processor;

/// The most nodes.
pub const NODES_MAX: usize = 4_000;
/// The most single purges, batches, and changes of a site.
pub const ROUNDS_MAX: usize = 10_000;
/// The most URLs in one purge; the control plane takes no more.
pub const URLS_MAX: usize = 1_000;
/// The most URLs a second.
pub const RATE_MAX: usize = 100_000;
/// The longest that purges are sent in batches, in seconds.
pub const SECONDS_MAX: u64 = 600;
/// The most sites, as many as the control plane takes. Each of the nodes in this process holds all of them.
pub const SITES_MAX: usize = skerry_config::limits::SITES_MAX;
/// The longest pause between two single purges or changes, in milliseconds.
pub const PAUSE_MS_MAX: u64 = 10_000;

/// Purges on their way to their answer at once; further ones wait, and their time counts from when they were due.
const UNDER_WAY_MAX: usize = 256;
/// Open files of a node in this process, with what it opens for a moment; and what there is beside.
const FILES_EACH: u64 = 6;
const FILES_BESIDE: u64 = 512;
/// How long the nodes may take to join, and to have in force what is measured. Beyond it there is no figure but a failed run.
const JOIN_MAX: Duration = Duration::from_secs(600);
const FORCE_MAX: Duration = Duration::from_secs(120);
/// How long nothing is asked of a control plane whose nodes all follow, before and while its rest is measured.
const REST: Duration = Duration::from_secs(3);
/// The pause between two looks at whether something has come about.
const LOOK: Duration = Duration::from_millis(5);
/// How often a file is written to find out what one write to disk takes.
const WRITES: usize = 50;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many edges, at most [`NODES_MAX`] with the shields.
    pub edges: usize,
    /// How many shields; edges are sent a purge once all of these have confirmed it.
    pub shields: usize,
    /// How many sites there are, at most [`SITES_MAX`].
    pub sites: usize,
    /// How many single purges, one after another, at most [`ROUNDS_MAX`].
    pub purges: usize,
    /// The pause after a purge or a change is in force everywhere, in milliseconds, at most [`PAUSE_MS_MAX`].
    pub pause_ms: u64,
    /// How many URLs a second are purged in batches, at most [`RATE_MAX`].
    pub batch_rate: usize,
    /// How many of them in one request, at most [`URLS_MAX`].
    pub batch_urls: usize,
    /// For how many seconds, at most [`SECONDS_MAX`].
    pub batch_seconds: u64,
    /// How many changes of a site, one after another, at most [`ROUNDS_MAX`].
    pub changes: usize,
}

impl Settings {
    /// Whether they are within their bounds.
    ///
    /// # Errors
    /// A sentence for each that is not, one a line, which names the bound.
    pub fn check(&self) -> Result<(), String> {
        let mut faults = Faults::default();
        faults.within("edges", self.edges, 1, NODES_MAX);
        faults.within("edges with shields", self.edges.saturating_add(self.shields), 1, NODES_MAX);
        faults.within("sites", self.sites, 1, SITES_MAX);
        faults.within("purges", self.purges, 1, ROUNDS_MAX);
        faults.within("pause_ms", self.pause_ms, 0, PAUSE_MS_MAX);
        faults.within("batch_rate", self.batch_rate, 1, RATE_MAX);
        faults.within("batch_urls", self.batch_urls, 1, URLS_MAX);
        faults.within("batch_seconds", self.batch_seconds, 1, SECONDS_MAX);
        faults.within("batch_rate * batch_seconds / batch_urls", self.batches(), 1, ROUNDS_MAX);
        faults.within("changes", self.changes, 1, ROUNDS_MAX);
        faults.into_result()
    }

    fn nodes(&self) -> usize {
        self.edges + self.shields
    }

    /// How many requests the batches are.
    fn batches(&self) -> usize {
        self.batch_rate.saturating_mul(usize::try_from(self.batch_seconds).unwrap_or(usize::MAX)) / self.batch_urls.max(1)
    }
}

/// What is measured with, and where.
#[derive(Clone, Debug)]
pub struct Place {
    /// The `skerry` binary.
    pub binary: PathBuf,
    /// An empty directory for everything but the nodes' data.
    pub folder: PathBuf,
    /// A directory for the nodes' data, made if missing; nothing is left in it. Real nodes have a disk each: where a thousand share one, its journal is measured.
    pub nodes_folder: PathBuf,
    /// What version control calls what is measured.
    pub revision: Option<String>,
}

/// Measures.
///
/// # Errors
/// A sentence: the settings are not within their bounds, something did not come about, or a node was not told what it should have been.
pub async fn run(settings: &Settings, place: &Place) -> Result<Figures, String> {
    settings.check()?;
    let nodes = settings.nodes() as u64;
    allow_files(nodes * FILES_EACH + FILES_BESIDE, &format!("{nodes} nodes"))?;
    let folder = std::fs::canonicalize(&place.folder).map_err(|error| format!("{}: {error}", place.folder.display()))?;
    let data = Data::make(&place.nodes_folder)?;
    let write_us = disk_write_us(&folder)?;
    let control = Control::start(&place.binary, &folder).await?;
    let api = Api::connect(&control.api, &control.token).await?;
    for site in 0..settings.sites {
        api.put_site(&name(site), 1).await?;
    }
    let board = Arc::new(Board::new(settings.nodes(), settings.purges + settings.batches(), snapshots_max(settings)));
    let (pid, began) = (control.pid, Instant::now());
    let size = Size { shields: settings.shields, edges: settings.edges };
    let fleet = Fleet::join(size, &data.0, &control.nodes, &api, &board).await?;
    let run = Run { settings, pid, api, board, fleet };
    run.all_follow().await?;
    let join_s = began.elapsed().as_secs_f64();
    eprintln!("{} nodes follow after {join_s:.1} s", settings.nodes());
    let rest = run.rest().await?;
    let ((answered, applied), single) = run.costing(run.single()).await?;
    let (batches, batched) = run.costing(run.batches()).await?;
    let (changes, changed) = run.costing(run.changes()).await?;
    let last = (settings.purges as u64) + batches.accepted;
    run.board.sound()?;
    let reconnects = run.fleet.reconnects(last)?;
    let memory = processor::memory(pid)?;
    run.fleet.stop().await;
    control.stop().await?;
    Ok(Figures {
        made: httpdate::fmt_http_date(SystemTime::now()),
        machine: Machine::this(),
        revision: place.revision.clone(),
        edges: settings.edges,
        shields: settings.shields,
        sites: settings.sites,
        write_us,
        join_s,
        answered: Spread::of(&answered),
        applied: Spread::of(&applied),
        batches,
        changes: Spread::of(&changes),
        costs: vec![rest, single.named("single purges"), batched.named("purges in batches"), changed.named("changes of a site")],
        resident: memory.resident,
        resident_peak: memory.peak,
        reconnects,
    })
}

/// A run whose nodes follow.
struct Run<'a> {
    settings: &'a Settings,
    pid: u32,
    api: Api,
    board: Arc<Board>,
    fleet: Fleet,
}

impl Run<'_> {
    /// Waits until every node follows with the configuration in force.
    async fn all_follow(&self) -> Result<(), String> {
        let began = Instant::now();
        let snapshot = self.api.snapshot().await?;
        loop {
            self.board.sound()?;
            match self.fleet.following(snapshot) {
                count if count == self.settings.nodes() => return Ok(()),
                count if began.elapsed() > JOIN_MAX => {
                    return Err(format!("{count} of {} nodes follow after {JOIN_MAX:?}", self.settings.nodes()));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// Does something, and what that cost both sides.
    async fn costing<T>(&self, work: impl Future<Output = Result<T, String>>) -> Result<(T, Cost), String> {
        let own = std::process::id();
        let (began, control, nodes) = (Instant::now(), processor::used(&[self.pid])?, processor::used(&[own])?);
        let done = work.await?;
        let cost = Cost {
            what: String::new(),
            seconds: began.elapsed().as_secs_f64(),
            control_s: processor::used(&[self.pid])?.saturating_sub(control).as_secs_f64(),
            nodes_s: processor::used(&[own])?.saturating_sub(nodes).as_secs_f64(),
        };
        Ok((done, cost))
    }

    async fn rest(&self) -> Result<Cost, String> {
        sleep(REST).await;
        let ((), cost) = self
            .costing(async {
                sleep(REST).await;
                Ok(())
            })
            .await?;
        Ok(cost.named("nothing but signs of life"))
    }

    async fn pause(&self) {
        sleep(Duration::from_millis(self.settings.pause_ms)).await;
    }

    /// Purges one URL after another: the times to the answer, and until the last node has it in force.
    async fn single(&self) -> Result<(Vec<Duration>, Vec<Duration>), String> {
        let (mut answered, mut applied) = (Vec::new(), Vec::new());
        for round in 0..self.settings.purges {
            let urls = urls("single", round, 1);
            let began = Instant::now();
            let seq = self.api.purge(targets(&urls)).await?.ok_or("a single purge was refused because too many wait")?;
            answered.push(began.elapsed());
            applied.push(self.everywhere(seq, &urls).await? - began);
            self.pause().await;
        }
        Ok((answered, applied))
    }

    /// When the last node had a purge in force.
    async fn everywhere(&self, seq: u64, urls: &[String]) -> Result<Instant, String> {
        let last = self.board.everywhere(Kind::Purge, seq, FORCE_MAX).await?;
        self.board.said(seq, board::content(urls.iter().map(String::as_str)))?;
        Ok(last)
    }

    /// Purges many URLs a request at a fixed rate, whether or not the ones before are done. Times count from when a request was due.
    async fn batches(&self) -> Result<Batches, String> {
        let (count, each) = (self.settings.batches(), self.settings.batch_urls);
        let every = Duration::from_secs_f64(each as f64 / self.settings.batch_rate as f64);
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let began = Instant::now();
        let mut under_way = JoinSet::new();
        for round in 0..count {
            let due = began + every * u32::try_from(round).unwrap_or(u32::MAX);
            sleep_until(due.into()).await;
            let place = Arc::clone(&places).acquire_owned().await.map_err(|error| error.to_string())?;
            let api = self.api.clone();
            under_way.spawn(async move {
                let urls = urls("batch", round, each);
                let seq = api.purge(targets(&urls)).await?;
                drop(place);
                Ok::<_, String>((due, urls, seq, due.elapsed()))
            });
        }
        let (mut answered, mut sent) = (Vec::new(), Vec::new());
        while let Some(done) = under_way.join_next().await {
            let (due, urls, seq, took) = done.map_err(|error| format!("a purge was not sent: {error}"))??;
            answered.push(took);
            sent.extend(seq.map(|seq| (due, urls, seq)));
        }
        let mut applied = Vec::new();
        let mut newest = (began, 0);
        for (due, urls, seq) in &sent {
            let last = self.everywhere(*seq, urls).await?;
            applied.push(last - *due);
            newest = newest.max((last, *seq));
        }
        let confirmed_ms = self.confirmed(self.settings.purges as u64 + sent.len() as u64).await?;
        Ok(Batches {
            requests: count as u64,
            urls_each: each as u64,
            rate: self.settings.batch_rate as u64,
            accepted: sent.len() as u64,
            seconds: (newest.0 - began).as_secs_f64(),
            answered: Spread::of(&answered),
            applied: Spread::of(&applied),
            last_lag_ms: sent.iter().max_by_key(|(due, ..)| *due).map_or(0.0, |(due, ..)| (newest.0 - *due).as_secs_f64() * 1000.0),
            confirmed_ms,
        })
    }

    /// How long it takes until the control plane has every node's word that a purge is on its disk, in milliseconds.
    async fn confirmed(&self, seq: u64) -> Result<f64, String> {
        let began = Instant::now();
        while began.elapsed() < FORCE_MAX {
            if self.api.unconfirmed(seq).await? == 0 {
                return Ok(began.elapsed().as_secs_f64() * 1000.0);
            }
            sleep(LOOK).await;
        }
        Err(format!("not every node has confirmed purge {seq} after {FORCE_MAX:?}"))
    }

    /// Changes a site again and again: the times until the last node has adopted it.
    async fn changes(&self) -> Result<Vec<Duration>, String> {
        let mut adopted = Vec::new();
        for round in 0..self.settings.changes {
            let began = Instant::now();
            let snapshot = self.api.put_site(&name(0), 2 + round as u64).await?;
            adopted.push(self.board.everywhere(Kind::Snapshot, snapshot, FORCE_MAX).await? - began);
            self.pause().await;
        }
        Ok(adopted)
    }
}

fn name(site: usize) -> String {
    format!("site-{site}")
}

fn urls(kind: &str, round: usize, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("https://site-0.example.com/{kind}/{round}/{index}")).collect()
}

fn targets(urls: &[String]) -> Vec<u8> {
    json!({ "urls": urls }).to_string().into()
}

/// The highest number that a configuration can come to have: the first, one a site, a few a shield that joins and says where it is, one a change.
fn snapshots_max(settings: &Settings) -> usize {
    1 + settings.sites + 4 * settings.shields + settings.changes
}

/// The nodes' data, as long as they run.
struct Data(PathBuf);

impl Data {
    fn make(folder: &Path) -> Result<Self, String> {
        let path = folder.join(format!("nodes-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // What is left says so itself to who looks there.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What it takes to bring a small file to the control plane's disk whole, which is the least that accepting a purge takes: the median, in microseconds.
fn disk_write_us(folder: &Path) -> Result<u64, String> {
    let path = folder.join("probe");
    let mut took = Vec::new();
    for round in 0..WRITES {
        let began = Instant::now();
        skerry_agent::disk::write(&path, format!("{{\"seq\":{round}}}").as_bytes(), 0o600)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        took.push(began.elapsed());
    }
    Ok(Spread::of(&took).p50_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { edges: 10, shields: 2, sites: 1, purges: 5, pause_ms: 0, batch_rate: 100, batch_urls: 10, batch_seconds: 1, changes: 2 }
    }

    #[test]
    fn settings_beyond_a_bound_are_refused_by_name() {
        assert_eq!(settings().check(), Ok(()));
        for (wrong, says) in [
            (Settings { edges: 0, ..settings() }, "edges = 0 is not between 1 and 4000"),
            (Settings { shields: NODES_MAX, ..settings() }, "edges with shields = 4010"),
            (Settings { sites: 0, ..settings() }, "sites = 0"),
            (Settings { purges: ROUNDS_MAX + 1, ..settings() }, "purges = 10001 is not between 1 and 10000"),
            (Settings { pause_ms: PAUSE_MS_MAX + 1, ..settings() }, "pause_ms = 10001"),
            (Settings { batch_rate: 0, ..settings() }, "batch_rate = 0"),
            (Settings { batch_urls: URLS_MAX + 1, ..settings() }, "batch_urls = 1001 is not between 1 and 1000"),
            (Settings { batch_seconds: 0, ..settings() }, "batch_seconds = 0"),
            (Settings { batch_rate: 1, ..settings() }, "batch_rate * batch_seconds / batch_urls = 0"),
            (Settings { changes: 0, ..settings() }, "changes = 0"),
        ] {
            let why = wrong.check().unwrap_err();
            assert!(why.starts_with(says), "{why}");
        }
        let both = Settings { edges: 0, shields: 0, changes: 0, ..settings() }.check().unwrap_err();
        assert_eq!(both.lines().count(), 3, "{both}");
    }

    #[test]
    fn the_plans_that_are_kept_are_of_a_thousand_nodes() {
        for (text, sites) in [(include_str!("../plans/nodes.toml"), 10), (include_str!("../plans/nodes-sites.toml"), 10_000)] {
            let plan: Settings = crate::settings::parse(text, "nodes").unwrap();
            assert_eq!((plan.check(), plan.nodes(), plan.sites), (Ok(()), 1_000, sites));
            assert!(plan.batch_rate >= 5_000);
        }
    }
}
