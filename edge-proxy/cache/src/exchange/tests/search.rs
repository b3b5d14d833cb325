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
    house.exchange.invalidate(&get("/a?3"), "shop", &house.policy, &headers(&[]));
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
    house.exchange.invalidate(&get("/form"), "shop", &house.policy, &headers(&[("cache-group-invalidation", "\"two\"")]));
    for (path, hit) in [("/a", false), ("/b", false), ("/c", true), ("/a", true)] {
        assert_eq!(is_hit(&house, get(path)).await, hit, "{path}");
    }
    // Groups are of one origin.
    let other = crate::request::Request { authority: "other.example".to_owned(), ..get("/form") };
    house.exchange.invalidate(&other, "shop", &house.policy, &headers(&[("cache-group-invalidation", "\"two\"")]));
    assert!(is_hit(&house, get("/b")).await);
    house.exchange.invalidate(&get("/form"), "shop", &house.policy, &headers(&[("cache-group-invalidation", "two")]));
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
    house.exchange.invalidate(&get("/"), "shop", &house.policy, &headers(&[]));
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
