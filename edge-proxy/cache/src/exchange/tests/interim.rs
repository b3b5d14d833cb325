//! Interim answers (RFC 9110 section 15.2): for the client whose request went upstream, and for nobody else.

use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::house::{House, Reply, START, Upstream, gate, get, get_with, policy, read, seconds, until};
use crate::answer::Answer;
use crate::exchange::Bounds;
use crate::request::Request;
use crate::time::Time;

const STORED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

fn interim(answer: &Answer) -> Vec<u16> {
    answer.interim.iter().map(|head| head.status().as_u16()).collect()
}

/// The interim statuses and the final one of a request whose body is read to its end.
async fn ask(house: &House, request: Request, now: Time) -> (Vec<u16>, u16) {
    let answer = house.run(request, now).await.unwrap_or_else(|failed| panic!("{failed:?}"));
    assert_eq!(answer.field("link"), None, "a field of an interim answer in the final one");
    let seen = (interim(&answer), answer.status.as_u16());
    read(answer).await.unwrap();
    house.settled().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_gets_them_and_followers_and_hits_do_not() {
    let head = gate();
    let upstream = Upstream::always(Reply::new(200, STORED, "x").after(&[102, 103]).gated(&head));
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { ask(&house, get("/"), START).await.0 })
        })
        .collect();
    until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(1);
    let mut seen = Vec::new();
    for client in clients {
        seen.push(client.await.unwrap());
    }
    seen.sort();
    assert_eq!((seen.last(), seen.concat().len(), upstream.calls()), (Some(&vec![102, 103]), 2, 1));
    assert_eq!(ask(&house, get("/"), seconds(1)).await, (Vec::new(), 200));
}

#[tokio::test]
async fn who_is_answered_past_the_store_gets_them() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "no-store")], "x").after(&[103]));
    let house = House::new(&upstream);
    for what in ["found to be uncacheable", "remembered as uncacheable"] {
        assert_eq!(ask(&house, get("/"), START).await, (vec![103], 200), "{what}");
    }
    let bounds = Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 };
    let bypassing = House::with(&upstream, Policy { bypass: true, ..policy() }, bounds);
    assert_eq!(ask(&bypassing, get("/"), START).await, (vec![103], 200));
}

#[tokio::test]
async fn a_validation_brings_its_own() {
    let upstream = Upstream::new(|call, _| match call {
        0 => Reply::new(200, STORED, "x").after(&[102]),
        _ => Reply::new(304, STORED, "").after(&[103]).at(seconds(100)),
    });
    let house = House::new(&upstream);
    assert_eq!(ask(&house, get("/"), START).await, (vec![102], 200));
    assert_eq!(ask(&house, get("/"), seconds(100)).await, (vec![103], 200));
    assert_eq!(ask(&house, get("/"), seconds(101)).await, (Vec::new(), 200));
}

#[tokio::test]
async fn a_stale_answer_that_covers_an_error_comes_after_them() {
    let upstream = Upstream::new(|call, _| match call {
        0 => Reply::new(200, &[("cache-control", "max-age=60, stale-if-error=600")], "x"),
        _ => Reply::new(503, &[], "").after(&[103]).at(seconds(100)),
    });
    let house = House::new(&upstream);
    ask(&house, get("/"), START).await;
    assert_eq!(ask(&house, get("/"), seconds(100)).await, (vec![103], 200));
}

#[tokio::test]
async fn those_of_a_refresh_behind_an_answer_are_nobodys() {
    let upstream = Upstream::always(Reply::new(200, STORED, "x").after(&[103]));
    let policy = Policy { stale_while_revalidate: Some(Period::from_secs(600)), ..policy() };
    let house = House::with(&upstream, policy, Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 });
    ask(&house, get("/"), START).await;
    assert_eq!(ask(&house, get("/"), seconds(100)).await, (Vec::new(), 200));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn a_whole_made_of_parts_comes_after_those_of_the_gap() {
    let upstream = Upstream::new(|call, _| {
        let part = |range: &str, body: &'static str| {
            Reply::new(206, &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-range", range)], body)
        };
        if call == 0 { part("bytes 5-9/10", "fghij") } else { part("bytes 0-4/10", "abcde").after(&[103]) }
    });
    let house = House::new(&upstream);
    assert_eq!(ask(&house, get_with("/", &[("range", "bytes=5-9")]), START).await, (Vec::new(), 206));
    assert_eq!(ask(&house, get("/"), START).await, (vec![103], 200));
}
