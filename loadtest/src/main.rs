//! The load generator binary.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use skerry_loadtest::drive::{self, Digest, Objects, Plan, Until};
use skerry_loadtest::target::{Resolve, Target};
use skerry_loadtest::{bench, endpoints};

/// Makes load as a client does, checks every answer, and says what it measured.
#[derive(Debug, Parser)]
#[command(name = "skerry-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask for one URL over and over (closed loop, HTTP/1.1 keep-alive).
    Run(Run),
    /// Measure a running `skerry dev` beside the peers that are installed, in under two minutes.
    Bench(Bench),
}

#[derive(Debug, Args)]
struct Run {
    /// What to ask for, `http://` only.
    #[arg(long)]
    url: String,
    /// How many connections, each with one request at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
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
    #[arg(long, value_parser = drive::digest)]
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

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run(options).await,
        Command::Bench(options) => run_bench(&options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skerry-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Run) -> Result<(), String> {
    let plan = Plan {
        target: Target::find(&options.url, &options.resolve).await?,
        connections: options.connections,
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
