//! Two that come at once, and what is on disk afterwards.

use std::sync::Arc;

use super::super::house::{Reply, START, Step, Upstream, gate, get, get_with, policy, read, seconds, until};
use super::large::{body, fields, reply};
use super::{KIB, Lasting, MIB};
use crate::key::Key;
use crate::store::disk::shaky::Faults;

#[tokio::test]
async fn what_came_before_and_ends_late_does_not_replace_what_only_the_disk_has() {
    let stop = gate();
    let upstream = {
        let stop = Arc::clone(&stop);
        Upstream::new(move |index, _| {
            let text = if index == 0 { "old" } else { "new" };
            let mut reply = Reply::new(200, &[("cache-control", "public, max-age=600")], text);
            if index == 0 {
                reply.steps.insert(0, Step::Gate(Arc::clone(&stop)));
            }
            reply
        })
    };
    let lasting = Lasting::new(&upstream).await;
    // Requests with credentials have fetches of their own.
    let early = lasting.house.run(get_with("/a", &[("authorization", "x")]), START).await.unwrap();
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "new");
    lasting.house.exchange.settled().await;
    lasting.forget_memory();
    stop.add_permits(1);
    assert_eq!(read(early).await.unwrap(), "old");
    lasting.settled().await;
    for _ in 0..2 {
        assert_eq!(lasting.house.ask(get("/a"), START).await.2, "new");
        lasting.forget_memory();
    }
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn one_that_is_confirmed_while_it_is_written_is_on_disk_with_its_new_head() {
    let upstream = Upstream::new(|_, call| {
        if call.request.headers.contains_key("if-none-match") {
            let mut confirmed = Reply::new(304, &[], "");
            confirmed.headers = fields("\"1\"");
            return confirmed.at(seconds(700));
        }
        reply(call, "\"1\"", 200 * KIB)
    });
    let mut lasting = Lasting::with(&upstream, policy(), |settings| settings.waiting_max = 80 * KIB).await;
    lasting.log.hold(true);
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, body(200 * KIB));
    assert_eq!(lasting.house.ask(get("/a"), seconds(700)).await.2, body(200 * KIB));
    lasting.log.hold(false);
    until("it to be on disk", || lasting.house.exchange.figures().disk.unwrap().written >= 5).await;
    lasting.settled().await;
    lasting.restart().await;
    let (_, told, bytes) = lasting.house.ask(get("/a"), seconds(700)).await;
    assert_eq!((told.as_str(), bytes), ("c; hit; ttl=600", body(200 * KIB)));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn who_began_when_nobody_knew_the_length_gets_what_is_lost_too() {
    for ends_first in [true, false] {
        let stop = gate();
        let upstream = {
            let stop = Arc::clone(&stop);
            Upstream::new(move |index, call| {
                let mut reply = reply(call, "\"1\"", 4 * MIB);
                if index == 0 {
                    reply.headers.retain(|(name, _)| *name != "content-length");
                    reply.steps.insert(reply.steps.len() / 2, Step::Gate(Arc::clone(&stop)));
                }
                reply
            })
        };
        let lasting = Lasting::new(&upstream).await;
        let mut early = lasting.house.run(get("/large"), START).await.unwrap();
        until("half of it to be on disk", || lasting.house.exchange.figures().disk.unwrap().written >= 30).await;
        let mut whole = early.body.chunk().await.unwrap().unwrap().to_vec();
        if ends_first {
            stop.add_permits(1);
            lasting.settled().await;
        }
        lasting.log.set_faults(Faults { lost: 1_000, ..Faults::default() });
        while let Some(bytes) = early.body.chunk().await.unwrap_or_else(|error| panic!("{error:?} at {}", whole.len())) {
            whole.extend_from_slice(&bytes);
            if whole.len() as u64 > 3 * MIB / 2 {
                stop.add_permits(1);
            }
        }
        assert!(body(4 * MIB) == whole);
        assert!(lasting.house.exchange.figures().disk.unwrap().mended > 3);
    }
}

#[tokio::test]
async fn what_is_written_behind_weighs_no_more_when_it_leaves_memory_than_when_it_came() {
    let upstream = Upstream::new(|_, call| reply(call, "\"1\"", 200 * KIB));
    let lasting = Lasting::new(&upstream).await;
    let exchange = &lasting.house.exchange;
    for round in 1..4 {
        assert_eq!(lasting.house.ask(get("/a"), START).await.2, body(200 * KIB));
        until("it to be on disk", || exchange.figures().disk.unwrap().written >= 5 * round).await;
        lasting.settled().await;
        exchange.take_away(&Key::of(&get("/a"), &lasting.house.policy));
        assert_eq!((exchange.figures().entries, exchange.figures().bytes), (0, 0), "round {round}");
    }
}
