//! Which node clients are sent to, simulated: how near a choice comes to the best that there is, through detours, changes and a flash crowd.
//!
//! Time is simulated and chance comes from a seed, so that the same settings give the same figures on every machine. What chooses is behind
//! [`Chooser`]: told what nodes measured, asked for a node; the product's own code is one of them.

mod choosers;
mod figures;
mod product;
mod random;
mod world;

use std::sync::Arc;

use serde::Deserialize;

pub use self::choosers::{Chooser, Geography, Measurement, Oracle};
pub use self::figures::{Choices, Figures};
pub use self::product::Skerry;
pub use self::world::World;
use crate::plan::faults::Faults;

/// The most nodes.
pub const NODES_MAX: usize = 500;
/// The most client prefixes.
pub const PREFIXES_MAX: usize = 100_000;

/// How long is simulated, how much of it is for learning, and how often nodes report, in seconds. Prefixes ask when their answer holds no more.
const SECONDS: f64 = 7_200.0;
const LEARNING_S: f64 = 3_600.0;
const STEP_S: f64 = 10.0;
/// The lifetime of an answer where nobody says less, in seconds.
const TTL_S: f64 = 20.0;
/// What is as good as the best: so many ms above it, or this share.
const NEAR_MS: f64 = 5.0;
const NEAR: f64 = 0.1;
/// The utilization below which a node has room.
const ROOM: f64 = 0.95;

/// What is simulated. Shares are in percent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where chance begins.
    pub seed: u64,
    /// How many nodes, at most [`NODES_MAX`].
    pub nodes: usize,
    /// How many client prefixes, at most [`PREFIXES_MAX`].
    pub prefixes: usize,
    /// The exponent of the traffic of prefixes by rank, 0 to 2.
    pub zipf: f64,
    /// What each node can do in terms of the busiest hour of the clients nearest to it, 1 to 100.
    pub headroom: f64,
    /// What paths are longer by at most, beyond what all are, 0 to 100.
    pub stretch_percent: f64,
    /// What measurements are longer by on average, 0 to 100.
    pub noise_percent: f64,
    /// The pairs of network and node with a detour that contradicts geography.
    pub detour_percent: f64,
    /// The pairs whose path is worse for a time.
    pub changing_percent: f64,
    /// What the flash crowd of one region asks for in terms of the usual, 1 to 100.
    pub flash_factor: f64,
    /// How long it lasts, in minutes, 0 to 40.
    pub flash_minutes: f64,
}

impl Settings {
    /// Whether they are within their bounds.
    ///
    /// # Errors
    /// A sentence for each that is not, one a line, which names the bound.
    pub fn check(&self) -> Result<(), String> {
        let mut faults = Faults::default();
        faults.within("nodes", self.nodes, 2, NODES_MAX);
        faults.within("prefixes", self.prefixes, 1, PREFIXES_MAX);
        faults.within("zipf", self.zipf, 0.0, 2.0);
        faults.within("headroom", self.headroom, 1.0, 100.0);
        faults.within("stretch_percent", self.stretch_percent, 0.0, 100.0);
        faults.within("noise_percent", self.noise_percent, 0.0, 100.0);
        faults.within("detour_percent", self.detour_percent, 0.0, 100.0);
        faults.within("changing_percent", self.changing_percent, 0.0, 100.0);
        faults.within("flash_factor", self.flash_factor, 1.0, 100.0);
        faults.within("flash_minutes", self.flash_minutes, 0.0, 40.0);
        faults.into_result()
    }
}

/// Simulates the oracle, geography and the product's code, one after another in the same world.
///
/// # Errors
/// A sentence: the settings are not within their bounds.
pub async fn run(settings: &Settings) -> Result<Figures, String> {
    settings.check()?;
    let settings = settings.clone();
    let simulated = tokio::task::spawn_blocking(move || {
        let world = Arc::new(World::new(&settings));
        let skerry = Skerry::new(Arc::clone(&world), settings.seed);
        let choosers: [Box<dyn Chooser>; 3] =
            [Box::new(Oracle::new(Arc::clone(&world))), Box::new(Geography::new(Arc::clone(&world))), Box::new(skerry)];
        let choices = choosers.into_iter().map(|mut chooser| simulate(&world, &mut *chooser)).collect();
        Figures { seed: settings.seed, nodes: settings.nodes, prefixes: settings.prefixes, choices }
    });
    simulated.await.map_err(|error| format!("the simulation ended: {error}"))
}

/// What one chooser did in the hour that counts.
#[derive(Debug, Default)]
struct Sums {
    traffic: f64,
    near: f64,
    ms: f64,
    used: f64,
}

/// The two hours of one chooser.
#[must_use]
pub fn simulate(world: &World, chooser: &mut dyn Chooser) -> Choices {
    let count = world.prefixes();
    // An answer, and until when it holds; at first prefixes ask one after another.
    let mut chosen = vec![0; count];
    let mut holds_s: Vec<f64> = (0..count).map(|prefix| (prefix % 2) as f64 * -STEP_S).collect();
    let mut changes = vec![0_u64; count];
    let mut sums = Sums::default();
    let mut at_s = 0.0;
    while at_s < SECONDS {
        let counts = at_s >= LEARNING_S;
        chooser.begin(at_s);
        for prefix in 0..count {
            if at_s < holds_s[prefix] {
                continue;
            }
            let (node, ttl_s) = chooser.choose(at_s, prefix);
            changes[prefix] += u64::from(counts && chosen[prefix] != node);
            chosen[prefix] = node;
            holds_s[prefix] = holds_s[prefix].max(at_s - STEP_S) + ttl_s;
        }
        let used = used(world, at_s, &chosen);
        if counts {
            sums.add(world, at_s, &chosen, &used);
        }
        let measured: Vec<Measurement> = chosen
            .iter()
            .enumerate()
            .map(|(prefix, &node)| {
                let rtt_ms = world.measured_ms(at_s, prefix, node);
                Measurement { prefix, node, rtt_ms, weight: world.demand(at_s, prefix) }
            })
            .collect();
        at_s += STEP_S;
        chooser.told(at_s, &measured, &used);
    }
    Choices {
        name: chooser.name().to_owned(),
        near_percent: sums.near / sums.traffic * 100.0,
        mean_ms: sums.ms / sums.traffic,
        used_percent: sums.used * 100.0,
        changes: changes.into_iter().max().unwrap_or(0),
    }
}

/// How much of each node's capacity is used.
fn used(world: &World, at_s: f64, chosen: &[usize]) -> Vec<f64> {
    let mut used = vec![0.0; world.nodes()];
    for (prefix, &node) in chosen.iter().enumerate() {
        used[node] += world.demand(at_s, prefix) / world.capacity(node);
    }
    used
}

impl Sums {
    fn add(&mut self, world: &World, at_s: f64, chosen: &[usize], used: &[f64]) {
        for (prefix, &node) in chosen.iter().enumerate() {
            let demand = world.demand(at_s, prefix);
            let best = (0..world.nodes()).map(|other| world.path_ms(at_s, prefix, other)).fold(f64::INFINITY, f64::min);
            let ms = world.path_ms(at_s, prefix, node) + World::wait_ms(used[node]);
            self.traffic += demand;
            self.ms += demand * ms;
            if ms <= (best + NEAR_MS).max(best * (1.0 + NEAR)) {
                self.near += demand;
            }
        }
        if used.iter().any(|used| *used < ROOM) {
            self.used = used.iter().copied().fold(self.used, f64::max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Settings {
        crate::settings::parse(include_str!("../plans/steering.toml"), "steering").unwrap()
    }

    /// Small enough for a build that is not optimised. So few nodes lie far apart, and detours have to be more to weigh as much.
    fn small() -> Settings {
        Settings { nodes: 10, prefixes: 300, detour_percent: 30.0, ..plan() }
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_figures_and_the_oracle_keeps_every_bound() {
        let figures = run(&small()).await.unwrap();
        assert_eq!(run(&small()).await.unwrap(), figures);
        assert!(run(&Settings { seed: 2, ..small() }).await.unwrap() != figures);
        let broken: Vec<_> = figures.bounds("oracle").into_iter().filter(|verdict| !verdict.kept).collect();
        assert!(broken.is_empty(), "{broken:?}\n{figures}");
    }

    #[tokio::test]
    async fn geography_does_worse_where_there_are_detours_and_the_product_comes_near_the_oracle() {
        let figures = run(&small()).await.unwrap();
        let [oracle, geography, skerry] = ["oracle", "geography", "skerry"].map(|name| figures.of(name).unwrap());
        assert!(geography.mean_ms > oracle.mean_ms * 1.1 && geography.near_percent < 90.0, "{figures}");
        assert!(skerry.above_percent(oracle) < 5.0 && skerry.above_percent(geography) < -10.0, "{figures}");
        assert!(skerry.used_percent < 95.0 && skerry.changes <= 4, "{figures}");
        assert!(figures.bounds("geography").iter().any(|verdict| !verdict.kept), "{figures}");
    }

    #[tokio::test]
    async fn without_detours_changes_and_load_geography_is_the_oracle() {
        let plain = Settings {
            headroom: 100.0,
            stretch_percent: 0.0,
            noise_percent: 0.0,
            detour_percent: 0.0,
            changing_percent: 0.0,
            flash_factor: 1.0,
            ..small()
        };
        let figures = run(&plain).await.unwrap();
        let [oracle, geography, skerry] = ["oracle", "geography", "skerry"].map(|name| figures.of(name).unwrap());
        assert!(geography.above_percent(oracle).abs() < 1e-6, "{figures}");
        assert!((geography.near_percent - 100.0).abs() < 1e-6 && geography.changes == 0, "{figures}");
        // What it does not know it has to try.
        assert!(skerry.above_percent(oracle) < 2.0 && skerry.changes <= 4, "{figures}");
    }

    #[test]
    fn settings_beyond_a_bound_are_refused_by_name() {
        assert_eq!(plan().check(), Ok(()));
        assert_eq!((plan().nodes, plan().prefixes), (50, 20_000));
        for (wrong, says) in [
            (Settings { nodes: 1, ..plan() }, "nodes = 1 is not between 2 and 500"),
            (Settings { prefixes: 0, ..plan() }, "prefixes = 0"),
            (Settings { zipf: f64::NAN, ..plan() }, "zipf = NaN"),
            (Settings { headroom: 0.9, ..plan() }, "headroom = 0.9"),
            (Settings { detour_percent: 101.0, ..plan() }, "detour_percent = 101 is not between 0 and 100"),
            (Settings { flash_minutes: 41.0, ..plan() }, "flash_minutes = 41"),
        ] {
            let why = wrong.check().unwrap_err();
            assert!(why.starts_with(says), "{why}");
        }
        let both = Settings { nodes: 1, zipf: 3.0, ..plan() }.check().unwrap_err();
        assert_eq!(both, "nodes = 1 is not between 2 and 500\nzipf = 3 is not between 0 and 2");
    }
}
