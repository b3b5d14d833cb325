//! Secrets: what versions refer to, where the values are, who may use and write which.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skerry_agent::Role;

use super::house::{House, site};
use crate::store::{Change, Redb, Store as _, Transaction};

/// A certificate of itself, and its key.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    (rcgen::CertificateParams::new(vec!["edge.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn with(name: &str, host: &str, chain: &str, key: &str) -> Value {
    let mut site = site(name, host);
    site["origin"]["client_certificate"] = json!(chain);
    site["origin"]["client_key"] = json!(key);
    site
}

impl House {
    async fn put_secret(&self, name: &str, value: &str, sites: Option<&[&str]>) -> super::house::Answer {
        let mut body = json!({"value": value});
        if let Some(sites) = sites {
            body["sites"] = json!(sites);
        }
        self.call(Method::PUT, &format!("/v1/secrets/{name}"), &body).await
    }

    async fn put(&self, site: &Value) -> super::house::Answer {
        self.call(Method::PUT, &format!("/v1/sites/{}", site["name"].as_str().unwrap()), site).await
    }

    /// Everything in the store but the part of the secrets, as text.
    async fn versions_in_store(self) -> (String, Self) {
        let mut text = String::new();
        let house = self
            .restart(|data| {
                let store = Redb::open(&data.join("store.redb")).unwrap();
                for (key, value) in store.list("").unwrap() {
                    if !key.starts_with("secret/") {
                        text.push_str(&format!("{key} {}\n", String::from_utf8_lossy(&value)));
                    }
                }
                store.close();
            })
            .await;
        (text, house)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_hold_references_and_nodes_get_the_secrets() {
    let house = House::start().await;
    let (chain, key) = certificate();
    let line = key.lines().nth(1).unwrap().to_owned();
    assert_eq!(house.put(&with("shop", "a.test", &chain, &key)).await.status, StatusCode::CREATED);
    let made = house.put_secret("shop-key", &key, None).await;
    assert_eq!((made.status, &made.json()["used_by"]), (StatusCode::CREATED, &json!([])));
    assert!(!made.text.contains(&line));
    assert_eq!(house.put(&with("blog", "b.test", &chain, "secret:shop-key")).await.status, StatusCode::CREATED);
    let node = house.node(Role::Shield, "shield-1").await;
    house.connected("shield-1").await;
    let sent = std::fs::read_to_string(house.data("shield-1").join("snapshot.json")).unwrap();
    assert_eq!(sent.matches(&line).count(), 2, "each site has its key there");
    let shown = house.get("/v1/sites/blog").await.json()["site"].clone();
    assert_eq!(shown["origin"]["client_key"], "secret:shop-key");
    assert_eq!(house.put(&shown).await.json()["changed"], false);
    assert_eq!(house.post("/v1/check", json!({"site": shown})).await.json(), json!({"ok": true}));
    node.stop().await;

    let (stored, house) = house.versions_in_store().await;
    assert!(stored.contains("version/shop/") && !stored.contains(&line) && !stored.contains("PRIVATE KEY"), "{stored}");
    let listed = house.get("/v1/secrets").await;
    assert_eq!(listed.json()["secrets"][0]["used_by"], json!(["blog"]));
    assert!(!listed.text.contains(&line));
    let log = std::fs::read_to_string(house.settings.data.join("audit.log")).unwrap();
    assert!(log.contains("/v1/secrets/shop-key") && !log.contains(&line));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_value_is_a_new_version_of_who_uses_it() {
    let house = House::start().await;
    let ((chain, key), (_, other)) = (certificate(), certificate());
    house.put_secret("shop-key", &key, None).await;
    house.put(&with("shop", "a.test", &chain, "secret:shop-key")).await;
    let before = house.get("/v1/sites").await.json()["snapshot"].as_u64().unwrap();
    let wrong = house.put_secret("shop-key", &other, None).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    assert!(wrong.json()["detail"].as_str().unwrap().contains("under another name"), "{wrong:?}");
    // The same key in another text: another value.
    let changed = house.put_secret("shop-key", &format!("{key}\n"), None).await;
    assert_eq!((changed.status, &changed.json()["used_by"]), (StatusCode::OK, &json!(["shop"])), "{changed:?}");
    let shop = house.get("/v1/sites/shop").await.json();
    assert_eq!((&shop["version"], &shop["site"]["origin"]["client_key"]), (&json!(2), &json!("secret:shop-key")));
    assert_eq!(house.get("/v1/sites/shop/versions").await.json()["versions"][1]["reason"], "secret shop-key has a new value");
    assert!(house.get("/v1/sites").await.json()["snapshot"].as_u64().unwrap() > before, "there is a new document");
    assert_eq!(house.put_secret("shop-key", &format!("{key}\n"), None).await.status, StatusCode::OK);
    assert_eq!(house.get("/v1/sites/shop").await.json()["version"], 2, "the same value again");

    // An old version means the value it had.
    let old = house.get("/v1/sites/shop/versions/1").await.json()["site"]["origin"]["client_key"].clone();
    assert!(old.as_str().unwrap().starts_with("secret:shop-key#"), "{old}");
    assert_eq!(house.post("/v1/sites/shop/rollback", json!({"version": 1})).await.json()["version"], 3);
    assert_eq!(house.get("/v1/sites/shop").await.json()["site"]["origin"]["client_key"], old);
    let house = house.restart(|_| {}).await;
    let node = house.node(Role::Shield, "shield-1").await;
    let sent = std::fs::read_to_string(house.data("shield-1").join("snapshot.json")).unwrap();
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(sent["sites"][0]["origin"]["client_key"], json!(key));
    node.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_use_stays_and_one_that_goes_takes_its_values_along() {
    let house = House::start().await;
    let (chain, key) = certificate();
    house.put_secret("shop-key", &key, None).await;
    house.put(&with("shop", "a.test", &chain, "secret:shop-key")).await;
    let delete = async || house.call(Method::DELETE, "/v1/secrets/shop-key", &json!(null)).await;
    let refused = delete().await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.json()["detail"].as_str().unwrap().contains("in use by shop"), "{refused:?}");
    assert_eq!(house.put_site("shop", "a.test").await.json()["version"], 2);
    super::house::eventually("no node has it", async || (delete().await.status == StatusCode::NO_CONTENT).then_some(())).await;
    assert_eq!(delete().await.status, StatusCode::NOT_FOUND);
    let gone = house.post("/v1/sites/shop/rollback", json!({"version": 1})).await;
    assert_eq!(gone.status, StatusCode::UNPROCESSABLE_ENTITY, "{gone:?}");
    assert!(gone.json()["errors"][0]["detail"].as_str().unwrap().contains("is not there"), "{gone:?}");
    assert_eq!(house.put(&with("shop", "a.test", &chain, "secret:shop-key")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uses_or_writes_the_secrets_of_others() {
    let mut house = House::start().await;
    let admin = house.token.clone();
    let (chain, key) = certificate();
    house.put(&with("blog", "b.test", &chain, &key)).await;
    let mark = house.get("/v1/sites/blog").await.json()["site"]["origin"]["client_key"].as_str().unwrap().to_owned();
    house.put_secret("blogs", &key, Some(&["blog"])).await;
    house.put_secret("shared", &key, None).await;
    let made = house.post("/v1/tokens", json!({"kind": "api", "role": "editor", "sites": ["shop"]})).await.json();
    house.token = made["token"].as_str().unwrap().to_owned();
    for client_key in [&*mark, "secret:blogs", "secret:none", "secret:shared#0123456789abcdef"] {
        let refused = house.put(&with("shop", "a.test", &chain, client_key)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{client_key}: {refused:?}");
    }
    for (name, sites) in [("blogs", Some(&["shop"][..])), ("shared", Some(&["shop"])), ("new", None), ("new", Some(&["shop", "blog"]))] {
        assert_eq!(house.put_secret(name, &key, sites).await.status, StatusCode::FORBIDDEN, "{name} {sites:?}");
    }
    for name in ["blogs", "shared"] {
        assert_eq!(house.call(Method::DELETE, &format!("/v1/secrets/{name}"), &json!(null)).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(house.put_secret("shops", &key, Some(&["shop"])).await.status, StatusCode::CREATED);
    assert_eq!(house.put(&with("shop", "a.test", &chain, "secret:shops")).await.status, StatusCode::CREATED);
    let listed = house.get("/v1/secrets").await.json();
    assert_eq!(listed["secrets"].as_array().unwrap().iter().map(|secret| secret["name"].clone()).collect::<Vec<_>>(), ["shops"]);
    house.token = admin;
    assert_eq!(house.put_secret("shops", &key, Some(&["blog"])).await.status, StatusCode::CONFLICT, "shop uses it");
    for (path, body) in [
        ("value", json!({"value": ""})),
        ("value", json!({"value": "secret:other"})),
        ("value", json!({"value": "redacted:00"})),
        ("value", json!({"value": "x".repeat((64 << 10) + 1)})),
        ("sites", json!({"value": "x", "sites": []})),
        ("sites", json!({"value": "x", "sites": ["a b"]})),
    ] {
        let refused = house.call(Method::PUT, "/v1/secrets/new", &body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
        assert_eq!(refused.json()["errors"][0]["path"], path, "{refused:?}");
    }
    assert_eq!(house.put_secret("A%20b", "x", None).await.status, StatusCode::BAD_REQUEST);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_store_is_moved_at_the_start() {
    let house = House::start().await;
    let (chain, key) = certificate();
    house.put(&with("shop", "a.test", &chain, &key)).await;
    house.put(&with("shop", "b.test", &chain, &key)).await;
    // As an earlier version of this program left it: keys inside of versions.
    let house = house
        .restart(|data| {
            let store = Redb::open(&data.join("store.redb")).unwrap();
            let mut then = vec![Change::Delete("meta/secrets".to_owned())];
            for (stored, value) in store.list("").unwrap() {
                if stored.starts_with("secret/") {
                    then.push(Change::Delete(stored));
                } else if String::from_utf8_lossy(&value).contains("\"client_key\":") {
                    let mut value: Value = serde_json::from_slice(&value).unwrap();
                    let site = if value["site"].is_object() { &mut value["site"] } else { &mut value["version"]["site"] };
                    site["origin"]["client_key"] = json!(key);
                    then.push(Change::Put(stored, value.to_string().into_bytes()));
                }
            }
            assert!(then.len() > 3, "{then:?}");
            store.transact(&Transaction { then, ..Transaction::default() }).unwrap();
            store.close();
        })
        .await;
    let (stored, house) = house.versions_in_store().await;
    assert!(stored.contains("redacted:") && !stored.contains("PRIVATE KEY"), "{stored}");
    assert_eq!(house.post("/v1/sites/shop/rollback", json!({"version": 1})).await.json()["version"], 3);
    let node = house.node(Role::Shield, "shield-1").await;
    let sent: Value = serde_json::from_slice(&std::fs::read(house.data("shield-1").join("snapshot.json")).unwrap()).unwrap();
    assert_eq!(sent["sites"][0]["origin"]["client_key"], json!(key));
    node.stop().await;
    house.stop().await;
}
