//! Request directives (RFC 9111 section 5.2.1), by policy.

use skerry_config::snapshot::Policy;

use super::house::{House, Reply, START, Step, Upstream, get, get_with, policy, read, seconds};
use crate::exchange::Bounds;
use crate::fetch::FetchErrorKind;
use crate::request::Request;

fn house(obey_request: bool, cache_control: &'static str) -> (House, std::sync::Arc<Upstream>) {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", cache_control), ("etag", "\"1\"")], "x"));
    let bounds = Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 };
    (House::with(&upstream, Policy { obey_request, ..policy() }, bounds), upstream)
}

fn asking(field: &'static str, value: &'static str) -> Request {
    get_with("/", &[(field, value)])
}

#[tokio::test]
async fn rfc9111_5_2_1_they_are_ignored_unless_the_site_obeys() {
    for (field, value, at, obeyed) in [
        ("cache-control", "no-cache", 10, "c; fwd=request; stored"),
        ("pragma", "no-cache", 10, "c; fwd=request; stored"),
        ("cache-control", "no-store", 10, "c; fwd=request"),
        ("cache-control", "max-age=0", 10, "c; fwd=request; stored"),
        ("cache-control", "max-age=9", 10, "c; fwd=request; stored"),
        ("cache-control", "max-age=10", 10, "c; hit; ttl=50"),
        ("cache-control", "min-fresh=50", 10, "c; hit; ttl=50"),
        ("cache-control", "min-fresh=51", 10, "c; fwd=request; stored"),
        ("cache-control", "max-stale", 100, "c; hit; ttl=-40; detail=max-stale"),
        ("cache-control", "max-stale=40", 100, "c; hit; ttl=-40; detail=max-stale"),
        ("cache-control", "max-stale=39", 100, "c; fwd=stale; stored"),
        ("cache-control", "no-transform", 10, "c; hit; ttl=50"),
    ] {
        for obey in [false, true] {
            let (house, _) = house(obey, "max-age=60");
            house.ask(get("/"), START).await;
            house.settled().await;
            let (_, cache_status, _) = house.ask(asking(field, value), seconds(at)).await;
            let ignored = if at == 10 { "c; hit; ttl=50" } else { "c; fwd=stale; stored" };
            let expected = if obey { obeyed } else { ignored };
            assert!(cache_status.starts_with(expected), "{value} {obey}: {cache_status}, not {expected}");
        }
    }
}

#[tokio::test]
async fn rfc9111_5_2_1_2_max_stale_gives_way_to_must_revalidate() {
    let (house, upstream) = house(true, "max-age=60, must-revalidate");
    house.ask(get("/"), START).await;
    house.settled().await;
    house.ask(asking("cache-control", "max-stale"), seconds(100)).await;
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn rfc9111_5_2_1_5_no_store_leaves_nothing_behind() {
    let (house, upstream) = house(true, "max-age=60");
    house.ask(asking("cache-control", "no-store"), START).await;
    house.settled().await;
    house.ask(get("/"), START).await;
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn rfc9111_5_2_1_7_only_if_cached_never_goes_upstream() {
    for obey in [false, true] {
        let (house, upstream) = house(obey, "max-age=60");
        let only = || asking("cache-control", "only-if-cached");
        let failed = house.run(only(), START).await.err().unwrap();
        assert_eq!(failed.error.kind, FetchErrorKind::OnlyIfCached);
        assert_eq!(failed.status_of_cache.render("c"), "c; fwd=uri-miss; detail=only-if-cached");
        assert_eq!(upstream.calls(), 0);
        house.ask(get("/"), START).await;
        house.settled().await;
        assert_eq!(house.ask(only(), seconds(5)).await.1, "c; hit; ttl=55");
        assert!(house.run(only(), seconds(70)).await.is_err(), "a stale one may not be used");
        assert_eq!(upstream.calls(), 1);
    }
    let (_, upstream) = house(false, "max-age=60");
    let bypass = Policy { bypass: true, ..policy() };
    let house = House::with(&upstream, bypass, Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 });
    assert!(house.run(asking("cache-control", "only-if-cached"), START).await.is_err());
}

#[tokio::test]
async fn rfc9111_5_2_1_7_only_if_cached_stays_here_for_a_key_remembered_as_uncacheable() {
    let (house, upstream) = house(false, "no-store");
    house.ask(get("/"), START).await;
    house.settled().await;
    let failed = house.run(asking("cache-control", "only-if-cached"), seconds(1)).await.err().unwrap();
    assert_eq!(failed.status_of_cache.render("c"), "c; fwd=uri-miss; detail=only-if-cached");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn who_wants_nothing_older_than_the_request_does_not_read_along_with_what_began_to_come_before() {
    for (value, collapsed) in [("no-cache", false), ("max-age=5", false), ("max-age=20", true)] {
        let middle = super::house::gate();
        let upstream = Upstream::new({
            let middle = middle.clone();
            move |index, _| {
                let steps = vec![Step::Send(index.to_string().into()), Step::Gate(middle.clone())];
                let reply = Reply::new(200, &[("cache-control", "max-age=60")], "");
                if index == 0 { reply.steps(steps) } else { reply.steps(vec![Step::Send("1".into())]).at(seconds(10)) }
            }
        });
        let bounds = Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 };
        let house = House::with(&upstream, Policy { obey_request: true, ..policy() }, bounds);
        let early = house.run(get("/"), START).await.unwrap();
        let late = house.run(asking("cache-control", value), seconds(10)).await.unwrap();
        assert_eq!(late.status_of_cache.collapsed, collapsed, "{value}");
        middle.add_permits(1);
        assert_eq!(read(early).await.unwrap(), "0");
        assert_eq!(read(late).await.unwrap(), if collapsed { "0" } else { "1" }, "{value}");
    }
}
