//! `compare`: plans, ours and peers side by side.

use std::path::PathBuf;

use clap::Args;
use skerry_loadtest::peer::Kind;
use skerry_loadtest::{compare, plan, results};

use super::{Written, fail_for, write};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The plans, such as loadtest/plans/hit.toml.
    #[arg(required = true)]
    plans: Vec<PathBuf>,
    /// The `skerry` binary.
    #[arg(long, default_value = "target/release/skerry")]
    skerry: PathBuf,
    /// Peers to compare with, of nginx, varnish and trafficserver; those that are not installed are told as absent.
    #[arg(long, value_delimiter = ',')]
    peer: Vec<Kind>,
    /// In place of what the plans say: how often each side is measured.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(plan::ROUNDS_MAX)))]
    rounds: Option<u32>,
    /// In place of what the plans say: how long a round is, in seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// Write a page with plots to this file, as HTML.
    #[arg(long)]
    html: Option<PathBuf>,
    #[command(flatten)]
    written: Written,
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let settings = compare::Settings {
        plans: options.plans,
        skerry: options.skerry,
        peers: options.peer,
        rounds: options.rounds,
        seconds: options.seconds,
        revision: options.written.revision,
    };
    let results = compare::run(&settings).await?;
    // Before files are written: one that cannot be takes nothing of it away.
    print!("{}", results::markdown(&results));
    let mut faults = Vec::new();
    if let Some(path) = &options.written.json {
        faults.extend(results::write(path, &results).err());
    }
    if let Some(path) = &options.html {
        faults.extend(results::html(&results).and_then(|page| write(path, &page)).err());
    }
    faults.extend(results.failures());
    fail_for(&faults)
}
