//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{confirms, is_not_modified, updated, validate};

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
const LATER: &str = "Thu, 01 Jan 2026 00:00:01 GMT";

#[test]
fn rfc9110_13_1_2_if_none_match_compares_weakly() {
    for (condition, etag, expected) in [
        ("\"1\"", Some("\"1\""), true),
        ("W/\"1\"", Some("\"1\""), true),
        ("\"1\"", Some("W/\"1\""), true),
        ("\"0\" , \"1\"", Some("\"1\""), true),
        ("\"a,b\"", Some("\"a,b\""), true),
        ("*", Some("\"1\""), true),
        ("*", None, true),
        ("\"2\"", Some("\"1\""), false),
        ("1", Some("\"1\""), false),
        ("\"1\"", None, false),
        ("", Some("\"1\""), false),
    ] {
        let response = headers(&etag.map(|etag| ("etag", etag)).into_iter().collect::<Vec<_>>());
        assert_eq!(is_not_modified(&headers(&[("if-none-match", condition)]), &response), expected, "{condition} {etag:?}");
    }
}

#[test]
fn rfc9110_13_1_3_if_modified_since() {
    let modified = headers(&[("last-modified", DATE)]);
    assert!(is_not_modified(&headers(&[("if-modified-since", DATE)]), &modified));
    assert!(is_not_modified(&headers(&[("if-modified-since", LATER)]), &modified));
    assert!(!is_not_modified(&headers(&[("if-modified-since", DATE)]), &headers(&[("last-modified", LATER)])));
    assert!(!is_not_modified(&headers(&[("if-modified-since", "never")]), &modified));
    assert!(is_not_modified(&headers(&[("if-modified-since", DATE)]), &headers(&[("date", DATE)])), "RFC 9111 section 4.3.2");
    assert!(!is_not_modified(&headers(&[("if-modified-since", DATE), ("if-none-match", "\"2\"")]), &modified), "section 13.2.2");
}

#[test]
fn rfc9111_4_3_1_both_validators_are_sent() {
    let mut request = HeaderMap::new();
    validate(&mut request, &headers(&[("etag", "W/\"1\""), ("last-modified", DATE)]));
    assert_eq!(request, headers(&[("if-none-match", "W/\"1\""), ("if-modified-since", DATE)]));
}

#[test]
fn rfc9111_4_3_4_a_304_is_about_the_response_whose_validators_it_names() {
    let stored = headers(&[("etag", "\"1\""), ("last-modified", DATE)]);
    for (fields, expected) in [
        (vec![], true),
        (vec![("etag", "\"1\"")], true),
        (vec![("etag", "W/\"1\"")], true),
        (vec![("etag", "\"2\"")], false),
        (vec![("last-modified", DATE)], true),
        (vec![("last-modified", LATER)], false),
        (vec![("etag", "\"1\""), ("last-modified", LATER)], true),
    ] {
        assert_eq!(confirms(&headers(&fields), &stored), expected, "{fields:?}");
    }
}

#[test]
fn rfc9111_3_2_a_304_updates_all_fields_but_those_about_the_bytes() {
    let stored =
        headers(&[("x", "1"), ("x", "2"), ("y", "1"), ("age", "9"), ("content-length", "3"), ("content-encoding", "gzip"), ("date", DATE)]);
    let from = headers(&[
        ("x", "3"),
        ("z", "1"),
        ("z", "2"),
        ("content-length", "0"),
        ("content-encoding", "br"),
        ("content-type", "a/b"),
        ("date", LATER),
    ]);
    let expected =
        headers(&[("x", "3"), ("y", "1"), ("z", "1"), ("z", "2"), ("content-length", "3"), ("content-encoding", "gzip"), ("date", LATER)]);
    assert_eq!(updated(&stored, &from), expected);
}
