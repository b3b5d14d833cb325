//! Section 4.4: what an unsafe request makes the cache forget.
//!
//! Which requests and answers count is the tiers' part: they call this for unsafe methods that were answered with 2xx or 3xx.

use super::super::house::{House, Reply, START, Upstream, get, get_with, headers, policy};
use super::{How, ask, house};
use crate::request::Request;

/// A cache that holds the answers to these paths.
async fn holding(paths: &[&str]) -> House {
    let house = house(&Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("vary", "x")], "stored")), policy());
    for path in paths {
        for x in ["1", "2"] {
            ask(&house, get_with(path, &[("x", x)]), START).await;
        }
    }
    house
}

async fn is_held(house: &House, path: &str) -> bool {
    let mut held = Vec::new();
    for x in ["1", "2"] {
        held.push(ask(house, get_with(path, &[("x", x)]), START).await.how == How::Reused);
    }
    assert_eq!(held[0], held[1], "one variant of {path} without the other");
    held[0]
}

#[tokio::test]
async fn section_4_4_the_target_is_forgotten_with_every_variant() {
    let house = holding(&["/a", "/a?b", "/b"]).await;
    house.exchange.invalidate(&get("/a"), &house.policy, &headers(&[]));
    assert!(!is_held(&house, "/a").await);
    assert!(is_held(&house, "/a?b").await);
    assert!(is_held(&house, "/b").await);
}

#[tokio::test]
async fn section_4_4_locations_of_the_same_origin_are_forgotten_and_no_others() {
    let rows: &[(&str, bool)] = &[
        ("/x/y", true),
        ("y", true),
        ("./y", true),
        ("../x/y", true),
        ("y#part", true),
        ("https://shop.example/x/y", true),
        ("HTTPS://SHOP.EXAMPLE/x/y", true),
        ("https://shop.example:443/x/y", true),
        ("//shop.example/x/y", true),
        ("http://shop.example/x/y", false),
        ("https://shop.example:8443/x/y", false),
        ("https://www.shop.example/x/y", false),
        ("https://shop.example.evil/x/y", false),
        ("https://evil/shop.example/x/y", false),
        ("//evil/x/y", false),
        ("ftp://shop.example/x/y", false),
        ("/x/y?z", false),
        ("/X/y", false),
    ];
    for (location, forgotten) in rows {
        for name in ["location", "content-location"] {
            let house = holding(&["/x/y"]).await;
            house.exchange.invalidate(&get("/x/form"), &house.policy, &headers(&[(name, location)]));
            assert_eq!(!is_held(&house, "/x/y").await, *forgotten, "{name}: {location}");
        }
    }
}

#[tokio::test]
async fn section_4_4_another_origins_answers_stay() {
    let house = holding(&["/a"]).await;
    let authority = |authority: &str| Request { authority: authority.to_owned(), ..get("/a") };
    let requests =
        [Request { scheme: "http", ..get("/a") }, authority("www.shop.example"), authority("example"), authority("shop.example.evil")];
    let response = headers(&[("location", "https://shop.example/a"), ("content-location", "/a")]);
    for request in requests {
        house.exchange.invalidate(&request, &house.policy, &response);
        assert!(is_held(&house, "/a").await, "{request:?}");
    }
}

#[tokio::test]
async fn section_4_4_another_port_is_another_origin() {
    let house = holding(&["/a"]).await;
    let request = Request { authority: "shop.example:8443".to_owned(), ..get("/a") };
    house.exchange.invalidate(&request, &house.policy, &headers(&[]));
    assert!(is_held(&house, "/a").await);
}
