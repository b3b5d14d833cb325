//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{fields, key};
use crate::exchange::tests::house::get;
use crate::key::Key;

fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn rfc9110_12_5_5_fields_are_lower_case_sorted_and_once() {
    let fields = fields(&headers(&[("vary", "X-B, accept-encoding"), ("vary", ",x-b ,X-A")])).unwrap();
    assert_eq!(fields.iter().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept-encoding", "x-a", "x-b"]);
    assert!(super::fields(&HeaderMap::new()).unwrap().is_empty());
}

#[test]
fn rfc9111_4_1_values_match_after_normalisation() {
    let primary = Key::of(&get("/"), &Default::default());
    for (field, one, other, expected) in [
        ("x", vec!["a"], vec!["a"], true),
        ("x", vec!["a, b"], vec!["a,b"], true),
        ("x", vec!["a", "b"], vec!["a ,b"], true),
        ("x", vec!["a, b"], vec!["b, a"], false),
        ("x", vec!["A"], vec!["a"], false),
        ("x", vec![], vec![""], false),
        ("x", vec![], vec![], true),
        ("x", vec!["\"a, b\""], vec!["\"a,b\""], false),
        ("accept-encoding", vec!["gzip, br"], vec!["BR,gzip"], true),
        ("accept-encoding", vec!["gzip; q=1"], vec!["gzip;q=1"], true),
        ("accept-encoding", vec!["gzip"], vec!["gzip, br"], false),
    ] {
        let list = |values: &[&str]| headers(&values.iter().map(|value| (field, *value)).collect::<Vec<_>>());
        let names = [HeaderName::from_static(field)];
        let (first, second) = (list(&one), list(&other));
        assert_eq!(key(&primary, 1, &names, &first) == key(&primary, 1, &names, &second), expected, "{one:?} {other:?}");
    }
}

#[test]
fn the_generation_of_a_marker_tells_its_variants_from_earlier_ones() {
    let primary = Key::of(&get("/"), &Default::default());
    let names = [HeaderName::from_static("x")];
    assert_ne!(key(&primary, 1, &names, &HeaderMap::new()), key(&primary, 2, &names, &HeaderMap::new()));
    assert_ne!(key(&primary, 1, &names, &HeaderMap::new()), primary);
}
