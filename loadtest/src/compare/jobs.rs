//! What is to be compared: plans, read and held against each other, against the peers and against what their scenarios measure.
//!
//! Owns that all of what is wrong with all of them is told before anything is started.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Settings;
use crate::plan::Plan;
use crate::plan::faults::Faults;

/// A plan that can be run.
#[derive(Debug)]
pub(super) struct Job {
    /// What its measure is called: its file's name without the ending.
    pub(super) name: String,
    /// Where it lies.
    pub(super) folder: PathBuf,
    pub(super) plan: Plan,
}

/// Reads the plans.
///
/// # Errors
/// Every fault of all of them, one a line.
pub(super) fn jobs(settings: &Settings) -> Result<Vec<Job>, String> {
    let mut faults = Faults::default();
    let mut names = BTreeSet::new();
    let mut jobs = Vec::with_capacity(settings.plans.len());
    for path in &settings.plans {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_first = names.insert(name.clone());
        let shown = path.display();
        faults.must(
            is_first,
            format!("{shown} is a second plan of the name {name}, by which its measure is called: rename one of the files"),
        );
        if let Some(plan) = faults.found(read(path, settings)) {
            jobs.push(Job { name, folder: path.parent().map(Path::to_owned).unwrap_or_default(), plan });
        }
    }
    for (index, peer) in settings.peers.iter().enumerate() {
        faults.must(!settings.peers[..index].contains(peer), format!("the peer {peer} is given twice: once is enough"));
    }
    faults.into_result().map(|()| jobs)
}

fn read(path: &Path, settings: &Settings) -> Result<Plan, String> {
    let mut plan = Plan::read(path)?;
    plan.rounds = settings.rounds.unwrap_or(plan.rounds);
    plan.load.seconds = settings.seconds.unwrap_or(plan.load.seconds);
    plan.check(path).map(|()| plan)
}
