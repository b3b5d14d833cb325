//! Large answers of which only what readers want is fetched, in slices.

mod room;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;

use super::super::house::{Reply, START, Step, Upstream, gate, get, get_with, policy, read, seconds, until};
use super::{KIB, Lasting, MIB};
use crate::fetch::{FetchErrorKind, Forward};
use crate::request::Request;

const SLICE: u64 = 64 * KIB;

/// The longest body.
const BODY_BYTES: u64 = 10 * MIB;

/// Bytes that tell where they are, and of which version.
fn body(version: u64, bytes: u64) -> Bytes {
    static BODIES: [LazyLock<Bytes>; 2] = [LazyLock::new(|| words(1)), LazyLock::new(|| words(2))];
    BODIES[usize::try_from(version).unwrap() - 1].slice(..usize::try_from(bytes).unwrap())
}

fn words(version: u64) -> Bytes {
    (0..BODY_BYTES / 8).flat_map(|word| (word << 8 | version).to_be_bytes()).collect::<Vec<u8>>().into()
}

fn range_of(call: &Forward) -> Option<(u64, u64)> {
    let range = call.request.headers.get("range")?.to_str().unwrap();
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    Some((first.parse().unwrap(), last.parse().unwrap_or(u64::MAX)))
}

/// The whole, or the range that is asked for, in pieces of 10,000 bytes.
fn reply(call: &Forward, version: u64, bytes: u64) -> Reply {
    let etag = format!("\"{version}\"");
    let mut reply = Reply::new(200, &[("cache-control", "max-age=600"), ("accept-ranges", "bytes"), ("etag", &etag)], "");
    let same = call.request.headers.get("if-range").is_none_or(|wanted| wanted.to_str().unwrap() == etag);
    let part = match range_of(call).filter(|_| same) {
        Some((first, last)) => {
            let last = last.min(bytes - 1);
            reply.status = 206;
            reply.headers.push(("content-range", format!("bytes {first}-{last}/{bytes}")));
            body(version, bytes).slice(usize::try_from(first).unwrap()..=usize::try_from(last).unwrap())
        }
        None => body(version, bytes),
    };
    reply.headers.push(("content-length", part.len().to_string()));
    reply.steps = part.chunks(10_000).map(|piece| Step::Send(Bytes::copy_from_slice(piece))).collect();
    reply
}

fn large(bytes: u64) -> Arc<Upstream> {
    Upstream::new(move |_, call| reply(call, 1, bytes))
}

/// The slices that were asked for, each as often as it was.
fn asked(upstream: &Upstream) -> Vec<u64> {
    (0..upstream.calls()).filter_map(|index| range_of(&upstream.call(index))).map(|(first, _)| first / SLICE).collect()
}

fn sliced(lasting: &Lasting) -> (u64, u64) {
    let figures = lasting.house.exchange.figures();
    (figures.sliced, figures.disk.unwrap().lost)
}

#[tokio::test]
async fn several_slices_come_at_once_and_more_while_the_reader_waits_for_them() {
    let (stop, most) = (gate(), Arc::new(AtomicUsize::new(0)));
    let upstream = {
        let stop = Arc::clone(&stop);
        Upstream::new(move |_, call| {
            let mut reply = reply(call, 1, 4 * MIB);
            reply.steps.insert(0, Step::Gate(Arc::clone(&stop)));
            reply
        })
    };
    let lasting = Lasting::with(&upstream, policy(), |settings| settings.reading_max = 64 * SLICE).await;
    let clock = {
        let (upstream, most) = (Arc::clone(&upstream), Arc::clone(&most));
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                most.fetch_max(upstream.calls() - upstream.dropped.load(Ordering::SeqCst), Ordering::SeqCst);
                stop.add_permits(1);
            }
        })
    };
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 4 * MIB));
    clock.abort();
    let most = most.load(Ordering::SeqCst);
    assert!((12..=18).contains(&most), "{most} at once");
    assert_eq!(asked(&upstream), (1..64).collect::<Vec<_>>(), "each slice once, the first from the answer itself");
    assert_eq!(sliced(&lasting), (1, 0));
    lasting.settled().await;
    assert_eq!(lasting.house.ask(get("/large"), START).await, (200, "c; hit; ttl=600".to_owned(), body(1, 4 * MIB)));
    assert_eq!(upstream.calls(), 64);
}

#[tokio::test]
async fn who_reads_slowly_or_leaves_has_little_fetched() {
    let upstream = large(4 * MIB);
    let lasting = Lasting::new(&upstream).await;
    let mut answer = lasting.house.run(get("/large"), START).await.unwrap();
    let mut at = 0;
    while at < 20 * SLICE {
        let bytes = answer.body.chunk().await.unwrap().unwrap();
        assert_eq!(bytes, body(1, 4 * MIB).slice(usize::try_from(at).unwrap()..usize::try_from(at).unwrap() + bytes.len()));
        at += bytes.len() as u64;
        lasting.settled().await;
        let last = asked(&upstream).into_iter().max().unwrap();
        assert!(last <= at / SLICE + 3, "slice {last} is fetched at byte {at}");
    }
    drop(answer);
    lasting.settled().await;
    assert!(upstream.calls() <= 24, "{}", upstream.calls());
}

#[tokio::test]
async fn many_readers_at_once_share_one_fetch_of_each_slice() {
    let stop = gate();
    let upstream = {
        let stop = Arc::clone(&stop);
        Upstream::new(move |_, call| {
            let mut reply = reply(call, 1, 4 * MIB);
            reply.steps.insert(3, Step::Gate(Arc::clone(&stop)));
            reply
        })
    };
    let lasting = Lasting::new(&upstream).await;
    let mut readers = Vec::new();
    for reader in 0..6 {
        let house = lasting.house.clone();
        readers.push(tokio::spawn(async move {
            // Some begin elsewhere; who asks first has the whole fetched.
            let request = if reader % 2 == 0 { get("/large") } else { get_with("/large", &[("range", "bytes=2097152-")]) };
            house.ask(request, START).await.2
        }));
    }
    until("all to be under way", || upstream.calls() >= 3).await;
    stop.add_permits(100_000);
    for (reader, bytes) in readers.into_iter().enumerate() {
        let from = if reader % 2 == 0 { 0 } else { 2 * MIB as usize };
        assert!(bytes.await.unwrap() == body(1, 4 * MIB).slice(from..), "reader {reader}");
    }
    let asked = asked(&upstream);
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "{asked:?}");
}

#[tokio::test]
async fn a_range_of_what_is_not_stored_fetches_the_slices_that_it_touches() {
    let upstream = Upstream::new(|_, call| {
        let mut reply = reply(call, 1, 10 * MIB);
        // What is a part itself need not say so.
        reply.headers.retain(|(name, _)| *name != "accept-ranges");
        reply
    });
    let lasting = Lasting::new(&upstream).await;
    let ask = async |range: &str| lasting.house.ask(get_with("/large", &[("range", range)]), START).await;
    let (status, told, bytes) = ask("bytes=5000000-5000099").await;
    assert_eq!((status, told.as_str()), (206, "c; fwd=uri-miss; stored; ttl=600"));
    assert_eq!(bytes, body(1, 10 * MIB).slice(5_000_000..5_000_100));
    assert_eq!(asked(&upstream), [76]);
    lasting.settled().await;
    let (status, told, bytes) = ask("bytes=5000100-5200099").await;
    assert_eq!((status, told.as_str()), (206, "c; hit; ttl=600"));
    assert_eq!(bytes, body(1, 10 * MIB).slice(5_000_100..5_200_100));
    assert_eq!(asked(&upstream), [76, 77, 78, 79]);
    let (_, _, bytes) = ask("bytes=-3").await;
    assert_eq!(bytes, body(1, 10 * MIB).slice(10 * MIB as usize - 3..));
    assert_eq!(ask("bytes=99999999-").await.0, 416);
    lasting.settled().await;
    assert_eq!(asked(&upstream), [76, 77, 78, 79, 159]);
    let head = lasting.house.run(Request { head_only: true, ..get("/large") }, START).await.unwrap();
    assert_eq!((head.field("content-length"), head.field("accept-ranges")), (Some("10485760"), Some("bytes")));
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 10 * MIB));
    let mut asked = asked(&upstream);
    asked.sort_unstable();
    assert_eq!(asked, (0..160).collect::<Vec<_>>(), "each slice once");
}

#[tokio::test]
async fn what_turns_out_small_or_without_strong_tag_is_kept_as_it_came() {
    for (bytes, etag) in [(2 * MIB, "\"1\""), (4 * MIB, "W/\"1\"")] {
        let upstream = Upstream::new(move |_, call| {
            let mut reply = reply(call, 1, bytes);
            for (name, value) in &mut reply.headers {
                if *name == "etag" {
                    etag.clone_into(value);
                }
            }
            reply
        });
        let lasting = Lasting::with(&upstream, policy(), |settings| settings.resident_max = 3 * MIB).await;
        let ask = async |first: usize, last: usize| {
            let range = format!("bytes={first}-{last}");
            let (status, _, got) = lasting.house.ask(get_with("/large", &[("range", &range)]), START).await;
            assert_eq!((status, got), (206, body(1, bytes).slice(first..=last)), "{range}");
        };
        ask(1_500_000, 1_500_099).await;
        ask(1_490_000, 1_510_000).await;
        ask(1_500_000, 1_500_099).await;
        assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, bytes));
        assert_eq!(sliced(&lasting).0, 0);
    }
}

#[tokio::test]
async fn another_version_upstream_starts_over_before_the_first_byte_and_cuts_after_it() {
    let version = Arc::new(AtomicU64::new(1));
    let upstream = {
        let version = Arc::clone(&version);
        Upstream::new(move |_, call| reply(call, version.load(Ordering::SeqCst), 4 * MIB))
    };
    let lasting = Lasting::new(&upstream).await;
    let range = |range: &'static str| get_with("/large", &[("range", range)]);
    assert_eq!(lasting.house.ask(range("bytes=2000000-2000099"), START).await.2, body(1, 4 * MIB).slice(2_000_000..2_000_100));
    let mut early = lasting.house.run(get("/large"), START).await.unwrap();
    let mut first = early.body.chunk().await.unwrap().unwrap().to_vec();
    lasting.settled().await;
    version.store(2, Ordering::SeqCst);
    let late = lasting.house.run(range("bytes=3000000-3000099"), START).await.unwrap();
    assert_eq!(late.field("etag"), Some("\"2\""));
    assert_eq!(read(late).await.unwrap(), body(2, 4 * MIB).slice(3_000_000..3_000_100));
    let error = loop {
        match early.body.chunk().await {
            Ok(bytes) => first.extend_from_slice(&bytes.unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, FetchErrorKind::Cut);
    assert_eq!(first, body(1, 4 * MIB).slice(..first.len()), "nothing of another version in it");
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(2, 4 * MIB));
}

#[tokio::test]
async fn an_origin_that_sends_no_parts_although_it_says_so_is_read_to_its_end() {
    let upstream = Upstream::new(|_, call| {
        let mut whole = call.clone();
        whole.request.headers.remove("range");
        reply(&whole, 1, 4 * MIB).at(call.request.headers.get("if-none-match").map_or(START, |_| seconds(700)))
    });
    let lasting = Lasting::new(&upstream).await;
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 4 * MIB));
    assert_eq!((upstream.calls(), sliced(&lasting).0), (2, 0));
    lasting.settled().await;
    assert_eq!(lasting.house.ask(get("/large"), seconds(700)).await.2, body(1, 4 * MIB));
    assert_eq!(upstream.calls(), 3, "it is known by then");
    lasting.settled().await;
    let range = get_with("/large", &[("range", "bytes=3000000-3000099")]);
    assert_eq!(lasting.house.ask(range, seconds(701)).await.2, body(1, 4 * MIB).slice(3_000_000..3_000_100));
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test]
async fn a_part_with_other_bytes_than_were_asked_for_is_not_taken_and_the_next_one_gets_the_whole() {
    let upstream = Upstream::new(|_, call| {
        let mut reply = reply(call, 1, 4 * MIB);
        if range_of(call).is_some_and(|(first, _)| first / SLICE == 5) {
            for (name, value) in &mut reply.headers {
                if *name == "content-range" {
                    *value = value.replace("327680-", "327681-");
                }
            }
        }
        reply
    });
    let lasting = Lasting::new(&upstream).await;
    let mut answer = lasting.house.run(get("/large"), START).await.unwrap();
    let mut came = Vec::new();
    let error = loop {
        match answer.body.chunk().await {
            Ok(bytes) => came.extend_from_slice(&bytes.unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, came.len()), (FetchErrorKind::Cut, 5 * SLICE as usize));
    let before = upstream.calls();
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 4 * MIB));
    assert_eq!((upstream.calls(), sliced(&lasting).0), (before + 1, 1));
}

#[tokio::test]
async fn a_slice_that_breaks_goes_on_where_it_broke() {
    let upstream = Upstream::new(|_, call| {
        let mut reply = reply(call, 1, 4 * MIB);
        if range_of(call).is_some_and(|(first, last)| last == 6 * SLICE - 1 && first < 6 * SLICE - 40_000) {
            reply.steps.truncate(1);
            reply.steps.push(Step::Fail);
        }
        reply
    });
    let lasting = Lasting::new(&upstream).await;
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 4 * MIB));
    let firsts: Vec<u64> = (0..upstream.calls())
        .filter_map(|index| range_of(&upstream.call(index)))
        .filter(|(_, last)| *last == 6 * SLICE - 1)
        .map(|(first, _)| first - 5 * SLICE)
        .collect();
    assert_eq!(firsts, [0, 10_000, 20_000, 30_000]);
}

#[tokio::test]
async fn an_origin_that_is_away_for_a_time_costs_nothing_that_came() {
    let away = Arc::new(AtomicU64::new(0));
    let upstream = {
        let away = Arc::clone(&away);
        Upstream::new(move |_, call| match away.load(Ordering::SeqCst) {
            0 => reply(call, 1, 4 * MIB),
            1 => Reply::error(FetchErrorKind::Connect),
            _ => Reply::new(503, &[], "away"),
        })
    };
    let lasting = Lasting::new(&upstream).await;
    let range = || get_with("/large", &[("range", "bytes=2000000-2000099")]);
    assert_eq!(lasting.house.ask(range(), START).await.0, 206);
    lasting.settled().await;
    for how in [1, 2] {
        away.store(how, Ordering::SeqCst);
        let before = upstream.calls();
        let failed = lasting.house.run(get("/large"), START).await.err().unwrap();
        assert_eq!(failed.error.kind, if how == 1 { FetchErrorKind::Connect } else { FetchErrorKind::Cut });
        assert_eq!(upstream.calls() - before, 8, "two slices are asked for again three times");
        assert_eq!(lasting.house.ask(range(), START).await.2, body(1, 4 * MIB).slice(2_000_000..2_000_100));
    }
    away.store(0, Ordering::SeqCst);
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 4 * MIB));
    assert_eq!(asked(&upstream).iter().filter(|slice| **slice == 30).count(), 1);
}

#[tokio::test]
async fn what_came_is_there_after_a_restart_and_the_rest_comes_when_it_is_wanted() {
    let upstream = large(4 * MIB);
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get_with("/large", &[("range", "bytes=2000000-2200000")]), START).await;
    lasting.settled().await;
    lasting.restart().await;
    let before = upstream.calls();
    let (_, told, bytes) = lasting.house.ask(get_with("/large", &[("range", "bytes=2050000-2150000")]), START).await;
    assert_eq!((told.as_str(), bytes), ("c; hit; ttl=600", body(1, 4 * MIB).slice(2_050_000..=2_150_000)));
    assert_eq!(upstream.calls(), before);
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 4 * MIB));
    assert_eq!(upstream.calls(), 64);
    let figures = || lasting.house.exchange.figures().disk.unwrap();
    // The last ones wait for room to be written, which who reads does not.
    until("every slice to be kept", || figures().fetched == 60).await;
    assert_eq!((figures().lost, figures().mended), (0, 0), "what has not come yet is not lost");
}

#[tokio::test]
async fn a_range_of_what_may_not_be_stored_is_the_one_that_was_asked_for() {
    let upstream = Upstream::new(|_, call| {
        let mut reply = reply(call, 1, 4 * MIB);
        reply.headers.retain(|(name, _)| *name != "cache-control");
        reply.headers.push(("cache-control", "no-store".to_owned()));
        reply
    });
    let lasting = Lasting::new(&upstream).await;
    let range = || get_with("/large", &[("range", "bytes=3000000-3000099")]);
    for calls in [2, 3] {
        let answer = lasting.house.run(range(), START).await.unwrap();
        assert_eq!(answer.field("content-range"), Some("bytes 3000000-3000099/4194304"));
        assert_eq!(read(answer).await.unwrap(), body(1, 4 * MIB).slice(3_000_000..3_000_100));
        assert_eq!(upstream.calls(), calls, "it is remembered");
    }
}

#[tokio::test]
async fn a_few_bytes_of_the_beginning_are_asked_for_alone_and_keep_nothing_from_coming_in_slices() {
    let upstream = large(4 * MIB);
    let lasting = Lasting::new(&upstream).await;
    let range = |range: &'static str| get_with("/large", &[("range", range)]);
    assert_eq!(lasting.house.ask(range("bytes=0-1"), START).await.2, body(1, 4 * MIB).slice(0..2));
    assert_eq!((range_of(&upstream.call(0)), sliced(&lasting).0), (Some((0, 1)), 0));
    lasting.house.settled().await;
    assert_eq!(lasting.house.ask(range("bytes=200000-200099"), START).await.2, body(1, 4 * MIB).slice(200_000..200_100));
    assert_eq!((range_of(&upstream.call(1)), sliced(&lasting).0), (Some((3 * SLICE, 4 * SLICE - 1)), 1));
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(1, 4 * MIB));
    assert_eq!(upstream.calls(), 65);
}

#[tokio::test]
async fn a_request_that_upstream_refuses_costs_nobody_else_what_is_there() {
    for status in [400, 403, 431] {
        let upstream = Upstream::new(move |_, call| match call.request.headers.contains_key("x-odd") {
            true => Reply::new(status, &[], ""),
            false => reply(call, 1, 4 * MIB),
        });
        let lasting = Lasting::new(&upstream).await;
        let mut early = lasting.house.run(get("/large"), START).await.unwrap();
        let first = early.body.chunk().await.unwrap().unwrap();
        let odd = get_with("/large", &[("range", "bytes=3000000-3000009"), ("x-odd", "1")]);
        assert!(lasting.house.run(odd, START).await.is_err(), "{status}");
        assert!([first, read(early).await.unwrap()].concat() == body(1, 4 * MIB), "{status}");
        assert_eq!(lasting.house.ask(get("/large"), START).await, (200, "c; hit; ttl=600".to_owned(), body(1, 4 * MIB)), "{status}");
    }
}
