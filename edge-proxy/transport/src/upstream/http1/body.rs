//! Reads the body of an answer (RFC 9112 sections 6 and 7): by its length, in chunks, or up to the end of the connection.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{Method, StatusCode, header};

use super::Connection;
use super::head::Head;
use crate::h1::chunks::Chunks;
use crate::upstream::UpstreamErrorKind;
use crate::upstream::failure::{Due, Failed};

/// Bytes of a body that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// The body of one answer, and the connection it comes over.
#[derive(Debug)]
pub(in crate::upstream) struct Reading {
    connection: Box<Connection>,
    rest: Rest,
    /// Whether the connection may be used again.
    keeps: bool,
}

/// What is to come.
#[derive(Debug)]
enum Rest {
    /// So many bytes.
    Bytes(u64),
    Chunks(Chunks),
    /// All up to the end.
    UntilClose,
    /// Nothing that could be trusted.
    Broken,
}

impl Reading {
    /// The body behind a final head, which answers `method`.
    pub(super) fn of(connection: Box<Connection>, head: &Head, method: &Method, keeps: bool) -> Self {
        let is_bodiless = *method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let rest = match head.length {
            _ if is_bodiless => Rest::Bytes(0),
            _ if head.headers.contains_key(header::TRANSFER_ENCODING) => Rest::Chunks(Chunks::default()),
            Some(length) => Rest::Bytes(length),
            None => Rest::UntilClose,
        };
        Self { connection, rest, keeps }
    }

    /// Whether the whole body has been read, as far as that is known without waiting.
    pub(in crate::upstream) fn is_done(&self) -> bool {
        match &self.rest {
            Rest::Bytes(left) => *left == 0,
            Rest::Chunks(chunks) => chunks.is_done(),
            Rest::UntilClose | Rest::Broken => false,
        }
    }

    /// The connection, once the body has been read: if it may be used again.
    pub(in crate::upstream) fn into_connection(self) -> Option<Box<Connection>> {
        // Bytes behind an answer that nobody asked for make everything doubtful that follows.
        (self.keeps && self.is_done() && self.connection.read.is_empty()).then_some(self.connection)
    }

    /// The next piece, never empty; `None` at the end.
    pub(in crate::upstream) fn poll_piece(&mut self, cx: &mut Context<'_>, due: &Due) -> Poll<Result<Option<Bytes>, Failed>> {
        loop {
            let held = self.connection.read.len();
            let (piece, wanted) = match &mut self.rest {
                Rest::Bytes(0) => return Poll::Ready(Ok(None)),
                Rest::Bytes(left) => {
                    let piece = usize::try_from(*left).unwrap_or(usize::MAX).min(held);
                    *left -= piece as u64;
                    (piece, usize::try_from(*left).unwrap_or(usize::MAX))
                }
                Rest::Chunks(chunks) if chunks.is_done() => return Poll::Ready(Ok(None)),
                Rest::Chunks(_) => match self.chunk() {
                    Ok(piece) => (piece, usize::MAX),
                    Err(failed) => return Poll::Ready(Err(failed)),
                },
                Rest::UntilClose => (held, usize::MAX),
                Rest::Broken => return Poll::Ready(Err(bad_chunk())),
            };
            if piece > 0 {
                let piece = self.connection.read.split_to(piece).freeze();
                self.look_for_end();
                return Poll::Ready(Ok(Some(piece)));
            }
            // What is held of chunks is no content; it may have been the end.
            if matches!(&self.rest, Rest::Chunks(chunks) if chunks.is_done()) {
                continue;
            }
            let came = ready!(self.connection.poll_fill(cx, wanted.min(READ_BYTES), due))?;
            if came == 0 {
                return Poll::Ready(match self.rest {
                    Rest::UntilClose => {
                        self.rest = Rest::Bytes(0);
                        self.keeps = false;
                        Ok(None)
                    }
                    _ => Err(Failed::new(UpstreamErrorKind::Cut, "the connection ended before it")),
                });
            }
        }
    }

    /// Passes over what is no content, and says how many bytes of content follow.
    fn chunk(&mut self) -> Result<usize, Failed> {
        let Rest::Chunks(chunks) = &mut self.rest else { return Ok(0) };
        let buffer = &mut self.connection.read;
        match chunks.skip(buffer) {
            Ok(skipped) => {
                buffer.advance(skipped);
                Ok(chunks.content(buffer.len()))
            }
            Err(_) => {
                self.rest = Rest::Broken;
                Err(bad_chunk())
            }
        }
    }

    /// Passes over what follows a piece, so that the end is known with the last piece of chunks as it is with that of a length.
    fn look_for_end(&mut self) {
        let Rest::Chunks(chunks) = &mut self.rest else { return };
        match chunks.skip(&self.connection.read) {
            Ok(skipped) => self.connection.read.advance(skipped),
            Err(_) => self.rest = Rest::Broken,
        }
    }
}

fn bad_chunk() -> Failed {
    Failed::new(UpstreamErrorKind::BadChunk, "its chunks are not well formed")
}
