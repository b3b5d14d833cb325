//! `/v1/nodes`.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skerry_agent::Role;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Json, Place};
use super::problem::Problem;
use crate::clock;
use crate::health::Live;
use crate::intent::{Node, Steering};

/// A node.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeView {
    /// Its name.
    name: String,
    /// `edge`, `shield` or `dns`.
    role: String,
    /// Its region.
    region: String,
    /// The addresses DNS answers with (edges), or the address edges reach it by (shields).
    addresses: Vec<String>,
    /// Whether its stream stands.
    connected: bool,
    /// Whether it gets no new clients.
    drained: bool,
    /// How DNS takes it into account (edges).
    steering: Steering,
    /// The number of the configuration in force on it; null when it has said none since the control plane started.
    snapshot: Option<u64>,
    /// Why it refused a newer configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// The serial of the zone in force on it (DNS nodes); null when it has said none since the control plane started.
    zone_serial: Option<u32>,
    /// The number of the last purge it has confirmed.
    purge_seq: u64,
    /// What it should have and does not.
    behind: BehindView,
    /// Requests it has answered since it started.
    requests: u64,
    /// Those it answered from its store.
    hits: u64,
    /// Bytes of bodies it has sent.
    bytes: u64,
    /// Answers of status 500 to 599, and answers cut off, since it started.
    errors: u64,
    /// Requests in a second, in the last ten seconds.
    requests_per_second: f64,
    /// The part of these answered from its store, from 0 to 1; null when there were none.
    hit_ratio: Option<f64>,
    /// Open connections of its clients.
    connections: u64,
    /// The memory that it has, in bytes.
    memory: u64,
    /// The version of its software.
    software: String,
    /// When it last said something; null when it has not since the control plane started.
    last_seen: Option<String>,
    /// When it joined.
    joined_at: String,
    /// The certificate by which it follows.
    certificate: CertificateView,
}

/// What a node should have and does not.
#[derive(Serialize, ToSchema)]
pub(crate) struct BehindView {
    /// The number of the configuration that it should have in force.
    wanted: u64,
    /// By how many numbers the one it has is older.
    snapshots: u64,
    /// How many purges it has not confirmed.
    purges: u64,
    /// For how long it has been away or behind, in seconds; 0 when it is neither.
    seconds: f64,
    /// Whether that is longer than `alarm.behind`.
    alarm: bool,
}

/// The certificate of a node.
#[derive(Serialize, ToSchema)]
pub(crate) struct CertificateView {
    /// Its SHA-256, in hexadecimal.
    sha256: String,
    /// When it ends; null when the node joined before that was noted.
    ends_at: Option<String>,
    /// Until when it lets the node in nevertheless, for another one.
    counts_until: Option<String>,
    /// Whether another one was issued that the node has not used yet.
    renewing: bool,
}

/// All nodes.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeList {
    /// By name.
    nodes: Vec<NodeView>,
    /// The number of the configuration.
    snapshot: u64,
    /// The number of the newest purge.
    purge_seq: u64,
}

/// All nodes.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", responses((status = 200, body = NodeList)))]
pub(crate) async fn list(State(api): State<Api>) -> Answer<NodeList> {
    let state = api.plane.intent.state();
    let nodes = state.nodes.values().map(|node| view(&api, node)).collect();
    Answer(NodeList { nodes, snapshot: state.snapshot, purge_seq: api.plane.purges.head() })
}

/// One node.
#[utoipa::path(get, path = "/v1/nodes/{name}", tag = "nodes", params(("name" = String, Path, description = "The node's name")),
    responses((status = 200, body = NodeView)))]
pub(crate) async fn read(State(api): State<Api>, Place(name): Place<String>) -> Result<Answer<NodeView>, Problem> {
    Ok(Answer(view(&api, &*api.plane.intent.node(&name)?)))
}

/// Takes clients away from an edge, or edges from a shield.
#[utoipa::path(post, path = "/v1/nodes/{name}/drain", tag = "nodes", params(("name" = String, Path, description = "The node's name")),
    responses((status = 200, body = NodeView)))]
pub(crate) async fn drain(State(api): State<Api>, Place(name): Place<String>) -> Result<Answer<NodeView>, Problem> {
    api.plane.intent.drain_node(&name, true).await?;
    api.plane.events.node(&name, "drained");
    read(State(api), Place(name)).await
}

/// Undoes a drain.
#[utoipa::path(post, path = "/v1/nodes/{name}/resume", tag = "nodes", params(("name" = String, Path, description = "The node's name")),
    responses((status = 200, body = NodeView)))]
pub(crate) async fn resume(State(api): State<Api>, Place(name): Place<String>) -> Result<Answer<NodeView>, Problem> {
    api.plane.intent.drain_node(&name, false).await?;
    api.plane.events.node(&name, "resumed");
    read(State(api), Place(name)).await
}

/// How DNS is to take an edge into account; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SteeringWish {
    /// The share of the clients it would have that it is given, in percent, 0 to 100: with 0 it gets clients only while no other edge can answer.
    #[schema(maximum = 100)]
    weight: Option<u32>,
    /// What it costs beside others, in milliseconds, 0 to 1,000: it counts as so much farther away.
    #[schema(maximum = 1000)]
    cost_ms: Option<u32>,
}

/// Sets how DNS takes an edge into account.
#[utoipa::path(put, path = "/v1/nodes/{name}/steering", tag = "nodes", params(("name" = String, Path, description = "The edge's name")),
    request_body = SteeringWish, responses((status = 200, body = NodeView), (status = 404)))]
pub(crate) async fn steer(
    State(api): State<Api>,
    Place(name): Place<String>,
    Json(wish): Json<SteeringWish>,
) -> Result<Answer<NodeView>, Problem> {
    api.plane.intent.steer_node(&name, wish.weight, wish.cost_ms).await?;
    api.plane.events.node(&name, "steered");
    read(State(api), Place(name)).await
}

/// Removes a node: its stream is closed, and no node serves it by its certificates any more.
#[utoipa::path(delete, path = "/v1/nodes/{name}", tag = "nodes", params(("name" = String, Path, description = "The node's name")),
    responses((status = 204, description = "Removed")))]
pub(crate) async fn remove(State(api): State<Api>, Place(name): Place<String>) -> Result<StatusCode, Problem> {
    let history = api.plane.history.forget(&name).await?;
    // Not before: somebody else may have removed it while this waited.
    let node = api.plane.intent.node(&name)?;
    api.plane.removed.add(&node).await;
    if let Err(refusal) = api.plane.intent.remove_node(&name, &api.plane.revoked, history.changes.clone()).await {
        api.plane.removed.take_back(&node, &refusal).await;
        return Err(refusal.into());
    }
    drop(history);
    api.plane.health.forget(&name);
    api.plane.events.node(&name, "removed");
    Ok(StatusCode::NO_CONTENT)
}

impl CertificateView {
    fn of(node: &Node) -> Self {
        let issued = &node.issued;
        let time = |seconds: u64| (seconds > 0).then(|| clock::of_seconds(seconds));
        Self {
            sha256: issued.certificate.clone(),
            ends_at: time(issued.ends),
            counts_until: time(issued.counts_until),
            renewing: node.next.is_some(),
        }
    }
}

fn behind(api: &Api, node: &Node, live: &Live) -> BehindView {
    let plane = &api.plane;
    let (wanted, late) = (plane.intent.state().tracks.target(&node.name, live.snapshot).version, plane.behind.of(&node.name));
    // Of a node that has neither, none is missing.
    let missing = |head: u64, has: u64| if node.role().is_some_and(Role::is_tier) { head.saturating_sub(has) } else { 0 };
    BehindView {
        wanted,
        snapshots: missing(wanted, live.snapshot.unwrap_or(0)),
        purges: missing(plane.purges.head(), live.purge_seq),
        seconds: late.time().unwrap_or_default().as_secs_f64(),
        alarm: late.is_told(),
    }
}

fn view(api: &Api, node: &Node) -> NodeView {
    let live = api.plane.health.live(&node.name);
    let behind = behind(api, node, &live);
    let tier = node.tier_address.iter().map(ToString::to_string);
    NodeView {
        name: node.name.clone(),
        role: node.role.clone(),
        region: node.region.clone(),
        addresses: node.addresses.iter().map(ToString::to_string).chain(tier).collect(),
        connected: live.connected,
        drained: node.drained,
        steering: node.steering,
        snapshot: live.snapshot,
        refused: live.refused,
        zone_serial: live.zone,
        purge_seq: live.purge_seq,
        behind,
        requests: live.load.requests,
        hits: live.load.hits,
        bytes: live.load.bytes,
        errors: live.load.errors,
        requests_per_second: live.requests_per_second,
        hit_ratio: live.hit_ratio,
        connections: live.load.connections,
        memory: live.load.memory,
        software: live.software,
        last_seen: live.last_seen.map(clock::text),
        joined_at: node.joined_at.clone(),
        certificate: CertificateView::of(node),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use serde_json::json;
    use skerry_agent::wire::{self, HistoryEntry};
    use tokio::sync::watch;

    use super::*;
    use crate::history::tests::take;
    use crate::removed::tests::names;
    use crate::start;
    use crate::store::{Change, Redb, Store, Subject, Transaction};
    use crate::tests::settings;

    /// An API over a store that has `edge-1`, and the store.
    async fn with_a_node(data: &Path) -> (Api, Arc<dyn Store>) {
        let store: Arc<dyn Store> = Arc::new(Redb::open(&data.join("store.redb")).unwrap());
        let plane = Arc::new(start::plane(&settings(data), Arc::clone(&store), &prometheus::Registry::new()).unwrap());
        let node = json!({"name": "edge-1", "role": "edge", "region": "north", "certificate": "00".repeat(32), "token": "", "drained": false,
            "addresses": [], "tier_address": null, "joined_at": clock::now()});
        plane.intent.admit_node(serde_json::from_value(node).unwrap(), Transaction::default(), false, &plane.revoked).await.unwrap();
        (Api { plane, queried: Arc::default(), stop: watch::channel(false).1 }, store)
    }

    #[tokio::test]
    async fn a_node_goes_together_with_its_history() {
        let place = tempfile::tempdir().unwrap();
        let (api, store) = with_a_node(place.path()).await;
        let bucket = HistoryEntry { seq: 1, from: clock::unix_seconds(), ..HistoryEntry::default() };
        let report = wire::History { log: "a".to_owned(), entries: vec![bucket], ..wire::History::default() };
        take(&api.plane.history, "edge-1", report).await;
        let mut changes = store.watch(Subject::Keys("node/".to_owned()), store.revision().unwrap());
        remove(State(api), Place("edge-1".to_owned())).await.unwrap();
        let step = changes.next().await.unwrap();
        let gone = step.keys.iter().filter(|change| matches!(change, Change::Delete(_))).map(Change::key);
        let gone: Vec<_> = gone.map(|key| key.split('/').take(2).collect::<Vec<_>>().join("/")).collect();
        for key in ["node/edge-1", "history/edge-1", "history-taken/edge-1"] {
            assert!(gone.iter().any(|gone| gone == key), "{key}: {gone:?}");
        }
        assert!(store.list("history").unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_node_that_is_removed_twice_at_once_is_remembered_as_removed() {
        let place = tempfile::tempdir().unwrap();
        let (api, _store) = with_a_node(place.path()).await;
        let held = api.plane.history.forget("another").await.unwrap();
        let remove = || remove(State(api.clone()), Place("edge-1".to_owned()));
        let (one, other, ()) = tokio::join!(remove(), remove(), async { drop(held) });
        assert!(one.is_ok() && other.is_err());
        assert_eq!(names(place.path()), [("edge-1".to_owned(), false)]);
    }
}
