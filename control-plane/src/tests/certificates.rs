//! Certificates of nodes: renewed by themselves, good for a while after their end, and revoked with the node.

use std::time::Duration;

use http::Method;
use serde_json::json;
use skerry_agent::{Agent, Role, Settings};
use skerry_config::units::Period;
use skerry_transport::private::{fingerprint, life};

use super::house::{House, TestNode, eventually};
use crate::clock;

/// The shortest life that can be set.
const LIFE: Period = Period::from_secs(10);

async fn short_lived() -> House {
    House::start_with(|settings| settings.certificates.life = LIFE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_in_time_and_the_one_before_no_longer_lets_in() {
    let house = short_lived().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let first = node.agent.identity();
    let (begin, end) = life(&first.certificate).unwrap();
    assert!((10..=11).contains(&(end - begin)), "{begin} {end}");
    let old = house.data("old");
    copy(&node.settings.data, &old);
    let second = eventually("the renewal", async || {
        let now = node.agent.identity();
        assert_eq!(house.get("/v1/nodes/edge-1").await.json()["connected"], true, "the node passes for one that is away");
        (now.certificate != first.certificate).then_some(now)
    })
    .await;
    assert_ne!(second.key, first.key);
    assert!(clock::unix_seconds() < end, "it was still valid");
    eventually("the new one is used", async || {
        let node = house.get("/v1/nodes/edge-1").await.json();
        (node["certificate"]["sha256"] == crate::auth::hex(&fingerprint(&second.certificate))).then_some(())
    })
    .await;

    // Who has the old one, and its key, is not the node any more.
    let mut settings = node.settings.clone();
    settings.data = old;
    settings.control.join_token = None;
    let thief = TestNode::start(settings).await;
    let third = eventually("the next renewal", async || {
        let now = node.agent.identity();
        (now.certificate != second.certificate).then_some(now)
    })
    .await;
    assert_eq!(thief.agent.identity().certificate, first.certificate, "nobody gave it another");
    assert!(thief.agent.snapshot().is_some_and(|snapshot| snapshot.version() < 2), "it heard of nothing");
    thief.stop().await;

    // What a restart finds is the last one.
    let settings = node.stop().await;
    let again = Agent::prepare(settings).await.unwrap();
    assert_eq!(again.identity().certificate, third.certificate);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_removed_stays_so_where_the_store_is_put_back_to_an_older_copy() {
    let house = House::start().await;
    let shield = house.node(Role::Shield, "shield-1").await;
    let edge = house.node(Role::Edge, "edge-1").await;
    house.node(Role::Edge, "edge-2").await.stop().await;
    let gone = fingerprint(&edge.agent.identity().certificate);
    let store = |data: &std::path::Path| (data.join("store.redb"), data.join("store.copy"));
    let house = house
        .restart(|data| {
            let (store, copy) = store(data);
            std::fs::copy(store, copy).unwrap();
        })
        .await;
    for name in ["edge-1", "edge-2"] {
        assert_eq!(house.call(Method::DELETE, &format!("/v1/nodes/{name}"), &json!({})).await.status, 204);
    }
    // Another one of the same name came since. Its certificate is known by its end to be the later one.
    let second = clock::unix_seconds();
    eventually("the next second", async || (clock::unix_seconds() > second).then_some(())).await;
    let mut settings = house.node_settings(Role::Edge, "edge-2", Some(house.join_token(Role::Edge).await));
    settings.data = house.data("edge-2-again");
    let other = TestNode::start(settings).await;
    house.connected("edge-2").await;
    let house = house
        .restart(|data| {
            let (store, copy) = store(data);
            std::fs::copy(copy, store).unwrap();
        })
        .await;
    assert_eq!(house.get("/v1/nodes/edge-1").await.status, 404, "it is back");
    house.connected("shield-1").await;
    house.connected("edge-2").await;
    eventually("the shield hears of it", async || shield.agent.private().is_revoked(&gone).then_some(())).await;
    for node in [shield, edge, other] {
        node.stop().await;
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_removed_node_lets_nobody_in_where_the_store_is_put_back_to_an_older_copy() {
    let house = House::start().await;
    let tokens = [house.join_token(Role::Edge).await, house.join_token(Role::Edge).await];
    let [known, unknown] = ["edge-1", "edge-2"].map(|name| house.node_settings(Role::Edge, name, None));
    let with = |settings: &Settings, token: &String| {
        let mut settings = settings.clone();
        settings.control.join_token = Some(token.clone());
        settings
    };
    let node = TestNode::start(with(&known, &tokens[0])).await;
    house.connected("edge-1").await;
    node.stop().await;
    let kept = house.data("kept");
    let house = house.restart(|data| assert!(std::fs::copy(data.join("store.redb"), &kept).unwrap() > 0)).await;
    let node = TestNode::start(with(&unknown, &tokens[1])).await;
    house.connected("edge-2").await;
    node.stop().await;
    for name in ["edge-1", "edge-2"] {
        assert_eq!(house.call(Method::DELETE, &format!("/v1/nodes/{name}"), &json!({})).await.status, 204);
    }
    // Another one of the same name came since: the record of the first one stays in the copy.
    let mut settings = house.node_settings(Role::Edge, "edge-1", Some(house.join_token(Role::Edge).await));
    settings.data = house.data("edge-1-again");
    let other = TestNode::start(settings).await;
    house.connected("edge-1").await;
    other.stop().await;
    let house = house.restart(|data| assert!(std::fs::copy(&kept, data.join("store.redb")).unwrap() > 0)).await;
    for (settings, token) in [known, unknown].iter().zip(&tokens) {
        std::fs::remove_file(settings.data.join("node.crt")).unwrap();
        let name = &settings.name;
        let refused = Agent::prepare(with(settings, token)).await.err().unwrap_or_else(|| panic!("{name} was let in"));
        assert!(refused.contains(&format!("{name:?} was removed")), "{refused}");
    }
    house.stop().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_certificate_ended_while_it_was_away_comes_back_and_gets_another() {
    let house = short_lived().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let settings = node.stop().await;
    let (_, end) = life(&Agent::prepare(settings.clone()).await.unwrap().identity().certificate).unwrap();
    eventually("the end of the certificate", async || (clock::unix_seconds() > end).then_some(())).await;
    let node = TestNode::start(settings.clone()).await;
    house.connected("edge-1").await;
    eventually("another certificate", async || (life(&node.agent.identity().certificate).unwrap().1 > end).then_some(())).await;
    node.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificates_of_a_removed_node_are_revoked_on_all_others_for_good() {
    let house = House::start().await;
    let shield = house.node(Role::Shield, "shield-1").await;
    let edge = house.node(Role::Edge, "edge-1").await;
    let gone = fingerprint(&edge.agent.identity().certificate);
    assert!(!shield.agent.private().is_revoked(&gone));
    assert_eq!(house.call(Method::DELETE, "/v1/nodes/edge-1", &json!({})).await.status, 204);
    eventually("the shield hears of it", async || shield.agent.private().is_revoked(&gone).then_some(())).await;
    assert!(!shield.agent.private().is_revoked(&fingerprint(&shield.agent.identity().certificate)));

    // After a restart without the control plane, and of the control plane.
    let settings = shield.stop().await;
    let house = house.restart(|_| {}).await;
    let prepared = Agent::prepare(settings.clone()).await.unwrap();
    assert!(prepared.private().is_revoked(&gone));
    drop(prepared);
    let shield = TestNode::start(settings).await;
    let other = house.node(Role::Shield, "shield-2").await;
    eventually("a node that came later", async || other.agent.private().is_revoked(&gone).then_some(())).await;
    assert!(shield.agent.private().is_revoked(&gone));

    // The same name, let in again, is another node.
    let again = TestNode::start({
        let mut settings = house.node_settings(Role::Edge, "edge-1", Some(house.join_token(Role::Edge).await));
        settings.data = house.data("edge-1-again");
        settings
    })
    .await;
    house.connected("edge-1").await;
    assert!(!other.agent.private().is_revoked(&fingerprint(&again.agent.identity().certificate)));
    for node in [shield, other, again, edge] {
        node.stop().await;
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_renewed_after_the_copy_to_which_the_store_was_put_back_goes_on() {
    let house = short_lived().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let first = node.agent.identity();
    let kept = house.data("kept");
    copy(&node.settings.data, &house.data("old"));
    let house = house.restart(|data| assert!(std::fs::copy(data.join("store.redb"), &kept).unwrap() > 0)).await;
    let of_node = async |house: &House| house.get("/v1/nodes/edge-1").await.json();
    let second = eventually("the renewal, and its use", async || {
        let now = node.agent.identity();
        let used = of_node(&house).await["certificate"]["sha256"] == crate::auth::hex(&fingerprint(&now.certificate));
        (used && now.certificate != first.certificate).then_some(now)
    })
    .await;
    let house = house.restart(|data| assert!(std::fs::copy(&kept, data.join("store.redb")).unwrap() > 0)).await;
    house.connected("edge-1").await;
    let third = eventually("the next one, of the node that is known again", async || {
        let now = node.agent.identity();
        (now.certificate != second.certificate).then_some(now)
    })
    .await;
    assert_ne!(third.certificate, first.certificate);
    // Who has the one from before the copy is not the node any more.
    let mut settings = node.settings.clone();
    settings.data = house.data("old");
    settings.control.join_token = None;
    let thief = TestNode::start(settings).await;
    let fourth = eventually("another renewal", async || {
        let now = node.agent.identity();
        (now.certificate != third.certificate).then_some(now)
    })
    .await;
    assert_eq!(thief.agent.identity().certificate, first.certificate, "nobody gave it another");
    assert_ne!(fourth.certificate, first.certificate);
    thief.stop().await;
    node.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_certificates_are_among_the_metrics() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let (_, end) = life(&node.agent.identity().certificate).unwrap();
    let now = clock::unix_seconds();
    assert!((end - now).abs_diff(90 * 86_400) < 60, "{end}");
    let metrics = house.get("/metrics").await.text;
    let of = |name: &str| {
        let start = format!("skerry_control_certificate_end_timestamp_seconds{{certificate=\"{name}\"}} ");
        let line = metrics.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{name}: {metrics}"));
        line[start.len()..].parse::<u64>().unwrap()
    };
    assert!(of("ca") > now + Duration::from_secs(19 * 366 * 86_400).as_secs());
    assert!(of("control") > now + Duration::from_secs(9 * 366 * 86_400).as_secs());
    node.stop().await;
    house.stop().await;
}
