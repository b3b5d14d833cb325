//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderName, HeaderValue};

use proptest::prelude::*;

use super::{Refused, fields, key};
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
    assert!(super::fields(&headers(&[("vary", " , ,")])).unwrap().is_empty());
    let unknown = super::fields(&headers(&[("vary", "x-never-heard-of, X-NEVER-HEARD-OF")])).unwrap();
    assert_eq!(unknown.len(), 1);
}

#[test]
fn rfc9111_4_1_a_star_anywhere_matches_nothing() {
    for lines in [vec!["*"], vec!["*, *"], vec!["*", "*"], vec![", *"], vec!["", "*"], vec!["*, x"], vec!["x, *"], vec!["x", "*"]] {
        let response = headers(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>());
        assert_eq!(fields(&response), Err(Refused::Star), "{lines:?}");
    }
    assert_eq!(fields(&headers(&[("vary", "a b")])), Err(Refused::Fields));
    assert_eq!(fields(&headers(&[("vary", "x*")])).unwrap().len(), 1, "a field name may have a star in it");
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
        ("accept-encoding", vec!["gzip;q=1.000", "br;Q=0.50"], vec!["br; q=0.5, gzip"], true),
        ("accept-encoding", vec!["x-gzip"], vec!["gzip"], true),
        ("accept-encoding", vec!["gzip;q=0.5"], vec!["gzip"], false),
        ("accept-encoding", vec!["gzip, gzip"], vec!["gzip"], true),
        ("accept-encoding", vec!["gzip;q=0.5"], vec!["gzip;q=500"], false),
        ("accept-encoding", vec!["gzip;q=2, br"], vec!["br, gzip;q=2"], false),
        ("accept-encoding", vec![""], vec![], false),
        ("accept-language", vec!["de-CH, EN;q=0.5"], vec!["en;q=0.5 ,de-ch"], true),
        ("accept-language", vec!["de", "en"], vec!["de,en;q=1"], true),
        ("accept-language", vec!["de, en"], vec!["en, de"], false),
        ("accept-language", vec!["de;q=0.8, en;q=0.7"], vec!["en;q=0.7, de;q=0.8"], true),
        ("accept", vec!["Text/HTML, */*;q=0.8"], vec!["*/*; q=0.80,text/html"], true),
        ("accept", vec!["a/b;Level=1"], vec!["a/b; level=1"], true),
        ("accept", vec!["a/b;level=A"], vec!["a/b;level=a"], false),
        ("accept", vec!["a/b;x=\"1,2\""], vec!["a/b;x=\"1, 2\""], false),
        ("accept", vec!["a/b, c/d"], vec!["c/d, a/b"], false),
        ("accept-charset", vec!["UTF-8"], vec!["utf-8;q=1"], true),
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

proptest! {
    /// Normal forms change nothing that is said: one read again is the same.
    #[test]
    fn a_normal_form_is_its_own(field in 0..5_usize, value in "[a-cA-C*/;=q0-9., \"]{0,30}") {
        let name = HeaderName::from_static(["accept", "accept-charset", "accept-encoding", "accept-language", "x"][field]);
        let mut request = HeaderMap::new();
        request.insert(&name, HeaderValue::from_str(&value).unwrap());
        let once = super::value(&name, &request).unwrap();
        request.insert(&name, HeaderValue::from_bytes(&once).unwrap());
        prop_assert_eq!(super::value(&name, &request).unwrap(), once);
    }

    #[test]
    fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut both = HeaderMap::new();
            both.insert("vary", value.clone());
            both.insert("accept", value);
            let _ = fields(&both);
            let _ = key(&Key::of(&get("/"), &Default::default()), 1, &[HeaderName::from_static("accept")], &both);
        }
    }
}
