//! Explanations: of every state a request can find, and that explaining changes none of them.

use std::sync::Arc;

use serde_json::{Value, json};
use skerry_config::purge::{Purge, Targets};
use skerry_config::site::{Cookies, Key};
use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::house::{House, Reply, START, Upstream, gate, get, get_with, headers, policy, read, seconds, snapshot, until};
use crate::exchange::Bounds;
use crate::fetch::FetchErrorKind;
use crate::request::Request;
use crate::time::Time;

const BOUNDS: Bounds = Bounds { memory: 64 << 20, object_max: 16 << 20, filling_max: 64 << 20 };

impl House {
    /// The explanation as it is sent.
    pub(super) async fn explain(&self, request: &Request, now: Time) -> Value {
        serde_json::to_value(self.exchange.explain(request, &self.policy, now).await).unwrap()
    }

    async fn stored(reply: &[(&'static str, &str)]) -> Self {
        let house = Self::new(&Upstream::always(Reply::new(200, reply, "body")));
        house.ask(get("/a?b"), START).await;
        house.settled().await;
        house
    }

    fn purged(self, seq: u64, targets: Targets) -> Self {
        self.exchange.purge(&[Purge { seq, targets }], &snapshot(Key::default()));
        self
    }
}

#[track_caller]
fn check(explained: &Value, outcome: &str, why: &str) {
    assert_eq!((&explained["next"]["outcome"], &explained["next"]["why"]), (&json!(outcome), &json!(why)), "{explained:#}");
}

#[tokio::test]
async fn nothing_is_stored_and_explaining_asks_nobody() {
    let upstream = Upstream::always(Reply::new(200, &[], "x"));
    let house = House::new(&upstream);
    let explained = house.explain(&get("/a?b"), START).await;
    check(&explained, "miss", "nothing is stored for this key");
    assert_eq!((&explained["next"]["fwd"], &explained["stored"]), (&json!("uri-miss"), &Value::Null));
    assert_eq!(explained["key"]["text"], "https://shop.example/a?b");
    assert_eq!(explained["key"]["hash"].as_str().unwrap().len(), 32);
    assert_eq!((upstream.calls(), house.exchange.figures().entries), (0, 0));
}

#[tokio::test]
async fn a_fresh_answer_is_told_with_its_arithmetic() {
    let stored = [("cache-control", "s-maxage=60, max-age=5"), ("age", "10"), ("etag", "\"1\""), ("cache-tag", "red, blue")];
    let house = House::stored(&stored).await;
    let explained = house.explain(&get("/a?b"), seconds(12)).await;
    check(&explained, "hit", "fresh for 38 s more");
    let object = &explained["stored"];
    assert_eq!(object["age"], json!({"initial_ms": 10_000, "resident_ms": 12_000, "current_ms": 22_000}));
    assert_eq!(object["lifetime"], json!({"lifetime_ms": 60_000, "source": "s-maxage", "remaining_ms": 38_000, "no_cache": false}));
    assert_eq!(object["stored_at"], json!({"unix_ms": START.0, "date": "Thu, 01 Jan 2026 00:00:00 GMT"}));
    assert_eq!(
        (&object["status"], &object["etag"], &object["length"], &object["tags"]),
        (&json!(200), &json!("\"1\""), &json!(4), &json!(2))
    );
    assert_eq!(explained["purges"], json!({"in_force": 0, "stamp": 0, "compared": [], "verdict": "untouched"}));
    assert!(house.ask(get("/a?b"), seconds(12)).await.1.starts_with("c; hit; ttl=38"));
}

#[tokio::test]
async fn a_stale_answer_is_validated_or_fetched_whole() {
    let house = House::stored(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]).await;
    let explained = house.explain(&get("/a?b"), seconds(65)).await;
    check(&explained, "validate", "stale for 5 s; it is validated by its ETag");
    assert_eq!((&explained["next"]["fwd"], &explained["stored"]["lifetime"]["remaining_ms"]), (&json!("stale"), &json!(-5_000)));
    let house = House::stored(&[("cache-control", "max-age=60")]).await;
    check(&house.explain(&get("/a?b"), seconds(60)).await, "miss", "stale for 0 s; it has no validator, so it is fetched whole");
    let house = House::stored(&[("cache-control", "no-cache"), ("last-modified", "Thu, 01 Jan 2025 00:00:00 GMT")]).await;
    check(
        &house.explain(&get("/a?b"), START).await,
        "validate",
        "no-cache asks for validation on every use; it is validated by its Last-Modified",
    );
}

#[tokio::test]
async fn the_windows_of_rfc_5861_are_counted_down() {
    let house = House::stored(&[("cache-control", "max-age=60, stale-while-revalidate=10")]).await;
    let explained = house.explain(&get("/a?b"), seconds(62)).await;
    let why = "stale for 2 s, but within stale-while-revalidate for 8 s more; it is refreshed behind the answer";
    check(&explained, "stale-while-revalidate", why);
    assert_eq!(explained["stored"]["stale_while_revalidate"], json!({"window_ms": 10_000, "remaining_ms": 8_000, "open": true}));
    check(&house.explain(&get("/a?b"), seconds(70)).await, "miss", "stale for 10 s; it has no validator, so it is fetched whole");

    let upstream = Upstream::new(|call, _| match call {
        0 => Reply::new(200, &[("cache-control", "max-age=60, stale-if-error=100"), ("etag", "\"1\"")], "x"),
        _ => Reply::error(FetchErrorKind::Connect),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    let why = "stale for 1 s; it is validated by its ETag; should upstream fail, stale-if-error holds for 99 s more";
    check(&house.explain(&get("/"), seconds(61)).await, "validate", why);
    house.ask(get("/"), seconds(61)).await;
    house.settled().await;
    let why = "stale for 1 s, but a refresh failed a moment ago, and stale-if-error holds for 99 s more";
    check(&house.explain(&get("/"), seconds(61)).await, "stale-if-error", why);
}

#[tokio::test]
async fn a_purge_is_named_with_what_it_names() {
    let stored = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-tag", "red, blue")];
    let url = Targets { urls: vec!["http://shop.example/a?b".to_owned()], ..Targets::default() };
    let house = House::stored(&stored).await.purged(1, url);
    let explained = house.explain(&get("/a?b"), START).await;
    check(&explained, "miss", "purge 1 (by url) removed what is stored");
    assert_eq!(explained["next"]["detail"], "purged");
    let compared = json!([{"kind": "url", "hard": 1, "soft": 0, "verdict": "gone"}]);
    assert_eq!(explained["purges"], json!({"in_force": 1, "stamp": 0, "compared": compared, "verdict": "gone"}));
    assert_eq!(explained["stored"]["status"], 200, "what is gone is still shown");

    let tag = Targets { tags: vec!["blue".to_owned()], soft: true, ..Targets::default() };
    let prefix = Targets { prefixes: vec!["https://shop.example/x".to_owned()], ..Targets::default() };
    let house = House::stored(&stored).await.purged(1, prefix).purged(2, tag);
    let explained = house.explain(&get("/a?b"), START).await;
    check(&explained, "validate", "purge 2 (by tag) made it stale; it is validated by its ETag");
    assert_eq!(explained["next"]["detail"], "soft-purged");
    assert_eq!(explained["purges"]["compared"], json!([{"kind": "tag", "name": "blue", "hard": 0, "soft": 2, "verdict": "stale"}]));

    let several = Targets {
        all: true,
        sites: vec!["shop".to_owned()],
        hosts: vec!["shop.example".to_owned()],
        prefixes: vec!["https://shop.example/a".to_owned(), "https://shop.example/".to_owned()],
        ..Targets::default()
    };
    let house = house.purged(3, several);
    house.ask(get("/a?b"), START).await;
    house.settled().await;
    let explained = house.explain(&get("/a?b"), START).await;
    check(&explained, "hit", "fresh for 60 s more");
    let named = |one: &Value| (one["kind"].clone(), one["name"].clone(), one["verdict"].clone());
    let compared: Vec<_> = explained["purges"]["compared"].as_array().unwrap().iter().map(named).collect();
    let untouched = |kind: &str, name: Value| (json!(kind), name, json!("untouched"));
    let expected = [
        untouched("all", Value::Null),
        untouched("site", Value::Null),
        untouched("host", json!("shop.example")),
        untouched("tag", json!("blue")),
        untouched("prefix", json!("shop.example/")),
        untouched("prefix", json!("shop.example/a")),
    ];
    assert_eq!(compared, expected);
    assert_eq!((&explained["purges"]["in_force"], &explained["purges"]["stamp"]), (&json!(3), &json!(3)));
}

#[tokio::test]
async fn the_variant_is_chosen_by_the_fields_of_the_request() {
    let house = House::new(&Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "accept-encoding")], "y")));
    assert_eq!(house.explain(&get("/"), START).await["variant"], Value::Null);
    house.ask(get_with("/", &[("accept-encoding", "gzip, BR")]), START).await;
    house.settled().await;
    let explained = house.explain(&get_with("/", &[("accept-encoding", "br,gzip")]), START).await;
    check(&explained, "hit", "fresh for 60 s more");
    assert_eq!(explained["variant"]["fields"], json!([{"name": "accept-encoding", "value": "br,gzip"}]));
    let other = house.explain(&get("/"), START).await;
    check(&other, "miss", "nothing is stored for this variant");
    assert_eq!((&other["next"]["fwd"], &other["variant"]["fields"]), (&json!("vary-miss"), &json!([{"name": "accept-encoding"}])));
    assert_eq!(other["key"], explained["key"]);
    assert_ne!(other["variant"]["hash"], explained["variant"]["hash"]);
}

#[tokio::test]
async fn what_could_not_be_stored_is_remembered_and_passed() {
    let house = House::stored(&[("cache-control", "private")]).await;
    let explained = house.explain(&get("/a?b"), seconds(20)).await;
    let why = "an answer for this key could not be stored; for 100 s more its requests go upstream without waiting for each other";
    check(&explained, "pass", why);
    assert_eq!(explained["uncacheable_until"]["unix_ms"], seconds(120).0);
    check(&house.explain(&get_with("/a?b", &[("authorization", "x")]), seconds(20)).await, "miss", "nothing is stored for this key");
    check(&house.explain(&get("/a?b"), seconds(120)).await, "miss", "nothing is stored for this key");
}

#[tokio::test]
async fn a_bypass_comes_before_everything() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60")], "x"));
    let mut house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    house.policy = Arc::new(Policy { bypass: true, rule: Some(3), ..policy() });
    let explained = house.explain(&get("/"), START).await;
    check(&explained, "pass", "the site's policy keeps the request away from the cache");
    assert_eq!((&explained["next"]["fwd"], &explained["policy"]["rule"]), (&json!("bypass"), &json!(3)));
}

#[tokio::test]
async fn a_fetch_under_way_would_be_joined() {
    let gate = gate();
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60")], "x").gated(&gate));
    let house = House::new(&upstream);
    let first = {
        let house = house.clone();
        tokio::spawn(async move { read(house.run(get("/"), START).await.unwrap()).await })
    };
    until("the fetch", || upstream.calls() == 1).await;
    let explained = house.explain(&get("/"), START).await;
    check(&explained, "collapse", "another request's fetch is under way, and this one gets its answer if it fits");
    assert_eq!(explained["fetching"], true);
    let house = house.purged(1, Targets { all: true, ..Targets::default() });
    check(&house.explain(&get("/"), START).await, "miss", "nothing is stored for this key");
    gate.add_permits(1);
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lifetime_by_rule_says_so() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("age", "7")], "x"));
    let house = House::with(&upstream, Policy { rule: Some(0), ttl: Some(Period::from_secs(90)), ..policy() }, BOUNDS);
    house.ask(get("/"), START).await;
    house.settled().await;
    let explained = house.explain(&get("/"), seconds(1)).await;
    assert_eq!(explained["stored"]["lifetime"]["source"], "rule");
    assert_eq!((&explained["policy"]["ttl"], &explained["policy"]["rule"]), (&json!("90s"), &json!(0)));
}

#[tokio::test]
async fn parts_are_told_with_their_bytes() {
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-range", "bytes 4-9/20")];
    let house = House::new(&Upstream::always(Reply::new(206, &fields, "456789")));
    let range = |range| get_with("/", &[("range", range)]);
    house.ask(range("bytes=4-9"), START).await;
    house.settled().await;
    let explained = house.explain(&range("bytes=5-6"), seconds(1)).await;
    check(&explained, "hit", "fresh for 59 s more");
    assert_eq!((&explained["stored"]["parts"], &explained["stored"]["length"]), (&json!([{"first": 4, "last": 9}]), &json!(20)));
    let other = house.explain(&range("bytes=8-12"), START).await;
    check(&other, "miss", "only parts are stored, and not all that the request needs");
    assert_eq!(other["next"]["fwd"], "partial");
}

#[tokio::test]
async fn what_the_node_itself_found_out_of_date_is_told() {
    let fields = [("cache-control", "max-age=60"), ("cache-groups", "\"menu\"")];
    let house = House::stored(&fields).await;
    house.exchange.invalidate(&get("/a?b"), &house.policy, &headers(&[]));
    let explained = house.explain(&get("/a?b"), START).await;
    check(&explained, "miss", "an unsafe request or a cache group removed what is stored");
    assert_eq!((&explained["purges"]["invalidated"], &explained["purges"]["compared"]), (&json!(true), &json!([])));

    let house = House::stored(&fields).await;
    house.exchange.invalidate(&get("/other"), &house.policy, &headers(&[("cache-group-invalidation", "\"menu\"")]));
    check(&house.explain(&get("/a?b"), START).await, "miss", "an unsafe request or a cache group removed what is stored");
}

#[tokio::test]
async fn what_the_request_says_counts_as_far_as_the_policy_obeys() {
    let mut house = House::stored(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]).await;
    let asked = |directive| get_with("/a?b", &[("cache-control", directive)]);
    let why = "nothing that is stored may be used, and the request wants nothing else (only-if-cached)";
    check(&house.explain(&asked("only-if-cached"), seconds(70)).await, "refuse", why);
    check(&house.explain(&asked("only-if-cached"), seconds(7)).await, "hit", "fresh for 53 s more");
    check(&house.explain(&asked("no-cache"), START).await, "hit", "fresh for 60 s more");
    house.policy = Arc::new(Policy { obey_request: true, ..policy() });
    let explained = house.explain(&asked("no-cache"), START).await;
    check(&explained, "validate", "what is stored does not satisfy the request's directives; it is validated by its ETag");
    assert_eq!(explained["next"]["fwd"], "request");
    check(&house.explain(&asked("max-stale"), seconds(65)).await, "hit", "stale for 5 s, which the request's max-stale allows");
    check(&house.explain(&asked("no-store"), START).await, "pass", "its own no-store keeps the request away from the cache");
    let why = "its own no-store keeps the request away from the cache, and the request wants nothing else (only-if-cached)";
    check(&house.explain(&asked("no-store, only-if-cached"), START).await, "refuse", why);
}

#[tokio::test]
async fn cookies_keep_away_or_do_not_count_as_the_policy_says() {
    let mut house = House::stored(&[("cache-control", "max-age=60"), ("vary", "cookie")]).await;
    let cookies = Cookies { bypass: vec!["session".to_owned()], strip: vec!["_ga*".to_owned()], ..Cookies::default() };
    let asked = |cookie| get_with("/a?b", &[("cookie", cookie)]);
    check(&house.explain(&asked("_ga1=2"), START).await, "miss", "nothing is stored for this variant");
    house.policy = Arc::new(Policy { cookies, ..policy() });
    check(&house.explain(&asked("_ga1=2"), START).await, "hit", "fresh for 60 s more");
    check(&house.explain(&asked("session=1"), START).await, "pass", "the site's policy keeps the request away from the cache");
}
