//! Stale answers: validated, served while refreshed, served in place of an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use proptest::prelude::*;
use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::house::{House, Reply, START, Upstream, gate, get, get_with, policy, read, seconds, until};
use crate::exchange::Bounds;
use crate::fetch::FetchErrorKind;

const BOUNDS: Bounds = Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 };
const SHORT: &[(&str, &str)] = &[("cache-control", "max-age=10"), ("etag", "\"1\"")];

fn windows(while_revalidate: u64, if_error: u64) -> Policy {
    Policy {
        default_stale_while_revalidate: Period::from_secs(while_revalidate),
        default_stale_if_error: Period::from_secs(if_error),
        ..policy()
    }
}

#[tokio::test]
async fn a_304_freshens_what_is_stored_and_keeps_its_body() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(
            200,
            &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("x-a", "1"), ("x-b", "1"), ("content-type", "text/plain")],
            "body",
        ),
        _ => Reply::new(
            304,
            &[("cache-control", "max-age=20"), ("etag", "\"1\""), ("x-a", "2"), ("content-length", "0"), ("content-type", "x/y")],
            "",
        )
        .at(seconds(30)),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    let answer = house.run(get_with("/", &[("if-none-match", "\"other\"")]), seconds(30)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.status_of_cache.render("c"), "c; fwd=stale; fwd-status=304; stored; ttl=20");
    assert_eq!(upstream.call(1).request.headers["if-none-match"], "\"1\"");
    assert_eq!(answer.field("content-length"), Some("4"));
    assert_eq!(read(answer).await.unwrap(), "body");
    house.settled().await;
    let answer = house.run(get("/"), seconds(45)).await.unwrap();
    assert!(answer.status_of_cache.hit);
    let fields = ["x-a", "x-b", "content-type", "age", "content-length"].map(|name| answer.field(name).unwrap().to_owned());
    assert_eq!(fields, ["2", "1", "x/y", "15", "4"]);
    assert_eq!(house.exchange.figures().revalidated, 1);
}

#[tokio::test]
async fn many_requests_for_a_stale_answer_validate_it_once() {
    let head = gate();
    let upstream = Upstream::new({
        let head = head.clone();
        move |index, _| match index {
            0 => Reply::new(200, SHORT, "body"),
            _ => Reply::new(304, SHORT, "").at(seconds(30)).gated(&head),
        }
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { house.ask(get("/"), seconds(30)).await })
        })
        .collect();
    until("the validation", || upstream.calls() == 2).await;
    head.add_permits(1);
    for client in clients {
        assert_eq!(client.await.unwrap().2, "body");
    }
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn a_304_about_something_else_is_asked_again_for_the_thing_itself() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, SHORT, "old"),
        1 => Reply::new(304, &[("etag", "\"2\"")], ""),
        _ => Reply::new(200, SHORT, "new").at(seconds(30)),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    assert_eq!(house.ask(get("/"), seconds(30)).await.2, "new");
    assert!(!upstream.call(2).request.headers.contains_key("if-none-match"));
}

#[tokio::test]
async fn a_304_or_206_that_nobody_asked_for_is_an_error() {
    for (status, kind) in [(304, FetchErrorKind::Unasked304), (206, FetchErrorKind::Unasked206)] {
        let house = House::new(&Upstream::always(Reply::new(status, SHORT, "")));
        let failed = house.run(get("/"), START).await.err().unwrap();
        assert_eq!(failed.error.kind, kind, "{status}");
    }
}

#[tokio::test]
async fn rfc5861_3_a_stale_answer_is_served_while_one_refresh_goes_on() {
    let refresh = gate();
    let upstream = Upstream::new({
        let refresh = refresh.clone();
        move |index, _| match index {
            0 => Reply::new(200, SHORT, "old"),
            _ => Reply::new(200, SHORT, "new").at(seconds(15)).gated(&refresh),
        }
    });
    let house = House::with(&upstream, windows(20, 0), BOUNDS);
    house.ask(get("/"), START).await;
    house.settled().await;
    for _ in 0..50 {
        let (_, cache_status, body) = house.ask(get("/"), seconds(15)).await;
        assert_eq!((cache_status.as_str(), &body[..]), ("c; hit; ttl=-5; detail=stale-while-revalidate", &b"old"[..]));
    }
    until("the refresh", || upstream.calls() == 2).await;
    refresh.add_permits(1);
    house.settled().await;
    assert_eq!(house.ask(get("/"), seconds(15)).await.1, "c; hit; ttl=10");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn rfc5861_3_beyond_the_window_it_is_asked_for_first() {
    let upstream = Upstream::new(|index, _| Reply::new(200, SHORT, index.to_string()).at(seconds(if index == 0 { 0 } else { 30 })));
    let house = House::with(&upstream, windows(20, 0), BOUNDS);
    house.ask(get("/"), START).await;
    house.settled().await;
    let (_, cache_status, body) = house.ask(get("/"), seconds(30)).await;
    assert_eq!((cache_status.as_str(), &body[..]), ("c; fwd=stale; stored; ttl=10", &b"1"[..]));
}

#[tokio::test]
async fn a_failed_refresh_is_not_tried_again_for_a_second() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, SHORT, "old"),
        _ => Reply::error(FetchErrorKind::Connect),
    });
    let house = House::with(&upstream, windows(60, 60), BOUNDS);
    house.ask(get("/"), START).await;
    house.settled().await;
    // The failure is noted by the first request after it, whose clock it takes.
    for (at, calls) in [(20, 2), (21, 2), (21, 2), (22, 3), (22, 3), (22, 3), (23, 4)] {
        house.ask(get("/"), seconds(at)).await;
        until("the refresh", || upstream.calls() == calls).await;
        house.settled().await;
        assert_eq!(upstream.calls(), calls, "at {at} s");
    }
}

#[tokio::test]
async fn a_failed_refresh_waits_for_as_long_as_upstream_says() {
    let date = "Thu, 01 Jan 2026 00:01:20 GMT";
    for (status, wait, seconds_waited) in
        [(503, "10", 10), (429, "10", 10), (503, date, 60), (503, "3600", 300), (429, "soon", 1), (503, "0", 1)]
    {
        let upstream = Upstream::new(move |index, _| match index {
            0 => Reply::new(200, SHORT, "old"),
            _ => Reply::new(status, &[("retry-after", wait)], "").at(seconds(20)),
        });
        let house = House::with(&upstream, windows(0, 3_600), BOUNDS);
        house.ask(get("/"), START).await;
        house.settled().await;
        // The failure is noted by the first request after it, whose clock it takes.
        for (at, calls) in [(20, 2), (20, 2), (19 + seconds_waited, 2), (20 + seconds_waited, 3)] {
            let (status, _, body) = house.ask(get("/"), seconds(at)).await;
            assert_eq!((status, &body[..]), (200, &b"old"[..]), "{wait}");
            house.settled().await;
            assert_eq!(upstream.calls(), calls, "{wait} at {at} s");
        }
    }
}

#[tokio::test]
async fn rfc5861_4_an_error_or_failure_is_covered_within_the_window_only() {
    for reply in [Reply::new(503, &[], "oops"), Reply::error(FetchErrorKind::Timeout)] {
        let upstream = Upstream::new(move |index, _| if index == 0 { Reply::new(200, SHORT, "old") } else { reply.clone() });
        let house = House::with(&upstream, windows(0, 60), BOUNDS);
        house.ask(get("/"), START).await;
        house.settled().await;
        let (status, cache_status, body) = house.ask(get("/"), seconds(20)).await;
        assert_eq!((status, &body[..]), (200, &b"old"[..]));
        assert!(cache_status.contains("fwd=stale"), "{cache_status}");
        house.settled().await;
        // A moment later nobody asks again.
        let (_, cache_status, _) = house.ask(get("/"), seconds(20)).await;
        assert_eq!(cache_status, "c; hit; ttl=-10; detail=stale-if-error");
        assert_eq!(upstream.calls(), 2);
        match house.run(get("/"), seconds(71)).await {
            Ok(answer) => assert_eq!(answer.status, 503),
            Err(failed) => assert_eq!(failed.error.kind, FetchErrorKind::Timeout),
        }
    }
}

#[tokio::test]
async fn rfc5861_3_and_4_a_stale_answer_shows_its_age() {
    for (window, detail) in [(windows(60, 0), "stale-while-revalidate"), (windows(0, 60), "connect-failed")] {
        let upstream =
            Upstream::new(|index, _| if index == 0 { Reply::new(200, SHORT, "old") } else { Reply::error(FetchErrorKind::Connect) });
        let house = House::with(&upstream, window, BOUNDS);
        house.ask(get("/"), START).await;
        house.settled().await;
        let answer = house.run(get("/"), seconds(15)).await.unwrap();
        assert_eq!((answer.field("age"), answer.status_of_cache.ttl), (Some("15"), Some(-5)), "{detail}");
        assert_eq!(answer.status_of_cache.detail, Some(detail));
        read(answer).await.unwrap();
        house.settled().await;
    }
}

#[tokio::test]
async fn rfc9111_5_2_2_2_must_revalidate_forbids_every_window() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, &[("cache-control", "max-age=10, must-revalidate"), ("etag", "\"1\"")], "old"),
        _ => Reply::error(FetchErrorKind::Connect),
    });
    let house = House::with(&upstream, windows(60, 60), BOUNDS);
    house.ask(get("/"), START).await;
    house.settled().await;
    assert!(house.run(get("/"), seconds(11)).await.is_err());
}

#[tokio::test]
async fn an_error_that_nothing_covers_leaves_the_stored_answer_to_be_validated_later() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, SHORT, "old"),
        1 => Reply::new(500, &[], "oops"),
        _ => Reply::new(304, SHORT, "").at(seconds(30)),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    assert_eq!(house.ask(get("/"), seconds(20)).await.0, 500);
    house.settled().await;
    assert_eq!(house.ask(get("/"), seconds(30)).await.2, "old");
}

#[tokio::test]
async fn an_answer_that_may_no_longer_be_stored_ends_the_stored_one() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, SHORT, "old"),
        _ => Reply::new(200, &[("cache-control", "no-store")], "own"),
    });
    let house = House::with(&upstream, windows(0, 600), BOUNDS);
    house.ask(get("/"), START).await;
    house.settled().await;
    house.ask(get("/"), seconds(20)).await;
    house.settled().await;
    assert_eq!(house.exchange.figures().entries, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However requests come, and whether upstream answers or fails: no answer is served as fresh at or beyond its lifetime, nor stale beyond the
    /// window, and `Age` is never less than the truth.
    #[test]
    fn no_answer_is_older_than_it_may_be(
        lifetime in 0..10_u64,
        while_revalidate in 0..5_u64,
        if_error in 0..5_u64,
        steps in proptest::collection::vec((0..4_000_u64, any::<bool>(), any::<bool>()), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let clock = Arc::new(AtomicU64::new(0));
            let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let upstream = Upstream::new({
                let (clock, fails) = (Arc::clone(&clock), Arc::clone(&fails));
                move |_, forward| {
                    let now = START.plus(std::time::Duration::from_millis(clock.load(Ordering::SeqCst)));
                    let control = format!("max-age={lifetime}");
                    // The tag changes every 7 s, so that some validations confirm and some do not.
                    let etag = format!("\"{}\"", now.0 / 7_000);
                    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_millis(now.0));
                    let fields = [("cache-control", control.as_str()), ("etag", etag.as_str()), ("date", date.as_str())];
                    if fails.load(Ordering::SeqCst) {
                        Reply::error(FetchErrorKind::Connect)
                    } else if forward.request.headers.get("if-none-match").is_some_and(|tag| tag.as_bytes() == etag.as_bytes()) {
                        Reply::new(304, &fields, "").at(now)
                    } else {
                        Reply::new(200, &fields, "x").at(now)
                    }
                }
            });
            let house = House::with(&upstream, windows(while_revalidate, if_error), BOUNDS);
            for (step, fail, head_only) in steps {
                let millis = clock.fetch_add(step, Ordering::SeqCst) + step;
                fails.store(fail, Ordering::SeqCst);
                let now = START.plus(std::time::Duration::from_millis(millis));
                let request = crate::request::Request { head_only, ..get("/") };
                let calls = upstream.calls();
                let Ok(answer) = house.run(request, now).await else { continue };
                let date = httpdate::parse_http_date(answer.field("date").unwrap()).unwrap();
                let born = crate::time::Time::from(date).0;
                let age_ms = now.0 - born;
                let age = answer.field("age").map_or(0, |age| age.parse::<u64>().unwrap());
                assert!(answer.field("age").is_none() || age * 1_000 + 1_000 > age_ms.saturating_sub(1_000), "age {age} of {age_ms} ms");
                let window = match answer.status_of_cache.detail {
                    Some("stale-while-revalidate") => while_revalidate,
                    Some("stale-if-error" | "connect-failed") => if_error,
                    _ => 0,
                };
                if answer.status_of_cache.hit || window > 0 {
                    assert!(age_ms < (lifetime + window) * 1_000 + 1_000, "{age_ms} ms old: {:?}", answer.status_of_cache);
                } else {
                    assert!(upstream.calls() > calls, "nobody was asked: {:?}", answer.status_of_cache);
                    assert!(age_ms < 1_000, "{age_ms} ms old: {:?}", answer.status_of_cache);
                }
                read(answer).await.unwrap();
                house.settled().await;
            }
        });
    }
}
