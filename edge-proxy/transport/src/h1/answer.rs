//! Writes the answers of the front door itself: one that is at hand in as few writes as the kernel takes, and the word to who is refused.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::text;
use crate::connection::Socket;
use crate::door::{self, COPIED_BYTES_MAX, LINGER_BYTES_MAX, LINGER_TIME_MAX, Told};
use crate::pace::Pace;

/// Pieces given to the kernel at a time.
const PIECES_MAX: usize = 32;

/// Puts the body behind the head, if both are small.
pub(super) fn join(head: &mut Vec<u8>, body: &[Bytes]) -> bool {
    let length = body.iter().map(Bytes::len).sum::<usize>();
    let is_small = head.len() + length <= COPIED_BYTES_MAX;
    if is_small {
        body.iter().for_each(|piece| head.extend_from_slice(piece));
    }
    is_small
}

/// Pieces to be written one behind the other.
pub(super) struct Written<'a> {
    head: &'a [u8],
    body: &'a mut [Bytes],
    at: usize,
}

impl<'a> Written<'a> {
    pub(super) fn new(head: &'a [u8], body: &'a mut [Bytes]) -> Self {
        Self { head, body, at: 0 }
    }

    /// Writes all of it. Returns how many bytes went, and whether that was all.
    pub(super) async fn write(&mut self, socket: &mut Socket, pace: &mut Pace) -> (u64, bool) {
        let mut sent = 0;
        loop {
            match poll_fn(|cx| self.poll_some(socket, pace, cx)).await {
                Ok(0) => break,
                Ok(written) => sent += written as u64,
                Err(_) => return (sent, false),
            }
        }
        let is_whole = !socket.is_tls() || poll_fn(|cx| poll_flush(socket, pace, cx)).await.is_ok();
        (sent, is_whole)
    }

    /// One write; 0 when nothing is left.
    fn poll_some(&mut self, socket: &mut Socket, pace: &mut Pace, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let body = &self.body[self.at..];
        let written = match (self.head, body) {
            ([], []) => return Poll::Ready(Ok(0)),
            (head, []) => Pin::new(socket).poll_write(cx, head),
            (head, body) => {
                let mut slices = [IoSlice::new(&[]); PIECES_MAX];
                let left = [head].into_iter().chain(body.iter().map(|piece| &piece[..])).filter(|piece| !piece.is_empty());
                let count = slices.iter_mut().zip(left).map(|(slot, piece)| *slot = IoSlice::new(piece)).count();
                Pin::new(socket).poll_write_vectored(cx, &slices[..count])
            }
        };
        match written? {
            Poll::Ready(0) => Poll::Ready(Err(ErrorKind::WriteZero.into())),
            Poll::Ready(written) => {
                pace.moved(written);
                self.advance(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => poll_late(pace, cx),
        }
    }

    fn advance(&mut self, mut written: usize) {
        let gone = written.min(self.head.len());
        self.head = &self.head[gone..];
        written -= gone;
        while let Some(piece) = self.body.get_mut(self.at) {
            let gone = written.min(piece.len());
            piece.advance(gone);
            written -= gone;
            if !piece.is_empty() {
                break;
            }
            self.at += 1;
        }
    }
}

fn poll_late<T>(pace: &mut Pace, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
    ready!(pace.poll_slow(cx));
    Poll::Ready(Err(ErrorKind::TimedOut.into()))
}

fn poll_flush(socket: &mut Socket, pace: &mut Pace, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match Pin::new(socket).poll_flush(cx) {
        Poll::Pending => poll_late(pace, cx),
        flushed => flushed,
    }
}

/// Tells a client that its request goes no further, and closes the connection so that it reads that.
pub(super) async fn refuse(socket: &mut Socket, told: Told, head_only: bool, pace: &mut Pace) {
    let Told { status, mut headers, body } = told;
    door::ensure_date(&mut headers);
    let mut head = Vec::with_capacity(text::room_for(&headers) + body.len());
    text::put(&mut head, status, &headers);
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    let mut body = [if head_only { Bytes::new() } else { body }];
    let (_, is_whole) = Written::new(&head, &mut body).write(socket, pace).await;
    if is_whole {
        linger(socket).await;
    }
}

/// Closes a connection on which the client may still be sending: a close with bytes unread would take the answer from it (RFC 9112 section 9.6).
pub(super) async fn linger(socket: &mut Socket) {
    let closing = async {
        if socket.shutdown().await.is_err() {
            return;
        }
        let (mut room, mut read) = ([0; 2048], 0);
        while let Ok(more @ 1..) = socket.read(&mut room).await {
            read += more;
            if read > LINGER_BYTES_MAX {
                return;
            }
        }
    };
    // Who goes on for longer is cut off.
    let _ = tokio::time::timeout(LINGER_TIME_MAX, closing).await;
}
