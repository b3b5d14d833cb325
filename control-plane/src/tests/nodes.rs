//! Joining, following, purges and their confirmations, restarts of either side.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skerry_agent::{Agent, Role};

use super::house::{House, TestNode, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_join_needs_a_token_that_is_known_fresh_unused_and_of_the_role() {
    let house = House::start().await;
    let refused = async |role, name: &str, token: Option<String>| Agent::prepare(house.node_settings(role, name, token)).await.unwrap_err();
    let good = house.join_token(Role::Edge).await;
    assert!(refused(Role::Edge, "edge-0", None).await.contains("no join token"));
    assert!(refused(Role::Edge, "edge-0", Some("nonsense".into())).await.contains("not one of the form"));
    let mut parts: Vec<&str> = good.split('.').collect();
    parts[1] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(refused(Role::Edge, "edge-0", Some(parts.join("."))).await.contains("not known here or has expired"));
    let mut parts: Vec<&str> = good.split('.').collect();
    parts[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(refused(Role::Edge, "edge-0", Some(parts.join("."))).await.contains("not this CDN's control plane"));
    assert!(refused(Role::Shield, "shield-0", Some(good.clone())).await.contains("is for a edge, not for a shield"));
    assert!(refused(Role::Edge, "Edge 0", Some(good.clone())).await.contains("is not a node's name"));

    let node = TestNode::start(house.node_settings(Role::Edge, "edge-1", Some(good.clone()))).await;
    assert_eq!(skerry_agent::identity::owner(&node.agent.identity().certificate), Some((Role::Edge, "edge-1".to_owned())));
    assert!(refused(Role::Edge, "edge-2", Some(good)).await.contains("used already"));
    let other = house.join_token(Role::Edge).await;
    let mut same_name = house.node_settings(Role::Edge, "edge-1", Some(other));
    same_name.data = house.data("elsewhere");
    assert!(Agent::prepare(same_name).await.unwrap_err().contains("remove that node first"));

    let short = house.post("/v1/tokens", json!({"kind": "join", "role": "edge", "region": "north", "ttl": "1s"})).await.json();
    let text = short["token"].as_str().unwrap().to_owned();
    eventually("the token expires", async || {
        let text = Some(text.clone());
        let prepared = Agent::prepare(house.node_settings(Role::Shield, "late", text)).await;
        prepared.unwrap_err().contains("has expired").then_some(())
    })
    .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_whose_answer_was_lost_can_be_asked_for_again() {
    let house = House::start().await;
    let token = house.join_token(Role::Edge).await;
    let settings = house.node_settings(Role::Edge, "edge-1", Some(token));
    drop(Agent::prepare(settings.clone()).await.unwrap());
    std::fs::remove_file(settings.data.join("node.crt")).unwrap();
    let node = TestNode::start(settings).await;
    house.connected("edge-1").await;
    assert!(Agent::prepare(node.settings.clone()).await.unwrap_err().contains("in use by another process"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_use_one_token_at_the_same_time_do_not_all_get_in() {
    const NODES: usize = 16;
    let house = House::start().await;
    let token = house.join_token(Role::Edge).await;
    let joins = (0..NODES).map(|number| {
        let settings = house.node_settings(Role::Edge, &format!("edge-{number}"), Some(token.clone()));
        tokio::spawn(Agent::prepare(settings))
    });
    let mut joined = 0;
    for join in joins.collect::<Vec<_>>() {
        match join.await.unwrap() {
            Ok(_) => joined += 1,
            Err(why) => assert!(why.contains("used already"), "{why}"),
        }
    }
    assert_eq!((joined, house.get("/v1/nodes").await.json()["nodes"].as_array().unwrap().len()), (1, 1));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_does_not_come_back_with_its_old_token() {
    let house = House::start().await;
    let token = house.join_token(Role::Edge).await;
    let settings = house.node_settings(Role::Edge, "edge-1", Some(token));
    drop(Agent::prepare(settings.clone()).await.unwrap());
    std::fs::remove_file(settings.data.join("node.crt")).unwrap();
    house.call(Method::DELETE, "/v1/nodes/edge-1", &json!({})).await;
    assert!(Agent::prepare(settings.clone()).await.unwrap_err().contains("was removed"));
    let fresh = house.join_token(Role::Edge).await;
    let node = TestNode::start(house.node_settings(Role::Edge, "edge-1", Some(fresh))).await;
    house.connected("edge-1").await;
    node.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_reaches_the_node_and_its_disk_and_a_refusal_is_reported() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let start = Instant::now();
    let written = house.put_site("shop", "shop.test").await.json();
    let version = written["snapshot"].as_u64().unwrap();
    eventually("the site arrives", async || (node.agent.snapshot()?.version() == version).then_some(())).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(node.agent.snapshot().unwrap().site_for_host("shop.test").is_some());
    let view = house.connected("edge-1").await;
    assert_eq!((&view["requests"], &view["hits"], &view["bytes"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!(view["region"], "north");

    *node.told.refuses.lock() = true;
    house.put_site("shop", "other.test").await;
    let refused = eventually("the refusal is reported", async || {
        let view = house.get("/v1/nodes/edge-1").await.json();
        view["refused"].is_string().then_some(view)
    })
    .await;
    assert_eq!((refused["refused"].as_str(), refused["snapshot"].as_u64()), (Some("this node is contrary"), Some(version)));
    assert_eq!(node.agent.snapshot().unwrap().version(), version);

    let settings = node.stop().await;
    let _directory = house.stop().await;
    let alone = Agent::prepare(settings).await.unwrap();
    assert_eq!(alone.snapshot().unwrap().version(), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_confirmed_by_shields_before_edges_are_sent_it() {
    let house = House::start().await;
    let shield = house.node(Role::Shield, "shield-1").await;
    let edge = house.node(Role::Edge, "edge-1").await;
    let answer = house.post("/v1/purges?wait=5s", json!({"tags": ["a"]})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json(), json!({"seq": 1, "nodes": {"acked": ["edge-1", "shield-1"], "pending": [], "away": []}}));
    assert_eq!((edge.agent.purge_seq(), shield.agent.purge_seq()), (1, 1));

    // A shield that cannot bring it to disk has not confirmed, although the purge is in force on it.
    *shield.told.cannot_settle.lock() = true;
    let answer = house.post("/v1/purges?wait=500ms", json!({"all": true, "soft": true})).await;
    assert_eq!(answer.json()["nodes"], json!({"acked": [], "pending": ["edge-1", "shield-1"], "away": []}));
    assert_eq!(
        (shield.told.purges.lock().len(), edge.told.purges.lock().len()),
        (2, 1),
        "the edge was sent a purge before the shield confirmed"
    );
    eventually("the shield's time is over", async || (edge.agent.purge_seq() == 2).then_some(())).await;
    *shield.told.cannot_settle.lock() = false;
    let view = eventually("the shield confirms", async || {
        let view = house.get("/v1/purges/2").await.json();
        (view["nodes"]["pending"] == json!([])).then_some(view)
    })
    .await;
    assert_eq!((&view["author"], &view["targets"]["soft"]), (&json!("admin"), &json!(true)));
    assert_eq!(house.get("/v1/purges/3").await.status, StatusCode::NOT_FOUND);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_restart_and_the_node_catches_up_in_order() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    assert_eq!(*node.told.dropped_through.lock(), [0], "a node without a position starts from nothing");
    house.post("/v1/purges?wait=5s", json!({"tags": ["a"]})).await;
    let house = house.restart(|_| {}).await;
    let settings = node.stop().await;
    for host in ["a", "b", "c"] {
        let answer = house.post("/v1/purges", json!({"hosts": [host]})).await.json();
        assert_eq!(answer["nodes"], json!({"acked": [], "pending": [], "away": ["edge-1"]}));
    }
    let site = house.put_site("shop", "shop.test").await.json();
    let node = TestNode::start(settings).await;
    house.connected("edge-1").await;
    eventually("missed purges", async || (node.agent.purge_seq() == 4).then_some(())).await;
    assert_eq!(*node.told.purges.lock(), [2, 3, 4]);
    assert!(node.told.dropped_through.lock().is_empty());
    assert_eq!(*node.told.snapshots.lock(), [site["snapshot"].as_u64().unwrap()]);

    let house = house.restart(|_| {}).await;
    house.connected("edge-1").await;
    assert_eq!(house.post("/v1/purges?wait=5s", json!({"all": true})).await.json()["nodes"]["acked"], json!(["edge-1"]));
    assert_eq!(*node.told.purges.lock(), [2, 3, 4, 5]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_log_drops_everything() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    house.post("/v1/purges?wait=5s", json!({"tags": ["a"]})).await;
    let settings = node.stop().await;
    let place = settings.data.join("purge.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    (json["log"], json["seq"]) = ("another".into(), 1.into());
    std::fs::write(&place, json.to_string()).unwrap();
    let node = TestNode::start(settings).await;
    eventually("everything is dropped", async || (node.agent.purge_seq() == 2).then_some(())).await;
    assert!(!node.told.dropped_through.lock().is_empty());
    house.connected("edge-1").await;
    let acked = async || house.get("/v1/purges/1").await.json()["nodes"]["acked"].clone();
    eventually("dropping everything confirms what came before", async || (acked().await == json!(["edge-1"])).then_some(())).await;

    let settings = node.stop().await;
    json["log"] = serde_json::from_slice::<Value>(&std::fs::read(&place).unwrap()).unwrap()["log"].clone();
    json["seq"] = 99.into();
    std::fs::write(&place, json.to_string()).unwrap();
    let node = TestNode::start(settings).await;
    eventually("numbers go on above the node's", async || (node.agent.purge_seq() == 100).then_some(())).await;
    assert_eq!(house.post("/v1/purges?wait=5s", json!({"tags": ["b"]})).await.json()["seq"], 101);
    house.stop().await;
}

/// A control plane with a node that knows purges 1 to 4 and a site; and the store as it was after purge 1.
async fn house_with_an_old_copy() -> (House, TestNode, Vec<u8>) {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    house.post("/v1/purges?wait=5s", json!({"tags": ["a"]})).await;
    let mut copy = Vec::new();
    let house = house.restart(|data| copy = std::fs::read(data.join("store.redb")).unwrap()).await;
    house.connected("edge-1").await;
    house.put_site("shop", "lost.test").await;
    for seq in 2..=4 {
        let answer = house.post("/v1/purges?wait=5s", json!({"tags": ["lost"]})).await.json();
        assert_eq!((&answer["seq"], &answer["nodes"]["acked"]), (&json!(seq), &json!(["edge-1"])));
    }
    house.connected("edge-1").await;
    (house, node, copy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_put_back_to_an_older_copy_purges_what_nodes_stored_meanwhile() {
    let (house, node, copy) = house_with_an_old_copy().await;
    let house = house.restart(|data| std::fs::write(data.join("store.redb"), copy).unwrap()).await;
    eventually("numbers go on above the node's", async || (node.agent.purge_seq() == 5).then_some(())).await;
    assert_eq!(node.told.dropped_through.lock().last(), Some(&5), "what was fetched under purge 4 would outlive purges 2 to 4");
    let answer = house.post("/v1/purges?wait=5s", json!({"tags": ["b"]})).await.json();
    assert_eq!(answer, json!({"seq": 6, "nodes": {"acked": ["edge-1"], "pending": [], "away": []}}));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_is_not_taken_for_one_that_knows_other_purges_of_the_same_numbers() {
    let (house, node, copy) = house_with_an_old_copy().await;
    let settings = node.stop().await;
    let house = house.restart(|data| std::fs::write(data.join("store.redb"), copy).unwrap()).await;
    let site = house.put_site("shop", "kept.test").await.json();
    for seq in 2..=5 {
        assert_eq!(house.post("/v1/purges", json!({"tags": ["kept"]})).await.json()["seq"], seq);
    }
    let node = TestNode::start(settings).await;
    assert_eq!(node.agent.snapshot().unwrap().version(), site["snapshot"].as_u64().unwrap());
    eventually("everything is dropped", async || (*node.told.dropped_through.lock() == [5]).then_some(())).await;
    let kept = async || node.agent.snapshot().unwrap().site_for_host("kept.test").is_some().then_some(());
    eventually("the configuration of the same number arrives", kept).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_cut_off_and_its_certificate_refused() {
    let house = House::start().await;
    let shield = house.node(Role::Shield, "shield-1").await;
    let edge = house.node(Role::Edge, "edge-1").await;
    let shields = async || edge.agent.snapshot().map(|snapshot| snapshot.shields().len());
    eventually("the edge knows the shield", async || (shields().await == Some(1)).then_some(())).await;
    house.post("/v1/nodes/shield-1/drain", json!({})).await;
    eventually("a drained shield is not used", async || (shields().await == Some(0)).then_some(())).await;
    house.post("/v1/nodes/shield-1/resume", json!({})).await;
    eventually("it is used again", async || (shields().await == Some(1)).then_some(())).await;

    let answer = house.call(Method::DELETE, "/v1/nodes/shield-1", &json!({})).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(house.get("/v1/nodes/shield-1").await.status, StatusCode::NOT_FOUND);
    eventually("a removed shield is not used", async || (shields().await == Some(0)).then_some(())).await;
    let settings = shield.stop().await;
    let shield = TestNode::start(settings).await;
    let answer = house.post("/v1/purges?wait=5s", json!({"all": true})).await.json();
    assert_eq!(answer["nodes"], json!({"acked": ["edge-1"], "pending": [], "away": []}));
    assert!(shield.told.purges.lock().is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_is_down_at_once() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    node.stop().await;
    let start = Instant::now();
    eventually("the node is down", async || (house.get("/v1/nodes/edge-1").await.json()["connected"] == false).then_some(())).await;
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    house.stop().await;
}
