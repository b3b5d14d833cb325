//! A plan: what is asked for, how, and how often, as a file says it.
//!
//! Owns reading and checking; all faults are told at once. Runs nothing.

mod asked;
mod check;
pub(crate) mod faults;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arrivals::Arrivals;
use crate::bound::Bound;
use crate::client::Protocol;
use crate::draw::{self, Sizes};
use crate::drive::ANSWER_TIMEOUT;
use crate::object::Kind;
use crate::{file, scenario, settings};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Objects that are stored.
    Hit,
    /// Objects that nobody has asked for.
    Miss,
    /// Popular and less popular objects, of which some make room for new ones.
    Mixed,
    /// Many clients at once for one object that nobody has asked for.
    Herd,
    /// Viewers of a live stream (HLS), who arrive one after another and follow its playlist.
    Live,
    /// Large files, taken in several goes.
    Download,
    /// Hits while their tags are purged, with a proof that nothing purged is served.
    PurgeStorm,
    /// Misses of an origin that takes its time.
    SlowOrigin,
    /// Hits while many clients read slowly.
    SlowClients,
}

impl Scenario {
    /// The name that a plan has it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Mixed => "mixed",
            Self::Herd => "herd",
            Self::Live => "live",
            Self::Download => "download",
            Self::PurgeStorm => "purge-storm",
            Self::SlowOrigin => "slow-origin",
            Self::SlowClients => "slow-clients",
        }
    }

    /// The names of the figures that only some scenarios have, and this one may have.
    pub fn figures(self) -> impl Iterator<Item = &'static str> {
        scenario::figures(self)
    }
}

/// A plan.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What is measured.
    pub scenario: Scenario,
    /// The same in a sentence, for who reads the report.
    pub what: String,
    /// How often each side is measured, in turn: 1 to [`ROUNDS_MAX`].
    #[serde(default = "default_rounds")]
    pub rounds: u32,
    /// How many edges there are of ours: 1 to [`EDGES_MAX`].
    #[serde(default = "default_edges")]
    pub edges: u32,
    /// How many shields there are of ours: 0 to [`SHIELDS_MAX`]; with none the edges ask the origin themselves.
    #[serde(default = "default_shields")]
    pub shields: u32,
    /// How it is asked.
    #[serde(default)]
    pub load: Load,
    /// What for.
    #[serde(default)]
    pub objects: Objects,
    /// How the origin behaves.
    #[serde(default)]
    pub origin: Origin,
    /// For `herd`.
    pub herd: Option<Herd>,
    /// For `live`.
    pub live: Option<Live>,
    /// For `download`.
    pub download: Option<Download>,
    /// For `purge-storm`.
    pub purge: Option<Purge>,
    /// For `slow-clients`.
    pub slow: Option<Slow>,
    /// What the figures of the first side must keep beside those of another.
    #[serde(default)]
    pub bounds: Vec<Bound>,
}

/// The most rounds of a plan.
pub const ROUNDS_MAX: u32 = 99;
/// Open files of a server beside those of connections.
const FILES_BESIDE: u64 = 256;
/// How long slow readers may take until all of them read, in seconds.
pub const SLOW_GATHER_MAX_S: u64 = 60;
/// The most edges of a plan.
pub const EDGES_MAX: u32 = 8;
/// The most shields of a plan.
pub const SHIELDS_MAX: u32 = 8;

/// The scenarios that have a command of their own.
const OTHER_COMMANDS: [&str; 3] = ["nodes", "steering", "soak"];
/// The longest file of lengths, in bytes: some 40 for each line that it may have.
const SIZES_BYTES_MAX: u64 = 4 << 20;

const fn default_rounds() -> u32 {
    3
}

const fn default_edges() -> u32 {
    1
}

const fn default_shields() -> u32 {
    1
}

/// How it is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// `h1`, `h2` or `h3`.
    pub protocol: String,
    /// Whether over TLS 1.3; always with `h3`.
    pub tls: bool,
    /// How many connections.
    pub connections: usize,
    /// How many requests at once on each.
    pub streams: usize,
    /// `closed`, `constant` or `poisson`.
    pub arrivals: String,
    /// Requests a second, all connections together; for an open loop.
    pub rate: Option<f64>,
    /// How long a round takes.
    pub seconds: f64,
    /// How long one answer may take to its last octet, in seconds.
    pub answer_s: u64,
}

impl Default for Load {
    fn default() -> Self {
        let (protocol, arrivals) = ("h1".to_owned(), "closed".to_owned());
        Self { protocol, tls: false, connections: 16, streams: 1, arrivals, rate: None, seconds: 4.0, answer_s: ANSWER_TIMEOUT.as_secs() }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objects {
    /// How many there are at one time.
    pub count: u64,
    /// The exponent of Zipf's law; 0: each as often as any other.
    pub zipf: f64,
    /// How long one is asked for before another has its place, in seconds; for ever without it.
    pub lifetime_s: Option<f64>,
    /// Their length in bytes, where all have the same.
    pub bytes: Option<u64>,
    /// Else: half of them are shorter than this, in bytes,
    pub bytes_median: Option<u64>,
    /// a hundredth is longer than this,
    pub bytes_p99: Option<u64>,
    /// and none longer than this.
    pub bytes_max: Option<u64>,
    /// Else a file, beside the plan, of lines `BYTES WEIGHT`.
    pub bytes_file: Option<PathBuf>,
    /// The share of requests for a range, from 0 to 1.
    pub ranges: f64,
    /// The longest range, in bytes.
    pub range_max: u64,
    /// The share of requests with `If-None-Match`, from 0 to 1.
    pub conditional: f64,
    /// Whether every byte of every body is compared with what the origin has; else the length alone.
    pub check: bool,
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            count: 1,
            zipf: 0.0,
            lifetime_s: None,
            bytes: None,
            bytes_median: None,
            bytes_p99: None,
            bytes_max: None,
            bytes_file: None,
            ranges: 0.0,
            range_max: 65_536,
            conditional: 0.0,
            check: true,
        }
    }
}

/// How the origin behaves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// How long it waits before each answer, in milliseconds: up to 60,000.
    pub delay_ms: u64,
}

/// Many clients at once.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Herd {
    /// How many clients.
    pub clients: usize,
    /// How many times, each for another object.
    pub herds: u32,
}

/// A live stream.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// How many viewers.
    pub viewers: usize,
    /// In what time they arrive, in seconds.
    pub arrive_s: f64,
    /// How long a segment plays, in milliseconds.
    pub segment_ms: u64,
    /// How long it is, in bytes.
    pub segment_bytes: u64,
}

/// Large files.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// How many clients, each with a file of its own rank.
    pub clients: usize,
    /// How many different files.
    pub files: u64,
    /// How long each is, in bytes.
    pub bytes: u64,
    /// How often each client breaks off and goes on where it was.
    pub breaks: u32,
}

/// Purges.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Purges a second, each of one tag.
    pub rate: f64,
}

/// Slow readers.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// How many.
    pub clients: usize,
    /// How fast each reads, in bytes a second.
    pub rate: u64,
    /// How long what each reads is, in bytes: more than it can read while all gather, within [`SLOW_GATHER_MAX_S`], and the round lasts.
    pub bytes: u64,
}

impl Plan {
    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// A sentence for each fault, one a line: the file cannot be read, is no plan, or names what cannot be done.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = file::read(path, settings::PLAN_BYTES_MAX)?;
        let wrong = |why: &str| format!("{} is no plan: {}", path.display(), why.trim_end());
        if let Some(command) = other_command(&text) {
            let path = path.display();
            return Err(format!(
                "{path} is a plan of `{command}`, which has a command of its own: skerry-loadtest {command} --plan {path}"
            ));
        }
        let plan: Self = toml::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
        plan.check(path)?;
        Ok(plan)
    }

    /// Checks a plan from a file, for who has changed it.
    ///
    /// # Errors
    /// A sentence for each fault, one a line.
    pub fn check(&self, path: &Path) -> Result<(), String> {
        let faults = self.faults(path.parent().unwrap_or(Path::new(".")));
        faults.into_result_of(&format!("{} cannot be run: ", path.display()))
    }

    /// How long a round is.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::try_from_secs_f64(self.load.seconds).unwrap_or_default()
    }

    /// How many times each side is asked, and how, in words.
    #[must_use]
    pub fn load_words(&self) -> String {
        let load = &self.load;
        let protocol = self.protocol().map_or_else(|_| load.protocol.clone(), |protocol| protocol.to_string());
        let tls = if load.tls && load.protocol != "h3" { " over TLS 1.3" } else { "" };
        let asked = match self.scenario {
            Scenario::Herd => self.herd.map_or(String::new(), |herd| format!("{} clients at once, {} times", herd.clients, herd.herds)),
            Scenario::Live => self.live.map_or(String::new(), |live| format!("{} viewers in {} s", live.viewers, live.arrive_s)),
            Scenario::Download => {
                self.download.map_or(String::new(), |download| format!("{} clients, {} bytes each", download.clients, download.bytes))
            }
            _ => {
                let arrivals = self.arrivals().map_or_else(|_| load.arrivals.clone(), Arrivals::words);
                let streams = if load.streams == 1 { String::new() } else { format!(" of {} streams", load.streams) };
                format!("{arrivals}, {} connections{streams}", load.connections)
            }
        };
        // Herds and downloads take as long as they take.
        let takes = matches!(self.scenario, Scenario::Herd | Scenario::Download);
        let each = if takes { String::new() } else { format!(" of {} s", load.seconds) };
        format!("{asked}, {protocol}{tls}, {} rounds{each}", self.rounds)
    }

    /// How many files each of its processes may have open at once: a server has a connection to the origin for every one that it answers.
    pub(crate) fn files(&self) -> u64 {
        let crowds = [
            self.herd.map_or(self.load.connections, |herd| herd.clients),
            self.live.map_or(0, |live| live.viewers),
            self.download.map_or(0, |download| download.clients),
            self.slow.map_or(0, |slow| slow.clients),
        ];
        crowds.iter().sum::<usize>() as u64 * 2 + FILES_BESIDE
    }

    /// The protocol.
    ///
    /// # Errors
    /// A sentence: it is none.
    pub fn protocol(&self) -> Result<Protocol, String> {
        self.load.protocol.parse()
    }

    /// How requests follow one another.
    ///
    /// # Errors
    /// A sentence: the two settings do not go together.
    pub fn arrivals(&self) -> Result<Arrivals, String> {
        match (self.load.arrivals.as_str(), self.load.rate) {
            ("closed", None) => Ok(Arrivals::Closed),
            ("constant", Some(rate)) => Ok(Arrivals::Constant(rate)),
            ("poisson", Some(rate)) => Ok(Arrivals::Poisson(rate)),
            ("closed", Some(_)) => {
                Err("load.rate is of no use in a closed loop: give load.arrivals = \"poisson\" or \"constant\"".to_owned())
            }
            ("constant" | "poisson", None) => Err("an open loop needs load.rate, in requests a second".to_owned()),
            (other, _) => Err(format!("load.arrivals = \"{other}\" is none of closed, constant and poisson")),
        }
    }

    /// How long objects are; `folder` is where the plan lies.
    ///
    /// # Errors
    /// A sentence: the settings do not go together, or the file cannot be read or is none.
    pub fn sizes(&self, folder: &Path) -> Result<Sizes, String> {
        let objects = &self.objects;
        match (objects.bytes, objects.bytes_median, objects.bytes_p99, objects.bytes_max, &objects.bytes_file) {
            (None, None, None, None, None) => Ok(Sizes::Fixed(1024)),
            (Some(bytes), None, None, None, None) => Ok(Sizes::Fixed(bytes)),
            (None, Some(median), Some(p99), Some(max), None) => Ok(Sizes::LogNormal { median, p99, max }),
            (None, None, None, None, Some(file)) => {
                let path = folder.join(file);
                let text = file::read(&path, SIZES_BYTES_MAX)?;
                Sizes::listed(&text).map_err(|why| format!("{}: {why}", path.display()))
            }
            _ => Err("objects have one of bytes, bytes_file, and bytes_median with bytes_p99 and bytes_max".to_owned()),
        }
    }

    /// What is drawn from.
    ///
    /// # Errors
    /// A sentence: as of [`Plan::sizes`].
    pub(crate) fn draw(&self, folder: &Path, kind: Kind, count: Option<u64>, seed: u64) -> Result<draw::Settings, String> {
        let objects = &self.objects;
        Ok(draw::Settings {
            kind,
            count,
            zipf: objects.zipf,
            lifetime: objects.lifetime_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            begins: Duration::ZERO,
            sizes: self.sizes(folder)?,
            ranges: objects.ranges,
            range_max: objects.range_max,
            conditional: objects.conditional,
            check: objects.check,
            seed,
        })
    }
}

/// The command that a plan is for, where it has one of its own.
fn other_command(text: &str) -> Option<&'static str> {
    let table: toml::Table = text.parse().ok()?;
    let named = table.get("scenario")?.as_str()?;
    OTHER_COMMANDS.into_iter().find(|command| *command == named)
}

#[cfg(test)]
mod tests;
