//! What is known of the connection a client came by.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::protocols::tls::SslDigest;
use pingora::protocols::{Digest, SocketDigest};

use crate::private::Fingerprint;

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
    /// HTTP/3 (RFC 9114).
    Http3,
}

impl Protocol {
    /// Its name in logs and figures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        }
    }
}

/// What a TLS or QUIC handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The server name the client asked for, lower case.
    pub server_name: Option<Box<str>>,
    /// The certificate that the client showed, where it had to show one.
    pub certificate: Option<Fingerprint>,
}

/// Round-trip times of a connection, as the kernel or QUIC measured them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// The smoothed one.
    pub smoothed: Duration,
    /// The least there was.
    pub least: Duration,
}

/// What measures the round trips of a connection: its socket, or QUIC. Asked when a request ends, so it must be quick and never wait.
pub trait Measure: fmt::Debug + Send + Sync {
    /// The times as they are known at the moment; `None` when there is no measurement, or the connection is closed.
    fn round_trip(&self) -> Option<RoundTrip>;
}

/// A client's connection. Shared by its requests.
#[derive(Debug)]
pub struct Client {
    /// The client's address; behind a load balancer, as that told it.
    pub address: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// How it is secured; `None` in cleartext.
    pub secured: Option<Secured>,
    /// What measures its round trips; behind a load balancer, those to the load balancer.
    pub measure: Option<Arc<dyn Measure>>,
    /// Whether a load balancer is at the other end, so that the round trips are not the client's.
    pub is_forwarded: bool,
    /// When the round trips are sampled next.
    pub samples: Samples,
}

/// When the round trips of a connection are sampled next: however many requests it has, and wherever they run, so many samples it has in a time and
/// no more.
#[derive(Debug)]
pub struct Samples {
    began: Instant,
    /// Nanoseconds after `began`.
    next: AtomicU64,
}

impl Default for Samples {
    fn default() -> Self {
        Self { began: Instant::now(), next: AtomicU64::new(0) }
    }
}

impl Samples {
    /// Whether one is due, which the caller then takes. The next one is due after `apart`.
    fn is_due(&self, now: Instant, apart: Duration) -> bool {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(now.saturating_duration_since(self.began));
        let next = self.next.load(Ordering::Relaxed);
        let after = now.saturating_add(nanos(apart));
        now >= next && self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Client {
    /// The client's address without port, an IPv4 one as such even when it came over IPv6.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Its round-trip times, asked for now.
    #[must_use]
    pub fn round_trip(&self) -> Option<RoundTrip> {
        self.measure.as_ref()?.round_trip()
    }

    /// Its round-trip times, at most once in `apart`; `None` in between, and where they are not the client's.
    #[must_use]
    pub fn sample(&self, now: Instant, apart: Duration) -> Option<RoundTrip> {
        if self.is_forwarded || !self.samples.is_due(now, apart) {
            return None;
        }
        let times = self.round_trip();
        if times.is_none() {
            // What has not been measured yet may be at the next request.
            self.samples.next.store(0, Ordering::Relaxed);
        }
        times
    }

    /// The connection as Pingora's sessions tell of it. QUIC has no descriptor of its own: that is -1 then.
    pub(crate) fn digest(&self, descriptor: std::os::fd::RawFd) -> Digest {
        let (ssl, socket) = (self.ssl_digest(), Some(self.socket_digest(descriptor)));
        Digest { ssl_digest: ssl, timing_digest: Vec::new(), proxy_digest: None, socket_digest: socket }
    }

    pub(crate) fn ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.secured.as_ref().map(|secured| Arc::new(SslDigest::new("", secured.version, None, None, Vec::new())))
    }

    pub(crate) fn socket_digest(&self, descriptor: std::os::fd::RawFd) -> Arc<SocketDigest> {
        let socket = SocketDigest::from_raw_fd(descriptor);
        // New cells take what they are given.
        let _ = socket.peer_addr.set(Some(self.address.into()));
        let _ = socket.local_addr.set(Some(self.local.into()));
        Arc::new(socket)
    }

    /// `TLSv1.2` or `TLSv1.3`; `-` in cleartext.
    #[must_use]
    pub fn security(&self) -> &'static str {
        self.secured.as_ref().map_or("-", |secured| secured.version)
    }
}
