//! A limit with few places: who gets one, in which order, and that none is lost.

use std::time::Duration;

use skerry_config::units::Period;
use tokio::task::JoinHandle;

use super::*;

fn limit(concurrent: u32, queue: u32, millis: u64) -> Arc<Limit> {
    Limit::new(OriginLimits { concurrent, queue, queue_time: Period(Duration::from_millis(millis)) })
}

/// One who waits, in the queue already.
async fn waits(limit: &Arc<Limit>, key: u64) -> JoinHandle<Result<Place, Full>> {
    let before = limit.counts().1;
    let here = Arc::clone(limit);
    let waiting = tokio::spawn(async move { here.enter(key).await });
    while limit.counts().1 == before {
        tokio::task::yield_now().await;
    }
    waiting
}

#[tokio::test(start_paused = true)]
async fn no_more_run_than_may_and_no_more_wait_than_may() {
    let limit = limit(1, 1, 1_000);
    let first = limit.enter(1).await.unwrap();
    let second = waits(&limit, 1).await;
    assert_eq!(limit.enter(1).await.unwrap_err(), Full::Queue);
    assert_eq!(limit.counts(), (1, 1));
    drop(first);
    let second = second.await.unwrap().unwrap();
    assert_eq!(limit.counts(), (1, 0));
    drop(second);
    assert_eq!(limit.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_leaves_the_queue() {
    let limit = limit(1, 1, 1_000);
    let place = limit.enter(1).await.unwrap();
    let late = waits(&limit, 1).await;
    assert_eq!(late.await.unwrap().unwrap_err(), Full::Time);
    assert_eq!(limit.counts(), (1, 0));
    drop(place);
    assert!(limit.has_room());
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_his_place_in_the_queue_to_others() {
    let limit = limit(1, 1, 60_000);
    let place = limit.enter(1).await.unwrap();
    let gone = waits(&limit, 1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let next = waits(&limit, 2).await;
    drop(place);
    drop(next.await.unwrap().unwrap());
    assert_eq!(limit.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_given_to_one_who_gave_up_is_given_on() {
    let limit = limit(1, 1, 60_000);
    let place = limit.enter(1).await.unwrap();
    let gone = waits(&limit, 1).await;
    // He is let in, and ends before he takes it.
    drop(place);
    gone.abort();
    let _ = gone.await;
    assert_eq!(limit.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn keys_take_turns_however_many_wait_for_one() {
    let limit = limit(1, 16, 60_000);
    let mut place = limit.enter(0).await.unwrap();
    let order: Arc<Mutex<Vec<u64>>> = Arc::default();
    let mut all = Vec::new();
    for key in [7, 7, 7, 7, 8, 9] {
        let waiting = waits(&limit, key).await;
        all.push((key, waiting));
    }
    for _ in 0..6 {
        drop(place);
        let at = loop {
            tokio::task::yield_now().await;
            if let Some(at) = all.iter().position(|(_, waiting)| waiting.is_finished()) {
                break at;
            }
        };
        let (key, waiting) = all.remove(at);
        order.lock().push(key);
        place = waiting.await.unwrap().unwrap();
    }
    assert_eq!(*order.lock(), [7, 8, 9, 7, 7, 7]);
}

#[tokio::test(start_paused = true)]
async fn other_bounds_hold_at_once() {
    let limit = limit(1, 4, 60_000);
    let first = limit.enter(1).await.unwrap();
    let second = waits(&limit, 1).await;
    limit.set(OriginLimits { concurrent: 2, ..OriginLimits::default() });
    let second = second.await.unwrap().unwrap();
    limit.set(OriginLimits { concurrent: 1, ..OriginLimits::default() });
    drop(first);
    assert!(!limit.has_room(), "one still runs");
    drop(second);
    assert!(limit.has_room());
}
