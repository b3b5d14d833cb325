//! The cookies of a request (RFC 6265 section 4.2), and patterns for their names.

use http::header::{COOKIE, HeaderMap};

/// Name and value of every cookie, in order; what is no `name=value` is left out. HTTP/2 may split them over several fields.
pub fn of(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
    })
}

/// Whether a name is the pattern, or starts with what stands before its `*`. Case counts.
#[must_use]
pub fn is_named(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => pattern.as_bytes() == name,
    }
}
