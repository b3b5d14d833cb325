//! A UDP socket on which QUIC connections come in: their bounds, and which of them are taken.
//!
//! The keys of Retry and NEW_TOKEN tokens and of stateless resets are random and of this process: after a restart a client's token is not known,
//! which costs it a round trip, and its old connections end by their idle time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use pingora::proxy::ProxyHttp;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Incoming, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::ServerConfig;
use skerry_config::process::Limits;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::connection;
use crate::accept::Door;
use crate::gate::{Gate, Handshake, Refused};

/// Bytes of answers of one connection that wait to be sent, or to be acknowledged.
pub(super) const SEND_WINDOW_BYTES: u64 = 2 << 20;
/// Bytes that one connection's client may send ahead of their being read.
const RECEIVE_WINDOW_BYTES: u32 = 4 << 20;
/// The same of one request.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// Where the memory of connections has a bound, one of them may have this part of it in answers that are not acknowledged, and the same in bodies that
/// are not read, but no less than the least window.
const SHARES: u64 = 128;
const WINDOW_BYTES_MIN: u64 = 128 << 10;
/// One-way streams of a client at once: control, two of QPACK, and what it tries out.
const UNI_STREAMS_MAX: u32 = 8;
/// Handshakes under way from which on a client must show that it has its address, by a Retry (RFC 9000 section 8.1.2), so that nobody can be
/// flooded, nor kept out, in its name.
pub(crate) const RETRY_HANDSHAKES: usize = 256;
/// First packets that wait to be looked at; further ones are refused.
const INCOMING_MAX: usize = 1_024;
/// Bytes sent ahead of the handshake that are kept for one connection, and for all.
const EARLY_BYTES_MAX: u64 = 64 << 10;
const EARLY_BYTES_ALL_MAX: u64 = 16 << 20;

/// A socket on which QUIC connections are taken. It goes on without this handle, until the front stops.
pub struct Listener {
    local: SocketAddr,
    stop: Arc<watch::Sender<bool>>,
}

impl Listener {
    /// The address it listens on, with its port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes no more connections. Those that there are drain in the background, at most `limits.drain_time`; the address is free when they are gone.
    pub fn close(self) {
        self.stop.send_replace(true);
    }
}

/// What a connection holds while its handshake is under way.
pub(super) struct Handshaking {
    /// Among the handshakes of all listeners.
    pub(super) handshake: Handshake,
    /// Among those of this socket.
    _counted: Arc<()>,
}

/// Opens an endpoint on a socket.
pub(crate) fn open(socket: UdpSocket, tls: Arc<ServerConfig>, gate: &Gate) -> Result<Endpoint, String> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| format!("the TLS settings are not fit for QUIC: {error}"))?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport(&gate.limits(), gate.memory())?))
        .migration(true)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(EARLY_BYTES_MAX)
        .incoming_buffer_size_total(EARLY_BYTES_ALL_MAX);
    Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
        .map_err(|error| format!("QUIC cannot use its socket: {error}"))
}

/// The windows of a connection for sending, for receiving, and of one stream for receiving, where all connections may take so many bytes.
pub(super) fn windows(memory: Option<u64>) -> (u64, u32, u32) {
    let share = memory.map_or(u64::MAX, |memory| (memory / SHARES).max(WINDOW_BYTES_MIN));
    let least = |window: u32| u32::try_from(share).map_or(window, |share| window.min(share));
    (SEND_WINDOW_BYTES.min(share), least(RECEIVE_WINDOW_BYTES), least(STREAM_WINDOW_BYTES))
}

fn transport(limits: &Limits, memory: Option<u64>) -> Result<TransportConfig, String> {
    let (send, receive, stream) = windows(memory);
    let idle = IdleTimeout::try_from(limits.idle_time.0).map_err(|_| "idle_time is too long for QUIC".to_owned())?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .max_idle_timeout(Some(idle))
        // An origin may take longer than that; who has no request is let go by the connection itself.
        .keep_alive_interval(Some(limits.idle_time.0 / 2))
        .stream_receive_window(VarInt::from_u32(stream))
        .receive_window(VarInt::from_u32(receive))
        .send_window(send)
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .enable_segmentation_offload(true)
        // No datagrams (RFC 9221).
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Takes the connections of one socket, until the front stops or the listener is closed.
pub(crate) fn begin<App>(endpoint: Endpoint, door: Door<App>, gate: Gate, connections: TaskTracker) -> Result<Listener, String>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let local = endpoint.local_addr().map_err(|error| format!("a socket for QUIC has no address: {error}"))?;
    let (stop, stopping) = watch::channel(false);
    let stop = Arc::new(stop);
    let (both, mut front, mut own) = (Arc::clone(&stop), door.stop.clone(), stopping.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = front.wait_for(|stop| *stop) => both.send_replace(true),
            _ = own.wait_for(|stop| *stop) => true,
        }
    });
    let door = Door { stop: stopping, ..door };
    let accepting = Accepting { endpoint, door, gate, connections: connections.clone(), under_way: Arc::default() };
    connections.spawn(accepting.run(local));
    Ok(Listener { local, stop })
}

/// See [`begin`].
struct Accepting<App> {
    endpoint: Endpoint,
    door: Door<App>,
    gate: Gate,
    /// All connections of the front.
    connections: TaskTracker,
    /// As often as there are handshakes, and once more.
    under_way: Arc<()>,
}

impl<App> Accepting<App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    /// Takes connections until the stop, and leaves when the last of them has ended.
    async fn run(self, local: SocketAddr) {
        let mut stop = self.door.stop.clone();
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Some(incoming) = incoming else { return };
            self.take(incoming, local);
        }
        // Whoever comes now is refused.
        self.endpoint.set_server_config(None);
        self.endpoint.wait_idle().await;
    }

    /// Takes a connection in, or answers it: a Retry while there are many handshakes, a refusal when there is no room.
    fn take(&self, incoming: Incoming, local: SocketAddr) {
        let under_way = Arc::strong_count(&self.under_way) - 1;
        if under_way >= RETRY_HANDSHAKES && !incoming.remote_address_validated() && incoming.may_retry() {
            // It may be retried, so that it is.
            let _ = incoming.retry();
            return;
        }
        let Some(place) = self.gate.place_now() else {
            self.gate.refuse(Refused::Connections);
            return incoming.refuse();
        };
        let Ok(connecting) = incoming.accept() else {
            self.gate.refuse(Refused::Handshake);
            return;
        };
        let handshaking = Handshaking { handshake: self.gate.handshake(), _counted: Arc::clone(&self.under_way) };
        let door = Door { limits: self.gate.limits(), ..self.door.clone() };
        self.connections.spawn(connection::serve(connecting, local, door, self.gate.clone(), place, handshaking));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_a_part_of_the_memory_of_connections() {
        assert_eq!(windows(None), (SEND_WINDOW_BYTES, RECEIVE_WINDOW_BYTES, STREAM_WINDOW_BYTES));
        assert_eq!(windows(Some(1 << 40)), windows(None));
        assert_eq!(windows(Some(40 << 20)), (320 << 10, 320 << 10, 320 << 10));
        assert_eq!(windows(Some(1 << 20)), (WINDOW_BYTES_MIN, 128 << 10, 128 << 10));
    }
}
