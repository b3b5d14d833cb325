//! The generator: connections whose streams each ask, read the whole answer, check it, and ask again, at once (closed loop) or when the next
//! request is due (open loop; then any stream that has nothing to do takes it).
//!
//! Owns the streams. What every body must be is shared between them; the lock of a shared connection covers who replaces it when it has
//! ended. Knows nothing of what is behind the address.

mod asking;
mod line;
mod patience;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use http::Request;
use parking_lot::Mutex;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use self::asking::ask;
use self::line::Line;
use self::patience::Patience;
pub use self::patience::{ANSWER_MAX, ANSWER_TIMEOUT};
use crate::arrivals::{Arrivals, Schedule};
use crate::check::{Digest, Expected};
use crate::client::{Client, Protocol, Unanswered};
use crate::draw::Draw;
use crate::machine;
use crate::progress::Progress;
use crate::report::{Planned, Report, Tally};

/// The most connections of one run.
pub const CONNECTIONS_MAX: usize = 10_000;
/// The most streams of one connection; what a server allows less waits in the client.
pub const STREAMS_MAX: usize = 1_000;
/// The most requests at once, all connections together.
pub const AT_ONCE_MAX: usize = 100_000;
/// The longest run, in seconds: one day.
pub const SECONDS_MAX: u64 = 86_400;
/// Open files beside those of the connections.
const FILES_BESIDE: u64 = 128;
/// How many tallies the streams of a run share: a tally for each would be some 300 KB for each.
const TALLIES: usize = 8;
/// How many requests in a row one stream may see fail before it gives up.
const FAILURES_IN_A_ROW_MAX: u32 = 10;

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so many requests, shared evenly between the streams.
    Requests(u64),
    /// After so long.
    Elapsed(Duration),
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// The target, again and again.
    Same,
    /// A name that nobody has asked for, every time.
    Unseen,
    /// What is drawn.
    Drawn,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask, and how.
    pub client: Client,
    /// Others of the same name that connections are shared out to beside it.
    pub others: Vec<Client>,
    /// How many connections, at most [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// How many requests at once on each of them, at most [`STREAMS_MAX`]; one over HTTP/1.1.
    pub streams: usize,
    /// How long.
    pub until: Until,
    /// What for.
    pub objects: Objects,
    /// The digest every body of a successful answer must have; without it, that of the first one.
    pub expected: Option<Digest>,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// How long one answer may take to its last octet: above 0, at most an hour.
    pub answer: Duration,
    /// Whether the progress is shown on a terminal.
    pub progress: bool,
}

impl Plan {
    fn check(&self) -> Result<(), String> {
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            return Err(format!("{} connections are not between 1 and {CONNECTIONS_MAX}", self.connections));
        }
        if self.streams == 0 || self.streams > STREAMS_MAX {
            return Err(format!("{} streams are not between 1 and {STREAMS_MAX}", self.streams));
        }
        if self.streams > 1 && self.client.protocol() == Protocol::H1 {
            return Err(format!("HTTP/1.1 has 1 stream on a connection, not {}: ask for more connections, or for h2 or h3", self.streams));
        }
        if self.connections * self.streams > AT_ONCE_MAX {
            return Err(format!("{} connections of {} streams are more than {AT_ONCE_MAX} at once", self.connections, self.streams));
        }
        if self.answer.is_zero() || self.answer > ANSWER_MAX {
            return Err(format!("{:?} for an answer is not above 0 and at most {ANSWER_MAX:?}", self.answer));
        }
        match self.until {
            Until::Requests(0) => Err("0 requests measure nothing, 1 is the least".to_owned()),
            Until::Elapsed(elapsed) if elapsed.is_zero() || elapsed > Duration::from_secs(SECONDS_MAX) => {
                Err(format!("{elapsed:?} is not above 0 and at most {SECONDS_MAX} s"))
            }
            Until::Requests(_) if self.arrivals != Arrivals::Closed => {
                Err("an open loop lasts for a time, not for a number of requests".to_owned())
            }
            Until::Elapsed(elapsed) => self.arrivals.check(elapsed),
            Until::Requests(_) => Ok(()),
        }
    }

    /// How many streams there are in all: not more than requests.
    fn workers(&self, until: Until) -> usize {
        let all = self.connections * self.streams;
        match until {
            Until::Requests(requests) => all.min(usize::try_from(requests).unwrap_or(usize::MAX)),
            Until::Elapsed(_) => all,
        }
    }
}

/// What the streams of a run share.
struct Shared {
    plan: Plan,
    expected: Expected,
    /// What is drawn from, where anything is.
    draw: Option<Arc<Draw>>,
    /// The request, where it is the same every time.
    request: Request<()>,
    /// Makes the unseen names of this run differ from those of others.
    mark: String,
    unseen: AtomicU64,
}

impl Shared {
    fn new(plan: Plan, draw: Option<Arc<Draw>>) -> Result<Self, String> {
        let expected = Expected::new(plan.expected);
        let request = plan.client.request(&plan.client.target().path)?;
        Ok(Self { plan, expected, draw, request, mark: mark(), unseen: AtomicU64::new(0) })
    }
}

/// A run whose connections stand.
pub struct Ready {
    shared: Arc<Shared>,
    lines: Vec<Arc<Line>>,
}

/// One time of asking over the connections of a run.
struct Pass {
    until: Until,
    workers: usize,
    /// All streams are there before the first request is sent.
    ready: Barrier,
    begun: OnceLock<Instant>,
    /// The requests that are due, in an open loop.
    schedule: Option<Arc<Schedule>>,
    /// Shared by the streams, so that many take little memory; the lock covers the counting of one answer.
    tallies: [Mutex<Tally>; TALLIES],
}

impl Pass {
    fn new(until: Until, workers: usize, arrivals: Arrivals) -> Result<Self, String> {
        let schedule = match until {
            Until::Elapsed(length) => Schedule::of(arrivals, length),
            Until::Requests(_) => None,
        };
        let mut tallies = Vec::with_capacity(TALLIES);
        for _ in 0..TALLIES {
            tallies.push(Mutex::new(Tally::new()?));
        }
        let tallies = tallies.try_into().map_err(|_| "the tallies have another number".to_owned())?;
        Ok(Self { until, workers, ready: Barrier::new(workers + 1), begun: OnceLock::new(), schedule, tallies })
    }

    /// How many answers have come, and how many faults.
    fn counts(&self) -> (u64, u64) {
        self.tallies
            .iter()
            .map(|tally| tally.lock())
            .fold((0, 0), |sum, tally| (sum.0 + tally.answers(), sum.1 + tally.errors + tally.wrong_bodies))
    }
}

/// Runs a plan.
///
/// # Errors
/// A sentence: the plan is out of bounds, or the target cannot be connected to.
pub async fn run(plan: Plan) -> Result<Report, String> {
    let (until, arrivals) = (plan.until, plan.arrivals);
    open(plan).await?.ask_by(until, arrivals).await
}

/// Runs a plan that must not fail.
///
/// # Errors
/// A sentence: as of [`run`], or what [`Report::failure`] says of the run.
pub async fn run_sound(plan: Plan) -> Result<Report, String> {
    run(plan).await?.sound()
}

/// Opens the connections of a plan, so that they are no part of what is measured.
///
/// # Errors
/// A sentence: the plan is out of bounds, or the target cannot be connected to.
pub async fn open(plan: Plan) -> Result<Ready, String> {
    open_drawing(plan, None).await
}

/// The same for a plan whose objects are drawn.
///
/// # Errors
/// A sentence: as of [`open`].
pub(crate) async fn open_drawing(plan: Plan, draw: Option<Arc<Draw>>) -> Result<Ready, String> {
    plan.check()?;
    if (plan.objects == Objects::Drawn) != draw.is_some() {
        return Err("objects that are drawn need something to be drawn from, and only those".to_owned());
    }
    let connections = plan.workers(plan.until).div_ceil(plan.streams);
    machine::allow_files(connections as u64 + FILES_BESIDE, &format!("{connections} connections"))?;
    let mut lines = Vec::with_capacity(connections);
    for client in std::iter::once(&plan.client).chain(&plan.others).cycle().take(connections) {
        lines.push(Arc::new(Line::open(client.clone()).await?));
    }
    Ok(Ready { shared: Arc::new(Shared::new(plan, draw)?), lines })
}

impl Ready {
    /// The same connections, for other objects that are drawn.
    ///
    /// # Errors
    /// A sentence: the target's host is none.
    pub(crate) fn drawing(&self, draw: Arc<Draw>) -> Result<Self, String> {
        let shared = Shared::new(self.shared.plan.clone(), Some(draw))?;
        Ok(Self { shared: Arc::new(shared), lines: self.lines.clone() })
    }

    /// Asks over the connections in a closed loop, until then; they are there for another time.
    ///
    /// # Errors
    /// A sentence: the generator itself failed.
    pub async fn ask(&self, until: Until) -> Result<Report, String> {
        self.ask_by(until, Arrivals::Closed).await
    }

    /// The same, with requests that follow one another in this way.
    ///
    /// # Errors
    /// A sentence: the generator itself failed.
    pub async fn ask_by(&self, until: Until, arrivals: Arrivals) -> Result<Report, String> {
        let begun = Instant::now();
        let (tally, planned) = self.counted(until, arrivals).await?;
        Ok(tally.report(begun.elapsed(), planned))
    }

    /// The same in a closed loop, for who adds the tallies of several.
    pub(crate) async fn tally(&self, until: Until) -> Result<Tally, String> {
        Ok(self.counted(until, Arrivals::Closed).await?.0)
    }

    async fn counted(&self, until: Until, arrivals: Arrivals) -> Result<(Tally, Option<Planned>), String> {
        let streams = self.shared.plan.streams;
        let workers = self.shared.plan.workers(until).min(self.lines.len() * streams);
        let pass = Arc::new(Pass::new(until, workers, arrivals)?);
        let mut running = JoinSet::new();
        for index in 0..workers {
            running.spawn(worker(Arc::clone(&self.shared), Arc::clone(&pass), Arc::clone(&self.lines[index / streams]), index));
        }
        let begun = Instant::now();
        let _ = pass.begun.set(begun);
        let _pace = pass.schedule.as_ref().map(|schedule| schedule.begin(begun, workers)).transpose()?;
        pass.ready.wait().await;
        let mut progress = Progress::new(self.shared.plan.progress);
        loop {
            tokio::select! {
                ended = running.join_next() => match ended {
                    Some(ended) => ended.map_err(|error| format!("a connection's task failed: {error}"))?,
                    None => break,
                },
                () = progress.due() => progress.show(begun.elapsed(), pass.counts()),
            }
        }
        progress.end();
        let mut sum = Tally::new()?;
        for tally in &pass.tallies {
            sum.add(&tally.lock());
        }
        let planned = match (&pass.schedule, until) {
            (Some(schedule), Until::Elapsed(length)) => Some(Planned { requests: schedule.planned(), seconds: length.as_secs_f64() }),
            _ => None,
        };
        Ok((sum, planned))
    }
}

/// A word that no other run has used.
#[must_use]
pub fn mark() -> String {
    let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", std::process::id(), begun.as_nanos())
}

/// What one stream still has to do.
enum Left {
    Requests(u64),
    Until(Duration),
    Due(Arc<Schedule>),
}

impl Left {
    fn of(pass: &Pass, index: usize) -> Self {
        match (&pass.schedule, pass.until) {
            (Some(schedule), _) => Self::Due(Arc::clone(schedule)),
            (None, Until::Elapsed(elapsed)) => Self::Until(elapsed),
            (None, Until::Requests(requests)) => {
                let (index, workers) = (index as u64, pass.workers as u64);
                Self::Requests(requests / workers + u64::from(index < requests % workers))
            }
        }
    }

    /// When the next request is to be sent: an instant, which is past if the stream was not free; none after the last.
    async fn next(&mut self, begun: Instant) -> Option<Instant> {
        match self {
            Self::Requests(left) => {
                *left = left.checked_sub(1)?;
                Some(Instant::now())
            }
            Self::Until(length) => (begun.elapsed() < *length).then(Instant::now),
            Self::Due(schedule) => Some(begun + schedule.next(begun).await?),
        }
    }
}

async fn worker(shared: Arc<Shared>, pass: Arc<Pass>, line: Arc<Line>, index: usize) {
    let tally = &pass.tallies[index % TALLIES];
    let mut left = Left::of(&pass, index);
    let (mut used, mut open) = (0, None);
    let (mut failures, mut patience) = (0, Patience::new(shared.plan.answer));
    pass.ready.wait().await;
    let begun = pass.begun.get().copied().unwrap_or_else(Instant::now);
    let mut again = None;
    while failures < FAILURES_IN_A_ROW_MAX {
        let due = match again.take() {
            Some(due) => due,
            None => match left.next(begun).await {
                Some(due) => due,
                None => break,
            },
        };
        let connected = match open.take() {
            Some(connection) => Ok((used, connection)),
            None => line.after(used).await,
        };
        let outcome = match connected {
            Ok((number, mut connection)) => {
                used = number;
                let asked = patience.wait(ask(&shared, &mut connection, tally, due, begun)).await;
                let outcome = asked.unwrap_or_else(|| Err(format!("no whole answer within {:?}", shared.plan.answer).into()));
                if outcome.is_ok() && connection.is_ready().await {
                    open = Some(connection);
                }
                outcome
            }
            Err(error) => Err(error.into()),
        };
        failures = match outcome {
            Ok(()) => 0,
            // It was no request yet; but who takes none at all is no server.
            Err(error @ Unanswered::NotTaken) => {
                again = Some(due);
                if failures + 1 == FAILURES_IN_A_ROW_MAX {
                    tally.lock().error(error.to_string());
                }
                failures + 1
            }
            Err(Unanswered::Failed(error)) => {
                tally.lock().error(error);
                failures + 1
            }
        };
    }
    if let Some(connection) = open {
        line.give_back(used, connection).await;
    }
}
