//! Field sections as QPACK writes them (RFC 9204), without a dynamic table.
//!
//! [`inspect`] finds what the decoder of the `h3` crate does not tell: that crate keeps the last of several pseudo-header fields, wherever they
//! stand, and takes those of answers in requests. [`encode`] writes the sections of answers.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::StatusCode;
use http::header::HeaderMap;

mod names;

/// A pseudo-header field of a request (RFC 9114 section 4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    /// One that a request must not have, or that there is not.
    Other,
}

/// Why a section is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A pseudo-header field twice.
    Twice,
    /// One behind a regular field.
    Order,
    /// One that requests have not.
    Unknown,
    /// More lines than there may be.
    Many,
    /// No method, no scheme or no path.
    Missing,
    /// The section breaks off, or refers to a table that there is not: the end of the connection (RFC 9204 section 2.2).
    Encoding,
}

/// Looks through the lines of a request's field section, of which there may be `lines_max`, and tells how many there are.
///
/// # Errors
/// When the section is malformed (RFC 9114 section 4.3), or lacks what requests of resources have: all but CONNECT (section 4.4).
pub fn inspect(section: &[u8], lines_max: usize) -> Result<usize, Malformed> {
    let mut rest = section;
    prefix(&mut rest).ok_or(Malformed::Encoding)?;
    let (mut seen, mut regular, mut lines) = ([false; 4], false, 0);
    while !rest.is_empty() {
        if lines == lines_max {
            return Err(Malformed::Many);
        }
        match line(&mut rest).ok_or(Malformed::Encoding)? {
            None => regular = true,
            Some(_) if regular => return Err(Malformed::Order),
            Some(Pseudo::Other) => return Err(Malformed::Unknown),
            Some(field) => {
                if std::mem::replace(&mut seen[field as usize], true) {
                    return Err(Malformed::Twice);
                }
            }
        }
        lines += 1;
    }
    let needed = [Pseudo::Method, Pseudo::Scheme, Pseudo::Path];
    if needed.iter().all(|field| seen[*field as usize]) { Ok(lines) } else { Err(Malformed::Missing) }
}

/// Whether the trailers of a request may be that: they have no pseudo-header fields (RFC 9114 section 4.3).
#[must_use]
pub fn is_trailer(section: &[u8]) -> bool {
    let mut rest = section;
    if prefix(&mut rest).is_none() {
        return false;
    }
    while !rest.is_empty() {
        if line(&mut rest) != Some(None) {
            return false;
        }
    }
    true
}

/// What a section begins with (section 4.5.1); without a dynamic table it needs none of its entries.
fn prefix(rest: &mut &[u8]) -> Option<()> {
    let needed = integer(rest, 8)?;
    integer(rest, 7)?;
    (needed == 0).then_some(())
}

/// The next line: the pseudo-header field it is, if it is one. `None` when there is no such line.
fn line(rest: &mut &[u8]) -> Option<Option<Pseudo>> {
    let first = *rest.first()?;
    if first & 0x80 != 0 {
        // Indexed (section 4.5.2); the static table only.
        let index = integer(rest, 6)?;
        return (first & 0x40 != 0).then(|| of_index(index));
    }
    if first & 0x40 != 0 {
        // Literal with the name of the static table (section 4.5.4).
        let index = integer(rest, 4)?;
        string(rest, 7)?;
        return (first & 0x10 != 0).then(|| of_index(index));
    }
    if first & 0x20 == 0 {
        return None;
    }
    // Literal name (section 4.5.6).
    let (huffman, name) = string(rest, 3)?;
    string(rest, 7)?;
    Some(of_name(huffman, name))
}

/// A string whose length has a prefix of `bits`, and the bit before them says whether it is Huffman-coded (RFC 7541 section 5.2).
fn string<'a>(rest: &mut &'a [u8], bits: u32) -> Option<(bool, &'a [u8])> {
    let huffman = *rest.first()? & (1 << bits) != 0;
    let length = usize::try_from(integer(rest, bits)?).ok()?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some((huffman, text))
}

/// An integer with a prefix of `bits` (RFC 7541 section 5.1), of at most 62 bits.
fn integer(rest: &mut &[u8], bits: u32) -> Option<u64> {
    let (first, mut behind) = rest.split_first()?;
    let most = (1_u64 << bits) - 1;
    let mut value = u64::from(*first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (byte, more) = behind.split_first()?;
            behind = more;
            if shift > 55 {
                return None;
            }
            value = value.checked_add(u64::from(byte & 0x7f) << shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = behind;
    Some(value)
}

/// The pseudo-header field that an entry of the static table has (RFC 9204 appendix A).
fn of_index(index: u64) -> Option<Pseudo> {
    match index {
        0 => Some(Pseudo::Authority),
        1 => Some(Pseudo::Path),
        15..=21 => Some(Pseudo::Method),
        22 | 23 => Some(Pseudo::Scheme),
        24..=28 | 63..=71 => Some(Pseudo::Other),
        _ => None,
    }
}

/// The pseudo-header field of a name that is written out. A coded name is compared as it is: there is one code for every text.
fn of_name(huffman: bool, name: &[u8]) -> Option<Pseudo> {
    /// The bits of `:`, seven of them, as a name begins with them.
    const COLON: u8 = 0b1011_1000;
    let pseudo = match (huffman, name) {
        (false, b":method") | (true, [0xb9, 0x49, 0x53, 0x39, 0xe4]) => Pseudo::Method,
        (false, b":scheme") | (true, [0xb8, 0x82, 0x4e, 0x5a, 0x4b]) => Pseudo::Scheme,
        (false, b":authority") | (true, [0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f]) => Pseudo::Authority,
        (false, b":path") | (true, [0xb9, 0x58, 0xd3, 0x3f]) => Pseudo::Path,
        (false, [b':', ..]) => Pseudo::Other,
        (true, [first, ..]) if first & 0xfe == COLON => Pseudo::Other,
        _ => return None,
    };
    Some(pseudo)
}

/// The field section of an answer's head.
#[must_use]
pub fn encode(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut section = BytesMut::with_capacity(64 + headers.len() * 40);
    section.put_slice(&[0, 0]);
    match names::of_status(status) {
        Some(index) => put_integer(&mut section, 0xc0, 6, index),
        None => {
            put_integer(&mut section, 0x50, 4, names::STATUS);
            put_string(&mut section, 0, 7, status.as_str().as_bytes());
        }
    }
    put_fields(&mut section, headers);
    section.freeze()
}

/// The field section of an answer's trailers.
#[must_use]
pub fn encode_trailers(headers: &HeaderMap) -> Bytes {
    let mut section = BytesMut::with_capacity(2 + headers.len() * 40);
    section.put_slice(&[0, 0]);
    put_fields(&mut section, headers);
    section.freeze()
}

fn put_fields(section: &mut BytesMut, headers: &HeaderMap) {
    headers.iter().for_each(|(name, value)| put_field(section, name.as_str(), value.as_bytes()));
}

/// Appends a line to a section. The name is in lower case.
pub fn put_field(section: &mut BytesMut, name: &str, value: &[u8]) {
    match names::of_field(name) {
        Some(index) => put_integer(section, 0x50, 4, index),
        None => put_string(section, 0x20, 3, name.as_bytes()),
    }
    put_string(section, 0, 7, value);
}

/// Text as it is: Huffman codes would save a fourth of it and cost more than the rest of an answer from memory.
fn put_string(to: &mut BytesMut, flags: u8, bits: u32, text: &[u8]) {
    put_integer(to, flags, bits, text.len() as u64);
    to.put_slice(text);
}

fn put_integer(to: &mut BytesMut, flags: u8, bits: u32, value: u64) {
    let most = (1_u64 << bits) - 1;
    if value < most {
        return to.put_u8(flags | value as u8);
    }
    to.put_u8(flags | most as u8);
    let mut left = value - most;
    while left >= 0x80 {
        to.put_u8(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    to.put_u8(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect(section: &[u8]) -> Result<usize, Malformed> {
        super::inspect(section, 5)
    }

    /// A section of the lines `(name, value)`, names and values written out.
    fn section(lines: &[(&str, &str)]) -> Vec<u8> {
        let mut section = BytesMut::from(&[0_u8, 0][..]);
        for (name, value) in lines {
            put_string(&mut section, 0x20, 3, name.as_bytes());
            put_string(&mut section, 0, 7, value.as_bytes());
        }
        section.to_vec()
    }

    #[test]
    fn pseudo_header_fields_come_first_and_once() {
        let path = (":path", "/");
        for (lines, expected) in [
            (&[(":method", "GET"), (":scheme", "https"), (":authority", "a"), path, ("accept", "*/*")][..], Ok(5)),
            (&[(":method", "CONNECT"), (":authority", "a")], Err(Malformed::Missing)),
            (&[path, (":scheme", "https")], Err(Malformed::Missing)),
            (&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), path], Err(Malformed::Many)),
            (&[path, path], Err(Malformed::Twice)),
            (&[("accept", "*/*"), path], Err(Malformed::Order)),
            (&[(":status", "200")], Err(Malformed::Unknown)),
            (&[(":protocol", "websocket")], Err(Malformed::Unknown)),
            (&[(":Path", "/")], Err(Malformed::Unknown)),
            (&[(":", "")], Err(Malformed::Unknown)),
        ] {
            assert_eq!(inspect(&section(lines)), expected, "{lines:?}");
        }
        assert!(is_trailer(&section(&[("a", "b")])) && !is_trailer(&section(&[path])) && !is_trailer(&[0]));
    }

    #[test]
    fn a_name_is_known_however_it_is_written() {
        let indexed = [0xc0 | 1];
        let by_reference = [0x51, 1, b'/'];
        let written = [&[0x25][..], b":path", &[1, b'/']].concat();
        let coded = [0x2c, 0xb9, 0x58, 0xd3, 0x3f, 1, b'/'];
        let ways = [&indexed[..], &by_reference, &written, &coded];
        // Method and scheme by their index.
        let begin = [0, 0, 0xc0 | 17, 0xc0 | 23];
        for first in ways {
            assert_eq!(inspect(&[&begin, first].concat()), Ok(3));
            for second in ways {
                assert_eq!(inspect(&[&begin, first, second].concat()), Err(Malformed::Twice), "{first:x?} {second:x?}");
            }
        }
        for (index, expected) in [(0_u8, Ok(4)), (15, Err(Malformed::Twice)), (25, Err(Malformed::Unknown)), (29, Ok(4))] {
            assert_eq!(inspect(&[&begin[..], &indexed, &[0xc0 | index]].concat()), expected, "{index}");
        }
    }

    #[test]
    fn what_breaks_off_or_needs_a_table_is_no_section() {
        let whole = section(&[(":path", "/"), ("accept", "*/*")]);
        let fine: Vec<usize> = (0..=whole.len()).filter(|end| inspect(&whole[..*end]) != Err(Malformed::Encoding)).collect();
        assert_eq!(fine, [2, 10, whole.len()]);
        for bytes in [
            &[1, 0][..],
            &[0, 0, 0x80],
            &[0, 0, 0x10],
            &[0, 0, 0x00, 0],
            &[0, 0, 0x40, 0],
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(inspect(bytes), Err(Malformed::Encoding), "{bytes:x?}");
        }
    }

    #[test]
    fn an_answer_is_written_line_by_line() {
        let mut headers = HeaderMap::new();
        headers.append("content-length", http::HeaderValue::from_static("5"));
        headers.append("x-a", http::HeaderValue::from_static("b"));
        headers.append("x-a", http::HeaderValue::from_static("c"));
        let expected = [&[0, 0, 0xc0 | 25, 0x54, 1, b'5'][..], b"\x23x-a\x01b\x23x-a\x01c"].concat();
        assert_eq!(encode(StatusCode::OK, &headers), expected);
        let teapot = encode(StatusCode::IM_A_TEAPOT, &HeaderMap::new());
        assert_eq!(teapot, [&[0, 0, 0x5f, 24 - 15, 3][..], b"418"].concat());
        let long = encode_trailers(
            &[(http::HeaderName::from_static("a"), http::HeaderValue::try_from("x".repeat(300)).unwrap())].into_iter().collect(),
        );
        assert_eq!(long[..6], [0, 0, 0x21, b'a', 127, 0x80 | (300 - 127 - 128) as u8]);
        assert_eq!((long[6], long.len()), (1, 7 + 300));
    }
}
