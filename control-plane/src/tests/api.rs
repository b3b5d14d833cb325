//! The API: versions, conflicts, problems for everything that is wrong, numbers under load.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use skerry_agent::Role;

use super::house::{House, eventually, site};

#[tokio::test(flavor = "multi_thread")]
async fn sites_have_versions_that_can_be_brought_back() {
    let house = House::start().await;
    let made = house.put_site("shop", "a.test").await;
    assert_eq!((made.status, made.headers["etag"].to_str().unwrap()), (StatusCode::CREATED, "\"1\""));
    let first = made.json()["snapshot"].as_u64().unwrap();
    house.settled().await;
    let again = house.put_site("shop", "a.test").await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, json!({"name": "shop", "version": 1, "snapshot": first, "changed": false})));
    let changed = house.call(Method::PUT, "/v1/sites/shop?reason=a%20move", &site("shop", "b.test")).await;
    assert_eq!(changed.json(), json!({"name": "shop", "version": 2, "snapshot": first + 1, "changed": true, "rollout": 2}));
    house.settled().await;
    let back = house.post("/v1/sites/shop/rollback", json!({"version": 1})).await.json();
    assert_eq!(back, json!({"name": "shop", "version": 3, "snapshot": first + 2, "changed": true, "rollout": 3}));
    assert_eq!(house.get("/v1/sites/shop").await.json()["site"]["hosts"], json!(["a.test"]));
    assert_eq!(house.call(Method::DELETE, "/v1/sites/shop", &json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.call(Method::DELETE, "/v1/sites/shop", &json!({})).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get("/v1/sites/shop").await.status, StatusCode::NOT_FOUND);

    let house = house.restart(|_| {}).await;
    let versions = house.get("/v1/sites/shop/versions").await.json();
    let versions: Vec<_> =
        versions["versions"].as_array().unwrap().iter().map(|each| (each["version"].clone(), each["reason"].clone())).collect();
    let wanted = [(1, json!(null)), (2, json!("a move")), (3, json!("rollback to version 1")), (4, json!(null))];
    assert_eq!(versions, wanted.map(|(version, reason)| (json!(version), reason)));
    assert_eq!(house.get("/v1/sites/shop/versions/4").await.json()["deleted"], true);
    assert_eq!(house.get("/v1/sites/shop/versions/2").await.json()["site"]["hosts"], json!(["b.test"]));
    assert_eq!(house.post("/v1/sites/shop/rollback", json!({"version": 4})).await.status, StatusCode::CONFLICT);
    let revived = house.put_site("shop", "c.test").await;
    assert_eq!((revived.status, revived.json()["version"].clone()), (StatusCode::CREATED, json!(5)));
    assert_eq!(house.get("/v1/sites").await.json()["sites"].as_array().unwrap().len(), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_files_are_compared() {
    let house = House::start().await;
    house.put_site("shop", "a.test").await;
    house.put_site("shop", "b.test").await;
    let changed = house.get("/v1/sites/shop/diff?from=1").await.json();
    assert_eq!((&changed["from"], &changed["to"], &changed["changed"]), (&json!(1), &json!(2), &json!(true)));
    let lines: Vec<&str> = changed["diff"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(lines.contains(&"- hosts = [\"a.test\"]") && lines.contains(&"+ hosts = [\"b.test\"]"), "{lines:?}");
    assert_eq!(house.get("/v1/sites/shop/diff?from=2&to=2").await.json()["changed"], false);
    let file = house.post("/v1/sites/shop/diff", site("shop", "c.test")).await.json();
    assert_eq!((&file["from"], &file["to"], file["diff"].as_array().unwrap().len() > 1), (&json!(2), &json!(null), true));
    let new = house.post("/v1/sites/new/diff", site("new", "c.test")).await.json();
    assert!(new["from"].is_null() && new["diff"].as_array().unwrap().iter().all(|line| line.as_str().unwrap().starts_with('+')), "{new}");
    assert_eq!(house.get("/v1/sites/shop").await.json()["version"], 2, "nothing was changed");
    assert!(!std::fs::read_to_string(house.settings.data.join("audit.log")).unwrap().contains("diff"));
    for (path, status) in [("?from=9", 404), ("?from=1&to=9", 404), ("", 400), ("?from=one", 400)] {
        assert_eq!(house.get(&format!("/v1/sites/shop/diff{path}")).await.status.as_u16(), status, "{path}");
    }
    assert_eq!(house.get("/v1/sites/none/diff?from=1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.post("/v1/sites/other/diff", site("shop", "c.test")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    house.stop().await;
}

/// A certificate of itself, and its key.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    (rcgen::CertificateParams::new(vec!["edge.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_site_is_kept_and_never_shown() {
    let house = House::start().await;
    let ((chain, key), (other_chain, other_key)) = (certificate(), certificate());
    let with = |host: &str, chain: &str, key: &str| {
        let mut site = site("shop", host);
        site["origin"]["client_certificate"] = json!(chain);
        site["origin"]["client_key"] = json!(key);
        site
    };
    let put = async |site: &Value| house.call(Method::PUT, "/v1/sites/shop", site).await;
    let wrong = put(&with("a.test", &chain, &other_key)).await;
    assert_eq!((wrong.status, wrong.json()["errors"][0]["path"].clone()), (StatusCode::UNPROCESSABLE_ENTITY, json!("origin.client_key")));
    assert!(!wrong.text.contains(other_key.lines().nth(1).unwrap()), "{wrong:?}");
    assert_eq!(
        put(&with("a.test", &chain, "redacted:0123456789abcdef")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "nothing is kept yet"
    );
    assert_eq!(put(&with("a.test", &chain, &key)).await.status, StatusCode::CREATED);

    let node = house.node(Role::Shield, "shield-1").await;
    let sent = async || {
        house.connected("shield-1").await;
        std::fs::read_to_string(house.data("shield-1").join("snapshot.json")).unwrap()
    };
    let line = key.lines().nth(1).unwrap();
    assert!(sent().await.contains(line), "nodes need it");
    let mut shown = house.get("/v1/sites/shop").await.json()["site"].clone();
    let mark = shown["origin"]["client_key"].as_str().unwrap().to_owned();
    assert!(mark.starts_with("redacted:") && shown["origin"]["client_certificate"] == json!(chain), "{shown}");
    assert_eq!(put(&shown).await.json()["changed"], false, "what is shown is what is in force");
    shown["hosts"] = json!(["b.test"]);
    assert_eq!(house.post("/v1/check", json!({"site": shown})).await.json(), json!({"ok": true}));
    assert_eq!(put(&shown).await.json()["version"], 2);
    assert!(sent().await.contains(line), "and they have it still");

    assert_eq!(put(&with("b.test", &other_chain, &mark)).await.status, StatusCode::UNPROCESSABLE_ENTITY, "the key of another certificate");
    assert_eq!(put(&with("b.test", &other_chain, &other_key)).await.json()["version"], 3);
    let gone = put(&with("b.test", &chain, &mark)).await;
    assert_eq!(gone.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(gone.json()["errors"][0]["detail"].as_str().unwrap().contains("write the PEM text of the key itself"), "{gone:?}");
    assert_eq!(house.post("/v1/check", json!({"site": with("b.test", &chain, &mark)})).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(house.post("/v1/sites/shop/rollback", json!({"version": 1})).await.json()["version"], 4);
    assert!(sent().await.contains(line), "an earlier version has its own");
    for path in ["/v1/sites", "/v1/sites/shop", "/v1/sites/shop/versions", "/v1/sites/shop/versions/1", "/v1/sites/shop/versions/3"] {
        let answer = house.get(path).await;
        assert!(answer.status == StatusCode::OK && !answer.text.contains("PRIVATE KEY"), "{path}: {answer:?}");
    }
    node.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_version_and_a_taken_host_are_refused() {
    let house = House::start().await;
    house.put_site("shop", "a.test").await;
    let put = async |field: &str, value: &str, host: &str| {
        let request = house.request(Method::PUT, "/v1/sites/shop").header(field, value);
        house.send(request, site("shop", host).to_string()).await
    };
    assert_eq!(put("if-match", "\"1\"", "b.test").await.status, StatusCode::OK);
    let stale = put("if-match", "\"1\"", "c.test").await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert!(stale.json()["detail"].as_str().unwrap().contains("is at version 2"), "{stale:?}");
    assert_eq!(put("if-match", "\"7\", \"2\"", "d.test").await.status, StatusCode::OK);
    assert_eq!(put("if-match", "W/\"3\"", "e.test").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put("if-match", "*", "e.test").await.status, StatusCode::OK);
    assert_eq!(put("if-none-match", "*", "f.test").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put("if-match", "4", "f.test").await.status, StatusCode::BAD_REQUEST);

    let taken = house.put_site("other", "e.test").await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert!(taken.json()["detail"].as_str().unwrap().contains("belongs to site \"shop\""), "{taken:?}");
    assert_eq!(house.get("/v1/sites").await.json()["sites"].as_array().unwrap().len(), 1);
    let checked = house.post("/v1/check", json!({"site": site("other", "e.test")})).await;
    assert_eq!((checked.status, checked.json()["errors"][0]["path"].clone()), (StatusCode::UNPROCESSABLE_ENTITY, json!("hosts")));
    assert_eq!(house.post("/v1/check", json!({"site": site("other", "g.test")})).await.json(), json!({"ok": true}));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_wrong_is_a_problem_document() {
    let house = House::start().await;
    house.put_site("shop", "a.test").await;
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(1 << 20));
    let many = json!({"tags": vec!["t"; 1001]}).to_string();
    let cases: &[(u16, &str, &str, &str)] = &[
        (400, "PUT", "/v1/sites/shop", "{"),
        (400, "PUT", "/v1/sites/shop", "\u{1}"),
        (422, "PUT", "/v1/sites/shop", "{}"),
        (422, "PUT", "/v1/sites/shop", "[]"),
        (422, "PUT", "/v1/sites/shop", r#"{"name":"shop","hosts":["a.test"],"origin":{"urls":["http://127.0.0.1:9"]},"colour":1}"#),
        (422, "PUT", "/v1/sites/other", r#"{"name":"shop","hosts":["b.test"],"origin":{"urls":["http://127.0.0.1:9"]}}"#),
        (413, "PUT", "/v1/sites/shop", &large),
        (400, "PUT", "/v1/sites/%FF", "{}"),
        (400, "PUT", "/v1/sites/shop?colour=1", "{}"),
        (404, "GET", "/v1/sites/none", ""),
        (404, "GET", "/v1/sites/none/versions", ""),
        (404, "GET", "/v1/sites/shop/versions/7", ""),
        (400, "GET", "/v1/sites/shop/versions/one", ""),
        (405, "POST", "/v1/sites/shop", "{}"),
        (405, "DELETE", "/v1/sites", ""),
        (422, "POST", "/v1/sites/shop/rollback", "{}"),
        (404, "POST", "/v1/sites/shop/rollback", r#"{"version":9}"#),
        (422, "POST", "/v1/check", "{}"),
        (422, "POST", "/v1/check", r#"{"site":{},"document":{}}"#),
        (422, "POST", "/v1/check", r#"{"document":{"sites":[{}]}}"#),
        (422, "POST", "/v1/check", r#"{"document":7}"#),
        (422, "POST", "/v1/purges", "{}"),
        (422, "POST", "/v1/purges", r#"{"urls":["/relative"]}"#),
        (422, "POST", "/v1/purges", r#"{"urls":"http://a/"}"#),
        (422, "POST", "/v1/purges", r#"{"tag":["a"]}"#),
        (422, "POST", "/v1/purges", &many),
        (400, "POST", "/v1/purges", "nonsense"),
        (400, "POST", "/v1/purges?wait=61s", r#"{"all":true}"#),
        (400, "POST", "/v1/purges?wait=soon", r#"{"all":true}"#),
        (404, "GET", "/v1/purges/0", ""),
        (404, "GET", "/v1/purges/1", ""),
        (400, "GET", "/v1/purges/-1", ""),
        (404, "GET", "/v1/nodes/none", ""),
        (404, "DELETE", "/v1/nodes/none", ""),
        (404, "POST", "/v1/nodes/none/drain", ""),
        (422, "POST", "/v1/tokens", r#"{"kind":"key"}"#),
        (422, "POST", "/v1/tokens", r#"{"kind":"join","role":"origin","region":"north"}"#),
        (422, "POST", "/v1/tokens", r#"{"kind":"join","role":"edge"}"#),
        (422, "POST", "/v1/tokens", r#"{"kind":"join","role":"edge","region":"north","ttl":"31d"}"#),
        (409, "POST", "/v1/tokens", r#"{"kind":"api","name":"admin"}"#),
        (404, "GET", "/v2/sites", ""),
        (404, "GET", "/", ""),
    ];
    for (status, method, path, body) in cases {
        let request = house.request(method.parse().unwrap(), path).header("content-type", "application/json");
        let answer = house.send(request, (*body).to_owned()).await;
        let what = format!("{method} {path} {}", &body[..body.len().min(60)]);
        assert_eq!(answer.status.as_u16(), *status, "{what}: {}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        let problem = answer.json();
        assert_eq!(problem["status"], *status, "{what}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{what}");
        if *status == 422 {
            let errors = problem["errors"].as_array().unwrap();
            assert!(!errors.is_empty() && errors.iter().all(|error| error["detail"].is_string()), "{what}: {problem}");
        }
        if *status == 405 {
            assert!(answer.headers.contains_key("allow"), "{what}");
        }
    }
    assert_eq!(house.get("/v1/sites/shop").await.json()["version"], 1, "a refused request changed something");
    assert_eq!(house.get("/v1/nodes").await.json()["purge_seq"], 0);
    let answer = house.send(house.request(Method::PUT, "/v1/sites/shop").header("content-type", "text/html"), "<p>").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codings_and_queries_that_nobody_asked_for_are_refused() {
    let house = House::start().await;
    for (method, path) in [("GET", "/v1/sites?colour=1"), ("POST", "/v1/check?colour=1"), ("DELETE", "/v1/nodes/none?colour=1")] {
        let answer = house.call(method.parse().unwrap(), path, &json!({})).await;
        assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::BAD_REQUEST, &json!(400)), "{method} {path}");
    }
    for path in ["/v1/sites/shop", "/v1/secrets/shop"] {
        for (field, value, fine) in [
            ("content-encoding", "gzip", false),
            ("content-encoding", "identity", true),
            ("content-type", "application/json; charset=utf-16", false),
            ("content-type", "application/json; charset=\"UTF-8\"", true),
        ] {
            let answer = house.send(house.request(Method::PUT, path).header(field, value), "{}").await;
            assert_eq!(answer.status != StatusCode::UNSUPPORTED_MEDIA_TYPE, fine, "{path} {field}: {value}: {answer:?}");
        }
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_needed_for_what_is_not_open() {
    let mut house = House::start().await;
    let admin = house.token.clone();
    let made = house.post("/v1/tokens", json!({"kind": "api", "name": "deploy"})).await.json();
    for (token, status) in [("", 401), ("ska1.AAAA", 401), (&*format!("{admin}x"), 401), (made["token"].as_str().unwrap(), 200)] {
        house.token = token.to_owned();
        let answer = house.get("/v1/sites").await;
        assert_eq!(answer.status, status, "{token:?}");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
    }
    house.put_site("shop", "a.test").await;
    house.token = "nothing".to_owned();
    assert_eq!(house.put_site("shop", "b.test").await.status, StatusCode::UNAUTHORIZED);
    for path in ["/healthz", "/metrics", "/openapi.json", "/docs/"] {
        assert_eq!(house.get(path).await.status, StatusCode::OK, "{path}");
    }
    let metrics = house.get("/metrics").await.text;
    assert!(metrics.contains("skerry_control_api_requests_total{route=\"/v1/sites\",status=\"401\"} 4"), "{metrics}");
    let log = std::fs::read_to_string(house.settings.data.join("audit.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<_> =
        lines.iter().map(|line| [&line["author"], &line["method"], &line["path"], &line["outcome"]].map(Value::clone)).collect();
    let wanted = [
        [json!("admin"), json!("POST"), json!("/v1/tokens"), json!(201)],
        [json!("deploy"), json!("PUT"), json!("/v1/sites/shop"), json!(201)],
    ];
    assert_eq!(lines, wanted);
    assert!(!log.contains(&admin));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_purges_at_once_get_fifty_numbers_in_a_row() {
    let house = House::start().await;
    let answers = join_all((0..50).map(|index| house.post("/v1/purges", json!({"tags": [format!("t{index}")]})))).await;
    let seqs: BTreeSet<u64> = answers.iter().map(|answer| answer.json()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=50).collect());
    let house = house.restart(|_| {}).await;
    assert_eq!(house.get("/v1/purges/50").await.status, StatusCode::OK);
    assert_eq!(house.post("/v1/purges", json!({"all": true})).await.json()["seq"], 51);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn toml_and_yaml_are_read_too() {
    let house = House::start().await;
    let put = async |kind: &str, text: &'static str| {
        house.send(house.request(Method::PUT, "/v1/sites/shop").header("content-type", kind), text).await
    };
    let toml = put("application/toml", "name = \"shop\"\nhosts = [\"a.test\"]\n[origin]\nurls = [\"http://127.0.0.1:9\"]\n").await;
    assert_eq!(toml.status, StatusCode::CREATED, "{toml:?}");
    let yaml = put("application/yaml", "name: shop\nhosts: [a.test]\norigin:\n  urls: [\"http://127.0.0.1:9\"]\n").await;
    assert_eq!(yaml.json()["changed"], false, "the same site in another format is the same: {yaml:?}");
    let wrong = put("application/toml", "name = \"shop\"\nhosts = 7\n").await.json();
    let hosts = wrong["errors"].as_array().unwrap().iter().find(|error| error["path"] == "hosts").unwrap();
    assert_eq!(hosts["line"], 2);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_what_happens_and_end_with_the_control_plane() {
    let house = House::start().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let request = house.request(Method::GET, "/v1/events").body(http_body_util::Empty::new()).unwrap();
    let mut body = client.request(request).await.unwrap().into_body();
    house.put_site("shop", "a.test").await;
    house.post("/v1/purges", json!({"all": true})).await;
    let mut text = String::new();
    while !text.contains("event: purge") {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert!(text.contains("event: site\ndata: {\"event\":\"site\",\"name\":\"shop\",\"version\":1"), "{text}");
    house.stop().await;
    eventually("the stream ends", async || body.frame().await.is_none().then_some(())).await;
}

#[test]
fn the_description_in_docs_is_the_one_that_is_served() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json");
    let served = crate::openapi_document();
    if std::env::var_os("SKERRY_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &served).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == served, "docs/reference/openapi.json is not what is served; run the test with SKERRY_BLESS=1 and read the difference");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_refused_whose_fence_is_around_no_edge() {
    let house = House::start().await;
    let fenced =
        |region: &str| json!({"name": "shop", "hosts": ["a.test"], "regions": [region], "origin": {"urls": ["http://127.0.0.1:9"]}});
    let put = async |region: &str| house.call(Method::PUT, "/v1/sites/shop", &fenced(region)).await;
    assert!(put("north").await.text.contains("no edge has joined yet"));
    let edge = house.node(Role::Edge, "edge-1").await;
    let refused = put("south").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    let fault = &refused.json()["errors"][0];
    assert_eq!(fault["path"], "regions[0]");
    assert_eq!(fault["detail"], "no edge is in region \"south\"; join it first, or write north");
    assert_eq!(put("north").await.status, StatusCode::CREATED);
    edge.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_steered_within_bounds_and_no_other_node_is() {
    let house = House::start().await;
    let nodes = [house.node(Role::Edge, "edge-1").await, house.node(Role::Shield, "shield-1").await];
    let steer = async |node: &str, wish: Value| house.call(Method::PUT, &format!("/v1/nodes/{node}/steering"), &wish).await;
    for (node, wish, status, says) in [
        ("edge-1", json!({"weight": 101}), StatusCode::BAD_REQUEST, "weight 101 is more than the whole share; write 0 to 100"),
        ("edge-1", json!({"cost_ms": 1_001}), StatusCode::BAD_REQUEST, "cost_ms 1001 is farther than any edge is away; write 0 to 1000"),
        ("edge-1", json!({"wait": 1}), StatusCode::UNPROCESSABLE_ENTITY, "unknown field `wait`"),
        ("edge-1", json!({"weight": -1}), StatusCode::UNPROCESSABLE_ENTITY, "invalid value"),
        ("shield-1", json!({"weight": 50}), StatusCode::BAD_REQUEST, "is a shield node, and DNS answers with edges"),
        ("edge-9", json!({"weight": 50}), StatusCode::NOT_FOUND, "there is no node"),
    ] {
        let refused = steer(node, wish).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains(says) || refused.text.contains(says), "{refused:?}");
    }
    assert_eq!(steer("edge-1", json!({"weight": 50})).await.json()["steering"], json!({"weight": 50, "cost_ms": 0}));
    assert_eq!(steer("edge-1", json!({"cost_ms": 7})).await.json()["steering"], json!({"weight": 50, "cost_ms": 7}));
    for node in nodes {
        node.stop().await;
    }
    // It is in the store.
    let house = house.restart(|_| {}).await;
    assert_eq!(house.get("/v1/nodes/edge-1").await.json()["steering"], json!({"weight": 50, "cost_ms": 7}));
    let line = house.get("/v1/audit").await.json();
    assert!(line["lines"].to_string().contains("/v1/nodes/edge-1/steering"), "{line}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_refused_that_names_shields_there_are_none_of() {
    let house = House::start().await;
    let asking =
        |shields: Value| json!({"name": "shop", "hosts": ["a.test"], "origin": {"urls": ["http://127.0.0.1:9"]}, "shields": shields});
    let put = async |shields: Value| house.call(Method::PUT, "/v1/sites/shop", &asking(shields)).await;
    let refused = put(json!({"names": ["shield-1", "edge-1"]})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    assert!(refused.text.contains("no shield has joined yet"), "{refused:?}");

    let shield = house.node(Role::Shield, "shield-1").await;
    let edge = house.node(Role::Edge, "edge-1").await;
    for (shields, path, says) in [
        (json!({"names": ["shield-1", "edge-1"]}), "shields.names[1]", "no shield is called \"edge-1\"; join it first, or write shield-1"),
        (json!({"regions": ["west"]}), "shields.regions[0]", "no shield is in region \"west\"; join it first, or write north"),
    ] {
        let refused = put(shields.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
        let fault = &refused.json()["errors"][0];
        assert_eq!((fault["path"].as_str(), fault["detail"].as_str()), (Some(path), Some(says)), "{refused:?}");
        let checked = house.post("/v1/check", json!({"site": asking(shields)})).await;
        assert_eq!(checked.json()["errors"], refused.json()["errors"]);
    }
    assert_eq!(put(json!({"names": ["shield-1"]})).await.status, StatusCode::CREATED);
    assert_eq!(put(json!({"regions": ["north"], "lead": "auto", "fallback": "fail"})).await.status, StatusCode::OK);
    // A shield may go although a site names it: whoever takes it away means that.
    assert_eq!(put(json!({"names": ["shield-1"]})).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, "/v1/nodes/shield-1", &json!({})).await.status, StatusCode::NO_CONTENT);
    for node in [shield, edge] {
        node.stop().await;
    }
    house.stop().await;
}
