//! `nodes`: many real agents on one control plane.

use clap::Args;
use skerry_loadtest::{nodes, settings};

use super::{Place, Written};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    written: Written,
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let settings: nodes::Settings = settings::read(&options.place.plan, "nodes")?;
    let place = nodes::Place { binary: options.place.skerry, folder: options.place.folder, revision: options.written.revision.clone() };
    let figures = nodes::run(&settings, &place).await?;
    options.written.tell(&figures, &figures.bounds())
}
