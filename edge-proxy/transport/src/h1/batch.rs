//! Bytes of an answer that leave together: its head, and what of its body is there.

use bytes::Bytes;

use super::answer::Written;
use crate::connection::Socket;
use crate::door::COPIED_BYTES_MAX;
use crate::pace::Pace;

/// Bytes of a body that are gathered before they leave, with their head the plaintext of one TLS record (RFC 8446 section 5.1). One piece more may come on
/// top.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// See the module.
pub(super) struct Batch {
    /// What is copied: the head, and behind it the body for as long as both are small.
    text: Vec<u8>,
    /// What follows as it is.
    pieces: Vec<Bytes>,
    /// Bytes of the body.
    body: usize,
    /// Bytes of head and framing.
    around: usize,
}

impl Batch {
    /// One that begins with a head.
    pub(super) fn of(head: Vec<u8>) -> Self {
        Self { around: head.len(), text: head, pieces: Vec::new(), body: 0 }
    }

    /// Whether nothing of a body is in it.
    pub(super) fn is_bodiless(&self) -> bool {
        self.body == 0
    }

    /// Whether it should leave before more is put in.
    pub(super) fn is_full(&self) -> bool {
        self.body >= BODY_BYTES_MAX
    }

    /// Puts in a piece of the body.
    pub(super) fn put(&mut self, piece: Bytes) {
        self.body += piece.len();
        self.add(piece);
    }

    /// Puts in a piece of the body as a chunk (RFC 9112 section 7.1).
    pub(super) fn put_chunk(&mut self, piece: Bytes) {
        let size = format!("{:x}\r\n", piece.len());
        self.put_framing(Bytes::from(size));
        self.put(piece);
        self.put_framing(Bytes::from_static(b"\r\n"));
    }

    /// Puts in the last chunk.
    pub(super) fn put_last_chunk(&mut self) {
        self.put_framing(Bytes::from_static(b"0\r\n\r\n"));
    }

    fn put_framing(&mut self, bytes: Bytes) {
        self.around += bytes.len();
        self.add(bytes);
    }

    fn add(&mut self, bytes: Bytes) {
        if self.pieces.is_empty() && self.text.len() + bytes.len() <= COPIED_BYTES_MAX {
            self.text.extend_from_slice(&bytes);
        } else {
            self.pieces.push(bytes);
        }
    }

    /// Writes all that is in it, at the pace that is asked of the client. Gives how many bytes of the body went, and whether it was all.
    pub(super) async fn write(&mut self, socket: &mut Socket, pace: &mut Pace) -> (u64, bool) {
        let (written, is_whole) = Written::new(&self.text, &mut self.pieces).write(socket, pace).await;
        let body = if is_whole { self.body as u64 } else { written.saturating_sub(self.around as u64) };
        self.text.clear();
        self.pieces.clear();
        (self.body, self.around) = (0, 0);
        (body, is_whole)
    }
}
