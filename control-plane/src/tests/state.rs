//! What is known of nodes: wanted and in force, load, alarms, their own words, and what they did.

use serde_json::Value;
use skerry_agent::{Role, SiteFigures};
use skerry_config::units::Period;

use super::house::{House, TestNode, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_for_too_long_is_told_of_until_it_is_back() {
    let house = House::start_with(|settings| settings.alarm.behind = Period::from_secs(1)).await;
    let node = house.node(Role::Edge, "edge-1").await;
    let state = async || house.get("/v1/nodes/edge-1").await.json();
    let fine = eventually("it has everything", async || {
        let state = state().await;
        (state["behind"]["seconds"] == 0.0 && state["connections"] == 7).then_some(state)
    })
    .await;
    assert_eq!((&fine["behind"]["wanted"], &fine["behind"]["snapshots"]), (&fine["snapshot"], &Value::from(0)), "{fine}");
    assert_eq!((&fine["errors"], &fine["memory"], &fine["behind"]["alarm"]), (&Value::from(1), &Value::from(1 << 20), &Value::from(false)));
    let settings = node.stop().await;
    let late = eventually("the alarm", async || Some(state().await).filter(|state| state["behind"]["alarm"] == true)).await;
    assert!(late["behind"]["seconds"].as_f64().unwrap() >= 1.0, "{late}");
    assert_eq!(late["connected"], false, "{late}");
    let metrics = house.get("/metrics").await.text;
    assert!(metrics.contains("skerry_control_nodes_behind 1\n"), "{metrics}");
    assert!(metrics.contains("skerry_control_node_behind_seconds{node=\"edge-1\"} "), "{metrics}");
    let again = TestNode::start(settings).await;
    eventually("the end of the alarm", async || (state().await["behind"]["alarm"] == false).then_some(())).await;
    let metrics = house.get("/metrics").await.text;
    assert!(metrics.contains("skerry_control_nodes_behind 0\n") && !metrics.contains("behind_seconds{"), "{metrics}");
    again.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_refuses_a_configuration_is_behind_although_it_is_connected() {
    let house = House::start_with(|settings| settings.alarm.behind = Period::from_secs(1)).await;
    let node = house.node(Role::Edge, "edge-1").await;
    *node.told.refuses.lock() = true;
    house.put_site("shop", "shop.test").await;
    let late = eventually("the alarm", async || {
        let state = house.get("/v1/nodes/edge-1").await.json();
        (state["behind"]["alarm"] == true).then_some(state)
    })
    .await;
    assert!(late["connected"] == true && late["behind"]["snapshots"].as_u64() >= Some(1), "{late}");
    node.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_asked_for_its_figures_and_errors_over_its_own_stream() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let figures = house.get("/v1/nodes/edge-1/figures?metric=skerry_a&metric=skerry_b").await;
    assert_eq!((figures.status.as_u16(), figures.json()["text"].as_str()), (200, Some("skerry_a skerry_b\n")), "{figures:?}");
    assert_eq!(house.get("/v1/nodes/edge-1/figures").await.json()["cut"], true);
    let errors = house.get("/v1/nodes/edge-1/errors").await.json();
    assert_eq!(errors["errors"][0]["time"], "2000-02-28T23:59:59.500Z", "{errors}");
    assert_eq!(errors["errors"][0]["url"], "shop.test/a", "{errors}");
    let many = format!("/v1/nodes/edge-1/figures?{}", "metric=a&".repeat(17));
    for (path, status) in [
        ("/v1/nodes/edge-2/figures", 404),
        ("/v1/nodes/edge-2/errors", 404),
        ("/v1/nodes/edge-1/figures?names=a", 400),
        (many.trim_end_matches('&'), 400),
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
    }
    node.stop().await;
    eventually("it is away", async || (house.get("/v1/nodes/edge-1/errors").await.status == 503).then_some(())).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_did_is_told_once_over_restarts_of_either_side() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let figures = SiteFigures { hits: 2, failures: 1, bytes: 1, ..SiteFigures::default() };
    node.told.sites.lock().insert("shop".to_owned(), figures);
    let history = async |house: &House, from: &str| house.get(&format!("/v1/nodes/edge-1/history{from}")).await.json();
    let total = async |house: &House, wanted: u64| {
        eventually("the history", async || {
            let history = history(house, "").await;
            (history["total"]["requests"] == wanted).then_some(history)
        })
        .await
    };
    let first = total(&house, 3).await;
    assert_eq!(
        (&first["total"]["hits"], &first["total"]["errors"], &first["dropped"]),
        (&Value::from(2), &Value::from(1), &Value::from(0))
    );
    assert_eq!((&first["buckets"][0]["requests"], &first["buckets"][0]["seconds"]), (&Value::from(3), &Value::from(300)), "{first}");

    // The node restarts and counts from nothing again; the control plane restarts, and the stream begins anew.
    let again = TestNode::start(node.stop().await).await;
    total(&house, 6).await;
    let house = house.restart(|_| {}).await;
    house.connected("edge-1").await;
    total(&house, 6).await;
    assert_eq!(history(&house, "?from=2100-01-01T00:00:00Z").await["buckets"], Value::Array(Vec::new()));
    assert_eq!(house.get("/v1/nodes/edge-1/history?from=yesterday").await.status, 400);
    assert_eq!(house.get("/v1/nodes/edge-2/history").await.status, 404);
    // What is removed with its node does not come back with another one of its name.
    again.stop().await;
    house.call(http::Method::DELETE, "/v1/nodes/edge-1", &Value::Null).await;
    let other = house.join_token(Role::Edge).await;
    let mut settings = house.node_settings(Role::Edge, "edge-1", Some(other));
    settings.data = house.data("another");
    let other = TestNode::start(settings).await;
    total(&house, 3).await;
    other.stop().await;
    house.stop().await;
}
