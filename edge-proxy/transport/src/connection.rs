//! A client's TCP connection, in cleartext or under TLS, as the protocols read and write it, and as Pingora takes one.

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use pingora::protocols::l4::ext::get_tcp_info;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::alarm::{Alarm, Timer};
use crate::client::{Client, Measure, RoundTrip};

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Dropped before the descriptor is closed, so that nobody asks one that has become another connection's.
    _open: Open,
    io: Io,
    /// What was read and given back, to be read again first.
    unread: Bytes,
    client: Arc<Client>,
    /// Ends what is passed through and takes too long.
    alarm: Arc<Alarm>,
    timer: Timer,
}

/// What bytes go through.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The kernel's figures about a TCP connection, for as long as it is open.
///
/// The lock is held while the kernel is asked and while the connection is closed; it covers nothing else.
#[derive(Debug)]
pub(crate) struct Kernel(Mutex<Option<RawFd>>);

/// Ends the questions to the kernel when it is dropped.
#[derive(Debug)]
struct Open(Arc<Kernel>);

impl Kernel {
    pub(crate) fn of(stream: &TcpStream) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(stream.as_raw_fd()))))
    }
}

impl Measure for Kernel {
    fn round_trip(&self) -> Option<RoundTrip> {
        let descriptor = self.0.lock();
        let info = get_tcp_info((*descriptor)?).ok()?;
        let time = |microseconds: u32| Duration::from_micros(u64::from(microseconds));
        // An estimate of zero is none; the least is u32::MAX before the first measurement.
        let least = if info.tcpi_min_rtt == u32::MAX { info.tcpi_rtt } else { info.tcpi_min_rtt };
        (info.tcpi_rtt > 0).then(|| RoundTrip { smoothed: time(info.tcpi_rtt), least: time(least) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.0.lock() = None;
    }
}

impl Socket {
    /// `kernel` is what `client` measures round trips by.
    pub(crate) fn new(io: Io, kernel: Arc<Kernel>, client: Arc<Client>) -> Self {
        Self { _open: Open(kernel), io, unread: Bytes::new(), client, alarm: Arc::default(), timer: Timer::default() }
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The alarm of what is passed through on this connection, if it has no streams.
    pub(crate) fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Gives bytes back, to be read before all others.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.unread = if self.unread.is_empty() { bytes } else { [&bytes[..], &self.unread[..]].concat().into() };
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// Has the connection end, when it is dropped, in a way that no client takes for the end of an answer: by a reset, or under TLS without the word
    /// that it ends (RFC 8446 section 6.1).
    pub(crate) fn reset_when_dropped(&self) {
        if let Io::Plain(stream) = &self.io {
            // One that is closed already needs no reset.
            let _ = stream.set_zero_linger();
        }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(stream) => stream,
            Io::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let length = this.unread.len().min(buf.remaining());
            buf.put_slice(&this.unread[..length]);
            this.unread.advance(length);
            if this.unread.is_empty() {
                this.unread = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let read = match &mut this.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if read.is_pending() && this.alarm.poll(&mut this.timer, cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for Socket {
    async fn shutdown(&mut self) {
        // A connection that takes nothing more is closed all the same.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl Peek for Socket {}

impl UniqueID for Socket {
    fn id(&self) -> UniqueIDType {
        self.tcp().as_raw_fd()
    }
}

impl Ssl for Socket {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.client.ssl_digest()
    }
}

impl GetTimingDigest for Socket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Socket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Socket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.client.socket_digest(self.tcp().as_raw_fd()))
    }
}

#[cfg(test)]
mod tests;
