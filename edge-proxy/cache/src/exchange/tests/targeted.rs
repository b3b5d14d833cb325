//! Targeted cache control (RFC 9213) through the request machine.

use super::house::{House, Reply, START, Upstream, get, read, seconds};

/// How a second request, so many seconds after the first, is answered.
async fn second(fields: &[(&'static str, &str)], at: u64) -> &'static str {
    let stored = Reply::new(200, &[fields, &[("etag", "\"1\"")]].concat(), "stored");
    let upstream = Upstream::new(move |index, _| match index {
        0 => stored.clone(),
        _ => Reply::new(200, &[("cache-control", "no-store")], "other").at(seconds(at)),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), START).await;
    house.settled().await;
    let answer = house.run(get("/"), seconds(at)).await.unwrap();
    let hit = answer.status_of_cache.hit;
    read(answer).await.unwrap();
    house.settled().await;
    match hit {
        true => "reused",
        false if upstream.call(1).request.headers.contains_key("if-none-match") => "validated",
        false => "fetched",
    }
}

#[tokio::test]
async fn rfc9213_2_2_directives_mean_what_they_mean_in_cache_control() {
    let other_caches: [&[(&'static str, &str)]; 2] = [
        &[("cache-control", "no-store"), ("expires", "Thu, 01 Jan 1970 00:00:00 GMT")],
        &[("cache-control", "public, max-age=9999"), ("expires", "Fri, 01 Jan 2027 00:00:00 GMT")],
    ];
    for (value, at, expected) in [
        ("max-age=60", 59, "reused"),
        ("max-age=60", 60, "validated"),
        ("max-age=0", 1, "validated"),
        ("no-store", 1, "fetched"),
        ("private", 1, "fetched"),
        ("no-cache", 1, "validated"),
        ("no-store, max-age=60", 1, "fetched"),
        ("max-age=60, no-cache", 1, "validated"),
        ("max-age=60, private=\"x-one\"", 59, "reused"),
        ("max-age=1, s-maxage=60", 59, "reused"),
        ("max-age=10, stale-while-revalidate=60", 15, "reused"),
        ("max-age=10, must-revalidate, stale-while-revalidate=60", 15, "validated"),
        ("max-age=60, unknown=\"x\", another;p", 59, "reused"),
        // What the other fields say of lifetimes does not count where this one says nothing of them.
        ("public", 1, "validated"),
        ("none", 1, "validated"),
    ] {
        for beside in other_caches {
            let fields = [beside, &[("cdn-cache-control", value)]].concat();
            assert_eq!(second(&fields, at).await, expected, "{fields:?} at {at} s");
        }
    }
}

#[tokio::test]
async fn rfc9213_2_2_a_field_for_other_caches_changes_nothing() {
    for name in ["other-cache-control", "surrogate-control", "x-cdn-cache-control", "cache-control-cdn"] {
        assert_eq!(second(&[("cache-control", "max-age=60"), (name, "no-store")], 59).await, "reused", "{name}");
        assert_eq!(second(&[("cache-control", "no-store"), (name, "max-age=60")], 1).await, "fetched", "{name}");
    }
}
