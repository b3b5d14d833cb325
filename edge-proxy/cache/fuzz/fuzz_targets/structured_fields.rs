//! Structured fields: `CDN-Cache-Control`, `Cache-Groups`, `No-Vary-Search`.
#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use skerry_cache::control::Control;
use skerry_cache::groups::{self, groups};
use skerry_cache::no_vary_search::Rules;
use skerry_cache_fuzz::fields;

const NAMES: [&str; 5] = ["no-vary-search", "cache-groups", "cdn-cache-control", "skerry-cache-control", "cache-control"];

fuzz_target!(|data: &[u8]| {
    // The first line is a query, the rest are fields.
    let (query, rest) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let headers = fields(rest, &NAMES);

    let listed = groups(&headers, groups::CACHE_GROUPS);
    assert!(listed.len() <= groups::GROUPS_MAX);
    for (at, group) in listed.iter().enumerate() {
        assert!(group.len() <= groups::GROUP_CHARS_MAX && !listed[at + 1..].contains(group), "{group:?}");
    }
    // A line that is malformed spoils the whole field.
    let mut spoiled = headers.clone();
    spoiled.append(groups::CACHE_GROUPS, HeaderValue::from_static("\"open"));
    assert!(groups(&spoiled, groups::CACHE_GROUPS).is_empty());
    for name in ["cdn-cache-control", "skerry-cache-control"] {
        let mut spoiled = headers.clone();
        spoiled.append(name, HeaderValue::from_static("max-age=(1"));
        let mut without = headers.clone();
        without.remove(name);
        assert_eq!(Control::of(&spoiled), Control::of(&without), "a malformed {name} counts");
    }

    let rules = Rules::of(&headers);
    assert_eq!(rules, Rules::of(&headers));
    let (Some(rules), Ok(query)) = (rules, std::str::from_utf8(query)) else { return };
    if !query.is_ascii() {
        return;
    }
    let canonical = rules.canonical(query);
    // A form has itself for its form, so that two queries with one form are one to the cache.
    if let Some(form) = &canonical {
        assert_eq!(rules.canonical(form).as_ref(), Some(form), "{query:?}");
    }
    let doubled = format!("&{query}&&");
    assert_eq!(rules.canonical(&doubled), canonical, "empty parameters count in {query:?}");
});
