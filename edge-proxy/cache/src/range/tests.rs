//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

use super::{Asked, asked};

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
    #[test]
    fn a_part_is_never_empty_nor_beyond_the_end(value in "bytes=[0-9]{0,20}-[0-9]{0,20}", length in 0..1_000_u64) {
        if let Asked::Parts(parts) = range(&value, length) {
            for (start, end) in parts {
                prop_assert!(start < end && end <= length);
            }
        }
    }

    #[test]
    fn nothing_panics(value in "[ -~]{0,30}", length in any::<u64>()) {
        let _ = range(&value, length);
    }
}
