//! `/v1/rollouts`.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Author, Place};
use super::problem::Problem;
use crate::auth::Grant;
use crate::refusal::Refusal;
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
    /// The sites that were deleted and that nodes serve until clients have forgotten where DNS sent them; then they are among those that wait.
    lingering: Vec<String>,
}

/// A rollout, and who is behind it.
#[derive(Serialize, ToSchema)]
pub(crate) struct RolloutView {
    #[serde(flatten)]
    rollout: Rollout,
    /// Connected nodes with a configuration in force that is older than the one it brings.
    behind: usize,
}

/// The last 50 rollouts, and what waits for the next one. A token for some sites is shown those.
#[utoipa::path(get, path = "/v1/rollouts", tag = "rollouts", responses((status = 200, body = RolloutList)))]
pub(crate) async fn list(State(api): State<Api>, Extension(grant): Extension<Grant>) -> Answer<RolloutList> {
    let state = api.plane.intent.state();
    let rollouts = state.rollouts.values().rev().filter_map(|rollout| shown(rollout, &grant)).take(LISTED_MAX).collect();
    Answer(RolloutList {
        rollouts,
        settled: state.tracks.settled.version,
        snapshot: state.snapshot,
        waiting: state.waiting.iter().filter(|site| grant.covers(site)).cloned().collect(),
        lingering: state.lingering.keys().filter(|site| grant.covers(site)).cloned().collect(),
    })
}

/// One rollout; the last 200 are kept. A token for some sites is shown those.
#[utoipa::path(get, path = "/v1/rollouts/{id}", tag = "rollouts", params(("id" = u64, Path, description = "The rollout's number")),
    responses((status = 200, body = RolloutView)))]
pub(crate) async fn read(
    State(api): State<Api>,
    Place(id): Place<u64>,
    Extension(grant): Extension<Grant>,
) -> Result<Answer<RolloutView>, Problem> {
    let rollout = api.plane.intent.rollout(id)?;
    let none = || Refusal::Missing(format!("rollout {id} is of none of the token's sites"));
    let rollout = shown(&rollout, &grant).ok_or_else(none)?;
    let mut behind = 0;
    api.plane.health.each_connected(|_, _, snapshot, _| behind += usize::from(snapshot < Some(rollout.snapshot)));
    Ok(Answer(RolloutView { rollout, behind }))
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
    Ok(Answer(Rollout::clone(&*api.plane.intent.rollout(id)?)))
}

/// Ends the hold of the stage that is under way: the next one begins as soon as all nodes of this one have the configuration in force.
#[utoipa::path(post, path = "/v1/rollouts/{id}/proceed", tag = "rollouts", params(("id" = u64, Path, description = "The rollout's number")),
    responses((status = 200, body = Rollout)))]
pub(crate) async fn proceed(State(api): State<Api>, Place(id): Place<u64>) -> Result<Answer<Rollout>, Problem> {
    rollout::proceed(&api.plane, id).await?;
    Ok(Answer(Rollout::clone(&*api.plane.intent.rollout(id)?)))
}

/// What a token is shown of a rollout; nothing of one that has none of its sites.
fn shown(rollout: &Rollout, grant: &Grant) -> Option<Rollout> {
    let mut shown = rollout.clone();
    shown.sites.retain(|change| grant.covers(&change.name));
    (!shown.sites.is_empty() || grant.is_whole()).then_some(shown)
}
