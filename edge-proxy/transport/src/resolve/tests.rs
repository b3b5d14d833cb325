//! What is kept of names and for how long, with a source that says what a test wants and a clock that stands still until it is moved.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::time::advance;

use super::*;

/// Says what it is told to, and counts.
struct Scripted {
    says: Mutex<Result<Answer, String>>,
    asked: AtomicUsize,
    /// How many questions may be answered.
    open: Semaphore,
}

impl Scripted {
    fn new(last: u8, ttl: u64) -> Arc<Self> {
        let scripted =
            Self { says: Mutex::new(Err(String::new())), asked: AtomicUsize::new(0), open: Semaphore::new(Semaphore::MAX_PERMITS) };
        scripted.say(last, ttl);
        Arc::new(scripted)
    }

    fn say(&self, last: u8, ttl: u64) {
        *self.says.lock() = Ok(Answer { addresses: Arc::new([address(last)]), ttl: Duration::from_secs(ttl) });
    }

    fn fail(&self) {
        *self.says.lock() = Err("a.test could not be resolved: refused".to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Source for Scripted {
    async fn ask(&self, _: &str) -> Result<Answer, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.open.acquire().await.unwrap().forget();
        self.says.lock().clone()
    }
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// The last byte of the one address, or the failure.
async fn ask(resolver: &Resolver) -> Result<u8, String> {
    let addresses = resolver.addresses("a.test").await?;
    let [IpAddr::V4(ip)] = *addresses else { panic!("{addresses:?}") };
    Ok(ip.octets()[3])
}

/// Moves the clock, and lets everyone see it.
async fn pass(seconds: u64) {
    settle().await;
    advance(Duration::from_secs(seconds)).await;
    settle().await;
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_its_time_and_is_renewed_before_that_while_it_is_used() {
    let source = Scripted::new(1, 100);
    let resolver = Resolver::of(source.clone(), 10);
    assert_eq!(ask(&resolver).await, Ok(1));
    source.say(2, 100);
    pass(79).await;
    assert_eq!((ask(&resolver).await, source.asked()), (Ok(1), 1));
    pass(2).await;
    assert_eq!(source.asked(), 2, "in the background, at four fifths of the time");
    assert_eq!(ask(&resolver).await, Ok(2), "nobody waits");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_uses_is_not_asked_for() {
    let source = Scripted::new(1, 100);
    let resolver = Resolver::of(source.clone(), 10);
    assert_eq!(ask(&resolver).await, Ok(1));
    pass(90).await;
    assert_eq!(source.asked(), 1);
    source.say(2, 100);
    assert_eq!(ask(&resolver).await, Ok(1), "its time is not over");
    settle().await;
    assert_eq!(source.asked(), 2, "but a use renews it");
    pass(200).await;
    source.say(3, 100);
    assert_eq!(ask(&resolver).await, Ok(3), "what is over is not used while DNS answers");
    assert_eq!(source.asked(), 3);
    pass(4_000).await;
    assert!(resolver.names.known.lock().is_empty(), "and in the end it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn times_are_bounded_below_and_above() {
    let source = Scripted::new(1, 0);
    let resolver = Resolver::of(source.clone(), 10);
    for _ in 0..50 {
        assert_eq!(ask(&resolver).await, Ok(1));
    }
    assert_eq!(source.asked(), 1, "an answer without a time counts for a second");
    source.say(2, 1_000_000);
    pass(2).await;
    assert_eq!(ask(&resolver).await, Ok(2));
    source.say(3, 1);
    pass(3_601).await;
    assert_eq!(ask(&resolver).await, Ok(3), "one that is to count for days counts for an hour");
}

#[tokio::test(start_paused = true)]
async fn everyone_who_wants_a_name_at_once_asks_once() {
    let source = Scripted::new(1, 100);
    source.open.forget_permits(usize::MAX);
    let resolver = Resolver::of(source.clone(), 10);
    let all: Vec<_> = (0..100)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { ask(&resolver).await })
        })
        .collect();
    settle().await;
    source.open.add_permits(1);
    for one in all {
        assert_eq!(one.await.unwrap(), Ok(1));
    }
    settle().await;
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_counts_for_an_hour_while_dns_fails() {
    let source = Scripted::new(1, 100);
    let resolver = Resolver::of(source.clone(), 10);
    assert_eq!(ask(&resolver).await, Ok(1));
    source.fail();
    for _ in 0..70 {
        pass(50).await;
        assert_eq!(ask(&resolver).await, Ok(1));
    }
    let asked = source.asked();
    pass(200).await;
    let failed = ask(&resolver).await;
    assert!(failed.as_ref().is_err_and(|why| why.contains("a.test") && why.contains("refused")), "{failed:?}");
    assert!(asked > 50, "{asked}: DNS is asked again all the time");
    source.say(2, 100);
    pass(2).await;
    assert_eq!(ask(&resolver).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_dns_that_says_nothing_while_an_answer_is_left() {
    let source = Scripted::new(1, 100);
    let resolver = Resolver::of(source.clone(), 10);
    assert_eq!(ask(&resolver).await, Ok(1));
    source.fail();
    pass(101).await;
    assert_eq!(ask(&resolver).await, Ok(1));
    source.open.forget_permits(usize::MAX);
    pass(6).await;
    let began = Instant::now();
    assert_eq!(ask(&resolver).await, Ok(1));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_failure_counts_for_a_second_for_everyone() {
    let source = Scripted::new(1, 100);
    source.fail();
    let resolver = Resolver::of(source.clone(), 10);
    for _ in 0..50 {
        assert!(ask(&resolver).await.is_err());
    }
    assert_eq!(source.asked(), 1);
    source.say(2, 100);
    pass(2).await;
    assert_eq!(ask(&resolver).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn names_are_bounded_and_the_one_unused_for_longest_goes() {
    let source = Scripted::new(1, 100);
    let resolver = Resolver::of(source.clone(), 3);
    for name in ["a.test", "b.test", "c.test", "a.test", "d.test"] {
        resolver.addresses(name).await.unwrap();
        pass(1).await;
    }
    let mut names: Vec<String> = resolver.names.known.lock().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["a.test", "c.test", "d.test"]);
    assert_eq!(source.asked(), 4);
}

#[tokio::test]
async fn addresses_are_no_names() {
    let source = Scripted::new(1, 100);
    let resolver = Resolver::of(source.clone(), 3);
    for (host, ip) in [("192.0.2.7", "192.0.2.7"), ("[2001:db8::1]", "2001:db8::1"), ("2001:db8::1", "2001:db8::1")] {
        assert_eq!(*resolver.addresses(host).await.unwrap(), [ip.parse::<IpAddr>().unwrap()]);
    }
    assert_eq!(source.asked(), 0);
}
