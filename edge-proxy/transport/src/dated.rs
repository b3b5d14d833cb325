//! The connection to an HTTP/1.1 client, on which an answer keeps its own `Date`.
//!
//! Pingora writes the time of sending into every head it writes. RFC 9110 section 6.6.1 wants the time at which the answer was made, and
//! RFC 9111 counts ages from it. So the session says the true date just before the head, and it is put in place here, above TLS and below
//! Pingora. Nothing but the value of that one field is ever changed.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use http::header::HeaderValue;
use parking_lot::Mutex;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a body that leave in one piece with their head: with it, the plaintext of one TLS record (RFC 8446 section 5.1).
const HELD_BYTES_MAX: usize = 16 * 1024;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Dated {
    inner: Stream,
    /// The date of the next final head. The lock is held for the one assignment.
    date: Mutex<Option<HeaderValue>>,
    /// Bytes taken but not yet written: a head, and what of its body came before it could leave.
    held: Vec<u8>,
    written: usize,
}

/// Has the next final head written on this session carry `date`; `None` leaves it the time of sending.
pub(crate) fn set(session: &ServerSession, date: Option<HeaderValue>) {
    if let Some(h1) = session.as_http1()
        && let Some(connection) = h1.stream().as_ref().as_any().downcast_ref::<Dated>()
    {
        *connection.date.lock() = date;
    }
}

impl Dated {
    pub(crate) fn new(inner: Stream) -> Self {
        Self { inner, date: Mutex::new(None), held: Vec::new(), written: 0 }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.held.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held[self.written..]))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.held = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Takes bytes behind those that are held, and tries to get them all out.
    fn hold(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What is left goes out with the next write or flush.
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }
}

/// `head` with its `Date` replaced; `None` when this is no final head, or has none.
fn with_date(head: &[u8], date: &HeaderValue) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\r\ndate: ";
    let status = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5))?;
    if status.starts_with(b"1") && status != b"101" {
        return None;
    }
    let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let from = head[..end].windows(NAME.len()).position(|bytes| bytes.eq_ignore_ascii_case(NAME))? + NAME.len();
    let to = from + head[from..].iter().position(|byte| *byte == b'\r')?;
    Some([&head[..from], date.as_bytes(), &head[to..]].concat())
}

impl AsyncRead for Dated {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dated {
    /// Takes a head that is to be dated whole, and leaves it for the first bytes of its body or a flush to take along.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.held.len() >= HELD_BYTES_MAX {
            ready!(this.poll_drain(cx))?;
        }
        let date = this.date.get_mut();
        if let Some(head) = date.as_ref().and_then(|date| with_date(buf, date)) {
            *date = None;
            this.held.extend_from_slice(&head);
            return Poll::Ready(Ok(buf.len()));
        }
        if this.held.is_empty() {
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        }
        let room = buf.len().min(HELD_BYTES_MAX.saturating_sub(this.held.len()).max(1));
        this.hold(cx, &buf[..room])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.held.is_empty() && this.date.get_mut().is_none() {
            return Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        Pin::new(this).poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Dated {
    async fn shutdown(&mut self) {
        // A connection that takes nothing more is closed all the same.
        let _ = std::future::poll_fn(|cx| self.poll_drain(cx)).await;
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl Peek for Dated {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}

impl UniqueID for Dated {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Dated {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Dated {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Dated {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Dated {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[cfg(test)]
mod tests;
