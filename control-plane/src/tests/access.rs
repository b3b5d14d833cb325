//! Access: roles, scopes, expiry and revocation of API tokens.

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use skerry_config::units::Period;

use super::house::{House, eventually};

impl House {
    /// Makes an API token.
    async fn api_token(&self, wish: Value) -> String {
        let mut body = json!({"kind": "api"});
        body.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        let made = self.post("/v1/tokens", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.json()["token"].as_str().unwrap().to_owned()
    }

    /// Asks with another token.
    async fn ask_with(&self, token: &str, method: &str, path: &str, body: Value) -> super::house::Answer {
        let mut request = self.request(method.parse().unwrap(), path).header("content-type", "application/json");
        request.headers_mut().unwrap().insert("authorization", format!("Bearer {token}").parse().unwrap());
        self.send(request, body.to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_what_the_table_says() {
    let house = House::start().await;
    house.put_site("shop", "a.test").await;
    let mut tokens = Vec::new();
    for role in ["viewer", "purger", "editor", "admin"] {
        tokens.push(house.api_token(json!({"name": format!("the-{role}"), "role": role})).await);
    }
    let site = super::house::site("shop", "b.test");
    for (least, method, path, body) in [
        (0, "GET", "/v1/sites", json!(null)),
        (0, "HEAD", "/v1/sites", json!(null)),
        (0, "GET", "/v1/nodes", json!(null)),
        (0, "POST", "/v1/check", json!({"site": site})),
        (1, "POST", "/v1/purges", json!({"all": true})),
        (2, "PUT", "/v1/sites/shop", site.clone()),
        (2, "POST", "/v1/sites/shop/rollback", json!({"version": 1})),
        (3, "GET", "/v1/tokens", json!(null)),
        (3, "DELETE", "/v1/nodes/none", json!(null)),
        (3, "POST", "/v1/tokens", json!({"kind": "join"})),
    ] {
        for (rank, token) in tokens.iter().enumerate() {
            let answer = house.ask_with(token, method, path, body.clone()).await;
            assert_eq!(answer.status != StatusCode::FORBIDDEN, rank >= least, "{method} {path} by {rank}: {answer:?}");
            if rank < least && method != "HEAD" {
                assert_eq!(answer.headers["content-type"], "application/problem+json");
                assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"insufficient_scope\"");
                let needs = ["a viewer", "a purger", "an editor", "an admin"][least];
                let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains("token \"the-") && detail.contains(&format!("needs {needs}")), "{detail}");
            }
        }
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_sites_sees_and_changes_no_others() {
    let house = House::start().await;
    house.put_site("shop", "shop.test").await;
    house.put_site("blog", "blog.test").await;
    let others = house.post("/v1/purges", json!({"hosts": ["blog.test"]})).await.json()["seq"].clone();
    let shop = house.api_token(json!({"name": "of-shop", "role": "editor", "sites": ["shop", "new"]})).await;
    let ask = async |method: &str, path: &str, body: Value| house.ask_with(&shop, method, path, body).await;

    let listed = ask("GET", "/v1/sites", json!(null)).await.json();
    let names: Vec<_> = listed["sites"].as_array().unwrap().iter().map(|site| site["name"].clone()).collect();
    assert_eq!(names, ["shop"]);
    let own = ask("POST", "/v1/purges", json!({"sites": ["shop"], "urls": ["http://shop.test/a"]})).await.json()["seq"].clone();
    let site = |name: &str, host: &str| super::house::site(name, host);
    for (fine, method, path, body) in [
        (true, "GET", "/v1/sites/shop".to_owned(), json!(null)),
        (false, "GET", "/v1/sites/blog".to_owned(), json!(null)),
        (false, "GET", "/v1/sites/none".to_owned(), json!(null)),
        (false, "GET", "/v1/sites/%62log".to_owned(), json!(null)),
        (false, "GET", "/v1/sites/blog/versions/1".to_owned(), json!(null)),
        (true, "PUT", "/v1/sites/new".to_owned(), site("new", "new.test")),
        (false, "PUT", "/v1/sites/other".to_owned(), site("other", "other.test")),
        (false, "DELETE", "/v1/sites/blog".to_owned(), json!(null)),
        (false, "POST", "/v1/sites/blog/rollback".to_owned(), json!({"version": 1})),
        (true, "POST", "/v1/check".to_owned(), json!({"site": site("shop", "shop.test")})),
        (false, "POST", "/v1/check".to_owned(), json!({"site": site("blog", "blog.test")})),
        (true, "POST", "/v1/check".to_owned(), json!({"document": {"sites": [], "shields": []}})),
        (false, "POST", "/v1/purges".to_owned(), json!({"tags": ["a"]})),
        (false, "POST", "/v1/purges".to_owned(), json!({"all": true})),
        (false, "POST", "/v1/purges".to_owned(), json!({"sites": ["shop"], "tags": ["a"]})),
        (true, "GET", format!("/v1/purges/{own}"), json!(null)),
        (false, "GET", format!("/v1/purges/{others}"), json!(null)),
        (true, "GET", "/v1/explain?url=http://shop.test/".to_owned(), json!(null)),
        (false, "GET", "/v1/explain?url=http://blog.test/".to_owned(), json!(null)),
        (false, "GET", "/v1/nodes".to_owned(), json!(null)),
        (false, "GET", "/v1/tokens".to_owned(), json!(null)),
    ] {
        let answer = ask(method, &path, body.clone()).await;
        assert_eq!(answer.status != StatusCode::FORBIDDEN, fine, "{method} {path} {body}: {answer:?}");
        assert!(answer.status.is_success() || !fine, "{method} {path}: {answer:?}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_sites_are_not_told() {
    let house = House::start().await;
    let token = house.api_token(json!({"role": "viewer", "sites": ["shop"]})).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let mut request = house.request(Method::GET, "/v1/events");
    request.headers_mut().unwrap().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut body = client.request(request.body(http_body_util::Empty::new()).unwrap()).await.unwrap().into_body();
    house.put_site("blog", "blog.test").await;
    house.post("/v1/purges", json!({"all": true})).await;
    house.put_site("shop", "shop.test").await;
    let mut text = String::new();
    while !text.contains("\n\n") {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert!(text.contains("\"name\":\"shop\"") && !text.contains("blog") && !text.contains("purge"), "{text}");

    let listed = house.get("/v1/tokens").await.json();
    let name = listed["tokens"].as_array().unwrap().iter().find(|token| token["role"] == "viewer").unwrap()["name"].clone();
    let revoked = house.call(Method::DELETE, &format!("/v1/tokens/{}", name.as_str().unwrap()), &json!(null)).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    eventually("the stream of a revoked token ends", async || body.frame().await.is_none().then_some(())).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_listed_expire_and_are_revoked() {
    let house = House::start().await;
    let admin = std::fs::read_to_string(house.settings.data.join("admin.token")).unwrap();
    let refused = house.call(Method::DELETE, "/v1/tokens/admin", &json!(null)).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let short = house.api_token(json!({"name": "short", "role": "admin", "ttl": "1s"})).await;
    assert_eq!(
        house.call(Method::DELETE, "/v1/tokens/admin", &json!(null)).await.status,
        StatusCode::CONFLICT,
        "one that expires is no other"
    );
    let join = house.post("/v1/tokens", json!({"kind": "join", "role": "edge", "region": "north"})).await.json();
    let second = house.api_token(json!({"name": "second", "role": "admin"})).await;
    house.api_token(json!({"name": "shops", "role": "purger", "sites": ["shop"], "ttl": "1d"})).await;

    let listed = house.get("/v1/tokens").await;
    for secret in [admin.trim(), &second, join["token"].as_str().unwrap()] {
        assert!(!listed.text.contains(secret), "{listed:?}");
    }
    let tokens = listed.json()["tokens"].as_array().unwrap().clone();
    let shops = tokens.iter().find(|token| token["name"] == "shops").unwrap();
    assert_eq!((&shops["role"], &shops["sites"], &shops["made_by"]), (&json!("purger"), &json!(["shop"]), &json!("admin")));
    assert!(shops["expires_at"].as_str().unwrap().ends_with('Z'));
    let joins = tokens.iter().find(|token| token["kind"] == "join").unwrap();
    assert_eq!((&joins["name"], &joins["region"]), (&join["name"], &json!("north")));

    eventually("a token expires", async || {
        let answer = house.ask_with(&short, "GET", "/v1/sites", json!(null)).await;
        (answer.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    for name in ["admin", join["name"].as_str().unwrap()] {
        assert_eq!(house.ask_with(&second, "DELETE", &format!("/v1/tokens/{name}"), json!(null)).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(house.ask_with(admin.trim(), "GET", "/v1/sites", json!(null)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(house.ask_with(&second, "DELETE", "/v1/tokens/admin", json!(null)).await.status, StatusCode::NOT_FOUND);
    // The name is free again, and a restart brings no revoked token back.
    let mut house = house.restart(|_| {}).await;
    assert_eq!(house.get("/v1/sites").await.status, StatusCode::UNAUTHORIZED);
    house.token = second;
    house.api_token(json!({"name": "admin", "role": "viewer"})).await;
    assert_eq!(house.call(Method::DELETE, "/v1/tokens/second", &json!(null)).await.status, StatusCode::CONFLICT);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_makes_no_sense_is_refused() {
    let house = House::start().await;
    for (path, wish) in [
        ("role", json!({"kind": "api", "role": "edge"})),
        ("region", json!({"kind": "api", "role": "viewer", "region": "north"})),
        ("name", json!({"kind": "api", "role": "viewer", "name": "A b"})),
        ("name", json!({"kind": "api", "role": "viewer", "name": "join-00"})),
        ("sites", json!({"kind": "api", "role": "viewer", "sites": []})),
        ("sites", json!({"kind": "api", "role": "viewer", "sites": ["a/b"]})),
        ("sites", json!({"kind": "api", "role": "admin", "sites": ["shop"]})),
        ("sites", json!({"kind": "join", "role": "edge", "region": "north", "sites": ["shop"]})),
        ("ttl", json!({"kind": "api", "role": "viewer", "ttl": "0s"})),
        ("ttl", json!({"kind": "api", "role": "viewer", "ttl": "3651d"})),
    ] {
        let answer = house.post("/v1/tokens", wish.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wish}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["path"], path, "{wish}: {answer:?}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_tokens_is_held_up_and_who_has_one_is_not() {
    let mut house = House::start().await;
    for _ in 0..30 {
        let mut request = house.request(Method::GET, "/v1/sites");
        request.headers_mut().unwrap().remove("authorization");
        assert_eq!(house.send(request, "").await.status, StatusCode::UNAUTHORIZED, "no token is no attempt");
    }
    let mut outcomes = Vec::new();
    for number in 0..60 {
        outcomes.push(house.ask_with(&format!("ska1.guess{number}"), "GET", "/v1/sites", json!(null)).await);
    }
    let (first, later) = outcomes.split_at(30);
    assert!(first.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED), "{first:?}");
    let held_up: Vec<_> = later.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).collect();
    assert!(!held_up.is_empty(), "{later:?}");
    for answer in &held_up {
        let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=2).contains(&wait), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    assert_eq!(house.get("/v1/sites").await.status, StatusCode::OK, "a valid token is let in");
    let metrics = house.get("/metrics").await.text;
    let counted = format!("skerry_control_logins_failed_total{{outcome=\"limited\"}} {}\n", held_up.len());
    assert!(metrics.contains(&counted), "{metrics}");
    house.token = String::new();
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_done_while_the_audit_log_takes_no_line() {
    let house = House::start().await.restart(|data| {
        std::fs::remove_file(data.join("audit.log")).unwrap();
        std::os::unix::fs::symlink("/dev/full", data.join("audit.log")).unwrap();
    });
    let house = house.await;
    // Nobody knew before this one that the disk is full; its line waits.
    assert_eq!(house.put_site("shop", "a.test").await.status, StatusCode::CREATED);
    let refused = house.put_site("blog", "b.test").await;
    assert_eq!((refused.status, refused.json()["status"].as_u64()), (StatusCode::SERVICE_UNAVAILABLE, Some(503)), "{refused:?}");
    assert!(refused.headers.contains_key("retry-after") && refused.text.contains("audit.log"), "{refused:?}");
    assert_eq!(house.get("/v1/sites/blog").await.status, StatusCode::NOT_FOUND);
    let house = house.restart(|data| std::fs::remove_file(data.join("audit.log")).unwrap()).await;
    assert_eq!(house.put_site("blog", "b.test").await.status, StatusCode::CREATED);
    let lines = house.get("/v1/audit").await.json();
    let paths: Vec<_> = lines["lines"].as_array().unwrap().iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/v1/sites/shop", "/v1/sites/blog"]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_in_the_audit_log_and_no_secret_is() {
    let house = House::start().await;
    let editor = house.api_token(json!({"name": "ed", "role": "editor", "sites": ["shop"]})).await;
    house.ask_with(&editor, "PUT", "/v1/sites/shop?reason=hunter2", super::house::site("shop", "a.test")).await;
    house.ask_with(&editor, "DELETE", "/v1/sites/blog", json!(null)).await;
    house.get("/v1/sites").await;
    house.post("/v1/check", json!({})).await;
    house.post("/v1/purges", json!({"tags": ["hunter2"]})).await;
    let lines = |answer: Value| answer["lines"].as_array().unwrap().clone();
    let all = lines(house.get("/v1/audit").await.json());
    let told: Vec<_> = all
        .iter()
        .map(|line| (line["number"].as_u64().unwrap(), line["author"].clone(), line["path"].clone(), line["outcome"].as_u64().unwrap()))
        .collect();
    let wanted = [
        (1, json!("admin"), json!("/v1/tokens"), 201),
        (2, json!("ed"), json!("/v1/sites/shop"), 201),
        (3, json!("ed"), json!("/v1/sites/blog"), 403),
        (4, json!("admin"), json!("/v1/purges"), 202),
    ];
    assert_eq!(told, wanted);
    assert!(all.iter().all(|line| line["address"] == "127.0.0.1" && line["time"].as_str().unwrap().ends_with('Z')), "{all:?}");
    let kept = std::fs::read_to_string(house.settings.data.join("audit.log")).unwrap();
    assert!(!kept.contains("hunter2") && !kept.contains(&editor), "{kept}");

    assert_eq!(house.ask_with(&editor, "GET", "/v1/audit", json!(null)).await.status, StatusCode::FORBIDDEN);
    for method in ["PUT", "POST", "DELETE"] {
        assert_eq!(house.call(method.parse().unwrap(), "/v1/audit", &json!({})).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    for query in ["limit=0", "limit=1001", "limit=x", "after=-1", "before=1"] {
        assert_eq!(house.get(&format!("/v1/audit?{query}")).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let house = house.restart(|_| {}).await;
    let page = lines(house.get("/v1/audit?after=1&limit=2").await.json());
    assert_eq!(page.iter().map(|line| line["number"].clone()).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(house.get("/v1/audit?limit=1").await.json()["lines"][0]["path"], "/v1/purges");
    house.put_site("blog", "b.test").await;
    assert_eq!(lines(house.get("/v1/audit?after=4").await.json())[0]["number"], 5);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_sites_brings_no_others_to_all_nodes_at_once() {
    let house = House::start_with(|settings| settings.rollout.hold = Period::from_secs(3_600)).await;
    let site = super::house::site;
    for (name, host) in [("shop", "shop.test"), ("blog", "moves.test")] {
        assert!(house.call(Method::PUT, &format!("/v1/sites/{name}?rollout=now"), &site(name, host)).await.status.is_success());
    }
    // The change by which the one gives the host up is held.
    house.put_site("blog", "blog.test").await;
    let shop = house.api_token(json!({"name": "of-shop", "role": "editor", "sites": ["shop"]})).await;
    let take = async |query: &str| house.ask_with(&shop, "PUT", &format!("/v1/sites/shop{query}"), site("shop", "moves.test")).await;
    let refused = take("?rollout=now").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert!(refused.text.contains("that waits") && !refused.text.contains("blog"), "{refused:?}");
    assert_eq!(take("").await.status, StatusCode::OK);
    let refused = take("?rollout=now").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "the same again: {refused:?}");
    house.stop().await;
}
