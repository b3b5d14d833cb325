//! `nodes`: many real agents on one control plane.

use std::path::PathBuf;

use clap::Args;
use skerry_loadtest::{nodes, settings};
use tokio::runtime::Builder;

use super::{Place, Written};

/// Threads on which all nodes together write to disk. What they write to is memory, and a node of its own would have its own thread waiting: with hundreds
/// of them here, what is measured is how this machine changes threads.
const WRITERS: usize = 2;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// A directory for what the nodes keep, on a file system in memory: real ones have a disk each
    #[arg(long, default_value = "/dev/shm/skerry-nodes")]
    nodes_folder: PathBuf,
    #[command(flatten)]
    written: Written,
}

pub(super) fn runtime() -> Builder {
    let mut runtime = Builder::new_multi_thread();
    runtime.max_blocking_threads(WRITERS);
    runtime
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let settings: nodes::Settings = settings::read(&options.place.plan, "nodes")?;
    let place = nodes::Place {
        binary: options.place.skerry,
        folder: options.place.folder,
        nodes_folder: options.nodes_folder,
        revision: options.written.revision.clone(),
    };
    let figures = nodes::run(&settings, &place).await?;
    options.written.tell(&figures, &figures.bounds())
}
