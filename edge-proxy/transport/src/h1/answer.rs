//! Writes the answers of the front door itself: one that is at hand in as few writes as the kernel takes, and the word to who is refused.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, Bytes};
use http::header;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::pace::Pace;
use crate::connection::Socket;
use crate::door::{self, Told};

/// An answer of at most so many bytes leaves as one piece: copying it costs less than having the kernel take it in several.
const COPIED_BYTES_MAX: usize = 4 * 1024;
/// Pieces given to the kernel at a time.
const PIECES_MAX: usize = 32;
/// How long a client that was refused may go on sending until the connection is closed, so that it reads what it is told.
pub(crate) const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// How much it may send meanwhile.
pub(crate) const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Head and body in one, if they are small.
pub(super) fn joined(head: [&[u8]; 3], body: &[Bytes]) -> Option<Vec<u8>> {
    let pieces = || head.iter().copied().chain(body.iter().map(|piece| &piece[..]));
    let length = pieces().map(<[u8]>::len).sum();
    (length <= COPIED_BYTES_MAX).then(|| {
        let mut joined = Vec::with_capacity(length);
        pieces().for_each(|piece| joined.extend_from_slice(piece));
        joined
    })
}

/// Pieces to be written one behind the other.
pub(super) struct Pieces<'a> {
    head: [&'a [u8]; 3],
    body: &'a mut [Bytes],
    at: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(head: [&'a [u8]; 3], body: &'a mut [Bytes]) -> Self {
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
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let left = self.head.iter().copied().chain(self.body[self.at..].iter().map(|piece| &piece[..]));
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(left.filter(|piece| !piece.is_empty())) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let written = match &slices[..count] {
            [one] => Pin::new(socket).poll_write(cx, one),
            several => Pin::new(socket).poll_write_vectored(cx, several),
        };
        match written? {
            Poll::Ready(0) => Poll::Ready(Err(ErrorKind::WriteZero.into())),
            Poll::Ready(written) => {
                pace.went(written);
                self.advance(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => poll_late(pace, cx),
        }
    }

    fn advance(&mut self, mut written: usize) {
        for piece in &mut self.head {
            let gone = written.min(piece.len());
            *piece = &piece[gone..];
            written -= gone;
        }
        while written > 0 && self.at < self.body.len() {
            let piece = &mut self.body[self.at];
            let gone = written.min(piece.len());
            piece.advance(gone);
            written -= gone;
            if piece.is_empty() {
                self.at += 1;
            }
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
    let common = door::text(told.status, &told.headers);
    let mut own = Vec::with_capacity(80);
    if !told.headers.contains_key(header::DATE) {
        // Writing into memory does not fail.
        let _ = write!(own, "Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    }
    let mut body = [if head_only { Bytes::new() } else { told.body }];
    let (_, is_whole) = Pieces::new([&common, &own, b"Connection: close\r\n\r\n"], &mut body).write(socket, pace).await;
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
