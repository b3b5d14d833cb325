//! RFC 9111 section 4.4: unsafe methods.

use super::house::{House, Reply, START, Step, Upstream, gate, get, get_with, headers, read};

const VARIED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "x")];

#[tokio::test]
async fn rfc9111_4_4_the_target_and_the_locations_of_the_same_origin_are_forgotten_with_all_variants() {
    let upstream = Upstream::always(Reply::new(200, VARIED, "y"));
    let house = House::new(&upstream);
    let paths = ["/a/b", "/a/c", "/d", "/e", "/f"];
    for path in paths {
        for value in ["1", "2"] {
            house.ask(get_with(path, &[("x", value)]), START).await;
            house.settled().await;
        }
    }
    let response = headers(&[("location", "c"), ("content-location", "https://SHOP.example:443/d")]);
    house.exchange.invalidate(&get("/a/b"), "shop", &house.policy, &response);
    house.exchange.invalidate(
        &get("/none"),
        "shop",
        &house.policy,
        &headers(&[("location", "http://shop.example/e"), ("content-location", "//other.example/f")]),
    );
    for (path, hit) in [("/a/b", false), ("/a/c", false), ("/d", false), ("/e", true), ("/f", true)] {
        for value in ["1", "2"] {
            let (_, cache_status, _) = house.ask(get_with(path, &[("x", value)]), START).await;
            assert_eq!(cache_status.contains("hit"), hit, "{path} {value}: {cache_status}");
            house.settled().await;
        }
    }
}

#[tokio::test]
async fn rfc9111_4_4_what_is_being_fetched_is_not_kept() {
    let middle = gate();
    let upstream = Upstream::new({
        let middle = middle.clone();
        move |index, _| match index {
            0 => Reply::new(200, VARIED, "").steps(vec![Step::Gate(middle.clone()), Step::Send("old".into())]),
            _ => Reply::new(200, VARIED, "new"),
        }
    });
    let house = House::new(&upstream);
    let early = house.run(get("/"), START).await.unwrap();
    house.exchange.invalidate(&get("/"), "shop", &house.policy, &headers(&[]));
    assert_eq!(house.ask(get("/"), START).await.2, "new");
    middle.add_permits(1);
    assert_eq!(read(early).await.unwrap(), "old");
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.2, "new");
}
