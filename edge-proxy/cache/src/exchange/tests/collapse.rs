//! One fetch for many requests, and when not.

use std::sync::Arc;

use bytes::Bytes;

use super::house::{House, Reply, START, Step, Upstream, gate, get, get_with, read, seconds, until};
use crate::answer::Forwarded;
use crate::exchange::{Asked, Directives};
use crate::fetch::FetchErrorKind;
use crate::flight::{Joined, Scope};
use crate::key::Key;
use crate::lookup;
use crate::purge::Identity;

const STORED: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_for_a_cold_key_cost_one_fetch() {
    let head = gate();
    let middle = gate();
    let parts: Vec<Bytes> = (0..64_u8).map(|part| Bytes::from(vec![part; 10_000])).collect();
    let whole: Vec<u8> = parts.concat();
    let mut steps: Vec<Step> = parts.into_iter().map(Step::Send).collect();
    steps.insert(32, Step::Gate(middle.clone()));
    let upstream = Upstream::always(Reply::new(200, STORED, "").steps(steps).gated(&head));
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { house.ask(get("/cold"), START).await })
        })
        .collect();
    until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(1);
    middle.add_permits(1);
    let mut collapsed = 0;
    for client in clients {
        let (status, cache_status, body) = client.await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(body, whole);
        collapsed += usize::from(cache_status.contains("collapsed"));
    }
    assert_eq!(upstream.calls(), 1);
    house.settled().await;
    let (_, cache_status, body) = house.ask(get("/cold"), seconds(1)).await;
    assert_eq!(cache_status, "c; hit; ttl=59");
    assert_eq!(body, whole);
    assert_eq!(upstream.calls(), 1);
    assert!(collapsed > 0, "nobody followed");
}

#[tokio::test]
async fn the_first_answer_says_that_it_was_stored() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x"));
    let house = House::new(&upstream);
    let answer = house.run(get("/"), START).await.unwrap();
    assert_eq!(answer.status_of_cache.fwd, Some(Forwarded::UriMiss));
    assert_eq!(answer.status_of_cache.render("edge-1"), "edge-1; fwd=uri-miss; stored; ttl=60");
    assert_eq!(answer.field("age"), None);
    assert_eq!(answer.field("content-length"), Some("1"));
    assert_eq!(read(answer).await.unwrap(), "x");
}

#[tokio::test]
async fn the_leaders_client_leaves_and_the_others_get_everything() {
    let head = gate();
    let upstream = Upstream::always(Reply::new(200, STORED, "whole").gated(&head));
    let house = House::new(&upstream);
    let leader = tokio::spawn({
        let house = house.clone();
        async move { house.run(get("/"), START).await.is_ok() }
    });
    until("the fetch", || upstream.calls() == 1).await;
    let follower = tokio::spawn({
        let house = house.clone();
        async move { house.ask(get("/"), START).await }
    });
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    head.add_permits(1);
    let (_, cache_status, body) = follower.await.unwrap();
    assert_eq!(body, "whole");
    assert!(cache_status.contains("collapsed"), "{cache_status}");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn everybody_leaves_and_the_answer_is_stored_all_the_same() {
    let middle = gate();
    let steps = vec![Step::Send("ab".into()), Step::Gate(middle.clone()), Step::Send("cd".into())];
    let upstream = Upstream::always(Reply::new(200, STORED, "").steps(steps));
    let house = House::new(&upstream);
    drop(house.run(get("/"), START).await.unwrap());
    middle.add_permits(1);
    house.settled().await;
    let (_, cache_status, body) = house.ask(get("/"), START).await;
    assert_eq!((cache_status.as_str(), body), ("c; hit; ttl=60", Bytes::from("abcd")));
}

#[tokio::test]
async fn an_upstream_that_dies_in_the_middle_is_an_error_for_every_reader_and_nothing_is_stored() {
    let middle = gate();
    let steps = vec![Step::Send("ab".into()), Step::Gate(middle.clone()), Step::Fail];
    let upstream = Upstream::always(Reply::new(200, STORED, "").steps(steps));
    let house = House::new(&upstream);
    let first = house.run(get("/"), START).await.unwrap();
    let second = house.run(get("/"), START).await.unwrap();
    assert!(second.status_of_cache.collapsed);
    middle.add_permits(1);
    assert_eq!(read(first).await.unwrap_err().kind, FetchErrorKind::Cut);
    assert_eq!(read(second).await.unwrap_err().kind, FetchErrorKind::Cut);
    house.settled().await;
    assert_eq!(house.exchange.figures().entries, 0);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_body_shorter_or_longer_than_its_content_length_is_an_error_and_not_stored() {
    for length in ["9", "2"] {
        for control in ["max-age=60", "no-store"] {
            let reply =
                Reply::new(200, &[("cache-control", control), ("content-length", length)], "").steps(vec![Step::Send("abc".into())]);
            let upstream = Upstream::always(reply);
            let house = House::new(&upstream);
            let answer = house.run(get("/"), START).await.unwrap();
            assert!(read(answer).await.is_err(), "content-length {length}, {control}");
            house.settled().await;
            assert_eq!(house.exchange.figures().entries, 0);
        }
    }
}

#[tokio::test]
async fn an_uncacheable_answer_releases_those_who_wait_and_the_key_is_remembered() {
    let head = gate();
    let upstream = Upstream::new({
        let head = head.clone();
        move |index, _| {
            let reply = Reply::new(200, &[("cache-control", "no-store")], format!("for {index}"));
            if index == 0 { reply.gated(&head) } else { reply }
        }
    });
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { house.ask(get_with("/", &[("if-none-match", "\"x\"")]), START).await })
        })
        .collect();
    until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(1);
    let mut bodies = Vec::new();
    for client in clients {
        bodies.push(client.await.unwrap().2);
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 20, "an answer for one went to two");
    assert_eq!(upstream.calls(), 20);
    assert!(upstream.call(0).request.headers.get("if-none-match").is_none());
    let (_, cache_status, _) = house.ask(get_with("/", &[("range", "bytes=0-1")]), seconds(119)).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; detail=uncacheable");
    assert_eq!(upstream.call(20).request.headers["range"], "bytes=0-1");
    let (_, cache_status, _) = house.ask(get("/"), seconds(121)).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; detail=no-store");
}

#[tokio::test]
async fn a_remembered_key_is_forgotten_once_its_answer_can_be_stored() {
    let upstream = Upstream::new(|index, _| {
        let control = if index == 0 { "no-store" } else { "max-age=60" };
        Reply::new(200, &[("cache-control", control)], "x")
    });
    let house = House::new(&upstream);
    for expected in ["fwd=uri-miss; detail=no-store", "fwd=uri-miss; detail=uncacheable", "fwd=uri-miss; stored; ttl=60", "hit; ttl=60"] {
        let (_, cache_status, _) = house.ask(get("/"), START).await;
        assert_eq!(cache_status, format!("c; {expected}"));
        house.settled().await;
    }
}

#[tokio::test]
async fn an_answer_to_an_authorized_request_is_for_it_alone_and_does_not_spoil_the_key_for_others() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x"));
    let house = House::new(&upstream);
    let (_, cache_status, _) = house.ask(get_with("/", &[("authorization", "Basic eA==")]), START).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; detail=authorization");
    let (_, cache_status, _) = house.ask(get("/"), START).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; stored; ttl=60");
}

#[tokio::test]
async fn an_answer_with_a_cookie_is_shared_with_nobody() {
    let head = gate();
    let reply = Reply::new(200, &[("cache-control", "max-age=60"), ("set-cookie", "id=1")], "x").gated(&head);
    let upstream = Upstream::always(reply);
    let house = House::new(&upstream);
    let ask = || {
        let house = house.clone();
        tokio::spawn(async move { house.ask(get("/"), START).await.1 })
    };
    let (one, other) = (ask(), ask());
    until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(2);
    let mut statuses = [one.await.unwrap(), other.await.unwrap()];
    statuses.sort();
    assert_eq!(statuses, ["c; fwd=uri-miss; detail=set-cookie", "c; fwd=uri-miss; detail=uncacheable"]);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn followers_whose_variant_differs_fetch_their_own() {
    let head = gate();
    let upstream = Upstream::new({
        let head = head.clone();
        move |index, forward| {
            let language = forward.request.headers["accept-language"].to_str().unwrap().to_owned();
            let reply = Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "Accept-Language")], language);
            if index == 0 { reply.gated(&head) } else { reply }
        }
    });
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..30)
        .map(|client| {
            let house = house.clone();
            let language = ["de", "en", "fr"][client % 3];
            tokio::spawn(async move { (language, house.ask(get_with("/", &[("accept-language", language)]), START).await.2) })
        })
        .collect();
    until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(1);
    for client in clients {
        let (language, body) = client.await.unwrap();
        assert_eq!(body, language);
    }
    assert_eq!(upstream.calls(), 3);
    house.settled().await;
    let (_, cache_status, _) = house.ask(get_with("/", &[("accept-language", "it")]), START).await;
    assert_eq!(cache_status, "c; fwd=vary-miss; stored; ttl=60");
}

#[tokio::test]
async fn a_failure_is_everybodys_and_costs_one_fetch() {
    let head = gate();
    let upstream = Upstream::always(Reply::error(FetchErrorKind::Connect).gated(&head));
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { house.run(get("/"), START).await.err().unwrap() })
        })
        .collect();
    until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(1);
    for client in clients {
        let failed = client.await.unwrap();
        assert_eq!(failed.error.kind, FetchErrorKind::Connect);
        assert_eq!(failed.status_of_cache.detail, Some("connect-failed"));
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_in_a_minute_is_waited_for_no_longer() {
    let never = gate();
    let upstream = Upstream::new({
        let never = never.clone();
        move |index, _| {
            let reply = Reply::new(200, STORED, "x");
            if index == 0 { reply.gated(&never) } else { reply }
        }
    });
    let house = House::new(&upstream);
    let leader = tokio::spawn({
        let house = house.clone();
        async move { house.run(get("/"), START).await.is_ok() }
    });
    until("the fetch", || upstream.calls() == 1).await;
    let (_, cache_status, body) = house.ask(get("/"), START).await;
    assert_eq!((cache_status.as_str(), body), ("c; fwd=uri-miss; detail=wait-given-up", Bytes::from("x")));
    leader.abort();
}

#[tokio::test]
async fn what_must_be_validated_every_time_makes_nobody_wait() {
    let head = gate();
    let upstream = Upstream::new({
        let head = head.clone();
        move |index, forward| {
            let fields = &[("cache-control", "no-cache"), ("etag", "\"1\"")];
            match index {
                0 => Reply::new(200, fields, "x").gated(&head),
                _ if forward.request.headers.contains_key("if-none-match") => Reply::new(304, fields, ""),
                _ => Reply::new(200, fields, "x"),
            }
        }
    });
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { house.ask(get("/"), START).await })
        })
        .collect();
    until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(1);
    for client in clients {
        assert_eq!(client.await.unwrap().2, "x");
    }
    assert_eq!(upstream.calls(), 20);
    house.settled().await;
    let (_, cache_status, _) = house.ask(get("/"), START).await;
    assert_eq!(cache_status, "c; fwd=stale; fwd-status=304; stored; ttl=0");
}

#[tokio::test]
async fn bypass_goes_upstream_as_it_came() {
    let upstream = Upstream::always(Reply::new(206, &[("content-range", "bytes 0-0/9")], "x"));
    let bypass = skerry_config::snapshot::Policy { bypass: true, ..super::house::policy() };
    let house = House::with(&upstream, bypass, crate::exchange::Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 });
    let (status, cache_status, _) = house.ask(get_with("/", &[("range", "bytes=0-0"), ("if-range", "\"a\"")]), START).await;
    assert_eq!((status, cache_status.as_str()), (206, "c; fwd=bypass"));
    assert_eq!(upstream.call(0).request.headers["if-range"], "\"a\"");
}

#[tokio::test]
async fn a_variant_that_is_being_fetched_is_joined_once_its_fields_are_known() {
    let middle = gate();
    let steps = vec![Step::Send("a".into()), Step::Gate(middle.clone()), Step::Send("b".into())];
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "x")], "").steps(steps));
    let house = House::new(&upstream);
    let first = house.run(get_with("/", &[("x", "1")]), START).await.unwrap();
    let second = house.run(get_with("/", &[("x", "1")]), START).await.unwrap();
    assert!(second.status_of_cache.collapsed);
    assert_eq!(upstream.calls(), 1);
    middle.add_permits(1);
    assert_eq!((read(first).await.unwrap(), read(second).await.unwrap()), (Bytes::from("ab"), Bytes::from("ab")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flight_that_ends_between_a_lookup_and_a_join_is_not_flown_again() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x"));
    let house = House::new(&upstream);
    for key in 0..500 {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let house = house.clone();
                tokio::spawn(async move { house.ask(get(&format!("/{key}")), START).await.2 })
            })
            .collect();
        for client in clients {
            assert_eq!(client.await.unwrap(), "x");
        }
        assert_eq!(upstream.calls(), key + 1);
    }
}

#[tokio::test]
async fn who_looked_before_a_flight_ended_looks_again_before_leading_another() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x"));
    let house = House::new(&upstream);
    let request = get("/");
    let primary = Key::of(&request, &house.policy);
    let asked = Asked {
        identity: Arc::new(Identity::of(&request, "shop", &house.policy.key)),
        request: Arc::new(request),
        policy: &house.policy,
        primary,
        directives: Directives::default(),
        now: START,
        fetch: upstream.clone(),
    };
    let exchange = &house.exchange;
    let look = || lookup::find(&exchange.store, &exchange.purges, &asked.primary, &asked.request, START);
    let before = look();
    house.ask(get("/"), START).await;
    house.settled().await;
    assert!(matches!(exchange.join(&asked, &before, Scope::Whole, None), Joined::LookAgain));
    assert!(matches!(exchange.join(&asked, &look(), Scope::Whole, None), Joined::Leader(_)));
}
