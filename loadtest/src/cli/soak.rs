//! `soak`: the memory of an edge.

use clap::Args;
use skerry_loadtest::{settings, soak};

use super::{Place, Written, fail_for};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// In place of what the plan says: how many small objects are put on disk first.
    #[arg(long)]
    objects: Option<u64>,
    /// In place of what the plan says: how long the mixed load lasts, in seconds.
    #[arg(long)]
    seconds: Option<u64>,
    #[command(flatten)]
    written: Written,
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let mut plan = settings::read::<soak::Plan>(&options.place.plan, "soak")?;
    plan.objects = options.objects.unwrap_or(plan.objects);
    plan.seconds = options.seconds.unwrap_or(plan.seconds);
    let settings = plan.settings(options.place.skerry, options.place.folder, options.written.revision.clone())?;
    let results = soak::run(&settings).await?;
    print!("{}", soak::page(&results));
    let mut faults: Vec<String> = options.written.write(&results).err().into_iter().collect();
    faults.extend(results.faults());
    fail_for(&faults)
}
