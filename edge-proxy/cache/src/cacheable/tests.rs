//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use skerry_config::site::{AnswerTtl, Cookies, Negative, SetCookie};
use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::{Kept, Question, Refusal, Response, judge};
use crate::exchange::tests::house::{START, policy};

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn whole(path: &str, status: u16, response: &[(&'static str, &str)], policy: &Policy) -> Result<Kept, Refusal> {
    let response = Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers(response),
        age: None,
        requested_at: START,
        responded_at: START,
    };
    judge(Question { path, headers: &HeaderMap::new(), ranged: true }, response, policy)
}

fn judged(status: u16, response: &[(&'static str, &str)], request: &[(&'static str, &str)], policy: &Policy) -> Option<Refusal> {
    let response = Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers(response),
        age: None,
        requested_at: START,
        responded_at: START,
    };
    judge(Question { path: "/", headers: &headers(request), ranged: false }, response, policy).err()
}

#[test]
fn rfc9111_3_what_may_be_stored() {
    let says = |value| ("cache-control", value);
    for (status, fields, expected) in [
        (200, vec![says("max-age=60")], None),
        (200, vec![says("max-age=60, no-store")], Some(Refusal::NoStore)),
        (200, vec![says("max-age=60, private")], Some(Refusal::Private)),
        (200, vec![says("no-cache")], Some(Refusal::Unusable)),
        (200, vec![says("no-cache"), ("etag", "\"1\"")], None),
        (200, vec![], Some(Refusal::Unusable)),
        (200, vec![("etag", "\"1\"")], None),
        (200, vec![says("max-age=0")], Some(Refusal::Unusable)),
        (200, vec![says("max-age=0, stale-while-revalidate=5")], None),
        (302, vec![says("max-age=60")], None),
        (302, vec![("etag", "\"1\"")], Some(Refusal::Status)),
        (404, vec![says("max-age=60")], None),
        (500, vec![says("max-age=60")], None),
        (500, vec![], Some(Refusal::Status)),
        (299, vec![says("max-age=60")], None),
        (599, vec![says("max-age=60")], None),
        (299, vec![], Some(Refusal::Status)),
        (299, vec![says("max-age=60, must-understand")], Some(Refusal::Status)),
        (299, vec![says("public"), ("etag", "\"1\"")], None),
        (302, vec![("expires", "Thu, 01 Jan 2026 00:01:00 GMT")], None),
        (200, vec![("cdn-cache-control", "max-age=60"), says("no-store")], None),
        (200, vec![("cdn-cache-control", "max-age=\"10000\""), says("no-store")], Some(Refusal::NoStore)),
        (200, vec![says("x=\"y, no-store, max-age=60")], Some(Refusal::NoStore)),
        (412, vec![says("max-age=60")], Some(Refusal::Status)),
        (417, vec![says("max-age=60")], Some(Refusal::Status)),
        (206, vec![says("max-age=60")], Some(Refusal::Status)),
        (304, vec![says("max-age=60")], Some(Refusal::Status)),
        (416, vec![says("max-age=60")], Some(Refusal::Status)),
    ] {
        assert_eq!(judged(status, &fields, &[], &policy()), expected, "{status} {fields:?}");
    }
}

#[test]
fn rfc9111_3_3_a_206_is_stored_as_the_part_that_was_asked_for() {
    let fields = [("cache-control", "max-age=60"), ("content-range", "bytes 2-4/10")];
    let kept = whole("/", 206, &fields, &policy()).unwrap();
    let part = kept.part.unwrap();
    assert_eq!((part.start, part.end, part.total), (2, 5, Some(10)));
    assert_eq!(judged(206, &fields, &[], &policy()), Some(Refusal::Status), "nobody asked for a part");
    for range in [None, Some("bytes 4-2/10"), Some("bytes */10"), Some("items 2-4/10")] {
        let fields: Vec<_> = [("cache-control", "max-age=60")].into_iter().chain(range.map(|range| ("content-range", range))).collect();
        assert_eq!(whole("/", 206, &fields, &policy()).err(), Some(Refusal::Status), "{range:?}");
    }
    let several =
        [("cache-control", "max-age=60"), ("content-range", "bytes 2-4/10"), ("content-type", "multipart/byteranges; boundary=x")];
    assert_eq!(whole("/", 206, &several, &policy()).err(), Some(Refusal::Status));
    let understood = [("cache-control", "max-age=60, no-store, must-understand"), ("content-range", "bytes 2-4/10")];
    assert!(whole("/", 206, &understood, &policy()).is_ok());
    assert_eq!(whole("/", 200, &[("cache-control", "max-age=60")], &policy()).unwrap().part, None, "the whole in place of the part");
}

#[test]
fn rfc9111_5_2_2_4_and_7_named_fields_are_not_stored() {
    let omit = |value: &str| {
        let kept = whole("/", 200, &[("cache-control", value), ("set-cookie", "id=1"), ("x-a", "1")], &policy())?;
        Ok::<_, Refusal>(kept.omit.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(omit("max-age=60, private=\"Set-Cookie\"").unwrap(), ["set-cookie"]);
    assert_eq!(omit("max-age=60, no-cache=\"set-cookie, x-a\", private=\"x-a\"").unwrap(), ["set-cookie", "x-a"]);
    assert_eq!(omit("max-age=60, private=\"x-a\"").unwrap_err(), Refusal::SetCookie);
    assert_eq!(omit("max-age=60, private=\"x a\"").unwrap_err(), Refusal::Private);
    assert_eq!(omit("max-age=60, private, private=\"set-cookie\"").unwrap_err(), Refusal::Private);
    let kept = whole("/", 200, &[("cache-control", "max-age=60, no-cache=\"x-a\"")], &policy()).unwrap();
    assert!(kept.freshness.is_fresh(START), "the rest may be used");
    let tag = [("cache-control", "max-age=0, private=\"etag\""), ("etag", "\"1\"")];
    assert_eq!(whole("/", 200, &tag, &policy()).err(), Some(Refusal::Unusable), "a validator that is not stored validates nothing");
}

#[test]
fn rfc9111_5_2_1_5_a_request_that_says_no_store_counts_where_the_site_obeys() {
    let obeys = Policy { obey_request: true, ..policy() };
    let fields = [("cache-control", "max-age=60")];
    assert_eq!(judged(200, &fields, &[("cache-control", "no-store")], &policy()), None);
    assert_eq!(judged(200, &fields, &[("cache-control", "no-store")], &obeys), Some(Refusal::RequestNoStore));
    assert_eq!(judged(200, &fields, &[("cache-control", "no-cache"), ("pragma", "no-cache")], &obeys), None);
}

#[test]
fn cookies_that_the_site_takes_out_of_answers_hinder_nobody() {
    let set_cookie = |set_cookie| Policy { cookies: Cookies { set_cookie, ..Cookies::default() }, ..policy() };
    let strip = set_cookie(SetCookie::Strip);
    let kept = whole("/", 200, &[("cache-control", "max-age=60"), ("set-cookie", "id=1")], &strip).unwrap();
    assert_eq!(kept.omit, ["set-cookie"]);
    let store = Policy { default_ttl: Period::from_secs(9), ttl: None, ..set_cookie(SetCookie::Store) };
    for (field, stored) in [
        (("cache-control", "max-age=60"), true),
        (("expires", "Thu, 01 Jan 2026 01:00:00 GMT"), true),
        (("cache-control", "public"), true),
        (("x", "y"), false),
        (("last-modified", "Wed, 01 Jan 2025 00:00:00 GMT"), false),
        (("cache-control", "max-age=60, private"), false),
    ] {
        let kept = whole("/", 200, &[field, ("set-cookie", "id=1")], &store);
        assert_eq!(kept.is_ok(), stored, "{field:?}: {kept:?}");
        assert!(kept.is_err() || kept.unwrap().omit.is_empty());
    }
}

#[test]
fn negative_answers_are_stored_where_the_operator_lists_them() {
    let negative = Negative { status: vec!["404".parse().unwrap(), "5xx".parse().unwrap()], ttl: Period::from_secs(3) };
    let listed = Policy { negative, default_ttl: Period::from_secs(100), ttl: Some(Period::from_secs(50)), ..policy() };
    let lifetime = |status, fields: &[_]| whole("/", status, fields, &listed).map(|kept| kept.freshness.lifetime.as_secs());
    assert_eq!(lifetime(404, &[]), Ok(3));
    assert_eq!(lifetime(502, &[]), Ok(3));
    assert_eq!(lifetime(410, &[]), Ok(50), "not listed");
    assert_eq!(lifetime(403, &[]), Err(Refusal::Status));
    assert_eq!(lifetime(404, &[("cache-control", "max-age=60")]), Ok(50), "the origin says something, and the rule stands in its place");
    assert_eq!(lifetime(404, &[("cache-control", "no-store")]), Err(Refusal::NoStore));
    assert_eq!(lifetime(502, &[("cache-control", "private")]), Err(Refusal::Private));
}

#[test]
fn lifetimes_by_answer_stand_in_place_of_all_others() {
    let by = |status: &[&str], content_type: &[&str], ttl| AnswerTtl {
        status: status.iter().map(|status| status.parse().unwrap()).collect(),
        content_type: content_type.iter().map(|&media_type| media_type.to_owned()).collect(),
        ttl: Period::from_secs(ttl),
    };
    let ttls = vec![by(&["302"], &[], 1), by(&["200"], &["image/*"], 2), by(&[], &["text/css"], 3), by(&["5xx"], &["text/html"], 4)];
    let policy = Policy { ttls, ttl: Some(Period::from_secs(50)), ..policy() };
    let lifetime = |status, fields: &[_]| whole("/", status, fields, &policy).map(|kept| kept.freshness.lifetime.as_secs());
    assert_eq!(lifetime(302, &[]), Ok(1));
    assert_eq!(lifetime(200, &[("content-type", "Image/PNG"), ("cache-control", "max-age=60")]), Ok(2));
    assert_eq!(lifetime(200, &[("content-type", "text/css; charset=utf-8")]), Ok(3));
    assert_eq!(lifetime(404, &[("content-type", "text/css")]), Ok(3));
    assert_eq!(lifetime(403, &[("content-type", "text/css")]), Err(Refusal::Status), "no status listed: only what may be stored anyway");
    assert_eq!(lifetime(403, &[("content-type", "text/css"), ("cache-control", "max-age=9")]), Ok(3));
    assert_eq!(lifetime(503, &[("content-type", "text/html")]), Ok(4));
    assert_eq!(lifetime(503, &[]), Err(Refusal::Status));
    assert_eq!(lifetime(200, &[("content-type", "imagex/png")]), Ok(50));
    assert_eq!(lifetime(200, &[]), Ok(50));
    assert_eq!(lifetime(302, &[("cache-control", "no-store")]), Err(Refusal::NoStore));
}

#[test]
fn rfc9111_3_5_authorized_requests() {
    let authorized = [("authorization", "Basic eA==")];
    for (value, expected) in [
        ("max-age=60", Some(Refusal::Authorization)),
        ("max-age=60, public", None),
        ("s-maxage=60", None),
        ("max-age=60, must-revalidate", None),
        ("max-age=60, proxy-revalidate", Some(Refusal::Authorization)),
    ] {
        assert_eq!(judged(200, &[("cache-control", value)], &authorized, &policy()), expected, "{value}");
    }
    let ttl = Policy { ttl: Some(Period::from_secs(5)), ..policy() };
    assert_eq!(judged(200, &[], &authorized, &ttl), Some(Refusal::Authorization), "a rule does not make it public");
}

#[test]
fn rfc9111_7_3_cookies_are_shared_only_where_someone_says_so() {
    let cookie = ("set-cookie", "id=1");
    assert_eq!(judged(200, &[("cache-control", "max-age=60"), cookie], &[], &policy()), Some(Refusal::SetCookie));
    assert_eq!(judged(200, &[("cache-control", "max-age=60, public"), cookie], &[], &policy()), None);
    assert_eq!(judged(200, &[("cache-control", "s-maxage=60"), cookie], &[], &policy()), None);
    let ttl = Policy { ttl: Some(Period::from_secs(5)), ..policy() };
    assert_eq!(judged(200, &[cookie], &[], &ttl), Some(Refusal::SetCookie), "a rule does not say so");
    let default = Policy { default_ttl: Period::from_secs(5), ..policy() };
    assert_eq!(judged(200, &[cookie], &[], &default), Some(Refusal::SetCookie));
}

#[test]
fn a_rule_does_not_store_what_the_origin_forbids() {
    let ttl = Policy { ttl: Some(Period::from_secs(5)), ..policy() };
    assert_eq!(judged(200, &[("cache-control", "no-store")], &[], &ttl), Some(Refusal::NoStore));
    assert_eq!(judged(200, &[("cache-control", "private")], &[], &ttl), Some(Refusal::Private));
    let bypass = Policy { bypass: true, ..ttl };
    assert_eq!(judged(200, &[("cache-control", "max-age=60")], &[], &bypass), Some(Refusal::Bypass));
}

#[test]
fn rfc9111_5_2_2_3_must_understand() {
    let fields = [("cache-control", "max-age=60, no-store, must-understand")];
    assert_eq!(judged(200, &fields, &[], &policy()), None);
    assert_eq!(judged(299, &fields, &[], &policy()), Some(Refusal::Status));
}

#[test]
fn rfc9111_4_1_vary_that_matches_nothing() {
    assert_eq!(judged(200, &[("cache-control", "max-age=60"), ("vary", "a, *")], &[], &policy()), Some(Refusal::VaryStar));
    let many = (0..17).map(|field| format!("x-{field}")).collect::<Vec<_>>().join(",");
    assert_eq!(judged(200, &[("cache-control", "max-age=60"), ("vary", &many)], &[], &policy()), Some(Refusal::VaryFields));
    assert_eq!(judged(200, &[("cache-control", "max-age=60"), ("vary", "a b")], &[], &policy()), Some(Refusal::VaryFields));
}

proptest! {
    /// The same inputs give the same verdict, and what an origin forbids is never kept.
    #[test]
    fn what_is_forbidden_is_not_kept(status in 200..600_u16, path in "/[a-z.;%/]{0,12}", control in "[a-z]{0,3}(, )?(no-store|private|max-age=5|public|no-cache=\"x\"|s-maxage=7|must-understand)(, max-age=9)?", cookie in any::<bool>(), ranged in any::<bool>()) {
        let mut fields = vec![("cache-control", control.as_str()), ("content-type", "text/html")];
        if cookie {
            fields.push(("set-cookie", "id=1"));
        }
        let fields = headers(&fields);
        let response = Response { status: StatusCode::from_u16(status).unwrap(), headers: &fields, age: None, requested_at: START, responded_at: START };
        let question = Question { path: &path, headers: &HeaderMap::new(), ranged };
        let policy = Policy { deception_guard: true, default_ttl: Period::from_secs(5), ..policy() };
        let verdict = judge(question, response, &policy);
        prop_assert_eq!(&verdict, &judge(question, response, &policy));
        let directives: Vec<&str> = control.split(", ").collect();
        if directives.contains(&"no-store") || directives.contains(&"private") || (cookie && !control.contains("public") && !control.contains("s-maxage")) {
            prop_assert!(verdict.is_err());
        }
    }
}

#[test]
fn every_reason_has_its_place() {
    for (place, reason) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), place, "{reason:?}");
    }
}

#[test]
fn a_stream_of_events_is_never_stored() {
    let fields = [("cache-control", "public, max-age=60"), ("content-type", "Text/Event-Stream; charset=utf-8")];
    assert_eq!(judged(200, &fields, &[], &Policy::default()), Some(Refusal::Events));
}
