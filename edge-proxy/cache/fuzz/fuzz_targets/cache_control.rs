//! `Cache-Control`, the targeted fields, and what follows for storing and freshness.
#![no_main]

use http::{HeaderValue, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use skerry_cache::cacheable::{self, Question, Response};
use skerry_cache::control::{self, Asked, Control};
use skerry_cache::time::Time;
use skerry_cache_fuzz::fields;
use skerry_config::snapshot::Policy;

const NAMES: [&str; 10] =
    ["cache-control", "cdn-cache-control", "skerry-cache-control", "expires", "date", "age", "last-modified", "etag", "vary", "set-cookie"];

/// 2026-01-01.
const NOW: Time = Time(1_767_225_600_000);

fuzz_target!(|data: &[u8]| {
    let headers = fields(data, &NAMES);
    let control = Control::of(&headers);
    assert_eq!(control, Control::of(&headers));
    for seconds in [control.max_age, control.s_maxage, control.stale_while_revalidate, control.stale_if_error].into_iter().flatten() {
        assert!(seconds <= control::SECONDS_MAX);
    }
    assert_eq!(Asked::of(&headers), Asked::of(&headers));

    let empty = http::HeaderMap::new();
    let question = Question { path: "/", headers: &empty, ranged: false };
    let response = Response { status: StatusCode::OK, headers: &headers, age: None, requested_at: NOW, responded_at: NOW };
    let policy = Policy::default();
    let verdict = cacheable::judge(question, response, &policy);
    assert_eq!(verdict, cacheable::judge(question, response, &policy));

    // A word that forbids, said after everything else, is never drowned by what came before it.
    for (word, name) in [("no-store", "cache-control"), ("private", "cache-control")] {
        let mut stricter = headers.clone();
        for targeted in control::TARGETED {
            stricter.remove(targeted);
        }
        stricter.append(name, HeaderValue::from_static(word));
        let response = Response { headers: &stricter, ..response };
        let kept = cacheable::judge(question, response, &policy).is_ok();
        assert!(!kept || (word == "no-store" && Control::of(&stricter).must_understand), "{word} was not heard in {stricter:?}");
    }

    let Ok(kept) = verdict else { return };
    assert!(!(control.no_store && !control.must_understand) && !control.private);
    let left_out = control.private_fields.iter().chain(&control.no_cache_fields).any(|name| name == header::SET_COOKIE);
    assert!(!headers.contains_key(header::SET_COOKIE) || left_out || control.public || control.s_maxage.is_some());
    let freshness = kept.freshness;
    let mut before = freshness.age(NOW);
    let mut fresh_before = true;
    for later in [0, 1, 999, 1_000, 60_000, 86_400_000, u64::MAX / 2, u64::MAX] {
        let now = Time(NOW.0.saturating_add(later));
        assert!(freshness.age(now) >= before, "an answer grew younger");
        before = freshness.age(now);
        assert!(fresh_before || !freshness.is_fresh(now), "a stale answer became fresh");
        fresh_before = freshness.is_fresh(now);
        assert!(!freshness.is_fresh(now) || (freshness.ttl(now) >= 0 && !freshness.no_cache));
        if control.must_revalidate || control.proxy_revalidate || control.no_cache {
            assert!(!freshness.may_revalidate_behind(now) && !freshness.may_cover_error(now));
        }
    }
});
