//! `steering`: which node clients are sent to, simulated.

use std::path::PathBuf;

use clap::Args;
use skerry_loadtest::{settings, steering};

use super::Written;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The plan, of scenario `steering`.
    #[arg(long)]
    plan: PathBuf,
    /// Write what came of it to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let settings: steering::Settings = settings::read(&options.plan, "steering")?;
    let figures = steering::run(&settings).await?;
    // A simulation measures no revision of anything.
    Written { json: options.json, revision: None }.tell(&figures, &figures.bounds("skerry"))
}
