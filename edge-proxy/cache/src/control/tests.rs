//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{Control, SECONDS_MAX};

fn control(fields: &[(&'static str, &str)]) -> Control {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Control::of(&headers)
}

fn max_age(value: &str) -> Option<u64> {
    control(&[("cache-control", value)]).max_age
}

#[test]
fn rfc9111_5_2_directives_are_read_whatever_their_case_and_spacing() {
    let read = control(&[("cache-control", "Public,MAX-AGE=5 , ,\tS-MaxAge = 7"), ("cache-control", "no-transform, x=\"no-store, y\"")]);
    assert_eq!(read, Control { public: true, max_age: Some(5), s_maxage: Some(7), ..Control::default() });
    let all = control(&[("cache-control", "no-store, no-cache, private, must-revalidate, proxy-revalidate, must-understand")]);
    assert!(all.no_store && all.no_cache && all.private && all.must_revalidate && all.proxy_revalidate && all.must_understand);
    let windows = control(&[("cache-control", "stale-while-revalidate=3, stale-if-error=4")]);
    assert_eq!((windows.stale_while_revalidate, windows.stale_if_error), (Some(3), Some(4)));
}

#[test]
fn rfc9111_5_2_2_4_and_7_field_names_count_as_the_plain_form() {
    let read = control(&[("cache-control", "private=\"x-a\", no-cache=\"set-cookie, x-b\"")]);
    assert!(read.private && read.no_cache);
}

#[test]
fn rfc9111_4_2_1_lifetimes_that_cannot_be_read_are_stale() {
    for (value, expected) in [
        ("max-age=60", Some(60)),
        ("max-age=\"60\"", Some(60)),
        ("max-age=007", Some(7)),
        ("max-age", Some(0)),
        ("max-age=", Some(0)),
        ("max-age=-1", Some(0)),
        ("max-age=1.5", Some(0)),
        ("max-age=60s", Some(0)),
        ("max-age=99999999999999999999999", Some(SECONDS_MAX)),
        ("max-age=60, max-age=60", Some(60)),
        ("max-age=60, max-age=61", Some(0)),
        ("xmax-age=60", None),
        ("max-agex=60", None),
        ("x=\"max-age=60\"", None),
    ] {
        assert_eq!(max_age(value), expected, "{value}");
    }
}

#[test]
fn rfc9213_2_2_the_most_specific_valid_field_counts_alone() {
    let fields = [("cache-control", "no-store"), ("cdn-cache-control", "max-age=5"), ("skerry-cache-control", "max-age=9")];
    assert_eq!(control(&fields).max_age, Some(9));
    assert_eq!(control(&fields[..2]).max_age, Some(5));
    assert!(!control(&fields[..2]).no_store);
    assert!(control(&fields[..1]).no_store);
}

#[test]
fn rfc9213_2_2_a_malformed_or_empty_targeted_field_is_ignored_whole() {
    for value in ["", " ", "max-age=60, &", "max-age=60, Max-Age=70", "max-age=", "max-age=1.x", "no-store=?2", "\"x\""] {
        let read = control(&[("cdn-cache-control", value), ("cache-control", "max-age=1")]);
        assert_eq!((read.targeted, read.max_age), (false, Some(1)), "{value:?}");
    }
}

#[test]
fn rfc9213_2_1_values_have_the_type_of_their_directive() {
    let read = |value| control(&[("cdn-cache-control", value)]);
    assert!(!read("no-store=?0, max-age=1").no_store);
    assert!(read("no-store=?1").no_store);
    assert!(read("no-store;x=y").no_store);
    assert_eq!(read("max-age=\"60\"").max_age, None);
    assert_eq!(read("max-age=abc, public").max_age, None);
    assert_eq!(read("max-age=60;x=1").max_age, Some(60));
    assert_eq!(read("max-age=60, max-age=61").max_age, Some(61));
}

proptest! {
    #[test]
    fn nothing_panics(value in "[ -~\\t]{0,60}", targeted in "[ -~]{0,40}") {
        let _ = control(&[("cache-control", &value), ("cdn-cache-control", &targeted)]);
    }

    #[test]
    fn a_directive_is_found_among_any_others(before in "[a-z]{1,8}(=\"[a-z, ]{0,9}\")?", seconds in 0..SECONDS_MAX) {
        prop_assert_eq!(max_age(&format!("x-{before}, max-age={seconds}")), Some(seconds));
    }
}
