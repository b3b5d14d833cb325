//! Parts that origins or clients use against the cache.

use super::super::house::{House, Reply, START, Step, Upstream, get, get_with, policy, read};
use super::{TEXT, asked, big, origin_of_big, range, serve, settled};
use crate::exchange::Bounds;
use crate::fetch::FetchErrorKind;
use crate::store::Entry;

const TAGGED: [(&str, &str); 2] = [("cache-control", "max-age=60"), ("etag", "\"1\"")];

fn bounds(object_max: u64) -> Bounds {
    Bounds { memory: 64 << 20, object_max, filling_max: 64 << 20 }
}

#[tokio::test]
async fn parts_together_are_not_larger_than_what_may_be_stored() {
    let house = House::with(&origin_of_big(), policy(), bounds(1 << 20));
    for start in (0..4_000_000).step_by(500_000) {
        settled(&house, range(&format!("bytes={start}-{}", start + 499_999))).await;
        let bytes = house.exchange.figures().bytes;
        assert!(bytes <= (1 << 20) + (64 << 10), "{bytes} bytes are kept");
    }
    assert!(settled(&house, range("bytes=3900000-3999999")).await.1.contains("hit"), "the last one is");
}

#[tokio::test]
async fn ranges_that_creep_forwards_keep_no_more_in_memory_than_is_counted() {
    let house = House::new(&origin_of_big());
    for start in 0..40_u64 {
        settled(&house, range(&format!("bytes={}-{}", 2_000_000 + start, 2_065_535 + start))).await;
    }
    let key = house.exchange.primary(&get("/"), &house.policy);
    let Some(Entry::Parts(parts)) = house.exchange.store.get(&key) else { panic!("no parts") };
    // 40 bytes and the last answer: not 40 answers of which a byte each is needed.
    assert_eq!(parts.runs().len(), 1);
    let pieces = parts.runs()[0].body.pieces(0, u64::MAX);
    assert!(pieces.len() <= 3, "{} pieces", pieces.len());
    assert_eq!(pieces.concat(), big().as_bytes()[2_000_000..2_065_575]);
}

#[tokio::test]
async fn a_part_of_nobody_knows_how_much_is_not_the_end_of_it() {
    let upstream = Upstream::new(|_, forward| {
        let mut reply = serve(forward, "\"1\"", TEXT, 60);
        for (name, value) in &mut reply.headers {
            if *name == "content-range" {
                *value = value.replace("/20", "/*");
            }
        }
        reply
    });
    let house = House::new(&upstream);
    assert_eq!(settled(&house, range("bytes=2-5")).await.2, "2345");
    assert!(settled(&house, range("bytes=3-5")).await.1.contains("hit"));
    for (wanted, expected) in [("bytes=2-9", "23456789"), ("bytes=3-", "3456789abcdefghij")] {
        assert_eq!(settled(&house, range(wanted)).await.2, expected, "{wanted}");
    }
}

#[tokio::test]
async fn what_came_of_a_body_without_a_length_is_not_all_of_it() {
    let upstream = Upstream::new(|index, forward| match index {
        0 => Reply::new(200, &TAGGED, "").steps(vec![Step::Send("01234".into()), Step::Fail]),
        1..=3 => Reply::error(FetchErrorKind::Connect),
        _ => serve(forward, "\"1\"", TEXT, 60),
    });
    let house = House::new(&upstream);
    assert!(read(house.run(get("/"), START).await.unwrap()).await.is_err());
    house.settled().await;
    assert_eq!(settled(&house, range("bytes=2-")).await.2, &TEXT[2..]);
}

#[tokio::test]
async fn the_rest_of_a_body_without_a_length_is_held_to_the_range_it_names() {
    for rest in ["567", "56789abcdefghijXX"] {
        let upstream = Upstream::new(move |index, _| match index {
            0 => Reply::new(200, &TAGGED, "").steps(vec![Step::Send("01234".into()), Step::Fail]),
            1 => Reply::new(206, &[("etag", "\"1\""), ("content-range", "bytes 5-19/20")], "").steps(vec![Step::Send(rest.into())]),
            _ => Reply::error(FetchErrorKind::Connect),
        });
        let house = House::new(&upstream);
        let answer = house.run(get("/"), START).await.unwrap();
        assert!(read(answer).await.is_err(), "{rest}");
        house.settled().await;
        assert!(house.run(get("/"), START).await.is_err(), "{rest}");
    }
}

#[tokio::test]
async fn a_part_for_one_client_is_not_its_answer_where_its_own_condition_may_not_hold() {
    for (wanted, status) in [("bytes=4-9", 206), ("bytes=30-40", 416)] {
        let upstream = Upstream::new(move |_, forward| match forward.request.headers.get("if-range") {
            Some(tag) if tag != "\"new\"" => Reply::new(200, &[("cache-control", "private"), ("etag", "\"new\"")], TEXT),
            _ if status == 416 => Reply::new(416, &[("content-range", "bytes */20")], ""),
            _ => Reply::new(206, &[("cache-control", "private"), ("etag", "\"new\""), ("content-range", "bytes 4-9/20")], "456789"),
        });
        let house = House::new(&upstream);
        let (seen, _, body) = settled(&house, get_with("/", &[("range", wanted), ("if-range", "\"old\"")])).await;
        assert_eq!((seen, body.as_str()), (200, TEXT), "{wanted}");
        assert_eq!(settled(&House::new(&upstream), range(wanted)).await.0, status, "{wanted}");
    }
}

#[tokio::test]
async fn a_gap_that_is_answered_as_if_there_were_a_condition_does_not_answer_the_client() {
    for status in [304, 412] {
        let upstream = Upstream::new(move |index, forward| match index {
            1 => Reply::new(status, &TAGGED, ""),
            _ => serve(forward, "\"1\"", TEXT, 60),
        });
        let house = House::new(&upstream);
        settled(&house, range("bytes=4-9")).await;
        let (seen, _, body) = settled(&house, get("/")).await;
        assert_eq!((seen, body.as_str()), (200, TEXT), "{status}");
        assert_eq!(asked(&upstream, 2, "range"), None);
    }
}

#[tokio::test]
async fn parts_that_contradict_each_other_about_the_length_do_not_combine() {
    let upstream = Upstream::new(|index, _| {
        let content_range = if index == 0 { "bytes 2000000-2000009/*" } else { "bytes 1000000-1000009/1500000" };
        Reply::new(206, &[TAGGED[0], TAGGED[1], ("content-range", content_range)], "0123456789")
    });
    let house = House::new(&upstream);
    settled(&house, range("bytes=2000000-2000009")).await;
    settled(&house, range("bytes=1000000-1000009")).await;
    let key = house.exchange.primary(&get("/"), &house.policy);
    let Some(Entry::Parts(parts)) = house.exchange.store.get(&key) else { panic!("no parts") };
    assert_eq!(parts.runs().len(), 1);
}

#[tokio::test]
async fn a_part_at_the_end_of_all_numbers_is_one_like_any_other() {
    let most = u64::MAX - 3;
    let gate = super::super::house::gate();
    let upstream = Upstream::new({
        let gate = gate.clone();
        move |_, _| {
            let content_range = format!("bytes {most}-{}/{}", most + 1, most + 2);
            let fields = [TAGGED[0], TAGGED[1], ("content-range", content_range.as_str()), ("content-length", "2")];
            Reply::new(206, &fields, "").steps(vec![Step::Send("a".into()), Step::Gate(gate.clone()), Step::Send("b".into())])
        }
    });
    let house = House::new(&upstream);
    let wanted = || range(&format!("bytes={most}-"));
    let first = house.run(wanted(), START).await.unwrap();
    let second = house.run(wanted(), START).await.unwrap();
    gate.add_permits(1);
    assert_eq!((read(first).await.unwrap(), read(second).await.unwrap()), ("ab".into(), "ab".into()));
    house.settled().await;
    assert!(settled(&house, wanted()).await.1.contains("hit"));
    assert_eq!(upstream.calls(), 1);
}
