//! Tables: the draft has no RFC number.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::{NO_VARY_SEARCH, Rules};

fn rules(value: &str) -> Option<Rules> {
    let mut headers = HeaderMap::new();
    headers.insert(NO_VARY_SEARCH, HeaderValue::from_str(value).unwrap());
    Rules::of(&headers)
}

#[test]
fn no_vary_search_fields_that_say_nothing() {
    for value in [
        "",
        "params=?0",
        "key-order=?0",
        "x=1",
        "params=()",
        "params=1",
        "params=\"a\"",
        "params=(a)",
        "params=(\"a\" 1)",
        "key-order=1",
        "key-order=(\"a\")",
        "except=(\"a\")",
        "params=?0, except=(\"a\")",
        "params=(\"a\"), except=(\"b\")",
        "params, except",
        "params, except=(a)",
        "params=(\"a\"), key-order=1",
        "params=(",
        "PARAMS",
    ] {
        assert_eq!(rules(value), None, "{value}");
    }
    assert_eq!(Rules::of(&HeaderMap::new()), None);
}

#[test]
fn no_vary_search_canonical_queries() {
    for (value, query, expected) in [
        ("params", "a=1&b=2", None),
        ("params=?1", "", None),
        ("params=(\"utm\")", "a=1&utm=x&utm=y", Some("a=1")),
        ("params=(\"utm\")", "utm=x", None),
        ("params=(\"utm\")", "b=2&a=1", Some("b=2&a=1")),
        ("params=(\"a%20b\" \"c+d\")", "a+b=1&c%20d=2&e=3", Some("e=3")),
        ("params=(\"utm\"), key-order", "b=2&a=1&b=1&%75tm=x", Some("a=1&b=2&b=1")),
        ("params, except=(\"id\")", "x=1&id=7&y=2", Some("id=7")),
        ("params, except=()", "x=1", None),
        ("key-order", "b&a", Some("a=&b=")),
        ("key-order", "&&", None),
        ("key-order", "a=%41&c=%c3%a9+x&d=1=2", Some("a=A&c=%C3%A9%20x&d=1%3D2")),
        ("key-order;x=1, future=1", "a=%zz", Some("a=%25zz")),
    ] {
        assert_eq!(rules(value).unwrap().canonical(query).as_deref(), expected, "{value} {query}");
    }
}

proptest! {
    #[test]
    fn canonical_is_idempotent(value in "params(=\\(\"[ab]\"\\))?(, key-order)?", query in "[a-c%&=+?0-9]{0,20}") {
        let rules = rules(&value).unwrap();
        let once = rules.canonical(&query);
        prop_assert_eq!(once.as_deref().and_then(|query| rules.canonical(query)), once);
    }

    #[test]
    fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..60), query in ".{0,30}") {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(NO_VARY_SEARCH, value);
        }
        if let Some(rules) = Rules::of(&headers) {
            let _ = rules.canonical(&query);
        }
    }
}
