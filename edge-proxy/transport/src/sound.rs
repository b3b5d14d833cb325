//! What the head of an answer from upstream must be like before anything of it is used.
//!
//! A parser has refused what is no HTTP at all; this is the rest: answers that are well formed and still cannot be true.

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

/// What every head of an answer has.
pub(crate) struct Answer<'a> {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
}

/// The size of fields in bytes, as HTTP/1.1 writes them: name, colon, space, value and the end of the line.
pub(crate) fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Checks a head against the request it answers, whose header fields are `asked`, and which may offer another protocol.
///
/// # Errors
/// With the kind of what is wrong.
pub(crate) fn check(answer: &Answer<'_>, asked: &HeaderMap, upgrade: bool) -> Result<(), UpstreamErrorKind> {
    let headers = answer.headers;
    if head_bytes(headers) > HEAD_BYTES_MAX {
        return Err(UpstreamErrorKind::HeadTooLarge);
    }
    // RFC 9110 section 15: what is outside these classes is nothing a client could understand.
    if !(100..600).contains(&answer.status.as_u16()) {
        return Err(UpstreamErrorKind::BadHead);
    }
    // RFC 9110 section 10.1.4: a coding nobody asked for would be taken for the content itself.
    if headers.get_all(header::TRANSFER_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(UpstreamErrorKind::BadCoding);
    }
    match answer.status {
        StatusCode::SWITCHING_PROTOCOLS if !upgrade || !is_of_websocket(answer) => Err(UpstreamErrorKind::Unasked101),
        StatusCode::PARTIAL_CONTENT if !asked.contains_key(header::RANGE) => Err(UpstreamErrorKind::Unasked206),
        StatusCode::NOT_MODIFIED if !CONDITIONS.iter().any(|name| asked.contains_key(name)) => Err(UpstreamErrorKind::Unasked304),
        _ => Ok(()),
    }
}

/// Whether a 101 is one of HTTP/1.1 (RFC 9110 section 7.8) and names no other protocol than the one that is offered (section 15.2.2).
fn is_of_websocket(answer: &Answer<'_>) -> bool {
    let mut protocols = answer.headers.get_all(header::UPGRADE).iter();
    answer.version == Version::HTTP_11 && protocols.all(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Checks the head of an answer that is passed through, and says its length once.
///
/// # Errors
/// With the kind of what is wrong.
pub fn check_passed(head: &mut ResponseHeader, request: &Head) -> pingora::Result<()> {
    let answer = Answer { status: head.status, version: head.version, headers: &head.headers };
    check(&answer, &request.headers, request.upgrade).map_err(|kind| Error::new_up(ErrorType::Custom(name(kind).unwrap_or("bad-head"))))?;
    if let Some(length) = said_again(&head.headers) {
        head.insert_header(header::CONTENT_LENGTH, length)?;
    }
    // RFC 9110 section 8.6: such an answer has no content, and a client that believed its length would wait for some.
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        head.remove_header(&header::CONTENT_LENGTH);
    }
    Ok(())
}

/// The length of the content that a head gives, `None` where it gives none. Said several times it has to be the same one (RFC 9110 section 8.6);
/// beside a transfer coding, which would override it, it is likely to be an attempt at response splitting (RFC 9112 section 6.3).
///
/// # Errors
/// When it is in doubt.
pub(crate) fn length(headers: &HeaderMap) -> Result<Option<u64>, UpstreamErrorKind> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for one in value.as_bytes().split(|byte| *byte == b',') {
            let one = digits(one.trim_ascii()).ok_or(UpstreamErrorKind::BadLength)?;
            if length.is_some_and(|length| length != one) {
                return Err(UpstreamErrorKind::BadLength);
            }
            length = Some(one);
        }
    }
    if length.is_some() && headers.contains_key(header::TRANSFER_ENCODING) { Err(UpstreamErrorKind::BadLength) } else { Ok(length) }
}

/// The number that digits say: nothing but digits, at least one, and not beyond what a `u64` holds.
fn digits(text: &[u8]) -> Option<u64> {
    let add = |number: u64, byte: &u8| byte.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add(u64::from(byte - b'0')))?;
    if text.is_empty() { None } else { text.iter().try_fold(0, add) }
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

    fn kind(status: u16, version: Version, headers: &HeaderMap, asked: &HeaderMap, upgrade: bool) -> Option<UpstreamErrorKind> {
        check(&Answer { status: StatusCode::from_u16(status).unwrap(), version, headers }, asked, upgrade).err()
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
            let asked_for = HeaderMap::from_iter([(asked.parse::<HeaderName>().unwrap(), HeaderValue::from_static("x"))]);
            let found = kind(status, Version::HTTP_11, &HeaderMap::new(), &asked_for, asked == "upgrade");
            assert_eq!(found, expected, "{status} to {asked}");
        }
        let other = Some(UpstreamErrorKind::Unasked101);
        for (version, protocol, expected) in
            [(Version::HTTP_11, "WebSocket", None), (Version::HTTP_11, "h2c", other), (Version::HTTP_10, "websocket", other)]
        {
            let headers = HeaderMap::from_iter([(header::UPGRADE, HeaderValue::from_static(protocol))]);
            assert_eq!(kind(101, version, &headers, &HeaderMap::new(), true), expected, "{version:?} {protocol}");
        }
        let coded = HeaderMap::from_iter([(header::TRANSFER_ENCODING, HeaderValue::from_static("gzip, chunked"))]);
        assert_eq!(kind(200, Version::HTTP_11, &coded, &HeaderMap::new(), false), Some(UpstreamErrorKind::BadCoding));
        let large = HeaderMap::from_iter([(header::ETAG, HeaderValue::try_from("x".repeat(HEAD_BYTES_MAX)).unwrap())]);
        assert_eq!(kind(200, Version::HTTP_11, &large, &HeaderMap::new(), false), Some(UpstreamErrorKind::HeadTooLarge));
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
    fn a_length_is_one_number_and_stands_alone() {
        let bad = Err(UpstreamErrorKind::BadLength);
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["0"], Ok(Some(0))),
            (&["18446744073709551615"], Ok(Some(u64::MAX))),
            (&["18446744073709551616"], bad),
            (&["5", "5"], Ok(Some(5))),
            (&["5 , 5"], Ok(Some(5))),
            (&["5", "6"], bad),
            (&["5,"], bad),
            (&[""], bad),
            (&["+5"], bad),
            (&["-5"], bad),
            (&["5 5"], bad),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            assert_eq!(length(&headers), expected, "{values:?}");
        }
        let mut headers = HeaderMap::from_iter([(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
        assert_eq!(length(&headers), Ok(None));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert_eq!(length(&headers), bad);
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
