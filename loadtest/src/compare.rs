//! Side by side: our CDN and the peers that are installed before the same origin, a round of each in turn (A B A B), as a plan says.
//!
//! Servers share one core, whoever asks and the origin have another, where there are two. Owns the order of things and gives what was measured
//! as data; [`results`](crate::results) makes text and pictures of it.

mod house;

use std::path::PathBuf;

pub(crate) use self::house::{Counter, Origin, Server};

use self::house::{Cores, House};
use crate::affinity;
use crate::machine::Machine;
use crate::peer::Kind;
use crate::plan::Plan;
use crate::results::{Bound, FORMAT, Measure, Results, Round, Side};
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
/// A sentence: a plan is none, our CDN does not start, or a round of either side failed: no figures come of a run that has one.
pub async fn run(settings: &Settings) -> Result<Results, String> {
    let mut plans = Vec::with_capacity(settings.plans.len());
    for path in &settings.plans {
        let mut plan = Plan::read(path)?;
        plan.rounds = settings.rounds.unwrap_or(plan.rounds);
        plan.load.seconds = settings.seconds.unwrap_or(plan.load.seconds);
        plan.check(path)?;
        plans.push((path.parent().map(PathBuf::from).unwrap_or_default(), plan));
    }
    let cores = Cores::of_this_machine()?;
    let mut measures = Vec::with_capacity(plans.len());
    for (folder, plan) in &plans {
        let name = plan.scenario.name();
        measures.push(measure(settings, folder, plan, cores).await.map_err(|why| format!("{name}: {why}"))?);
    }
    Ok(Results {
        format: FORMAT,
        made: httpdate::fmt_http_date(std::time::SystemTime::now()),
        machine: Machine::this(),
        versions: versions(settings).await?,
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

async fn measure(settings: &Settings, folder: &std::path::Path, plan: &Plan, cores: Cores) -> Result<Measure, String> {
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
        sides.push(Side { name: kind.to_string(), rounds: Vec::new(), absent });
    }
    let mut notes = Vec::new();
    if cores.server.is_none() {
        notes.push("Server and generator share the only core of this machine.".to_owned());
    }
    let bounds = plan.bounds.iter();
    let bounds = bounds.map(|bound| Bound { figure: bound.figure.clone(), against: bound.against.clone(), ratio_max: bound.ratio_max });
    Ok(Measure {
        plan: plan.scenario.name().to_owned(),
        what: plan.what.clone(),
        load: plan.load_words(),
        sides,
        notes,
        bounds: bounds.collect(),
    })
}

/// A round of each side that can be asked so, again and again.
async fn in_turn(house: &House, folder: &std::path::Path, plan: &Plan, cores: Cores) -> Result<Vec<Side>, String> {
    let _held = cores.generator.map(|core| affinity::pin(&[std::process::id()], core)).transpose()?;
    let mut sides: Vec<Side> =
        house.servers.iter().map(|server| Side { name: server.name.clone(), rounds: Vec::new(), absent: None }).collect();
    for number in 1..=u64::from(plan.rounds) {
        for (server, side) in house.servers.iter().zip(&mut sides) {
            match round(house, folder, plan, server, number).await {
                Ok(Some(round)) => side.rounds.push(round),
                Ok(None) => {}
                Err(why) if server.name == OURS => return Err(format!("{}, round {number}: {why}", server.name)),
                // A peer that cannot do it is told so; its figures of the rounds before are none.
                Err(why) => side.absent = Some(why),
            }
            if side.absent.is_none() {
                side.absent = absent(plan, server);
            }
        }
    }
    for side in sides.iter_mut().filter(|side| side.absent.is_some()) {
        side.rounds.clear();
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

async fn round(house: &House, folder: &std::path::Path, plan: &Plan, server: &Server, number: u64) -> Result<Option<Round>, String> {
    let (Ok(clients), None) = (&server.clients, absent(plan, server)) else { return Ok(None) };
    scenario::round(&Context { plan, folder, server, clients, origin: &house.origin, number }).await.map(Some)
}
