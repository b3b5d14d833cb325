//! What the simulation gave for several seeds: the data and their file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Figures, Settings, run};
use crate::bound::Verdict;
use crate::{file, lines};

/// The most seeds of one run.
pub const SEEDS_MAX: u64 = 100;
/// The largest file that is read, in bytes: that of a seed has some 10 KB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// What version control calls the code that was simulated.
    pub revision: Option<String>,
    /// What was simulated, with the first of the seeds.
    pub steering: Settings,
    /// One a seed, in their order.
    pub runs: Vec<Figures>,
}

impl Results {
    /// Simulates so many seeds, at most [`SEEDS_MAX`]: that of the settings and those that follow it.
    ///
    /// # Errors
    /// A sentence: the settings are not within their bounds.
    pub async fn of(settings: &Settings, seeds: u64, revision: Option<String>) -> Result<Self, String> {
        let mut runs = Vec::new();
        for more in 0..seeds.clamp(1, SEEDS_MAX) {
            runs.push(run(&Settings { seed: settings.seed.saturating_add(more), ..settings.clone() }).await?);
        }
        Ok(Self { revision, steering: settings.clone(), runs })
    }

    /// The bounds, and whether the product keeps them, of all seeds.
    #[must_use]
    pub fn bounds(&self) -> Vec<Verdict> {
        let of_seed = |run: &Figures| {
            let seed = run.seed;
            run.bounds("skerry").into_iter().map(move |verdict| Verdict { what: format!("seed {seed}: {}", verdict.what), ..verdict })
        };
        self.runs.iter().flat_map(of_seed).collect()
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// A sentence: there is no such file, or it has another form.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = file::read(path, FILE_BYTES_MAX)?;
        serde_json::from_str(&text).map_err(|error| format!("{} is no file that `steering --json` wrote: {error}", path.display()))
    }

    /// Writes a line for each series.
    ///
    /// # Errors
    /// A sentence: the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let cannot = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", path.display());
        let mut text = lines::to_vec(self).map_err(|error| cannot(&error))?;
        text.push(b'\n');
        std::fs::write(path, text).map_err(|error| cannot(&error))
    }
}
