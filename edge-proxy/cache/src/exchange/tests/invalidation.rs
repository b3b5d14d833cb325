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
    house.exchange.invalidate(&get("/a/b"), &house.policy, &response);
    house.exchange.invalidate(
        &get("/none"),
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
    house.exchange.invalidate(&get("/"), &house.policy, &headers(&[]));
    assert_eq!(house.ask(get("/"), START).await.2, "new");
    middle.add_permits(1);
    assert_eq!(read(early).await.unwrap(), "old");
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await.2, "new");
}

#[tokio::test]
async fn a_location_with_dots_means_what_it_resolves_to() {
    for location in ["/a/../b", "/a/./../b", "https://shop.example/a/../b", "../b"] {
        let house = House::new(&Upstream::always(Reply::new(200, &[("cache-control", "max-age=60")], "y")));
        house.ask(get("/b"), START).await;
        house.settled().await;
        house.exchange.invalidate(&get("/a/c"), &house.policy, &headers(&[("location", location)]));
        assert!(!house.ask(get("/b"), START).await.1.contains("hit"), "{location}");
    }
}

#[tokio::test]
async fn a_group_reaches_what_hosts_and_schemes_share() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("cache-groups", "\"all\"")], "y"));
    let key = skerry_config::site::Key { scheme: false, host: Some("shop.example".to_owned()), ..Default::default() };
    let bounds = crate::exchange::Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 };
    let house = House::with(&upstream, skerry_config::snapshot::Policy { key, ..super::house::policy() }, bounds);
    let other = crate::request::Request { scheme: "http", authority: "www.shop.example".to_owned(), ..get("/a") };
    house.ask(other.clone(), START).await;
    house.settled().await;
    assert!(house.ask(get("/a"), START).await.1.contains("hit"));
    house.exchange.invalidate(&get("/b"), &house.policy, &headers(&[("cache-group-invalidation", "\"all\"")]));
    assert!(!house.ask(other, START).await.1.contains("hit"));
}
