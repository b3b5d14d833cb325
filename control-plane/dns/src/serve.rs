//! Sockets in, answers out: the only part of this crate that knows a socket.
//!
//! Owns the UDP and TCP loops, their bounds, and the compiled zone that goes with the state in force. Never decides what an
//! answer is. The loops are our own rather than `hickory_server::Server`'s, which bounds neither connections nor queries in
//! flight: a flood of connections would take the file descriptors of the whole control plane.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::figures::Figures;
use crate::packet::{Response, Transport, respond};
use crate::state::State;
use crate::zone::Zone;

/// The largest UDP query that is read, in octets; what is beyond is cut off and makes the query malformed. No query needs more.
const UDP_QUERY_OCTETS_MAX: usize = 4096;
/// How many queries one TCP connection may bring before it is closed, so that none is held for ever.
const QUERIES_PER_CONNECTION_MAX: u32 = 1000;
/// How many TCP connections may be open; one more is closed at once.
const CONNECTIONS_MAX: usize = 256;
/// How long a TCP connection may take from the end of one query to the end of the next, in seconds (RFC 7766 section 6.2.3).
const QUERY_TIMEOUT_S: u64 = 10;
/// How long a client may take to accept an answer over TCP, in seconds.
const ANSWER_TIMEOUT_S: u64 = 5;
/// The pause after a socket error that is not the client's, in milliseconds, so that a lasting one does not spin.
const SOCKET_ERROR_PAUSE_MS: u64 = 50;

/// Answers on both sockets from the state in force until `stop` turns true. What is swapped into `state` counts from the next
/// query on; the query that meets it first compiles it.
///
/// # Errors
/// A figure that the registry refuses, as when two services share one.
pub fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    state: Arc<ArcSwap<State>>,
    registry: &prometheus::Registry,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, String> {
    let figures = Figures::new(registry).map_err(|error| format!("cannot register the figures of DNS service: {error}"))?;
    let service = Arc::new(Service::new(state, figures));
    Ok(tokio::spawn(async move {
        let mut stopped = stop.clone();
        tokio::select! {
            () = udp_loop(&udp, &service) => {}
            () = tcp_loop(&tcp, &service, &stop) => {}
            // A sender that is gone can never say stop, so that counts as said.
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }))
}

/// What both loops share.
struct Service {
    state: Arc<ArcSwap<State>>,
    zone: ArcSwap<Zone>,
    /// Held while a zone is compiled, so that one swap is compiled once; queries that meet the swap wait for it.
    compiling: Mutex<()>,
    figures: Figures,
}

impl Service {
    fn new(state: Arc<ArcSwap<State>>, figures: Figures) -> Self {
        let zone = ArcSwap::from_pointee(Zone::build(state.load_full()));
        Self { state, zone, compiling: Mutex::new(()), figures }
    }

    /// The zone of the state in force.
    fn zone(&self) -> Arc<Zone> {
        let current = |zone: &Zone| Arc::ptr_eq(zone.state(), &self.state.load());
        let zone = self.zone.load_full();
        if current(&zone) {
            return zone;
        }
        let _compiling = self.compiling.lock();
        let zone = self.zone.load_full();
        if current(&zone) {
            return zone;
        }
        let zone = Arc::new(Zone::build(self.state.load_full()));
        self.zone.store(Arc::clone(&zone));
        zone
    }

    fn answer(&self, raw: &[u8], source: SocketAddr, transport: Transport) -> Option<Response> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let outcome = respond(&self.zone(), raw, source.ip(), transport, now);
        self.figures.count(transport, outcome.as_ref().map_err(|dropped| *dropped));
        outcome.ok()
    }
}

async fn udp_loop(socket: &UdpSocket, service: &Service) {
    let mut buffer = [0; UDP_QUERY_OCTETS_MAX];
    loop {
        let (length, source) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                pause_after(&error, "receive a query").await;
                continue;
            }
        };
        let Some(response) = service.answer(&buffer[..length], source, Transport::Udp) else { continue };
        if let Err(error) = socket.send_to(&response.octets, source).await {
            tracing::debug!(%source, %error, "cannot send a DNS answer");
        }
    }
}

async fn tcp_loop(listener: &TcpListener, service: &Arc<Service>, stop: &watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, source) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error, "accept a connection").await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            service.figures.connections_refused.inc();
            continue;
        };
        let (service, mut stop) = (Arc::clone(service), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            service.figures.connections.inc();
            tokio::select! {
                ended = connection(stream, source, &service) => {
                    if let Err(error) = ended {
                        tracing::debug!(%source, %error, "a DNS connection ended early");
                    }
                }
                _ = stop.wait_for(|stop| *stop) => {}
            }
            service.figures.connections.dec();
        });
    }
}

/// Answers the queries of one connection in their order.
async fn connection(mut stream: TcpStream, source: SocketAddr, service: &Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut query = Vec::new();
    for _ in 0..QUERIES_PER_CONNECTION_MAX {
        if !timeout(Duration::from_secs(QUERY_TIMEOUT_S), read_query(&mut stream, &mut query)).await?? {
            return Ok(());
        }
        let Some(response) = service.answer(&query, source, Transport::Tcp) else { return Ok(()) };
        let length = u16::try_from(response.octets.len()).map_err(io::Error::other)?;
        let mut framed = Vec::with_capacity(2 + response.octets.len());
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&response.octets);
        timeout(Duration::from_secs(ANSWER_TIMEOUT_S), stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// Reads one length-prefixed query (RFC 1035 section 4.2.2); false when the client has closed instead.
async fn read_query(stream: &mut TcpStream, query: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(false);
    }
    stream.read_exact(&mut length[1..]).await?;
    query.clear();
    let length = u64::from(u16::from_be_bytes(length));
    // Grows with what arrives, not with what was announced.
    let read = stream.take(length).read_to_end(query).await?;
    if read as u64 == length { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn pause_after(error: &io::Error, what: &str) {
    tracing::debug!(%error, what, "a DNS socket failed");
    // An ICMP error about an earlier answer and a connection given up in the queue are the client's, and over at once.
    if !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) {
        sleep(Duration::from_millis(SOCKET_ERROR_PAUSE_MS)).await;
    }
}

#[cfg(test)]
mod tests;
