//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue};

use proptest::prelude::*;

use super::{OURS, confirms, freshens_by_head, is_not_modified, not_modified, strip, updated, validate};

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
        ("*, \"2\"", Some("\"1\""), false),
        ("\"2\", *", Some("\"1\""), false),
        ("\"1", Some("\"1\""), false),
        ("\"a\\\", \"1\"", Some("\"1\""), true),
        ("w/\"1\"", Some("\"1\""), false),
        (",, \"1\" ,", Some("\"1\""), true),
    ] {
        let response = headers(&etag.map(|etag| ("etag", etag)).into_iter().collect::<Vec<_>>());
        assert_eq!(is_not_modified(&headers(&[("if-none-match", condition)]), &response), expected, "{condition} {etag:?}");
    }
}

#[test]
fn rfc9110_8_8_3_entity_tags_are_bytes() {
    let tag = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
    let (mut request, mut response) = (HeaderMap::new(), HeaderMap::new());
    request.insert("if-none-match", tag(b"\"\xfc\xff\""));
    response.insert("etag", tag(b"\"\xfc\xff\""));
    assert!(is_not_modified(&request, &response));
    response.insert("etag", tag(b"\"\xfc\xfe\""));
    assert!(!is_not_modified(&request, &response));
}

#[test]
fn rfc9110_13_1_2_several_lines_are_one_list() {
    let response = headers(&[("etag", "\"1\"")]);
    assert!(is_not_modified(&headers(&[("if-none-match", "\"0\""), ("if-none-match", "\"1\"")]), &response));
    assert!(!is_not_modified(&headers(&[("if-none-match", "*"), ("if-none-match", "\"2\"")]), &response));
}

#[test]
fn rfc9110_13_2_2_the_order_of_preconditions() {
    let stored = headers(&[("etag", "\"1\""), ("last-modified", LATER), ("date", LATER)]);
    for (condition, expected) in [
        // Step 3 decides alone where it is asked for.
        (vec![("if-none-match", "\"1\""), ("if-modified-since", DATE)], true),
        (vec![("if-none-match", "\"2\""), ("if-modified-since", LATER)], false),
        (vec![("if-none-match", ""), ("if-modified-since", LATER)], false),
        // Step 4.
        (vec![("if-modified-since", LATER)], true),
        // Step 5 comes after both: a range changes nothing here.
        (vec![("if-modified-since", LATER), ("range", "bytes=0-1"), ("if-range", "\"2\"")], true),
        // Steps 1 and 2 are the origin's.
        (vec![("if-match", "\"2\"")], false),
        (vec![("if-unmodified-since", DATE)], false),
        (vec![("if-match", "\"2\""), ("if-none-match", "\"1\"")], true),
    ] {
        assert_eq!(is_not_modified(&headers(&condition), &stored), expected, "{condition:?}");
    }
}

#[test]
fn rfc9111_4_3_2_if_match_and_if_unmodified_since_are_the_origins() {
    let mut request = headers(&[("if-match", "\"1\""), ("if-unmodified-since", DATE), ("expect", "100-continue"), ("accept", "x")]);
    assert!(!OURS.iter().any(|name| request.contains_key(name)), "a request with them is passed through as it is");
    strip(&mut request);
    assert_eq!(request, headers(&[("accept", "x")]), "what is fetched for everybody does not carry them");
}

#[test]
fn rfc9110_15_4_5_a_304_has_the_fields_of_the_200_but_those_about_its_body() {
    let stored = headers(&[
        ("cache-control", "max-age=5"),
        ("content-location", "/x"),
        ("date", DATE),
        ("etag", "\"1\""),
        ("expires", LATER),
        ("vary", "x"),
        ("content-length", "3"),
        ("content-type", "a/b"),
        ("content-encoding", "gzip"),
    ]);
    let sent = not_modified(&stored);
    assert_eq!(sent.len(), 7);
    assert_eq!(sent["content-type"], "a/b");
    assert!(["content-length", "content-encoding"].iter().all(|name| !sent.contains_key(*name)));
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
    assert!(!is_not_modified(&headers(&[("if-modified-since", DATE), ("if-modified-since", DATE)]), &modified), "more than one member");
    assert!(is_not_modified(&headers(&[("if-modified-since", "Thu Jan  1 00:00:00 2026")]), &modified), "any form of a date");
}

#[test]
fn rfc9111_4_3_1_both_validators_are_sent() {
    let mut request = HeaderMap::new();
    validate(&mut request, &headers(&[("etag", "W/\"1\""), ("last-modified", DATE)]));
    assert_eq!(request, headers(&[("if-none-match", "W/\"1\""), ("if-modified-since", DATE)]));
}

#[test]
fn rfc9111_4_3_4_a_304_is_about_the_response_whose_validators_it_names() {
    let strong = headers(&[("etag", "\"1\""), ("last-modified", DATE)]);
    let weak = headers(&[("etag", "W/\"1\""), ("last-modified", DATE)]);
    let dated = headers(&[("last-modified", DATE)]);
    for (stored, fields, expected) in [
        (&strong, vec![], true),
        (&strong, vec![("etag", "\"1\"")], true),
        (&strong, vec![("etag", "W/\"1\"")], true),
        (&strong, vec![("etag", "\"2\"")], false),
        (&strong, vec![("last-modified", DATE)], true),
        (&strong, vec![("last-modified", "Thu Jan  1 00:00:00 2026")], true),
        (&strong, vec![("last-modified", LATER)], false),
        (&strong, vec![("etag", "\"1\""), ("last-modified", LATER)], true),
        (&weak, vec![("etag", "W/\"1\"")], true),
        // A strong tag names exact bytes, which are not known to be the stored ones.
        (&weak, vec![("etag", "\"1\"")], false),
        (&dated, vec![("etag", "\"1\"")], false),
        (&dated, vec![("etag", "\"1\""), ("last-modified", DATE)], true),
        (&dated, vec![("etag", "W/\"1\""), ("last-modified", LATER)], false),
        (&dated, vec![], true),
        (&headers(&[("etag", "\"1\"")]), vec![("last-modified", DATE)], false),
        (&HeaderMap::new(), vec![], true),
    ] {
        assert_eq!(confirms(&headers(&fields), stored), expected, "{stored:?} {fields:?}");
    }
}

#[test]
fn rfc9111_4_3_5_a_head_is_about_the_response_whose_validators_and_length_it_has() {
    let stored = headers(&[("etag", "\"1\""), ("last-modified", DATE)]);
    for (head, length, expected) in [
        (vec![], Some(3), true),
        (vec![("etag", "\"1\"")], Some(3), true),
        (vec![("etag", "\"1\""), ("last-modified", DATE), ("content-length", "3")], Some(3), true),
        (vec![("content-length", "3, 3")], Some(3), true),
        (vec![("etag", "\"2\"")], Some(3), false),
        (vec![("etag", "W/\"1\"")], Some(3), false),
        (vec![("etag", "\"1\""), ("last-modified", LATER)], Some(3), false),
        (vec![("content-length", "4")], Some(3), false),
        (vec![("content-length", "x")], Some(3), false),
        (vec![("content-length", "x")], None, false),
        (vec![("content-length", "3")], None, false),
    ] {
        assert_eq!(freshens_by_head(&headers(&head), &stored, length), expected, "{head:?} {length:?}");
    }
    assert!(!freshens_by_head(&headers(&[("last-modified", DATE)]), &HeaderMap::new(), None));
}

#[test]
fn rfc9111_3_2_an_update_replaces_all_fields_but_those_about_the_stored_bytes() {
    let stored =
        headers(&[("x", "1"), ("x", "2"), ("y", "1"), ("age", "9"), ("content-length", "3"), ("content-encoding", "gzip"), ("date", DATE)]);
    let from = headers(&[
        ("x", "3"),
        ("z", "1"),
        ("z", "2"),
        ("content-length", "0"),
        ("content-encoding", "br"),
        ("content-range", "bytes 0-1/2"),
        ("content-type", "a/b"),
        ("date", LATER),
    ]);
    let expected = headers(&[
        ("x", "3"),
        ("y", "1"),
        ("z", "1"),
        ("z", "2"),
        ("content-length", "3"),
        ("content-encoding", "gzip"),
        ("content-type", "a/b"),
        ("date", LATER),
    ]);
    assert_eq!(updated(&stored, &from), expected);
}

#[test]
fn rfc9111_3_1_an_update_takes_nothing_of_the_connection() {
    let from = headers(&[("connection", "x-hop, close"), ("x-hop", "1"), ("keep-alive", "5"), ("proxy-authenticate", "x"), ("x", "1")]);
    assert_eq!(updated(&headers(&[("x-hop", "0")]), &from), headers(&[("x-hop", "0"), ("x", "1")]));
}

#[test]
fn rfc9111_4_2_3_an_update_without_date_or_age_does_not_leave_the_old_ones() {
    let stored = headers(&[("date", DATE), ("age", "9"), ("expires", LATER)]);
    assert_eq!(updated(&stored, &HeaderMap::new()), headers(&[("expires", LATER)]));
    assert_eq!(updated(&stored, &headers(&[("age", "4")])), headers(&[("age", "4"), ("expires", LATER)]));
}

#[test]
fn rfc9111_3_2_a_weak_tag_does_not_replace_the_strong_one_it_stands_for() {
    let tag = |stored: &str, update: &str| updated(&headers(&[("etag", stored)]), &headers(&[("etag", update)])).get("etag").cloned();
    assert_eq!(tag("\"1\"", "W/\"1\"").unwrap(), "\"1\"");
    assert_eq!(tag("W/\"1\"", "W/\"1\"").unwrap(), "W/\"1\"");
    assert_eq!(updated(&HeaderMap::new(), &headers(&[("etag", "W/\"1\"")])).get("etag").unwrap(), "W/\"1\"");
}

proptest! {
    #[test]
    fn nothing_panics(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 6)) {
        let names = ["if-none-match", "if-modified-since", "etag", "last-modified", "content-length", "connection"];
        let values = lines.iter().map(|line| HeaderValue::from_bytes(line));
        let fields: HeaderMap = names.iter().zip(values).filter_map(|(name, value)| Some((HeaderName::from_static(name), value.ok()?))).collect();
        let _ = is_not_modified(&fields, &fields);
        prop_assert!(confirms(&fields, &fields) && confirms(&HeaderMap::new(), &fields));
        let _ = freshens_by_head(&fields, &fields, Some(1));
        prop_assert_eq!(updated(&fields, &fields), updated(&updated(&fields, &fields), &fields));
    }
}
