//! Tables, by section of the RFC.

use proptest::prelude::*;
use skerry_config::site::{Key as Rules, Query};

use super::{Key, canonical};
use crate::exchange::tests::house::{get, get_with};

fn query(keep: Option<&[&str]>, drop: Option<&[&str]>, sort: bool) -> Rules {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Rules { query: Some(Query { keep: keep.map(list), drop: drop.map(list), sort }), ..Rules::default() }
}

#[test]
fn rfc9111_4_1_the_key_is_the_target_uri() {
    let key = |path: &str| Key::of(&get(path), &Rules::default());
    assert_eq!(key("/a?b"), key("/a?b"));
    for other in ["/a", "/a?", "/a?B", "/A?b", "/a%3Fb", "/a?b&"] {
        assert_ne!(key("/a?b"), key(other), "{other}");
    }
    let mut request = get("/a?b");
    request.scheme = "http";
    assert_ne!(Key::of(&request, &Rules::default()), key("/a?b"));
    request.scheme = "https";
    request.authority = "other.example".to_owned();
    assert_ne!(Key::of(&request, &Rules::default()), key("/a?b"));
}

#[test]
fn the_query_counts_as_the_rules_say() {
    for (rules, query, expected) in [
        (Rules::default(), "/?b=2&a=1&&", "/?b=2&a=1&&"),
        (query(None, None, true), "/?b=2&a=1&b=1", "/?a=1&b=2&b=1"),
        (query(Some(&["page"]), None, false), "/?utm=1&page=2&Page=3", "/?page=2"),
        (query(Some(&["page"]), None, false), "/?%70age=2", "/?%70age=2"),
        (query(Some(&["a b"]), None, false), "/?a+b=2", "/?a+b=2"),
        (query(Some(&[]), None, false), "/?anything", "/"),
        (query(None, Some(&["utm"]), false), "/?utm=1&page=2&utm", "/?page=2"),
        (query(None, Some(&["utm"]), false), "/?%zz=1&%", "/?%zz=1&%"),
    ] {
        assert_eq!(canonical(query, &rules), expected, "{rules:?}");
    }
}

#[test]
fn key_fields_count() {
    let rules = Rules { headers: vec!["x-country".to_owned()], ..Rules::default() };
    let key = |values: &[(&str, &str)]| Key::of(&get_with("/", values), &rules);
    assert_eq!(key(&[("x-country", "de"), ("x", "1")]), key(&[("x-country", "de"), ("x", "2")]));
    assert_ne!(key(&[("x-country", "de")]), key(&[("x-country", "fr")]));
    assert_ne!(key(&[]), key(&[("x-country", "")]));
}

proptest! {
    /// Parts are told apart by their lengths: no two requests share a text unless they share every part.
    #[test]
    fn keys_are_injective(one in ("[a/?]{0,6}", "[a.:]{1,4}", "[ab]{0,3}"), other in ("[a/?]{0,6}", "[a.:]{1,4}", "[ab]{0,3}")) {
        let rules = Rules { headers: vec!["x".to_owned()], ..Rules::default() };
        let key = |(path, authority, value): &(String, String, String)| {
            let mut request = get_with(&format!("/{path}"), &[("x", value)]);
            request.authority.clone_from(authority);
            Key::of(&request, &rules)
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }

    #[test]
    fn canonical_is_idempotent_and_never_panics(path in "/[a-c%&=+?0-9]{0,20}") {
        let rules = query(None, Some(&["a"]), true);
        let once = canonical(&path, &rules);
        prop_assert_eq!(canonical(&once, &rules), once);
    }
}
