//! Tables, by section of the RFC.

use http::{HeaderMap, HeaderValue, header};

use super::continues;

#[test]
fn rfc9110_14_4_a_rest_continues_where_the_body_ended() {
    for (value, length, expected) in [
        ("bytes 5-9/10", Some(10), true),
        ("bytes 5-9/10", None, true),
        ("bytes 5-9/*", Some(10), true),
        ("bytes 5-9/*", None, false),
        ("bytes 4-9/10", Some(10), false),
        ("bytes 5-8/10", Some(10), false),
        ("bytes 5-10/11", Some(10), false),
        ("bytes 5-18446744073709551615/*", Some(10), false),
        ("bytes */10", Some(10), false),
        ("bytes 5-9", Some(10), false),
        ("5-9/10", Some(10), false),
        ("", Some(10), false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(value).unwrap());
        assert_eq!(continues(&headers, 5, length), expected, "{value} of {length:?}");
    }
    assert!(!continues(&HeaderMap::new(), 5, Some(10)));
}
