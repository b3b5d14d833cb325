//! `Range` and `If-Range` of requests, `Content-Range` of parts.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use skerry_cache::range::{self, Asked};
use skerry_cache_fuzz::fields;

fuzz_target!(|data: &[u8]| {
    let (length, rest) = data.split_at(data.len().min(8));
    let mut eight = [0; 8];
    eight[..length.len()].copy_from_slice(length);
    // Small lengths are asked about more often than their share.
    let length = match u64::from_le_bytes(eight) {
        number if number % 3 == 0 => number % 64,
        number => number,
    };
    let request = fields(rest, &["range", "if-range"]);
    let response = fields(rest, &["x", "y", "etag", "last-modified", "date"]);
    let asked = range::asked(&request, &response, length);
    assert_eq!(asked, range::asked(&request, &response, length));
    if !request.contains_key("range") {
        assert_eq!(asked, Asked::Whole);
    }
    let wanted = range::wanted(&request);
    if let Asked::Parts(parts) = &asked {
        assert!(!parts.is_empty() && parts.len() <= range::RANGES_MAX);
        let mut bytes = 0;
        for (at, (start, end)) in parts.iter().enumerate() {
            assert!(start < end && *end <= length, "{start}..{end} of {length}");
            bytes += u128::from(end - start);
            for (other_start, other_end) in &parts[at + 1..] {
                assert!(end < other_start || other_end < start, "parts that overlap or adjoin: {parts:?}");
            }
        }
        assert!(bytes <= u128::from(length), "the parts cost more than the whole");
        if let Some(wanted) = wanted {
            assert_eq!(parts.as_slice(), [wanted.within(length).unwrap()]);
            // What would be sent for it is what was asked for.
            let mut answer = HeaderMap::new();
            let text = format!("bytes {}-{}/{length}", parts[0].0, parts[0].1 - 1);
            answer.insert("content-range", HeaderValue::from_str(&text).unwrap());
            if length < u64::MAX {
                let brought = range::content_range(&answer).unwrap();
                assert_eq!((brought.start, brought.end, brought.total), (parts[0].0, parts[0].1, Some(length)));
                assert!(brought.answers(&wanted), "{text} for {wanted:?}");
            }
        }
    }
    if let (Asked::Unsatisfiable, Some(wanted)) = (&asked, wanted) {
        assert_eq!(wanted.within(length), None);
    }

    let part = fields(rest, &["content-range", "content-type"]);
    if let Ok(brought) = range::content_range(&part) {
        assert!(brought.start < brought.end && brought.total.is_none_or(|total| brought.end <= total), "{brought:?}");
    }
});
