//! Reads heads of answers out of what has come of a connection (RFC 9112 sections 2 to 5).
//!
//! As lenient as origins need it, folded lines and spaces before a colon among it, and never about where an answer ends.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use httparse::{ParserConfig, Status};

use crate::sound::{self, HEAD_BYTES_MAX};
use crate::upstream::UpstreamErrorKind;

/// Fields of one head; more are too many.
const FIELDS_MAX: usize = 256;

/// A head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What `Content-Length` says.
    pub(super) length: Option<u64>,
}

/// How far a head has come.
#[derive(Debug, Default)]
pub(super) struct Coming {
    /// Bytes in which no end was found.
    searched: usize,
    /// It is read again, to see whether it can become one, when so many bytes are there.
    again_at: usize,
}

impl Coming {
    /// Takes a head out of `buffer`, when it is whole.
    ///
    /// # Errors
    /// With the kind of what is wrong.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, UpstreamErrorKind> {
        if !self.has_end(buffer) {
            if buffer.len() > HEAD_BYTES_MAX {
                return Err(UpstreamErrorKind::HeadTooLarge);
            }
            // What drips in is not read anew with each drop.
            if buffer.len() < self.again_at {
                return Ok(None);
            }
            self.again_at = buffer.len() * 2;
        }
        let Some((head, bytes)) = read(buffer)? else {
            // Empty lines in front of a head have an end each, and bring none nearer.
            return if buffer.len() > HEAD_BYTES_MAX { Err(UpstreamErrorKind::HeadTooLarge) } else { Ok(None) };
        };
        *self = Self::default();
        buffer.advance(bytes);
        Ok(Some(head))
    }

    /// Whether an empty line has come.
    fn has_end(&mut self, buffer: &[u8]) -> bool {
        let from = self.searched.saturating_sub(2);
        self.searched = buffer.len();
        let mut ends = memchr::memchr_iter(b'\n', &buffer[from..]).map(|at| &buffer[from + at + 1..]);
        ends.any(|line| line.starts_with(b"\n") || line.starts_with(b"\r\n"))
    }
}

/// The head that `buffer` begins with and its length in bytes, when it is whole.
fn read(buffer: &[u8]) -> Result<Option<(Head, usize)>, UpstreamErrorKind> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let mut parser = ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
    let length = match parser.parse_response_with_uninit_headers(&mut answer, buffer, &mut fields) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(UpstreamErrorKind::HeadTooLarge),
        Err(_) => return Err(UpstreamErrorKind::BadHead),
    };
    if length > HEAD_BYTES_MAX {
        return Err(UpstreamErrorKind::HeadTooLarge);
    }
    // The values share this, and not the buffer, in which a body may follow.
    let text = Bytes::copy_from_slice(&buffer[..length]);
    let mut headers = HeaderMap::with_capacity(answer.headers.len());
    for field in &*answer.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| UpstreamErrorKind::BadHead)?;
        let at = field.value.as_ptr() as usize - buffer.as_ptr() as usize;
        let value = value(text.slice(at..at + field.value.len()))?;
        headers.try_append(name, value).map_err(|_| UpstreamErrorKind::HeadTooLarge)?;
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(UpstreamErrorKind::BadHead)?;
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let said = sound::length(&headers)?;
    Ok(Some((Head { version, status, headers, length: said }, length)))
}

/// A value, whose lines become one where it is folded (RFC 9112 section 5.2).
fn value(text: Bytes) -> Result<HeaderValue, UpstreamErrorKind> {
    let text = if memchr::memchr2(b'\r', b'\n', &text).is_some() {
        let lines = text.split(|byte| matches!(byte, b'\r' | b'\n')).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(&b' ').into()
    } else {
        text
    };
    HeaderValue::from_maybe_shared(text).map_err(|_| UpstreamErrorKind::BadHead)
}

impl Head {
    /// How long the connection may be kept for another request, `None` when it may not be (RFC 9112 section 9.3).
    pub(super) fn keeps(&self, most: Duration) -> Option<Duration> {
        let is_old = self.version == Version::HTTP_10;
        if is_old && self.headers.contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let says = |option: &str| has_member(&self.headers, header::CONNECTION, |member| member.eq_ignore_ascii_case(option));
        if says("close") || (is_old && !says("keep-alive")) {
            return None;
        }
        let mut time = most;
        has_member(&self.headers, HeaderName::from_static("keep-alive"), |member| {
            let said = member.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
            if let Some(seconds) = said.and_then(|(_, seconds)| seconds.trim().parse().ok()) {
                time = time.min(Duration::from_secs(seconds));
            }
            false
        });
        (!time.is_zero()).then_some(time)
    }
}

/// Whether a field that is a list has a member of which `is` is true.
fn has_member(headers: &HeaderMap, name: HeaderName, mut is: impl FnMut(&str) -> bool) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| is(member.trim()))
}

#[cfg(test)]
mod tests;
