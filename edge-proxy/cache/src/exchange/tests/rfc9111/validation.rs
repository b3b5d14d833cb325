//! Section 4.3: conditions sent, conditions received, and what their answers change.

use super::super::house::{Reply, START, Upstream, get, get_with, policy, seconds};
use super::{DATE, Fields, How, TEN_DAYS_BEFORE, again, ask, house};

#[tokio::test]
async fn section_4_3_1_a_validation_sends_the_stored_validators_and_no_others() {
    // Stored; then `If-None-Match` and `If-Modified-Since` as sent upstream.
    let rows: &[(Fields, Option<&str>, Option<&str>)] = &[
        (&[("etag", "\"1\"")], Some("\"1\""), None),
        (&[("etag", "W/\"1\"")], Some("W/\"1\""), None),
        (&[("last-modified", TEN_DAYS_BEFORE)], None, Some(TEN_DAYS_BEFORE)),
        (&[("etag", "\"1\""), ("last-modified", TEN_DAYS_BEFORE)], Some("\"1\""), Some(TEN_DAYS_BEFORE)),
    ];
    let clients: [Fields; 3] = [&[], &[("if-none-match", "\"client\"")], &[("if-modified-since", DATE)]];
    for (stored, none_match, since) in rows {
        for client in clients {
            let fields: Vec<_> = stored.iter().copied().chain([("cache-control", "max-age=10")]).collect();
            let first = Reply::new(200, &fields, "stored");
            let upstream = Upstream::new(move |index, _| if index == 0 { first.clone() } else { super::other(seconds(10)) });
            let house = house(&upstream, policy());
            ask(&house, get("/"), START).await;
            ask(&house, get_with("/", client), seconds(10)).await;
            let sent = upstream.call(1).request.headers;
            let field = |name: &str| sent.get(name).map(|value| value.to_str().unwrap());
            assert_eq!((field("if-none-match"), field("if-modified-since")), (*none_match, *since), "{stored:?} {client:?}");
        }
    }
}

#[tokio::test]
async fn section_4_3_1_a_validation_asks_for_what_was_stored() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("vary", "x")], "stored"),
        _ => Reply::new(304, &[("etag", "\"1\"")], "").at(seconds(20)),
    });
    let house = house(&upstream, policy());
    ask(&house, get_with("/a?b=c", &[("x", "1")]), START).await;
    ask(&house, get_with("/a?b=c", &[("x", "1")]), seconds(20)).await;
    let sent = upstream.call(1).request;
    assert_eq!((&sent.path_and_query[..], sent.headers.get("x").unwrap().to_str().unwrap(), sent.head_only), ("/a?b=c", "1", false));
}

/// The status of an answer from the store to a request with these conditions.
async fn on_stored(stored: &[(&'static str, &str)], condition: &[(&str, &str)]) -> u16 {
    let fields: Vec<_> = stored.iter().copied().chain([("cache-control", "max-age=60"), ("date", DATE)]).collect();
    let seen = again(policy(), Reply::new(200, &fields, "stored"), get("/"), get_with("/", condition), seconds(1)).await;
    assert_eq!(seen.how, How::Reused, "{condition:?}");
    seen.status
}

const VALIDATED: Fields = &[("etag", "\"1\""), ("last-modified", TEN_DAYS_BEFORE)];
const BEFORE: &str = "Sun, 21 Dec 2025 23:59:59 GMT";

#[tokio::test]
async fn section_4_3_2_conditions_are_evaluated_on_what_is_stored() {
    let rows: &[(Fields, Fields, u16)] = &[
        (VALIDATED, &[("if-none-match", "\"1\"")], 304),
        (VALIDATED, &[("if-none-match", "W/\"1\"")], 304),
        (VALIDATED, &[("if-none-match", "\"0\", \"1\"")], 304),
        (VALIDATED, &[("if-none-match", "\"0\""), ("if-none-match", "\"1\"")], 304),
        (VALIDATED, &[("if-none-match", "*")], 304),
        (VALIDATED, &[("if-none-match", "\"0\"")], 200),
        (VALIDATED, &[("if-none-match", "\"11\"")], 200),
        (&[("etag", "W/\"1\"")], &[("if-none-match", "\"1\"")], 304),
        (&[], &[("if-none-match", "\"1\"")], 200),
        (&[], &[("if-none-match", "*")], 304),
        (VALIDATED, &[("if-modified-since", TEN_DAYS_BEFORE)], 304),
        (VALIDATED, &[("if-modified-since", DATE)], 304),
        (VALIDATED, &[("if-modified-since", BEFORE)], 200),
        (VALIDATED, &[("if-modified-since", "then")], 200),
        // A tag says more than a date.
        (VALIDATED, &[("if-none-match", "\"0\""), ("if-modified-since", DATE)], 200),
        (VALIDATED, &[("if-none-match", "\"1\""), ("if-modified-since", BEFORE)], 304),
    ];
    for (stored, condition, status) in rows {
        assert_eq!(on_stored(stored, condition).await, *status, "{stored:?} {condition:?}");
    }
}

#[tokio::test]
async fn section_4_3_2_conditions_for_the_origin_alone_are_not_evaluated() {
    let rows: &[Fields] = &[
        &[("if-match", "\"other\"")],
        &[("if-match", "*")],
        &[("if-unmodified-since", BEFORE)],
        &[("if-match", "\"other\""), ("if-unmodified-since", BEFORE)],
    ];
    for condition in rows {
        assert_eq!(on_stored(VALIDATED, condition).await, 200, "{condition:?}");
    }
}

#[tokio::test]
async fn section_4_3_2_conditions_count_for_answers_with_200_only() {
    for status in [301, 404, 410] {
        let fields: Vec<_> = VALIDATED.iter().copied().chain([("cache-control", "max-age=60")]).collect();
        let condition = get_with("/", &[("if-none-match", "\"1\""), ("if-modified-since", DATE)]);
        let seen = again(policy(), Reply::new(status, &fields, "stored"), get("/"), condition, seconds(1)).await;
        assert_eq!((seen.how, seen.status), (How::Reused, status));
    }
}

#[tokio::test]
async fn section_4_3_2_without_last_modified_the_date_stands_in_for_it() {
    assert_eq!(on_stored(&[], &[("if-modified-since", DATE)]).await, 304);
    assert_eq!(on_stored(&[], &[("if-modified-since", TEN_DAYS_BEFORE)]).await, 200);
    // Without `Date` it is the time at which the answer came.
    let reply = super::ok("max-age=60");
    for (since, status) in [(DATE, 304), (TEN_DAYS_BEFORE, 200)] {
        let request = get_with("/", &[("if-modified-since", since)]);
        assert_eq!(again(policy(), reply.clone(), get("/"), request, seconds(1)).await.status, status, "{since}");
    }
}

#[tokio::test]
async fn section_4_3_2_a_304_about_a_tag_the_client_has_not_becomes_200_for_it() {
    for (client, status, body) in [("\"client\"", 200, "stored"), ("\"1\"", 304, "")] {
        let upstream = Upstream::new(|index, _| match index {
            0 => Reply::new(200, &[("cache-control", "max-age=10"), ("etag", "\"1\"")], "stored"),
            _ => Reply::new(304, &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("x-a", "new")], "").at(seconds(20)),
        });
        let house = house(&upstream, policy());
        ask(&house, get("/"), START).await;
        let seen = ask(&house, get_with("/", &[("if-none-match", client)]), seconds(20)).await;
        assert_eq!((seen.how, seen.status, &seen.body[..]), (How::Validated, status, body.as_bytes()));
        assert_eq!(seen.field("x-a"), Some("new"));
    }
}

#[tokio::test]
async fn section_4_3_3_a_full_answer_is_used_and_takes_the_place_of_the_stored_one() {
    for status in [200, 203, 404, 410] {
        let upstream = Upstream::new(move |index, _| match index {
            0 => Reply::new(200, &[("cache-control", "max-age=10"), ("etag", "\"1\"")], "stored"),
            _ => Reply::new(status, &[("cache-control", "max-age=10"), ("etag", "\"2\"")], "new").at(seconds(20)),
        });
        let house = house(&upstream, policy());
        ask(&house, get("/"), START).await;
        for how in [How::Validated, How::Reused] {
            let seen = ask(&house, get("/"), seconds(20)).await;
            assert_eq!((seen.how, seen.status, &seen.body[..]), (how, status, &b"new"[..]));
        }
    }
}

#[tokio::test]
async fn section_4_3_3_a_5xx_is_forwarded_where_nothing_stale_may_be_sent() {
    for status in [500, 502, 503, 504] {
        let upstream = Upstream::new(move |index, _| match index {
            0 => Reply::new(200, &[("cache-control", "max-age=10"), ("etag", "\"1\"")], "stored"),
            _ => Reply::new(status, &[], "oops").at(seconds(20)),
        });
        let house = house(&upstream, policy());
        ask(&house, get("/"), START).await;
        let seen = ask(&house, get("/"), seconds(20)).await;
        assert_eq!((seen.how, seen.status, &seen.body[..]), (How::Validated, status, &b"oops"[..]));
    }
}

#[tokio::test]
async fn section_4_3_4_a_304_updates_only_what_it_is_about() {
    // Stored and 304 validators; whether the 304 is about what is stored.
    let rows: &[(Fields, Fields, bool)] = &[
        (&[("etag", "\"1\"")], &[("etag", "\"1\"")], true),
        (&[("etag", "\"1\"")], &[("etag", "\"2\"")], false),
        (&[("etag", "W/\"1\"")], &[("etag", "W/\"1\"")], true),
        (&[("etag", "W/\"1\"")], &[("etag", "W/\"2\"")], false),
        (&[("last-modified", TEN_DAYS_BEFORE)], &[("last-modified", TEN_DAYS_BEFORE)], true),
        (&[("last-modified", TEN_DAYS_BEFORE)], &[("last-modified", DATE)], false),
        (&[("etag", "\"1\""), ("last-modified", TEN_DAYS_BEFORE)], &[("etag", "\"1\"")], true),
        (&[("etag", "\"1\""), ("last-modified", TEN_DAYS_BEFORE)], &[("etag", "\"2\""), ("last-modified", TEN_DAYS_BEFORE)], false),
        // Asked about one stored answer by its validator: a 304 without one can be about nothing else.
        (&[("etag", "\"1\"")], &[], true),
    ];
    for (stored, update, about) in rows {
        let first: Vec<_> = stored.iter().copied().chain([("cache-control", "max-age=10"), ("x-a", "old")]).collect();
        let then: Vec<_> = update.iter().copied().chain([("cache-control", "max-age=10"), ("x-a", "new")]).collect();
        let upstream = Upstream::new(move |index, _| match index {
            0 => Reply::new(200, &first, "stored"),
            1 => Reply::new(304, &then, "").at(seconds(20)),
            _ => super::other(seconds(20)),
        });
        let house = house(&upstream, policy());
        ask(&house, get("/"), START).await;
        let seen = ask(&house, get("/"), seconds(20)).await;
        let expected = if *about { ("stored", Some("new")) } else { ("other", None) };
        assert_eq!((std::str::from_utf8(&seen.body).unwrap(), seen.field("x-a")), expected, "{stored:?} {update:?}");
    }
}

#[tokio::test]
async fn section_4_3_4_a_304_for_one_variant_leaves_the_others() {
    let upstream = Upstream::new(|index, forward| {
        let x = forward.request.headers.get("x").unwrap().to_str().unwrap().to_owned();
        let etag = format!("\"{x}\"");
        let fields = [("cache-control", "max-age=10"), ("etag", &etag[..]), ("vary", "x"), ("x-a", if index < 2 { "old" } else { "new" })];
        if index < 2 { Reply::new(200, &fields, x) } else { Reply::new(304, &fields, "").at(seconds(20)) }
    });
    let house = house(&upstream, policy());
    for x in ["1", "2"] {
        ask(&house, get_with("/", &[("x", x)]), START).await;
    }
    let seen = ask(&house, get_with("/", &[("x", "1")]), seconds(20)).await;
    assert_eq!((seen.how, &seen.body[..], seen.field("x-a")), (How::Validated, &b"1"[..], Some("new")));
    assert_eq!(ask(&house, get_with("/", &[("x", "1")]), seconds(21)).await.how, How::Reused);
    assert_eq!(ask(&house, get_with("/", &[("x", "2")]), seconds(21)).await.how, How::Validated);
}

/// What becomes of a stored 200 to GET when HEAD, asked while it is stale, is answered with these fields: the next GET.
async fn after_head(stored: Fields, answer: Fields) -> super::Seen {
    let upstream = Upstream::new(move |index, forward| match (index, forward.request.head_only) {
        (0, _) => Reply::new(200, stored, "stored"),
        (_, true) => Reply::new(200, answer, "").at(seconds(20)),
        (_, false) => super::other(seconds(21)),
    });
    let house = house(&upstream, policy());
    ask(&house, get("/"), START).await;
    let seen = ask(&house, super::head(get("/")), seconds(20)).await;
    assert_eq!((seen.status, seen.field("x-a")), (200, Some("new")), "{answer:?}");
    assert!(upstream.call(1).request.head_only, "HEAD went upstream as something else");
    ask(&house, get("/"), seconds(21)).await
}

const STORED: Fields =
    &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("last-modified", TEN_DAYS_BEFORE), ("x-a", "old"), ("x-b", "old")];

#[tokio::test]
async fn section_4_3_5_head_updates_what_is_stored_where_it_is_about_that() {
    let rows: &[Fields] = &[
        &[("cache-control", "max-age=10"), ("x-a", "new"), ("etag", "\"1\"")],
        &[("cache-control", "max-age=10"), ("x-a", "new"), ("etag", "\"1\""), ("last-modified", TEN_DAYS_BEFORE), ("content-length", "6")],
        &[("cache-control", "max-age=10"), ("x-a", "new"), ("last-modified", TEN_DAYS_BEFORE)],
        &[("cache-control", "max-age=10"), ("x-a", "new"), ("content-length", "6")],
    ];
    for answer in rows {
        let seen = after_head(STORED, answer).await;
        assert_eq!((seen.how, &seen.body[..]), (How::Reused, &b"stored"[..]), "{answer:?}");
        assert_eq!((seen.field("x-a"), seen.field("x-b"), seen.field("age")), (Some("new"), Some("old"), Some("1")), "{answer:?}");
    }
}

#[tokio::test]
async fn section_4_3_5_head_makes_what_is_stored_stale_where_it_is_not_about_that() {
    let rows: &[Fields] = &[
        &[("cache-control", "max-age=10"), ("x-a", "new"), ("etag", "\"2\"")],
        &[("cache-control", "max-age=10"), ("x-a", "new"), ("etag", "\"1\""), ("last-modified", DATE)],
        &[("cache-control", "max-age=10"), ("x-a", "new"), ("etag", "\"1\""), ("content-length", "7")],
    ];
    for answer in rows {
        let seen = after_head(STORED, answer).await;
        assert_ne!(seen.how, How::Reused, "{answer:?}");
        assert_eq!(seen.body, "other", "{answer:?}");
    }
}
