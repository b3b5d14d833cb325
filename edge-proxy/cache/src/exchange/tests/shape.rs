//! HEAD, conditions and ranges, on stored answers and growing ones.

use super::house::{House, Reply, START, Step, Upstream, gate, get, get_with, read, seconds};
use crate::cacheable::Refusal;
use crate::request::Request;

const MODIFIED: &str = "Wed, 31 Dec 2025 00:00:00 GMT";

fn fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
        ("last-modified", MODIFIED),
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("content-type", "text/plain"),
        ("cache-tag", "t"),
    ]
}

fn head(path: &str) -> Request {
    Request { head_only: true, ..get(path) }
}

#[tokio::test]
async fn head_goes_upstream_as_head_and_its_answer_is_kept_for_head_alone() {
    let upstream = Upstream::new(|_, forward| {
        let mut fields = fields();
        fields.push(("content-length", "10"));
        let body = if forward.request.head_only { Vec::new() } else { vec![Step::Send("0123456789".into())] };
        Reply::new(200, &fields, "").steps(body)
    });
    let house = House::new(&upstream);
    for expected in ["c; fwd=uri-miss; stored; ttl=60", "c; hit; ttl=60"] {
        let answer = house.run(head("/"), START).await.unwrap();
        assert_eq!(answer.status_of_cache.render("c"), expected);
        assert_eq!(answer.field("content-length"), Some("10"));
        assert_eq!(read(answer).await.unwrap(), "");
        house.settled().await;
    }
    assert!(upstream.call(0).request.head_only);
    assert_eq!(house.ask(get("/"), START).await.2, "0123456789");
    assert!(!upstream.call(1).request.head_only);
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await, (200, "c; hit; ttl=60".to_owned(), "0123456789".into()));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn head_of_what_may_not_be_stored_is_a_head_every_time() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "no-store"), ("content-length", "1")], ""));
    let house = House::new(&upstream);
    for call in 0..2 {
        let answer = house.run(head("/"), START).await.unwrap();
        assert_eq!(answer.field("content-length"), Some("1"));
        assert_eq!(read(answer).await.unwrap(), "");
        assert!(upstream.call(call).request.head_only);
    }
    assert_eq!(house.exchange.figures().uncacheable[Refusal::NoStore.index()], (Refusal::NoStore, 1));
}

#[tokio::test]
async fn conditions_and_ranges_on_stored_answers() {
    let upstream = Upstream::always(Reply::new(200, &fields(), "0123456789"));
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    type Case = (&'static [(&'static str, &'static str)], u16, &'static str, Option<&'static str>);
    let cases: [Case; 16] = [
        (&[("if-none-match", "\"1\"")], 304, "", None),
        (&[("if-none-match", "\"0\", W/\"1\"")], 304, "", None),
        (&[("if-none-match", "*")], 304, "", None),
        (&[("if-none-match", "\"2\""), ("if-modified-since", MODIFIED)], 200, "0123456789", None),
        (&[("if-modified-since", MODIFIED)], 304, "", None),
        (&[("if-modified-since", "Tue, 30 Dec 2025 00:00:00 GMT")], 200, "0123456789", None),
        (&[("if-modified-since", "yesterday")], 200, "0123456789", None),
        (&[("range", "bytes=2-4")], 206, "234", Some("bytes 2-4/10")),
        (&[("range", "bytes=8-")], 206, "89", Some("bytes 8-9/10")),
        (&[("range", "bytes=-3")], 206, "789", Some("bytes 7-9/10")),
        (&[("range", "bytes=10-")], 416, "", Some("bytes */10")),
        (&[("range", "bytes=0-1,3-x")], 200, "0123456789", None),
        (&[("range", "bytes=0-1"), ("if-range", "\"1\"")], 206, "01", Some("bytes 0-1/10")),
        (&[("range", "bytes=0-1"), ("if-range", "W/\"1\"")], 200, "0123456789", None),
        (&[("range", "bytes=0-1"), ("if-range", MODIFIED)], 206, "01", Some("bytes 0-1/10")),
        (&[("range", "bytes=0-1"), ("if-none-match", "\"1\"")], 304, "", None),
    ];
    for (request, status, body, content_range) in cases {
        let answer = house.run(get_with("/", request), seconds(5)).await.unwrap();
        assert_eq!(answer.status, status, "{request:?}");
        assert!(answer.status_of_cache.hit);
        assert_eq!(answer.field("content-range"), content_range, "{request:?}");
        assert_eq!(answer.field("age"), Some("5"));
        let length = if status == 304 { None } else { Some(body.len().to_string()) };
        assert_eq!(answer.field("content-length"), length.as_deref(), "{request:?}");
        if status == 304 {
            assert_eq!(["etag", "date", "cache-control", "cache-tag"].map(|name| answer.field(name).is_some()), [true; 4]);
            assert_eq!(answer.field("content-type"), Some("text/plain"));
        }
        assert_eq!(read(answer).await.unwrap(), body, "{request:?}");
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn rfc9110_13_2_1_conditions_count_only_where_the_answer_would_be_a_success() {
    for status in [301, 404, 410] {
        let upstream = Upstream::always(Reply::new(status, &fields(), "0123456789"));
        let house = House::new(&upstream);
        house.ask(get("/"), START).await;
        house.settled().await;
        for request in [("if-none-match", "\"1\""), ("if-none-match", "*"), ("if-modified-since", MODIFIED), ("range", "bytes=0-1")] {
            let (answered, cache_status, body) = house.ask(get_with("/", &[request]), START).await;
            assert_eq!((answered, &body[..]), (status, &b"0123456789"[..]), "{request:?}");
            assert_eq!(cache_status, "c; hit; ttl=60", "{request:?}");
        }
    }
}

#[tokio::test]
async fn rfc9110_14_2_a_range_counts_for_get_alone_and_its_condition_only_beside_it() {
    let house = House::new(&Upstream::always(Reply::new(200, &fields(), "0123456789")));
    house.ask(get("/"), START).await;
    house.settled().await;
    for (request, body) in [
        (Request { head_only: true, ..get_with("/", &[("range", "bytes=0-1")]) }, ""),
        (Request { head_only: true, ..get_with("/", &[("range", "bytes=10-")]) }, ""),
        (get_with("/", &[("if-range", "\"2\"")]), "0123456789"),
        (get_with("/", &[("if-range", "\"1\"")]), "0123456789"),
    ] {
        let answer = house.run(request.clone(), START).await.unwrap();
        assert!(answer.status_of_cache.hit, "{request:?}");
        let seen = (answer.status.as_u16(), answer.field("content-length"), answer.field("content-range"));
        assert_eq!(seen, (200, Some("10"), None), "{request:?}");
        assert_eq!(read(answer).await.unwrap(), body, "{request:?}");
    }
}

#[tokio::test]
async fn an_open_range_near_the_start_fetches_the_whole_and_answers_the_part() {
    let middle = gate();
    let steps = vec![Step::Send("01234".into()), Step::Gate(middle.clone()), Step::Send("56789".into())];
    let mut fields = fields();
    fields.push(("content-length", "10"));
    let upstream = Upstream::always(Reply::new(200, &fields, "").steps(steps));
    let house = House::new(&upstream);
    let first = house.run(get_with("/", &[("range", "bytes=1-")]), START).await.unwrap();
    assert_eq!((first.status.as_u16(), first.field("content-range")), (206, Some("bytes 1-9/10")));
    // What is there already is not waited for.
    let early = house.run(get_with("/", &[("range", "bytes=1-3")]), START).await.unwrap();
    assert_eq!(read(early).await.unwrap(), "123");
    let tail = house.run(get_with("/", &[("range", "bytes=-2")]), START).await.unwrap();
    let across = house.run(get_with("/", &[("range", "bytes=4-5")]), START).await.unwrap();
    assert!(tail.status_of_cache.collapsed && across.status_of_cache.collapsed);
    middle.add_permits(1);
    assert_eq!(read(first).await.unwrap(), "123456789");
    assert_eq!(read(tail).await.unwrap(), "89");
    assert_eq!(read(across).await.unwrap(), "45");
    assert!(!upstream.call(0).request.headers.contains_key("range"));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_range_of_what_may_not_be_stored_is_asked_for_upstream() {
    let upstream = Upstream::new(|_, forward| match forward.request.headers.get("range") {
        None => Reply::new(200, &[("cache-control", "no-store")], "0123456789"),
        Some(_) => Reply::new(206, &[("cache-control", "no-store"), ("content-range", "bytes 0-1/10")], "01"),
    });
    let house = House::new(&upstream);
    let (status, _, body) = house.ask(get_with("/", &[("range", "bytes=0-1")]), START).await;
    assert_eq!((status, &body[..]), (206, &b"01"[..]));
}

#[tokio::test]
async fn cache_status_of_the_tier_before_is_handed_on_with_its_answer_but_not_with_a_hit() {
    let upstream =
        Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("cache-status", "shield; hit"), ("age", "7")], "x"));
    let house = House::new(&upstream);
    let answer = house.run(get("/"), START).await.unwrap();
    assert_eq!(answer.upstream_cache_status.as_ref().unwrap(), "shield; hit");
    assert_eq!((answer.field("cache-status"), answer.field("age")), (None, Some("7")));
    read(answer).await.unwrap();
    house.settled().await;
    let answer = house.run(get("/"), seconds(3)).await.unwrap();
    assert_eq!((answer.upstream_cache_status.as_ref(), answer.field("cache-status"), answer.field("age")), (None, None, Some("10")));
    assert_eq!(answer.status_of_cache.ttl, Some(50));
}

#[tokio::test]
async fn contradicting_lengths_are_an_error() {
    for lengths in [vec!["3", "4"], vec!["3, 4"], vec!["x"], vec!["-1"], vec![""]] {
        let fields: Vec<_> = lengths.iter().map(|&length| ("content-length", length)).chain([("cache-control", "max-age=60")]).collect();
        let house = House::new(&Upstream::always(Reply::new(200, &fields, "").steps(vec![Step::Send("abc".into())])));
        assert!(house.run(get("/"), START).await.is_err(), "{lengths:?}");
    }
}

#[tokio::test]
async fn a_condition_of_one_client_is_not_everybodys_refusal() {
    let upstream = Upstream::new(|_, forward| {
        let fields = ["if-match", "if-unmodified-since", "expect"];
        if fields.iter().any(|name| forward.request.headers.contains_key(*name)) {
            return Reply::new(412, &[("cache-control", "max-age=60")], "refused");
        }
        Reply::new(200, &[("cache-control", "max-age=60")], "0123456789")
    });
    for condition in [("if-match", "\"other\""), ("if-unmodified-since", MODIFIED), ("expect", "the impossible")] {
        let house = House::new(&upstream);
        for request in [get_with("/", &[condition]), get("/")] {
            let (status, _, body) = house.ask(request, START).await;
            assert_eq!((status, &body[..]), (200, &b"0123456789"[..]), "{condition:?}");
            house.settled().await;
        }
    }
}

#[tokio::test]
async fn no_content_has_no_length_whatever_it_says() {
    let fields = [("cache-control", "max-age=60"), ("content-length", "5")];
    let upstream = Upstream::always(Reply::new(204, &fields, ""));
    let house = House::new(&upstream);
    for expected in ["c; fwd=uri-miss; stored; ttl=60", "c; hit; ttl=60"] {
        let answer = house.run(get("/"), START).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.field("content-length")), (204, None));
        assert_eq!(answer.status_of_cache.render("c"), expected);
        assert_eq!(read(answer).await.unwrap(), "");
        house.settled().await;
    }
}

#[tokio::test]
async fn rfc9111_5_2_2_4_fields_that_are_not_shared_reach_only_the_client_that_asked() {
    for directive in
        ["max-age=60, no-cache=\"x-one\"", "max-age=60, private=\"x-one\"", "max-age=60, no-cache=\"set-cookie\", private=\"x-one\""]
    {
        let upstream = Upstream::always(Reply::new(200, &[("cache-control", directive), ("x-one", "1"), ("x-all", "2")], "x"));
        let house = House::new(&upstream);
        for expected in [Some("1"), None] {
            let answer = house.run(get("/"), START).await.unwrap();
            assert_eq!((answer.field("x-one"), answer.field("x-all")), (expected, Some("2")), "{directive}");
            read(answer).await.unwrap();
            house.settled().await;
        }
        assert_eq!(upstream.calls(), 1);
    }
}

#[tokio::test]
async fn rfc9111_4_3_5_head_freshens_the_stored_answer_or_ends_it() {
    let stored: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("x", "old")];
    for (etag, length, status, kept) in
        [("\"1\"", "10", 200, true), ("\"2\"", "10", 200, false), ("\"1\"", "11", 200, false), ("\"1\"", "10", 404, true)]
    {
        let upstream = Upstream::new(move |index, _| match index {
            0 => Reply::new(200, stored, "0123456789"),
            1 => {
                let fields = [("cache-control", "max-age=600"), ("etag", etag), ("x", "new"), ("content-length", length)];
                Reply::new(status, &fields, "").at(seconds(100))
            }
            _ => Reply::new(200, stored, "another").at(seconds(100)),
        });
        let house = House::new(&upstream);
        house.ask(get("/"), START).await;
        house.settled().await;
        let answer = house.run(head("/"), seconds(100)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.field("x"), answer.field("content-length")), (status, Some("new"), Some(length)));
        assert!(upstream.call(1).request.head_only);
        house.settled().await;
        let (_, cache_status, body) = house.ask(get("/"), seconds(101)).await;
        let expected = if kept && status == 200 { "0123456789" } else { "another" };
        assert_eq!(body, expected, "{etag} {length} {status}: {cache_status}");
        assert_eq!(
            cache_status.contains("fwd=stale"),
            status == 404,
            "what HEAD says of an error leaves the stored answer: {cache_status}"
        );
    }
}
