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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::connection;
use crate::accept::Door;

/// Bytes of answers of one connection that wait to be sent, or to be acknowledged.
pub(super) const SEND_WINDOW_BYTES: u64 = 2 << 20;
/// Bytes that one connection's client may send ahead of their being read.
const RECEIVE_WINDOW_BYTES: u32 = 4 << 20;
/// The same of one request.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// One-way streams of a client at once: control, two of QPACK, and what it tries out.
const UNI_STREAMS_MAX: u32 = 8;
/// Handshakes under way from which on a client must show that it has its address, by a Retry (RFC 9000 section 8.1.2), so that others cannot be
/// flooded in its name.
pub(crate) const RETRY_HANDSHAKES: usize = 256;
/// Handshakes under way at once; clients of further ones are refused.
pub(crate) const HANDSHAKES_MAX: usize = 4_096;
/// First packets that wait to be looked at; further ones are refused.
const INCOMING_MAX: usize = 1_024;
/// Bytes sent ahead of the handshake that are kept for one connection, and for all.
const EARLY_BYTES_MAX: u64 = 64 << 10;
const EARLY_BYTES_ALL_MAX: u64 = 16 << 20;

/// Who comes in at a socket.
struct Gate {
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// What a connection holds while it is there.
struct Admitted {
    handshaking: OwnedSemaphorePermit,
    connection: OwnedSemaphorePermit,
}

impl Gate {
    fn new(limits: &Limits) -> Self {
        let connections = (limits.connections as usize).min(Semaphore::MAX_PERMITS);
        Self { handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)), connections: Arc::new(Semaphore::new(connections)) }
    }

    /// Takes a connection in, or answers it: a Retry while there are many handshakes, a refusal when there is no room. Here is the place for bounds
    /// on what one address may have.
    fn admit(&self, incoming: Incoming) -> Option<(Incoming, Admitted)> {
        let under_way = HANDSHAKES_MAX - self.handshakes.available_permits();
        if under_way >= RETRY_HANDSHAKES && !incoming.remote_address_validated() && incoming.may_retry() {
            // It may be retried, so that it is.
            let _ = incoming.retry();
            return None;
        }
        let room = Arc::clone(&self.handshakes).try_acquire_owned().ok().zip(Arc::clone(&self.connections).try_acquire_owned().ok());
        match room {
            Some((handshaking, connection)) => Some((incoming, Admitted { handshaking, connection })),
            None => {
                incoming.refuse();
                None
            }
        }
    }
}

/// Opens an endpoint on a socket.
pub(crate) fn open(socket: UdpSocket, tls: Arc<ServerConfig>, limits: &Limits) -> Result<Endpoint, String> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| format!("the TLS settings are not fit for QUIC: {error}"))?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport(limits)?))
        .migration(true)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(EARLY_BYTES_MAX)
        .incoming_buffer_size_total(EARLY_BYTES_ALL_MAX);
    Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
        .map_err(|error| format!("QUIC cannot use its socket: {error}"))
}

fn transport(limits: &Limits) -> Result<TransportConfig, String> {
    let idle = IdleTimeout::try_from(limits.idle_time.0).map_err(|_| "idle_time is too long for QUIC".to_owned())?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .max_idle_timeout(Some(idle))
        // An origin may take longer than that; who has no request is let go by the connection itself.
        .keep_alive_interval(Some(limits.idle_time.0 / 2))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .enable_segmentation_offload(true)
        // No datagrams (RFC 9221).
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Takes connections until the stop, and leaves when the last of them has ended.
pub(crate) async fn accept_until_stopped<App>(endpoint: Endpoint, door: Door<App>, connections: TaskTracker)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let Ok(local) = endpoint.local_addr() else { return };
    let gate = Gate::new(&door.limits);
    let mut stop = door.stop.clone();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some(incoming) = incoming else { return };
        if let Some((incoming, admitted)) = gate.admit(incoming) {
            begin(incoming, admitted, local, door.clone(), &connections);
        }
    }
    // Whoever comes now is refused.
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

fn begin<App>(incoming: Incoming, admitted: Admitted, local: SocketAddr, door: Door<App>, connections: &TaskTracker)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let Ok(connecting) = incoming.accept() else { return };
    let Admitted { handshaking, connection } = admitted;
    connections.spawn(async move {
        connection::serve(connecting, local, door, handshaking).await;
        drop(connection);
    });
}
