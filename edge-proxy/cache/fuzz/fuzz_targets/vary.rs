//! `Vary`, and the keys of the variants it makes.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use skerry_cache::key::Key;
use skerry_cache::request::Request;
use skerry_cache::vary;
use skerry_cache_fuzz::fields;
use skerry_config::snapshot::Policy;

const NAMES: [&str; 6] = ["accept-encoding", "accept-language", "accept", "cookie", "x", "x-empty"];

fn primary() -> Key {
    let request = Request {
        head_only: false,
        scheme: "https",
        authority: "shop.example".to_owned(),
        path_and_query: "/".to_owned(),
        headers: HeaderMap::new(),
    };
    Key::of(&request, &Policy::default())
}

fuzz_target!(|data: &[u8]| {
    // The first line is `Vary`, the rest is the request.
    let (line, rest) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let request = fields(rest, &NAMES);
    let Ok(value) = HeaderValue::from_bytes(line) else { return };
    let mut response = HeaderMap::new();
    response.insert("vary", value.clone());
    let named = vary::fields(&response);
    // Said twice it means the same, and a star beside it means that nothing matches.
    response.append("vary", value);
    assert_eq!(named, vary::fields(&response));
    response.append("vary", HeaderValue::from_static("*"));
    assert!(vary::fields(&response).is_err());
    let Ok(named) = named else { return };
    assert!(named.len() <= vary::FIELDS_MAX && named.is_sorted_by(|one, other| one.as_str() < other.as_str()));

    let primary = primary();
    let key = vary::key(&primary, 1, &named, &request);
    assert_eq!(key, vary::key(&primary, 1, &named, &request));
    assert_ne!(key, vary::key(&primary, 2, &named, &request), "two generations share a key");
    for name in named.iter() {
        // A field's lines are one list, however it is cut.
        let lines: Vec<&[u8]> = request.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let open = lines.iter().any(|line| line.contains(&b'"'));
        if lines.len() > 1 && !open {
            let mut joined = request.clone();
            joined.insert(name.clone(), HeaderValue::from_bytes(&lines.join(&b", "[..])).unwrap());
            assert_eq!(key, vary::key(&primary, 1, &named, &joined), "{lines:?}");
        }
        // What is absent matches only what is absent.
        let mut without = request.clone();
        if without.remove(name).is_some() {
            assert_ne!(key, vary::key(&primary, 1, &named, &without), "{name} does not count");
        }
    }
    // A field that is not named changes nothing.
    let mut more = request.clone();
    more.append("x-not-named", HeaderValue::from_static("1"));
    if !named.iter().any(|name| name == "x-not-named") {
        assert_eq!(key, vary::key(&primary, 1, &named, &more));
    }
});
