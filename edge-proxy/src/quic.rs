//! The HTTP/3 listeners, and how clients over TCP learn of them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use rustls::ServerConfig;
use skerry_transport::accept::Front;
use skerry_transport::h3::Listener;
use skerry_transport::listen;

use crate::passed::Sessions;

/// How long a client may use HTTP/3 without being told again: a day (RFC 7838 section 3.1).
const ANNOUNCED_SECONDS: u32 = 86_400;

/// The `Alt-Svc` of answers over TLS, when there is HTTP/3.
pub(crate) type Announced = Arc<ArcSwapOption<HeaderValue>>;

/// Sockets that are bound, and the addresses the settings have for them.
pub(crate) struct Bound(Vec<(SocketAddr, UdpSocket)>);

impl Bound {
    /// Binds them all.
    ///
    /// # Errors
    /// The sentence about the first that cannot be bound.
    pub(crate) fn bind(wanted: &[SocketAddr]) -> Result<Self, String> {
        wanted.iter().map(|address| listen::bind_udp(*address, "h3").map(|socket| (*address, socket))).collect::<Result<_, _>>().map(Self)
    }
}

/// The listeners that accept.
pub(crate) struct Quic {
    front: Front<Sessions>,
    tls: Arc<ServerConfig>,
    announced: Announced,
    open: Vec<(SocketAddr, Listener)>,
}

impl Quic {
    /// Accepts on everything that is bound, and says so to clients.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub(crate) fn open(front: Front<Sessions>, tls: Arc<ServerConfig>, announced: Announced, bound: Bound) -> Result<Self, String> {
        let mut quic = Self { front, tls, announced, open: Vec::new() };
        for (wanted, socket) in bound.0 {
            quic.accept(wanted, socket)?;
        }
        quic.announce();
        Ok(quic)
    }

    /// Brings the listeners to what the settings say. What cannot be bound is left out, with a sentence each. One that went and comes back while its
    /// connections drain is such a one.
    pub(crate) fn change(&mut self, wanted: &[SocketAddr]) -> Vec<String> {
        let mut wanted = wanted.to_vec();
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|(had, _)| {
            let same = wanted.iter().position(|address| address == had);
            same.map(|index| wanted.remove(index)).is_some()
        });
        self.open = kept;
        for (_, listener) in gone {
            tracing::info!(address = %listener.local(), kind = "h3", "listener closed");
            listener.close();
        }
        let mut failed = Vec::new();
        for address in wanted {
            match listen::bind_udp(address, "h3").and_then(|socket| self.accept(address, socket)) {
                Ok(()) => tracing::info!(%address, kind = "h3", "listener opened"),
                Err(error) => failed.push(error),
            }
        }
        self.announce();
        failed
    }

    fn accept(&mut self, wanted: SocketAddr, socket: UdpSocket) -> Result<(), String> {
        let listener = self.front.listen_quic(socket, Arc::clone(&self.tls))?;
        self.open.push((wanted, listener));
        Ok(())
    }

    /// Names the port of the first; a client asks the address it knows already.
    fn announce(&self) {
        let port = self.open.first().map(|(_, listener)| listener.local().port());
        let value = port.and_then(|port| HeaderValue::try_from(format!("h3=\":{port}\"; ma={ANNOUNCED_SECONDS}")).ok());
        self.announced.store(value.map(Arc::new));
    }

    /// Where they listen, as `ready.json` has it.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.open.iter().map(|(_, listener)| listener.local().to_string()).collect()
    }
}
