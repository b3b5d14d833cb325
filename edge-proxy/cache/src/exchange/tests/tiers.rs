//! Two caches in a row: ages add up to the millisecond, and no lifetime and no window counts twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::house::{House, Reply, START, Upstream, get, seconds};
use crate::answer::{Answer, Reader};
use crate::exchange::{Bounds, Exchange};
use crate::fetch::{Body, Fetch, FetchError, FetchErrorKind, Fetched, Forward};
use crate::time::Time;

/// The time on the way between the tiers.
const WAY: Duration = Duration::from_millis(40);

/// A shield as its edge asks it.
struct Shield {
    house: House,
    now: Mutex<Time>,
}

#[async_trait]
impl Fetch for Shield {
    async fn fetch(&self, forward: Forward) -> Result<Fetched, FetchError> {
        let now = *self.now.lock();
        let answer = self.house.run(forward.request, now).await.map_err(|failed| failed.error)?;
        Ok(Fetched {
            status: answer.status,
            headers: answer.headers,
            interim: answer.interim,
            body: Box::new(Passed(answer.body)),
            age: answer.age.map(|age| age + WAY),
            requested_at: now,
            responded_at: now.plus(WAY),
        })
    }
}

struct Passed(Reader);

#[async_trait]
impl Body for Passed {
    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, FetchError> {
        self.0.chunk().await
    }
}

/// An edge, its shield and the origin.
struct Tiers {
    edge: Arc<Exchange>,
    shield: Arc<Shield>,
    origin: Arc<Upstream>,
}

impl Tiers {
    /// With an origin that gives the first of `replies` first, and the last one again and again.
    fn new(replies: Vec<Reply>) -> Self {
        let origin = Upstream::new(move |index, _| replies[index.min(replies.len() - 1)].clone());
        let shield = Arc::new(Shield { house: House::new(&origin), now: Mutex::new(START) });
        let edge = Exchange::new(Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 });
        Self { edge, shield, origin }
    }

    /// What the edge answers at a time, and `Age`.
    async fn ask(&self, now: Time) -> Result<(String, Option<u64>), FetchErrorKind> {
        *self.shield.now.lock() = now;
        let fetch: Arc<dyn Fetch> = Arc::clone(&self.shield) as _;
        let answer: Answer = self.edge.run(get("/"), &self.shield.house.policy, now, fetch).await.map_err(|failed| failed.error.kind)?;
        let said = answer.status_of_cache.text("edge");
        let age = answer.field("age").map(|age| age.parse().unwrap());
        super::house::read(answer).await.map_err(|error| error.kind)?;
        super::house::until("flights to end", || self.edge.figures().flights == 0).await;
        self.shield.house.settled().await;
        Ok((said, age))
    }

    /// The shield has the answer before any edge asks for it.
    async fn warm(&self, now: Time) {
        super::house::read(self.shield.house.run(get("/"), now).await.unwrap()).await.unwrap();
        self.shield.house.settled().await;
    }
}

fn millis(millis: u64) -> Time {
    START.plus(Duration::from_millis(millis))
}

#[tokio::test]
async fn what_is_less_than_a_second_old_at_the_shield_is_not_new_at_the_edge() {
    let tiers = Tiers::new(vec![Reply::new(200, &[("cache-control", "max-age=2")], "x")]);
    tiers.warm(START).await;
    assert_eq!(tiers.ask(millis(900)).await, Ok(("edge; fwd=uri-miss; stored; ttl=1".to_owned(), Some(0))));
    // The age was 940 ms at 940 ms.
    assert_eq!(tiers.ask(millis(1_999)).await, Ok(("edge; hit; ttl=0".to_owned(), Some(1))));
    assert_eq!(tiers.origin.calls(), 1);
    let (said, _) = tiers.ask(millis(2_000)).await.unwrap();
    assert!(said.starts_with("edge; fwd=stale"), "{said}");
    assert_eq!(tiers.origin.calls(), 2);
}

#[tokio::test]
async fn the_time_that_the_shield_waited_counts_once() {
    let aged = [("cache-control", "max-age=60"), ("age", "10")];
    let tiers = Tiers::new(vec![Reply::new(200, &aged, "x").asked_at(START).at(seconds(3))]);
    *tiers.shield.now.lock() = START;
    // 10 s, the 3 s that it took, and the way.
    let (said, age) = tiers.ask(START).await.unwrap();
    assert_eq!((said.as_str(), age), ("edge; fwd=uri-miss; stored; ttl=46", Some(13)));
    let (said, age) = tiers.ask(seconds(10)).await.unwrap();
    assert_eq!((said.as_str(), age), ("edge; hit; ttl=37", Some(23)));
}

#[tokio::test]
async fn a_window_of_revalidation_is_one_window_for_both_tiers() {
    let windowed = Reply::new(200, &[("cache-control", "max-age=10, stale-while-revalidate=30")], "x");
    let tiers = Tiers::new(vec![windowed, Reply::error(FetchErrorKind::Connect)]);
    tiers.warm(START).await;
    // Stale at the shield, and so at the edge: 25 s old of 10 and 30.
    assert_eq!(tiers.ask(seconds(25)).await, Ok(("edge; fwd=uri-miss; stored; ttl=-16".to_owned(), Some(25))));
    let (said, age) = tiers.ask(millis(39_950)).await.unwrap();
    assert_eq!((said.starts_with("edge; hit; ttl=-30"), age), (true, Some(39)), "{said}");
    // 40 s after the origin gave it, whoever has had it meanwhile.
    assert_eq!(tiers.ask(millis(40_000)).await, Err(FetchErrorKind::Connect));
}

#[tokio::test]
async fn a_window_of_errors_is_one_window_for_both_tiers() {
    let windowed = Reply::new(200, &[("cache-control", "max-age=10, stale-if-error=30")], "x");
    let tiers = Tiers::new(vec![windowed, Reply::error(FetchErrorKind::Connect)]);
    tiers.warm(START).await;
    let (_, age) = tiers.ask(seconds(25)).await.unwrap();
    assert_eq!(age, Some(25));
    let (_, age) = tiers.ask(millis(39_900)).await.unwrap();
    assert_eq!(age, Some(39));
    assert_eq!(tiers.ask(millis(40_000)).await, Err(FetchErrorKind::Connect));
}
