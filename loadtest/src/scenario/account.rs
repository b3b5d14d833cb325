//! The account of one round: whose processor time it was, what memory the server had at its end, what the origin was asked.
//!
//! It begins with the asking, of a server at rest, and ends when the server has come to rest again: what a server puts off, such as writing to disk what it has answered with, is
//! its own and not that of whoever is measured next. How busy everything was is told of the asking alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Context;
use crate::origin::Figures;
use crate::processor::{self, TICK};
use crate::report::Report;
use crate::results::Round;

/// The pause between two looks at whether a server has come to rest.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// It has when it used at most [`TICK`] in each of so many pauses in a row: who waits for its disk seems to rest for one.
const LOOKS_AT_REST: u32 = 3;
/// How long it may take to come to rest. Who has not by then is told so.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Account<'a> {
    context: &'a Context<'a>,
    /// Whether the server says of its answers what was a hit.
    tells_hits: bool,
    begun: Used,
    instant: Instant,
    asked_of_origin: Figures,
    asking: Option<Asking>,
}

/// What has been used so far.
#[derive(Clone, Copy)]
struct Used {
    server: Duration,
    generator: Duration,
    origin: Duration,
    machine: Duration,
}

impl Used {
    fn so_far(context: &Context<'_>) -> Result<Self, String> {
        Ok(Self {
            server: processor::used(&context.server.pids)?,
            generator: processor::used(&[std::process::id()])?,
            origin: processor::used(&context.origin.pids())?,
            machine: processor::machine()?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            generator: self.generator.saturating_sub(before.generator),
            origin: self.origin.saturating_sub(before.origin),
            machine: self.machine.saturating_sub(before.machine),
        }
    }
}

/// What there was to see when the last answer was in.
struct Asking {
    used: Used,
    seconds: f64,
    memory_bytes: u64,
}

impl<'a> Account<'a> {
    /// Opens it when the server rests from what was asked before: the asking begins.
    pub(super) async fn begin(context: &'a Context<'a>) -> Result<Self, String> {
        at_rest(context).await?;
        Self::open(context).await
    }

    /// Opens it at once.
    pub(super) async fn open(context: &'a Context<'a>) -> Result<Self, String> {
        let asked_of_origin = context.origin.figures().await?;
        let begun = Used::so_far(context)?;
        Ok(Self { context, tells_hits: true, begun, instant: Instant::now(), asked_of_origin, asking: None })
    }

    /// Answers are put together from several, of which none is a hit or a miss.
    pub(super) fn without_hits(mut self) -> Self {
        self.tells_hits = false;
        self
    }

    /// The asking has ended.
    pub(super) fn asked(&mut self) -> Result<(), String> {
        let seconds = self.instant.elapsed().as_secs_f64();
        let used = Used::so_far(self.context)?.since(self.begun);
        self.asking = Some(Asking { used, seconds, memory_bytes: processor::proportional(&self.context.server.pids)? });
        Ok(())
    }

    /// Waits until the server rests, and closes the account.
    pub(super) async fn settled(self, report: Report) -> Result<Round, String> {
        let Asking { used, seconds, memory_bytes } = self.asking.ok_or("a round is closed before its asking has ended")?;
        let report = report.sound()?;
        let pids = &self.context.server.pids;
        let rest = rest(async || processor::used(pids)).await?;
        let server = rest.used.saturating_sub(self.begun.server);
        let after = self.context.origin.figures().await?;
        let mut further = BTreeMap::new();
        let mut tell = |name: &str, value: f64| {
            further.insert(name.to_owned(), value);
        };
        tell("origin_requests", (after.requests - self.asked_of_origin.requests) as f64);
        tell("origin_bytes", (after.octets - self.asked_of_origin.octets) as f64);
        tell("origin_cpu_s", used.origin.as_secs_f64());
        tell("generator_busy_percent", (used.generator + used.origin).as_secs_f64() * 100.0 / seconds);
        tell("server_busy_percent", used.server.as_secs_f64() * 100.0 / seconds);
        tell("deferred_cpu_s", server.saturating_sub(used.server).as_secs_f64());
        tell("never_at_rest", f64::from(u8::from(!rest.is_at_rest)));
        if report.planned.is_some() {
            tell("sent_late_p99_us", report.sent_late_us.p99 as f64);
        }
        Ok(Round {
            seconds: report.seconds,
            planned: report.planned.map_or(report.answers, |planned| planned.requests),
            answers: report.answers,
            hits: self.tells_hits.then_some(report.hits),
            body_octets: report.body_octets,
            server_s: server.as_secs_f64(),
            generator_s: used.generator.as_secs_f64(),
            others_s: used.machine.saturating_sub(used.server + used.generator + used.origin).as_secs_f64(),
            memory_bytes,
            latency_us: report.latency_us,
            first_byte_us: report.first_byte_us,
            histogram: report.histogram,
            further,
        })
    }
}

/// Waits until the server rests, so that what it puts off is no part of what is asked next; no longer than it may take.
pub(super) async fn at_rest(context: &Context<'_>) -> Result<(), String> {
    rest(async || processor::used(&context.server.pids)).await.map(drop)
}

/// What a server had used when the waiting for its rest was over.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    used: Duration,
    is_at_rest: bool,
}

/// Waits until what `used` tells stands still, for [`SETTLE_MAX`].
async fn rest(used: impl AsyncFn() -> Result<Duration, String>) -> Result<Rest, String> {
    let begun = tokio::time::Instant::now();
    let (mut last, mut looks) = (used().await?, 0);
    while begun.elapsed() < SETTLE_MAX {
        sleep(LOOK_PAUSE).await;
        let current = used().await?;
        looks = if current <= last + TICK { looks + 1 } else { 0 };
        last = current;
        if looks == LOOKS_AT_REST {
            return Ok(Rest { used: last, is_at_rest: true });
        }
    }
    Ok(Rest { used: last, is_at_rest: false })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// What comes of a server that has used so much at each look.
    async fn rest_of(at: impl Fn(u32) -> u32) -> (Rest, Duration) {
        let looks = AtomicU32::new(0);
        let begun = tokio::time::Instant::now();
        let rest = rest(async || Ok(TICK * at(looks.fetch_add(1, Ordering::Relaxed)))).await.expect("a server");
        (rest, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_puts_off_is_waited_for() {
        let (resting, took) = rest_of(|look| look).await;
        assert_eq!((resting, took), (Rest { used: TICK * 3, is_at_rest: true }, LOOK_PAUSE * 3));
        // It writes for a second, and seems to rest for one look of it.
        let (busy, took) = rest_of(|look| if look == 5 { 4 * 5 } else { 5 * look.min(10) }).await;
        assert_eq!((busy, took), (Rest { used: TICK * 50, is_at_rest: true }, LOOK_PAUSE * 13));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_rests_is_told() {
        let (rest, took) = rest_of(|look| look * 2).await;
        assert_eq!((rest.is_at_rest, took), (false, SETTLE_MAX));
    }
}
