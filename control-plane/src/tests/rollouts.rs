//! Rollouts with real agents: stages, holds, what is taken back and what goes on, restarts in the middle.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skerry_agent::{Role, SiteFigures};
use skerry_config::process::Control;
use skerry_config::units::Period;

use super::house::{House, TestNode, eventually, site};
use super::start::answers;

/// An origin that nobody answers at; the site's content passes every check.
const BROKEN: &str = "http://127.0.0.1:1";

fn held(hold: Duration) -> impl FnOnce(&mut Control) {
    move |settings| settings.rollout.hold = Period(hold)
}

/// Until an operator says so, or a test is over.
pub(super) fn held_for_ever(settings: &mut Control) {
    held(Duration::from_secs(3_600))(settings);
}

/// Two regions: edge-1, edge-2 and shield-1 in north, edge-3 and shield-2 in south.
pub(super) async fn five(house: &House) -> Vec<TestNode> {
    let mut nodes = Vec::new();
    for (role, name, region) in [
        (Role::Edge, "edge-1", "north"),
        (Role::Edge, "edge-2", "north"),
        (Role::Edge, "edge-3", "south"),
        (Role::Shield, "shield-1", "north"),
        (Role::Shield, "shield-2", "south"),
    ] {
        nodes.push(house.node_in(role, name, region).await);
    }
    nodes
}

fn name(node: &TestNode) -> &str {
    &node.settings.name
}

/// The first host of a site on a node.
pub(super) fn host(node: &TestNode, site: &str) -> Option<String> {
    Some(node.agent.snapshot()?.site(site)?.site().hosts[0].clone())
}

/// The names of the nodes that serve a site under a host.
pub(super) fn with_host<'a>(nodes: &'a [TestNode], site: &str, wanted: &str) -> Vec<&'a str> {
    nodes.iter().filter(|node| host(node, site).as_deref() == Some(wanted)).map(name).collect()
}

/// Waits until the present stage of a rollout has this name, and all its nodes have the configuration in force.
pub(super) async fn adopted(house: &House, id: u64, stage: &str) -> Value {
    eventually(&format!("stage {stage} of rollout {id}"), async || {
        let rollout = house.get(&format!("/v1/rollouts/{id}")).await.json();
        let last = rollout["stages"].as_array()?.last()?.clone();
        (last["name"] == stage && last["adopted"].is_string()).then_some(rollout)
    })
    .await
}

pub(super) async fn over(house: &House, id: u64) -> Value {
    eventually(&format!("the end of rollout {id}"), async || {
        let rollout = house.get(&format!("/v1/rollouts/{id}")).await.json();
        rollout["ended"].is_string().then_some(rollout)
    })
    .await
}

pub(super) async fn put(house: &House, site: &Value) -> u64 {
    let answer = house.call(Method::PUT, &format!("/v1/sites/{}", site["name"].as_str().unwrap()), site).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()["rollout"].as_u64().unwrap()
}

pub(super) async fn proceed(house: &House, id: u64) {
    let answer = house.post(&format!("/v1/rollouts/{id}/proceed"), json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

/// On every node, for every site it has, so many requests more: all fail where the origin is the broken one.
fn traffic(nodes: &[TestNode]) {
    const REQUESTS: u64 = 5;
    for node in nodes {
        let Some(snapshot) = node.agent.snapshot() else { continue };
        for served in snapshot.sites() {
            let is_broken = served.site().origin.urls[0] == BROKEN;
            let mut sites = node.told.sites.lock();
            let figures: &mut SiteFigures = sites.entry(served.site().name.clone()).or_default();
            figures.misses += REQUESTS;
            figures.heads[3] += REQUESTS;
            figures.errors += if is_broken { REQUESTS } else { 0 };
        }
    }
}

/// The numbers on no node ever fell.
fn assert_rising(nodes: &[TestNode]) {
    for node in nodes {
        let numbers = node.told.snapshots.lock();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{}: {numbers:?}", name(node));
    }
}

pub(super) async fn stop(house: House, nodes: Vec<TestNode>) {
    assert_rising(&nodes);
    for node in nodes {
        node.stop().await;
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_to_one_edge_and_one_shield_then_to_their_region_then_to_all() {
    let house = House::start_with(held_for_ever).await;
    let nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    assert_eq!(with_host(&nodes, "shop", "a.test").len(), 5, "a new site is not held");

    let id = put(&house, &site("shop", "b.test")).await;
    let rollout = adopted(&house, id, "node").await;
    assert_eq!(with_host(&nodes, "shop", "b.test"), ["edge-1", "shield-1"]);
    assert_eq!((&rollout["state"], &rollout["sites"][0]["from"], &rollout["sites"][0]["to"]), (&json!("running"), &json!(1), &json!(2)));
    // What comes meanwhile waits for the next one, all of it together.
    let next = put(&house, &site("shop", "c.test")).await;
    assert_eq!((next, put(&house, &site("news", "n.test")).await), (id + 1, id + 1));
    assert!(house.get(&format!("/v1/rollouts/{next}")).await.text.contains("has not begun"));
    proceed(&house, id).await;
    adopted(&house, id, "region").await;
    assert_eq!(with_host(&nodes, "shop", "b.test"), ["edge-1", "edge-2", "shield-1"]);
    proceed(&house, id).await;
    adopted(&house, id, "all").await;
    assert_eq!(with_host(&nodes, "shop", "b.test").len(), 5);
    proceed(&house, id).await;
    assert_eq!(over(&house, id).await["state"], "done");
    adopted(&house, next, "node").await;
    assert_eq!((with_host(&nodes, "shop", "c.test").len(), with_host(&nodes, "news", "n.test").len()), (2, 2));
    let late = house.post(&format!("/v1/rollouts/{id}/proceed"), json!({})).await;
    assert_eq!((late.status, late.text.contains("is over since")), (StatusCode::CONFLICT, true), "{late:?}");
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_fares_worse_is_rolled_back_by_itself_and_the_others_of_its_rollout_go_on() {
    let house = House::start_with(held(Duration::from_secs(4))).await;
    let nodes = five(&house).await;
    for (name, host) in [("shop", "shop.test"), ("news", "news.test"), ("first", "first.test")] {
        put(&house, &site(name, host)).await;
    }
    house.settled().await;
    let id = put(&house, &site("first", "other.test")).await;
    let mut broken = site("shop", "broken.test");
    broken["origin"]["urls"] = json!([BROKEN]);
    let next = put(&house, &broken).await;
    assert_eq!(put(&house, &site("news", "better.test")).await, next);
    proceed(&house, id).await;
    let rollout = eventually("the end of both", async || {
        traffic(&nodes);
        if let Some(stage) = house.get(&format!("/v1/rollouts/{id}")).await.json()["stages"].as_array()?.last()
            && stage["hurried"] != true
        {
            house.post(&format!("/v1/rollouts/{id}/proceed"), json!({})).await;
        }
        // Nobody but the first stage ever has the broken one.
        let have: Vec<&str> = with_host(&nodes, "shop", "broken.test");
        assert!(have.iter().all(|name| ["edge-1", "shield-1"].contains(name)), "{have:?}");
        let rollout = house.get(&format!("/v1/rollouts/{next}")).await.json();
        rollout["ended"].is_string().then_some(rollout)
    })
    .await;
    assert_eq!(rollout["state"], "done", "{rollout:#}");
    let [news, shop] = rollout["sites"].as_array().unwrap().as_slice() else { panic!("{rollout:#}") };
    assert!(news["rolled_back"].is_null());
    let reason = shop["rolled_back"]["reason"].as_str().unwrap();
    assert!(reason.contains("% of") && reason.contains(" 0 % of") && reason.contains("on nodes without the change"), "{reason}");
    let version = house.get("/v1/sites/shop/versions/3").await.json();
    assert_eq!(
        (&version["author"], &version["reason"], &version["site"]["hosts"]),
        (&json!("rollout"), &json!(reason), &json!(["shop.test"]))
    );
    house.settled().await;
    for node in &nodes {
        house.connected(name(node)).await;
    }
    assert_eq!((with_host(&nodes, "shop", "shop.test").len(), with_host(&nodes, "news", "better.test").len()), (5, 5));
    let metrics = house.get("/metrics").await.text;
    assert!(metrics.contains("skerry_control_sites_rolled_back_total 1"), "{metrics}");
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_a_node_refuses_is_rolled_back() {
    let house = House::start().await;
    let nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    *nodes[0].told.refuses.lock() = true;
    let id = put(&house, &site("shop", "b.test")).await;
    let rollout = over(&house, id).await;
    assert_eq!(rollout["state"], "rolled_back", "{rollout:#}");
    assert_eq!(rollout["sites"][0]["rolled_back"]["reason"], "edge-1 refused the configuration: this node is contrary");
    assert_eq!(with_host(&nodes[..3], "shop", "b.test"), Vec::<&str>::new());
    *nodes[0].told.refuses.lock() = false;
    put(&house, &site("shop", "c.test")).await;
    house.settled().await;
    assert_eq!(with_host(&nodes, "shop", "c.test").len(), 5, "it follows on from what it has");
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_is_started_again_goes_on_where_it_was() {
    let house = House::start_with(held_for_ever).await;
    let nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    let id = put(&house, &site("shop", "b.test")).await;
    let before = adopted(&house, id, "node").await;
    let waiting = put(&house, &site("news", "n.test")).await;
    let sent = || nodes.iter().map(|node| node.told.snapshots.lock().len()).collect::<Vec<_>>();
    let known = sent();

    let house = house.restart(|_| {}).await;
    eventually("all nodes are back", async || {
        let list = house.get("/v1/nodes").await.json();
        list["nodes"].as_array()?.iter().all(|node| node["connected"] == true).then_some(())
    })
    .await;
    assert_eq!(house.get(&format!("/v1/rollouts/{id}")).await.json()["stages"], before["stages"]);
    assert_eq!(with_host(&nodes, "shop", "b.test"), ["edge-1", "shield-1"]);
    proceed(&house, id).await;
    adopted(&house, id, "region").await;
    let after = sent();
    assert_eq!((after[0], after[2], after[1]), (known[0], known[2], known[1] + 1), "who has what it should is sent nothing");
    let house = house.restart(|_| {}).await;
    proceed(&house, id).await;
    adopted(&house, id, "all").await;
    proceed(&house, id).await;
    over(&house, id).await;
    over(&house, waiting).await;
    house.settled().await;
    assert_eq!((with_host(&nodes, "shop", "b.test").len(), with_host(&nodes, "news", "n.test").len()), (5, 5));
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_goes_to_all_at_once_while_another_change_is_held() {
    let house = House::start_with(held_for_ever).await;
    let nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    put(&house, &site("news", "n.test")).await;
    house.settled().await;
    let id = put(&house, &site("shop", "b.test")).await;
    adopted(&house, id, "node").await;
    let answer = house.call(Method::PUT, "/v1/sites/news?rollout=now", &site("news", "urgent.test")).await.json();
    let now = house.get(&format!("/v1/rollouts/{}", answer["rollout"])).await.json();
    assert_eq!((&now["now"], &now["state"], &now["sites"][0]["name"]), (&json!(true), &json!("done"), &json!("news")));
    let behind = async || house.get(&format!("/v1/rollouts/{}", answer["rollout"])).await.json()["behind"].as_u64();
    eventually("nobody is behind", async || (behind().await == Some(0)).then_some(())).await;
    eventually("it is everywhere", async || (with_host(&nodes, "news", "urgent.test").len() == 5).then_some(())).await;
    assert_eq!(with_host(&nodes, "shop", "b.test"), ["edge-1", "shield-1"]);
    assert_eq!(answer["snapshot"], now["snapshot"], "all nodes have the number that was answered");
    // What is held can be hurried too, by saying it again.
    let again = house.call(Method::PUT, "/v1/sites/shop?rollout=now", &site("shop", "b.test")).await.json();
    assert_eq!((&again["changed"], again["rollout"].is_u64()), (&json!(false), true));
    eventually("so is the other", async || (with_host(&nodes, "shop", "b.test").len() == 5).then_some(())).await;
    let held = over(&house, id).await;
    assert_eq!((&held["state"], &held["sites"][0]["superseded"]), (&json!("done"), &json!(true)), "{held:#}");
    let wrong = house.call(Method::PUT, "/v1/sites/shop?rollout=soon", &site("shop", "c.test")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_rollout_leaves_what_was_settled_and_hosts_that_moved_move_back_together() {
    let house = House::start_with(held_for_ever).await;
    let nodes = five(&house).await;
    put(&house, &site("shop", "a.test")).await;
    put(&house, &site("news", "n.test")).await;
    house.settled().await;
    // The first stage of this one is held, so that the two that follow are of one rollout.
    let id = put(&house, &site("shop", "held.test")).await;
    adopted(&house, id, "node").await;
    let moved = put(&house, &site("news", "m.test")).await;
    assert_eq!(put(&house, &site("shop", "n.test")).await, moved);
    let aborted = house.post(&format!("/v1/rollouts/{id}/abort"), json!({})).await.json();
    assert_eq!(aborted["state"], "aborted", "{aborted:#}");
    let change = &aborted["sites"][0]["rolled_back"];
    assert_eq!((&change["reason"], &change["version"]), (&json!(format!("admin aborted rollout {id}")), &json!(null)), "a newer one waits");
    adopted(&house, moved, "node").await;
    assert_eq!((with_host(&nodes, "shop", "n.test").len(), with_host(&nodes, "news", "m.test").len()), (2, 2));
    let aborted = house.post(&format!("/v1/rollouts/{moved}/abort"), json!({})).await.json();
    assert_eq!((&aborted["state"], aborted["sites"].as_array().unwrap().len()), (&json!("aborted"), 2));
    house.settled().await;
    eventually("all is as it was", async || {
        (with_host(&nodes, "shop", "a.test").len() == 5 && with_host(&nodes, "news", "n.test").len() == 5).then_some(())
    })
    .await;
    assert_eq!(house.get("/v1/sites/shop").await.json()["author"], "rollout");
    stop(house, nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_first_and_dns_after_and_the_other_way_round_when_a_site_goes() {
    let house = House::start_with(|settings| settings.dns.ttl = Period::from_secs(2)).await;
    let nodes = [house.node(Role::Edge, "edge-1").await];
    put(&house, &site("shop", "a.test")).await;
    house.settled().await;
    let answered = async |name: &str| answers(house.address("dns"), &format!("{name}.cdn.test")).await;
    let one = Some(vec![[127, 0, 0, 9]]);
    eventually("the edge is answered", async || (answered("shop").await == one).then_some(())).await;

    // No node has the new site, and so none is an answer for it; the one that all have goes on.
    *nodes[0].told.refuses.lock() = true;
    let id = put(&house, &site("news", "n.test")).await;
    over(&house, id).await;
    assert_eq!((answered("news").await, answered("shop").await), (None, one.clone()), "taken back");
    let (told, asked) = (&nodes[0].told, Instant::now());
    put(&house, &site("news", "n.test")).await;
    eventually("it is in the zone, without an answer", async || {
        let answer = answered("news").await;
        assert_ne!(answer, one, "a node that does not have a site was an answer for it");
        (answer == Some(Vec::new()) || asked.elapsed() > Duration::from_secs(1)).then_some(())
    })
    .await;
    *told.refuses.lock() = false;
    put(&house, &site("news", "m.test")).await;
    eventually("its node is answered", async || (answered("news").await == one).then_some(())).await;
    assert!(host(&nodes[0], "news").is_some());

    house.settled().await;
    assert_eq!(house.call(Method::DELETE, "/v1/sites/news", &json!({})).await.status, StatusCode::NO_CONTENT);
    eventually("DNS forgets it", async || answered("news").await.is_none().then_some(())).await;
    assert!(host(&nodes[0], "news").is_some(), "the node has it still");
    // It outlives a restart.
    let house = house.restart(|_| {}).await;
    house.connected("edge-1").await;
    assert!(host(&nodes[0], "news").is_some());
    eventually("the node forgets it too", async || host(&nodes[0], "news").is_none().then_some(())).await;
    // Another site takes the host of one that was deleted at once.
    house.call(Method::DELETE, "/v1/sites/shop", &json!({})).await;
    put(&house, &site("heir", "a.test")).await;
    house.settled().await;
    assert_eq!((host(&nodes[0], "shop"), host(&nodes[0], "heir").as_deref()), (None, Some("a.test")));
    stop(house, nodes.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_sent_and_kept_as_a_change() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    put(&house, &site("shop", "a.test")).await;
    put(&house, &site("news", "n.test")).await;
    house.settled().await;
    house.connected("edge-1").await;
    let file = |name: &str| std::fs::read_to_string(house.data("edge-1").join(name)).unwrap_or_default();
    let whole = file("snapshot.json");
    put(&house, &site("shop", "b.test")).await;
    house.settled().await;
    house.connected("edge-1").await;
    assert_eq!(file("snapshot.json"), whole, "the whole was not sent");
    let lines = file("snapshot.changes");
    let last = lines.lines().last().unwrap();
    assert!(last.contains("b.test") && !last.contains("n.test"), "{last}");
    let settings = node.stop().await;
    let node = TestNode::start(settings).await;
    assert_eq!(host(&node, "shop").as_deref(), Some("b.test"), "from disk");
    house.connected("edge-1").await;
    assert_eq!(*node.told.snapshots.lock(), Vec::<u64>::new(), "it has what it should");
    node.stop().await;
    house.stop().await;
}
