//! `steering`: which node clients are sent to, simulated.

use std::path::PathBuf;

use clap::Args;
use skerry_loadtest::bound::Verdicts;
use skerry_loadtest::{settings, steering};

use super::{Written, fail_for};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The plan, of scenario `steering`.
    #[arg(long)]
    plan: PathBuf,
    /// How many seeds: the plan's, and those that follow it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=steering::SEEDS_MAX))]
    seeds: u64,
    #[command(flatten)]
    written: Written,
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let settings: steering::Settings = settings::read(&options.plan, "steering")?;
    let results = steering::Results::of(&settings, options.seeds, options.written.revision).await?;
    results.runs.iter().for_each(|run| println!("{run}"));
    let mut faults: Vec<String> = options.written.json.and_then(|path| results.write(&path).err()).into_iter().collect();
    faults.extend(Verdicts(&results.bounds()).kept().err());
    fail_for(&faults)
}
