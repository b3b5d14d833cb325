//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::{Question, Refusal, Response, judge};
use crate::exchange::tests::house::{START, policy};

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn judged(status: u16, response: &[(&'static str, &str)], request: &[(&'static str, &str)], policy: &Policy) -> Option<Refusal> {
    let response =
        Response { status: StatusCode::from_u16(status).unwrap(), headers: &headers(response), requested_at: START, responded_at: START };
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
        (206, vec![says("max-age=60")], Some(Refusal::Status)),
        (304, vec![says("max-age=60")], Some(Refusal::Status)),
        (416, vec![says("max-age=60")], Some(Refusal::Status)),
    ] {
        assert_eq!(judged(status, &fields, &[], &policy()), expected, "{status} {fields:?}");
    }
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
