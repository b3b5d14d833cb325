//! Section 3, 3.1, 3.2 and 3.5: what is stored, with which fields, and for whom.

use super::super::house::{House, Reply, START, Upstream, get, get_with, policy, read, seconds};
use super::{DATE, Fields, How, TEN_DAYS_BEFORE, again, ask, head, house, ok, twice};

/// Whether the first answer to a GET is kept.
async fn is_stored(status: u16, request: Fields, response: Fields) -> bool {
    let house = house(&Upstream::always(Reply::new(status, response, "body")), policy());
    ask(&house, get_with("/", request), START).await;
    house.exchange.figures().entries > 0
}

#[tokio::test]
async fn section_3_what_allows_storing() {
    let rows: &[(u16, Fields, bool)] = &[
        (200, &[("cache-control", "max-age=60")], true),
        (200, &[("cache-control", "s-maxage=60")], true),
        (200, &[("cache-control", "public"), ("last-modified", TEN_DAYS_BEFORE)], true),
        (200, &[("expires", "Thu, 01 Jan 2026 00:01:00 GMT"), ("date", DATE)], true),
        (200, &[("last-modified", TEN_DAYS_BEFORE)], true),
        (203, &[("last-modified", TEN_DAYS_BEFORE)], true),
        (300, &[("last-modified", TEN_DAYS_BEFORE)], true),
        (301, &[("last-modified", TEN_DAYS_BEFORE)], true),
        (308, &[("last-modified", TEN_DAYS_BEFORE)], true),
        (404, &[("last-modified", TEN_DAYS_BEFORE)], true),
        (410, &[("last-modified", TEN_DAYS_BEFORE)], true),
        (302, &[("cache-control", "max-age=60")], true),
        (302, &[("cache-control", "s-maxage=60")], true),
        (302, &[("expires", "Thu, 01 Jan 2026 00:01:00 GMT"), ("date", DATE)], true),
        (302, &[("cache-control", "public"), ("last-modified", TEN_DAYS_BEFORE)], true),
        // Neither explicit, nor heuristically cacheable, nor public.
        (302, &[("last-modified", TEN_DAYS_BEFORE), ("etag", "\"1\"")], false),
        (307, &[("last-modified", TEN_DAYS_BEFORE), ("etag", "\"1\"")], false),
        (403, &[("last-modified", TEN_DAYS_BEFORE), ("etag", "\"1\"")], false),
        (500, &[("last-modified", TEN_DAYS_BEFORE), ("etag", "\"1\"")], false),
        (503, &[("last-modified", TEN_DAYS_BEFORE), ("etag", "\"1\"")], false),
        (599, &[("last-modified", TEN_DAYS_BEFORE), ("etag", "\"1\"")], false),
        // Any final status may be stored by the origin's word.
        (403, &[("cache-control", "max-age=60")], true),
        (503, &[("cache-control", "max-age=60")], true),
        (299, &[("cache-control", "max-age=60")], true),
        (599, &[("cache-control", "max-age=60")], true),
    ];
    for (status, response, stored) in rows {
        assert_eq!(is_stored(*status, &[], response).await, *stored, "{status} {response:?}");
    }
}

#[tokio::test]
async fn section_3_what_forbids_storing() {
    let rows: &[(Fields, Fields)] = &[
        (&[], &[("cache-control", "max-age=60, no-store")]),
        (&[], &[("cache-control", "max-age=60"), ("cache-control", "no-store")]),
        (&[], &[("cache-control", "max-age=60, NO-STORE")]),
        (&[], &[("cache-control", "public, s-maxage=60, no-store")]),
        (&[], &[("cache-control", "max-age=60, private")]),
        (&[], &[("cache-control", "public, s-maxage=60, private")]),
        (&[("authorization", "Basic eDp5")], &[("cache-control", "max-age=60")]),
        (&[("authorization", "Basic eDp5")], &[("last-modified", TEN_DAYS_BEFORE)]),
    ];
    for (request, response) in rows {
        assert!(!is_stored(200, request, response).await, "{request:?} {response:?}");
    }
}

#[tokio::test]
async fn section_3_a_status_that_must_be_understood_and_is_not_forbids_storing() {
    let rows: &[(u16, &str, bool)] = &[
        (200, "max-age=60, must-understand", true),
        (404, "max-age=60, must-understand", true),
        (299, "max-age=60, must-understand", false),
        (499, "max-age=60, must-understand", false),
        (599, "max-age=60, must-understand, no-store", false),
    ];
    for (status, control, stored) in rows {
        let house = house(&Upstream::always(Reply::new(*status, &[("cache-control", control)], "body")), policy());
        ask(&house, get("/"), START).await;
        assert_eq!(house.exchange.figures().entries > 0, *stored, "{status} {control}");
    }
}

#[tokio::test]
async fn section_3_an_answer_that_is_not_final_is_not_stored() {
    for status in [100, 103, 199] {
        let house = house(&Upstream::always(Reply::new(status, &[("cache-control", "max-age=60")], "")), policy());
        assert_eq!(ask(&house, get("/"), START).await.how, How::Failed, "{status}");
        assert_eq!(house.exchange.figures().entries, 0);
    }
}

#[tokio::test]
async fn section_3_the_answer_to_head_is_no_answer_to_get() {
    let upstream = Upstream::new(|_, forward| {
        let fields = [("cache-control", "max-age=60"), ("content-length", "4")];
        if forward.request.head_only { Reply::new(200, &fields, "") } else { Reply::new(200, &fields[..1], "body") }
    });
    let house = house(&upstream, policy());
    assert_eq!(ask(&house, head(get("/")), START).await.body, "");
    assert_eq!(ask(&house, get("/"), START).await.body, "body");
}

const ALL: Fields = &[
    ("cache-control", "max-age=60"),
    ("date", DATE),
    ("content-type", "text/plain"),
    ("content-language", "en"),
    ("link", "</a>; rel=preload"),
    ("link", "</b>; rel=preload"),
    ("x-unheard-of", "1"),
    ("warning", "199 - \"obsolete\""),
    ("clear-site-data", ""),
];

#[tokio::test]
async fn section_3_1_every_field_is_stored_unknown_ones_and_repeated_ones_too() {
    let seen = twice(Reply::new(200, ALL, "body"), get("/"), seconds(1)).await;
    assert_eq!(seen.how, How::Reused);
    for (name, _) in ALL {
        let values: Vec<_> = seen.headers.get_all(*name).iter().map(|value| value.to_str().unwrap()).collect();
        let sent: Vec<_> = ALL.iter().filter(|(other, _)| other == name).map(|(_, value)| *value).collect();
        assert_eq!(values, sent, "{name}");
    }
}

#[tokio::test]
async fn section_3_1_fields_of_one_connection_or_proxy_are_not_stored() {
    let own = [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("transfer-encoding", "chunked"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "x"),
        ("proxy-authorization", "Basic eDp5"),
    ];
    let fields: Vec<_> = own.into_iter().chain([("cache-control", "max-age=60")]).collect();
    let seen = twice(Reply::new(200, &fields, "body"), get("/"), seconds(1)).await;
    assert_eq!(seen.how, How::Reused);
    for (name, _) in own {
        assert_eq!(seen.field(name), None, "{name}");
    }
}

/// The stored fields after a 304 with `update`, as the next hit shows them.
async fn updated(stored: Fields, update: Fields) -> http::HeaderMap {
    let upstream = Upstream::new(move |index, _| match index {
        0 => Reply::new(200, stored, "body"),
        _ => Reply::new(304, update, "").at(seconds(20)),
    });
    let house = house(&upstream, policy());
    ask(&house, get("/"), START).await;
    assert_eq!(ask(&house, get("/"), seconds(20)).await.how, How::Validated);
    let seen = ask(&house, get("/"), seconds(21)).await;
    assert_eq!((seen.how, seen.status, &seen.body[..]), (How::Reused, 200, &b"body"[..]));
    seen.headers
}

const STORED: Fields = &[
    ("cache-control", "max-age=10"),
    ("etag", "\"1\""),
    ("date", DATE),
    ("expires", DATE),
    ("last-modified", TEN_DAYS_BEFORE),
    ("content-language", "en"),
    ("content-location", "/a"),
    ("x-kept", "old"),
    ("x-kept", "older"),
    ("x-changed", "old"),
    ("x-changed", "older"),
    ("set-cookie-like", "a"),
];

const UPDATE: Fields = &[
    ("cache-control", "max-age=20"),
    ("etag", "\"1\""),
    ("date", "Thu, 01 Jan 2026 00:00:20 GMT"),
    ("expires", "Thu, 01 Jan 2026 00:01:00 GMT"),
    ("content-language", "de"),
    ("content-location", "/b"),
    ("x-changed", "new"),
    ("x-added", "new"),
    ("connection", "close"),
    ("keep-alive", "timeout=5"),
    ("proxy-authenticate", "Basic"),
    ("content-length", "9"),
    ("content-range", "bytes 0-1/9"),
];

#[tokio::test]
async fn section_3_2_a_304_replaces_every_field_it_names_but_those_excepted() {
    let headers = updated(STORED, UPDATE).await;
    let values = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    let rows: &[(&str, &[&str])] = &[
        ("cache-control", &["max-age=20"]),
        ("date", &["Thu, 01 Jan 2026 00:00:20 GMT"]),
        ("expires", &["Thu, 01 Jan 2026 00:01:00 GMT"]),
        ("last-modified", &[TEN_DAYS_BEFORE]),
        ("content-language", &["de"]),
        ("content-location", &["/b"]),
        ("x-kept", &["old", "older"]),
        ("x-changed", &["new"]),
        ("x-added", &["new"]),
        ("content-length", &["4"]),
        ("content-range", &[]),
        ("connection", &[]),
        ("keep-alive", &[]),
        ("proxy-authenticate", &[]),
    ];
    for (name, expected) in rows {
        assert_eq!(values(name), *expected, "{name}");
    }
}

#[tokio::test]
async fn section_3_5_an_authorized_answer_is_shared_only_by_the_origins_word() {
    let rows: &[(&str, bool)] = &[
        ("max-age=60", false),
        ("max-age=60, proxy-revalidate", false),
        ("max-age=60, x-shared", false),
        ("max-age=60, must-revalidate", true),
        ("max-age=60, public", true),
        ("s-maxage=60", true),
        ("public, max-age=60, private", false),
        ("public, max-age=60, no-store", false),
    ];
    let alice = get_with("/", &[("authorization", "Basic YWxpY2U6")]);
    let bob = get_with("/", &[("authorization", "Basic Ym9iOg==")]);
    for (control, shared) in rows {
        for next in [&bob, &get("/"), &alice] {
            let seen = again(policy(), ok(control), alice.clone(), next.clone(), seconds(1)).await;
            assert_eq!(seen.how == How::Reused, *shared, "{control} {next:?}");
        }
    }
}

#[tokio::test]
async fn section_3_5_what_was_stored_for_everybody_is_also_for_the_authorized() {
    let alice = get_with("/", &[("authorization", "Basic YWxpY2U6")]);
    let seen = again(policy(), ok("max-age=60"), get("/"), alice, seconds(1)).await;
    assert_eq!((seen.how, &seen.body[..]), (How::Reused, &b"stored"[..]));
}

#[tokio::test]
async fn section_3_5_an_authorized_request_does_not_wait_for_or_share_a_fetch_it_may_not_use() {
    let upstream = Upstream::new(|_, forward| {
        let who = forward.request.headers.get("authorization").map_or("nobody", |value| value.to_str().unwrap());
        Reply::new(200, &[("cache-control", "max-age=60")], who.to_owned())
    });
    let house: House = house(&upstream, policy());
    let alice = house.run(get_with("/", &[("authorization", "alice")]), START).await.unwrap();
    let bob = house.run(get_with("/", &[("authorization", "bob")]), START).await.unwrap();
    let nobody = house.run(get("/"), START).await.unwrap();
    assert_eq!(read(alice).await.unwrap(), "alice");
    assert_eq!(read(bob).await.unwrap(), "bob");
    assert_eq!(read(nobody).await.unwrap(), "nobody");
}

#[tokio::test]
async fn section_3_2_a_304_replaces_what_describes_the_content_too() {
    let fields: Fields =
        &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("content-type", "text/plain"), ("content-disposition", "inline")];
    let update: Fields =
        &[("cache-control", "max-age=20"), ("etag", "\"1\""), ("content-type", "text/html"), ("content-disposition", "attachment")];
    let headers = updated(fields, update).await;
    assert_eq!(
        (&headers["content-type"], &headers["content-disposition"]),
        (&"text/html".parse().unwrap(), &"attachment".parse().unwrap())
    );
}
