//! Cuts HTTP/3 frames (RFC 9114 section 7) out of the bytes of a stream as they come. No sockets, and no more memory than a frame may need.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// DATA.
pub const DATA: u64 = 0x0;
/// HEADERS.
pub const HEADERS: u64 = 0x1;
/// CANCEL_PUSH.
pub const CANCEL_PUSH: u64 = 0x3;
/// SETTINGS.
pub const SETTINGS: u64 = 0x4;
/// PUSH_PROMISE.
pub const PUSH_PROMISE: u64 = 0x5;
/// GOAWAY.
pub const GOAWAY: u64 = 0x7;
/// MAX_PUSH_ID.
pub const MAX_PUSH_ID: u64 = 0xd;
/// PRIORITY_UPDATE for a request (RFC 9218 section 7.2).
pub const PRIORITY_UPDATE: u64 = 0xf_0700;
/// Types of HTTP/2 that HTTP/3 has not: PRIORITY, PING, WINDOW_UPDATE, CONTINUATION (RFC 9114 section 11.2.1).
const OF_HTTP2: [u64; 4] = [0x2, 0x6, 0x8, 0x9];

/// The bytes of the longest header of a frame: type and length, each of at most 8 (RFC 9000 section 16).
pub(super) const HEADER_BYTES_MAX: usize = 16;

/// The bytes of the longest frame of a control stream that is heeded.
pub const CONTROL_BYTES_MAX: u64 = 4 * 1024;

/// What a kind of stream does with frames.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// A request: HEADERS come whole if they have no more than `head` bytes, DATA as it comes.
    Request {
        /// The longest field section, encoded.
        head: u64,
    },
    /// A client's control stream: the frames it has come whole, if they have no more than [`CONTROL_BYTES_MAX`].
    Control,
}

/// What is done with a frame.
enum Treatment {
    Whole(u64),
    InPieces,
    Skip,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame that has no place on this stream: H3_FRAME_UNEXPECTED.
    Unexpected(u64),
    /// A field section that is too long.
    HeadLength,
    /// Another frame that is too long: H3_EXCESSIVE_LOAD.
    Length(u64),
    /// The stream ended within a frame: H3_FRAME_ERROR.
    Truncated,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A frame: its type, and its whole payload.
    Frame(u64, Bytes),
    /// A piece of the payload of DATA, never empty.
    Data(Bytes),
}

/// Where in a stream the next byte is.
#[derive(Debug)]
enum At {
    /// In the type and length of a frame, of which so many bytes have come.
    Header([u8; 16], usize),
    /// In the payload of a frame that is wanted whole.
    Whole(u64, usize, BytesMut),
    /// In DATA, with so many bytes to come.
    Data(u64),
    /// In what nobody wants.
    Skipped(u64),
}

/// The frames of one stream.
#[derive(Debug)]
pub struct Frames {
    stream: Stream,
    at: At,
}

impl Frames {
    /// At the begin of a stream; behind the type of the stream, if it has one.
    #[must_use]
    pub fn of(stream: Stream) -> Self {
        Self { stream, at: At::Header([0; 16], 0) }
    }

    /// The next thing found in `input`, which is taken as far as it was read; `None` when all of it was.
    ///
    /// # Errors
    /// When the stream cannot go on.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Found>, Fault> {
        while !input.is_empty() {
            match &mut self.at {
                At::Header(bytes, filled) => {
                    bytes[*filled] = input.get_u8();
                    *filled += 1;
                    let Some((kind, length)) = header(&bytes[..*filled]) else { continue };
                    if let Some(found) = self.begin(kind, length)? {
                        return Ok(Some(found));
                    }
                }
                At::Whole(kind, left, payload) => {
                    let here = input.split_to(input.len().min(*left));
                    *left -= here.len();
                    if *left > 0 || !payload.is_empty() {
                        payload.extend_from_slice(&here);
                    }
                    if *left == 0 {
                        let whole = if payload.is_empty() { here } else { std::mem::take(payload).freeze() };
                        let found = Found::Frame(*kind, whole);
                        self.at = At::Header([0; 16], 0);
                        return Ok(Some(found));
                    }
                }
                At::Data(left) | At::Skipped(left) => {
                    let here = input.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()));
                    *left -= here.len() as u64;
                    let (is_data, ends) = (matches!(self.at, At::Data(_)), matches!(self.at, At::Data(0) | At::Skipped(0)));
                    if ends {
                        self.at = At::Header([0; 16], 0);
                    }
                    if is_data {
                        return Ok(Some(Found::Data(here)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the stream may end here.
    ///
    /// # Errors
    /// When it is within a frame.
    pub fn end(&self) -> Result<(), Fault> {
        match self.at {
            At::Header(_, 0) => Ok(()),
            _ => Err(Fault::Truncated),
        }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<Option<Found>, Fault> {
        let at = match self.treatment(kind)? {
            Treatment::Whole(max) if length > max && kind == HEADERS => return Err(Fault::HeadLength),
            Treatment::Whole(max) if length > max => return Err(Fault::Length(kind)),
            Treatment::Whole(_) if length == 0 => {
                self.at = At::Header([0; 16], 0);
                return Ok(Some(Found::Frame(kind, Bytes::new())));
            }
            // Within the bound, which is far below the size of memory.
            Treatment::Whole(_) => At::Whole(kind, usize::try_from(length).unwrap_or(usize::MAX), BytesMut::new()),
            _ if length == 0 => At::Header([0; 16], 0),
            Treatment::InPieces => At::Data(length),
            Treatment::Skip => At::Skipped(length),
        };
        self.at = at;
        Ok(None)
    }

    fn treatment(&self, kind: u64) -> Result<Treatment, Fault> {
        match (self.stream, kind) {
            (_, kind) if OF_HTTP2.contains(&kind) => Err(Fault::Unexpected(kind)),
            (Stream::Request { head }, HEADERS) => Ok(Treatment::Whole(head)),
            (Stream::Request { .. }, DATA) => Ok(Treatment::InPieces),
            (Stream::Request { .. }, CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID | PRIORITY_UPDATE)
            | (Stream::Control, DATA | HEADERS | PUSH_PROMISE) => Err(Fault::Unexpected(kind)),
            (Stream::Control, CANCEL_PUSH | SETTINGS | GOAWAY | MAX_PUSH_ID | PRIORITY_UPDATE) => Ok(Treatment::Whole(CONTROL_BYTES_MAX)),
            // RFC 9114 section 9: types that are not known are ignored.
            _ => Ok(Treatment::Skip),
        }
    }
}

/// Type and length of a frame, if they are there.
fn header(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut rest = bytes;
    let kind = varint(&mut rest)?;
    Some((kind, varint(&mut rest)?))
}

/// Takes a variable-length integer (RFC 9000 section 16) off the begin of `bytes`, if it is there whole.
#[must_use]
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let length = 1_usize << (first >> 6);
    let (whole, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(whole[1..].iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
}

/// Writes a variable-length integer; of a larger one than there are, the largest.
pub fn put_varint(to: &mut BytesMut, value: u64) {
    match value {
        0..0x40 => to.put_u8(value as u8),
        0x40..0x4000 => to.put_u16(0x4000 | value as u16),
        0x4000..0x4000_0000 => to.put_u32(0x8000_0000 | value as u32),
        _ => to.put_u64(0xc000_0000_0000_0000 | value.min((1 << 62) - 1)),
    }
}

/// Type and length of a frame, as they stand before its payload.
pub fn put_header(to: &mut BytesMut, kind: u64, length: usize) {
    put_varint(to, kind);
    put_varint(to, length as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        put_header(&mut bytes, kind, payload.len());
        bytes.extend_from_slice(payload);
        bytes.to_vec()
    }

    /// All that is found when the bytes come in pieces of `size`.
    fn found(stream: Stream, bytes: &[u8], size: usize) -> Result<Vec<Found>, Fault> {
        let mut frames = Frames::of(stream);
        let mut all = Vec::new();
        for piece in bytes.chunks(size) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(found) = frames.next(&mut input)? {
                match (all.last_mut(), found) {
                    // However it came, it is the same data.
                    (Some(Found::Data(before)), Found::Data(more)) => *before = [&before[..], &more[..]].concat().into(),
                    (_, found) => all.push(found),
                }
            }
        }
        frames.end().map(|()| all)
    }

    const REQUEST: Stream = Stream::Request { head: 100 };

    #[test]
    fn frames_are_the_same_however_their_bytes_come() {
        let grease = 0x1f * 1_000_000 + 0x21;
        let bytes = [
            frame(grease, &[0; 300]),
            frame(HEADERS, b"head"),
            frame(DATA, &[7; 70]),
            frame(grease, b""),
            frame(DATA, b""),
            frame(HEADERS, b""),
        ]
        .concat();
        let expected =
            [Found::Frame(HEADERS, Bytes::from_static(b"head")), Found::Data(vec![7; 70].into()), Found::Frame(HEADERS, Bytes::new())];
        for size in 1..bytes.len() {
            assert_eq!(found(REQUEST, &bytes, size).unwrap(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_stream_does_not_end_within_a_frame() {
        let bytes = [frame(HEADERS, b"head"), frame(DATA, b"body"), frame(0x21, b"skipped")].concat();
        let ends: Vec<usize> = (0..=bytes.len()).filter(|end| found(REQUEST, &bytes[..*end], 1).is_ok()).collect();
        assert_eq!(ends, [0, 6, 12, bytes.len()]);
    }

    #[test]
    fn what_is_too_long_is_refused_by_its_header_alone() {
        let mut header = BytesMut::new();
        put_header(&mut header, HEADERS, 101);
        assert_eq!(found(REQUEST, &header, 1), Err(Fault::HeadLength));
        let mut header = BytesMut::new();
        put_header(&mut header, SETTINGS, usize::MAX);
        assert_eq!(found(Stream::Control, &header, 1), Err(Fault::Length(SETTINGS)));
    }

    #[test]
    fn each_stream_has_its_frames() {
        for (kind, request, control) in [
            (DATA, true, false),
            (HEADERS, true, false),
            (PUSH_PROMISE, false, false),
            (SETTINGS, false, true),
            (CANCEL_PUSH, false, true),
            (GOAWAY, false, true),
            (MAX_PUSH_ID, false, true),
            (PRIORITY_UPDATE, false, true),
            (0x2, false, false),
            (0x6, false, false),
            (0x8, false, false),
            (0x9, false, false),
            (0x41, true, true),
        ] {
            assert_eq!(found(REQUEST, &frame(kind, b"x"), 1).is_ok(), request, "{kind:#x}");
            assert_eq!(found(Stream::Control, &frame(kind, b"x"), 1).is_ok(), control, "{kind:#x}");
        }
    }

    #[test]
    fn integers_are_read_as_they_are_written() {
        for value in [0, 0x3f, 0x40, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000, (1 << 62) - 1] {
            let mut bytes = BytesMut::new();
            put_varint(&mut bytes, value);
            let mut rest = &bytes[..];
            assert_eq!((varint(&mut rest), rest.len()), (Some(value), 0));
            assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
