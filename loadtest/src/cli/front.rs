//! `front` and `page`: hits and idle connections of a running CDN over every protocol, and pages of what was measured.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use skerry_loadtest::{endpoints, front, nodes, soak, steering};

use super::Written;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file that `skerry dev --endpoints FILE` wrote.
    #[arg(long)]
    endpoints: PathBuf,
    /// How often each side is measured, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: u8,
    /// How long each time, in milliseconds.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    round_ms: u64,
    /// How many idle connections of each kind.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    idle: u16,
    /// Measure this case alone, such as `h1-1k`; a wrong name tells them all. May be given several times.
    #[arg(long)]
    only: Vec<String>,
    #[command(flatten)]
    written: Written,
}

#[derive(Debug, Args)]
pub(super) struct Page {
    /// The file that `front --json FILE`, `soak --json FILE`, `steering --json FILE` or `nodes --json FILE` wrote; of the last one several. The plots of
    /// `steering` are written beside it, as `FILE-near.svg` and so on without its extension.
    #[arg(required = true)]
    results: Vec<PathBuf>,
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let endpoints = endpoints::Endpoints::read(&options.endpoints)?;
    let settings = front::Settings {
        rounds: options.rounds.into(),
        round: Duration::from_millis(options.round_ms),
        idle: options.idle.into(),
        only: options.only,
        revision: options.written.revision.clone(),
    };
    let results = front::run(&endpoints, &settings).await?;
    print!("{}", front::page(&results));
    options.written.write(&results)
}

pub(super) fn page(options: &Page) -> Result<(), String> {
    let nodes: Result<Vec<nodes::Figures>, String> = options.results.iter().map(read).collect();
    if let Ok(runs) = nodes {
        print!("{}", nodes::page(&runs));
        return Ok(());
    }
    let [path] = &options.results[..] else { return Err("one file makes a page, but for those that `nodes --json` wrote".to_owned()) };
    if let Ok(results) = soak::read(path) {
        print!("{}", soak::page(&results));
        return Ok(());
    }
    if let Ok(results) = steering::Results::read(path) {
        for (name, plot) in steering::plots(&results)? {
            super::write(&steering::plot_file(path, name), &plot)?;
        }
        print!("{}", steering::page(&results, path));
        return Ok(());
    }
    print!("{}", front::page(&read(path)?));
    Ok(())
}

fn read<T: DeserializeOwned>(path: &PathBuf) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no file that `front --json` wrote: {error}", path.display()))
}
