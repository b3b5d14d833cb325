//! Answers to HEAD that are stored for themselves, or that tell of stored ones.

use super::house::{House, Reply, START, Step, Upstream, gate, get, get_with, seconds, until};
use crate::request::Request;

fn head(request: Request) -> Request {
    Request { head_only: true, ..request }
}

#[tokio::test]
async fn a_200_to_head_does_not_confirm_the_word_that_nothing_is_there() {
    let upstream = Upstream::new(|index, forward| match (index, forward.request.head_only) {
        (0, _) => Reply::new(404, &[("cache-control", "max-age=1")], "none"),
        (_, true) => Reply::new(200, &[("cache-control", "max-age=60")], "").at(seconds(5)),
        (_, false) => Reply::new(200, &[("cache-control", "max-age=60")], "some").at(seconds(5)),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    assert_eq!(house.ask(head(get("/")), seconds(5)).await.0, 200);
    house.settled().await;
    let (status, _, body) = house.ask(get("/"), seconds(5)).await;
    assert_eq!((status, &body[..]), (200, &b"some"[..]));
}

#[tokio::test]
async fn a_head_that_varies_otherwise_once_confirmed_stands_in_no_get_s_way() {
    let upstream = Upstream::new(|index, forward| {
        let vary = if index == 0 { "x" } else { "y" };
        let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("vary", vary)];
        match (index, forward.request.headers.contains_key("if-none-match")) {
            (0, _) => Reply::new(200, &fields, ""),
            (_, true) => Reply::new(304, &fields, "").at(seconds(70)),
            (_, false) => Reply::new(200, &fields, "body").at(seconds(70)),
        }
    });
    let house = House::new(&upstream);
    for at in [0, 70] {
        house.ask(head(get("/")), seconds(at)).await;
        house.settled().await;
    }
    assert!(house.ask(head(get("/")), seconds(70)).await.1.contains("hit"));
    let before = upstream.calls();
    assert_eq!(house.ask(get("/"), seconds(70)).await.2, "body");
    house.settled().await;
    assert_eq!(upstream.calls(), before + 1, "one question is enough");
    assert!(house.ask(get("/"), seconds(70)).await.1.contains("hit"));
}

#[tokio::test]
async fn who_follows_a_head_that_varies_gets_it_if_the_variant_is_theirs() {
    let gate = gate();
    let upstream = Upstream::new({
        let gate = gate.clone();
        move |_, _| {
            Reply::new(200, &[("cache-control", "max-age=60, stale-while-revalidate=60"), ("vary", "x")], "")
                .gated(&gate)
                .steps(Vec::<Step>::new())
        }
    });
    let house = House::new(&upstream);
    let asking = |value: &'static str| {
        let house = house.clone();
        tokio::spawn(async move { house.ask(head(get_with("/", &[("x", value)])), START).await.1 })
    };
    let leader = asking("1");
    until("the fetch", || upstream.calls() == 1).await;
    let (same, other) = (asking("1"), asking("2"));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(9);
    leader.await.unwrap();
    assert!(same.await.unwrap().contains("collapsed"));
    assert!(!other.await.unwrap().contains("collapsed"));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn what_an_origin_says_to_head_alone_is_no_word_about_get() {
    let upstream = Upstream::new(|_, forward| match forward.request.head_only {
        true => Reply::new(405, &[("cache-control", "no-store")], "").at(seconds(100)),
        false => Reply::new(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], "x"),
    });
    let house = House::new(&upstream);
    assert_eq!(house.ask(head(get("/")), START).await.0, 405);
    house.settled().await;
    assert_eq!(house.ask(head(get("/")), START).await.1, "c; fwd=uri-miss; detail=uncacheable", "the next HEAD waits for nobody");
    assert_eq!(house.ask(get("/"), START).await.1, "c; fwd=uri-miss; stored; ttl=60", "GET is not remembered as uncacheable");
    house.settled().await;
    house.ask(head(get("/")), seconds(100)).await;
    house.settled().await;
    let (_, cache_status, _) = house.ask(get("/"), seconds(100)).await;
    assert!(cache_status.starts_with("c; fwd=stale"), "the stored answer is still there: {cache_status}");
}
