//! `/v1/purges`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

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
use crate::clock;
use crate::events::Event;
use crate::purges::{self, Standing};
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
#[derive(Default, Serialize, ToSchema)]
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
    /// When they did, by node; left out are those of which that is not known any more: each node's last 256 acknowledgements are kept while the
    /// control plane runs.
    times: BTreeMap<String, AckView>,
}

/// When a node confirmed a purge.
#[derive(Serialize, ToSchema)]
pub(crate) struct AckView {
    /// The time.
    at: String,
    /// How long that was after the purge was accepted, in milliseconds; null when that was before the control plane started.
    after_ms: Option<f64>,
}

/// The purge log, and how the nodes follow it.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogView {
    /// The number of the newest purge; 0 when there never was one.
    newest: u64,
    /// The number of the oldest that is kept: a node that has not confirmed the one before it drops everything it has stored.
    oldest: u64,
    /// The number up to which edges are sent purges: shields have confirmed these, or had 2 s to.
    released: u64,
    /// The nodes, by name.
    nodes: Vec<FollowView>,
}

/// How a node follows the purge log.
#[derive(Serialize, ToSchema)]
pub(crate) struct FollowView {
    /// Its name.
    name: String,
    /// The number of the last purge it has confirmed.
    seq: u64,
    /// How many purges it has not confirmed yet.
    behind: u64,
    /// From accept to applied, of its last purges.
    applied: SpreadView,
}

/// Times from accepting a purge to a node's word that it is in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpreadView {
    /// How many purges they are of: the node's last ones, at most 256.
    count: usize,
    /// The median, in milliseconds.
    p50_ms: f64,
    /// The 99th percentile, in milliseconds.
    p99_ms: f64,
    /// The longest, in milliseconds.
    max_ms: f64,
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
    wait_for(&api, seq, wait).await;
    Ok((StatusCode::ACCEPTED, Answer(Accepted { seq, nodes: confirmations(&api, seq).0 })))
}

/// The purge log, and how the nodes follow it.
#[utoipa::path(get, path = "/v1/purges", tag = "purges", responses((status = 200, body = LogView)))]
pub(crate) async fn log(State(api): State<Api>) -> Result<Answer<LogView>, Problem> {
    let plane = &api.plane;
    let (oldest, newest) = plane.purges.bounds().await.map_err(Refusal::Broken)?;
    let state = plane.intent.state();
    let nodes = state.tiers().map(|node| &node.name).map(|name| {
        let seq = plane.health.acks.seq(name);
        FollowView { name: name.clone(), seq, behind: newest.saturating_sub(seq), applied: plane.health.acks.spread(name).into() }
    });
    Ok(Answer(LogView { newest, oldest, released: *plane.purges.releases().borrow(), nodes: nodes.collect() }))
}

/// One purge, and who has confirmed it. The last ones are kept: `purges.keep` of the control plane's settings says how many.
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
    let (nodes, since) = confirmations(&api, seq);
    let view = |at: Instant| AckView {
        at: clock::text(SystemTime::now().checked_sub(at.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)),
        after_ms: entry.accepted.map(|accepted| millis(at.saturating_duration_since(accepted))),
    };
    let times = since.into_iter().map(|(name, at)| (name, view(at))).collect();
    Ok(Answer(PurgeView { seq, at: entry.at.clone(), author: entry.author.clone(), targets, nodes, times }))
}

/// Who has confirmed a purge, and since when, as far as that is known.
fn confirmations(api: &Api, seq: u64) -> (NodesView, Vec<(String, Instant)>) {
    let state = api.plane.intent.state();
    let (mut nodes, mut times) = (NodesView::default(), Vec::new());
    for (name, standing) in api.plane.health.acks.of(seq, state.tiers().map(|node| &node.name)) {
        let list = match standing {
            Standing::Confirmed(at) => {
                times.extend(at.map(|at| (name.clone(), at)));
                &mut nodes.acked
            }
            Standing::Pending => &mut nodes.pending,
            Standing::Away => &mut nodes.away,
        };
        list.push(name.clone());
    }
    (nodes, times)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Waits until every connected node has confirmed, at most so long.
async fn wait_for(api: &Api, seq: u64, wait: Duration) {
    let mut lowest = api.plane.health.acks.lowest();
    tokio::select! {
        biased;
        // The sender is in the plane, as long as this is.
        _ = lowest.wait_for(|lowest| *lowest >= seq) => {}
        () = tokio::time::sleep(wait) => {}
        () = skerry_agent::stopped(api.stop.clone()) => {}
    }
}

impl From<purges::Spread> for SpreadView {
    fn from(purges::Spread { count, p50, p99, max }: purges::Spread) -> Self {
        Self { count, p50_ms: millis(p50), p99_ms: millis(p99), max_ms: millis(max) }
    }
}
