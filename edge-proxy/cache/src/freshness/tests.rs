//! Tables, by section of the RFC.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use skerry_config::site::{AnswerTtl, Negative};
use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::{Freshness, HEURISTIC_MAX, Source};
use crate::control::{Asked, Control, SECONDS_MAX};
use crate::exchange::tests::house::{START, policy, seconds};
use crate::time::Time;

const DATE: (&str, &str) = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn of(status: u16, fields: &[(&'static str, &str)], policy: &Policy) -> Freshness {
    let headers = headers(fields);
    Freshness::of(StatusCode::from_u16(status).unwrap(), &headers, &Control::of(&headers), policy, None, START, START)
}

fn lifetime(status: u16, fields: &[(&'static str, &str)], policy: &Policy) -> (u64, Source) {
    let freshness = of(status, fields, policy);
    (freshness.lifetime.as_secs(), freshness.source)
}

#[test]
fn rfc9111_4_2_1_the_order_of_sources() {
    let expires = ("expires", "Thu, 01 Jan 2026 00:00:30 GMT");
    let modified = ("last-modified", "Wed, 31 Dec 2025 23:50:00 GMT");
    let says = |value| ("cache-control", value);
    for (fields, expected) in [
        (vec![DATE, expires, modified, says("max-age=20, s-maxage=10")], (10, Source::SharedMaxAge)),
        (vec![DATE, expires, modified, says("max-age=20")], (20, Source::MaxAge)),
        (vec![DATE, expires, modified], (30, Source::Expires)),
        (vec![DATE, modified], (60, Source::Heuristic)),
        (vec![DATE], (0, Source::Nothing)),
        (vec![DATE, expires, says("max-age=nonsense")], (0, Source::MaxAge)),
        (vec![DATE, expires, ("cdn-cache-control", "public")], (0, Source::Nothing)),
        (vec![DATE, expires, says("max-age=1"), ("cdn-cache-control", "max-age=5")], (5, Source::MaxAge)),
    ] {
        assert_eq!(lifetime(200, &fields, &policy()), expected, "{fields:?}");
    }
}

#[test]
fn rfc9111_5_3_expires_that_is_no_date_or_contradicts_itself_is_in_the_past() {
    for value in ["0", "", "-1", "soon", "Thu, 01 Jan 2026 00:00:00 GMT", "Mon, 01 Jan 2020 00:00:00 GMT"] {
        assert_eq!(lifetime(200, &[DATE, ("expires", value)], &policy()), (0, Source::Expires), "{value}");
    }
    let twice = [DATE, ("expires", "Thu, 01 Jan 2026 00:00:30 GMT"), ("expires", "Thu, 01 Jan 2026 00:00:40 GMT")];
    assert_eq!(lifetime(200, &twice, &policy()), (0, Source::Expires));
    for form in ["Thursday, 01-Jan-26 00:00:30 GMT", "Thu Jan  1 00:00:30 2026"] {
        assert_eq!(lifetime(200, &[DATE, ("expires", form)], &policy()).0, 30, "{form}");
    }
    for form in
        ["Mon Aug  1 00:00:30 2044", "Tue, 19 Jan 2038 03:14:08 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Wed, 19 Jan 2084 03:14:08 GMT"]
    {
        assert!(lifetime(200, &[DATE, ("expires", form)], &policy()).0 > 300_000_000, "{form}");
    }
    assert_eq!(lifetime(200, &[DATE, ("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], &policy()).0, SECONDS_MAX, "section 1.2.2");
    // Without Date the time of arrival stands in for it.
    assert_eq!(lifetime(200, &[("expires", "Thu, 01 Jan 2026 00:00:30 GMT")], &policy()).0, 30);
}

#[test]
fn rfc9111_4_2_2_heuristics_are_bounded_and_for_some_statuses_only() {
    let modified = ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(lifetime(200, &[DATE, modified], &policy()).0, HEURISTIC_MAX.as_secs());
    assert_eq!(lifetime(404, &[DATE, modified], &policy()).1, Source::Heuristic);
    assert_eq!(lifetime(302, &[DATE, modified], &policy()).1, Source::Nothing);
    assert_eq!(lifetime(302, &[DATE, modified, ("cache-control", "public")], &policy()).1, Source::Heuristic);
    assert_eq!(lifetime(200, &[DATE, ("last-modified", "Fri, 01 Jan 2027 00:00:00 GMT")], &policy()).1, Source::Nothing);
}

#[test]
fn the_sites_words_come_before_and_after_the_origins() {
    let ttl = Policy { ttl: Some(Period::from_secs(7)), ..policy() };
    assert_eq!(lifetime(200, &[DATE, ("cache-control", "max-age=60")], &ttl), (7, Source::Rule));
    assert_eq!(lifetime(404, &[], &ttl), (7, Source::Rule));
    assert_eq!(lifetime(500, &[], &ttl), (0, Source::Nothing));
    assert_eq!(lifetime(500, &[("cache-control", "max-age=60")], &ttl), (7, Source::Rule));
    let default = Policy { default_ttl: Period::from_secs(9), ..policy() };
    assert_eq!(lifetime(200, &[DATE, ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")], &default), (9, Source::Default));
    assert_eq!(lifetime(200, &[DATE, ("cache-control", "max-age=60")], &default), (60, Source::MaxAge));
    assert_eq!(lifetime(302, &[DATE], &default), (0, Source::Nothing));
    let listed = Negative { status: vec!["404".parse().unwrap()], ttl: Period::from_secs(3) };
    let image = AnswerTtl { status: vec!["200".parse().unwrap()], content_type: vec!["image/*".to_owned()], ttl: Period::from_secs(5) };
    let both = Policy { negative: listed, ttls: vec![image], ..ttl };
    assert_eq!(lifetime(404, &[DATE], &both), (3, Source::Negative));
    assert_eq!(lifetime(200, &[DATE, ("content-type", "image/png")], &both), (5, Source::Ttls));
    assert_eq!(lifetime(206, &[DATE, ("content-type", "image/png")], &both), (5, Source::Ttls), "a part of a 200");
}

#[test]
fn rfc9111_4_2_3_age() {
    let age = |fields: &[(&'static str, &str)], requested: u64, responded: u64, now: u64| {
        let headers = headers(fields);
        let control = Control::of(&headers);
        Freshness::of(StatusCode::OK, &headers, &control, &policy(), None, seconds(requested), seconds(responded))
            .age(seconds(now))
            .as_secs()
    };
    assert_eq!(age(&[DATE], 0, 0, 0), 0);
    assert_eq!(age(&[DATE], 0, 0, 10), 10);
    assert_eq!(age(&[DATE], 8, 10, 10), 10, "apparent age");
    assert_eq!(age(&[DATE, ("age", "100")], 8, 10, 15), 107, "corrected age value and resident time");
    assert_eq!(age(&[("age", "3, 4")], 0, 0, 0), 3, "the first member");
    assert_eq!(age(&[("age", "3"), ("age", "9")], 0, 0, 0), 3, "the first line");
    for value in ["x, 9", "9.0", "9;x=1", "\"9\"", "9 9", "+9", ""] {
        assert_eq!(age(&[("age", value)], 0, 0, 0), 0, "{value}: the field is ignored");
    }
    assert_eq!(age(&[("date", "Thu, 01 Jan 2026 00:10:00 GMT"), ("age", "2")], 0, 0, 5), 7, "a date in the future");
    assert_eq!(age(&[("date", "Wed, 31 Dec 1969 00:00:00 GMT")], 0, 0, 0), START.seconds(), "a date before the epoch is old");
    assert_eq!(age(&[("date", "soon")], 0, 0, 4), 4, "no date");
    assert_eq!(age(&[("age", "-3")], 0, 0, 0), 0, "no number");
    assert_eq!(age(&[("age", "99999999999999999999")], 0, 0, 0), SECONDS_MAX, "overflow");
    assert_eq!(age(&[DATE], 10, 5, 0), 5, "a clock that steps back");
}

#[test]
fn an_operators_lifetime_does_not_depend_on_the_origins_clock() {
    let ttl = Policy { ttl: Some(Period::from_secs(7)), ..policy() };
    let freshness = of(200, &[("date", "Wed, 31 Dec 2025 00:00:00 GMT")], &ttl);
    assert!(freshness.is_fresh(seconds(6)) && !freshness.is_fresh(seconds(7)));
    let aged = of(200, &[("age", "5")], &ttl);
    assert!(aged.is_fresh(seconds(1)) && !aged.is_fresh(seconds(2)));
}

#[test]
fn rfc9111_4_2_4_what_the_origin_forbids_no_window_allows() {
    let windows = Policy { default_stale_while_revalidate: Period::from_secs(5), default_stale_if_error: Period::from_secs(6), ..policy() };
    let rule = Policy { stale_while_revalidate: Some(Period::from_secs(8)), stale_if_error: Some(Period::from_secs(9)), ..windows.clone() };
    for (value, by_default, by_rule) in [
        ("max-age=1", (5, 6), (8, 9)),
        ("max-age=1, stale-while-revalidate=2, stale-if-error=3", (2, 3), (8, 9)),
        ("s-maxage=1, stale-while-revalidate=2, stale-if-error=3", (2, 3), (8, 9)),
        ("s-maxage=1", (0, 0), (8, 9)),
        ("max-age=1, must-revalidate, stale-if-error=3", (0, 0), (0, 0)),
        ("max-age=1, proxy-revalidate", (0, 0), (0, 0)),
        ("max-age=1, no-cache", (0, 0), (0, 0)),
    ] {
        for (policy, expected) in [(&windows, by_default), (&rule, by_rule)] {
            let freshness = of(200, &[("cache-control", value)], policy);
            let got = (freshness.stale_while_revalidate.as_secs(), freshness.stale_if_error.as_secs());
            assert_eq!(got, expected, "{value}");
        }
    }
}

#[test]
fn ttl_counts_down_and_below_zero() {
    let freshness = of(200, &[("cache-control", "max-age=10")], &policy());
    assert_eq!([0, 4, 10, 12].map(|at| freshness.ttl(seconds(at))), [10, 6, 0, -2]);
}

#[test]
fn rfc9111_4_2_2_a_206_may_be_judged_by_heuristics() {
    assert_eq!(lifetime(206, &[DATE, ("last-modified", "Wed, 31 Dec 2025 23:50:00 GMT")], &policy()), (60, Source::Heuristic));
}

#[test]
fn rfc9111_5_2_1_what_satisfies_a_request() {
    let asks = |value: &str| {
        let mut request = HeaderMap::new();
        request.insert("cache-control", HeaderValue::from_str(value).unwrap());
        Asked::of(&request)
    };
    for (response, request, at, expected) in [
        ("max-age=10", "", 9, true),
        ("max-age=10", "", 10, false),
        ("max-age=10", "no-cache", 0, false),
        ("max-age=10, no-cache", "max-stale", 0, false),
        ("max-age=10", "max-age=5", 5, true),
        ("max-age=10", "max-age=5", 6, false),
        ("max-age=10", "max-age=0", 0, true),
        ("max-age=10", "max-age=0", 1, false),
        ("max-age=10", "min-fresh=5", 5, true),
        ("max-age=10", "min-fresh=5", 6, false),
        ("max-age=10", "min-fresh=99999999999999999999", 0, false),
        ("max-age=10", "max-stale", 1_000, true),
        ("max-age=10", "max-stale=5", 15, true),
        ("max-age=10", "max-stale=5", 16, false),
        ("max-age=10", "max-stale=5, max-age=12", 13, false),
        ("max-age=10", "max-stale=5, max-age=12", 12, true),
        ("max-age=10", "max-stale, min-fresh=1", 10, false),
        ("max-age=10, must-revalidate", "max-stale", 10, false),
        ("max-age=10, proxy-revalidate", "max-stale", 10, false),
        ("s-maxage=10", "max-stale", 10, false),
        ("s-maxage=10", "max-stale", 9, true),
    ] {
        let freshness = of(200, &[("cache-control", response)], &policy());
        assert_eq!(freshness.satisfies(&asks(request), seconds(at)), expected, "{response} | {request} | {at}");
    }
}

#[test]
fn rfc8246_2_a_reload_of_what_is_immutable_is_answered_while_it_is_fresh() {
    let reload = Asked { max_age: Some(0), ..Asked::default() };
    let immutable = of(200, &[("cache-control", "max-age=10, immutable")], &policy());
    assert!(immutable.immutable && immutable.satisfies(&reload, seconds(9)));
    assert!(!immutable.satisfies(&reload, seconds(10)));
    assert!(!immutable.satisfies(&Asked { max_age: Some(1), ..Asked::default() }, seconds(9)));
    assert!(!immutable.satisfies(&Asked { no_cache: true, ..Asked::default() }, seconds(1)));
}

#[test]
fn rfc5861_windows_beside_s_maxage_are_those_that_somebody_gave() {
    let freshness = of(200, &[("cache-control", "s-maxage=10, stale-while-revalidate=5, stale-if-error=7")], &policy());
    assert!(freshness.may_revalidate_behind(seconds(14)) && !freshness.may_revalidate_behind(seconds(15)));
    assert!(freshness.may_cover_error(seconds(16)) && !freshness.may_cover_error(seconds(17)));
    let targeted = of(200, &[("cdn-cache-control", "max-age=10, stale-while-revalidate=5"), ("cache-control", "no-store")], &policy());
    assert!(targeted.may_revalidate_behind(seconds(14)));
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let control =
        proptest::option::of("(max-age=[0-9]{1,12}|s-maxage=[0-9]{1,4}|no-cache|public|max-age=x)(, stale-while-revalidate=[0-9]{1,3})?");
    let date = proptest::option::of(0..4_000_000_000_u64);
    let age = proptest::option::of("[0-9]{1,20}|x");
    (control, date.clone(), date.clone(), date, age).prop_map(|(control, date, expires, modified, age)| {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: Option<String>| {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value.parse().unwrap());
            }
        };
        let http =
            |seconds: Option<u64>| seconds.map(|seconds| httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds)));
        put("cache-control", control);
        put("date", http(date));
        put("expires", http(expires));
        put("last-modified", http(modified));
        put("age", age);
        headers
    })
}

proptest! {
    /// An answer is fresh only while its age is below its lifetime; age never decreases; once stale it stays stale; the same inputs give the same verdict.
    #[test]
    fn nothing_is_fresh_beyond_its_lifetime(headers in any_headers(), requested in 0..5_000_000_000_000_u64, took in 0..100_000_u64, steps in proptest::collection::vec(0..10_000_000_u64, 1..8)) {
        let control = Control::of(&headers);
        let responded = requested + took;
        let freshness = Freshness::of(StatusCode::OK, &headers, &control, &policy(), None, Time(requested), Time(responded));
        prop_assert_eq!(&freshness, &Freshness::of(StatusCode::OK, &headers, &control, &policy(), None, Time(requested), Time(responded)));
        let mut now = Time(responded);
        let (mut age, mut stale) = (Duration::ZERO, false);
        for step in steps {
            now = now.plus(Duration::from_millis(step));
            prop_assert!(freshness.age(now) >= age);
            age = freshness.age(now);
            prop_assert!(age >= now.since(Time(responded)));
            let fresh = freshness.is_fresh(now);
            prop_assert!(!(fresh && stale));
            stale = !fresh;
            prop_assert!(!fresh || age < freshness.lifetime);
            prop_assert!(!(fresh && freshness.no_cache));
            prop_assert!(!fresh || freshness.ttl(now) >= 0);
        }
        if let Some(seconds) = control.s_maxage.or(control.max_age) {
            prop_assert!(freshness.lifetime <= Duration::from_secs(seconds));
        }
    }
}
