//! Sections 3.3 and 3.4: incomplete answers, and parts of one representation.
//!
//! What must hold whether or not a part is stored: no client is given bytes of two representations as one, or a part as the whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::super::house::{House, Reply, START, Step, Upstream, get, get_with, policy, read, seconds};
use super::{Fields, How, ask, date, down, house};
use crate::fetch::Forward;

/// The bytes of the representation with this number; any byte tells which it is of.
fn bytes_of(version: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(version * 32 + at % 32).unwrap()).collect()
}

/// How an origin marks what it sends.
#[derive(Clone, Copy, Debug)]
enum Marked {
    Strongly,
    Weakly,
    Nohow,
}

/// An origin that answers one range with a part and anything else with the whole, of the representation it has at the moment.
fn origin(version: usize, length: usize, marked: Marked, control: &str, forward: &Forward) -> Reply {
    let whole = bytes_of(version, length);
    let tag = match marked {
        Marked::Strongly => Some(format!("\"{version}\"")),
        Marked::Weakly => Some(format!("W/\"{version}\"")),
        Marked::Nohow => None,
    };
    let mut fields = vec![("cache-control", control)];
    fields.extend(tag.as_deref().map(|tag| ("etag", tag)));
    let field = |name: &str| forward.request.headers.get(name).map(|value| value.to_str().unwrap());
    if tag.is_some() && field("if-none-match") == tag.as_deref() {
        return Reply::new(304, &fields, "");
    }
    let holds = field("if-range").is_none_or(|condition| matches!(marked, Marked::Strongly) && Some(condition) == tag.as_deref());
    let Some((first, last)) = field("range").filter(|_| holds).and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Reply::new(200, &fields, whole);
    };
    let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => (first, (last + 1).min(length)),
        (Ok(first), _) if last.is_empty() => (first, length),
        (_, Ok(suffix)) if first.is_empty() => (length.saturating_sub(suffix), length),
        _ => return Reply::new(200, &fields, whole),
    };
    if start >= end {
        let range = format!("bytes */{length}");
        return Reply::new(416, &[("content-range", &range)], "");
    }
    let range = format!("bytes {start}-{}/{length}", end - 1);
    fields.push(("content-range", &range));
    Reply::new(206, &fields, whole[start..end].to_vec())
}

/// Whether an answer is one representation, whole or marked as the part it is.
async fn is_sound(house: &House, request: crate::request::Request, at: u64, length: usize) -> Result<(), String> {
    let answer = house.run(request.clone(), seconds(at)).await.map_err(|failed| format!("{failed:?}"))?;
    let status = answer.status.as_u16();
    let field = |name: &str| answer.field(name).map(str::to_owned);
    let (range, tag, promised) = (field("content-range"), field("etag"), field("content-length"));
    let body = read(answer).await.map_err(|error| error.to_string())?;
    let complain = |what: &str| Err(format!("{what}: {status} {range:?} {tag:?} {body:?} for {request:?}"));
    if promised.is_some_and(|promised| promised != body.len().to_string()) {
        return complain("a wrong length");
    }
    let versions = (0..4).filter(|version| tag.as_deref().is_none_or(|tag| tag.contains(&format!("\"{version}\""))));
    let start = match (status, range.as_deref()) {
        (416, Some(range)) if range == format!("bytes */{length}") => return Ok(()),
        (200, None) if body.len() == length => 0,
        (206, Some(range)) => {
            let Some((first, last)) = range.strip_prefix("bytes ").and_then(|range| range.split_once('/')?.0.split_once('-')) else {
                return complain("an odd range");
            };
            let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
            if last - first + 1 != body.len() || last >= length {
                return complain("a part that is not what it says");
            }
            first
        }
        _ => return complain("neither the whole nor a part"),
    };
    let mut versions = versions;
    if versions.any(|version| bytes_of(version, length)[start..start + body.len()] == body[..]) { Ok(()) } else { complain("mixed") }
}

#[tokio::test]
async fn section_3_3_an_incomplete_answer_is_never_sent_as_if_whole() {
    // Cut after five of ten bytes, and nothing brings the rest: with a length that is promised and without, with validators and without.
    let rows: [Fields; 3] = [&[("content-length", "10"), ("etag", "\"1\"")], &[("content-length", "10")], &[("etag", "\"1\"")]];
    for fields in rows {
        let fields: Vec<_> = fields.iter().copied().chain([("cache-control", "max-age=60")]).collect();
        let cut = Reply::new(200, &fields, "").steps(vec![Step::Send("01234".into()), Step::Fail]);
        let upstream = Upstream::new(move |index, forward| match (index, forward.request.headers.contains_key("range")) {
            (0, _) => cut.clone(),
            // It is tried three times at once, to get the rest.
            (1..=3, true) => down(),
            _ => Reply::new(200, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], "abcdefghij").at(seconds(1)),
        });
        let house = house(&upstream, policy());
        let first = house.run(get("/"), START).await.unwrap();
        assert!(read(first).await.is_err(), "{fields:?}");
        house.settled().await;
        let seen = ask(&house, get("/"), seconds(1)).await;
        assert_eq!((seen.status, &seen.body[..]), (200, &b"abcdefghij"[..]), "{fields:?}");
    }
}

#[tokio::test]
async fn section_3_3_a_part_is_marked_as_one() {
    let upstream = Upstream::new(|_, forward| origin(1, 10, Marked::Strongly, "max-age=60", forward));
    let house = house(&upstream, policy());
    for range in ["bytes=0-4", "bytes=5-", "bytes=-2", "bytes=0-4", "bytes=2-3"] {
        let seen = ask(&house, get_with("/", &[("range", range)]), START).await;
        assert_eq!(seen.status, 206, "{range}");
        assert!(seen.field("content-range").is_some(), "{range}");
    }
    let seen = ask(&house, get("/"), START).await;
    assert_eq!((seen.status, seen.field("content-range"), &seen.body[..]), (200, None, &bytes_of(1, 10)[..]));
}

#[tokio::test]
async fn section_3_3_parts_in_a_unit_that_is_not_understood_are_not_stored() {
    let upstream = Upstream::new(|_, forward| match forward.request.headers.get("range") {
        Some(_) => Reply::new(206, &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-range", "lines 0-1/9")], "ab"),
        None => Reply::new(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], "whole"),
    });
    let house = house(&upstream, policy());
    let lines = || get_with("/", &[("range", "lines=0-1")]);
    ask(&house, lines(), START).await;
    let seen = ask(&house, get("/"), START).await;
    assert_eq!((seen.status, &seen.body[..]), (200, &b"whole"[..]));
    let seen = ask(&house, get_with("/", &[("range", "bytes=0-1")]), START).await;
    assert_eq!((seen.status, &seen.body[..]), (206, &b"wh"[..]));
}

#[tokio::test]
async fn section_3_4_parts_of_two_representations_are_never_combined() {
    for marked in [Marked::Strongly, Marked::Weakly, Marked::Nohow] {
        let version = Arc::new(AtomicUsize::new(0));
        let upstream = Upstream::new({
            let version = Arc::clone(&version);
            move |_, forward| origin(version.load(Ordering::SeqCst), 20, marked, "max-age=60", forward)
        });
        let house = house(&upstream, policy());
        for (number, range) in ["bytes=0-9", "bytes=10-19", "bytes=5-14", "bytes=0-19", "bytes=-20"].into_iter().enumerate() {
            version.store(number % 3, Ordering::SeqCst);
            is_sound(&house, get_with("/", &[("range", range)]), 0, 20).await.unwrap();
            house.settled().await;
        }
        is_sound(&house, get("/"), 0, 20).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever ranges clients ask for, and whenever the representation changes, stays fresh, goes stale or is cut: an answer is one representation,
    /// and says truly which part of it.
    #[test]
    fn section_3_4_no_answer_mixes_two_representations(
        length in 1_usize..40,
        marked in prop_oneof![Just(Marked::Strongly), Just(Marked::Weakly), Just(Marked::Nohow)],
        cuts in any::<bool>(),
        steps in proptest::collection::vec((0_usize..4, 0_usize..44, 0_usize..44, 0_u8..8, 0_u64..8), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let version = Arc::new(AtomicUsize::new(0));
            let clock = Arc::new(AtomicUsize::new(0));
            let upstream = Upstream::new({
                let (version, clock) = (Arc::clone(&version), Arc::clone(&clock));
                move |index, forward| {
                    let now = clock.load(Ordering::SeqCst) as u64;
                    let reply = origin(version.load(Ordering::SeqCst), length, marked, "max-age=10", forward).at(seconds(now));
                    match &reply.steps[..] {
                        [Step::Send(whole)] if cuts && index % 3 == 1 => {
                            let half = whole.slice(..whole.len() / 2);
                            let steps = if half.is_empty() { vec![Step::Fail] } else { vec![Step::Send(half), Step::Fail] };
                            reply.clone().steps(steps)
                        }
                        _ => reply,
                    }
                }
            });
            let house = house(&upstream, policy());
            for (new_version, first, last, kind, passes) in steps {
                version.store(new_version, Ordering::SeqCst);
                let now = clock.fetch_add(usize::try_from(passes).unwrap(), Ordering::SeqCst) as u64 + passes;
                let range = match kind {
                    0 | 1 => None,
                    2 => Some(format!("bytes={first}-")),
                    3 => Some(format!("bytes=-{last}")),
                    _ => Some(format!("bytes={}-{}", first.min(last), first.max(last))),
                };
                let mut fields = vec![("date", date(0))];
                fields.extend(range.map(|range| ("range", range)));
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                match is_sound(&house, get_with("/", &fields), now, length).await {
                    Err(what) if !(cuts && what.contains("cut")) => panic!("{what}"),
                    _ => {}
                }
                house.settled().await;
            }
        });
    }
}

#[tokio::test]
async fn section_3_4_the_fields_of_a_later_part_replace_the_stored_ones() {
    let upstream = Upstream::new(|index, forward| {
        let mut reply = origin(1, 10, Marked::Strongly, "max-age=60", forward);
        reply.headers.push(("x-part", index.to_string()));
        reply
    });
    let house = house(&upstream, policy());
    // The far end first, so that an origin with ranges is asked for a part.
    ask(&house, get_with("/", &[("range", "bytes=8-9")]), START).await;
    ask(&house, get_with("/", &[("range", "bytes=4-5")]), START).await;
    ask(&house, get("/"), START).await;
    let last = upstream.calls() - 1;
    let seen = ask(&house, get("/"), seconds(1)).await;
    assert_eq!((seen.how, &seen.body[..]), (How::Reused, &bytes_of(1, 10)[..]));
    assert_eq!(seen.field("x-part"), Some(&last.to_string()[..]));
}
