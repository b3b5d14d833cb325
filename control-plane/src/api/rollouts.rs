//! `/v1/rollouts`.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Author, Place};
use super::problem::Problem;
use crate::rollout::{self, Rollout};

/// Rollouts that one answer lists.
const LISTED_MAX: usize = 50;

/// The last rollouts.
#[derive(Serialize, ToSchema)]
pub(crate) struct RolloutList {
    /// The newest first.
    rollouts: Vec<Rollout>,
    /// The number of the configuration that all nodes have had.
    settled: u64,
    /// The number of the newest configuration.
    snapshot: u64,
    /// The sites whose newest version is not on all nodes.
    waiting: Vec<String>,
}

/// The last 50 rollouts, and what waits for the next one.
#[utoipa::path(get, path = "/v1/rollouts", tag = "rollouts", responses((status = 200, body = RolloutList)))]
pub(crate) async fn list(State(api): State<Api>) -> Answer<RolloutList> {
    let state = api.plane.intent.state();
    let rollouts = state.rollouts.values().rev().take(LISTED_MAX).map(|rollout| Rollout::clone(rollout)).collect();
    Answer(RolloutList {
        rollouts,
        settled: state.tracks.settled.version,
        snapshot: state.snapshot,
        waiting: state.waiting.iter().cloned().collect(),
    })
}

/// One rollout; the last 200 are kept.
#[utoipa::path(get, path = "/v1/rollouts/{id}", tag = "rollouts", params(("id" = u64, Path, description = "The rollout's number")),
    responses((status = 200, body = Rollout)))]
pub(crate) async fn read(State(api): State<Api>, Place(id): Place<u64>) -> Result<Answer<Rollout>, Problem> {
    Ok(Answer(Rollout::clone(&*api.plane.intent.rollout(id)?)))
}

/// Ends a rollout that is under way: its sites are rolled back, as versions of their own.
#[utoipa::path(post, path = "/v1/rollouts/{id}/abort", tag = "rollouts", params(("id" = u64, Path, description = "The rollout's number")),
    responses((status = 200, body = Rollout)))]
pub(crate) async fn abort(
    State(api): State<Api>,
    Place(id): Place<u64>,
    Extension(author): Extension<Author>,
) -> Result<Answer<Rollout>, Problem> {
    rollout::abort(&api.plane, id, &author.0).await?;
    read(State(api), Place(id)).await
}

/// Ends the hold of the stage that is under way: the next one begins as soon as all nodes of this one have the configuration in force.
#[utoipa::path(post, path = "/v1/rollouts/{id}/proceed", tag = "rollouts", params(("id" = u64, Path, description = "The rollout's number")),
    responses((status = 200, body = Rollout)))]
pub(crate) async fn proceed(State(api): State<Api>, Place(id): Place<u64>) -> Result<Answer<Rollout>, Problem> {
    rollout::proceed(&api.plane, id).await?;
    read(State(api), Place(id)).await
}
