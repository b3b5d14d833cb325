//! Section 4.2: how long an answer is fresh, how old it is, and when it may be served stale.

use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use super::super::house::{Reply, START, Upstream, get, policy, seconds};
use super::{DATE, Fields, How, TEN_DAYS_BEFORE, again, ask, date, down, house, twice};

/// Whether an answer with these fields is still reused at this second.
async fn is_reused(status: u16, fields: &[(&'static str, &str)], at: u64) -> bool {
    let fields: Vec<_> = fields.iter().copied().chain([("etag", "\"1\"")]).collect();
    twice(Reply::new(status, &fields, "stored"), get("/"), seconds(at)).await.how == How::Reused
}

const IN_A_MINUTE: &str = "Thu, 01 Jan 2026 00:01:00 GMT";

#[tokio::test]
async fn section_4_2_a_date_in_another_zone_than_gmt_is_invalid() {
    for expires in
        ["Thu, 01 Jan 2026 09:00:00 EST", "Thu, 01 Jan 2026 09:00:00 UTC", "Thu, 01 Jan 2026 09:00:00 +0000", "Thu, 01 Jan 2026 09:00:00"]
    {
        assert!(!is_reused(200, &[("date", DATE), ("expires", expires)], 0).await, "{expires}");
    }
}

#[tokio::test]
async fn section_4_2_all_three_forms_of_a_date_are_read_as_utc() {
    for expires in [IN_A_MINUTE, "Thursday, 01-Jan-26 00:01:00 GMT", "Thu Jan  1 00:01:00 2026"] {
        assert!(is_reused(200, &[("date", DATE), ("expires", expires)], 59).await, "{expires}");
        assert!(!is_reused(200, &[("date", DATE), ("expires", expires)], 60).await, "{expires}");
    }
}

#[tokio::test]
async fn section_4_2_time_is_finer_than_a_date_and_never_later() {
    // Between 59 and 60 s there is time left; at 60 s there is none, however fine the clock.
    let fields = [("date", DATE), ("expires", IN_A_MINUTE), ("etag", "\"1\"")];
    for (millis, how) in [(59_999, How::Reused), (60_000, How::Validated)] {
        let at = START.plus(std::time::Duration::from_millis(millis));
        assert_eq!(twice(Reply::new(200, &fields, "stored"), get("/"), at).await.how, how, "{millis} ms");
    }
}

#[tokio::test]
async fn section_4_2_1_the_first_source_of_a_lifetime_counts() {
    // The lifetime in seconds: reused a second before it, not at it. 0: never.
    let rows: &[(Fields, u64)] = &[
        (&[("cache-control", "s-maxage=10, max-age=20"), ("expires", IN_A_MINUTE)], 10),
        (&[("cache-control", "max-age=20, s-maxage=10"), ("expires", IN_A_MINUTE)], 10),
        (&[("cache-control", "max-age=1, s-maxage=10")], 10),
        (&[("cache-control", "max-age=20"), ("expires", IN_A_MINUTE)], 20),
        (&[("cache-control", "max-age=20"), ("expires", "0")], 20),
        (&[("cache-control", "max-age=20"), ("expires", TEN_DAYS_BEFORE)], 20),
        (&[("expires", IN_A_MINUTE)], 60),
        (&[("cache-control", "public"), ("expires", IN_A_MINUTE)], 60),
        (&[("expires", TEN_DAYS_BEFORE)], 0),
        (&[("expires", DATE)], 0),
        (&[("cache-control", "max-age=0"), ("expires", IN_A_MINUTE)], 0),
        (&[("cache-control", "s-maxage=0, max-age=20"), ("expires", IN_A_MINUTE)], 0),
    ];
    for (fields, lifetime) in rows {
        let fields: Vec<_> = fields.iter().copied().chain([("date", DATE)]).collect();
        assert!(!is_reused(200, &fields, *lifetime).await, "{fields:?} at its end");
        if *lifetime > 0 {
            assert!(is_reused(200, &fields, lifetime - 1).await, "{fields:?} before its end");
        }
    }
}

#[tokio::test]
async fn section_4_2_1_expires_counts_from_date_and_from_arrival_without_one() {
    // The origin's clock is an hour behind: ours does not count. Its answer is an hour old by its `Date`, though.
    let behind = [("date", &date(-3_600)[..]), ("expires", &date(-3_600 + 7_200)[..])];
    assert!(is_reused(200, &behind, 3_599).await);
    assert!(!is_reused(200, &behind, 3_600).await);
    assert!(is_reused(200, &[("expires", IN_A_MINUTE)], 59).await);
    assert!(!is_reused(200, &[("expires", IN_A_MINUTE)], 60).await);
}

#[tokio::test]
async fn section_4_2_1_duplicates_and_contradictions_make_nothing_fresher() {
    let rows: &[(Fields, u64)] = &[
        (&[("cache-control", "max-age=10, max-age=20")], 10),
        (&[("cache-control", "max-age=20, max-age=10")], 20),
        (&[("cache-control", "max-age=10"), ("cache-control", "max-age=20")], 10),
        (&[("expires", "Thu, 01 Jan 2026 00:00:10 GMT"), ("expires", IN_A_MINUTE)], 10),
        (&[("cache-control", "max-age=60, no-cache")], 0),
        (&[("cache-control", "no-cache, public, s-maxage=60")], 0),
        (&[("cache-control", "max-age=ten")], 0),
        (&[("cache-control", "max-age=-1")], 0),
        (&[("cache-control", "max-age=1.5")], 0),
        (&[("cache-control", "max-age=")], 0),
        (&[("cache-control", "max-age")], 0),
        (&[("cache-control", "max-age=0x10")], 0),
        (&[("cache-control", "s-maxage=ten, max-age=60")], 0),
    ];
    for (fields, first) in rows {
        // The first value, or stale from the start: the standard allows both.
        assert!(!is_reused(200, fields, *first).await, "{fields:?} at {first} s");
    }
}

#[tokio::test]
async fn section_4_2_1_lifetimes_beyond_all_measure_are_long_and_do_not_overflow() {
    for control in ["max-age=2147483648", "max-age=4294967296", "max-age=99999999999999999999999", "s-maxage=18446744073709551616"] {
        assert!(is_reused(200, &[("cache-control", control)], 1_000_000_000).await, "{control}");
    }
}

#[tokio::test]
async fn section_4_2_2_a_heuristic_is_a_share_of_the_time_since_the_last_change() {
    let changed = [("date", DATE), ("last-modified", TEN_DAYS_BEFORE)];
    assert!(is_reused(200, &changed, 86_399).await);
    assert!(!is_reused(200, &changed, 86_400).await);
    assert!(!is_reused(200, &[("date", DATE)], 0).await, "without Last-Modified there is no heuristic");
    assert!(!is_reused(200, &[("date", DATE), ("last-modified", "yesterday")], 0).await);
    assert!(!is_reused(200, &[("date", DATE), ("last-modified", IN_A_MINUTE)], 0).await, "changed after it was sent");
}

#[tokio::test]
async fn section_4_2_2_no_heuristic_where_an_expiration_time_is_given() {
    for fields in [
        [("cache-control", "max-age=0")],
        [("cache-control", "s-maxage=0")],
        [("expires", "0")],
        [("expires", DATE)],
        [("cache-control", "max-age=x")],
    ] {
        let fields: Vec<_> = fields.into_iter().chain([("date", DATE), ("last-modified", TEN_DAYS_BEFORE)]).collect();
        assert!(!is_reused(200, &fields, 1).await, "{fields:?}");
    }
}

#[tokio::test]
async fn section_4_2_2_only_statuses_that_are_heuristically_cacheable_or_public() {
    let changed = [("date", DATE), ("last-modified", TEN_DAYS_BEFORE)];
    let public: Vec<_> = changed.into_iter().chain([("cache-control", "public")]).collect();
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert!(is_reused(status, &changed, 10).await, "{status}");
    }
    for status in [201, 202, 302, 303, 307, 400, 403, 429, 500, 502, 503, 504, 599] {
        assert!(!is_reused(status, &changed, 0).await, "{status}");
        assert!(is_reused(status, &public, 10).await, "{status} public");
    }
}

#[tokio::test]
async fn section_4_2_3_age_is_the_larger_of_what_date_and_age_say_and_counts_from_the_request() {
    // Date, Age, asked for so many seconds before the answer; the age at arrival.
    let rows: &[(i64, Option<&str>, u64, u64)] = &[
        (0, None, 0, 0),
        (0, Some("5"), 0, 5),
        (-7, Some("5"), 0, 7),
        (-3, Some("5"), 0, 5),
        (0, Some("5"), 4, 9),
        (0, None, 4, 4),
        (-2, Some("5"), 4, 9),
        (-7, Some("5"), 4, 11),
        (-30, None, 4, 34),
        // A clock that is ahead makes no answer younger than it is.
        (600, Some("5"), 0, 5),
        (600, None, 4, 4),
    ];
    for (date_at, age, delay, initial) in rows {
        let date = date(*date_at);
        let mut fields = vec![("date", &date[..]), ("cache-control", "max-age=100")];
        fields.extend(age.map(|age| ("age", age)));
        let reply = Reply::new(200, &fields, "stored").asked_at(START).at(seconds(*delay));
        for resident in [0, 13] {
            let seen = twice(reply.clone(), get("/"), seconds(delay + resident)).await;
            let expected = (initial + resident).to_string();
            assert_eq!((seen.how, seen.field("age")), (How::Reused, Some(&expected[..])), "{date_at} {age:?} {delay} {resident}");
        }
        let end = seconds(delay + 100 - initial);
        assert_eq!(twice(reply, get("/"), end).await.how, How::Fetched, "{date_at} {age:?} {delay}");
    }
}

#[tokio::test]
async fn section_4_2_3_an_age_beyond_all_measure_is_old() {
    for age in ["2147483648", "4294967296", "99999999999999999999999"] {
        assert!(!is_reused(200, &[("cache-control", "max-age=2147483000"), ("age", age)], 0).await, "{age}");
    }
}

#[tokio::test]
async fn section_4_2_3_a_validated_answer_is_as_old_as_its_validation() {
    let upstream = Upstream::new(|index, _| match index {
        0 => Reply::new(200, &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("date", DATE), ("age", "3")], "stored"),
        _ => Reply::new(304, &[("etag", "\"1\""), ("date", &date(20))], "").at(seconds(20)),
    });
    let house = house(&upstream, policy());
    ask(&house, get("/"), START).await;
    assert_eq!(ask(&house, get("/"), seconds(20)).await.how, How::Validated);
    let seen = ask(&house, get("/"), seconds(25)).await;
    assert_eq!((seen.how, seen.field("age")), (How::Reused, Some("5")));
}

/// A site that allows both windows where the origin says nothing.
fn lenient() -> Policy {
    Policy { default_stale_while_revalidate: Period::from_secs(600), default_stale_if_error: Period::from_secs(600), ..policy() }
}

#[tokio::test]
async fn section_4_2_4_nothing_stale_is_sent_where_the_origin_forbids_it() {
    let rows: &[(&str, bool)] = &[
        ("max-age=10", true),
        ("max-age=10, must-revalidate", false),
        ("max-age=10, proxy-revalidate", false),
        ("max-age=10, no-cache", false),
        ("s-maxage=10", false),
        ("max-age=60, s-maxage=10", false),
        ("max-age=10, stale-if-error=600, must-revalidate", false),
        ("max-age=10, stale-while-revalidate=600, no-cache", false),
    ];
    for (control, allowed) in rows {
        let fields = [("cache-control", *control), ("etag", "\"1\"")];
        let first = Reply::new(200, &fields, "stored");
        let upstream = Upstream::new(move |index, _| if index == 0 { first.clone() } else { down() });
        let house = house(&upstream, lenient());
        ask(&house, get("/"), START).await;
        let seen = ask(&house, get("/"), seconds(20)).await;
        assert_eq!(seen.how != How::Failed, *allowed, "{control}: {seen:?}");
    }
}

#[tokio::test]
async fn section_4_2_4_nothing_stale_is_sent_unless_somebody_allows_it() {
    // Neither the origin nor the site says a word: an origin that is down is an error, not an old answer.
    let first = Reply::new(200, &[("cache-control", "max-age=10"), ("etag", "\"1\"")], "stored");
    let upstream = Upstream::new(move |index, _| if index == 0 { first.clone() } else { down() });
    let house = house(&upstream, policy());
    ask(&house, get("/"), START).await;
    assert_eq!(ask(&house, get("/"), seconds(9)).await.how, How::Reused);
    assert_eq!(ask(&house, get("/"), seconds(10)).await.how, How::Failed);
}

#[tokio::test]
async fn section_4_2_4_a_stale_answer_is_asked_about_first() {
    let reply = Reply::new(200, &[("cache-control", "max-age=10"), ("etag", "\"1\"")], "stored");
    let seen = again(policy(), reply, get("/"), get("/"), seconds(10)).await;
    assert_eq!((seen.how, &seen.body[..]), (How::Validated, &b"other"[..]));
}

#[tokio::test]
async fn section_4_2_dates_are_read_whatever_their_case() {
    for expires in
        ["thu, 01 jan 2026 00:01:00 gmt", "THU, 01 JAN 2026 00:01:00 GMT", "THURSDAY, 01-jan-26 00:01:00 Gmt", "thu jan  1 00:01:00 2026"]
    {
        assert!(is_reused(200, &[("date", "thu, 01 jan 2026 00:00:00 gmt"), ("expires", expires)], 59).await, "{expires}");
        assert!(!is_reused(200, &[("date", DATE), ("expires", expires)], 60).await, "{expires}");
    }
}
