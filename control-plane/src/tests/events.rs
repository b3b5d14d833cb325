//! `/v1/events`: numbers, resumption, kinds.

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::house::House;

/// Reads a stream until it has said so much, as `(id, kind, data)`.
pub(super) async fn read(house: &House, query: &str, last: Option<&str>, count: usize) -> Vec<(Option<u64>, String, Value)> {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let mut request = house.request(Method::GET, &format!("/v1/events{query}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut body = client.request(request.body(http_body_util::Empty::new()).unwrap()).await.unwrap().into_body();
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), body.frame()).await.expect("events come").unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    let told = blocks.map(|block| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
        let data = serde_json::from_str(&field("data").unwrap()).unwrap();
        (field("id").map(|id| id.parse().unwrap()), field("event").unwrap(), data)
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_where_it_was_and_hears_of_what_it_asked_for() {
    let house = House::start().await;
    house.put_site("shop", "a.test").await;
    house.post("/v1/purges", json!({"all": true})).await;
    house.put_site("blog", "b.test").await;
    let all = read(&house, "?kinds=site,purge", Some("0"), 3).await;
    assert_eq!(all.iter().map(|(_, kind, _)| kind.as_str()).collect::<Vec<_>>(), ["site", "purge", "site"]);
    let ids: Vec<u64> = all.iter().map(|(id, ..)| id.unwrap()).collect();
    assert!(ids.is_sorted() && all.iter().all(|(id, _, data)| data["number"] == id.unwrap()), "{all:?}");
    assert!(all.iter().all(|(.., data)| data["at"].as_str().unwrap().ends_with('Z')), "{all:?}");
    let rest = read(&house, "?kinds=site,purge", Some(&ids[1].to_string()), 1).await;
    assert_eq!((rest.len(), &rest[0].2["name"]), (1, &json!("blog")));
    let sites = read(&house, "?kinds=site,node", Some("0"), 2).await;
    assert_eq!(sites.iter().map(|(id, ..)| id.unwrap()).collect::<Vec<_>>(), [ids[0], ids[2]]);

    let house = house.restart(|_| {}).await;
    house.post("/v1/purges", json!({"all": true})).await;
    let missed = read(&house, "?kinds=purge", Some(&ids[0].to_string()), 2).await;
    assert_eq!((missed[0].0, &*missed[0].1), (None, "lagged"), "what was before the restart is not kept");
    assert!(missed[0].2["missed"].as_u64().unwrap() >= 2, "{missed:?}");
    assert!(missed[1].0.unwrap() > ids[2] && missed[1].1 == "purge", "{missed:?}");

    for (query, last) in [("?kinds=site,colour", None), ("?kinds=", None), ("?kind=site", None), ("", Some("one")), ("", Some("-1"))] {
        let mut request = house.request(Method::GET, &format!("/v1/events{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = house.send(request, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query} {last:?}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_makes_no_sense_is_refused() {
    let house = House::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let put = async |name: &str, wish: &Value| house.call(Method::PUT, &format!("/v1/webhooks/{name}"), wish).await;
    let url = "https://192.0.2.1/hook";
    for (path, wish) in [
        ("url", json!({"url": "ftp://a.test/", "secret": secret})),
        ("url", json!({"url": "https://user@a.test/", "secret": secret})),
        ("url", json!({"url": "http://10.0.0.1/", "secret": secret})),
        ("url", json!({"url": "http://169.254.169.254/", "secret": secret})),
        ("kinds", json!({"url": url, "secret": secret, "kinds": ["colour"]})),
        ("kinds", json!({"url": url, "secret": secret, "kinds": []})),
        ("secret", json!({"url": url})),
        ("secret", json!({"url": url, "secret": "hunter2"})),
    ] {
        let answer = put("ops", &wish).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wish}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["path"], path, "{wish}: {answer:?}");
        assert!(!answer.text.contains("hunter2"), "{answer:?}");
    }
    let wish = json!({"url": url, "secret": secret});
    assert_eq!(put("A%20b", &wish).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(house.get("/v1/webhooks/ops").await.status, StatusCode::NOT_FOUND);
    assert_eq!(put("ops", &wish).await.status, StatusCode::CREATED);
    let changed = put("ops", &json!({"url": url, "kinds": ["purge"]})).await;
    assert_eq!((changed.status, &changed.json()["kinds"]), (StatusCode::OK, &json!(["purge"])));
    let house = house.restart(|_| {}).await;
    let listed = house.get("/v1/webhooks").await;
    assert_eq!(listed.json()["webhooks"][0]["url"], url);
    assert!(!listed.text.contains("whsec"), "{listed:?}");
    assert_eq!(house.call(Method::DELETE, "/v1/webhooks/ops", &json!(null)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.call(Method::DELETE, "/v1/webhooks/ops", &json!(null)).await.status, StatusCode::NOT_FOUND);
    house.stop().await;
}
