//! Tables, by section of the RFC.

use proptest::prelude::*;
use skerry_config::site::{Key as Rules, Query};

use super::{Key, canonical};
use crate::exchange::tests::house::{get, get_with, keyed_by};
use crate::request::Request;

/// What counts of a request: scheme, authority, then fields, cookies, device and country with their values. `None` is not counted.
#[derive(Clone, Debug, PartialEq)]
struct Parts {
    scheme: Option<bool>,
    authority: String,
    fields: Vec<(String, Vec<String>)>,
    cookies: Vec<(String, Vec<String>)>,
    device: Option<String>,
    country: Option<String>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let named = || proptest::collection::btree_map("[xy]", proptest::collection::vec("[xy]{0,2}", 0..3), 0..3);
    (proptest::option::of(any::<bool>()), "[ab]", named(), named(), proptest::option::of("[xy]{0,2}"), proptest::option::of("[xy]{0,2}"))
        .prop_map(|(scheme, authority, fields, cookies, device, country)| {
            let (fields, cookies) = (fields.into_iter().collect(), cookies.into_iter().collect());
            Parts { scheme, authority, fields, cookies, device, country }
        })
}

fn key_of(parts: &Parts) -> Key {
    let names = |list: &[(String, Vec<String>)]| list.iter().map(|(name, _)| name.clone()).collect();
    let rules = Rules {
        scheme: parts.scheme.is_some(),
        headers: names(&parts.fields),
        cookies: names(&parts.cookies),
        device: parts.device.is_some(),
        country: parts.country.is_some(),
        ..Rules::default()
    };
    let jar: Vec<String> =
        parts.cookies.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}"))).collect();
    let jar = jar.join("; ");
    let mut fields: Vec<(&str, &str)> = vec![("cookie", &jar)];
    fields.extend(parts.fields.iter().flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str()))));
    fields.extend(parts.device.as_deref().map(|device| ("skerry-device", device)));
    fields.extend(parts.country.as_deref().map(|country| ("skerry-country", country)));
    let scheme = if parts.scheme == Some(true) { "https" } else { "http" };
    keyed_by(&Request { scheme, authority: parts.authority.clone(), ..get_with("/", &fields) }, &rules)
}

fn query(keep: Option<&[&str]>, drop: Option<&[&str]>, sort: bool) -> Rules {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Rules { query: Some(Query { keep: keep.map(list), drop: drop.map(list), sort }), ..Rules::default() }
}

#[test]
fn rfc9111_4_1_the_key_is_the_target_uri() {
    let key = |path: &str| keyed_by(&get(path), &Rules::default());
    assert_eq!(key("/a?b"), key("/a?b"));
    for other in ["/a", "/a?", "/a?B", "/A?b", "/a%3Fb", "/a?b&"] {
        assert_ne!(key("/a?b"), key(other), "{other}");
    }
    let mut request = get("/a?b");
    request.scheme = "http";
    assert_ne!(keyed_by(&request, &Rules::default()), key("/a?b"));
    request.scheme = "https";
    request.authority = "other.example".to_owned();
    assert_ne!(keyed_by(&request, &Rules::default()), key("/a?b"));
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
    let key = |values: &[(&str, &str)]| keyed_by(&get_with("/", values), &rules);
    assert_eq!(key(&[("x-country", "de"), ("x", "1")]), key(&[("x-country", "de"), ("x", "2")]));
    assert_ne!(key(&[("x-country", "de")]), key(&[("x-country", "fr")]));
    assert_ne!(key(&[]), key(&[("x-country", "")]));
}

#[test]
fn the_scheme_counts_unless_the_rules_say_otherwise() {
    let rules = Rules { scheme: false, ..Rules::default() };
    let key = |scheme: &'static str, rules: &Rules| keyed_by(&Request { scheme, ..get("/a") }, rules);
    assert_eq!(key("http", &rules), key("https", &rules));
    assert_ne!(key("http", &rules), key("http", &Rules::default()));
}

#[test]
fn hosts_with_one_alias_share_their_answers_whatever_their_ports() {
    let rules = Rules { host: Some("Shop.example".to_owned()), ..Rules::default() };
    let key = |authority: &str, rules: &Rules| keyed_by(&Request { authority: authority.to_owned(), ..get("/a") }, rules);
    for authority in ["img1.example", "img2.example:8080", "shop.example:8443"] {
        assert_eq!(key(authority, &rules), key("shop.example", &Rules::default()), "{authority}");
    }
    assert_ne!(key("img1.example", &Rules::default()), key("img1.example", &rules));
}

#[test]
fn key_cookies_count_by_value_and_order_and_others_do_not() {
    let rules = Rules { cookies: vec!["lang".to_owned(), "a".to_owned()], ..Rules::default() };
    let key = |cookie: &str| keyed_by(&get_with("/", &[("cookie", cookie)]), &rules);
    assert_eq!(key("lang=de; a=1; _ga=7"), key("_ga=8;a=1;lang=de"));
    assert_eq!(key("x=1"), keyed_by(&get("/"), &rules));
    for other in ["lang=fr; a=1", "lang=de", "a=1", "lang=de; a=", "lang=de; lang=fr; a=1", "Lang=de; a=1", "lang=de, a=1"] {
        assert_ne!(key("lang=de; a=1"), key(other), "{other}");
    }
    assert_ne!(key("lang=1; lang=2"), key("lang=2; lang=1"));
}

#[test]
fn device_and_country_count_only_where_the_rules_say() {
    let key = |device, country, fields: &[(&str, &str)]| keyed_by(&get_with("/", fields), &Rules { device, country, ..Rules::default() });
    let told = [("skerry-device", "mobile"), ("skerry-country", "DE")];
    assert_eq!(key(false, false, &told), key(false, false, &[]));
    assert_ne!(key(true, false, &told), key(true, false, &[("skerry-device", "tablet")]));
    assert_eq!(key(true, false, &told), key(true, false, &told[..1]));
    assert_ne!(key(false, true, &told), key(false, true, &[("skerry-country", "FR")]));
    assert_ne!(key(true, false, &[("skerry-device", "x")]), key(false, true, &[("skerry-country", "x")]));
}

proptest! {
    /// The same with everything that can count, and with rules that differ: a name is never taken for another kind of name, nor for a value.
    #[test]
    fn keys_are_injective_in_every_part(one in parts(), other in parts()) {
        prop_assert_eq!(key_of(&one) == key_of(&other), one == other);
    }

    /// Parts are told apart by their lengths: no two requests share a text unless they share every part.
    #[test]
    fn keys_are_injective(one in ("[a/?]{0,6}", "[a.:]{1,4}", "[ab]{0,3}"), other in ("[a/?]{0,6}", "[a.:]{1,4}", "[ab]{0,3}")) {
        let rules = Rules { headers: vec!["x".to_owned()], ..Rules::default() };
        let key = |(path, authority, value): &(String, String, String)| {
            let mut request = get_with(&format!("/{path}"), &[("x", value)]);
            request.authority.clone_from(authority);
            keyed_by(&request, &rules)
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }

    #[test]
    fn canonical_is_idempotent_and_never_panics(path in "/[a-c%&=+?0-9]{0,20}") {
        let rules = query(None, Some(&["a"]), true);
        let once = canonical(&path, &rules);
        prop_assert_eq!(canonical(&once, &rules), once.as_ref());
    }
}
