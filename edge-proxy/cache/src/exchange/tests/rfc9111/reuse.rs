//! Sections 4 and 4.1: which stored response answers which request.

use super::super::house::{Reply, START, Upstream, get, get_with, policy, seconds};
use super::{DATE, Fields, How, again, ask, date, head, house, ok, twice};
use crate::request::Request;

#[tokio::test]
async fn section_4_only_the_same_target_is_answered() {
    let others = [
        get("/other"),
        get("/?"),
        get("/?a=1"),
        get("//"),
        Request { scheme: "http", ..get("/") },
        Request { authority: "www.shop.example".to_owned(), ..get("/") },
        Request { authority: "shop.example:8443".to_owned(), ..get("/") },
    ];
    assert_eq!(again(policy(), ok("max-age=60"), get("/"), get("/"), START).await.how, How::Reused);
    for other in others {
        let seen = again(policy(), ok("max-age=60"), get("/"), other.clone(), START).await;
        assert_eq!((seen.how, &seen.body[..]), (How::Fetched, &b"other"[..]), "{other:?}");
    }
}

#[tokio::test]
async fn section_4_a_stored_get_answers_head() {
    let reply = Reply::new(200, &[("cache-control", "max-age=60"), ("x-a", "1")], "stored");
    let seen = again(policy(), reply, get("/"), head(get("/")), seconds(1)).await;
    assert_eq!((seen.how, seen.status, seen.field("x-a"), seen.field("content-length")), (How::Reused, 200, Some("1"), Some("6")));
    assert_eq!(seen.body, "");
}

#[tokio::test]
async fn section_4_only_what_is_fresh_or_validated_is_reused() {
    let rows: &[(&str, u64, How)] = &[
        ("max-age=60", 59, How::Reused),
        ("max-age=60", 60, How::Validated),
        ("max-age=60", 61, How::Validated),
        ("max-age=60, no-cache", 0, How::Validated),
        ("no-cache, max-age=60, public", 1, How::Validated),
        ("max-age=0", 0, How::Validated),
    ];
    for (control, at, how) in rows {
        let reply = Reply::new(200, &[("cache-control", control), ("etag", "\"1\"")], "stored");
        assert_eq!(twice(reply, get("/"), seconds(*at)).await.how, *how, "{control} at {at} s");
    }
}

#[tokio::test]
async fn section_4_age_is_given_and_replaces_what_came() {
    let rows: &[(Fields, u64, &str)] = &[
        (&[("date", DATE)], 0, "0"),
        (&[("date", DATE)], 7, "7"),
        (&[], 7, "7"),
        (&[("date", DATE), ("age", "5")], 7, "12"),
        (&[("age", "5"), ("age", "9")], 7, "12"),
    ];
    for (fields, at, age) in rows {
        let fields: Vec<_> = fields.iter().copied().chain([("cache-control", "max-age=60")]).collect();
        let seen = twice(Reply::new(200, &fields, "stored"), get("/"), seconds(*at)).await;
        let ages: Vec<_> = seen.headers.get_all("age").iter().map(|age| age.to_str().unwrap()).collect();
        assert_eq!((seen.how, ages), (How::Reused, vec![*age]), "{fields:?} at {at} s");
    }
}

#[tokio::test]
async fn section_4_the_most_recent_of_several_that_suit_is_used() {
    // The second answer names no field, so that both suit the third request.
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "x"), ("date", DATE)], "first"),
        1 => Reply::new(200, &[("cache-control", "max-age=60"), ("date", "Thu, 01 Jan 2026 00:00:05 GMT")], "second").at(seconds(5)),
        _ => super::other(seconds(6)),
    });
    let house = house(&upstream, policy());
    ask(&house, get_with("/", &[("x", "1")]), START).await;
    ask(&house, get_with("/", &[("x", "2")]), seconds(5)).await;
    let seen = ask(&house, get_with("/", &[("x", "1")]), seconds(6)).await;
    assert_eq!((seen.how, &seen.body[..]), (How::Reused, &b"second"[..]));
}

#[tokio::test]
async fn section_4_1_fields_that_vary_names_match_or_the_answer_is_not_used() {
    let rows: &[(&str, Fields, Fields, bool)] = &[
        ("x", &[("x", "1")], &[("x", "1")], true),
        ("x", &[("x", "1")], &[("x", "2")], false),
        ("X", &[("x", "1")], &[("x", "2")], false),
        ("x", &[("x", "1")], &[("x", "1"), ("y", "2")], true),
        // Whitespace, and lines that are one list.
        ("x", &[("x", "a, b")], &[("x", "a,b")], true),
        ("x", &[("x", "a, b")], &[("x", "a ,  b")], true),
        ("x", &[("x", "a, b")], &[("x", "a"), ("x", "b")], true),
        ("x", &[("x", "a, b")], &[("x", "b, a")], false),
        ("x", &[("x", "a")], &[("x", "A")], false),
        ("x", &[("x", "a"), ("x", "b")], &[("x", "a")], false),
        // Normalisation that the field's own definition allows.
        ("accept-encoding", &[("accept-encoding", "gzip, br")], &[("accept-encoding", "BR,gzip")], true),
        ("accept-encoding", &[("accept-encoding", "gzip, br")], &[("accept-encoding", "gzip")], false),
        ("accept-encoding", &[("accept-encoding", "gzip;q=1")], &[("accept-encoding", "gzip;q=0")], false),
        // Absent matches absent only.
        ("x", &[], &[], true),
        ("x", &[], &[("x", "1")], false),
        ("x", &[("x", "1")], &[], false),
        ("x", &[("x", "")], &[], false),
        // All of several.
        ("x, y", &[("x", "1"), ("y", "2")], &[("y", "2"), ("x", "1")], true),
        ("x, y", &[("x", "1"), ("y", "2")], &[("x", "1"), ("y", "3")], false),
        ("x,, ,y", &[("x", "1"), ("y", "2")], &[("x", "1")], false),
        // Never.
        ("*", &[], &[], false),
        ("x, *", &[("x", "1")], &[("x", "1")], false),
        ("*, x", &[("x", "1")], &[("x", "1")], false),
    ];
    for (vary, first, second, matches) in rows {
        let reply = Reply::new(200, &[("cache-control", "max-age=60"), ("vary", vary)], "stored");
        let seen = again(policy(), reply, get_with("/", first), get_with("/", second), seconds(1)).await;
        assert_eq!(seen.how == How::Reused, *matches, "{vary}: {first:?} {second:?}");
        assert_eq!(seen.body, if *matches { "stored" } else { "other" });
    }
}

#[tokio::test]
async fn section_4_1_vary_over_several_lines_is_one_list() {
    let reply = Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "x"), ("vary", "y")], "stored");
    for (second, how) in [([("x", "1"), ("y", "1")], How::Reused), ([("x", "1"), ("y", "2")], How::Fetched)] {
        let first = get_with("/", &[("x", "1"), ("y", "1")]);
        assert_eq!(again(policy(), reply.clone(), first, get_with("/", &second), START).await.how, how, "{second:?}");
    }
}

#[tokio::test]
async fn section_4_1_variants_stand_beside_each_other() {
    let upstream = Upstream::new(|_, forward| {
        let value = forward.request.headers.get("x").map_or("none".to_owned(), |value| value.to_str().unwrap().to_owned());
        Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "x")], value)
    });
    let house = house(&upstream, policy());
    let requests = [get("/"), get_with("/", &[("x", "1")]), get_with("/", &[("x", "2")])];
    for how in [How::Fetched, How::Reused] {
        for (request, body) in requests.iter().zip(["none", "1", "2"]) {
            let seen = ask(&house, request.clone(), START).await;
            assert_eq!((seen.how, &seen.body[..]), (how, body.as_bytes()));
        }
    }
}

#[tokio::test]
async fn section_4_1_an_answer_with_vary_is_preferred_to_an_older_one_without() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, &[("cache-control", "max-age=10"), ("date", DATE)], "plain"),
        1 => Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "x"), ("date", &date(20))], "varied").at(seconds(20)),
        _ => super::other(seconds(21)),
    });
    let house = house(&upstream, policy());
    ask(&house, get("/"), START).await;
    ask(&house, get_with("/", &[("x", "1")]), seconds(20)).await;
    let seen = ask(&house, get_with("/", &[("x", "1")]), seconds(21)).await;
    assert_eq!((seen.how, &seen.body[..]), (How::Reused, &b"varied"[..]));
    assert_eq!(ask(&house, get("/"), seconds(21)).await.body, "other");
}
