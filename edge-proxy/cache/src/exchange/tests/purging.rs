//! Purges while fetches are under way, and what a soft one leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skerry_config::purge::{Purge, Targets};
use skerry_config::site::Key;
use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::house::{House, Reply, START, Step, Upstream, gate, get, get_with, policy, read, seconds, snapshot, until};
use crate::exchange::Bounds;

const STORED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-tag", "red")];

fn purge(house: &House, seq: u64, targets: Targets) {
    house.exchange.purge(&[Purge { seq, targets }], &snapshot(Key::default()));
}

fn url(path: &str) -> Targets {
    Targets { urls: vec![format!("http://shop.example{path}")], ..Targets::default() }
}

fn tag() -> Targets {
    Targets { tags: vec!["red".to_owned()], ..Targets::default() }
}

#[tokio::test]
async fn a_purged_answer_is_fetched_again_without_its_validators() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x"));
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    purge(&house, 1, url("/"));
    assert_eq!(house.exchange.purge_seq(), 1);
    let (_, cache_status, _) = house.ask(get("/"), START).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; stored; ttl=60; detail=purged");
    assert_eq!(upstream.call(1).purge_seq, 1);
    assert!(!upstream.call(1).request.headers.contains_key("if-none-match"));
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.1, "c; hit; ttl=60");
}

#[tokio::test]
async fn what_one_site_stored_is_not_served_for_another_one() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x"));
    let mut house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.1, "c; hit; ttl=60");
    // The host went to another site; it comes back too.
    let first = std::mem::replace(&mut house.policy, Arc::new(Policy { site: "other".into(), ..policy() }));
    assert_eq!(house.ask(get("/"), START).await.1, "c; fwd=uri-miss; stored; ttl=60");
    house.policy = first;
    assert_eq!(house.ask(get("/"), START).await.1, "c; hit; ttl=60");
}

#[tokio::test]
async fn dropping_everything_means_everything_whatever_the_number() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x"));
    let house = House::new(&upstream);
    house.exchange.resume_at(7);
    house.ask(get("/"), START).await;
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.1, "c; hit; ttl=60");
    house.exchange.purge_all_through(5);
    assert_eq!(house.ask(get("/"), START).await.1, "c; fwd=uri-miss; stored; ttl=60");
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.1, "c; hit; ttl=60");
}

#[tokio::test]
async fn dropping_everything_means_what_is_fetched_for_one_alone_too() {
    let head = gate();
    let upstream = Upstream::new({
        let head = head.clone();
        move |index, _| match index {
            0 => Reply::new(200, &[("cache-control", "no-cache"), ("etag", "\"1\"")], "x"),
            _ => Reply::new(200, STORED, "x").gated(&head),
        }
    });
    let house = House::new(&upstream);
    house.exchange.resume_at(7);
    house.ask(get("/"), START).await;
    house.settled().await;
    let alone = tokio::spawn({
        let house = house.clone();
        async move { house.ask(get("/"), START).await }
    });
    until("the fetch", || upstream.calls() == 2).await;
    house.exchange.purge_all_through(5);
    head.add_permits(2);
    alone.await.unwrap();
    until("the end of the fetch", || upstream.dropped.load(Ordering::SeqCst) == 2).await;
    assert_eq!(house.ask(get("/"), START).await.1, "c; fwd=uri-miss; stored; ttl=60");
}

#[tokio::test]
async fn a_purge_by_url_means_every_variant() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "x")], "y"));
    let house = House::new(&upstream);
    for value in ["1", "2"] {
        house.ask(get_with("/", &[("x", value)]), START).await;
        house.settled().await;
    }
    purge(&house, 1, url("/"));
    for value in ["1", "2"] {
        let (_, cache_status, _) = house.ask(get_with("/", &[("x", value)]), START).await;
        assert!(cache_status.contains("detail=purged"), "{cache_status}");
    }
}

/// A fill that a purge overtakes, before or after its head.
async fn overtaken(targets: Targets, before_head: bool) {
    let (head, middle) = (gate(), gate());
    let upstream = Upstream::new({
        let (head, middle) = (head.clone(), middle.clone());
        move |index, _| match index {
            0 => Reply::new(200, STORED, "")
                .steps(vec![Step::Send("ol".into()), Step::Gate(middle.clone()), Step::Send("d".into())])
                .gated(&head),
            _ => Reply::new(200, STORED, "new"),
        }
    });
    let house = House::new(&upstream);
    let before = tokio::spawn({
        let house = house.clone();
        async move { house.run(get("/"), START).await.unwrap() }
    });
    until("the fetch", || upstream.calls() == 1).await;
    let early = if before_head {
        purge(&house, 1, targets);
        head.add_permits(1);
        before.await.unwrap()
    } else {
        head.add_permits(1);
        let early = before.await.unwrap();
        purge(&house, 1, targets);
        early
    };
    // After the purge nobody gets what was being fetched before it.
    assert_eq!(house.ask(get("/"), START).await.2, "new");
    // Who read along already reads on.
    middle.add_permits(1);
    assert_eq!(read(early).await.unwrap(), "old");
    house.settled().await;
    let (_, cache_status, body) = house.ask(get("/"), START).await;
    assert_eq!((cache_status.as_str(), &body[..]), ("c; hit; ttl=60", &b"new"[..]));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn a_fill_that_a_purge_by_url_overtakes_before_its_head_is_not_used() {
    overtaken(url("/"), true).await;
}

#[tokio::test]
async fn a_fill_that_a_purge_by_url_overtakes_after_its_head_is_not_used() {
    overtaken(url("/"), false).await;
}

#[tokio::test]
async fn a_fill_that_a_purge_by_tag_overtakes_before_its_head_is_not_used() {
    overtaken(tag(), true).await;
}

#[tokio::test]
async fn a_fill_that_a_purge_by_tag_overtakes_after_its_head_is_not_used() {
    overtaken(tag(), false).await;
}

#[tokio::test]
async fn a_softly_purged_answer_is_validated_first_where_no_window_is_open() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, STORED, "x"),
        _ => Reply::new(304, STORED, "").at(seconds(5)),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    purge(&house, 1, Targets { soft: true, ..url("/") });
    let (_, cache_status, body) = house.ask(get("/"), seconds(5)).await;
    assert_eq!((cache_status.as_str(), &body[..]), ("c; fwd=stale; fwd-status=304; stored; ttl=60; detail=soft-purged", &b"x"[..]));
    assert_eq!(upstream.call(1).request.headers["if-none-match"], "\"1\"");
    house.settled().await;
    assert!(house.ask(get("/"), START).await.1.starts_with("c; hit"));
}

#[tokio::test]
async fn a_softly_purged_answer_is_served_while_it_is_refreshed_where_the_window_is_open() {
    let refresh = gate();
    let upstream = Upstream::new({
        let refresh = refresh.clone();
        move |index, _| match index {
            0 => Reply::new(200, STORED, "old"),
            _ => Reply::new(200, STORED, "new").gated(&refresh),
        }
    });
    let mut windows = policy();
    windows.default_stale_while_revalidate = Period::from_secs(10);
    let house = House::with(&upstream, windows, Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 });
    house.ask(get("/"), START).await;
    house.settled().await;
    purge(&house, 1, Targets { soft: true, ..tag() });
    for _ in 0..3 {
        let (_, cache_status, body) = house.ask(get("/"), START).await;
        assert_eq!((cache_status.as_str(), &body[..]), ("c; hit; ttl=60; detail=stale-while-revalidate", &b"old"[..]));
    }
    refresh.add_permits(1);
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.2, "new");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_purge_nobody_gets_what_was_before_however_busy_the_key() {
    // The upstream's answer is the purge number it was told: an answer must never be older than the purges before the request.
    let upstream = Upstream::new(|_, forward| Reply::new(200, STORED, forward.purge_seq.to_string()));
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move {
                for _ in 0..500 {
                    let before = house.exchange.purge_seq();
                    let (_, cache_status, body) = house.ask(get("/"), START).await;
                    let got: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap();
                    assert!(got >= before, "asked at {before}, got {got}: {cache_status}");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let exchange = Arc::clone(&house.exchange);
    let purger = tokio::spawn(async move {
        let snapshot = snapshot(Key::default());
        for seq in 1..=300 {
            let targets = if seq % 2 == 0 { url("/") } else { tag() };
            exchange.purge(&[Purge { seq, targets }], &snapshot);
            tokio::task::yield_now().await;
        }
    });
    purger.await.unwrap();
    for client in clients {
        client.await.unwrap();
    }
    assert!(upstream.calls() > 1);
}

#[tokio::test]
async fn a_request_after_a_purge_does_not_wait_for_a_head_from_before_it() {
    let never = gate();
    let upstream = Upstream::new({
        let never = never.clone();
        move |index, _| if index == 0 { Reply::new(200, STORED, "old").gated(&never) } else { Reply::new(200, STORED, "new") }
    });
    let house = House::new(&upstream);
    let before = tokio::spawn({
        let house = house.clone();
        async move { house.ask(get("/"), START).await.2 }
    });
    until("the fetch", || upstream.calls() == 1).await;
    purge(&house, 1, url("/"));
    let asked = tokio::time::timeout(std::time::Duration::from_secs(10), house.ask(get("/"), START)).await;
    assert_eq!(asked.unwrap().2, "new");
    never.add_permits(1);
    assert_eq!(before.await.unwrap(), "old");
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.2, "new");
}
