//! The short run side by side: hit, miss and herd, ours and the peer's in turn, as a Markdown table.
//!
//! Every figure is the median of its rounds, but processor time, which is of all rounds together because it is only counted to
//! 10 ms. A run with a wrong body or an error gives no table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::arrivals::Arrivals;
use crate::client::{Client, Protocol};
use crate::drive::{self, Objects, Plan, Until};
use crate::endpoints::Endpoints;
use crate::peer::{Kind, Peer, Workers};
use crate::processor;
use crate::report::Report;
use crate::stop;
use crate::target::Target;

/// How often each scenario is run against each server, in turn.
const ROUNDS: usize = 3;
/// How long one round of `hit` or `miss` takes at most, and unless it is said otherwise, in seconds.
pub const ROUND_SECONDS_MAX: u64 = 4;
/// How long all of it may take, in seconds; a server so slow that it does not fit is not measured.
const WHOLE_S: u64 = 115;
/// The connections of `hit` and `miss`.
const CONNECTIONS: usize = 16;
/// The clients of one herd, all asking for the same object that nobody has asked for.
const HERD_CLIENTS: usize = 200;
/// The herds of one round, each for another object. nginx looks only every 500 ms whether a miss that it holds back may go on,
/// so each of its herds takes that long.
const HERDS: usize = 10;
/// The share of answers, in percent, that must be what a scenario is named for: hits, or misses.
const AS_NAMED_MIN_PERCENT: u64 = 99;

/// A server to measure.
struct Server {
    name: &'static str,
    client: Client,
    pids: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Hit,
    Miss,
    Herd,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Herd => "herd",
        }
    }
}

/// What one round measured.
struct Round {
    answers: u64,
    answers_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    hits: u64,
    used: Duration,
}

/// Measures a running CDN, and nginx before the same origin if it is installed. `seconds` is the length of a round of `hit` or
/// `miss`, from 1 to [`ROUND_SECONDS_MAX`].
///
/// # Errors
/// A sentence: something does not answer, or a run failed.
pub async fn run(endpoints: &Endpoints, path: &str, seconds: u64) -> Result<String, String> {
    let length = Duration::from_secs(seconds.clamp(1, ROUND_SECONDS_MAX));
    let edge = endpoints.edges.first().ok_or("the endpoints file names no edge")?;
    let shields = endpoints.shields.iter().filter_map(|shield| shield.pid);
    let pids = std::iter::once(edge.pid).chain(shields).collect();
    let ours = Server { name: "skerry", client: client(&edge.http, path).await?, pids };
    if !Kind::Nginx.is_installed() {
        return measure(&[ours], length, "nginx is not installed, so there is nothing to compare with.").await;
    }
    let nginx = Peer::start(Kind::Nginx, &endpoints.origin, Workers::OnePerCore).await?;
    // Whatever ends the measuring, nginx is ended after it.
    let table = tokio::select! {
        table = beside(ours, &nginx, path, length) => table,
        () = tokio::time::sleep(Duration::from_secs(WHOLE_S)) => Err(format!("not done within {WHOLE_S} s")),
        signal = stop::asked() => Err(format!("stopped by {signal}")),
    };
    nginx.stop().await;
    table
}

async fn client(address: &str, path: &str) -> Result<Client, String> {
    Client::new(Target::find(&format!("http://{address}{path}"), &[]).await?, Protocol::H1, None)
}

async fn beside(ours: Server, nginx: &Peer, path: &str, length: Duration) -> Result<String, String> {
    let client = client(&nginx.address().to_string(), path).await?;
    let pids = nginx.processes()?;
    let note = "nginx is one tier; skerry's misses pass edge and shield, and the processor time of both is counted.";
    measure(&[ours, Server { name: "nginx proxy_cache", client, pids }], length, note).await
}

async fn measure(servers: &[Server], length: Duration, note: &str) -> Result<String, String> {
    let mut table = String::from(
        "| scenario | server | answers/s | p50 ms | p99 ms | hits % | CPU us/request | ratio |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut notes =
        vec![format!("Medians of {ROUNDS} rounds in turn, CPU of all rounds; closed loop; ratio: CPU over the last server's. {note}")];
    for scenario in [Scenario::Hit, Scenario::Miss, Scenario::Herd] {
        let mut rounds: Vec<Vec<Round>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                let round = round(scenario, server, length).await;
                rounds.push(round.map_err(|error| format!("{} of {}: {error}", scenario.name(), server.name))?);
            }
        }
        let reference = rounds.last().map_or(0.0, |rounds| processor_us(rounds));
        for (server, rounds) in servers.iter().zip(&rounds) {
            let (hits, answers) = rounds.iter().fold((0, 0), |sum, round| (sum.0 + round.hits, sum.1 + round.answers));
            let as_named = match scenario {
                Scenario::Hit => hits,
                Scenario::Miss => answers - hits,
                Scenario::Herd => answers,
            };
            if as_named * 100 < answers * AS_NAMED_MIN_PERCENT {
                let (scenario, name) = (scenario.name(), server.name);
                notes.push(format!("**{name} gave a {scenario} {as_named} of {answers} times: this is no measure of that.**"));
            }
            write_row(&mut table, scenario, server, rounds, reference);
        }
    }
    Ok(format!("{table}\n{}", notes.join("\n")))
}

fn write_row(table: &mut String, scenario: Scenario, server: &Server, rounds: &[Round], reference: f64) {
    let processor = processor_us(rounds);
    #[expect(clippy::cast_precision_loss, reason = "microseconds and counts of a short run are far below 2^52")]
    let (p50, p99, hits) = (
        median(rounds, |round| round.p50_us as f64) / 1000.0,
        median(rounds, |round| round.p99_us as f64) / 1000.0,
        median(rounds, |round| round.hits as f64 * 100.0 / (round.answers.max(1)) as f64),
    );
    let _ = writeln!(
        table,
        "| {} | {} | {:.0} | {p50:.2} | {p99:.2} | {hits:.1} | {processor:.1} | {:.2} |",
        scenario.name(),
        server.name,
        median(rounds, |round| round.answers_per_second),
        if reference > 0.0 { processor / reference } else { 1.0 },
    );
}

/// Processor time of an answer, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "counts of a short run are far below 2^52")]
fn processor_us(rounds: &[Round]) -> f64 {
    let used: Duration = rounds.iter().map(|round| round.used).sum();
    let answers: u64 = rounds.iter().map(|round| round.answers).sum();
    used.as_secs_f64() * 1_000_000.0 / answers.max(1) as f64
}

/// The middle value; 0 of none.
fn median(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

async fn round(scenario: Scenario, server: &Server, length: Duration) -> Result<Round, String> {
    let plan = |client: &Client, connections, until, objects| Plan {
        client: client.clone(),
        others: Vec::new(),
        connections,
        streams: 1,
        until,
        objects,
        expected: None,
        arrivals: Arrivals::Closed,
        progress: false,
    };
    if scenario == Scenario::Hit {
        // Twice, so that the object is stored, and in memory, before anything is measured.
        drive::run_sound(plan(&server.client, 1, Until::Requests(2), Objects::Same)).await?;
    }
    let before = processor::used(&server.pids)?;
    let reports = match scenario {
        Scenario::Hit | Scenario::Miss => {
            let objects = if scenario == Scenario::Hit { Objects::Same } else { Objects::Unseen };
            vec![drive::run_sound(plan(&server.client, CONNECTIONS, Until::Elapsed(length), objects)).await?]
        }
        Scenario::Herd => {
            let mark = drive::mark();
            let mut reports = Vec::with_capacity(HERDS);
            for number in 0..HERDS as u64 {
                let target = server.client.target();
                let target = Target { path: target.unseen(&mark, number), ..target.clone() };
                let client = Client::new(target, Protocol::H1, None)?;
                reports.push(drive::run_sound(plan(&client, HERD_CLIENTS, Until::Requests(HERD_CLIENTS as u64), Objects::Same)).await?);
            }
            reports
        }
    };
    let used = processor::used(&server.pids)?.saturating_sub(before);
    Ok(summary(&reports, used))
}

/// One round out of the runs it was made of: counts added, the worst of their percentiles.
#[expect(clippy::cast_precision_loss, reason = "counts of a short run are far below 2^52")]
fn summary(reports: &[Report], used: Duration) -> Round {
    let answers: u64 = reports.iter().map(|report| report.answers).sum();
    let seconds: f64 = reports.iter().map(|report| report.seconds).sum();
    Round {
        answers,
        answers_per_second: answers as f64 / seconds.max(f64::EPSILON),
        p50_us: reports.iter().map(|report| report.latency_us.p50).max().unwrap_or(0),
        p99_us: reports.iter().map(|report| report.latency_us.p99).max().unwrap_or(0),
        hits: reports.iter().map(|report| report.hits).sum(),
        used,
    }
}
