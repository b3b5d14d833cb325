//! What is too large to be stored, and the bounds of memory.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::house::{House, Reply, START, Step, Upstream, get, policy, read, until};
use crate::exchange::Bounds;

const STORED: &[(&str, &str)] = &[("cache-control", "max-age=60")];
const PIECE: usize = 64 << 10;

fn pieces(count: usize) -> Vec<Step> {
    (0..count).map(|piece| Step::Send(Bytes::from(vec![u8::try_from(piece % 251).unwrap(); PIECE]))).collect()
}

fn house(upstream: &std::sync::Arc<Upstream>, bounds: Bounds) -> House {
    House::with(upstream, policy(), bounds)
}

#[tokio::test]
async fn what_says_it_is_too_large_is_handed_through_and_remembered() {
    let upstream = Upstream::always(Reply::new(200, STORED, vec![7; 2_000]));
    let house = house(&upstream, Bounds { memory: 1 << 20, object_max: 1_000, filling_max: 1 << 20 });
    let (_, cache_status, body) = house.ask(get("/"), START).await;
    assert_eq!((cache_status.as_str(), body.len()), ("c; fwd=uri-miss; detail=too-large", 2_000));
    let (_, cache_status, _) = house.ask(get("/"), START).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; detail=uncacheable");
    assert_eq!(house.exchange.figures().entries, 0);
}

#[tokio::test]
async fn what_grows_too_large_becomes_a_window_that_waits_for_its_slowest_reader() {
    let upstream = Upstream::always(Reply::new(200, STORED, "").steps(pieces(200)));
    let bounds = Bounds { memory: 64 << 20, object_max: 256 << 10, filling_max: 64 << 20 };
    let house = house(&upstream, bounds);
    let slow = house.run(get("/"), START).await.unwrap();
    until("the window", || house.exchange.figures().windows == 1).await;
    // The writer stops a window ahead of a reader that stands still, though the body goes on for 12 MiB.
    let most = (1 << 20) + 2 * PIECE;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(upstream.taken.load(Ordering::SeqCst) <= most, "{} bytes taken", upstream.taken.load(Ordering::SeqCst));
    assert!(house.exchange.figures().filling_bytes <= 2 * most as u64);
    assert_eq!(house.exchange.figures().flights, 0);
    // Who comes later does not join.
    let (_, cache_status, _) = house.ask(get("/"), START).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; detail=uncacheable");
    let body = read(slow).await.unwrap();
    let expected: Vec<u8> = (0..200_usize).flat_map(|piece| vec![u8::try_from(piece % 251).unwrap(); PIECE]).collect();
    assert!(body == expected, "{} bytes", body.len());
    until("the end", || house.exchange.figures().filling_bytes == 0).await;
    assert_eq!(house.exchange.figures().entries, 0);
}

#[tokio::test]
async fn a_window_that_nobody_reads_any_more_is_not_fetched_on() {
    let upstream = Upstream::always(Reply::new(200, STORED, "").steps(pieces(200)));
    let house = house(&upstream, Bounds { memory: 64 << 20, object_max: 256 << 10, filling_max: 64 << 20 });
    let reader = house.run(get("/"), START).await.unwrap();
    until("the window", || house.exchange.figures().windows == 1).await;
    drop(reader);
    until("the end of the fetch", || upstream.dropped.load(Ordering::SeqCst) == 1).await;
    assert!(upstream.taken.load(Ordering::SeqCst) < 100 * PIECE);
    assert_eq!(house.exchange.figures().filling_bytes, 0);
}

#[tokio::test]
async fn too_many_bodies_at_once_are_not_stored_but_arrive() {
    let upstream = Upstream::always(Reply::new(200, STORED, "").steps(pieces(40)));
    let house = house(&upstream, Bounds { memory: 64 << 20, object_max: 16 << 20, filling_max: 512 << 10 });
    let bodies: Vec<_> = (0..8)
        .map(|client| {
            let house = house.clone();
            tokio::spawn(async move { house.ask(get(&format!("/{client}")), START).await.2.len() })
        })
        .collect();
    for body in bodies {
        assert_eq!(body.await.unwrap(), 40 * PIECE);
    }
    until("the end", || house.exchange.figures().filling_bytes == 0).await;
    assert!(house.exchange.figures().windows > 0);
}

#[tokio::test]
async fn memory_stays_below_its_bound_whatever_comes() {
    let memory = 4 << 20;
    let upstream = Upstream::always(Reply::new(200, STORED, vec![1; 10_000]));
    let house = house(&upstream, Bounds { memory, object_max: 1 << 20, filling_max: 64 << 20 });
    for number in 0..4_000 {
        house.ask(get(&format!("/{number}")), START).await;
        if number % 500 == 0 {
            house.settled().await;
            assert!(house.exchange.figures().bytes <= memory);
        }
    }
    house.settled().await;
    let figures = house.exchange.figures();
    assert!(figures.bytes <= memory, "{} bytes", figures.bytes);
    assert!(figures.bytes > memory / 2, "{} bytes", figures.bytes);
    assert!(figures.entries <= memory / 10_000);
    assert_eq!(figures.filling_bytes, 0);
}

#[tokio::test]
async fn crumbs_are_joined_so_that_they_weigh_what_they_are() {
    let crumbs = (0..20_000).map(|_| Step::Send(Bytes::from_static(b"x"))).collect();
    let upstream = Upstream::always(Reply::new(200, STORED, "").steps(crumbs));
    let house = house(&upstream, Bounds { memory: 4 << 20, object_max: 1 << 20, filling_max: 64 << 20 });
    assert_eq!(house.ask(get("/"), START).await.2.len(), 20_000);
    house.settled().await;
    assert!(house.exchange.figures().bytes < 20_000 + 4_000, "{}", house.exchange.figures().bytes);
    let answer = house.run(get("/"), START).await.unwrap();
    assert!(answer.status_of_cache.hit);
    assert_eq!(answer.field("content-length"), Some("20000"));
    assert_eq!(read(answer).await.unwrap().len(), 20_000);
}

#[tokio::test]
async fn what_is_a_little_heavier_than_memory_takes_does_not_count_as_stored() {
    let upstream = Upstream::new(|_, call| {
        let bytes = call.request.path_and_query[1..].parse().unwrap();
        Reply::new(200, &[("cache-control", "max-age=60")], vec![7; bytes])
    });
    let house = House::with(&upstream, policy(), Bounds { memory: 4 << 20, object_max: 4 << 20, filling_max: 16 << 20 });
    house.ask(get("/2000000"), START).await;
    house.settled().await;
    // All names are of one length, so that this is what every one of them costs beside its body.
    let beside = house.exchange.store.bytes() - 2_000_000;
    let most = house.exchange.store.entry_max() - beside;
    for (over, is_stored) in [(0, 1), (1, 0), (100, 0), (1_000, 0)] {
        let before = house.exchange.figures().stored;
        house.ask(get(&format!("/{}", most + over)), START).await;
        house.settled().await;
        assert_eq!(house.exchange.figures().stored - before, is_stored, "{over} bytes over");
        let again = house.ask(get(&format!("/{}", most + over)), START).await.1;
        assert_eq!(u64::from(again.starts_with("c; hit")), is_stored, "{again}");
    }
}
