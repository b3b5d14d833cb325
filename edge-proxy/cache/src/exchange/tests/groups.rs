//! Cache groups (RFC 9875) through the request machine.
//!
//! Which answers may invalidate is the tiers' part: they call this for unsafe methods that were answered with 2xx or 3xx.

use super::house::{House, Reply, START, Upstream, get, headers};
use crate::request::Request;

/// Paths and the groups that their answers are in.
const STORED: [(&str, &str); 6] =
    [("/a", "\"x\""), ("/b", "\"y\", \"x\";p=1"), ("/c", "\"X\""), ("/d", "\"y\""), ("/e", "\"x\", y"), ("/f", "")];

async fn holding() -> House {
    let house = House::new(&Upstream::new(|_, forward| {
        let path = &forward.request.path_and_query;
        let groups = STORED.iter().find(|(known, _)| known == path).map_or("", |(_, groups)| groups);
        Reply::new(200, &[("cache-control", "max-age=60"), ("cache-groups", groups)], "stored")
    }));
    for (path, _) in STORED {
        house.ask(get(path), START).await;
        house.settled().await;
    }
    house
}

/// The paths whose answers are still used.
async fn held(house: &House) -> String {
    let mut held = String::new();
    for (path, _) in STORED {
        if house.ask(get(path), START).await.1.contains("; hit") {
            held += path;
        }
        house.settled().await;
    }
    held
}

#[tokio::test]
async fn rfc9875_3_the_groups_that_an_answer_names_are_taken_out_and_no_others() {
    for (named, expected) in [
        // `/d` shares a group with `/b`, which goes: one invalidation is not the cause of another.
        ("\"x\"", "/c/d/e/f"),
        ("\"z\";p=1, \"x\";q", "/c/d/e/f"),
        ("\"y\", \"X\"", "/a/e/f"),
        ("\"\"", "/a/b/c/d/e/f"),
        ("\"x\", y", "/a/b/c/d/e/f"),
        ("x", "/a/b/c/d/e/f"),
    ] {
        let house = holding().await;
        house.exchange.invalidate(&get("/form"), &house.policy, &headers(&[("cache-group-invalidation", named)]));
        assert_eq!(held(&house).await, expected, "{named}");
    }
}

#[tokio::test]
async fn rfc9875_2_1_a_group_is_of_one_origin() {
    let house = holding().await;
    let authority = |authority: &str| Request { authority: authority.to_owned(), ..get("/form") };
    for request in [Request { scheme: "http", ..get("/form") }, authority("www.shop.example"), authority("shop.example:8443")] {
        house.exchange.invalidate(&request, &house.policy, &headers(&[("cache-group-invalidation", "\"x\", \"y\"")]));
        assert_eq!(held(&house).await, "/a/b/c/d/e/f", "{request:?}");
    }
}
