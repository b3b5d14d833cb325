//! The load generator binary.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use serde::Serialize;
use skerry_loadtest::arrivals::Arrivals;
use skerry_loadtest::bound::{Verdict, Verdicts};
use skerry_loadtest::check::Digest;
use skerry_loadtest::client::{Client, Protocol, Trust};
use skerry_loadtest::drive::{self, Objects, Plan, Until};
use skerry_loadtest::peer::Kind;
use skerry_loadtest::target::{Resolve, Target};
use skerry_loadtest::{check, client, compare, endpoints, front, nodes, origin, plan, processor, results, settings, soak, steering};
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
    /// Ask for one URL over and over on kept connections: as fast as answers come (closed loop), or at a rate (open loop).
    Run(Run),
    /// Run plans: our CDN and peers before one origin, a round of each in turn.
    Compare(Compare),
    /// Make a page of what `compare` measured, or tell two such measurements apart.
    Report(Report),
    /// The origin of such a run: answers with objects that tell their length by their path, until standard input ends.
    #[command(hide = true)]
    Origin(Origin),
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
    /// Send so many requests a second, all connections together, whatever becomes of those before (open loop); latency counts from when each
    /// was due.
    #[arg(long, conflicts_with = "requests")]
    rate: Option<f64>,
    /// With --rate: constant, or poisson as of many clients who do not know of one another.
    #[arg(long, default_value = "poisson", value_parser = ["poisson", "constant"], requires = "rate")]
    arrivals: String,
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
struct Compare {
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
    /// Write what was measured to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a page with plots to this file, as HTML.
    #[arg(long)]
    html: Option<PathBuf>,
    /// What version control calls what is measured.
    #[arg(long)]
    revision: Option<String>,
}

/// One file: its page. Two: which differences are beyond their spread.
#[derive(Debug, Args)]
struct Report {
    /// The file that `compare --json FILE` wrote; with `new`, the one before.
    results: PathBuf,
    /// The one after.
    new: Option<PathBuf>,
    /// In place of the text: write a page with plots of the one file to this file, as HTML.
    #[arg(long, conflicts_with = "new")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Origin {
    /// How long it waits before each answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
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
    /// What to do, such as loadtest/plans/soak.toml.
    #[arg(long)]
    plan: PathBuf,
    /// In place of what the plan says: how many small objects are put on disk first.
    #[arg(long)]
    objects: Option<u64>,
    /// In place of what the plan says: how long the mixed load lasts, in seconds.
    #[arg(long)]
    seconds: Option<u64>,
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
        // One thread on one core: nothing is handed from one to another.
        Command::Compare(options) => on(Builder::new_current_thread(), run_compare(options)),
        Command::Report(options) => report(&options),
        Command::Origin(options) => on(Builder::new_current_thread(), origin::serve(Duration::from_millis(options.delay_ms))),
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
        others: Vec::new(),
        connections: options.connections,
        streams: options.streams,
        until: options.requests.map_or(Until::Elapsed(Duration::from_secs(options.seconds)), Until::Requests),
        objects: Objects::Same,
        expected: options.expect_sha256,
        arrivals: match options.rate {
            None => Arrivals::Closed,
            Some(rate) if options.arrivals == "constant" => Arrivals::Constant(rate),
            Some(rate) => Arrivals::Poisson(rate),
        },
        progress: true,
    };
    let own = processor::used(&[std::process::id()])?;
    let report = drive::run(plan).await?;
    let own = processor::used(&[std::process::id()])?.saturating_sub(own).as_secs_f64();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        println!("{report}");
        println!("generator {own:.2} s of processor time, {:.0} % of one core", own * 100.0 / report.seconds.max(f64::EPSILON));
    }
    report.failure().map_or(Ok(()), Err)
}

async fn run_compare(options: Compare) -> Result<(), String> {
    let settings = compare::Settings {
        plans: options.plans,
        skerry: options.skerry,
        peers: options.peer,
        rounds: options.rounds,
        seconds: options.seconds,
        revision: options.revision,
    };
    let results = compare::run(&settings).await?;
    // Before files are written: one that cannot be takes nothing of it away.
    print!("{}", results::markdown(&results));
    let mut faults = Vec::new();
    if let Some(path) = &options.json {
        faults.extend(results::write(path, &results).err());
    }
    if let Some(path) = &options.html {
        faults.extend(results::html(&results).and_then(|page| write(path, &page)).err());
    }
    faults.extend(results.failures());
    fail_for(&faults)
}

/// Fails for everything that is wrong with what was told, if anything is.
fn fail_for(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\nskerry-loadtest: ")) }
}

fn report(options: &Report) -> Result<(), String> {
    let old = results::read(&options.results)?;
    match (&options.new, &options.html) {
        (Some(new), _) => {
            let difference = results::difference(&old, &results::read(new)?);
            print!("{}", difference.markdown());
            return fail_for(&difference.refused);
        }
        (None, Some(path)) => write(path, &results::html(&old)?)?,
        (None, None) => print!("{}", results::markdown(&old)),
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
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
    let mut plan = settings::read::<soak::Plan>(&options.plan, "soak")?;
    plan.objects = options.objects.unwrap_or(plan.objects);
    plan.seconds = options.seconds.unwrap_or(plan.seconds);
    let settings = plan.settings(options.skerry, options.folder, options.revision)?;
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

/// Prints and writes figures. A bound that is not kept fails the command once both is done.
fn tell(figures: &(impl Serialize + Display), verdicts: &[Verdict], json: Option<PathBuf>) -> Result<(), String> {
    println!("{figures}");
    if let Some(path) = json {
        write(&path, &(serde_json::to_string_pretty(figures).map_err(|error| error.to_string())? + "\n"))?;
    }
    Verdicts(verdicts).kept()
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
