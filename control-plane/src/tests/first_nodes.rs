//! Nodes of the first stage that go away, die of a change, or are taken out of service.

use http::Method;
use serde_json::json;
use skerry_agent::Role;

use super::house::{House, TestNode, eventually, site};
use super::rollouts::{adopted, five, held_for_ever, host, over, proceed, put, stop, with_host};

/// The nodes of the present stage, once they are these.
async fn stage_of(house: &House, id: u64, nodes: &[&str]) {
    eventually(&format!("the stage of {nodes:?}"), async || {
        let rollout = house.get(&format!("/v1/rollouts/{id}")).await.json();
        let stage = rollout["stages"].as_array()?.last()?.clone();
        (stage["name"] == "node" && stage["nodes"] == json!(nodes)).then_some(())
    })
    .await;
}

/// Has a node put nothing in force until what this gives is dropped.
fn gate(node: &TestNode) -> std::sync::mpsc::Sender<()> {
    let (gate, held) = std::sync::mpsc::channel();
    *node.told.gate.lock() = Some(held);
    gate
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_node_is_waited_for_when_it_goes_away_with_a_change() {
    let house = House::start_with(held_for_ever).await;
    let node = house.node(Role::Edge, "edge-1").await;
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    let gate = gate(&node);
    let id = put(&house, &site("shop", "b.test")).await;
    stage_of(&house, id, &["edge-1"]).await;
    let told = std::sync::Arc::clone(&node.told);
    let settings = node.kill().await;
    eventually("the edge is away", async || (house.get("/v1/nodes/edge-1").await.json()["connected"] == false).then_some(())).await;
    drop(gate);
    eventually("its directory is free", async || (std::sync::Arc::strong_count(&told) == 1).then_some(())).await;
    let node = TestNode::start(settings).await;
    let rollout = adopted(&house, id, "node").await;
    assert_eq!(rollout["stages"].as_array().unwrap().len(), 1, "{rollout:#}");
    stop(house, vec![node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_takes_one_first_node_after_another_away_is_rolled_back() {
    let house = House::start_with(held_for_ever).await;
    let mut nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    // They end before they can say that they have it.
    let gates: Vec<_> = nodes.iter().map(gate).collect();
    let id = put(&house, &site("shop", "b.test")).await;
    for edge in ["edge-1", "edge-2", "edge-3"] {
        stage_of(&house, id, &[edge, "shield-1"]).await;
        nodes.remove(0).kill().await;
    }
    let rollout = over(&house, id).await;
    assert_eq!((&rollout["state"], rollout["stages"].as_array().unwrap().len()), (&json!("rolled_back"), 3), "{rollout:#}");
    let reason = rollout["sites"][0]["rolled_back"]["reason"].as_str().unwrap();
    assert!(reason.contains("3 times") && reason.contains("edge-3"), "{reason}");
    drop(gates);
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_node_that_is_removed_or_drained_is_replaced() {
    let house = House::start_with(held_for_ever).await;
    let mut nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    let id = put(&house, &site("shop", "b.test")).await;
    adopted(&house, id, "node").await;
    let gone = house.call(Method::DELETE, "/v1/nodes/edge-1", &json!({})).await;
    assert!(gone.status.is_success(), "{gone:?}");
    nodes.remove(0).stop().await;
    stage_of(&house, id, &["edge-2", "shield-1"]).await;
    house.post("/v1/nodes/shield-1/drain", json!({})).await;
    stage_of(&house, id, &["edge-2", "shield-2"]).await;
    adopted(&house, id, "node").await;
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_holds_the_first_stage_up_by_going_away_before_it_has_it_is_replaced() {
    let house = House::start_with(held_for_ever).await;
    let mut nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    let first = nodes.remove(0);
    let settings = first.stop().await;
    eventually("the edge is away", async || (house.get("/v1/nodes/edge-1").await.json()["connected"] == false).then_some(())).await;
    let id = put(&house, &site("shop", "b.test")).await;
    adopted(&house, id, "node").await;
    assert_eq!(with_host(&nodes, "shop", "b.test"), ["edge-2", "shield-1"]);
    // Who comes back in the middle gets what its stage has.
    let back = TestNode::start(settings).await;
    house.get("/v1/nodes").await;
    eventually("it is back", async || (house.get("/v1/nodes/edge-1").await.json()["connected"] == true).then_some(())).await;
    assert_eq!(host(&back, "shop").as_deref(), Some("a.test"));
    proceed(&house, id).await;
    adopted(&house, id, "region").await;
    assert_eq!(host(&back, "shop").as_deref(), Some("b.test"));
    nodes.push(back);
    stop(house, nodes).await;
}
