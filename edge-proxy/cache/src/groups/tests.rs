//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::{CACHE_GROUP_INVALIDATION, CACHE_GROUPS, GROUP_CHARS_MAX, GROUPS_MAX, groups};

fn of(lines: &[&str]) -> Vec<String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(CACHE_GROUPS, HeaderValue::from_str(line).unwrap());
    }
    groups(&headers, CACHE_GROUPS)
}

#[test]
fn rfc9875_2_a_list_of_strings() {
    assert_eq!(of(&["\"a\", \"B c\";x=1", "\"a\", \"a\\\"b\""]), ["a", "B c", "a\"b"]);
    assert!(groups(&HeaderMap::new(), CACHE_GROUP_INVALIDATION).is_empty());
}

#[test]
fn rfc9875_2_anything_else_is_ignored_whole() {
    for line in ["", "a", "\"a\", b", "\"a\", 1", "(\"a\")", "\"a", "\"a\",", "\"é\""] {
        assert!(of(&[line]).is_empty(), "{line}");
    }
    assert!(of(&["\"a\"", "&"]).is_empty());
}

#[test]
fn rfc9875_2_bounds() {
    let long = "x".repeat(GROUP_CHARS_MAX);
    let many: Vec<String> = (0..GROUPS_MAX + 9).map(|group| format!("\"{group}\"")).collect();
    assert_eq!(of(&[&format!("\"{long}\", \"{long}x\"")]), [long]);
    assert_eq!(of(&[&many.join(", ")]).len(), GROUPS_MAX);
    const { assert!(GROUPS_MAX >= 32 && GROUP_CHARS_MAX >= 32) };
}

proptest! {
    #[test]
    fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(CACHE_GROUPS, value);
        }
        prop_assert!(groups(&headers, CACHE_GROUPS).len() <= GROUPS_MAX);
    }
}
