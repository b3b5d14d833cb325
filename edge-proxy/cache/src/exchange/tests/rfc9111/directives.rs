//! Section 5: the fields and directives themselves.

use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::super::house::{Reply, START, Upstream, get, get_with, policy, seconds};
use super::{DATE, Fields, How, TEN_DAYS_BEFORE, again, ask, down, house, ok, twice};

#[tokio::test]
async fn section_5_1_of_several_ages_the_first_counts_and_what_is_none_is_ignored() {
    let rows: &[(&[&str], &str)] = &[
        (&["7"], "7"),
        (&["7, 30"], "7"),
        (&["7", "30"], "7"),
        (&["30", "7"], "30"),
        (&["0"], "0"),
        (&["007"], "7"),
        (&["-7"], "0"),
        (&["7.5"], "0"),
        (&["seven"], "0"),
        (&["\"7\""], "0"),
        (&["7s"], "0"),
        (&[""], "0"),
    ];
    for (ages, age) in rows {
        let fields: Vec<_> = ages.iter().map(|age| ("age", *age)).chain([("cache-control", "max-age=60")]).collect();
        let seen = twice(Reply::new(200, &fields, "stored"), get("/"), START).await;
        assert_eq!((seen.how, seen.field("age")), (How::Reused, Some(*age)), "{ages:?}");
    }
}

#[tokio::test]
async fn section_5_2_directives_pass_through_both_ways() {
    let control = "max-age=60, x-own=\"a, b\", no-transform, stale-if-error=5";
    let house = house(&Upstream::always(ok(control)), policy());
    let request = get_with("/", &[("cache-control", "max-stale=5, x-client"), ("pragma", "no-cache")]);
    for how in [How::Fetched, How::Reused] {
        let seen = ask(&house, request.clone(), START).await;
        assert_eq!((seen.how, seen.field("cache-control")), (how, Some(control)));
    }
    let sent = house.upstream.call(0).request.headers;
    assert_eq!((&sent["cache-control"], &sent["pragma"]), (&"max-stale=5, x-client".parse().unwrap(), &"no-cache".parse().unwrap()));
}

#[tokio::test]
async fn section_5_2_names_have_no_case_and_arguments_two_forms() {
    let rows: &[(&str, bool)] = &[
        ("Max-Age=60", true),
        ("MAX-AGE=60", true),
        ("max-age=\"60\"", true),
        ("S-MaxAge=\"60\", max-age=0", true),
        ("max-age=60, No-Store", false),
        ("max-age=60, PRIVATE", false),
        ("No-Cache, max-age=60", false),
        ("  max-age=60  ,,  , x", true),
        // In a quoted string a directive is no directive, nor a comma a comma.
        ("x=\"no-store, private\", max-age=60", true),
        ("x=\"\\\", no-store\", max-age=60", true),
        ("x-no-store, not-private, max-age=60", true),
    ];
    for (control, reused) in rows {
        assert_eq!(twice(ok(control), get("/"), START).await.how == How::Reused, *reused, "{control}");
    }
}

#[tokio::test]
async fn section_5_2_1_request_directives_are_ignored_by_default() {
    let rows: [Fields; 8] = [
        &[("cache-control", "no-cache")],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "min-fresh=3600")],
        &[("cache-control", "no-transform")],
        &[("cache-control", "max-stale")],
        &[("pragma", "no-cache")],
        &[("cache-control", "no-cache, no-store, max-age=0"), ("pragma", "no-cache")],
    ];
    for fields in rows {
        assert_eq!(again(policy(), ok("max-age=60"), get("/"), get_with("/", fields), seconds(1)).await.how, How::Reused, "{fields:?}");
        assert_eq!(again(policy(), ok("max-age=60"), get_with("/", fields), get("/"), seconds(1)).await.how, How::Reused, "{fields:?}");
        let stale = again(policy(), ok("max-age=1"), get("/"), get_with("/", fields), seconds(5)).await;
        assert_eq!(stale.body, "other", "{fields:?}");
    }
}

#[tokio::test]
async fn section_5_2_2_1_after_max_age_the_answer_is_stale() {
    for (control, last) in [("max-age=1", 0), ("max-age=10", 9), ("max-age=3600", 3_599)] {
        let reply = || Reply::new(200, &[("cache-control", control), ("etag", "\"1\"")], "stored");
        assert_eq!(twice(reply(), get("/"), seconds(last)).await.how, How::Reused, "{control}");
        assert_eq!(twice(reply(), get("/"), seconds(last + 1)).await.how, How::Validated, "{control}");
    }
}

/// A site that would serve stale answers for ten minutes, by its own word or only where the origin says nothing.
fn lenient() -> Policy {
    let window = Period::from_secs(600);
    Policy { default_stale_while_revalidate: window, default_stale_if_error: window, ..policy() }
}

/// What a client gets with the origin down, 20 seconds after an answer with a lifetime of 10.
async fn when_down(policy: Policy, control: &str) -> How {
    let first = Reply::new(200, &[("cache-control", control), ("etag", "\"1\"")], "stored");
    let upstream = Upstream::new(move |index, _| if index == 0 { first.clone() } else { down() });
    let house = house(&upstream, policy);
    ask(&house, get("/"), START).await;
    ask(&house, get("/"), seconds(20)).await.how
}

#[tokio::test]
async fn section_5_2_2_2_must_revalidate_ends_in_an_error_when_nobody_answers() {
    for control in [
        "max-age=10, must-revalidate",
        "max-age=10, must-revalidate, stale-if-error=600",
        "Must-Revalidate, max-age=10, stale-while-revalidate=600",
    ] {
        assert_eq!(when_down(lenient(), control).await, How::Failed, "{control}");
        let by_rule =
            Policy { stale_if_error: Some(Period::from_secs(600)), stale_while_revalidate: Some(Period::from_secs(600)), ..policy() };
        assert_eq!(when_down(by_rule, control).await, How::Failed, "{control}, with windows from a rule");
    }
    assert_ne!(when_down(lenient(), "max-age=10").await, How::Failed);
}

#[tokio::test]
async fn section_5_2_2_2_must_revalidate_is_reused_while_fresh() {
    let reply = || Reply::new(200, &[("cache-control", "max-age=10, must-revalidate"), ("etag", "\"1\"")], "stored");
    assert_eq!(twice(reply(), get("/"), seconds(9)).await.how, How::Reused);
    assert_eq!(again(lenient(), reply(), get("/"), get("/"), seconds(10)).await.how, How::Validated);
}

#[tokio::test]
async fn section_5_2_2_3_must_understand_sets_no_store_aside_where_the_status_is_understood() {
    let rows: &[(u16, &str, bool)] = &[
        (200, "max-age=60, must-understand, no-store", true),
        (301, "no-store, must-understand, max-age=60", true),
        (404, "max-age=60, must-understand, no-store", true),
        (299, "max-age=60, must-understand, no-store", false),
        (200, "max-age=60, no-store", false),
        (200, "max-age=60, must-understand, no-store, private", false),
    ];
    for (status, control, reused) in rows {
        let seen = twice(Reply::new(*status, &[("cache-control", control)], "stored"), get("/"), START).await;
        assert_eq!(seen.how == How::Reused, *reused, "{status} {control}");
    }
}

#[tokio::test]
async fn section_5_2_2_4_no_cache_is_validated_at_every_use() {
    for control in ["no-cache", "no-cache, max-age=60", "public, s-maxage=60, no-cache", "no-cache, stale-while-revalidate=60, max-age=60"]
    {
        let upstream = Upstream::new({
            let control = control.to_owned();
            move |index, _| {
                let fields = [("cache-control", &control[..]), ("etag", "\"1\"")];
                if index == 0 { Reply::new(200, &fields, "stored") } else { Reply::new(304, &fields, "").at(seconds(1)) }
            }
        });
        let house = house(&upstream, lenient());
        assert_eq!(ask(&house, get("/"), START).await.how, How::Fetched);
        for _ in 0..3 {
            let seen = ask(&house, get("/"), seconds(1)).await;
            assert_eq!((seen.how, &seen.body[..]), (How::Validated, &b"stored"[..]), "{control}");
        }
        assert_eq!(when_down(lenient(), control).await, How::Failed, "{control}");
    }
}

#[tokio::test]
async fn section_5_2_2_5_no_store_is_not_stored_nor_used_again() {
    let house = house(&Upstream::always(ok("no-store, max-age=60, public, s-maxage=60")), lenient());
    for _ in 0..3 {
        assert_eq!(ask(&house, get("/"), START).await.how, How::Fetched);
        assert_eq!((house.exchange.figures().entries, house.exchange.figures().filling_bytes), (0, 0));
    }
}

#[tokio::test]
async fn section_5_2_2_6_content_is_never_transformed() {
    let fields =
        [("cache-control", "max-age=60, no-transform"), ("content-encoding", "gzip"), ("content-type", "text/html"), ("etag", "\"1\"")];
    let bytes: Vec<u8> = (0..=255).collect();
    let house = house(&Upstream::always(Reply::new(200, &fields, bytes.clone())), policy());
    for accepted in ["gzip", "identity", "br"] {
        let seen = ask(&house, get_with("/", &[("accept-encoding", accepted)]), START).await;
        assert_eq!((&seen.body[..], seen.field("content-encoding"), seen.field("etag")), (&bytes[..], Some("gzip"), Some("\"1\"")));
    }
    assert_eq!(house.upstream.calls(), 1);
}

#[tokio::test]
async fn section_5_2_2_7_private_is_not_stored() {
    for control in ["private", "private, max-age=60", "max-age=60, private, public", "PRIVATE, s-maxage=60"] {
        let house = house(&Upstream::always(ok(control)), lenient());
        for _ in 0..2 {
            assert_eq!(ask(&house, get("/"), START).await.how, How::Fetched, "{control}");
            assert_eq!(house.exchange.figures().entries, 0, "{control}");
        }
    }
}

#[tokio::test]
async fn section_5_2_2_7_fields_that_private_names_are_sent_to_nobody_else() {
    for control in ["max-age=60, private=\"x-secret\"", "private=\"X-Secret , x-other\", max-age=60", "max-age=60, private=x-secret"] {
        let reply = Reply::new(200, &[("cache-control", control), ("x-secret", "1"), ("x-plain", "1")], "stored");
        let seen = twice(reply, get("/"), seconds(1)).await;
        assert_eq!(seen.field("x-secret"), None, "{control}: {:?}", seen.how);
    }
}

#[tokio::test]
async fn section_5_2_2_4_fields_that_no_cache_names_are_not_sent_again_without_validation() {
    for control in ["max-age=60, no-cache=\"set-cookie\", public", "public, no-cache=\"SET-COOKIE , x-other\", max-age=60"] {
        let reply = Reply::new(200, &[("cache-control", control), ("set-cookie", "session=1"), ("x-plain", "1")], "stored");
        let seen = twice(reply, get("/"), seconds(1)).await;
        assert_eq!(seen.field("set-cookie"), None, "{control}: {:?}", seen.how);
    }
}

#[tokio::test]
async fn section_5_2_2_8_proxy_revalidate_forbids_stale_answers_and_allows_nothing() {
    assert_eq!(when_down(lenient(), "max-age=10, proxy-revalidate").await, How::Failed);
    assert_eq!(when_down(lenient(), "max-age=10, Proxy-Revalidate, stale-if-error=600").await, How::Failed);
    let seen =
        twice(Reply::new(302, &[("cache-control", "proxy-revalidate"), ("last-modified", TEN_DAYS_BEFORE)], "stored"), get("/"), START)
            .await;
    assert_eq!(seen.how, How::Fetched);
}

#[tokio::test]
async fn section_5_2_2_9_public_makes_an_answer_storable_and_heuristically_cacheable() {
    let rows: &[(u16, Fields, Fields, bool)] = &[
        (302, &[], &[("cache-control", "public"), ("date", DATE), ("last-modified", TEN_DAYS_BEFORE)], true),
        (302, &[], &[("date", DATE), ("last-modified", TEN_DAYS_BEFORE)], false),
        (200, &[("authorization", "x")], &[("cache-control", "public, max-age=60")], true),
        (200, &[("authorization", "x")], &[("cache-control", "max-age=60")], false),
        (200, &[], &[("cache-control", "public, no-store, max-age=60")], false),
        (200, &[], &[("cache-control", "public, private, max-age=60")], false),
    ];
    for (status, request, response, reused) in rows {
        let seen = twice(Reply::new(*status, response, "stored"), get_with("/", request), seconds(1)).await;
        assert_eq!(seen.how == How::Reused, *reused, "{status} {request:?} {response:?}");
    }
}

#[tokio::test]
async fn section_5_2_2_10_s_maxage_comes_before_max_age_and_expires_and_forbids_stale_answers() {
    let rows: &[(Fields, u64)] = &[
        (&[("cache-control", "s-maxage=10, max-age=60"), ("expires", "Thu, 01 Jan 2026 01:00:00 GMT")], 10),
        (&[("cache-control", "max-age=0, s-maxage=10"), ("expires", "0")], 10),
    ];
    for (fields, lifetime) in rows {
        let fields: Vec<_> = fields.iter().copied().chain([("date", DATE), ("etag", "\"1\"")]).collect();
        let reply = || Reply::new(200, &fields, "stored");
        assert_eq!(twice(reply(), get("/"), seconds(lifetime - 1)).await.how, How::Reused, "{fields:?}");
        assert_eq!(twice(reply(), get("/"), seconds(*lifetime)).await.how, How::Validated, "{fields:?}");
    }
    assert_eq!(when_down(lenient(), "s-maxage=10").await, How::Failed);
    assert_eq!(when_down(lenient(), "s-maxage=10, max-age=15").await, How::Failed);
}

#[tokio::test]
async fn section_5_2_3_unknown_directives_change_nothing() {
    for unknown in ["x", "x=1", "x=\"a, b\"", "community=\"UCI\"", "max-age-x=0", "x-max-age=0", "=", "=5", "\"", "%", "max-stale=0"] {
        let seen = twice(ok(&format!("max-age=60, {unknown}")), get("/"), seconds(59)).await;
        assert_eq!(seen.how, How::Reused, "{unknown}");
    }
    assert_eq!(twice(ok("private, community=\"UCI\", max-age=60"), get("/"), START).await.how, How::Fetched);
}

#[tokio::test]
async fn section_5_3_an_expires_that_is_no_date_is_in_the_past() {
    for expires in [
        "0",
        "-1",
        "",
        "now",
        "60",
        "Thu, 01 Jan 2026",
        "2026-01-01T00:01:00Z",
        "Thu, 32 Jan 2026 00:01:00 GMT",
        "Thu, 01 Foo 2026 00:01:00 GMT",
        "Thu, 01 Jan 2026 25:01:00 GMT",
    ] {
        let fields = [("date", DATE), ("expires", expires), ("last-modified", TEN_DAYS_BEFORE)];
        assert_eq!(twice(Reply::new(200, &fields, "stored"), get("/"), START).await.how, How::Validated, "{expires:?}");
    }
}

#[tokio::test]
async fn section_5_3_max_age_and_s_maxage_set_expires_aside() {
    for control in ["max-age=10", "s-maxage=10"] {
        for expires in ["0", TEN_DAYS_BEFORE, "Thu, 01 Jan 2026 01:00:00 GMT"] {
            let fields = [("date", DATE), ("expires", expires), ("cache-control", control), ("etag", "\"1\"")];
            let reply = || Reply::new(200, &fields, "stored");
            assert_eq!(twice(reply(), get("/"), seconds(9)).await.how, How::Reused, "{control} {expires}");
            assert_eq!(twice(reply(), get("/"), seconds(10)).await.how, How::Validated, "{control} {expires}");
        }
    }
}

#[tokio::test]
async fn section_5_4_pragma_means_nothing_in_an_answer() {
    let fields = [("cache-control", "max-age=60"), ("pragma", "no-cache")];
    let seen = twice(Reply::new(200, &fields, "stored"), get("/"), seconds(1)).await;
    assert_eq!((seen.how, seen.field("pragma")), (How::Reused, Some("no-cache")));
}

#[tokio::test]
async fn section_5_5_warning_is_a_field_like_any_other() {
    let seen = twice(Reply::new(200, &[("cache-control", "max-age=1"), ("etag", "\"1\"")], "stored"), get("/"), START).await;
    assert_eq!((seen.how, seen.field("warning")), (How::Reused, None));
}

/// A site that obeys request directives.
fn obeying() -> Policy {
    Policy { obey_request: true, ..policy() }
}

#[tokio::test]
async fn section_5_2_1_request_directives_are_obeyed_where_the_site_says_so() {
    // What is stored has a lifetime of 60; asked for again at so many seconds.
    let rows: &[(Fields, u64, How)] = &[
        (&[("cache-control", "max-age=10")], 10, How::Reused),
        (&[("cache-control", "max-age=10")], 11, How::Validated),
        (&[("cache-control", "max-age=0")], 1, How::Validated),
        (&[("cache-control", "max-age=100")], 60, How::Validated),
        (&[("cache-control", "min-fresh=20")], 40, How::Reused),
        (&[("cache-control", "min-fresh=20")], 41, How::Validated),
        (&[("cache-control", "max-stale=10")], 70, How::Reused),
        (&[("cache-control", "max-stale=10")], 71, How::Validated),
        (&[("cache-control", "max-stale")], 1_000, How::Reused),
        (&[("cache-control", "no-cache")], 0, How::Validated),
        (&[("pragma", "no-cache")], 0, How::Validated),
        (&[("pragma", "no-cache"), ("cache-control", "max-age=60")], 1, How::Reused),
        (&[("cache-control", "no-transform, x")], 1, How::Reused),
    ];
    for (fields, at, how) in rows {
        let reply = Reply::new(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], "stored");
        let seen = again(obeying(), reply, get("/"), get_with("/", fields), seconds(*at)).await;
        assert_eq!(seen.how, *how, "{fields:?} at {at} s");
    }
}

#[tokio::test]
async fn section_5_2_1_5_the_answer_to_no_store_is_not_stored_where_the_site_says_so() {
    let no_store = get_with("/", &[("cache-control", "no-store")]);
    assert_eq!(again(obeying(), ok("max-age=60"), no_store.clone(), get("/"), seconds(1)).await.how, How::Fetched);
    // What was stored before is no part of it.
    let house = house(&Upstream::always(ok("max-age=60")), obeying());
    ask(&house, get("/"), START).await;
    ask(&house, no_store, seconds(1)).await;
    assert_eq!(ask(&house, get("/"), seconds(2)).await.how, How::Reused);
}

#[tokio::test]
async fn section_5_2_1_7_only_if_cached_is_answered_from_the_store_or_not_at_all() {
    for policy in [policy(), obeying()] {
        let only = get_with("/", &[("cache-control", "only-if-cached")]);
        let house = house(&Upstream::always(ok("max-age=60")), policy);
        assert_eq!(ask(&house, only.clone(), START).await.status, 504);
        assert_eq!(house.upstream.calls(), 0);
        ask(&house, get("/"), START).await;
        assert_eq!(ask(&house, only.clone(), seconds(59)).await.how, How::Reused);
        assert_eq!(ask(&house, only, seconds(60)).await.status, 504);
        assert_eq!(house.upstream.calls(), 1);
    }
}

#[tokio::test]
async fn section_5_2_2_7_the_rest_of_an_answer_with_private_fields_is_stored() {
    let reply = Reply::new(200, &[("cache-control", "max-age=60, private=\"x-secret\""), ("x-secret", "1"), ("x-plain", "1")], "stored");
    let seen = twice(reply, get("/"), seconds(1)).await;
    assert_eq!((seen.how, seen.field("x-secret"), seen.field("x-plain")), (How::Reused, None, Some("1")));
}

#[tokio::test]
async fn section_5_2_2_4_the_rest_of_an_answer_with_no_cache_fields_is_reused() {
    let control = "max-age=60, no-cache=\"set-cookie\"";
    let reply = Reply::new(200, &[("cache-control", control), ("set-cookie", "session=1"), ("x-plain", "1")], "stored");
    let seen = twice(reply, get("/"), seconds(1)).await;
    assert_eq!((seen.how, seen.field("set-cookie"), seen.field("x-plain")), (How::Reused, None, Some("1")));
}
