//! The scenarios: each makes one round of load on one server, checks what came, and gives what it measured.
//!
//! Owns what is asked and what is right. What is asked before the measuring begins, so that the store is warm, is no part of it.

mod asking;
mod download;
mod herd;
mod live;
mod purging;
mod slow;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::client::Client;
use crate::compare::{Origin, Server};
use crate::plan::{Plan, Scenario};
use crate::processor;
use crate::report::Report;
use crate::results::Round;

/// The share of answers, in percent, that must be what a scenario is named for: hits, or misses.
const AS_NAMED_MIN_PERCENT: u64 = 99;

/// What a round of every scenario may have among its further figures.
const FIGURES: &[&str] =
    &["origin_requests", "origin_bytes", "origin_cpu_s", "sent_late_p99_us", "generator_busy_percent", "server_busy_percent"];

/// The names of what a round of a scenario may have among its further figures.
pub(crate) fn figures(scenario: Scenario) -> impl Iterator<Item = &'static str> {
    let own = match scenario {
        Scenario::Hit | Scenario::Miss | Scenario::SlowOrigin | Scenario::Mixed => &[],
        Scenario::Herd => herd::FIGURES,
        Scenario::Live => live::FIGURES,
        Scenario::Download => download::FIGURES,
        Scenario::PurgeStorm => purging::FIGURES,
        Scenario::SlowClients => slow::FIGURES,
    };
    FIGURES.iter().chain(own).copied()
}

/// One round.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    /// Where the plan lies.
    pub(crate) folder: &'a Path,
    pub(crate) server: &'a Server,
    pub(crate) clients: &'a [Client],
    pub(crate) origin: &'a Origin,
    /// Which round, from 1.
    pub(crate) number: u64,
}

/// Makes one round.
///
/// # Errors
/// A sentence: an answer was wrong or missing, the rate was not kept, or the answers were not what the scenario is named for.
pub(crate) async fn round(context: &Context<'_>) -> Result<Round, String> {
    match context.plan.scenario {
        Scenario::Hit => asking::hits(context).await,
        Scenario::Miss | Scenario::SlowOrigin => asking::misses(context).await,
        Scenario::Mixed => asking::mixed(context).await,
        Scenario::Herd => herd::round(context).await,
        Scenario::Live => live::round(context).await,
        Scenario::Download => download::round(context).await,
        Scenario::PurgeStorm => purging::round(context).await,
        Scenario::SlowClients => slow::round(context).await,
    }
}

impl Context<'_> {
    /// Does some work and accounts for it: whose processor time it was, what memory the server had at its end, what the origin was asked.
    pub(crate) async fn accounted(&self, work: impl Future<Output = Result<Report, String>>) -> Result<Round, String> {
        let (own, pids) = (std::process::id(), &self.server.pids);
        let origin = self.origin.figures().await?;
        let origin_pids = self.origin.pids();
        let origin_used = processor::used(&origin_pids)?;
        let (server, generator, machine) = (processor::used(pids)?, processor::used(&[own])?, processor::machine()?);
        let begun = Instant::now();
        let report = work.await?.sound()?;
        let seconds = begun.elapsed().as_secs_f64();
        let server = processor::used(pids)?.saturating_sub(server);
        let generator = processor::used(&[own])?.saturating_sub(generator);
        let machine = processor::machine()?.saturating_sub(machine);
        let origin_used = processor::used(&origin_pids)?.saturating_sub(origin_used);
        let after = self.origin.figures().await?;
        let mut further = BTreeMap::new();
        further.insert("origin_requests".to_owned(), (after.requests - origin.requests) as f64);
        further.insert("origin_bytes".to_owned(), (after.octets - origin.octets) as f64);
        further.insert("origin_cpu_s".to_owned(), origin_used.as_secs_f64());
        if report.planned.is_some() {
            further.insert("sent_late_p99_us".to_owned(), report.sent_late_us.p99 as f64);
        }
        Ok(Round {
            seconds,
            planned: report.planned.map_or(report.answers, |planned| planned.requests),
            answers: report.answers,
            hits: report.hits,
            body_octets: report.body_octets,
            server_s: server.as_secs_f64(),
            generator_s: generator.as_secs_f64(),
            others_s: machine.saturating_sub(server + generator + origin_used).as_secs_f64(),
            memory_bytes: processor::resident(pids)?,
            latency_us: report.latency_us,
            first_byte_us: report.first_byte_us,
            histogram: report.histogram,
            further,
        })
    }

    /// Whether enough answers were hits, or were none.
    pub(crate) fn as_named(&self, round: Round, hits: bool) -> Result<Round, String> {
        let as_named = if hits { round.hits } else { round.answers - round.hits };
        if as_named * 100 < round.answers * AS_NAMED_MIN_PERCENT {
            let kind = if hits { "hits" } else { "misses" };
            return Err(format!("{as_named} of {} answers were {kind}: this is no measure of {kind}", round.answers));
        }
        Ok(round)
    }
}
