//! The purge log: what it takes of whom, how long it keeps it, and what it knows of the nodes' words.

use std::time::SystemTime;

use http::{Method, StatusCode};
use serde_json::json;
use skerry_agent::Role;

use super::house::{House, TestNode, eventually};
use crate::clock;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_purges_too_much_is_told_when_to_come_again() {
    let house = House::start_with(|settings| (settings.purges.rate, settings.purges.burst) = (1, 1_000)).await;
    let tags = |count| json!({"tags": vec!["t"; count]});
    assert_eq!(house.post("/v1/purges", tags(997)).await.status, StatusCode::ACCEPTED);
    let refused = house.post("/v1/purges", tags(10)).await;
    assert_eq!(
        (refused.status, refused.headers["content-type"].as_bytes()),
        (StatusCode::TOO_MANY_REQUESTS, &b"application/problem+json"[..])
    );
    let again_in: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((5..=7).contains(&again_in), "{again_in}");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("10 entries") && detail.contains("token \"admin\"") && detail.contains("1 entries a second, 1000 at once"),
        "{detail}"
    );
    assert_eq!(house.post("/v1/purges", json!({"all": true})).await.status, StatusCode::ACCEPTED, "everything is one entry");

    let other = house.post("/v1/tokens", json!({"kind": "api", "name": "other"})).await.json()["token"].as_str().unwrap().to_owned();
    let request = house.request(Method::POST, "/v1/purges");
    let mut request = request.header("content-type", "application/json");
    request.headers_mut().unwrap().insert("authorization", format!("Bearer {other}").parse().unwrap());
    assert_eq!(house.send(request, tags(10).to_string()).await.status, StatusCode::ACCEPTED, "each token has its own");
    assert_eq!(house.get("/v1/purges").await.json()["newest"], 3);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_when_each_node_confirmed_and_how_long_its_purges_take() {
    let house = House::start().await;
    let before = clock::text(SystemTime::now());
    let _shield = house.node(Role::Shield, "shield-1").await;
    let _edge = house.node(Role::Edge, "edge-1").await;
    for seq in 1..=3 {
        assert_eq!(house.post("/v1/purges?wait=5s", json!({"tags": ["a"]})).await.json()["seq"], seq);
    }
    let view = house.get("/v1/purges/2").await.json();
    for node in ["edge-1", "shield-1"] {
        let (at, after) = (view["times"][node]["at"].as_str().unwrap(), view["times"][node]["after_ms"].as_f64().unwrap());
        assert!(at >= before.as_str() && at <= clock::now().as_str() && at.len() == before.len(), "{before} {at}");
        assert!(after > 0.0 && after < 5_000.0, "{after}");
    }
    assert!(view["times"]["shield-1"]["after_ms"].as_f64() < view["times"]["edge-1"]["after_ms"].as_f64(), "{view:#}");

    let log = house.get("/v1/purges").await.json();
    assert_eq!((&log["oldest"], &log["newest"], &log["released"]), (&json!(1), &json!(3), &json!(3)));
    let edge = &log["nodes"][0];
    assert_eq!(
        (&edge["name"], &edge["seq"], &edge["behind"], &edge["applied"]["count"]),
        (&json!("edge-1"), &json!(3), &json!(0), &json!(3))
    );
    let of = |name: &str| edge["applied"][name].as_f64().unwrap();
    assert!(0.0 < of("p50_ms") && of("p50_ms") <= of("p99_ms") && of("p99_ms") <= of("max_ms"), "{edge:#}");

    // What was confirmed before is known, and when it was is not.
    let house = house.restart(|_| {}).await;
    house.connected("edge-1").await;
    house.connected("shield-1").await;
    let view = house.get("/v1/purges/2").await.json();
    assert_eq!((&view["nodes"]["acked"], &view["times"]), (&json!(["edge-1", "shield-1"]), &json!({})));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_older_than_the_log_drops_everything() {
    let house = House::start_with(|settings| settings.purges.keep = 3).await;
    let mut node = house.node(Role::Edge, "edge-1").await;
    let purge = async || house.post("/v1/purges", json!({"tags": ["a"]})).await.json()["seq"].as_u64().unwrap();
    let mut newest = purge().await;
    for (missed, told, dropped) in [(3, vec![2, 3, 4], vec![]), (4, vec![], vec![8])] {
        eventually("the node has everything", async || (node.agent.purge_seq() == newest).then_some(())).await;
        let settings = node.stop().await;
        for _ in 0..missed {
            newest = purge().await;
        }
        node = TestNode::start(settings).await;
        eventually("the node has everything", async || (node.agent.purge_seq() == newest).then_some(())).await;
        assert_eq!((&*node.told.purges.lock(), &*node.told.dropped_through.lock()), (&told, &dropped), "{missed} were missed");
    }
    let log = house.get("/v1/purges").await.json();
    assert_eq!((&log["oldest"], &log["newest"]), (&json!(6), &json!(8)));
    let gone = house.get("/v1/purges/5").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(gone.text.contains("no longer in the log, which keeps the last 3"), "{gone:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_sent_at_once_reach_every_node_once_and_in_order() {
    const PURGES: u64 = 300;
    let house = House::start().await;
    let shield = house.node(Role::Shield, "shield-1").await;
    let edge = house.node(Role::Edge, "edge-1").await;
    let body = json!({"tags": ["a"]});
    let sent = (0..PURGES).map(|_| house.post("/v1/purges", body.clone()));
    let mut numbers: Vec<_> =
        futures_util::future::join_all(sent).await.iter().map(|answer| answer.json()["seq"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    let wanted: Vec<_> = (1..=PURGES).collect();
    assert_eq!(numbers, wanted);
    for node in [&shield, &edge] {
        eventually("the node has everything", async || (node.agent.purge_seq() == PURGES).then_some(())).await;
        assert_eq!(*node.told.purges.lock(), wanted);
    }
    house.stop().await;
}
