//! Side by side: our CDN and the peers that are installed before the same origin, a round of each in turn (A B A B), as a plan says.
//!
//! Servers share one core, whoever asks and the origin have another, where there are two. Owns the order of things and gives what was measured
//! as data; [`results`](crate::results) makes text and pictures of it.

mod house;
mod jobs;

use std::path::{Path, PathBuf};

pub(crate) use self::house::{Counter, Origin, Server};

use self::house::{Cores, House};
use self::jobs::{Job, jobs};
use crate::affinity;
use crate::machine::Machine;
use crate::peer::Kind;
use crate::plan::Plan;
use crate::results::{FORMAT, Measure, Results, Round, Side};
use crate::scenario::{self, Context};
use crate::stop;

/// The name of our side.
const OURS: &str = "skerry";

/// What to compare.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plans, by file.
    pub plans: Vec<PathBuf>,
    /// The `skerry` binary.
    pub skerry: PathBuf,
    /// Whom with; those that are not installed are told as absent.
    pub peers: Vec<Kind>,
    /// In place of what the plans say: how often each side is measured.
    pub rounds: Option<u32>,
    /// In place of what the plans say: how long a round is, in seconds.
    pub seconds: Option<f64>,
    /// What version control calls what is measured.
    pub revision: Option<String>,
}

/// Runs the plans one after another.
///
/// # Errors
/// A sentence, or several, one a line: plans are none, our CDN or a peer does not start, or a round of ours failed: no figures come of a run that has
/// one. A peer whose round failed is told as such.
pub async fn run(settings: &Settings) -> Result<Results, String> {
    let jobs = jobs(settings)?;
    let cores = Cores::of_this_machine()?;
    let versions = versions(settings).await?;
    let mut measures = Vec::with_capacity(jobs.len());
    for job in &jobs {
        measures.push(measure(settings, job, cores).await.map_err(|why| format!("{}: {why}", job.name))?);
    }
    Ok(Results {
        format: FORMAT,
        made: httpdate::fmt_http_date(std::time::SystemTime::now()),
        machine: Machine::this(),
        versions,
        revision: settings.revision.clone(),
        server_core: cores.server,
        generator_core: cores.generator,
        measures,
    })
}

async fn versions(settings: &Settings) -> Result<Vec<String>, String> {
    let output = tokio::process::Command::new(&settings.skerry).arg("--version").output().await;
    let output = output.map_err(|error| format!("cannot run {}: {error}", settings.skerry.display()))?;
    let mut versions = vec![String::from_utf8_lossy(&output.stdout).trim().to_owned()];
    for kind in settings.peers.iter().filter(|kind| kind.is_installed()) {
        versions.push(kind.version().await?);
    }
    versions.push(format!("skerry-loadtest {}", env!("CARGO_PKG_VERSION")));
    Ok(versions)
}

async fn measure(settings: &Settings, job: &Job, cores: Cores) -> Result<Measure, String> {
    let Job { name, folder, plan } = job;
    let asked = plan.asked(folder)?;
    let installed: Vec<Kind> = settings.peers.iter().copied().filter(|kind| kind.is_installed()).collect();
    let house = House::start(plan, &settings.skerry, &installed, cores).await?;
    // Whatever ends the measuring, what was started is ended after it.
    let sides = tokio::select! {
        sides = in_turn(&house, folder, plan, cores) => sides,
        signal = stop::asked() => Err(format!("stopped by {signal}")),
    };
    house.stop().await;
    let mut sides = sides?;
    for kind in settings.peers.iter().filter(|kind| !kind.is_installed()) {
        let absent = Some(format!("not installed (package {})", kind.package()));
        sides.push(Side { name: kind.to_string(), rounds: Vec::new(), absent, failed: None });
    }
    let mut notes = Vec::new();
    if cores.server.is_none() {
        notes.push("Server and generator share the only core of this machine.".to_owned());
    }
    Ok(Measure { plan: name.clone(), what: plan.what.clone(), load: plan.load_words(), asked, sides, notes, bounds: plan.bounds.clone() })
}

/// A round of each side that can be asked so, again and again. What comes before the first is not counted: a process grows into its load, which costs
/// it more than to be there.
async fn in_turn(house: &House, folder: &Path, plan: &Plan, cores: Cores) -> Result<Vec<Side>, String> {
    let _held = cores.generator.map(|core| affinity::pin(&[std::process::id()], core)).transpose()?;
    let side = |server: &Server| Side { name: server.name.clone(), rounds: Vec::new(), absent: absent(plan, server), failed: None };
    let mut sides: Vec<Side> = house.servers.iter().map(side).collect();
    if let Some(why) = sides.iter().find(|side| side.name == OURS).and_then(Side::missing) {
        return Err(format!("{OURS} {why}"));
    }
    for number in 0..=u64::from(plan.rounds) {
        let called = if number == 0 { "warm-up".to_owned() } else { format!("round {number}") };
        for (server, side) in house.servers.iter().zip(&mut sides).filter(|(_, side)| side.missing().is_none()) {
            match round(house, folder, plan, server, number).await {
                Ok(_) if number == 0 => {}
                Ok(round) => side.rounds.push(round),
                Err(why) if server.name == OURS => return Err(format!("{}, {called}: {why}", server.name)),
                // What it did in the rounds before is no measure of a server that answers wrongly or too late.
                Err(why) => {
                    side.failed = Some(format!("{called}: {why}"));
                    side.rounds.clear();
                }
            }
        }
    }
    Ok(sides)
}

/// Why a side cannot be asked so, if it cannot.
fn absent(plan: &Plan, server: &Server) -> Option<String> {
    match (&server.clients, plan.purge, &server.purges) {
        (Err(why), ..) => Some(why.clone()),
        (Ok(_), Some(_), None) => Some("it has no purge by tag".to_owned()),
        _ => None,
    }
}

async fn round(house: &House, folder: &Path, plan: &Plan, server: &Server, number: u64) -> Result<Round, String> {
    let clients = server.clients.as_ref().map_err(Clone::clone)?;
    scenario::round(&Context { plan, folder, server, clients, origin: &house.origin, number }).await
}
