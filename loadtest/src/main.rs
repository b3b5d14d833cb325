//! The load generator binary.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use serde::Serialize;
use skerry_loadtest::bound::{Bound, Bounds};
use skerry_loadtest::check::Digest;
use skerry_loadtest::client::{Client, Protocol, Trust};
use skerry_loadtest::drive::{self, Objects, Plan, Until};
use skerry_loadtest::target::{Resolve, Target};
use skerry_loadtest::{bench, check, client, endpoints, front, nodes, settings, soak, steering};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Makes load as a client does, checks every answer, and says what it measured.
#[derive(Debug, Parser)]
#[command(name = "skerry-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask for one URL over and over (closed loop, kept connections).
    Run(Run),
    /// Measure a running `skerry dev` beside the peers that are installed, in under two minutes.
    Bench(Bench),
    /// Measure what a hit and an idle connection cost a running `skerry dev`, beside nginx, over every protocol; some five minutes.
    Front(Front),
    /// Measure what an edge takes of memory: a real one with a `memory_limit` and many answers on disk, under load and through restarts.
    Soak(Soak),
    /// Measure many nodes of the real agent code, in this process, on one control plane: purges, batches of them, changes of a site.
    Nodes(Nodes),
    /// Simulate which node clients are sent to: an oracle, geography, and the code that answers DNS; two hours in some seconds.
    Steering(Steering),
    /// Make a page of what `front` or `soak` measured.
    Page(Page),
}

#[derive(Debug, Args)]
struct Run {
    /// What to ask for, `http://` or `https://`; the latter over TLS 1.3, or QUIC.
    #[arg(long)]
    url: String,
    /// h1, h2 (over cleartext with prior knowledge) or h3.
    #[arg(long, default_value = "h1")]
    protocol: Protocol,
    /// The authorities that the certificate of an `https://` URL must come from, in PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How many connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How many requests at once on each connection; over h1 no more than one.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// How long a connection may take to come, in seconds.
    #[arg(long, default_value_t = client::CONNECT_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=client::CONNECT_TIMEOUT_MAX_S))]
    connect_timeout: u64,
    /// How long, in seconds.
    #[arg(long, conflicts_with = "requests", default_value_t = 10)]
    seconds: u64,
    /// How many requests in all, in place of a time.
    #[arg(long)]
    requests: Option<u64>,
    /// HOST:ADDRESS or HOST:ADDRESS:PORT, in place of what the name system says. May be given several times.
    #[arg(long)]
    resolve: Vec<Resolve>,
    /// The SHA-256 that every body must have; without it, that of the first body.
    #[arg(long, value_parser = check::digest)]
    expect_sha256: Option<Digest>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Bench {
    /// The file that `skerry dev --endpoints FILE` wrote.
    #[arg(long)]
    endpoints: PathBuf,
    /// The path of the object to ask for; the answer must be cacheable.
    #[arg(long, default_value = "/")]
    path: String,
    /// How long one round of `hit` and of `miss` takes, in seconds.
    #[arg(long, default_value_t = bench::ROUND_SECONDS_MAX, value_parser = clap::value_parser!(u64).range(1..=bench::ROUND_SECONDS_MAX))]
    seconds: u64,
}

#[derive(Debug, Args)]
struct Front {
    /// The file that `skerry dev --endpoints FILE` wrote.
    #[arg(long)]
    endpoints: PathBuf,
    /// Write what was measured to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
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
    /// What version control calls what is measured.
    #[arg(long)]
    revision: Option<String>,
}

#[derive(Debug, Args)]
struct Soak {
    /// The `skerry` binary.
    #[arg(long)]
    skerry: PathBuf,
    /// An empty directory for everything, with room for 5 KiB an object and 3 GiB.
    #[arg(long)]
    folder: PathBuf,
    /// How many small objects are put on disk first.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=soak::OBJECTS_MAX))]
    objects: u64,
    /// How long the mixed load lasts, in seconds.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=soak::SECONDS_MAX))]
    seconds: u64,
    /// The edge's `memory_limit`, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..=65_536))]
    memory_mib: u64,
    /// How many clients there are, in percent of the usual crowd of some 1,200 connections.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=400))]
    crowd: u16,
    /// Write what was measured to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What version control calls what is measured.
    #[arg(long)]
    revision: Option<String>,
}

#[derive(Debug, Args)]
struct Nodes {
    /// The `skerry` binary.
    #[arg(long)]
    skerry: PathBuf,
    /// An empty directory for everything.
    #[arg(long)]
    folder: PathBuf,
    /// The plan, of scenario `nodes`.
    #[arg(long)]
    plan: PathBuf,
    /// Write what was measured to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What version control calls what is measured.
    #[arg(long)]
    revision: Option<String>,
}

#[derive(Debug, Args)]
struct Steering {
    /// The plan, of scenario `steering`.
    #[arg(long)]
    plan: PathBuf,
    /// Write what came of it to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Page {
    /// The file that `front --json FILE` or `soak --json FILE` wrote.
    results: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => on_all_cores(run(options)),
        Command::Bench(options) => on_all_cores(run_bench(&options)),
        // One core, one thread: nothing is handed from one to another.
        Command::Front(options) => on(Builder::new_current_thread(), run_front(options)),
        Command::Soak(options) => on_all_cores(run_soak(options)),
        Command::Nodes(options) => on_all_cores(run_nodes(options)),
        Command::Steering(options) => on_all_cores(run_steering(options)),
        Command::Page(options) => page(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skerry-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_all_cores(command: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    on(Builder::new_multi_thread(), command)
}

fn on(mut runtime: Builder, command: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    runtime.enable_all().build().map_err(|error| format!("the runtime does not start: {error}"))?.block_on(command)
}

async fn run(options: Run) -> Result<(), String> {
    let target = Target::find(&options.url, &options.resolve).await?;
    let trust = options.ca.as_deref().map(Trust::read).transpose()?;
    let client = Client::new(target, options.protocol, trust.as_ref())?.connecting_within(Duration::from_secs(options.connect_timeout));
    let plan = Plan {
        client,
        connections: options.connections,
        streams: options.streams,
        until: options.requests.map_or(Until::Elapsed(Duration::from_secs(options.seconds)), Until::Requests),
        objects: Objects::Same,
        expected: options.expect_sha256,
    };
    let report = drive::run(plan).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        println!("{report}");
    }
    report.failure().map_or(Ok(()), Err)
}

async fn run_bench(options: &Bench) -> Result<(), String> {
    let endpoints = endpoints::Endpoints::read(&options.endpoints)?;
    let table = bench::run(&endpoints, &options.path, options.seconds).await?;
    println!("{table}");
    Ok(())
}

async fn run_front(options: Front) -> Result<(), String> {
    let endpoints = endpoints::Endpoints::read(&options.endpoints)?;
    let settings = front::Settings {
        rounds: options.rounds.into(),
        round: Duration::from_millis(options.round_ms),
        idle: options.idle.into(),
        only: options.only,
        revision: options.revision,
    };
    let results = front::run(&endpoints, &settings).await?;
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
        std::fs::write(&path, text + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    print!("{}", front::page(&results));
    Ok(())
}

async fn run_soak(options: Soak) -> Result<(), String> {
    let settings = soak::Settings {
        binary: options.skerry,
        folder: options.folder,
        objects: options.objects,
        load: Duration::from_secs(options.seconds),
        memory_limit: options.memory_mib << 20,
        crowd_percent: options.crowd.into(),
        revision: options.revision,
    };
    let results = soak::run(&settings).await?;
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
        std::fs::write(&path, text + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    print!("{}", soak::page(&results));
    match results.faults() {
        faults if faults.is_empty() => Ok(()),
        faults => Err(faults.join("\nskerry-loadtest: ")),
    }
}

async fn run_nodes(options: Nodes) -> Result<(), String> {
    let settings: nodes::Settings = settings::read(&options.plan, "nodes")?;
    let place = nodes::Place { binary: options.skerry, folder: options.folder, revision: options.revision };
    let figures = nodes::run(&settings, &place).await?;
    tell(&figures, &figures.bounds(), options.json)
}

async fn run_steering(options: Steering) -> Result<(), String> {
    let settings: steering::Settings = settings::read(&options.plan, "steering")?;
    let figures = steering::run(&settings).await?;
    tell(&figures, &figures.bounds("skerry"), options.json)
}

/// Writes and prints figures, and says which bounds are not kept: that is no failure of the run, whose figures are sound.
fn tell(figures: &(impl Serialize + Display), bounds: &[Bound], json: Option<PathBuf>) -> Result<(), String> {
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(figures).map_err(|error| error.to_string())?;
        std::fs::write(&path, text + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    println!("{figures}");
    if let Some(broken) = Bounds(bounds).broken() {
        eprintln!("skerry-loadtest: {broken}");
    }
    Ok(())
}

fn page(options: &Page) -> Result<(), String> {
    let path = options.results.display();
    if let Ok(results) = soak::read(&options.results) {
        print!("{}", soak::page(&results));
        return Ok(());
    }
    let text = std::fs::read_to_string(&options.results).map_err(|error| format!("cannot read {path}: {error}"))?;
    let results = serde_json::from_str(&text).map_err(|error| format!("{path} is no file that `front --json` wrote: {error}"))?;
    print!("{}", front::page(&results));
    Ok(())
}
