//! The head of an HTTP/1.1 request, from its bytes: found, then read by one strict rule before anything else sees it.
//!
//! The tokens are `httparse`'s work. What that lets pass and two readers could take for different things is refused here: single CR or LF, more than
//! one word on where the body ends, a `Host` that is not the target's. Pure: no socket, no clock.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use skerry_config::process::Limits;

use crate::head::{self, Head, Line, Refusal, field_bytes};

/// Empty lines before a request that are overlooked (RFC 9112 section 2.2).
pub const EMPTY_LINES_MAX: usize = 4;
/// Bytes of a request line besides its target.
const LINE_BYTES_MAX: usize = 128;
/// Fields for which the stack has room.
const FIELDS_AT_HAND: usize = 64;

/// Looks for the end of a head while it comes, and refuses it as soon as it can be no good one.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    seen: usize,
    line: usize,
    lines: usize,
}

impl Finder {
    /// The length of the head that `bytes` begin with; `None` when its end is not among them. To be asked with the same bytes and more of them, empty
    /// lines before the head not among them.
    ///
    /// # Errors
    /// When a line does not end with CR and LF, or a bound is passed.
    pub fn find(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        for at in memchr::memchr_iter(b'\n', bytes.get(self.seen..).unwrap_or_default()).map(|at| self.seen + at) {
            // No other CR but before its LF: no two readers take the line for different ones.
            if memchr::memchr(b'\r', &bytes[self.line..=at]).is_none_or(|end| self.line + end + 1 != at) {
                return Err(Refusal::LineEnd);
            }
            let is_empty = at == self.line + 1;
            self.line = at + 1;
            if is_empty && self.lines == 0 {
                return Err(Refusal::Line);
            }
            if is_empty {
                return self.check(at + 1, limits).map(|()| Some(at + 1));
            }
            self.lines += 1;
        }
        self.seen = bytes.len();
        self.check(bytes.len(), limits).map(|()| None)
    }

    fn check(&self, length: usize, limits: &Limits) -> Result<(), Refusal> {
        if self.lines == 0 && length > bound(limits.target.0).saturating_add(LINE_BYTES_MAX) {
            return Err(Refusal::TargetLength);
        }
        if self.lines.saturating_sub(1) > limits.fields as usize {
            return Err(Refusal::FieldCount);
        }
        if length > bound(limits.head.0).saturating_add(LINE_BYTES_MAX) { Err(Refusal::HeadLength) } else { Ok(()) }
    }
}

fn bound(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It has none.
    None,
    /// After so many bytes, at least one.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// A request, as far as its head tells.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// What follows the head.
    pub rest: Rest,
    /// Whether the client would like to go on with this connection.
    pub keeps_alive: bool,
    /// Whether it speaks HTTP/1.0.
    pub is_old: bool,
}

/// What follows the head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Its body.
    pub body: Body,
    /// Whether the client waits for an interim answer before it sends the body.
    pub waits: bool,
    /// Whether another protocol may follow, if the answer agrees.
    pub upgrade: bool,
}

impl Request {
    /// Reads a whole head, as [`Finder`] found it.
    ///
    /// # Errors
    /// When it is not what RFC 9112 asks for, could be read in two ways, or is over a bound.
    pub fn read(bytes: &Bytes, limits: &Limits, tls: bool) -> Result<Self, Refusal> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_AT_HAND];
        match Self::read_into(bytes, &mut room, limits, tls) {
            Err(Refusal::FieldCount) => {
                let mut room = vec![MaybeUninit::uninit(); memchr::memchr_iter(b'\n', bytes).count()];
                Self::read_into(bytes, &mut room, limits, tls)
            }
            read => read,
        }
    }

    fn read_into<'a>(
        bytes: &'a Bytes,
        room: &mut [MaybeUninit<httparse::Header<'a>>],
        limits: &Limits,
        tls: bool,
    ) -> Result<Self, Refusal> {
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(bytes, room) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Refusal::Field),
            Err(error) => return Err(refusal_of(error, bytes)),
        }
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else { return Err(Refusal::Line) };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Line)?;
        if target.len() > bound(limits.target.0) {
            return Err(Refusal::TargetLength);
        }
        let Fields { host, headers, size } = Fields::of(bytes, parsed.headers)?;
        // `Host`, which HTTP/2 has as a pseudo-header field, is among the fields.
        let size = size + field_bytes(":path", target.len()) + field_bytes(":method", method.as_str().len());
        if size > bound(limits.head.0) {
            return Err(Refusal::HeadLength);
        }
        let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        Self::of(Line { method, version, ..target_of(target)? }, host, headers, limits, tls)
    }

    fn of(line: Line<'_>, host: Option<&[u8]>, headers: HeaderMap, limits: &Limits, tls: bool) -> Result<Self, Refusal> {
        if let Some(authority) = line.authority {
            // RFC 9112 section 3.2: a client says the same in both, so that no two readers can go by different ones.
            if host.is_some_and(|host| host != authority.as_bytes()) || (host.is_none() && line.version == Version::HTTP_11) {
                return Err(Refusal::Host);
            }
        }
        let is_old = line.version == Version::HTTP_10;
        let body = framing(&headers, is_old)?;
        if let Body::Length(length) = body
            && limits.body.0 != 0
            && length > limits.body.0
        {
            return Err(Refusal::BodyLength);
        }
        let connection = |option| head::names(&headers, &header::CONNECTION, option);
        let keeps_alive = if is_old { connection("keep-alive") && !connection("close") } else { !connection("close") };
        let waits = body != Body::None && !is_old && head::names(&headers, &header::EXPECT, "100-continue");
        let head = Head::hosted(line, host, headers, tls)?;
        Ok(Self { rest: Rest { body, waits, upgrade: head.upgrade }, head, keeps_alive, is_old })
    }
}

/// What was wrong with a head that could not be parsed.
fn refusal_of(error: httparse::Error, bytes: &[u8]) -> Refusal {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match error {
        // A version that there is, or could be, is told from what is none.
        httparse::Error::Version => match line.split(|byte| *byte == b' ').collect::<Vec<_>>()[..] {
            [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                Refusal::Version
            }
            _ => Refusal::Line,
        },
        // The ends of all lines were looked at before: here it is something between the version and its line's end.
        httparse::Error::Token | httparse::Error::NewLine => Refusal::Line,
        httparse::Error::TooManyHeaders => Refusal::FieldCount,
        _ => Refusal::Field,
    }
}

/// The fields of a head.
struct Fields<'a> {
    /// `Host`, which is not among the others.
    host: Option<&'a [u8]>,
    /// Their values are shared with the head's bytes.
    headers: HeaderMap,
    /// The size of all, see [`field_bytes`].
    size: usize,
}

impl<'a> Fields<'a> {
    fn of(bytes: &'a Bytes, parsed: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let mut fields = Self { host: None, headers: HeaderMap::with_capacity(parsed.len().saturating_sub(1)), size: 0 };
        for field in parsed {
            fields.size += field_bytes(field.name, field.value.len());
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::Field)?;
            if name == header::HOST {
                if fields.host.replace(field.value).is_some() {
                    return Err(Refusal::Host);
                }
                continue;
            }
            let value = HeaderValue::from_maybe_shared(bytes.slice(within(bytes, field.value))).map_err(|_| Refusal::Field)?;
            fields.headers.append(name, value);
        }
        Ok(fields)
    }
}

/// Where `part`, a slice of `whole`, is in it.
fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let from = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len());
    from..(from + part.len()).min(whole.len())
}

/// Authority, and path with query, of a target in origin or absolute form (RFC 9112 section 3.2).
fn target_of(target: &str) -> Result<Line<'_>, Refusal> {
    let line = |authority, path_and_query| Line { method: Method::GET, version: Version::HTTP_11, authority, path_and_query };
    if target.starts_with('/') {
        return Ok(line(None, Some(target)));
    }
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    let Some(scheme) = scheme else {
        // The authority form is CONNECT's, which is refused by its name; the asterisk form asks about the server, not a site.
        return Ok(line(None, Some(target)));
    };
    let rest = &target[scheme.len()..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.is_empty() {
        return Err(Refusal::Host);
    }
    Ok(line(Some(authority), (!rest.is_empty()).then_some(rest)))
}

/// Where the body ends, if all that is said of it says the same.
fn framing(headers: &HeaderMap, is_old: bool) -> Result<Body, Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Body::None),
        (Some(_), Some(_)) => Err(Refusal::Framing),
        (Some(coding), None) => {
            if is_old || codings.next().is_some() {
                return Err(Refusal::Framing);
            }
            let coding = coding.as_bytes();
            let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
            match (coding.eq_ignore_ascii_case(b"chunked"), last.eq_ignore_ascii_case(b"chunked") && coding.contains(&b',')) {
                (true, _) => Ok(Body::Chunked),
                (_, true) => Err(Refusal::Coding),
                _ => Err(Refusal::Framing),
            }
        }
        (None, Some(length)) => {
            let length = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            match (length.and_then(|text| text.parse().ok()), lengths.next()) {
                (Some(0), None) => Ok(Body::None),
                (Some(length), None) => Ok(Body::Length(length)),
                _ => Err(Refusal::Framing),
            }
        }
    }
}

#[cfg(test)]
mod tests;
