//! What a person types: one file a command, each a thin layer over the library.
//!
//! Standard output is what was measured, standard error the reason why nothing may be concluded from it. Exit code 0: measured; 1: not, or a bound is
//! not kept; 2: bad usage.

mod compare;
mod front;
mod nodes;
mod report;
mod run;
mod soak;
mod steering;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use skerry_loadtest::bound::{Verdict, Verdicts};
use skerry_loadtest::origin;
use tokio::runtime::Builder;

/// Makes load as a client does, checks every answer, and says what it measured.
#[derive(Debug, Parser)]
#[command(name = "skerry-loadtest", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask for one URL over and over on kept connections: as fast as answers come (closed loop), or at a rate (open loop).
    Run(run::Options),
    /// Run plans: our CDN and peers before one origin, a round of each in turn.
    Compare(compare::Options),
    /// Make a page of what `compare` measured, or tell two such measurements apart.
    Report(report::Options),
    /// The origin of such a run: answers with objects that tell their length by their path, until standard input ends.
    #[command(hide = true)]
    Origin(Origin),
    /// Measure what a hit and an idle connection cost a running `skerry dev`, beside nginx, over every protocol; some five minutes.
    Front(front::Options),
    /// Measure what an edge takes of memory: a real one with a `memory_limit` and many answers on disk, under load and through restarts.
    Soak(soak::Options),
    /// Measure many nodes of the real agent code, in this process, on one control plane: purges, batches of them, changes of a site.
    Nodes(nodes::Options),
    /// Simulate which node clients are sent to: an oracle, geography, and the code that answers DNS; two hours in some seconds.
    Steering(steering::Options),
    /// Make a page of what `front`, `soak` or `nodes` measured, or `steering` simulated.
    Page(front::Page),
}

#[derive(Debug, Args)]
struct Origin {
    /// How long it waits before each answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

/// Where a run of its own CDN takes place.
#[derive(Debug, Args)]
struct Place {
    /// The `skerry` binary.
    #[arg(long, default_value = "target/release/skerry")]
    skerry: PathBuf,
    /// An empty directory for everything; a soak needs room for 5 KiB an object and 3 GiB.
    #[arg(long)]
    folder: PathBuf,
    /// The plan, such as those of loadtest/plans that are named after the command.
    #[arg(long)]
    plan: PathBuf,
}

/// What is kept of a run, and under which name.
#[derive(Debug, Args)]
struct Written {
    /// Write what was measured to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What version control calls what is measured.
    #[arg(long)]
    revision: Option<String>,
}

impl Written {
    /// Writes what was measured, where that was asked for.
    fn write(&self, results: &impl Serialize) -> Result<(), String> {
        let Some(path) = &self.json else { return Ok(()) };
        write(path, &(serde_json::to_string_pretty(results).map_err(|error| error.to_string())? + "\n"))
    }

    /// Prints and writes figures. A bound that is not kept fails the command once both is done.
    fn tell(&self, figures: &(impl Serialize + Display), verdicts: &[Verdict]) -> Result<(), String> {
        println!("{figures}");
        let mut faults: Vec<String> = self.write(figures).err().into_iter().collect();
        faults.extend(Verdicts(verdicts).kept().err());
        fail_for(&faults)
    }
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// A sentence, or several, each on a line.
    pub(crate) fn run(self) -> Result<(), String> {
        match self.command {
            Command::Run(options) => on_all_cores(run::run(options)),
            // One thread on one core: nothing is handed from one to another.
            Command::Compare(options) => on(Builder::new_current_thread(), compare::run(options)),
            Command::Report(options) => report::run(&options),
            Command::Origin(options) => on(Builder::new_current_thread(), origin::serve(Duration::from_millis(options.delay_ms))),
            // One core, one thread: nothing is handed from one to another.
            Command::Front(options) => on(Builder::new_current_thread(), front::run(options)),
            Command::Soak(options) => on_all_cores(soak::run(options)),
            Command::Nodes(options) => on(nodes::runtime(), nodes::run(options)),
            Command::Steering(options) => on_all_cores(steering::run(options)),
            Command::Page(options) => front::page(&options),
        }
    }
}

fn on_all_cores(command: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    on(Builder::new_multi_thread(), command)
}

fn on(mut runtime: Builder, command: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    runtime.enable_all().build().map_err(|error| format!("the runtime does not start: {error}"))?.block_on(command)
}

/// Fails for everything that is wrong with what was told, if anything is.
fn fail_for(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\nskerry-loadtest: ")) }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
