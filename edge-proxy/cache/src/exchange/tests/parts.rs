//! Parts: fetched, stored, combined, completed (RFC 9111 sections 3.3 and 3.4).

use super::house::{House, Reply, START, Step, Upstream, gate, get, get_with, headers, policy, read, seconds};
use crate::exchange::Bounds;
use crate::fetch::Forward;
use crate::request::Request;

mod hostile;

const TEXT: &str = "0123456789abcdefghij";

/// An origin that has `TEXT` with this tag and answers ranges as asked.
fn origin(etag: &'static str) -> std::sync::Arc<Upstream> {
    Upstream::new(move |_, forward| serve(forward, etag, TEXT, 60))
}

fn serve(forward: &Forward, etag: &'static str, text: &'static str, lifetime: u64) -> Reply {
    let lifetime = format!("max-age={lifetime}");
    let mut fields = vec![("cache-control", lifetime.as_str()), ("etag", etag), ("content-type", "text/plain")];
    let asked = &forward.request.headers;
    let length = text.len() as u64;
    let changed = asked.get("if-range").is_some_and(|tag| tag != etag);
    let part = crate::range::wanted(asked).filter(|_| !changed).and_then(|wanted| wanted.within(length));
    let Some((start, end)) = part else { return Reply::new(200, &fields, text) };
    let range = format!("bytes {start}-{}/{length}", end - 1);
    fields.push(("content-range", &range));
    Reply::new(206, &fields, &text[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()])
}

fn range(range: &str) -> Request {
    get_with("/", &[("range", range)])
}

async fn settled(house: &House, request: Request) -> (u16, String, String) {
    let (status, cache_status, body) = house.ask(request, START).await;
    house.settled().await;
    (status, cache_status, String::from_utf8(body.to_vec()).unwrap())
}

fn asked(upstream: &Upstream, call: usize, field: &str) -> Option<String> {
    upstream.call(call).request.headers.get(field).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn rfc9111_3_3_a_part_is_stored_and_answers_what_lies_in_it() {
    let upstream = origin("\"1\"");
    let house = House::new(&upstream);
    assert_eq!(settled(&house, range("bytes=4-9")).await, (206, "c; fwd=uri-miss; stored; ttl=60".to_owned(), "456789".to_owned()));
    assert_eq!(asked(&upstream, 0, "range").as_deref(), Some("bytes=4-9"));
    for (wanted, expected, content_range) in
        [("bytes=4-9", "456789", "bytes 4-9/20"), ("bytes=5-6", "56", "bytes 5-6/20"), ("bytes=4-4", "4", "bytes 4-4/20")]
    {
        let answer = house.run(range(wanted), seconds(3)).await.unwrap();
        assert_eq!(answer.status_of_cache.render("c"), "c; hit; ttl=57", "{wanted}");
        assert_eq!((answer.status.as_u16(), answer.field("content-range"), answer.field("age")), (206, Some(content_range), Some("3")));
        assert_eq!(answer.field("content-length"), Some(expected.len().to_string().as_str()));
        assert_eq!(read(answer).await.unwrap(), expected, "{wanted}");
    }
    assert_eq!(settled(&house, range("bytes=20-")).await, (416, "c; hit; ttl=60".to_owned(), String::new()));
    assert_eq!(settled(&house, get_with("/", &[("if-none-match", "\"1\"")])).await.0, 304, "a validator is enough");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn rfc9111_3_4_parts_with_one_strong_tag_combine() {
    let upstream = origin("\"1\"");
    let house = House::new(&upstream);
    settled(&house, range("bytes=4-9")).await;
    assert_eq!(settled(&house, range("bytes=12-15")).await.2, "cdef");
    assert!(settled(&house, get("/")).await.1.contains("hit"), "a small one is completed once its length is known");
    let big = House::new(&origin_of_big());
    for (wanted, hit) in [
        ("bytes=2000000-2000009", false),
        ("bytes=3000000-3000009", false),
        ("bytes=2000004-2000012", false),
        ("bytes=2000000-2000012", true),
        ("bytes=3000000-3000009", true),
        ("bytes=2000010-3000000", false),
        ("bytes=2000000-3000009", true),
        ("bytes=-10", false),
        ("bytes=3999995-", true),
    ] {
        let (status, cache_status, _) = settled(&big, range(wanted)).await;
        assert_eq!((status, cache_status.contains("hit")), (206, hit), "{wanted}: {cache_status}");
    }
}

/// 4,000,000 bytes that tell where they are.
fn origin_of_big() -> std::sync::Arc<Upstream> {
    let text: &'static str = Box::leak(big().into_boxed_str());
    Upstream::new(move |_, forward| serve(forward, "\"big\"", text, 60))
}

fn big() -> String {
    (0..400_000).map(|number| format!("{number:09};")).collect()
}

#[tokio::test]
async fn rfc9111_3_4_the_gaps_complete_the_whole() {
    let upstream = origin_of_big();
    let house = House::new(&upstream);
    for wanted in ["bytes=0-1999999", "bytes=3000000-3000009"] {
        settled(&house, range(wanted)).await;
    }
    let (status, cache_status, body) = settled(&house, get("/")).await;
    assert_eq!((status, cache_status.as_str()), (200, "c; fwd=partial; stored; ttl=60"));
    assert!(body == big(), "the bytes in their order");
    assert_eq!(asked(&upstream, 2, "range").as_deref(), Some("bytes=2000000-2999999"));
    assert_eq!(
        (asked(&upstream, 2, "if-range").as_deref(), asked(&upstream, 3, "range").as_deref()),
        (Some("\"big\""), Some("bytes=3000010-3999999"))
    );
    assert_eq!(settled(&house, get("/")).await.1, "c; hit; ttl=60");
    assert_eq!((upstream.calls(), house.exchange.figures().completed), (4, 1));
}

#[tokio::test]
async fn parts_of_another_representation_are_never_combined() {
    for (first, then) in [("\"1\"", "\"2\""), ("W/\"1\"", "W/\"1\""), ("\"1\"", "W/\"1\"")] {
        let upstream = Upstream::new(move |index, forward| match index {
            0 => serve(forward, first, TEXT, 60),
            _ => serve(forward, then, "ABCDEFGHIJ0123456789", 60),
        });
        let house = House::new(&upstream);
        settled(&house, range("bytes=0-9")).await;
        let (status, _, body) = settled(&house, get("/")).await;
        assert_eq!((status, body.as_str()), (200, "ABCDEFGHIJ0123456789"), "{first} {then}");
        assert_eq!(settled(&house, range("bytes=0-3")).await.2, "ABCD");
    }
}

#[tokio::test]
async fn a_representation_that_changes_between_two_gaps_is_cut_not_mixed() {
    let text: &'static str = Box::leak(big().into_boxed_str());
    let upstream = Upstream::new(move |index, forward| serve(forward, if index < 3 { "\"1\"" } else { "\"2\"" }, text, 60));
    let house = House::new(&upstream);
    for wanted in ["bytes=1500000-1999999", "bytes=3000000-3000009"] {
        settled(&house, range(wanted)).await;
    }
    let answer = house.run(get("/"), START).await.unwrap();
    assert!(read(answer).await.is_err());
}

#[tokio::test]
async fn a_206_with_another_range_than_asked_is_an_error_and_not_stored() {
    for (content_range, length) in [
        ("bytes 5-9/20", "5"),
        ("bytes 4-9/20", "5"),
        ("bytes 4-10/20", "7"),
        ("bytes 4-9/9", "6"),
        ("bytes 9-4/20", "6"),
        ("bytes */20", "6"),
        ("pages 4-9/20", "6"),
        ("", "6"),
    ] {
        let upstream = Upstream::new(move |_, _| {
            let body = "x".repeat(length.parse().unwrap());
            let mut fields = vec![("cache-control", "max-age=60"), ("etag", "\"1\"")];
            if !content_range.is_empty() {
                fields.push(("content-range", content_range));
            }
            Reply::new(206, &fields, body)
        });
        let house = House::new(&upstream);
        for _ in 0..2 {
            assert!(house.run(range("bytes=4-9"), START).await.is_err(), "{content_range:?} {length}");
            house.settled().await;
        }
        assert_eq!(upstream.calls(), 2);
    }
    // Several parts in one body answer nobody who asked for one.
    let fields = [("content-type", "multipart/byteranges; boundary=x"), ("content-range", "bytes 4-9/20")];
    let house = House::new(&Upstream::always(Reply::new(206, &fields, "--x--")));
    assert!(house.run(range("bytes=4-9"), START).await.is_err());
}

#[tokio::test]
async fn a_part_shorter_than_it_says_is_fetched_on_or_cut() {
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-range", "bytes 4-9/20"), ("content-length", "6")];
    let upstream = Upstream::new(move |index, forward| match index {
        0 => Reply::new(206, &fields, "").steps(vec![Step::Send("456".into()), Step::Fail]),
        _ => serve(forward, "\"1\"", TEXT, 60),
    });
    let house = House::new(&upstream);
    assert_eq!(settled(&house, range("bytes=4-9")).await.2, "456789");
    assert_eq!(asked(&upstream, 1, "range").as_deref(), Some("bytes=7-9"));
    assert!(settled(&house, range("bytes=4-9")).await.1.contains("hit"));
    let long = Upstream::always(Reply::new(206, &fields, "").steps(vec![Step::Send("4567890".into())]));
    let answer = House::new(&long).run(range("bytes=4-9"), START).await.unwrap();
    assert!(read(answer).await.is_err());
}

#[tokio::test]
async fn an_origin_without_ranges_fills_the_whole() {
    let upstream = Upstream::always(Reply::new(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], TEXT));
    let house = House::new(&upstream);
    assert_eq!(settled(&house, range("bytes=4-9")).await, (206, "c; fwd=uri-miss; stored; ttl=60".to_owned(), "456789".to_owned()));
    assert_eq!(settled(&house, get("/")).await.1, "c; hit; ttl=60");
}

#[tokio::test]
async fn a_range_that_is_not_there_says_nothing_of_the_rest() {
    let upstream = Upstream::new(|index, forward| match index {
        0 => Reply::new(416, &[("content-range", "bytes */20")], ""),
        _ => serve(forward, "\"1\"", TEXT, 60),
    });
    let house = House::new(&upstream);
    assert_eq!(settled(&house, range("bytes=2000000-2000001")).await.0, 416);
    assert_eq!(settled(&house, get("/")).await.1, "c; fwd=uri-miss; stored; ttl=60", "the key is not remembered as uncacheable");
}

#[tokio::test]
async fn requests_for_one_range_share_its_fetch() {
    let head = gate();
    let upstream = Upstream::new({
        let head = head.clone();
        move |_, forward| serve(forward, "\"1\"", TEXT, 60).gated(&head)
    });
    let house = House::new(&upstream);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { house.ask(range("bytes=4-9"), START).await.2 })
        })
        .collect();
    super::house::until("the fetch", || upstream.calls() == 1).await;
    head.add_permits(1);
    for client in clients {
        assert_eq!(client.await.unwrap(), "456789");
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_range_far_behind_what_has_come_is_not_waited_for() {
    let middle = gate();
    let text: &'static str = Box::leak(big().into_boxed_str());
    let upstream = Upstream::new({
        let middle = middle.clone();
        move |index, forward| match index {
            0 => {
                let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-length", "4000000")];
                let steps = vec![Step::Send(text[..1000].into()), Step::Gate(middle.clone()), Step::Send(text[1000..].into())];
                Reply::new(200, &fields, "").steps(steps)
            }
            _ => serve(forward, "\"1\"", text, 60).at(seconds(1)),
        }
    });
    let house = House::new(&upstream);
    let whole = house.run(get("/"), START).await.unwrap();
    let far = house.run(range("bytes=3000000-3000009"), START).await.unwrap();
    assert_eq!(read(far).await.unwrap(), "000300000;"[..].as_bytes());
    assert_eq!(asked(&upstream, 1, "range").as_deref(), Some("bytes=3000000-3000009"));
    middle.add_permits(1);
    assert_eq!(read(whole).await.unwrap().len(), 4_000_000);
    house.settled().await;
    assert_eq!(settled(&house, range("bytes=5-6")).await.1, "c; hit; ttl=60", "the whole stays");
}

#[tokio::test]
async fn what_came_of_a_body_that_was_cut_is_not_asked_for_again() {
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-length", "20")];
    let upstream = Upstream::new(move |index, forward| match index {
        0 => Reply::new(200, &fields, "").steps(vec![Step::Send("01234".into()), Step::Fail]),
        1..=3 => Reply::error(crate::fetch::FetchErrorKind::Connect),
        _ => serve(forward, "\"1\"", TEXT, 60),
    });
    let house = House::new(&upstream);
    let cut = house.run(get("/"), START).await.unwrap();
    assert!(read(cut).await.is_err());
    house.settled().await;
    assert_eq!(settled(&house, range("bytes=1-3")).await, (206, "c; hit; ttl=60".to_owned(), "123".to_owned()));
    assert_eq!(settled(&house, get("/")).await, (200, "c; fwd=partial; stored; ttl=60".to_owned(), TEXT.to_owned()));
    assert_eq!(asked(&upstream, 4, "range").as_deref(), Some("bytes=5-19"));
}

#[tokio::test]
async fn a_stale_part_is_fetched_again_and_covers_an_error() {
    let upstream = Upstream::new(|index, forward| match index {
        0 => {
            let fields = [("cache-control", "max-age=60, stale-if-error=100"), ("etag", "\"1\""), ("content-range", "bytes 4-9/2000000")];
            Reply::new(206, &fields, "456789")
        }
        1 => Reply::error(crate::fetch::FetchErrorKind::Connect),
        _ => serve(forward, "\"2\"", TEXT, 60).at(seconds(100)),
    });
    let house = House::new(&upstream);
    settled(&house, range("bytes=4-9")).await;
    let (status, cache_status, body) = house.ask(range("bytes=5-6"), seconds(70)).await;
    assert_eq!((status, &body[..]), (206, &b"56"[..]));
    assert_eq!(cache_status, "c; fwd=stale; ttl=-10; detail=connect-failed");
    house.settled().await;
    assert_eq!(house.ask(range("bytes=5-6"), seconds(200)).await.2, "56");
}

#[tokio::test]
async fn if_range_is_judged_against_what_the_part_belongs_to() {
    let upstream = origin("\"1\"");
    let house = House::new(&upstream);
    let ask = |tag: &'static str| get_with("/", &[("range", "bytes=4-9"), ("if-range", tag)]);
    assert_eq!(settled(&house, ask("\"1\"")).await.2, "456789");
    assert_eq!(asked(&upstream, 0, "if-range"), None);
    assert!(settled(&house, ask("\"1\"")).await.1.contains("hit"));
    let (status, _, body) = settled(&house, ask("\"0\"")).await;
    assert_eq!((status, body.as_str()), (200, TEXT));
}

#[tokio::test]
async fn rfc9110_14_6_several_ranges_are_one_multipart_answer() {
    let upstream = origin("\"1\"");
    let house = House::new(&upstream);
    for expected in ["c; fwd=uri-miss; stored; ttl=60", "c; hit; ttl=60"] {
        let answer = house.run(range("bytes=-2,0-1,5-6"), START).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.status_of_cache.render("c").to_str().unwrap()), (206, expected));
        let content_type = answer.field("content-type").unwrap().to_owned();
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
        assert_eq!(answer.field("content-range"), None);
        let length: usize = answer.field("content-length").unwrap().parse().unwrap();
        let part = |range: &str, text: &str| {
            format!("\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/20\r\n\r\n{text}")
        };
        let body = read(answer).await.unwrap();
        assert_eq!(body.len(), length);
        assert_eq!(body, format!("{}{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("5-6", "56"), part("18-19", "ij")));
        house.settled().await;
    }
    assert_eq!(settled(&house, range("bytes=0-1,30-40")).await.2, "01", "one of them is there");
    assert_eq!(settled(&house, range("bytes=30-40,50-60")).await.0, 416);
    let many = (0..40).map(|at| format!("{0}-{0}", at % 20)).collect::<Vec<_>>().join(",");
    assert_eq!(settled(&house, range(&format!("bytes={many}"))).await.0, 200, "too many");
}

#[tokio::test]
async fn parts_of_too_large_a_whole_are_kept_and_too_large_parts_are_not() {
    let upstream = origin_of_big();
    let house = House::with(&upstream, policy(), Bounds { memory: 64 << 20, object_max: 1 << 20, filling_max: 64 << 20 });
    settled(&house, range("bytes=2000000-2000009")).await;
    assert!(settled(&house, range("bytes=2000000-2000009")).await.1.contains("hit"));
    let (status, cache_status, body) = settled(&house, range("bytes=2000000-3999999")).await;
    assert_eq!((status, body.len(), cache_status.contains("too-large")), (206, 2_000_000, true), "{cache_status}");
}

#[tokio::test]
async fn a_purge_takes_parts_too() {
    let upstream = origin("\"1\"");
    let house = House::new(&upstream);
    settled(&house, range("bytes=4-9")).await;
    let targets = skerry_config::purge::Targets { all: true, ..Default::default() };
    house.exchange.purge(&[skerry_config::purge::Purge { seq: 1, targets }], &skerry_config::snapshot::Snapshot::default());
    let (_, cache_status, _) = settled(&house, range("bytes=4-9")).await;
    assert_eq!(cache_status, "c; fwd=uri-miss; stored; ttl=60; detail=purged");
    house.exchange.invalidate(&get("/"), &house.policy, &headers(&[]));
    assert!(!settled(&house, range("bytes=4-9")).await.1.contains("hit"));
}
