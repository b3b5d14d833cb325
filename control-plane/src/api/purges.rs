//! `/v1/purges`.

use std::time::Duration;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use skerry_config::purge::Targets;
use skerry_config::units::Period;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Author, Json, Params, Place};
use super::problem::Problem;
use crate::auth::{Grant, purging};
use crate::events::Event;
use crate::health::Confirmations;
use crate::purges;
use crate::refusal::Refusal;

/// The longest a client may wait for confirmations.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Answer when all connected nodes have confirmed, at the latest after this time: `5s`, at most `60s`. Without it the answer comes at once.
    #[param(value_type = Option<String>)]
    wait: Option<Period>,
}

/// Who has confirmed.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodesView {
    /// Nodes on which the purge is in force.
    acked: Vec<String>,
    /// Connected nodes that have not confirmed yet.
    pending: Vec<String>,
    /// Nodes that are not connected; they apply the purge when they are back, before anything else.
    away: Vec<String>,
}

/// A purge that was accepted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Its number.
    seq: u64,
    /// Who has confirmed it.
    nodes: NodesView,
}

/// A purge.
#[derive(Serialize, ToSchema)]
pub(crate) struct PurgeView {
    /// Its number.
    seq: u64,
    /// When it was accepted.
    at: String,
    /// The name of the token.
    author: String,
    /// What is purged.
    #[schema(value_type = Object)]
    targets: Value,
    /// Who has confirmed it.
    nodes: NodesView,
}

/// Purges. The answer comes when the purge is numbered and on disk: it will be in force on every node, shields first.
#[utoipa::path(post, path = "/v1/purges", tag = "purges", params(Wait), request_body(content = ref("#/components/schemas/Targets"), content_type = "application/json"),
    responses((status = 202, body = Accepted)))]
pub(crate) async fn make(
    State(api): State<Api>,
    Params(Wait { wait }): Params<Wait>,
    Extension(author): Extension<Author>,
    Extension(grant): Extension<Grant>,
    Json(targets): Json<Targets>,
) -> Result<(StatusCode, Answer<Accepted>), Problem> {
    let wait = wait.map_or(Duration::ZERO, |wait| wait.0);
    if wait > WAIT_MAX {
        return Err(Refusal::Malformed(format!("wait is longer than {} s; wait at most so long", WAIT_MAX.as_secs())).into());
    }
    purges::check(&targets).map_err(|faults| Refusal::Faulty("the purge has faults".to_owned(), faults))?;
    let plane = &api.plane;
    purging::demand(&grant, &targets, &plane.intent.state())?;
    let seq = plane.purges.append(targets, &author.0).await?;
    plane.figures.purges.inc();
    plane.events.tell(Event::Purge { seq });
    let confirmations = wait_for(&api, seq, wait).await;
    Ok((StatusCode::ACCEPTED, Answer(Accepted { seq, nodes: confirmations.into() })))
}

/// One purge, and who has confirmed it. The last 100000 are kept.
#[utoipa::path(get, path = "/v1/purges/{seq}", tag = "purges", params(("seq" = u64, Path, description = "The purge's number")),
    responses((status = 200, body = PurgeView)))]
pub(crate) async fn read(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Place(seq): Place<u64>,
) -> Result<Answer<PurgeView>, Problem> {
    let plane = &api.plane;
    let entry = plane.purges.get(seq).await?;
    let unreadable = |error| Refusal::Broken(format!("purge {seq} cannot be read: {error}"));
    purging::demand(&grant, &serde_json::from_slice(&entry.targets).map_err(unreadable)?, &plane.intent.state())?;
    let targets = serde_json::from_slice(&entry.targets).map_err(unreadable)?;
    let nodes = plane.health.confirmations(&plane.intent.state(), seq).into();
    Ok(Answer(PurgeView { seq, at: entry.at.clone(), author: entry.author.clone(), targets, nodes }))
}

/// Waits until every connected node has confirmed, at most so long.
async fn wait_for(api: &Api, seq: u64, wait: Duration) -> Confirmations {
    let plane = &api.plane;
    let deadline = tokio::time::Instant::now() + wait;
    let mut moves = plane.health.moves();
    loop {
        moves.mark_unchanged();
        let confirmations = plane.health.confirmations(&plane.intent.state(), seq);
        if confirmations.pending.is_empty() || wait.is_zero() {
            return confirmations;
        }
        tokio::select! {
            _ = moves.changed() => {}
            () = tokio::time::sleep_until(deadline) => return plane.health.confirmations(&plane.intent.state(), seq),
            () = skerry_agent::stopped(api.stop.clone()) => return confirmations,
        }
    }
}

impl From<Confirmations> for NodesView {
    fn from(Confirmations { acked, pending, away }: Confirmations) -> Self {
        Self { acked, pending, away }
    }
}
