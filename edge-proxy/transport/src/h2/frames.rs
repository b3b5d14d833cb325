//! Follows the frames of a connection as their bytes go by (RFC 9113 section 4.1), without keeping them.
//!
//! The `h2` crate answers most frames by itself and tells nobody: this is how their number can have a bound, and how the priorities of RFC 9218
//! are known.

use crate::priority::Priority;

/// The bytes in front of every frame's payload.
const HEAD_BYTES: usize = 9;
/// The bytes of a payload that are kept: a RST_STREAM, or the field of a PRIORITY_UPDATE with room for parameters nobody knows.
const KEPT_BYTES_MAX: usize = 64;
/// The bytes of a client's preface before its first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: u32 = 24;

/// The types of frames that are told apart.
pub(super) mod kind {
    pub(in crate::h2) const DATA: u8 = 0;
    pub(in crate::h2) const HEADERS: u8 = 1;
    pub(in crate::h2) const RST_STREAM: u8 = 3;
    pub(in crate::h2) const CONTINUATION: u8 = 9;
    pub(in crate::h2) const PRIORITY_UPDATE: u8 = 16;
}

const END_HEADERS: u8 = 4;

/// The stream that a PRIORITY_UPDATE is about and its priority (RFC 9218 section 7.1). `None` when it names none.
pub(super) fn priority_update(payload: &[u8]) -> Option<(u32, Priority)> {
    let (stream, value) = payload.split_first_chunk()?;
    Some((u32::from_be_bytes(*stream) & 0x7fff_ffff, Priority::read(value)))
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes left of what comes before the first frame.
    preface: u32,
    head: [u8; HEAD_BYTES],
    filled: usize,
    /// Bytes left of the payload, once the head is filled.
    left: u32,
    kept: Vec<u8>,
    /// Whether a header block has begun and not ended.
    block: bool,
}

impl Frames {
    pub(super) fn from_client() -> Self {
        Self { preface: PREFACE_BYTES, ..Self::from_server() }
    }

    pub(super) fn from_server() -> Self {
        Self { preface: 0, head: [0; HEAD_BYTES], filled: 0, left: 0, kept: Vec::new(), block: false }
    }

    /// Whether something has begun that is of no use before its end: a header block, or a frame other than DATA.
    pub(super) fn is_within(&self) -> bool {
        let (in_head, in_frame) = (self.filled > 0 && self.filled < HEAD_BYTES, self.filled == HEAD_BYTES);
        self.block || in_head || (in_frame && self.head[3] != kind::DATA)
    }

    /// Whether a header block has begun and not ended.
    pub(super) fn is_in_block(&self) -> bool {
        self.block
    }

    /// Goes along with `bytes`, and calls `ended` with type and payload at the end of each frame; of a payload there is what is kept.
    pub(super) fn follow(&mut self, mut bytes: &[u8], mut ended: impl FnMut(u8, &[u8])) {
        if self.preface > 0 {
            let skipped = bytes.len().min(self.preface as usize);
            self.preface -= u32::try_from(skipped).unwrap_or(self.preface);
            bytes = &bytes[skipped..];
        }
        while !bytes.is_empty() {
            if self.filled < HEAD_BYTES {
                let taken = bytes.len().min(HEAD_BYTES - self.filled);
                self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                self.filled += taken;
                bytes = &bytes[taken..];
                if self.filled < HEAD_BYTES {
                    return;
                }
                self.left = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]);
                if matches!(self.head[3], kind::HEADERS | kind::CONTINUATION) {
                    self.block = true;
                }
            }
            let taken = bytes.len().min(self.left as usize);
            if matches!(self.head[3], kind::RST_STREAM | kind::PRIORITY_UPDATE) {
                let room = KEPT_BYTES_MAX - self.kept.len();
                self.kept.extend_from_slice(&bytes[..taken.min(room)]);
            }
            self.left -= u32::try_from(taken).unwrap_or(self.left);
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.end(&mut ended);
            }
        }
    }

    fn end(&mut self, ended: &mut impl FnMut(u8, &[u8])) {
        let (kind, flags) = (self.head[3], self.head[4]);
        if matches!(kind, kind::HEADERS | kind::CONTINUATION) && flags & END_HEADERS != 0 {
            self.block = false;
        }
        ended(kind, &self.kept);
        self.filled = 0;
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn frames_are_told_apart_however_the_bytes_come() {
        let sent = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(4, 0, &[]),
            &frame(kind::HEADERS, 0, b"a"),
            &frame(kind::CONTINUATION, END_HEADERS, b"bc"),
            &frame(kind::DATA, 1, &[7; 300]),
            &frame(kind::RST_STREAM, 0, &[0, 0, 0, 8]),
            &frame(kind::PRIORITY_UPDATE, 0, &[1; 100]),
        ]
        .concat();
        for size in [1, 2, 8, 10, 500] {
            let (mut frames, mut seen) = (Frames::from_client(), Vec::new());
            for bytes in sent.chunks(size) {
                frames.follow(bytes, |kind, kept| seen.push((kind, kept.len())));
            }
            assert_eq!(seen, [(4, 0), (1, 0), (9, 0), (0, 0), (3, 4), (16, KEPT_BYTES_MAX)], "{size}");
            assert!(!frames.is_within());
        }
    }

    #[test]
    fn an_update_names_its_stream() {
        assert_eq!(priority_update(b"\x80\x00\x00\x05u=1"), Some((5, Priority { urgency: 1, incremental: false })));
        assert_eq!(priority_update(b"\x00\x00\x00\x05\xff"), Some((5, Priority::default())));
        assert_eq!(priority_update(b"\x00\x00\x05"), None);
    }

    #[test]
    fn what_is_unfinished_is_known() {
        let block = frame(kind::HEADERS, 0, b"a");
        for (sent, within) in [
            (&b""[..], false),
            (&block[..1], true),
            (&block[..], true),
            (&frame(6, 0, &[0; 8])[..12], true),
            (&frame(kind::DATA, 0, &[0; 8])[..12], false),
        ] {
            let mut frames = Frames::from_server();
            frames.follow(sent, |_, _| {});
            assert_eq!(frames.is_within(), within, "{sent:?}");
        }
    }
}
