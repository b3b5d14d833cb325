//! Which node clients are sent to, simulated: how near a choice comes to the best that there is, through detours, changes and a flash crowd.
//!
//! Time is simulated and chance comes from a seed, so that the same settings give the same figures on every machine. What chooses is behind
//! [`Chooser`]: told what nodes measured, asked for a node; the product's own code is one of them.

mod choosers;
mod figures;
mod page;
mod plots;
mod product;
mod random;
mod results;
mod simulate;
mod world;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::choosers::{Chooser, Geography, Measurement, Oracle};
pub use self::figures::{ByMinute, Choices, Figures};
pub use self::page::{page, plot_file};
pub use self::plots::{Plot, plots};
pub use self::product::Skerry;
pub use self::results::{Results, SEEDS_MAX};
pub use self::simulate::simulate;
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
/// What is simulated. Shares are in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
        assert!(skerry.used_percent < 95.0 && skerry.changes() <= 4, "{figures}");
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
        assert!((geography.near_percent - 100.0).abs() < 1e-6 && geography.changes() == 0, "{figures}");
        // What it does not know it has to try.
        assert!(skerry.above_percent(oracle) < 2.0 && skerry.changes() <= 4, "{figures}");
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
