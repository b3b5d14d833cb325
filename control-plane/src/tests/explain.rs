//! `/v1/explain`: questions go to the nodes over their own streams, and every way of not getting an answer has a name.

use http::StatusCode;
use serde_json::{Value, json};
use skerry_agent::Role;

use super::house::{House, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_or_one_are_asked() {
    let house = House::start().await;
    let edge = house.node(Role::Edge, "edge-1").await;
    let _shield = house.node(Role::Shield, "shield-1").await;
    let answer = house.get("/v1/explain?url=http://a.test/b%3Fc&header=Accept-Encoding:%20gzip&header=x-a:1&header=x-a:%202").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let headers = json!([["accept-encoding", "gzip"], ["x-a", "1"], ["x-a", "2"]]);
    let asked = json!({"asked": {"url": "http://a.test/b?c", "headers": headers}});
    let expected = json!([
        {"name": "edge-1", "role": "edge", "region": "north", "answer": asked},
        {"name": "shield-1", "role": "shield", "region": "north", "answer": asked},
    ]);
    assert_eq!(answer.json(), json!({"url": "http://a.test/b?c", "nodes": expected}));
    let one = house.get("/v1/explain?url=https://a.test/refuse&node=shield-1").await.json();
    assert_eq!(one["nodes"], json!([{"name": "shield-1", "role": "shield", "region": "north", "error": "this node is contrary"}]));
    let encoded = house.get("/v1/explain?url=http://a.test/%C3%A4%20b&node=edge-1").await.json();
    assert_eq!(encoded["url"], "http://a.test/%C3%A4%20b");

    edge.stop().await;
    eventually("the node is down", async || (house.get("/v1/nodes/edge-1").await.json()["connected"] == false).then_some(())).await;
    let all = house.get("/v1/explain?url=http://a.test/").await.json();
    let errors: Vec<&Value> = all["nodes"].as_array().unwrap().iter().map(|node| &node["error"]).collect();
    assert_eq!(errors, [&json!("not connected"), &Value::Null]);
    let away = house.get("/v1/explain?url=http://a.test/&node=edge-1").await;
    assert_eq!((away.status, away.headers.get("retry-after").is_some()), (StatusCode::SERVICE_UNAVAILABLE, true), "{away:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ponders_hears_its_orders_and_says_when_it_has_enough() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let asked = futures_util::future::join_all((0..16).map(|_| house.get("/v1/explain?url=http://a.test/ponder"))).await;
    for answer in asked {
        assert_eq!(answer.json()["nodes"][0]["error"], "no answer within 2 s");
    }
    let answer = house.get("/v1/explain?url=http://a.test/").await.json();
    assert_eq!(answer["nodes"][0]["error"], "16 other questions are being answered, ask again");
    let purged = house.post("/v1/purges?wait=5s", json!({"all": true})).await.json();
    assert_eq!(purged["nodes"]["acked"], json!(["edge-1"]), "{purged}");
    node.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_makes_no_sense_reaches_no_node() {
    let house = House::start().await;
    let many = format!("url=http://a/{}", "&header=a:b".repeat(65));
    let long = format!("url=http://a/&header=a:{}", "b".repeat(16 << 10));
    let long_url = format!("url=http://a/{}", "b".repeat(8 << 10));
    for (query, says) in [
        ("", "give url="),
        ("url=/a", "is neither http nor https"),
        ("url=ftp://a/", "is neither http nor https"),
        ("url=a.test/b", "http://HOST/PATH"),
        ("url=http://me@a/", "or a user"),
        ("url=http:///a", "http://HOST/PATH"),
        ("url=http://a/&url=http://b/", "twice"),
        ("url=http://a/&edge=b", "is not a parameter"),
        ("url=http://a/&header=nonsense", "'Name: value'"),
        ("url=http://a/&header=a%20b:c", "'Name: value'"),
        ("url=http://a/&header=a:b%0Ac", "'Name: value'"),
        (many.as_str(), "65 header fields"),
        (long.as_str(), "at most 64"),
        (long_url.as_str(), "may have 8192"),
    ] {
        let answer = house.get(&format!("/v1/explain?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{query}: {answer:?}");
    }
    let unknown = house.get("/v1/explain?url=http://a/&node=nobody").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.json()["detail"].as_str().unwrap().contains("nobody"));
    let uri = format!("http://{}/v1/explain?url=http://a/", house.address("api"));
    assert_eq!(house.send(http::Request::get(uri), "").await.status, StatusCode::UNAUTHORIZED);
    house.stop().await;
}
