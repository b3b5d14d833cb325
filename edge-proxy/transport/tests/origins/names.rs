//! Names of origins against DNS: lifetimes, changes, failures.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use skerry_transport::resolve::Resolver;

use crate::dns::{Says, Server};

const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Asks until `ip` is the answer; every other answer has to be `meanwhile`.
async fn until(resolver: &Resolver, ip: Ipv4Addr, meanwhile: Ipv4Addr) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = resolver.addresses("origin.test").await.unwrap();
        if *found == [IpAddr::V4(ip)] {
            return;
        }
        assert_eq!(*found, [IpAddr::V4(meanwhile)]);
        assert!(Instant::now() < deadline, "the change was not followed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_counts_for_its_ttl_and_a_change_is_followed() {
    let server = Server::start(Says::Address(FIRST, 1)).await;
    let resolver = Resolver::new(&[server.address]);
    let began = Instant::now();
    until(&resolver, FIRST, FIRST).await;
    server.say(Says::Address(SECOND, 3_000));
    assert_eq!(*resolver.addresses("origin.test").await.unwrap(), [IpAddr::V4(FIRST)], "its time is not over");
    server.hears(1).await;
    until(&resolver, SECOND, FIRST).await;
    let took = began.elapsed();
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(server.asked(), 2, "one question for each answer, however many wanted it");
}

#[tokio::test]
async fn a_dns_that_fails_or_is_silent_takes_nothing_away() {
    let server = Server::start(Says::Address(FIRST, 1)).await;
    let resolver = Resolver::new(&[server.address]);
    until(&resolver, FIRST, FIRST).await;
    for says in [Says::Fails, Says::Nothing] {
        server.say(says);
        for _ in 0..2 {
            let began = Instant::now();
            assert_eq!(*resolver.addresses("origin.test").await.unwrap(), [IpAddr::V4(FIRST)]);
            assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for DNS");
            server.hears(1).await;
        }
    }
    server.say(Says::Address(SECOND, 3_000));
    until(&resolver, SECOND, FIRST).await;
}

#[tokio::test]
async fn a_name_without_an_answer_is_a_sentence_in_time() {
    for says in [Says::Fails, Says::Nothing] {
        let server = Server::start(says).await;
        let began = Instant::now();
        let error = Resolver::new(&[server.address]).addresses("origin.test").await.unwrap_err();
        assert!(error.starts_with("origin.test could not be resolved"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn the_file_of_hosts_comes_before_dns() {
    let server = Server::start(Says::Address(FIRST, 60)).await;
    let found = Resolver::new(&[server.address]).addresses("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert_eq!(server.asked(), 0);
}
