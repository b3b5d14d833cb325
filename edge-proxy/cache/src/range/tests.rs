//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

use super::{Asked, ContentRange, RANGES_MAX, Wanted, Why, asked, content_range, wanted};

/// One part.
#[expect(non_snake_case, reason = "reads as the variant in the tables")]
fn Part(start: u64, end: u64) -> Asked {
    Asked::Parts(vec![(start, end)])
}

fn range(value: &str, length: u64) -> Asked {
    let mut request = HeaderMap::new();
    request.insert(header::RANGE, HeaderValue::from_str(value).unwrap());
    asked(&request, &HeaderMap::new(), length)
}

#[test]
fn rfc9110_14_1_2_byte_ranges() {
    use Asked::{Unsatisfiable, Whole};
    for (value, length, expected) in [
        ("bytes=0-0", 10, Part(0, 1)),
        ("bytes=0-9", 10, Part(0, 10)),
        ("Bytes=0-99", 10, Part(0, 10)),
        ("bytes= 3-4 ", 10, Part(3, 5)),
        ("bytes=9-", 10, Part(9, 10)),
        ("bytes=-1", 10, Part(9, 10)),
        ("bytes=-99", 10, Part(0, 10)),
        ("bytes=0-99999999999999999999999", 10, Part(0, 10)),
        ("bytes=10-", 10, Unsatisfiable),
        ("bytes=99999999999999999999999-", 10, Unsatisfiable),
        ("bytes=-0", 10, Unsatisfiable),
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=-5", 0, Unsatisfiable),
        ("bytes=4-3", 10, Whole),
        ("bytes=a-b", 10, Whole),
        ("bytes=-", 10, Whole),
        ("bytes=", 10, Whole),
        ("bytes=1", 10, Whole),
        ("bytes", 10, Whole),
        ("items=0-1", 10, Whole),
        ("bytes=0-1,2-3", 10, Part(0, 4)),
        ("bytes=0--1", 10, Whole),
    ] {
        assert_eq!(range(value, length), expected, "{value} of {length}");
    }
}

#[test]
fn rfc9110_14_2_several_ranges() {
    let parts = |parts: &[(u64, u64)]| Asked::Parts(parts.to_vec());
    for (value, length, expected) in [
        ("bytes=0-1,4-5", 10, parts(&[(0, 2), (4, 6)])),
        ("bytes=8-9 , 0-1,", 10, parts(&[(8, 10), (0, 2)])),
        ("bytes=0-0,-1", 10, parts(&[(0, 1), (9, 10)])),
        // Those that nothing satisfies are left out.
        ("bytes=0-1,20-30,-0", 10, parts(&[(0, 2)])),
        ("bytes=20-,30-", 10, Asked::Unsatisfiable),
        // What overlaps or adjoins becomes one, in the place of the first.
        ("bytes=8-9,0-3,2-5", 10, parts(&[(8, 10), (0, 6)])),
        ("bytes=0-1,4-5,2-3", 10, parts(&[(0, 6)])),
        ("bytes=2-3,6-7,4-5", 10, parts(&[(2, 8)])),
        // More than the whole, or more than two that overlap.
        ("bytes=0-,0-0", 10, Asked::Whole),
        ("bytes=0-,-1", 10, Asked::Whole),
        ("bytes=0-1,1-2,2-3", 10, Asked::Whole),
        // One that is malformed spoils the set.
        ("bytes=0-1,x", 10, Asked::Whole),
        ("bytes=0-1,5-4", 10, Asked::Whole),
        ("bytes=0-1;2-3", 10, Asked::Whole),
        ("bytes=,", 10, Asked::Whole),
    ] {
        assert_eq!(range(value, length), expected, "{value} of {length}");
    }
}

#[test]
fn rfc9110_14_2_many_small_ranges_are_not_worth_it() {
    let many = |count: usize| format!("bytes={}", (0..count).map(|at| format!("{0}-{0}", at * 2)).collect::<Vec<_>>().join(","));
    assert!(matches!(range(&many(RANGES_MAX), 1_000), Asked::Parts(parts) if parts.len() == RANGES_MAX));
    assert_eq!(range(&many(RANGES_MAX + 1), 1_000), Asked::Whole);
    assert_eq!(range(&many(5_000), 1_000_000), Asked::Whole);
}

#[test]
fn rfc9110_14_2_several_range_lines_are_ignored() {
    let mut request = HeaderMap::new();
    request.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    request.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!(asked(&request, &HeaderMap::new(), 10), Asked::Whole);
    assert_eq!(wanted(&request), None);
}

fn want(value: &str) -> Option<Wanted> {
    let mut request = HeaderMap::new();
    request.insert(header::RANGE, HeaderValue::from_str(value).unwrap());
    wanted(&request)
}

#[test]
fn rfc9110_14_1_2_what_one_range_wants() {
    for (value, expected) in [
        ("bytes=0-4", Some(Wanted::From { first: 0, last: Some(4) })),
        ("BYTES= 3- ", Some(Wanted::From { first: 3, last: None })),
        ("bytes=-5", Some(Wanted::Suffix(5))),
        ("bytes=0-1,3-4", None),
        ("bytes=4-3", None),
        ("bytes=", None),
        ("bytes", None),
        ("items=0-1", None),
        ("bytes=0x1-2", None),
    ] {
        assert_eq!(want(value), expected, "{value}");
    }
    assert_eq!(wanted(&HeaderMap::new()), None);
}

#[test]
fn rfc9110_14_4_content_range() {
    let of = |lines: &[&str], media_type: Option<&str>| {
        let mut response = HeaderMap::new();
        for line in lines {
            response.append(header::CONTENT_RANGE, HeaderValue::from_str(line).unwrap());
        }
        if let Some(media_type) = media_type {
            response.insert(header::CONTENT_TYPE, HeaderValue::from_str(media_type).unwrap());
        }
        content_range(&response)
    };
    let part = |start, end, total| Ok(ContentRange { start, end, total });
    for (line, expected) in [
        ("bytes 0-4/10", part(0, 5, Some(10))),
        ("Bytes 9-9/10", part(9, 10, Some(10))),
        ("bytes 2-4/*", part(2, 5, None)),
        ("bytes 0-10/10", Err(Why::Malformed)),
        ("bytes 5-4/10", Err(Why::Malformed)),
        ("bytes */10", Err(Why::Malformed)),
        ("bytes 0-4", Err(Why::Malformed)),
        ("bytes=0-4/10", Err(Why::Malformed)),
        ("bytes -4/10", Err(Why::Malformed)),
        ("bytes 0-/10", Err(Why::Malformed)),
        ("bytes 0-4/x", Err(Why::Malformed)),
        ("bytes 0-4/", Err(Why::Malformed)),
        ("bytes 0-18446744073709551615/*", Err(Why::Malformed)),
        ("bytes 0-99999999999999999999999/*", Err(Why::Malformed)),
        ("bytes 0-4/10, bytes 5-9/10", Err(Why::Malformed)),
        ("items 0-4/10", Err(Why::Unit)),
        ("", Err(Why::Malformed)),
    ] {
        assert_eq!(of(&[line], None), expected, "{line}");
    }
    assert_eq!(of(&[], None), Err(Why::Absent));
    assert_eq!(of(&["bytes 0-4/10", "bytes 0-4/10"], None), Err(Why::Repeated));
    assert_eq!(of(&["bytes 0-4/10"], Some("Multipart/Byteranges; boundary=x")), Err(Why::Multipart));
}

#[test]
fn rfc9110_15_3_7_a_part_answers_what_was_asked() {
    for (value, start, end, total, expected) in [
        ("bytes=0-4", 0, 5, Some(10), true),
        ("bytes=0-4", 0, 3, Some(10), true),
        ("bytes=0-40", 0, 10, Some(10), true),
        ("bytes=0-4", 0, 6, Some(10), false),
        ("bytes=0-4", 1, 5, Some(10), false),
        ("bytes=3-", 3, 10, Some(10), true),
        ("bytes=3-", 3, 8, None, true),
        ("bytes=3-", 2, 10, Some(10), false),
        ("bytes=-5", 5, 10, Some(10), true),
        ("bytes=-50", 0, 10, Some(10), true),
        ("bytes=-5", 4, 10, Some(10), false),
        ("bytes=-5", 5, 9, Some(10), false),
        ("bytes=-5", 5, 10, None, false),
    ] {
        let part = ContentRange { start, end, total };
        assert_eq!(part.answers(&want(value).unwrap()), expected, "{value} {part:?}");
    }
}

#[test]
fn rfc9110_13_1_5_several_conditions_hold_never() {
    let mut request = HeaderMap::new();
    request.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    request.append(header::IF_RANGE, HeaderValue::from_static("\"1\""));
    let mut response = HeaderMap::new();
    response.insert(header::ETAG, HeaderValue::from_static("\"1\""));
    assert_eq!(asked(&request, &response, 10), Part(0, 2));
    request.append(header::IF_RANGE, HeaderValue::from_static("\"1\""));
    assert_eq!(asked(&request, &response, 10), Asked::Whole);
}

#[test]
fn rfc9110_13_1_5_if_range() {
    let date = "Thu, 01 Jan 2026 00:00:00 GMT";
    let later = "Thu, 01 Jan 2026 00:00:01 GMT";
    for (etag, modified, made, condition, holds) in [
        ("\"1\"", date, later, "\"1\"", true),
        ("\"1\"", date, later, "\"2\"", false),
        ("W/\"1\"", date, later, "W/\"1\"", false),
        ("W/\"1\"", date, later, "\"1\"", false),
        ("\"1\"", date, later, date, true),
        ("\"1\"", date, date, date, false),
        ("\"1\"", date, later, later, false),
        ("\"1\"", date, later, "nonsense", false),
    ] {
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        request.insert(header::IF_RANGE, HeaderValue::from_str(condition).unwrap());
        let mut response = HeaderMap::new();
        response.insert(header::ETAG, HeaderValue::from_str(etag).unwrap());
        response.insert(header::LAST_MODIFIED, HeaderValue::from_str(modified).unwrap());
        response.insert(header::DATE, HeaderValue::from_str(made).unwrap());
        let expected = if holds { Part(0, 2) } else { Asked::Whole };
        assert_eq!(asked(&request, &response, 10), expected, "{etag} {made} {condition}");
    }
}

proptest! {
    /// Parts are inside the response, not empty, apart from each other, and together no more than the whole.
    #[test]
    fn parts_are_inside_and_apart(value in "bytes=([0-9]{0,3}-[0-9]{0,3},?){1,6}", length in 0..1_000_u64) {
        if let Asked::Parts(parts) = range(&value, length) {
            prop_assert!(!parts.is_empty() && parts.iter().all(|(start, end)| start < end && *end <= length));
            for (at, one) in parts.iter().enumerate() {
                prop_assert!(parts[at + 1..].iter().all(|other| one.1 < other.0 || other.1 < one.0));
            }
        }
    }

    /// A single range, read before and after the length is known, says the same.
    #[test]
    fn what_is_wanted_is_what_is_sent(value in "bytes=[0-9]{0,20}-[0-9]{0,20}", length in 0..1_000_u64) {
        let expected = match want(&value) {
            None => Asked::Whole,
            Some(wanted) => wanted.within(length).map_or(Asked::Unsatisfiable, |(start, end)| Part(start, end)),
        };
        if let Asked::Parts(parts) = &expected {
            let part = ContentRange { start: parts[0].0, end: parts[0].1, total: Some(length) };
            prop_assert!(part.answers(&want(&value).unwrap()));
        }
        prop_assert_eq!(range(&value, length), expected);
    }

    #[test]
    fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..40), text in "bytes [0-9*]{0,21}-?[0-9]{0,21}/?[0-9*]{0,21}", length in any::<u64>()) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(header::RANGE, value.clone());
            headers.insert(header::IF_RANGE, value);
        }
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&text).unwrap());
        let _ = asked(&headers, &headers, length);
        if let (Some(wanted), Ok(part)) = (wanted(&headers), content_range(&headers)) {
            let _ = part.answers(&wanted);
        }
    }
}
