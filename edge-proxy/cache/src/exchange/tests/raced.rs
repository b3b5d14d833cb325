//! What takes an answer out of use between any two steps of a request.

use std::sync::Arc;

use skerry_config::purge::{Purge, Targets};
use skerry_config::site::Key;

use super::house::{House, Reply, START, Upstream, gate, get, get_with, headers, seconds, snapshot, until};
use crate::answer::CacheStatus;
use crate::exchange::{Asked, Directives, identity, scope};
use crate::fetch::Fetch;
use crate::flight::Joined;
use crate::request::Request;

fn purge(house: &House, seq: u64) {
    let targets = Targets { urls: vec!["https://shop.example/".to_owned()], ..Targets::default() };
    house.exchange.purge(&[Purge { seq, targets }], &snapshot(Key::default()));
}

fn invalidate(house: &House) {
    house.exchange.invalidate(&get("/"), &house.policy, &headers(&[]));
}

/// An origin of 4,000,000 bytes that are all the number of the half of its calls, with one entity tag throughout.
fn careless(forward: &crate::fetch::Forward, byte: u8) -> Reply {
    let length = 4_000_000_u64;
    let body = |from: u64, to: u64| vec![byte; usize::try_from(to - from).unwrap()];
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\"")];
    match crate::range::wanted(&forward.request.headers).and_then(|wanted| wanted.within(length)) {
        None => Reply::new(200, &fields, body(0, length)),
        Some((start, end)) => {
            let mut reply = Reply::new(206, &fields, body(start, end));
            reply.headers.push(("content-range", format!("bytes {start}-{}/{length}", end - 1)));
            reply
        }
    }
}

#[tokio::test]
async fn a_part_does_not_bring_back_the_whole_that_was_purged_though_it_has_its_tag() {
    for how in [|house: &House| purge(house, 1), invalidate] {
        let upstream = Upstream::new(|index, forward| careless(forward, if index == 0 { b'o' } else { b'n' }));
        let house = House::new(&upstream);
        house.ask(get("/"), START).await;
        house.settled().await;
        how(&house);
        house.ask(get_with("/", &[("range", "bytes=2000000-2000009")]), START).await;
        house.settled().await;
        let (_, _, body) = house.ask(get("/"), START).await;
        assert!(body.iter().all(|&byte| byte == b'n'), "bytes from before");
    }
}

/// Looks a request up, lets `between` happen, and goes on as the request would.
async fn looked_up_before(house: &House, request: Request, between: impl Fn(&House)) {
    let exchange = &house.exchange;
    let fetch: Arc<dyn Fetch> = Arc::clone(&house.upstream) as Arc<dyn Fetch>;
    let directives = Directives::of(&request.headers, &house.policy);
    let identity = Arc::new(identity(&request, &house.policy));
    let primary = exchange.primary(&request, &house.policy);
    let found = exchange.find(&primary, &request, &directives, START);
    between(house);
    let asked = Asked { request: Arc::new(request), policy: &house.policy, primary, identity, directives, now: START, fetch };
    let scope = scope::of(&asked.request, &found, None);
    let lead = match exchange.join(&asked, &found, scope, None) {
        Joined::Leader(lead) => lead,
        // It looks again, and finds what is there by then.
        Joined::LookAgain => return,
        joined => panic!("{joined:?}"),
    };
    let answer = exchange.lead(&asked, &found, scope, lead, CacheStatus::default()).await.unwrap().unwrap();
    super::house::read(answer).await.unwrap();
    house.settled().await;
}

#[tokio::test]
async fn parts_that_were_found_before_a_purge_do_not_complete_a_whole_from_after_it() {
    for how in [|house: &House| purge(house, 1), invalidate] {
        let upstream = Upstream::new(|index, forward| careless(forward, if index == 0 { b'o' } else { b'n' }));
        let house = House::new(&upstream);
        house.ask(get_with("/", &[("range", "bytes=2000000-2000009")]), START).await;
        house.settled().await;
        looked_up_before(&house, get("/"), how).await;
        let (_, _, body) = house.ask(get("/"), START).await;
        assert!(body.iter().all(|&byte| byte == b'n'), "bytes from before");
    }
}

#[tokio::test]
async fn what_one_client_fetches_by_itself_is_dropped_with_everything_else() {
    let head = gate();
    let upstream = Upstream::new({
        let head = head.clone();
        move |index, _| match index {
            0 => Reply::new(200, &[("cache-control", "no-cache"), ("etag", "\"0\"")], "first"),
            1 => Reply::new(200, &[("cache-control", "max-age=60")], "before").gated(&head),
            _ => Reply::new(200, &[("cache-control", "max-age=60")], "after"),
        }
    });
    let house = House::new(&upstream);
    house.exchange.resume_at(7);
    house.ask(get("/"), START).await;
    house.settled().await;
    let early = tokio::spawn({
        let house = house.clone();
        async move { house.ask(get("/"), START).await.2 }
    });
    until("the fetch", || upstream.calls() == 2).await;
    house.exchange.purge_all_through(5);
    head.add_permits(1);
    assert_eq!(early.await.unwrap(), "before");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.ask(get("/"), START).await.2, "after");
}

#[tokio::test]
async fn purges_count_from_where_everything_was_dropped_however_low() {
    let upstream = Upstream::new(|index, _| Reply::new(200, &[("cache-control", "max-age=60")], index.to_string()));
    let house = House::new(&upstream);
    house.exchange.resume_at(7);
    house.exchange.purge_all_through(5);
    assert_eq!(house.exchange.purge_seq(), 5);
    house.ask(get("/"), START).await;
    house.settled().await;
    purge(&house, 6);
    assert_eq!(house.ask(get("/"), START).await.2, "1");
}

#[tokio::test]
async fn an_answer_takes_the_place_of_an_earlier_one_though_the_clock_stepped_back() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, &[("cache-control", "max-age=60")], "old").at(seconds(1_000)),
        _ => Reply::new(200, &[("cache-control", "max-age=60")], "new").at(seconds(500)),
    });
    let house = House::new(&upstream);
    house.ask(get("/"), seconds(1_000)).await;
    house.settled().await;
    assert_eq!(house.ask(get("/"), seconds(1_100)).await.2, "new");
    house.settled().await;
    let (_, cache_status, body) = house.ask(get("/"), seconds(501)).await;
    assert_eq!((cache_status.as_str(), &body[..]), ("c; hit; ttl=59", &b"new"[..]));
}
