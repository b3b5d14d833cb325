//! Heads of HTTP/1.1 requests: the first byte says where the bytes behind it are cut in two.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use skerry_config::process::Limits;
use skerry_transport::h1::request::{Body, Finder, Request};
use skerry_transport::head::Refusal;

/// The length of the head that `parts` begin with, when they come one after the other.
fn find(bytes: &[u8], cuts: &[usize], limits: &Limits) -> Result<Option<usize>, Refusal> {
    let mut finder = Finder::default();
    for cut in cuts {
        if let Some(length) = finder.find(&bytes[..*cut], limits)? {
            return Ok(Some(length));
        }
    }
    finder.find(bytes, limits)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_first() else { return };
    let limits = Limits::default();
    let whole = find(bytes, &[], &limits);
    assert_eq!(find(bytes, &[usize::from(*cut).min(bytes.len())], &limits), whole, "where it is cut makes no difference");
    let Ok(Some(length)) = whole else { return };
    let head = Bytes::copy_from_slice(&bytes[..length]);
    assert!(head.ends_with(b"\r\n\r\n"));
    let Ok(request) = Request::read(&head, &limits, false) else { return };

    // Whatever another reader takes for a line is one.
    let text = &head[..length - 4];
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    assert!(!lines.concat().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    let said = |wanted: &str| {
        let named =
            |line: &&&[u8]| line.split(|byte| *byte == b':').next().is_some_and(|name| name.eq_ignore_ascii_case(wanted.as_bytes()));
        lines[1..].iter().filter(named).count()
    };
    for line in &lines[1..] {
        let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        assert!(colon > 0 && line[..colon].iter().all(u8::is_ascii_graphic), "a name without space");
    }
    assert!(said("host") <= 1 && said("content-length") + said("transfer-encoding") <= 1);
    match request.rest.body {
        Body::None => assert_eq!(said("transfer-encoding"), 0),
        Body::Length(length) => assert!(said("content-length") == 1 && length > 0),
        Body::Chunked => assert!(said("transfer-encoding") == 1 && !request.is_old),
    }
    let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    assert!(words.len() == 3 && words.iter().all(|word| !word.is_empty()));
    assert_eq!(words[0], request.head.method.as_str().as_bytes());
    assert!(request.head.path_and_query.starts_with('/') && request.head.path_and_query.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!request.head.host().is_empty() && !request.head.headers.contains_key("host"));
});
