//! Keeps what is learned about how far clients are from edges: fed by their reports, planned from every few seconds, and kept on disk.
//!
//! Learns and plans off the threads that serve, one round after another. Never asks a node anything; what edges report meanwhile waits.

mod figures;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry;
use skerry_agent::{PrefixTimes, disk};
use skerry_config::process;
use skerry_dns::learn::{Learner, Measured, Settings};
use skerry_dns::plan::Plan;
use skerry_dns::state::State;
use tokio::sync::watch;

use self::figures::Figures;

use crate::clock;
use crate::health::Health;
use crate::measured::Waiting;
use crate::plane::Plane;

/// Time between two plans: as long as between two reports.
const PLAN_EVERY: Duration = Duration::from_secs(5);

/// Time between two writes of what is learned.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// The file in the data directory.
const FILE: &str = "latency";

/// The largest file that is read, in bytes: of as many prefixes and pairs as there may be.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What is full of a node's capacity.
const PERMILLE: f32 = 1_000.0;

/// See the module.
pub(crate) struct Latency {
    learner: Learner,
    file: PathBuf,
    written: Instant,
    figures: Figures,
}

impl Latency {
    /// With what was learned before, if the data directory has it. What cannot be read is set aside: it is learned again.
    ///
    /// # Errors
    /// A figure that the registry refuses.
    pub(crate) fn open(data: &Path, dns: &process::Dns, registry: &Registry) -> Result<Self, String> {
        let settings = Settings { explore: f64::from(dns.explore_percent) / 100.0 };
        let file = data.join(FILE);
        let learner = match read(&file, settings) {
            Ok(learner) => learner.unwrap_or_else(|| Learner::new(settings)),
            Err(why) => {
                disk::set_aside(&file, &why);
                Learner::new(settings)
            }
        };
        Ok(Self { learner, file, written: Instant::now(), figures: Figures::new(registry)? })
    }

    /// An edge reported this at a time.
    fn told(&mut self, node: &str, at: Instant, prefixes: &[PrefixTimes]) {
        let waited = at.elapsed();
        let measured = |times: &PrefixTimes| Measured {
            prefix: times.prefix,
            count: times.count,
            smoothed: times.smoothed,
            least: times.least,
            age: times.age + waited,
        };
        let report: Vec<Measured> = prefixes.iter().map(measured).collect();
        self.figures.told(&self.learner.told(clock::unix_time(), node, &report));
    }

    /// Takes what waits, forgets nodes that the CDN no more has, and makes the plan of a state.
    fn round(mut self, health: &Health, state: &State, has: impl Fn(&str) -> bool) -> (Self, Plan) {
        let Waiting { gone, reports } = health.measured.take();
        // Before the reports: one that was let in since under such a name is another node.
        self.learner.only(clock::unix_time(), |name| !gone.contains(name));
        for (node, reports) in reports {
            for report in reports {
                self.told(&node, report.at, &report.prefixes);
            }
        }
        // After the reports: whoever sent one was let in before.
        self.learner.only(clock::unix_time(), has);
        let plan = self.learner.plan(clock::unix_time(), &loaded(state, health));
        self.figures.planned(&plan.summary);
        if self.written.elapsed() >= WRITE_EVERY {
            self.write();
        }
        (self, plan)
    }

    fn write(&mut self) {
        self.written = Instant::now();
        if let Err(error) = disk::write(&self.file, &self.learner.to_octets(), 0o600) {
            tracing::warn!(file = %self.file.display(), %error, "what was learned about clients could not be written; it is tried again");
        }
    }

    /// Plans for the state in force until `stop` says so.
    pub(crate) async fn keep(self, plane: Arc<Plane>, mut stop: watch::Receiver<bool>) {
        let mut latency = self;
        let mut rounds = tokio::time::interval(PLAN_EVERY);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = rounds.tick() => {}
            }
            let round = {
                let plane = Arc::clone(&plane);
                move || {
                    let has = |name: &str| plane.intent.state().nodes.contains_key(name);
                    latency.round(&plane.health, &plane.feed.state().load(), has)
                }
            };
            match tokio::task::spawn_blocking(round).await {
                Ok((kept, plan)) => {
                    latency = kept;
                    plane.feed.plan(Arc::new(plan));
                }
                Err(error) => return tracing::error!(%error, "planning who serves whom ended; the last plan stays"),
            }
        }
        let written = tokio::task::spawn_blocking(move || latency.write()).await;
        if let Err(error) = written {
            tracing::warn!(%error, "what was learned about clients was not written");
        }
    }
}

fn read(file: &Path, settings: Settings) -> Result<Option<Learner>, String> {
    let length = std::fs::metadata(file).map_or(0, |meta| meta.len());
    if length > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    let content = disk::read(file).map_err(|error| error.to_string())?;
    content.map(|content| Learner::from_octets(&content, settings)).transpose()
}

/// What is planned for: the state's edges with what they have to do just now.
fn loaded(state: &State, health: &Health) -> State {
    let mut edges = state.edges.clone();
    for edge in &mut edges {
        edge.utilization = health.live(&edge.name).load.utilization.map(|permille| f32::from(permille) / PERMILLE);
    }
    State { edges, ttl: state.ttl, coverage: state.coverage.clone(), geo: state.geo.clone(), ..State::default() }
}

#[cfg(test)]
mod tests {
    use skerry_agent::wire;
    use skerry_dns::state::Edge;

    use super::*;
    use crate::measured::Told;

    fn dns() -> process::Dns {
        toml::from_str("zone = \"cdn.test\"\nnameservers = []").unwrap()
    }

    fn open(data: &Path) -> Latency {
        Latency::open(data, &dns(), &Registry::new()).unwrap()
    }

    fn state() -> State {
        let edge = |name: &str, last| Edge {
            name: name.into(),
            region: name.into(),
            addresses: vec![[192, 0, 2, last].into()],
            ..Edge::default()
        };
        State { edges: vec![edge("a", 1), edge("b", 2)], ..State::default() }
    }

    fn tell(health: &Health, node: &str, millis: u64) {
        let round_trip = Duration::from_millis(millis);
        let times =
            PrefixTimes { prefix: "10.1.2.0/24".parse().unwrap(), count: 5, smoothed: round_trip, least: round_trip, age: Duration::ZERO };
        let told = Told::read(wire::Latency { prefixes: vec![times.into()], dropped: 0 });
        health.measured.keep(node, told, Instant::now());
    }

    fn first(plan: &Plan) -> Option<(String, f32)> {
        let ranked = plan.rows().next()?.ranked().next()?;
        Some((plan.nodes[usize::from(ranked.node)].name.clone(), ranked.ms))
    }

    #[test]
    fn what_edges_report_is_planned_by_and_known_after_a_restart() {
        let place = tempfile::tempdir().unwrap();
        let health = Health::new();
        tell(&health, "b", 80);
        tell(&health, "a", 9);
        let (latency, _) = open(place.path()).round(&health, &state(), |_| true);
        let (mut latency, plan) = latency.round(&health, &state(), |_| true);
        let (name, ms) = first(&plan).unwrap();
        assert!(name == "a" && (8.0..11.0).contains(&ms), "{name} {ms}");
        latency.write();
        let (_, again) = open(place.path()).round(&health, &state(), |_| true);
        assert_eq!(first(&again).map(|(name, _)| name), Some("a".to_owned()));
    }

    #[test]
    fn an_edge_that_was_removed_is_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let health = Health::new();
        tell(&health, "b", 80);
        tell(&health, "a", 9);
        let (latency, plan) = open(place.path()).round(&health, &state(), |_| true);
        assert_eq!(first(&plan).map(|(name, _)| name), Some("a".to_owned()));
        let left = State { edges: state().edges.split_off(1), ..State::default() };
        let (_, plan) = latency.round(&health, &left, |name| name != "a");
        assert_eq!(first(&plan).map(|(name, _)| name), Some("b".to_owned()));
        assert!(plan.nodes.iter().all(|node| node.name != "a"), "{plan:?}");
    }

    #[test]
    fn what_was_learned_of_a_removed_edge_is_not_said_of_one_that_is_let_in_under_its_name_at_once() {
        let place = tempfile::tempdir().unwrap();
        let health = Health::new();
        tell(&health, "b", 80);
        tell(&health, "a", 9);
        let (latency, plan) = open(place.path()).round(&health, &state(), |_| true);
        assert_eq!(first(&plan).map(|(name, _)| name), Some("a".to_owned()));
        health.forget("a");
        tell(&health, "a", 300);
        let (_, plan) = latency.round(&health, &state(), |_| true);
        let ranked = plan.rows().next().unwrap().ranked().find(|ranked| plan.nodes[usize::from(ranked.node)].name == "a");
        assert!(ranked.is_some_and(|ranked| ranked.ms > 250.0), "{ranked:?}: the 9 ms before count");
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_learned_again() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(FILE), "not what we wrote").unwrap();
        let (_, plan) = open(place.path()).round(&Health::new(), &state(), |_| true);
        assert!(plan.is_empty() && place.path().join("latency.damaged").exists() && !place.path().join(FILE).exists());
    }
}
