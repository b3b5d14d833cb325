//! The generator: connections whose streams each ask, read the whole answer, check it, and ask again (closed loop).
//!
//! Owns the streams. What every body must be is shared between them; the lock of a shared connection covers who replaces it when it has
//! ended. Knows nothing of what is behind the address.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Request;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use tokio::sync::{Barrier, Mutex};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use crate::check::{Digest, Expected, is_hit};
use crate::client::{Client, Connection, Protocol, Unanswered};
use crate::report::{Report, Tally};

/// The most connections of one run.
pub const CONNECTIONS_MAX: usize = 10_000;
/// The most streams of one connection; what a server allows less waits in the client.
pub const STREAMS_MAX: usize = 1_000;
/// The most requests at once, all connections together.
pub const AT_ONCE_MAX: usize = 100_000;
/// The longest run, in seconds: one day.
pub const SECONDS_MAX: u64 = 86_400;
/// How long one answer may take to its last octet, in seconds.
const ANSWER_TIMEOUT_S: u64 = 120;
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
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask, and how.
    pub client: Client,
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
        match self.until {
            Until::Requests(0) => Err("0 requests measure nothing, 1 is the least".to_owned()),
            Until::Elapsed(elapsed) if elapsed.is_zero() || elapsed > Duration::from_secs(SECONDS_MAX) => {
                Err(format!("{elapsed:?} is not above 0 and at most {SECONDS_MAX} s"))
            }
            _ => Ok(()),
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
    /// The request, where it is the same every time.
    request: Request<()>,
    /// Makes the unseen names of this run differ from those of others.
    mark: String,
    unseen: AtomicU64,
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
}

/// Runs a plan.
///
/// # Errors
/// A sentence: the plan is out of bounds, or the target cannot be connected to.
pub async fn run(plan: Plan) -> Result<Report, String> {
    let until = plan.until;
    open(plan).await?.ask(until).await
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
    plan.check()?;
    let connections = plan.workers(plan.until).div_ceil(plan.streams);
    let mut lines = Vec::with_capacity(connections);
    for _ in 0..connections {
        lines.push(Arc::new(Line::open(plan.client.clone()).await?));
    }
    let expected = Expected::new(plan.expected);
    let request = plan.client.request(&plan.client.target().path)?;
    let shared = Arc::new(Shared { plan, expected, request, mark: mark(), unseen: AtomicU64::new(0) });
    Ok(Ready { shared, lines })
}

impl Ready {
    /// Asks over the connections, until then; they are there for another time.
    ///
    /// # Errors
    /// A sentence: the generator itself failed.
    pub async fn ask(&self, until: Until) -> Result<Report, String> {
        let streams = self.shared.plan.streams;
        let workers = self.shared.plan.workers(until).min(self.lines.len() * streams);
        let pass = Arc::new(Pass { until, workers, ready: Barrier::new(workers + 1) });
        let mut running = JoinSet::new();
        for index in 0..workers {
            running.spawn(worker(Arc::clone(&self.shared), Arc::clone(&pass), Arc::clone(&self.lines[index / streams]), index));
        }
        pass.ready.wait().await;
        let begun = Instant::now();
        let mut tally = Tally::new()?;
        while let Some(ended) = running.join_next().await {
            tally.add(ended.map_err(|error| format!("a connection's task failed: {error}"))??);
        }
        Ok(tally.report(begun.elapsed()))
    }
}

/// A word that no other run has used.
#[must_use]
pub fn mark() -> String {
    let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", std::process::id(), begun.as_nanos())
}

/// A connection and the ones that come after it when it has ended, shared by its streams.
struct Line {
    client: Client,
    current: Mutex<(u64, Option<Connection>)>,
}

/// A connection with its number on its line, from 1.
type Numbered = (u64, Connection);

impl Line {
    async fn open(client: Client) -> Result<Self, String> {
        let connection = client.connect().await?;
        Ok(Self { client, current: Mutex::new((1, Some(connection))) })
    }

    /// The connection after number `used`, which the caller found no good; 0 for the first.
    async fn after(&self, used: u64) -> Result<Numbered, String> {
        let mut current = self.current.lock().await;
        let (number, connection) = &mut *current;
        if *number <= used || connection.as_mut().is_none_or(Connection::is_closed) {
            *connection = Some(self.client.connect().await?);
            *number += 1;
        }
        let connection = match connection.as_ref().and_then(Connection::share) {
            Some(shared) => Some(shared),
            None => connection.take(),
        };
        connection.map(|connection| (*number, connection)).ok_or_else(|| "the connection is gone".to_owned())
    }

    /// Keeps a connection that is still good for whoever comes next.
    async fn give_back(&self, number: u64, connection: Connection) {
        let mut current = self.current.lock().await;
        if current.0 == number && current.1.is_none() {
            current.1 = Some(connection);
        }
    }
}

/// Waits for answers, each for [`ANSWER_TIMEOUT_S`], with one timer that is set anew only when it rings: to set it for every request would cost the
/// generator more than to look at it.
struct Patience(Pin<Box<Sleep>>);

impl Patience {
    const TIMEOUT: Duration = Duration::from_secs(ANSWER_TIMEOUT_S);

    fn new() -> Self {
        Self(Box::pin(sleep(Self::TIMEOUT)))
    }

    /// What comes of `asking`; none when it takes too long.
    async fn wait<T>(&mut self, asking: impl Future<Output = T>) -> Option<T> {
        let due = tokio::time::Instant::now() + Self::TIMEOUT;
        let mut asking = pin!(asking);
        poll_fn(|context| {
            if let Poll::Ready(answer) = asking.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            while self.0.as_mut().poll(context).is_ready() {
                if self.0.deadline() >= due {
                    return Poll::Ready(None);
                }
                self.0.as_mut().reset(due);
            }
            Poll::Pending
        })
        .await
    }
}

async fn worker(shared: Arc<Shared>, pass: Arc<Pass>, line: Arc<Line>, index: usize) -> Result<Tally, String> {
    let mut tally = Tally::new()?;
    let (mut left, deadline) = match pass.until {
        Until::Requests(requests) => {
            let (index, workers) = (index as u64, pass.workers as u64);
            (requests / workers + u64::from(index < requests % workers), None)
        }
        Until::Elapsed(elapsed) => (u64::MAX, Some(elapsed)),
    };
    let (mut used, mut open) = (0, None);
    let (mut failures, mut patience) = (0, Patience::new());
    pass.ready.wait().await;
    let begun = Instant::now();
    while left > 0 && deadline.is_none_or(|deadline| begun.elapsed() < deadline) && failures < FAILURES_IN_A_ROW_MAX {
        left -= 1;
        let connected = match open.take() {
            Some(connection) => Ok((used, connection)),
            None => line.after(used).await,
        };
        let outcome = match connected {
            Ok((number, mut connection)) => {
                used = number;
                let asked = patience.wait(ask(&shared, &mut connection, &mut tally)).await;
                let outcome = asked.unwrap_or_else(|| Err(format!("no whole answer within {ANSWER_TIMEOUT_S} s").into()));
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
                left += 1;
                if failures + 1 == FAILURES_IN_A_ROW_MAX {
                    tally.error(error.to_string());
                }
                failures + 1
            }
            Err(Unanswered::Failed(error)) => {
                tally.error(error);
                failures + 1
            }
        };
    }
    if let Some(connection) = open {
        line.give_back(used, connection).await;
    }
    Ok(tally)
}

/// One request and its whole answer.
async fn ask(shared: &Shared, connection: &mut Connection, tally: &mut Tally) -> Result<(), Unanswered> {
    let request = match shared.plan.objects {
        Objects::Same => shared.request.clone(),
        Objects::Unseen => shared.plan.client.request(&unseen(shared))?,
    };
    let mut check = shared.expected.check();
    let begun = Instant::now();
    let head = connection.ask(request, |part| check.take(part)).await?;
    let octets = check.octets();
    tally.answer(head.status.as_u16(), begun.elapsed(), octets, is_hit(&head.headers));
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced != octets) {
        tally.wrong_body(format!("a body has {octets} octets where Content-Length says {}", announced.unwrap_or_default()));
    } else if head.status.is_success()
        && let Err(wrong) = check.finish()
    {
        tally.wrong_body(wrong);
    }
    Ok(())
}

fn unseen(shared: &Shared) -> PathAndQuery {
    shared.plan.client.target().unseen(&shared.mark, shared.unseen.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_time() {
        let mut patience = Patience::new();
        for _ in 0..3 {
            let late = tokio::time::timeout(Patience::TIMEOUT - Duration::from_secs(1), std::future::pending::<()>());
            assert!(patience.wait(late).await.is_some());
        }
        let begun = tokio::time::Instant::now();
        assert_eq!(patience.wait(std::future::pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Patience::TIMEOUT);
    }
}
