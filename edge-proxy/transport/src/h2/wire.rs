//! The bytes of a connection below the `h2` crate: what it writes in one go leaves in one go, and what passes by is counted.
//!
//! The crate hands out its frames one by one and flushes after each; a system call for each would cost more than all the rest of a small answer.
//! So they are [gathered](crate::gather), and [`Wire::poll_drain`] sends them when the crate has nothing more to write for the moment.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frames::{Frames, kind, priority_update};
use crate::connection::Socket;
use crate::gather::Gathered;
use crate::priority::Priority;

/// Priorities that wait to be taken note of; what is above is forgotten, as RFC 9218 section 7.1 allows.
const UPDATES_MAX: usize = 256;

/// What went by in a period.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Header blocks of the client: requests, and trailers.
    pub(super) heads: u64,
    /// Frames of the client that move nothing: neither heads nor DATA.
    pub(super) control: u64,
    /// RST_STREAM frames of the client.
    pub(super) resets: u64,
    /// Bytes sent.
    pub(super) sent: u64,
}

/// What happened since the last look.
pub(super) struct Noticed {
    /// Streams reset because a message on them is malformed (RFC 9113 section 8.1.1).
    pub(super) malformed: u64,
    /// Priorities that the client has changed.
    pub(super) updates: Vec<(u32, Priority)>,
    /// Whether the figures were found to be a flood.
    pub(super) flood: bool,
}

/// A client's socket. Clones are the same one; the lock is held for a call of the socket's.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    gathered: Gathered<Socket>,
    incoming: Frames,
    outgoing: Frames,
    /// When what the client has not finished began to come.
    unfinished: Option<Instant>,
    tally: Tally,
    malformed: u64,
    updates: Vec<(u32, Priority)>,
}

impl Wire {
    pub(super) fn new(socket: Socket) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            gathered: Gathered::new(socket),
            incoming: Frames::from_client(),
            outgoing: Frames::from_server(),
            unfinished: None,
            tally: Tally::default(),
            malformed: 0,
            updates: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Sends what was gathered.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().gathered.poll_drain(cx)
    }

    /// Whether the client takes no more bytes for the moment.
    pub(super) fn is_blocked(&self) -> bool {
        self.lock().gathered.is_blocked()
    }

    /// When a head or a frame other than DATA began that has not ended.
    pub(super) fn unfinished_since(&self) -> Option<Instant> {
        self.lock().unfinished
    }

    /// What happened that the crate says nothing of; `is_flood` judges the figures.
    pub(super) fn notice(&self, is_flood: impl FnOnce(&Tally) -> bool) -> Noticed {
        let mut inner = self.lock();
        inner.tally.sent += inner.gathered.take_left();
        Noticed {
            malformed: std::mem::take(&mut inner.malformed),
            updates: std::mem::take(&mut inner.updates),
            flood: is_flood(&inner.tally),
        }
    }

    /// The figures since the last call.
    pub(super) fn take_tally(&self) -> Tally {
        let mut inner = self.lock();
        inner.tally.sent += inner.gathered.take_left();
        std::mem::take(&mut inner.tally)
    }
}

impl Inner {
    fn came(&mut self, bytes: &[u8]) {
        let Self { incoming, tally, updates, unfinished, .. } = self;
        let mut ended_one = false;
        incoming.follow(bytes, |kind, payload| {
            ended_one = true;
            match kind {
                kind::HEADERS => tally.heads += 1,
                kind::DATA | kind::CONTINUATION => {}
                kind::RST_STREAM => tally.resets += 1,
                kind::PRIORITY_UPDATE => {
                    tally.control += 1;
                    updates.extend(priority_update(payload).filter(|_| updates.len() < UPDATES_MAX));
                }
                _ => tally.control += 1,
            }
        });
        match incoming.is_within() {
            false => *unfinished = None,
            // CONTINUATION after CONTINUATION is still the one head.
            true if unfinished.is_none() || (ended_one && !incoming.is_in_block()) => *unfinished = Some(Instant::now()),
            true => {}
        }
    }

    fn left(&mut self, slices: &[IoSlice<'_>], bytes: usize) {
        let Self { outgoing, malformed, .. } = self;
        let mut bytes = bytes;
        for slice in slices {
            let part = &slice[..slice.len().min(bytes)];
            bytes -= part.len();
            outgoing.follow(part, |kind, payload| {
                const PROTOCOL_ERROR: &[u8] = &[0, 0, 0, 1];
                if kind == kind::RST_STREAM && payload == PROTOCOL_ERROR {
                    *malformed += 1;
                }
            });
        }
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let taken = ready!(self.gathered.poll_take(cx, slices))?;
        self.left(slices, taken);
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        let before = buf.filled().len();
        ready!(Pin::new(inner.gathered.io()).poll_read(cx, buf))?;
        inner.came(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_take(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.lock().poll_take(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done by [`Wire::poll_drain`], when the crate has nothing more to write.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.gathered.poll_drain(cx))?;
        Pin::new(inner.gathered.io()).poll_shutdown(cx)
    }
}
