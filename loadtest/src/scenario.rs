//! The scenarios: each makes one round of load on one server, checks what came, and gives what it measured.
//!
//! Owns what is asked and what is right. What is asked before the measuring begins, so that the store is warm, is no part of it.

mod account;
mod asking;
mod download;
mod herd;
mod live;
mod purging;
mod slow;

use std::path::Path;

use self::account::Account;
use crate::client::Client;
use crate::compare::{Origin, Server};
use crate::plan::{Plan, Scenario};
use crate::report::Report;
use crate::results::Round;

/// The share of answers, in percent, that must be what a scenario is named for: hits, or misses.
const AS_NAMED_MIN_PERCENT: u64 = 99;

/// What a round of every scenario may have among its further figures.
const FIGURES: &[&str] = &[
    "origin_requests",
    "origin_bytes",
    "origin_cpu_s",
    "sent_late_p99_us",
    "generator_busy_percent",
    "server_busy_percent",
    "deferred_cpu_s",
    "never_at_rest",
];

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
    /// Which round, from 1; 0 is the one that is not counted.
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
    /// Does some work and accounts for it.
    pub(crate) async fn accounted(&self, work: impl Future<Output = Result<Report, String>>) -> Result<Round, String> {
        let mut account = Account::begin(self).await?;
        let report = work.await?;
        account.asked()?;
        account.settled(report).await
    }

    /// Whether enough answers were hits, or were none.
    pub(crate) fn as_named(&self, round: Round, hits: bool) -> Result<Round, String> {
        let told = round.hits.unwrap_or_default();
        let as_named = if hits { told } else { round.answers - told };
        if as_named * 100 < round.answers * AS_NAMED_MIN_PERCENT {
            let kind = if hits { "hits" } else { "misses" };
            return Err(format!("{as_named} of {} answers were {kind}: this is no measure of {kind}", round.answers));
        }
        Ok(round)
    }
}
