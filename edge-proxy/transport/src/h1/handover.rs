//! A connection in Pingora's hands for one request.
//!
//! Pingora reads the bytes of exactly this request, every one of them checked: its head, its body as far as it is framed, and then nothing until the
//! client leaves. What comes early waits here for the front door, which gets the connection back when Pingora lets go of it. After an upgrade
//! everything goes through as it is.
//!
//! On the way out an answer gets back its own `Date`: Pingora writes the time of sending into every head, while RFC 9110 section 6.6.1 wants the time at
//! which the answer was made, and RFC 9111 counts ages from it. And a head leaves in one piece with the first bytes of its body.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use http::header::HeaderValue;
use parking_lot::Mutex;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use skerry_config::process::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::Chunks;
use super::request::{Body, Rest};
use super::{date, early};
use crate::alarm::Alarm;
use crate::client::Client;
use crate::connection::Socket;
use crate::head::Refusal;
use crate::pace::Pace;

/// Bytes of a body that leave in one piece with their head: with it, the plaintext of one TLS record (RFC 8446 section 5.1).
const HELD_BYTES_MAX: usize = 16 * 1024;
/// Where a connection is put when Pingora lets go of it.
pub(super) type Slot = Arc<Mutex<Option<Back>>>;

/// A connection that is back.
#[derive(Debug)]
pub(super) struct Back {
    pub(super) socket: Socket,
    /// What came early.
    pub(super) early: BytesMut,
    /// Whether the request was read to its end.
    pub(super) is_read: bool,
    /// Whether it speaks another protocol now.
    pub(super) is_upgraded: bool,
}

/// A client's connection, as Pingora has it.
#[derive(Debug)]
pub(crate) struct Handed {
    /// There until it goes into the slot.
    socket: Option<Socket>,
    client: Arc<Client>,
    slot: Slot,
    head: Bytes,
    body: Left,
    length_max: u64,
    early: BytesMut,
    refusal: Option<Refusal>,
    /// Whether an upgrade was asked for, and whether there was one.
    may_upgrade: bool,
    is_upgraded: bool,
    /// Whether the client waits for an interim answer, and so sends nothing.
    waits: bool,
    reading: Pace,
    writing: Pace,
    is_answered: bool,
    /// The date of the next final head. The lock is held for the one assignment.
    date: Mutex<Option<HeaderValue>>,
    /// Bytes taken but not yet written: a head, and what of its body came before it could leave.
    held: BytesMut,
}

/// What is still to come of a body.
#[derive(Debug)]
enum Left {
    Length(u64),
    Chunks(Box<Chunks>),
}

impl Left {
    fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => chunks.is_done(),
        }
    }

    /// How many of these bytes belong to the body.
    fn take(&mut self, bytes: &[u8], length_max: u64) -> Result<usize, Refusal> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            Self::Chunks(chunks) => chunks.take(bytes, length_max),
        }
    }
}

fn gone() -> io::Error {
    ErrorKind::NotConnected.into()
}

impl Handed {
    /// Hands `socket` over with the head of a request and what follows it; `early` is what was read behind the head.
    pub(super) fn new(socket: Socket, head: Bytes, rest: Rest, early: BytesMut, limits: &Limits, slot: Slot) -> Self {
        Self {
            client: Arc::clone(socket.client()),
            socket: Some(socket),
            slot,
            head,
            body: match rest.body {
                Body::None => Left::Length(0),
                Body::Length(length) => Left::Length(length),
                Body::Chunked => Left::Chunks(Box::default()),
            },
            length_max: limits.body.0,
            early,
            refusal: None,
            may_upgrade: rest.upgrade,
            is_upgraded: false,
            waits: rest.waits,
            reading: Pace::new(limits.rate_min.0),
            writing: Pace::new(limits.rate_min.0),
            is_answered: false,
            date: Mutex::new(None),
            held: BytesMut::new(),
        }
    }

    /// Whose connection it is.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// What ends the request if it is passed through and takes too long.
    pub(crate) fn alarm(&self) -> Option<&Arc<Alarm>> {
        self.socket.as_ref().map(Socket::alarm)
    }

    /// Why reading the body failed, if it was the client's fault.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Has the next final head carry `date`; `None` leaves it the time of sending.
    pub(crate) fn set_date(&self, date: Option<HeaderValue>) {
        *self.date.lock() = date;
    }

    fn refuse(&mut self, refusal: Refusal) -> io::Error {
        self.refusal = Some(refusal);
        self.early.clear();
        io::Error::new(ErrorKind::InvalidData, refusal.text())
    }

    /// The next bytes of the body, those that came early first.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(refusal) = self.refusal {
            return Poll::Ready(Err(self.refuse(refusal)));
        }
        if !self.early.is_empty() {
            let offered = &self.early[..self.early.len().min(buf.remaining())];
            return Poll::Ready(match self.body.take(offered, self.length_max) {
                Ok(taken) => {
                    buf.put_slice(&offered[..taken]);
                    self.early.advance(taken);
                    Ok(())
                }
                Err(refusal) => Err(self.refuse(refusal)),
            });
        }
        let before = buf.filled().len();
        let Some(socket) = &mut self.socket else { return Poll::Ready(Err(gone())) };
        if Pin::new(socket).poll_read(cx, buf)?.is_pending() {
            if !self.waits && self.reading.poll_slow(cx).is_ready() {
                return Poll::Ready(Err(self.refuse(Refusal::BodyTime)));
            }
            return Poll::Pending;
        }
        let came = &buf.filled()[before..];
        self.waits = false;
        self.reading.moved(came.len());
        match self.body.take(came, self.length_max) {
            Ok(taken) => {
                self.early.extend_from_slice(&came[taken..]);
                buf.set_filled(before + taken);
                Poll::Ready(Ok(()))
            }
            Err(refusal) => {
                buf.set_filled(before);
                Poll::Ready(Err(self.refuse(refusal)))
            }
        }
    }

    /// The request is read: keeps what comes for the front door, and is ready only when the client has left.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reading.rest();
        let Some(socket) = &mut self.socket else { return Poll::Ready(Err(gone())) };
        early::poll_left(socket, &mut self.early, cx).map(Ok)
    }

    /// Writes to the socket what it takes, at the pace that is asked of the client.
    fn poll_out(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Err(gone())) };
        let written = Pin::new(socket).poll_write(cx, bytes)?;
        match written {
            Poll::Ready(0) => Poll::Ready(Err(ErrorKind::WriteZero.into())),
            Poll::Ready(written) => {
                self.writing.moved(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending if !self.is_upgraded && self.writing.poll_slow(cx).is_ready() => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = std::mem::take(&mut self.held);
        while !held.is_empty() {
            match self.poll_out(cx, &held) {
                Poll::Ready(Ok(written)) => held.advance(written),
                other => {
                    self.held = held;
                    return other.map_ok(|_| ());
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a head whole, and leaves it for the first bytes of its body or a flush to take along.
    fn hold_head(&mut self, head: &[u8], status: u16) {
        // Whoever waited for an interim answer has one, and whoever got the answer needs none.
        self.waits = false;
        if !(100..200).contains(&status) || status == 101 {
            self.is_answered = true;
            self.is_upgraded = status == 101 && self.may_upgrade;
            if let Some(dated) = self.date.get_mut().take().and_then(|date| date::replaced(head, &date)) {
                return self.held.extend_from_slice(&dated);
            }
        }
        self.held.extend_from_slice(head);
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            let is_read = self.refusal.is_none() && self.head.is_empty() && self.body.is_done();
            let early = std::mem::take(&mut self.early);
            *self.slot.lock() = Some(Back { socket, early, is_read, is_upgraded: self.is_upgraded });
        }
    }
}

impl AsyncRead for Handed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.head.is_empty() {
            let length = this.head.len().min(buf.remaining());
            buf.put_slice(&this.head.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if !this.body.is_done() {
            return this.poll_body(cx, buf);
        }
        if !this.is_upgraded {
            return this.poll_left(cx);
        }
        if this.early.is_empty() {
            let Some(socket) = &mut this.socket else { return Poll::Ready(Err(gone())) };
            return Pin::new(socket).poll_read(cx, buf);
        }
        let length = this.early.len().min(buf.remaining());
        buf.put_slice(&this.early.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Handed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.held.len() >= HELD_BYTES_MAX {
            ready!(this.poll_drain(cx))?;
        }
        if !this.is_answered
            && let Some(status) = date::status(buf)
        {
            this.hold_head(buf, status);
            return Poll::Ready(Ok(buf.len()));
        }
        if this.held.is_empty() {
            return this.poll_out(cx, buf);
        }
        let room = buf.len().min(HELD_BYTES_MAX.saturating_sub(this.held.len()).max(1));
        this.held.extend_from_slice(&buf[..room]);
        match this.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What is left goes out with the next write or flush.
            _ => Poll::Ready(Ok(room)),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        if !this.held.is_empty() || !this.is_answered {
            return Pin::new(this).poll_write(cx, first);
        }
        let Some(socket) = &mut this.socket else { return Poll::Ready(Err(gone())) };
        match Pin::new(socket).poll_write_vectored(cx, bufs)? {
            Poll::Ready(written) => {
                this.writing.moved(written);
                Poll::Ready(Ok(written))
            }
            // Waits, and counts how long.
            Poll::Pending => this.poll_out(cx, first),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let Some(socket) = &mut this.socket else { return Poll::Ready(Err(gone())) };
        if Pin::new(socket).poll_flush(cx)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        // Under TLS what was taken may wait for the client as well.
        if !this.is_upgraded && this.writing.poll_slow(cx).is_ready() {
            Poll::Ready(Err(ErrorKind::TimedOut.into()))
        } else {
            Poll::Pending
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let Some(socket) = &mut this.socket else { return Poll::Ready(Err(gone())) };
        Pin::new(socket).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Handed {
    async fn shutdown(&mut self) {
        // A connection that takes nothing more is closed all the same.
        let _ = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx)).await;
    }
}

impl Peek for Handed {}

impl UniqueID for Handed {
    fn id(&self) -> UniqueIDType {
        self.socket.as_ref().map_or(-1, UniqueID::id)
    }
}

impl Ssl for Handed {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.socket.as_ref()?.get_ssl_digest()
    }
}

impl GetTimingDigest for Handed {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Handed {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Handed {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.as_ref()?.get_socket_digest()
    }
}

#[cfg(test)]
mod tests;
