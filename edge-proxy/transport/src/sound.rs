//! What the head of an answer from upstream must be like before anything of it is used.
//!
//! Pingora's parser has refused what is no HTTP at all; this is the rest: answers that are well formed and still cannot be true.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType};

use crate::head::Head;
use crate::upstream::UpstreamErrorKind;

/// The largest head of an answer, in bytes as HTTP/1.1 writes it. More than 256 fields are too many as well, which is Pingora's bound.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Fields that make a request conditional, so that 304 may answer it (RFC 9110 section 13.1).
const CONDITIONS: [HeaderName; 2] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

/// The names of these errors in Pingora's error type, with the kinds they are.
const NAMES: [(&str, UpstreamErrorKind); 10] = [
    ("bad-head", UpstreamErrorKind::BadHead),
    ("head-too-large", UpstreamErrorKind::HeadTooLarge),
    ("bad-length", UpstreamErrorKind::BadLength),
    ("bad-coding", UpstreamErrorKind::BadCoding),
    ("unasked-101", UpstreamErrorKind::Unasked101),
    ("unasked-206", UpstreamErrorKind::Unasked206),
    ("unasked-304", UpstreamErrorKind::Unasked304),
    ("queue-full", UpstreamErrorKind::QueueFull),
    ("queue-time", UpstreamErrorKind::QueueTime),
    ("breaker-open", UpstreamErrorKind::BreakerOpen),
];

/// The kind of an error of this module, by the name it has in Pingora's error type.
pub(crate) fn named(name: &str) -> Option<UpstreamErrorKind> {
    NAMES.iter().find(|(found, _)| *found == name).map(|(_, kind)| *kind)
}

/// Its name, of a failure that Pingora has none for.
pub(crate) fn name(kind: UpstreamErrorKind) -> Option<&'static str> {
    NAMES.iter().find(|(_, found)| *found == kind).map(|(name, _)| *name)
}

fn refuse(kind: UpstreamErrorKind) -> pingora::Result<()> {
    Err(Error::new_up(ErrorType::Custom(name(kind).unwrap_or("bad-head"))))
}

/// The size of fields in bytes, as HTTP/1.1 writes them: name, colon, space, value and the end of the line.
pub(crate) fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Checks a head against the request it answers, whose header fields are `asked`, and which may offer another protocol.
///
/// # Errors
/// With the kind of what is wrong.
pub(crate) fn check(head: &ResponseHeader, asked: &HeaderMap, upgrade: bool) -> pingora::Result<()> {
    if head_bytes(&head.headers) > HEAD_BYTES_MAX {
        return refuse(UpstreamErrorKind::HeadTooLarge);
    }
    // RFC 9110 section 15: what is outside these classes is nothing a client could understand.
    if !(100..600).contains(&head.status.as_u16()) {
        return refuse(UpstreamErrorKind::BadHead);
    }
    // RFC 9110 section 10.1.4: a coding nobody asked for would be taken for the content itself.
    if head.headers.get_all(header::TRANSFER_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return refuse(UpstreamErrorKind::BadCoding);
    }
    match head.status {
        StatusCode::SWITCHING_PROTOCOLS if !upgrade || !is_of_websocket(head) => refuse(UpstreamErrorKind::Unasked101),
        StatusCode::PARTIAL_CONTENT if !asked.contains_key(header::RANGE) => refuse(UpstreamErrorKind::Unasked206),
        StatusCode::NOT_MODIFIED if !CONDITIONS.iter().any(|name| asked.contains_key(name)) => refuse(UpstreamErrorKind::Unasked304),
        _ => Ok(()),
    }
}

/// Whether a 101 is one of HTTP/1.1 (RFC 9110 section 7.8) and names no other protocol than the one that is offered (section 15.2.2).
fn is_of_websocket(head: &ResponseHeader) -> bool {
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    head.version == Version::HTTP_11 && protocols.all(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Checks the head of an answer that is passed through, and says its length once.
///
/// # Errors
/// With the kind of what is wrong.
pub fn check_passed(head: &mut ResponseHeader, request: &Head) -> pingora::Result<()> {
    check(head, &request.headers, request.upgrade)?;
    if let Some(length) = said_again(&head.headers) {
        head.insert_header(header::CONTENT_LENGTH, length)?;
    }
    // RFC 9110 section 8.6: such an answer has no content, and a client that believed its length would wait for some.
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        head.remove_header(&header::CONTENT_LENGTH);
    }
    Ok(())
}

/// Checks what the bytes of an HTTP/1.1 head say and its fields no longer do: Pingora drops `Content-Length` where there is a transfer coding,
/// and such a message is likely to be an attempt at response splitting (RFC 9112 section 6.3).
///
/// # Errors
/// With the kind of what is wrong.
pub(crate) fn check_raw(headers: &HeaderMap, raw: &[u8]) -> pingora::Result<()> {
    const LENGTH: &[u8] = b"content-length";
    if raw.len() > HEAD_BYTES_MAX {
        return refuse(UpstreamErrorKind::HeadTooLarge);
    }
    let mut lines = raw.split(|byte| *byte == b'\n');
    if headers.contains_key(header::TRANSFER_ENCODING)
        && lines.any(|line| line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)))
    {
        return refuse(UpstreamErrorKind::BadLength);
    }
    Ok(())
}

/// The `Content-Length` where the same one was said several times, to be said once (RFC 9110 section 8.6).
pub(crate) fn said_again(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = values.next()?.as_bytes();
    let one = first.split(|byte| *byte == b',').next()?;
    let again = values.next().is_some() || one.len() != first.len();
    again.then(|| HeaderValue::from_bytes(one.trim_ascii()).ok())?
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::*;

    fn kind(checked: pingora::Result<()>) -> Option<UpstreamErrorKind> {
        checked.err().map(|error| match error.etype() {
            ErrorType::Custom(name) => named(name).unwrap(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn an_answer_fits_its_request() {
        for (status, asked, expected) in [
            (200, "accept", None),
            (103, "accept", None),
            (101, "accept", Some(UpstreamErrorKind::Unasked101)),
            (101, "upgrade", None),
            (206, "accept", Some(UpstreamErrorKind::Unasked206)),
            (206, "range", None),
            (304, "range", Some(UpstreamErrorKind::Unasked304)),
            (304, "if-none-match", None),
            (304, "if-modified-since", None),
            (999, "accept", Some(UpstreamErrorKind::BadHead)),
        ] {
            let head = ResponseHeader::build(status, None).unwrap();
            let asked_for = HeaderMap::from_iter([(asked.parse::<HeaderName>().unwrap(), HeaderValue::from_static("x"))]);
            assert_eq!(kind(check(&head, &asked_for, asked == "upgrade")), expected, "{status} to {asked}");
        }
        let other = Some(UpstreamErrorKind::Unasked101);
        for (version, protocol, expected) in
            [(Version::HTTP_11, "WebSocket", None), (Version::HTTP_11, "h2c", other), (Version::HTTP_10, "websocket", other)]
        {
            let mut head = ResponseHeader::build(101, None).unwrap();
            head.set_version(version);
            head.append_header("upgrade", protocol).unwrap();
            assert_eq!(kind(check(&head, &HeaderMap::new(), true)), expected, "{version:?} {protocol}");
        }
        let mut coded = ResponseHeader::build(200, None).unwrap();
        coded.append_header("transfer-encoding", "gzip, chunked").unwrap();
        assert_eq!(kind(check(&coded, &HeaderMap::new(), false)), Some(UpstreamErrorKind::BadCoding));
    }

    #[test]
    fn an_answer_without_content_has_no_length() {
        let request = RequestHeader::build("POST", b"/", None).map(|mut request| {
            request.insert_header("host", "a.test").unwrap();
            Head::read(&request, false).unwrap()
        });
        for (status, length) in [(200, Some("5")), (204, None), (103, None)] {
            let mut head = ResponseHeader::build(status, None).unwrap();
            head.insert_header("content-length", "5").unwrap();
            check_passed(&mut head, request.as_ref().unwrap()).unwrap();
            assert_eq!(head.headers.get("content-length").map(|value| value.to_str().unwrap()), length, "{status}");
        }
    }

    #[test]
    fn a_length_beside_a_coding_and_a_large_head_are_refused() {
        let mut headers = HeaderMap::new();
        let raw = b"HTTP/1.1 200 OK\r\nx-content-length: 1\r\nContent-LENGTH: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(kind(check_raw(&headers, raw)), None);
        headers.insert("transfer-encoding", "chunked".parse().unwrap());
        assert_eq!(kind(check_raw(&headers, raw)), Some(UpstreamErrorKind::BadLength));
        assert_eq!(kind(check_raw(&headers, &raw[..36])), None);
        assert_eq!(kind(check_raw(&headers, &[b'x'; HEAD_BYTES_MAX + 1])), Some(UpstreamErrorKind::HeadTooLarge));
    }

    #[test]
    fn a_length_said_twice_is_said_once() {
        for (values, expected) in
            [(&[][..], None), (&["5"], None), (&["5", "5"], Some("5")), (&["5, 5"], Some("5")), (&["5 , 5", "5"], Some("5"))]
        {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("content-length", value.parse().unwrap());
            }
            assert_eq!(said_again(&headers), expected.map(HeaderValue::from_static), "{values:?}");
        }
    }
}
