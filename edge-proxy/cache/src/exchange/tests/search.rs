//! `No-Vary-Search`, cache groups, and what else ties URLs together.

use skerry_config::purge::{Purge, Targets};
use skerry_config::site::Key as Rules;
use skerry_config::snapshot::{Policy, Snapshot};

use super::house::{House, Reply, START, Upstream, get, get_with, headers, policy};
use crate::exchange::Bounds;

const BOUNDS: Bounds = Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 };

fn house(upstream: &std::sync::Arc<Upstream>, policy: Policy) -> House {
    House::with(upstream, policy, BOUNDS)
}

async fn is_hit(house: &House, request: crate::request::Request) -> bool {
    let (_, cache_status, _) = house.ask(request, START).await;
    house.settled().await;
    cache_status.contains("hit")
}

#[tokio::test]
async fn no_vary_search_lets_other_queries_find_the_answer_where_the_site_says_so() {
    for listens in [false, true] {
        let fields = [("cache-control", "max-age=60"), ("no-vary-search", "params=(\"utm\"), key-order")];
        let upstream = Upstream::always(Reply::new(200, &fields, "x"));
        let house = house(&upstream, Policy { no_vary_search: listens, ..policy() });
        assert!(!is_hit(&house, get("/a?utm=1&b=2&a=1")).await);
        assert_eq!(is_hit(&house, get("/a?a=1&b=2&utm=2")).await, listens);
        assert!(!is_hit(&house, get("/a?a=1&b=3&utm=2")).await, "b counts");
        assert!(!is_hit(&house, get("/other?a=1&b=2")).await, "another path");
        assert_eq!(is_hit(&house, get("/a?b=3&a=1")).await, listens);
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_queries_ends_what_an_earlier_one_said() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, &[("cache-control", "max-age=60"), ("no-vary-search", "params")], "x"),
        _ => Reply::new(200, &[("cache-control", "no-cache"), ("etag", "\"1\"")], "y"),
    });
    let house = house(&upstream, Policy { no_vary_search: true, ..policy() });
    assert!(!is_hit(&house, get("/a?1")).await);
    assert!(is_hit(&house, get("/a?2")).await);
    house.exchange.invalidate(&get("/a?3"), &house.policy, &headers(&[]));
    assert!(!is_hit(&house, get("/a?1")).await, "an unsafe request to any of the URLs means the one answer");
    assert!(!is_hit(&house, get("/a?2")).await);
}

#[tokio::test]
async fn a_purge_of_any_of_the_urls_means_the_answer_they_share() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("no-vary-search", "params")], "x"));
    let house = house(&upstream, Policy { no_vary_search: true, ..policy() });
    is_hit(&house, get("/a?1")).await;
    assert!(is_hit(&house, get("/a?2")).await);
    let targets = Targets { urls: vec!["https://shop.example/a?2".to_owned()], ..Targets::default() };
    house.exchange.purge(&[Purge { seq: 1, targets }], &Snapshot::default());
    assert!(!is_hit(&house, get("/a?1")).await);
}

#[tokio::test]
async fn rfc9875_a_group_is_invalidated_with_all_its_members() {
    let upstream = Upstream::new(|_, forward| {
        let groups = match forward.request.path_and_query.as_str() {
            "/a" => "\"one\", \"two\"",
            "/b" => "\"two\"",
            _ => "\"three\"",
        };
        Reply::new(200, &[("cache-control", "max-age=60"), ("cache-groups", groups)], "x")
    });
    let house = house(&upstream, policy());
    for path in ["/a", "/b", "/c"] {
        is_hit(&house, get(path)).await;
        assert!(is_hit(&house, get(path)).await);
    }
    house.exchange.invalidate(&get("/form"), &house.policy, &headers(&[("cache-group-invalidation", "\"two\"")]));
    for (path, hit) in [("/a", false), ("/b", false), ("/c", true), ("/a", true)] {
        assert_eq!(is_hit(&house, get(path)).await, hit, "{path}");
    }
    // Groups are of one origin.
    let other = crate::request::Request { authority: "other.example".to_owned(), ..get("/form") };
    house.exchange.invalidate(&other, &house.policy, &headers(&[("cache-group-invalidation", "\"two\"")]));
    assert!(is_hit(&house, get("/b")).await);
    house.exchange.invalidate(&get("/form"), &house.policy, &headers(&[("cache-group-invalidation", "two")]));
    assert!(is_hit(&house, get("/b")).await, "a field that is no list of strings is ignored");
}

#[tokio::test]
async fn rfc9111_4_4_an_unsafe_request_means_every_key_of_its_target() {
    let key = Rules { headers: vec!["x-tenant".to_owned()], ..Rules::default() };
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60")], "x"));
    let house = house(&upstream, Policy { key, ..policy() });
    let tenants = ["a", "b"].map(|tenant| get_with("/", &[("x-tenant", tenant)]));
    for request in &tenants {
        is_hit(&house, request.clone()).await;
        assert!(is_hit(&house, request.clone()).await);
    }
    house.exchange.invalidate(&get("/"), &house.policy, &headers(&[]));
    for request in &tenants {
        assert!(!is_hit(&house, request.clone()).await);
    }
}

#[tokio::test]
async fn the_key_is_shown_where_the_site_says_so() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60")], "x"));
    let house = house(&upstream, Policy { show_key: true, ..policy() });
    assert_eq!(house.ask(get("/a?b"), START).await.1, "c; fwd=uri-miss; stored; ttl=60; key=\"https://shop.example/a?b\"");
}

#[tokio::test]
async fn an_answer_that_said_nothing_of_queries_is_not_found_by_what_another_one_said() {
    let upstream = Upstream::new(|_, forward| {
        let path = &forward.request.path_and_query;
        let mut fields = vec![("cache-control", "max-age=60")];
        if path.contains("b=1") {
            fields.push(("no-vary-search", "params=(\"x\")"));
        }
        Reply::new(200, &fields, path.clone())
    });
    let house = house(&upstream, Policy { no_vary_search: true, ..policy() });
    for path in ["/a?a=1", "/a", "/a?b=1"] {
        assert!(!is_hit(&house, get(path)).await);
    }
    for path in ["/a?a=1&x=2", "/a?x=2"] {
        assert_eq!(house.ask(get(path), START).await.2, path);
        house.settled().await;
        house.ask(get("/a?b=1"), START).await;
        house.settled().await;
    }
}

#[tokio::test]
async fn who_waits_for_an_answer_to_another_query_gets_it_only_if_it_says_that_it_is_theirs() {
    let gate = super::house::gate();
    let upstream = Upstream::new({
        let gate = gate.clone();
        move |index, forward| {
            let path = forward.request.path_and_query.clone();
            match index {
                0 => Reply::new(200, &[("cache-control", "max-age=1"), ("no-vary-search", "params=(\"x\")")], path),
                _ => Reply::new(200, &[("cache-control", "max-age=60")], path).gated(&gate),
            }
        }
    });
    let house = house(&upstream, Policy { no_vary_search: true, ..policy() });
    is_hit(&house, get("/a?x=0")).await;
    let asking = |path: &'static str| {
        let house = house.clone();
        tokio::spawn(async move { house.ask(get(path), super::house::seconds(5)).await.2 })
    };
    let leader = asking("/a?x=1");
    super::house::until("the fetch", || upstream.calls() == 2).await;
    let follower = asking("/a?x=2");
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(9);
    assert_eq!(leader.await.unwrap(), "/a?x=1");
    assert_eq!(follower.await.unwrap(), "/a?x=2");
}

#[tokio::test]
async fn a_304_may_take_back_what_the_answer_said_of_queries() {
    let upstream = Upstream::new(|index, forward| {
        let search = if index == 0 { "params=(\"x\")" } else { "params=(\"y\")" };
        let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("no-vary-search", search)];
        let at = super::house::seconds(if index == 0 { 0 } else { 100 });
        match forward.request.headers.contains_key("if-none-match") {
            true => Reply::new(304, &fields, "").at(at),
            false => Reply::new(200, &fields, forward.request.path_and_query.clone()).at(at),
        }
    });
    let house = house(&upstream, Policy { no_vary_search: true, ..policy() });
    is_hit(&house, get("/a?x=1")).await;
    for (path, expected) in [("/a?x=1", "/a?x=1"), ("/a?x=2", "/a?x=2"), ("/a?x=1&y=1", "/a?x=1")] {
        assert_eq!(house.ask(get(path), super::house::seconds(100)).await.2, expected, "{path}");
        house.settled().await;
    }
    assert_eq!(upstream.calls(), 3);
}
