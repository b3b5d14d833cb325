//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{Asked, Control, SECONDS_MAX};

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

fn asked(fields: &[(&'static str, &str)]) -> Asked {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Asked::of(&headers)
}

#[test]
fn rfc9111_5_2_directives_are_read_whatever_their_case_and_line() {
    let read = control(&[("cache-control", "Public,MAX-AGE=5 , ,\tS-MaxAge=7"), ("cache-control", "no-transform, x=\"no-store, y\"")]);
    let expected = Control { public: true, no_transform: true, max_age: Some(5), s_maxage: Some(7), ..Control::default() };
    assert_eq!(read, expected);
    let all = control(&[("cache-control", "no-store, no-cache, private, must-revalidate, proxy-revalidate, must-understand, immutable")]);
    assert!(all.no_store && all.no_cache && all.private && all.must_revalidate && all.proxy_revalidate && all.must_understand);
    assert!(all.immutable);
    let windows = control(&[("cache-control", "stale-while-revalidate=3, stale-if-error=4")]);
    assert_eq!((windows.stale_while_revalidate, windows.stale_if_error), (Some(3), Some(4)));
}

#[test]
fn rfc9111_5_2_space_beside_the_equals_sign_grants_nothing_and_still_restricts() {
    for value in ["max-age =100", "max-age= 100", "max-age\t=100", "max-age = 100"] {
        assert_eq!(control(&[("cache-control", value)]), Control::default(), "{value}");
    }
    assert!(!control(&[("cache-control", "public = x, must-understand =1")]).public);
    let read = control(&[("cache-control", "no-store =1, private= \"x-a\", no-cache =\"x-b\"")]);
    assert!(read.no_store && read.private && read.no_cache && read.private_fields.is_empty());
}

#[test]
fn rfc9111_5_2_a_quote_that_nothing_closes_hides_nothing() {
    assert!(control(&[("cache-control", "x=\"y, no-store")]).no_store);
    assert!(control(&[("cache-control", "x=\"\\\", no-store")]).no_store);
    assert!(!control(&[("cache-control", "x=\"\\\", no-store\"")]).no_store);
}

#[test]
fn rfc9111_5_2_3_unknown_directives_change_nothing() {
    for value in ["community=\"UCI\"", "x", "=", "=5", "\"no-store\"", "no-storex", "x-no-store", "no store", "é"] {
        assert_eq!(control(&[("cache-control", value)]), Control::default(), "{value}");
    }
}

#[test]
fn rfc9111_5_2_2_4_and_7_field_names() {
    let names = |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>();
    for (value, plain, expected) in [
        ("\"x-a\"", false, vec!["x-a"]),
        ("\"X-A , set-cookie\"", false, vec!["x-a", "set-cookie"]),
        ("\",x-a,,\"", false, vec!["x-a"]),
        ("x-a", false, vec!["x-a"]),
        ("\"\"", true, vec![]),
        ("", true, vec![]),
        ("\"x a\"", true, vec![]),
        ("\"x-a, &@\"", true, vec![]),
        ("\"x-a", true, vec![]),
        ("\"x-a, Date\"", true, vec![]),
    ] {
        let private = control(&[("cache-control", &format!("private={value}"))]);
        assert_eq!((private.private, private.private_fields), (plain, names(&expected)), "{value}");
        let no_cache = control(&[("cache-control", &format!("max-age=5, no-cache={value}"))]);
        assert_eq!((no_cache.no_cache, no_cache.no_cache_fields), (plain, names(&expected)), "{value}");
    }
    let both = control(&[("cache-control", "private=\"x-a\", private, no-cache, no-cache=\"x-b\"")]);
    assert!(both.private && both.no_cache, "the plain form is the stricter one");
}

#[test]
fn rfc8246_2_arguments_and_repetition_mean_nothing_nor_does_a_request_say_it() {
    for value in ["immutable", "immutable=5", "immutable=\"x, y\"", "immutable=", "IMMUTABLE, immutable", "immutable=1, immutable=2"] {
        let read = control(&[("cache-control", &format!("max-age=5, {value}"))]);
        assert_eq!(read, Control { immutable: true, max_age: Some(5), ..Control::default() }, "{value}");
        assert_eq!(asked(&[("cache-control", value)]), Asked::default(), "{value}");
    }
}

#[test]
fn rfc9111_5_2_1_what_a_request_asks() {
    let says = |value: &str| asked(&[("cache-control", value)]);
    let all = says("No-Cache, no-store, NO-TRANSFORM, only-if-cached, max-age=1, min-fresh=2, max-stale=3");
    let expected = Asked {
        no_cache: true,
        no_store: true,
        no_transform: true,
        only_if_cached: true,
        max_age: Some(1),
        min_fresh: Some(2),
        max_stale: Some(Some(3)),
    };
    assert_eq!(all, expected);
    assert_eq!(says("max-stale").max_stale, Some(None));
    assert_eq!(says("max-stale, max-stale=5").max_stale, Some(Some(5)));
    assert_eq!(says("max-stale=x").max_stale, None);
    assert_eq!(says("max-age=9, max-age=4").max_age, Some(4));
    assert_eq!(says("max-age=x").max_age, Some(0));
    assert_eq!(says("min-fresh=x").min_fresh, Some(SECONDS_MAX));
    assert_eq!(asked(&[]), Asked::default());
}

#[test]
fn rfc9111_5_4_pragma_counts_only_without_cache_control() {
    assert!(asked(&[("pragma", "x, No-Cache")]).no_cache);
    assert!(!asked(&[("pragma", "x")]).no_cache);
    assert!(!asked(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]).no_cache);
    assert!(!asked(&[("pragma", "no-cache"), ("cache-control", "")]).no_cache);
    assert_eq!(control(&[("pragma", "no-cache")]), Control::default(), "it means nothing in a response");
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
    for value in [
        "",
        " ",
        "max-age=60, &",
        "max-age=60, Max-Age=70",
        "max-age=",
        "max-age=1.x",
        "no-store=?2",
        "\"x\"",
        "max-age =60",
        "max-age= 60",
        "max-age=1234567890123456",
    ] {
        let read = control(&[("cdn-cache-control", value), ("cache-control", "max-age=1")]);
        assert_eq!((read.targeted, read.max_age), (false, Some(1)), "{value:?}");
    }
}

#[test]
fn rfc9213_2_2_all_lines_are_one_dictionary() {
    let read = control(&[("cdn-cache-control", "max-age=60"), ("cdn-cache-control", ""), ("cdn-cache-control", "public")]);
    assert_eq!(read, Control { targeted: true, public: true, max_age: Some(60), ..Control::default() });
    let spoiled = control(&[("cdn-cache-control", "max-age=60"), ("cdn-cache-control", "&")]);
    assert!(!spoiled.targeted);
}

#[test]
fn rfc9213_2_1_values_have_the_type_of_their_directive() {
    let read = |value| control(&[("cdn-cache-control", value)]);
    assert!(!read("no-store=?0, max-age=1").no_store);
    assert!(read("no-store=?1").no_store);
    assert!(read("no-store;x=y").no_store);
    assert_eq!(read("max-age=60;x=1").max_age, Some(60));
    assert_eq!(read("max-age=60, max-age=61").max_age, Some(61));
    assert_eq!(read("max-age=-1").max_age, Some(0));
    assert_eq!(read("max-age=99999999999").max_age, Some(SECONDS_MAX));
    assert_eq!(read("private=\"x-a\"").private_fields, ["x-a"]);
    assert!(read("private").private && !read("private=?0").private);
    assert_eq!(read("no-cache=x-a").no_cache_fields, ["x-a"]);
    assert!(read("x=(1 2), y=:AA==:, z=@1, w=%\"a\", max-age=5").max_age == Some(5), "what is not known may have any type");
}

#[test]
fn rfc9213_2_1_a_known_directive_of_the_wrong_type_spoils_the_field() {
    for value in
        ["max-age=\"10000\"", "max-age=1.5", "max-age", "max-age=abc, public", "max-age=(1)", "no-store=1", "public=\"x\"", "private=1"]
    {
        let read = control(&[("cdn-cache-control", value), ("cache-control", "no-store")]);
        assert!(!read.targeted && read.no_store, "{value}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..80), targeted in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("cache-control", value), ("cdn-cache-control", targeted)] {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert(name, value);
            }
        }
        prop_assert_eq!(Control::of(&headers), Control::of(&headers));
        prop_assert_eq!(Asked::of(&headers), Asked::of(&headers));
    }

    #[test]
    fn what_restricts_is_found_among_any_others(before in "[a-z=\", \\\\]{0,20}") {
        // Not inside quotes that close behind it: the only ones are in front.
        let read = control(&[("cache-control", &format!("{before}, no-store"))]);
        prop_assert!(read.no_store);
    }

    #[test]
    fn a_directive_is_found_among_any_others(before in "[a-z]{1,8}(=\"[a-z, ]{0,9}\")?", seconds in 0..SECONDS_MAX) {
        prop_assert_eq!(max_age(&format!("x-{before}, max-age={seconds}")), Some(seconds));
    }
}
