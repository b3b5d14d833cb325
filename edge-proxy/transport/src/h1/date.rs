//! The head of an answer as Pingora wrote it: its status, and its `Date` replaced. Nothing but the value of that one field is ever changed.

use http::header::HeaderValue;

/// The status of the answer whose head `bytes` are; `None` when they are none.
pub(super) fn status(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `head` with this `Date`; `None` when it has none.
pub(super) fn replaced(head: &[u8], date: &HeaderValue) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\r\ndate: ";
    let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let from = head[..end].windows(NAME.len()).position(|bytes| bytes.eq_ignore_ascii_case(NAME))? + NAME.len();
    let to = from + head[from..].iter().position(|byte| *byte == b'\r')?;
    Some([&head[..from], date.as_bytes(), &head[to..]].concat())
}
