//! Bodies that end early and are fetched on from there.

use super::house::{House, Reply, START, Step, Upstream, get, get_with, read};
use crate::fetch::FetchErrorKind;

const WHOLE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-length", "10")];

/// `0123`, then nothing.
fn cut() -> Reply {
    Reply::new(200, WHOLE, "").steps(vec![Step::Send("0123".into()), Step::Fail])
}

fn rest(etag: &str, range: &str, body: &'static str) -> Reply {
    Reply::new(206, &[("etag", etag), ("content-range", range)], body)
}

#[tokio::test]
async fn a_body_cut_short_is_fetched_on_from_there_and_stored() {
    let upstream = Upstream::new(|index, _| match index {
        0 => cut(),
        1 => Reply::error(FetchErrorKind::Connect),
        2 => rest("\"1\"", "bytes 4-9/10", "").steps(vec![Step::Send("45".into()), Step::Fail]),
        _ => rest("\"1\"", "bytes 6-9/10", "6789"),
    });
    let house = House::new(&upstream);
    let (_, _, body) = house.ask(get_with("/", &[("if-none-match", "\"x\"")]), START).await;
    assert_eq!(body, "0123456789");
    let asked = |index: usize| {
        let headers = upstream.call(index).request.headers;
        (headers["range"].clone(), headers["if-range"].clone(), headers.contains_key("if-none-match"))
    };
    assert_eq!(asked(1), ("bytes=4-".parse().unwrap(), "\"1\"".parse().unwrap(), false));
    assert_eq!(asked(3).0, "bytes=6-");
    house.settled().await;
    assert_eq!(house.ask(get("/"), START).await, (200, "c; hit; ttl=60".to_owned(), "0123456789".into()));
    assert_eq!((upstream.calls(), house.exchange.figures().resumed), (4, 2));
}

#[tokio::test]
async fn what_is_not_the_very_same_is_not_appended() {
    for wrong in [
        rest("\"2\"", "bytes 4-9/10", "456789"),
        rest("W/\"1\"", "bytes 4-9/10", "456789"),
        rest("\"1\"", "bytes 3-9/10", "3456789"),
        rest("\"1\"", "bytes 4-10/11", "456789x"),
        Reply::new(200, WHOLE, "0123456789"),
        Reply::new(404, &[], ""),
    ] {
        let upstream = Upstream::new(move |index, _| if index == 0 { cut() } else { wrong.clone() });
        let house = House::new(&upstream);
        let answer = house.run(get("/"), START).await.unwrap();
        assert_eq!(read(answer).await.unwrap_err().kind, FetchErrorKind::Cut);
        house.settled().await;
        assert_eq!((upstream.calls(), house.exchange.figures().entries), (2, 0));
    }
}

#[tokio::test]
async fn a_body_is_fetched_on_three_times_at_most() {
    let upstream = Upstream::new(|index, _| if index == 0 { cut() } else { Reply::error(FetchErrorKind::Connect) });
    let house = House::new(&upstream);
    let answer = house.run(get("/"), START).await.unwrap();
    assert!(read(answer).await.is_err());
    assert_eq!(upstream.calls(), 4);
}
