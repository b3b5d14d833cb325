//! Writes gathered before they leave, so that what a protocol hands out piece by piece costs one system call.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Bytes that are gathered before they leave.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
/// A write of so much is not copied but leaves at once, with what was gathered before it.
const COPIED_BYTES_MAX: usize = 24 * 1024;
/// Pieces that leave in one system call.
const SLICES_MAX: usize = 8;

/// What was written to `io` and has not left.
#[derive(Debug)]
pub(crate) struct Gathered<S> {
    io: S,
    /// Bytes taken but not sent, from `sent` on.
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes that have left.
    left: u64,
    is_blocked: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, bytes: Vec::new(), sent: 0, left: 0, is_blocked: false }
    }

    /// What is written to, for what has no part in it.
    pub(crate) fn io(&mut self) -> &mut S {
        &mut self.io
    }

    /// Whether the other side took nothing more at the last try.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// How many bytes have left since this was asked.
    pub(crate) fn take_left(&mut self) -> u64 {
        std::mem::take(&mut self.left)
    }

    /// Takes what is written; less of it, or none for the moment, when as much is held as may be.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let held = self.bytes.len() - self.sent;
        if bytes >= COPIED_BYTES_MAX || held + bytes > GATHERED_BYTES_MAX {
            return self.poll_send(cx, slices);
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(bytes.max(GATHERED_BYTES_MAX / 4));
        }
        slices.iter().for_each(|slice| self.bytes.extend_from_slice(slice));
        Poll::Ready(Ok(bytes))
    }

    /// Sends what was gathered.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.bytes[self.sent..]);
            self.sent += ready!(self.wrote(written))?;
        }
        // An idle connection holds nothing.
        self.bytes = Vec::new();
        self.sent = 0;
        self.is_blocked = false;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Sends what was gathered, and of `slices` what goes along. Gives how much of them went.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let waiting = self.bytes.len() - self.sent;
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            all[0] = IoSlice::new(&self.bytes[self.sent..]);
            for (place, slice) in all[1..].iter_mut().zip(slices) {
                *place = IoSlice::new(slice);
            }
            let written = Pin::new(&mut self.io).poll_write_vectored(cx, &all[..=slices.len().min(SLICES_MAX - 1)]);
            let written = ready!(self.wrote(written))?;
            if written < waiting {
                self.sent += written;
                continue;
            }
            self.bytes.clear();
            self.sent = 0;
            if written > waiting {
                return Poll::Ready(Ok(written - waiting));
            }
        }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_blocked = written.is_pending();
        match ready!(written)? {
            0 => Poll::Ready(Err(ErrorKind::WriteZero.into())),
            bytes => {
                self.left += bytes as u64;
                Poll::Ready(Ok(bytes))
            }
        }
    }
}
