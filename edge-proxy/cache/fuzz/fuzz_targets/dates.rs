//! Dates, in all three forms, and what conditions make of them.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use skerry_cache::conditional;
use skerry_cache::freshness::{http_date, http_date_at};
use skerry_cache::time::Time;

/// The end of the year 9999, the last that a date can name.
const LAST: u64 = 253_402_300_799;

fuzz_target!(|data: &[u8]| {
    // Any time that can be written is read back.
    let mut eight = [0; 8];
    let head = &data[..data.len().min(8)];
    eight[..head.len()].copy_from_slice(head);
    let seconds = u64::from_le_bytes(eight) % (LAST + 1);
    let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    for text in [written.clone(), written.to_ascii_lowercase(), written.to_ascii_uppercase(), format!(" {written}\t")] {
        assert_eq!(http_date(&text), Some(seconds), "{text}");
    }

    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = http_date(text);
    assert_eq!(read, http_date(text));
    assert_eq!(read, http_date(&text.to_ascii_uppercase()), "{text:?}: the case counts");
    // A year of two digits depends on the moment, nothing else does; and by a day at most on which side of it the moment is.
    assert_eq!(read.is_some(), http_date_at(text, Time(0)).is_some());
    // What another reader takes for a date is that very date, or none.
    if let (Some(read), Ok(theirs)) = (read, httpdate::parse_http_date(text.trim_matches([' ', '\t']))) {
        let theirs = theirs.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let short_year = text.contains('-');
        assert!(read == theirs || short_year, "{text:?} is {read}, not {theirs}");
    }
    let Some(read) = read else { return };
    assert!(read <= LAST, "{text:?} is {read}");
    let again = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(read));
    assert_eq!(http_date(&again), Some(read), "{text:?} was written as {again}");
    // A condition with the date of the change itself holds, whatever form it has; one with a second less does not.
    let Ok(value) = HeaderValue::from_str(text) else { return };
    let (mut request, mut response) = (HeaderMap::new(), HeaderMap::new());
    response.insert("last-modified", HeaderValue::from_str(&again).unwrap());
    request.insert("if-modified-since", value);
    assert!(conditional::is_not_modified(&request, &response), "{text:?} against {again}");
    if read > 0 {
        let earlier = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(read - 1));
        request.insert("if-modified-since", HeaderValue::from_str(&earlier).unwrap());
        assert!(!conditional::is_not_modified(&request, &response), "{earlier} against {again}");
    }
});
