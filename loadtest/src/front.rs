//! The front door alone: what a hit costs the server in processor time, and an idle connection in memory, beside Debian's nginx.
//!
//! One core for whichever server is measured, another one for the generator; ours and theirs in turn, several rounds. Only the operating
//! system's accounting of the server's processes counts. A server that waits for its generator pays for going to sleep and being woken, and
//! pays the more the faster it is: where a hit costs least, the generator is wrk, which is faster than both. How busy each was is told. Owns
//! the order of things and gives the results as data; [`page`] makes the text.

mod cases;
mod idle;
mod page;
mod results;
mod wrk;

use std::time::{Duration, Instant};

pub use self::page::page;
pub use self::results::{IdleRow, IdleSide, Results, Round, Row, Side};

use self::cases::{CASES, Case, Generator, IDLE_CASES, IdleCase};
use crate::affinity::{self, Pinned};
use crate::arrivals::Arrivals;
use crate::client::{Client, Connection, Protocol, Trust};
use crate::drive::{self, Objects, Plan, Until};
use crate::endpoints::{Edge, Endpoints};
use crate::machine::{Machine, allow_files};
use crate::peer::{self, Kind, Peer, Workers};
use crate::processor;
use crate::report::Report;
use crate::stop;
use crate::target::{Resolve, Target};

/// The site of `skerry dev` that serves every host.
const SITE: &str = "default";
/// How often each stream asks before anything is measured.
const WARM_REQUESTS: u64 = 8;
/// The share of answers, in percent, that must be hits.
const HITS_MIN_PERCENT: u64 = 99;
/// Open files beside those of the idle connections.
const OTHER_FILES: u64 = 512;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often each side, in turn.
    pub rounds: usize,
    /// How long a round is.
    pub round: Duration,
    /// How many idle connections of each kind.
    pub idle: usize,
    /// The cases to measure, by id; all if empty.
    pub only: Vec<String>,
    /// What version control calls what is measured.
    pub revision: Option<String>,
}

/// A server to measure.
struct Server {
    name: &'static str,
    pids: Vec<u32>,
    cleartext: String,
    secure: Option<String>,
    quic: Option<String>,
    host: String,
    trust: Option<Trust>,
}

impl Server {
    async fn ours(endpoints: &Endpoints, edge: &Edge) -> Result<Self, String> {
        let trust = endpoints.control.ca.as_deref().map(Trust::read).transpose()?;
        Ok(Self {
            name: "skerry",
            pids: vec![edge.pid],
            cleartext: edge.http.clone(),
            secure: edge.https.clone(),
            quic: edge.h3.clone(),
            host: if endpoints.zone.is_empty() { peer::HOST.to_owned() } else { format!("{SITE}.{}", endpoints.zone) },
            trust,
        })
    }

    fn theirs(nginx: &Peer) -> Result<Self, String> {
        Ok(Self {
            name: "nginx",
            pids: nginx.processes()?,
            cleartext: nginx.address().to_string(),
            secure: nginx.secure().map(|address| address.to_string()),
            quic: None,
            host: peer::HOST.to_owned(),
            trust: nginx.authority().map(Trust::read).transpose()?,
        })
    }

    /// A client that asks this server for an object of a length; none if it does not speak that.
    async fn client(&self, protocol: Protocol, secure: bool, bytes: u64) -> Result<Option<Client>, String> {
        let address = match (protocol, secure) {
            (Protocol::H3, _) => self.quic.as_ref(),
            (_, true) => self.secure.as_ref(),
            (_, false) => Some(&self.cleartext),
        };
        let Some(address) = address else { return Ok(None) };
        let scheme = if secure { "https" } else { "http" };
        let port = address.rsplit(':').next().unwrap_or_default();
        let resolve: Resolve = format!("{}:{address}", self.host).parse()?;
        let target = Target::find(&format!("{scheme}://{}:{port}/files/{bytes}.bin", self.host), &[resolve]).await?;
        Client::new(target, protocol, self.trust.as_ref().filter(|_| secure)).map(Some)
    }
}

/// Measures the first edge of a running `skerry dev`, and nginx before the same origin.
///
/// # Errors
/// A sentence: nginx or wrk is not installed, something does not answer, an answer was wrong or no hit, or a setting is out of bounds.
pub async fn run(endpoints: &Endpoints, settings: &Settings) -> Result<Results, String> {
    if let Some(unknown) = settings.only.iter().find(|only| !cases::ids().contains(&only.as_str())) {
        return Err(format!("`{unknown}` is no case; these are: {}", cases::ids().join(", ")));
    }
    let edge = endpoints.edges.first().ok_or("the endpoints file names no edge")?;
    if !Kind::Nginx.is_installed() {
        return Err("nginx is not installed, so there is nothing to compare with".to_owned());
    }
    let wrk = wrk::version().await.ok_or("wrk is not installed, which asks for the smallest hits")?;
    let idle = settings.idle as u64;
    // Each idle connection is an open file here and in both servers, of which nginx inherits what is allowed here.
    allow_files(idle * IDLE_CASES.len() as u64 + OTHER_FILES, &format!("{idle} idle connections of each kind"))?;
    let ours = Server::ours(endpoints, edge).await?;
    let nginx = Peer::start(Kind::Nginx, &endpoints.origin, Workers::One).await?;
    // Whatever ends the measuring, nginx is ended after it.
    let results = tokio::select! {
        results = beside(&ours, &nginx, &wrk, settings) => results,
        signal = stop::asked() => Err(format!("stopped by {signal}")),
    };
    nginx.stop().await;
    results
}

async fn beside(ours: &Server, nginx: &Peer, wrk: &str, settings: &Settings) -> Result<Results, String> {
    let theirs = Server::theirs(nginx)?;
    let cores = affinity::cores()?;
    let (server_core, generator_core) = (*cores.first().ok_or("there is no core")?, *cores.last().ok_or("there is no core")?);
    let _pinned: [Pinned; 3] = [
        affinity::pin(&ours.pids, server_core)?,
        affinity::pin(&theirs.pids, server_core)?,
        affinity::pin(&[std::process::id()], generator_core)?,
    ];
    let wanted = |id: &str| settings.only.is_empty() || settings.only.iter().any(|only| only == id);
    // First: what was freed after a load would be given to idle connections, which would seem to cost nothing.
    let idle_cases: Vec<&IdleCase> = IDLE_CASES.iter().filter(|case| wanted(case.id)).collect();
    let idle = idle_rows(&idle_cases, &[ours, &theirs], settings.idle).await?;
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| wanted(case.id)) {
        rows.push(row(case, ours, &theirs, settings).await.map_err(|error| format!("{}: {error}", case.name))?);
    }
    Ok(Results {
        made: httpdate::fmt_http_date(std::time::SystemTime::now()),
        machine: Machine::this(),
        versions: versions(ours, wrk, settings).await?,
        rounds: settings.rounds,
        round_ms: u64::try_from(settings.round.as_millis()).unwrap_or(u64::MAX),
        server_core,
        generator_core,
        rows,
        idle,
    })
}

async fn versions(ours: &Server, wrk: &str, settings: &Settings) -> Result<Vec<String>, String> {
    let revision = settings.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    Ok(vec![
        format!("{} {version}{revision}", ours.name),
        Kind::Nginx.version().await?,
        format!("skerry-loadtest {version}"),
        wrk.to_owned(),
    ])
}

/// One side of a row, while it is measured.
struct Measured<'a> {
    side: Side,
    client: Client,
    pids: &'a [u32],
}

async fn row(case: &Case, ours: &Server, theirs: &Server, settings: &Settings) -> Result<Row, String> {
    // nginx 1.22 has no HTTP/3; what can be compared is our own HTTP/2.
    let pairs = match case.protocol {
        Protocol::H3 => [(ours, Protocol::H3, "skerry HTTP/3"), (ours, Protocol::H2, "skerry HTTP/2")],
        protocol => [(ours, protocol, ours.name), (theirs, protocol, theirs.name)],
    };
    let mut row = Row {
        id: case.id.to_owned(),
        name: case.name.to_owned(),
        connections: case.connections,
        streams: case.streams,
        generator: case.generator.name().to_owned(),
        suite: None,
        bound: case.bound,
        absent: None,
        sides: Vec::new(),
    };
    let mut measured = Vec::with_capacity(pairs.len());
    for (server, protocol, name) in pairs {
        let Some(client) = server.client(protocol, case.secure, case.bytes).await? else {
            row.absent = Some(format!("{} has no listener for it", server.name));
            return Ok(row);
        };
        if let Some(suite) = warm(case, &client).await.map_err(|error| format!("{name}: {error}"))? {
            if row.suite.as_ref().is_some_and(|other| *other != suite) {
                return Err(format!("{name} chose {suite} where the other side chose {:?}: not the same work", row.suite));
            }
            row.suite = Some(suite);
        }
        measured.push(Measured { side: Side { name: name.to_owned(), rounds: Vec::new() }, client, pids: &server.pids });
    }
    for _ in 0..settings.rounds {
        for one in &mut measured {
            let round = round(case, &one.client, one.pids, settings.round).await;
            one.side.rounds.push(round.map_err(|error| format!("{}: {error}", one.side.name))?);
        }
    }
    row.sides = measured.into_iter().map(|one| one.side).collect();
    Ok(row)
}

fn plan(case: &Case, client: &Client, until: Until) -> Plan {
    let streams = if client.protocol() == Protocol::H1 { 1 } else { case.streams };
    Plan {
        client: client.clone(),
        others: Vec::new(),
        connections: case.connections,
        streams,
        until,
        objects: Objects::Same,
        expected: None,
        arrivals: Arrivals::Closed,
        answer: drive::ANSWER_TIMEOUT,
        progress: false,
    }
}

fn warming(case: &Case) -> Until {
    Until::Requests(WARM_REQUESTS * (case.connections * case.streams) as u64)
}

/// Asks often enough that the object is stored in memory; the cipher suite, if there is one.
async fn warm(case: &Case, client: &Client) -> Result<Option<String>, String> {
    // Alone at first, so that it is stored before others ask.
    drive::run_sound(Plan { connections: 1, streams: 1, ..plan(case, client, Until::Requests(2)) }).await?;
    drive::run_sound(plan(case, client, warming(case))).await?;
    Ok(client.connect().await?.suite().map(|suite| format!("{suite:?}")))
}

/// What a generator counted.
struct Counted {
    answers: u64,
    hits: Option<u64>,
    p50_us: u64,
    p99_us: u64,
}

async fn round(case: &Case, client: &Client, pids: &[u32], length: Duration) -> Result<Round, String> {
    let own = std::process::id();
    let ready = drive::open(plan(case, client, Until::Elapsed(length))).await?;
    // A new connection is slower than one that knows how fast it may be.
    ready.ask(warming(case)).await?.sound()?;
    let begun = Instant::now();
    let (server, generator, machine) = (processor::used(pids)?, processor::used_with_ended_children(own)?, processor::machine()?);
    let counted = match case.generator {
        Generator::Own => of_hits(&ready.ask(Until::Elapsed(length)).await?.sound()?)?,
        Generator::Wrk => {
            let said = wrk::run(client.target(), case.connections, length, case.bytes).await?;
            Counted { answers: said.answers, hits: None, p50_us: said.p50_us, p99_us: said.p99_us }
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let server = processor::used(pids)?.saturating_sub(server);
    let generator = processor::used_with_ended_children(own)?.saturating_sub(generator);
    let machine = processor::machine()?.saturating_sub(machine);
    if case.generator == Generator::Wrk {
        // It looks at no answer: what is there after it must be what was there before, hits of the same body.
        of_hits(&ready.ask(warming(case)).await?.sound()?)?;
    }
    Ok(Round {
        seconds,
        answers: counted.answers,
        hits: counted.hits,
        server_s: server.as_secs_f64(),
        generator_s: generator.as_secs_f64(),
        others_s: machine.saturating_sub(server + generator).as_secs_f64(),
        p50_us: counted.p50_us,
        p99_us: counted.p99_us,
    })
}

/// Those answers, if they are hits.
fn of_hits(report: &Report) -> Result<Counted, String> {
    if report.hits * 100 < report.answers * HITS_MIN_PERCENT {
        return Err(format!("{} of {} answers were hits: this is no measure of hits", report.hits, report.answers));
    }
    let latency = &report.latency_us;
    Ok(Counted { answers: report.answers, hits: Some(report.hits), p50_us: latency.p50, p99_us: latency.p99 })
}

/// Memory of idle connections, one server after the other; within one, all connections of earlier cases stay.
async fn idle_rows(cases: &[&IdleCase], servers: &[&Server], count: usize) -> Result<Vec<IdleRow>, String> {
    let mut rows: Vec<IdleRow> = cases.iter().map(|case| empty_row(case)).collect();
    for server in servers {
        let mut held: Vec<Connection> = Vec::new();
        for (case, row) in cases.iter().zip(&mut rows) {
            let said = |error: String| format!("idle connections of {} over {}: {error}", server.name, case.name);
            let Some(client) = server.client(Protocol::H1, case.secure, cases::IDLE_BYTES).await? else {
                row.absent = Some(format!("{} has no listener for it", server.name));
                continue;
            };
            idle::touch(&client).await.map_err(said)?;
            let before_bytes = idle::resident(&server.pids).await.map_err(said)?;
            held.extend(idle::hold(&client, count).await.map_err(said)?);
            let after_bytes = idle::resident(&server.pids).await.map_err(said)?;
            idle::are_open(&mut held).map_err(said)?;
            row.sides.push(IdleSide { name: server.name.to_owned(), connections: count as u64, before_bytes, after_bytes });
        }
    }
    Ok(rows)
}

fn empty_row(case: &IdleCase) -> IdleRow {
    IdleRow { id: case.id.to_owned(), name: case.name.to_owned(), bound_bytes: case.bound_bytes, absent: None, sides: Vec::new() }
}
