//! Bodies that are too large for memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::super::house::{Reply, START, Step, Upstream, gate, get, get_with, policy, read, seconds, until};
use super::{KIB, Lasting, MIB};
use crate::fetch::{FetchErrorKind, Forward};
use crate::store::disk::shaky::Faults;

/// Bytes that tell where they are.
pub(super) fn body(bytes: u64) -> Bytes {
    (0..bytes.div_ceil(8)).flat_map(u64::to_be_bytes).take(usize::try_from(bytes).unwrap()).collect::<Vec<u8>>().into()
}

pub(super) fn fields(etag: &str) -> Vec<(&'static str, String)> {
    vec![("cache-control", "max-age=600".to_owned()), ("etag", etag.to_owned())]
}

/// The whole of `bytes` bytes, in small pieces, or the range that is asked for.
pub(super) fn reply(call: &Forward, etag: &str, bytes: u64) -> Reply {
    let whole = body(bytes);
    let mut reply = Reply::new(200, &[], "");
    reply.headers = fields(etag);
    let range = call.request.headers.get("range").map(|value| value.to_str().unwrap().to_owned());
    let if_range = call.request.headers.get("if-range").map(|value| value.to_str().unwrap().to_owned());
    let part = match range {
        Some(range) if if_range.is_none_or(|wanted| wanted == etag) => {
            let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(whole.len() - 1));
            reply.status = 206;
            reply.headers.push(("content-range", format!("bytes {first}-{last}/{bytes}")));
            whole.slice(first..=last)
        }
        _ => whole,
    };
    reply.headers.push(("content-length", part.len().to_string()));
    reply.steps = part.chunks(10_000).map(|piece| Step::Send(Bytes::copy_from_slice(piece))).collect();
    reply
}

fn large(bytes: u64) -> Arc<Upstream> {
    Upstream::new(move |_, call| reply(call, "\"1\"", bytes))
}

#[tokio::test]
async fn it_goes_to_disk_while_it_comes_and_is_read_from_there() {
    let upstream = large(20 * MIB + 17);
    let mut lasting = Lasting::new(&upstream).await;
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(20 * MIB + 17));
    lasting.settled().await;
    let figures = lasting.house.exchange.figures();
    assert!(figures.bytes < MIB && figures.windows == 0, "{figures:?}");
    for _ in 0..2 {
        let (status, told, bytes) = lasting.house.ask(get("/large"), START).await;
        assert_eq!((status, told.as_str(), bytes), (200, "c; hit; ttl=600", body(20 * MIB + 17)));
        lasting.restart().await;
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn one_whose_length_nobody_knows_is_whole_on_disk_too() {
    let upstream = Upstream::new(|_, call| {
        let mut reply = reply(call, "\"1\"", 3 * MIB + 5);
        reply.headers.retain(|(name, _)| *name != "content-length");
        reply
    });
    let mut lasting = Lasting::new(&upstream).await;
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(3 * MIB + 5));
    lasting.settled().await;
    lasting.restart().await;
    let answer = lasting.house.run(get("/large"), START).await.unwrap();
    assert_eq!(answer.field("content-length"), Some((3 * MIB + 5).to_string().as_str()));
    assert_eq!(read(answer).await.unwrap(), body(3 * MIB + 5));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn one_whose_length_nobody_knows_counts_as_large_when_it_outgrows_memory() {
    for bytes in [600 * KIB, 3 * MIB] {
        let upstream = Upstream::new(move |_, call| {
            let mut reply = reply(call, "\"1\"", bytes);
            reply.headers.retain(|(name, _)| *name != "content-length");
            reply
        });
        let mut lasting = Lasting::with(&upstream, policy(), |settings| settings.second_hit_above = MIB).await;
        assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(bytes));
        lasting.settled().await;
        let disk = lasting.house.exchange.figures().disk.unwrap();
        assert_eq!((disk.written, disk.skipped), (0, 1), "{bytes}: what is asked for once takes no writes");
        assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(bytes));
        lasting.settled().await;
        lasting.restart().await;
        assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(bytes));
        assert_eq!(upstream.calls(), 2);
    }
}

#[tokio::test]
async fn what_fits_in_memory_is_there_and_on_disk() {
    let upstream = large(200 * KIB);
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/a"), START).await;
    until("it to be on disk", || lasting.house.exchange.figures().disk.unwrap().written >= 5).await;
    lasting.settled().await;
    let ready = lasting.house.exchange.ready(&mut get("/a"), &lasting.house.policy, START).unwrap();
    assert_eq!(ready.body().concat(), body(200 * KIB));
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, body(200 * KIB));
    assert!(lasting.house.exchange.ready(&mut get("/a"), &lasting.house.policy, START).is_none(), "its body is on disk");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_range_reads_the_slices_that_it_touches() {
    let upstream = large(10 * MIB);
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/large"), START).await;
    lasting.settled().await;
    lasting.restart().await;
    let before = lasting.log.loads();
    let (status, _, bytes) = lasting.house.ask(get_with("/large", &[("range", "bytes=5000000-5000099")]), START).await;
    assert_eq!((status, bytes), (206, body(10 * MIB).slice(5_000_000..5_000_100)));
    // The head, one slice, and perhaps the next one.
    assert!(lasting.log.loads() - before <= 3, "{}", lasting.log.loads() - before);
    let (_, _, bytes) = lasting.house.ask(get_with("/large", &[("range", "bytes=65530-65545")]), START).await;
    assert_eq!(bytes, body(10 * MIB).slice(65_530..=65_545));
    let (_, _, bytes) = lasting.house.ask(get_with("/large", &[("range", "bytes=-3")]), START).await;
    assert_eq!(bytes, body(10 * MIB).slice(10 * MIB as usize - 3..));
    let (_, _, parts) = lasting.house.ask(get_with("/large", &[("range", "bytes=0-1,9000000-9000001")]), START).await;
    assert!(parts.windows(2).any(|two| two == &body(10 * MIB)[9_000_000..9_000_002]));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn readers_that_are_behind_read_from_disk_and_those_ahead_wait() {
    let stop = gate();
    let upstream = {
        let stop = Arc::clone(&stop);
        Upstream::new(move |index, call| {
            let mut reply = reply(call, "\"1\"", 4 * MIB);
            let middle = reply.steps.len() / 2;
            if index == 0 {
                reply.steps.insert(middle, Step::Gate(Arc::clone(&stop)));
            }
            reply
        })
    };
    let lasting = Lasting::new(&upstream).await;
    let house = lasting.house.clone();
    let first = tokio::spawn(async move { house.ask(get("/large"), START).await.2 });
    until("half of it to come", || lasting.house.exchange.figures().disk.unwrap().written >= 30).await;
    assert!(lasting.house.exchange.figures().filling_bytes < 300 * KIB);
    let house = lasting.house.clone();
    let second = tokio::spawn(async move { house.ask(get("/large"), START).await.2 });
    let early = lasting.house.ask(get_with("/large", &[("range", "bytes=100-199")]), START).await;
    assert_eq!(early.2, body(4 * MIB).slice(100..200));
    stop.add_permits(1);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (body(4 * MIB), body(4 * MIB)));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_slice_that_is_lost_or_damaged_is_fetched_again_and_nobody_sees_it() {
    for faults in [Faults { lost: 200, ..Faults::default() }, Faults { damaged: 200, ..Faults::default() }] {
        let upstream = large(4 * MIB);
        let mut lasting = Lasting::new(&upstream).await;
        lasting.house.ask(get("/large"), START).await;
        lasting.settled().await;
        lasting.restart().await;
        // With its head in memory, so that only slices are lost.
        lasting.house.ask(get_with("/large", &[("range", "bytes=0-0")]), START).await;
        lasting.log.set_faults(faults);
        assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(4 * MIB));
        let figures = lasting.house.exchange.figures().disk.unwrap();
        assert!(figures.mended > 3 && figures.lost == figures.mended, "{figures:?}");
        let call = upstream.call(1).request.headers;
        assert_eq!(call["if-range"], "\"1\"");
        lasting.settled().await;
        lasting.log.set_faults(Faults::default());
        let before = upstream.calls();
        assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(4 * MIB));
        assert!(upstream.calls() <= before + 1, "what was fetched again is stored again");
    }
}

#[tokio::test]
async fn when_the_origin_has_another_by_then_the_answer_fails_rather_than_mixes() {
    let changed = Arc::new(AtomicBool::new(false));
    let upstream = {
        let changed = Arc::clone(&changed);
        Upstream::new(move |_, call| reply(call, if changed.load(Ordering::SeqCst) { "\"2\"" } else { "\"1\"" }, 2 * MIB))
    };
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/large"), START).await;
    lasting.settled().await;
    lasting.restart().await;
    let answer = lasting.house.run(get("/large"), START).await.unwrap();
    changed.store(true, Ordering::SeqCst);
    lasting.log.set_faults(Faults { lost: 1_000, ..Faults::default() });
    assert_eq!(answer.field("etag"), Some("\"1\""));
    assert_eq!(read(answer).await.unwrap_err().kind, FetchErrorKind::Cut);
    // The next one gets what the origin has.
    lasting.log.set_faults(Faults::default());
    let answer = lasting.house.run(get("/large"), START).await.unwrap();
    assert_eq!(answer.field("etag"), Some("\"2\""));
    assert_eq!(read(answer).await.unwrap(), body(2 * MIB));
    lasting.settled().await;
    lasting.restart().await;
    assert_eq!(lasting.house.run(get("/large"), START).await.unwrap().field("etag"), Some("\"2\""));
}

#[tokio::test]
async fn a_head_confirmed_by_the_origin_keeps_the_slices() {
    let upstream = Upstream::new(|_, call| {
        if call.request.headers.contains_key("if-none-match") {
            let mut confirmed = Reply::new(304, &[], "");
            confirmed.headers = fields("\"1\"");
            return confirmed.at(super::super::house::seconds(700));
        }
        reply(call, "\"1\"", 2 * MIB)
    });
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/large"), START).await;
    lasting.settled().await;
    lasting.restart().await;
    let at = super::super::house::seconds(700);
    assert_eq!(lasting.house.ask(get("/large"), at).await.2, body(2 * MIB));
    lasting.settled().await;
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/large"), at).await.1, "c; hit; ttl=600");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn a_device_that_fails_meanwhile_leaves_who_reads_along_unharmed() {
    let stop = gate();
    let upstream = {
        let stop = Arc::clone(&stop);
        Upstream::new(move |index, call| {
            let mut reply = reply(call, "\"1\"", 4 * MIB);
            let middle = reply.steps.len() / 2;
            if index == 0 {
                reply.steps.insert(middle, Step::Gate(Arc::clone(&stop)));
            }
            reply
        })
    };
    let lasting = Lasting::new(&upstream).await;
    let house = lasting.house.clone();
    let (told, mut progress) = tokio::sync::mpsc::channel(1_000);
    let reading = tokio::spawn(async move {
        let mut answer = house.run(get("/large"), START).await.unwrap();
        let mut whole = Vec::new();
        while let Some(bytes) = answer.body.chunk().await.unwrap() {
            whole.extend_from_slice(&bytes);
            told.send(whole.len()).await.unwrap();
        }
        whole
    });
    let half = body(4 * MIB).len() / 2;
    while progress.recv().await.unwrap() < half - 20_000 {}
    lasting.log.set_faults(Faults { write_fails: 1_000, ..Faults::default() });
    stop.add_permits(1);
    while progress.recv().await.is_some() {}
    assert_eq!(reading.await.unwrap(), body(4 * MIB));
    let figures = lasting.house.exchange.figures();
    assert_eq!((figures.windows, figures.filling_bytes), (1, 0));
}

#[tokio::test]
async fn one_that_a_304_gave_another_key_is_not_looked_for_under_it_after_a_restart() {
    let upstream = Upstream::new(|index, call| {
        if index == 1 {
            return Reply::new(304, &[("cache-control", "max-age=6000"), ("etag", "W/\"1\""), ("vary", "accept-language")], "");
        }
        reply(call, "W/\"1\"", MIB)
    });
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/large"), START).await;
    let again = lasting.house.ask(get("/large"), seconds(601)).await;
    assert_eq!((again.0, again.2), (200, body(MIB)));
    assert_eq!(upstream.calls(), 2);
    lasting.settled().await;
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/large"), seconds(602)).await.2, body(MIB));
}

#[tokio::test]
async fn readers_in_the_same_place_read_each_slice_once() {
    let upstream = large(8 * MIB);
    let lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/large"), START).await;
    lasting.settled().await;
    let hits = || lasting.house.exchange.figures().disk.unwrap().hits;
    let before = hits();
    // Far more than there is room for, each with a slice of its own.
    let whole = body(8 * MIB);
    let mut readers = Vec::new();
    for _ in 0..100 {
        let mut answer = lasting.house.run(get("/large"), START).await.unwrap();
        readers.push((answer.body.chunk().await.unwrap().unwrap().to_vec(), answer));
    }
    while readers[0].0.len() < whole.len() {
        for (got, answer) in &mut readers {
            got.extend(answer.body.chunk().await.unwrap().unwrap());
        }
    }
    assert!(readers.iter().all(|(got, _)| *got == whole));
    // The head once for each, and the slices; some readers come to one when the last of the others has left it.
    assert!(hits() - before <= 100 + 2 * 8, "{}", hits() - before);
}

#[tokio::test]
async fn readers_hold_no_more_of_slices_that_were_larger_when_they_were_written() {
    let upstream = large(8 * MIB);
    let mut lasting = Lasting::with(&upstream, policy(), |settings| settings.slice = MIB / 2).await;
    assert_eq!(lasting.house.ask(get("/large"), START).await.2, body(8 * MIB));
    lasting.settled().await;
    lasting.set(|settings| settings.slice = 64 * KIB);
    lasting.restart().await;
    // Each in a slice of its own.
    let from = |number: u64| get_with("/large", &[("range", &format!("bytes={}-", number * MIB))]);
    let mut readers = Vec::new();
    for number in 0..8 {
        let mut answer = lasting.house.run(from(number), START).await.unwrap();
        let first = answer.body.chunk().await.unwrap().unwrap();
        readers.push((number, first, answer));
    }
    let held: u64 = readers.iter().map(|(_, first, _)| first.len() as u64).filter(|bytes| *bytes > 64 * KIB).sum();
    assert!(held <= MIB, "{held}");
    for (number, first, answer) in readers {
        assert!([first, read(answer).await.unwrap()].concat() == body(8 * MIB)[usize::try_from(number * MIB).unwrap()..]);
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn who_finds_lost_what_was_there_before_takes_nothing_from_what_came_after() {
    // Nothing tells the two from each other, so that what is lost cannot be fetched again.
    let upstream = Upstream::new(|index, call| {
        let mut reply = reply(call, "\"1\"", (4 - index as u64) * MIB);
        reply.headers.retain(|(name, _)| *name != "etag");
        reply.at(seconds(700 * index as u64))
    });
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/large"), START).await;
    lasting.settled().await;
    lasting.restart().await;
    let mut early = lasting.house.run(get("/large"), START).await.unwrap();
    early.body.chunk().await.unwrap();
    assert_eq!(lasting.house.ask(get("/large"), seconds(700)).await.2, body(3 * MIB));
    lasting.settled().await;
    lasting.log.set_faults(Faults { lost: 1_000, ..Faults::default() });
    assert_eq!(read(early).await.unwrap_err().kind, FetchErrorKind::Cut);
    lasting.settled().await;
    lasting.log.set_faults(Faults::default());
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/large"), seconds(701)).await.2, body(3 * MIB));
    assert_eq!(upstream.calls(), 2);
}
