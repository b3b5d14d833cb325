//! Tables, by section of the RFC.

use super::{CacheStatus, Forwarded};

#[test]
fn rfc9211_2_members_of_cache_status() {
    let hit = CacheStatus { hit: true, ttl: Some(31), ..CacheStatus::default() };
    assert_eq!(hit.render("edge-1"), "edge-1; hit; ttl=31");
    let miss = CacheStatus { stored: true, ..CacheStatus::forwarded(Forwarded::UriMiss) };
    assert_eq!(miss.render("edge-1"), "edge-1; fwd=uri-miss; stored");
    let all = CacheStatus {
        hit: false,
        fwd: Some(Forwarded::Stale),
        fwd_status: Some(304),
        stored: true,
        collapsed: true,
        ttl: Some(-5),
        key: Some("https://a/\"b\\?ü".to_owned()),
        detail: Some("soft-purged"),
    };
    let expected = "e; fwd=stale; fwd-status=304; stored; collapsed; ttl=-5; key=\"https://a/\\\"b\\\\??\"; detail=soft-purged";
    assert_eq!(all.render("e"), expected);
}

#[test]
fn rfc9211_2_a_name_that_is_no_token_is_a_string() {
    for (name, expected) in [("a.b:c/d", "a.b:c/d"), ("1", "\"1\""), ("", "\"\""), ("a \"b\\", "\"a \\\"b\\\\\""), ("ü\n", "\"??\"")] {
        assert_eq!(CacheStatus::default().render(name), expected, "{name:?}");
    }
}

#[test]
fn every_reason_has_its_place() {
    for (at, reason) in Forwarded::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), at);
    }
}
