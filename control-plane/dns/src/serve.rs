//! Sockets in, answers out: the only part of this crate that knows a socket or a clock.
//!
//! Owns the UDP and TCP loops, their bounds, and the compiled zone that goes with the state in force. Never decides what an
//! answer is. The loops are our own rather than `hickory_server::Server`'s, which bounds neither connections nor queries in
//! flight: a flood of connections would take the file descriptors of the whole control plane.

mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cookie::Cookies;
use crate::figures::{Figures, Limited, Steered};
use crate::limit::{Limiter, Limits, Verdict};
use crate::packet::{Arrival, Known, Transport, respond, truncate};
use crate::query::Query;
use crate::state::State;
use crate::zone::Zone;

/// The most UDP sockets that share a port, each with a loop of its own.
pub const LOOPS_MAX: usize = 16;
/// What the kernel is asked to keep of queries that wait for a UDP loop, in bytes: a burst of some ten thousand.
const UDP_WAITING_BYTES: usize = 4 << 20;
/// How many ports are tried where any will do, until one is free for both UDP and TCP.
const PORT_ATTEMPTS_MAX: u32 = 16;
/// The pause between two looks for another state, in milliseconds.
const STATE_CHECK_MS: u64 = 20;
/// The pause after a socket error that is not the client's, in milliseconds, so that a lasting one does not spin.
const SOCKET_ERROR_PAUSE_MS: u64 = 50;

/// The sockets of a service, bound.
#[derive(Debug)]
pub struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds an address for UDP and TCP, with as many UDP sockets as there are cores, at most [`LOOPS_MAX`]: the kernel shares the queries out among
    /// them. Port 0 chooses one that is free for both.
    ///
    /// # Errors
    /// The address is taken, or not ours.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let loops = std::thread::available_parallelism().map_or(1, usize::from).min(LOOPS_MAX);
        let mut attempts = 0;
        loop {
            attempts += 1;
            // TCP first: its port is nobody else's, while sockets that share one do not show that another process has it too.
            let tcp = TcpListener::bind(address).await?;
            let same = tcp.local_addr()?;
            let udp: io::Result<Vec<UdpSocket>> = (0..loops).map(|_| udp_socket(same, loops > 1)).collect();
            match udp {
                Ok(udp) => return Ok(Self { udp, tcp }),
                Err(error) if address.port() != 0 || attempts == PORT_ATTEMPTS_MAX => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Where they are bound.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn udp_socket(address: SocketAddr, is_shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.set_recv_buffer_size(UDP_WAITING_BYTES) {
        tracing::debug!(%error, "the queue of DNS queries stays as long as the system has it");
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Answers on the sockets from the state in force until `stop` turns true. What is swapped into `state` counts within
/// some tens of milliseconds, and the time that it takes to compile; until then answers are from the one before.
///
/// # Errors
/// A figure that the registry refuses, as when two services share one; no random numbers for cookies; a socket that cannot be set up.
pub fn serve(
    sockets: Sockets,
    state: Arc<ArcSwap<State>>,
    limits: Limits,
    registry: &prometheus::Registry,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, String> {
    let figures = Figures::new(registry).map_err(|error| format!("cannot register the figures of DNS service: {error}"))?;
    let service = Arc::new(Service::new(state, limits, figures)?);
    let loops: io::Result<Vec<udp::Loop>> = sockets.udp.into_iter().map(udp::Loop::new).collect();
    let loops = loops.map_err(|error| format!("cannot set up a UDP socket for DNS: {error}"))?;
    Ok(tokio::spawn(async move {
        let mut parts = tokio::task::JoinSet::new();
        for each in loops {
            parts.spawn(each.run(Arc::clone(&service)));
        }
        parts.spawn(tcp::run(sockets.tcp, Arc::clone(&service), stop.clone()));
        parts.spawn(Arc::clone(&service).keep());
        let mut stop = stop;
        // A sender that is gone can never say stop, so that counts as said.
        let _ = stop.wait_for(|stop| *stop).await;
        parts.shutdown().await;
    }))
}

/// A zone with the counters of its edges.
#[derive(Debug)]
struct Compiled {
    zone: Zone,
    steered: Steered,
}

/// What all loops share.
struct Service {
    state: Arc<ArcSwap<State>>,
    compiled: ArcSwap<Compiled>,
    cookies: Cookies,
    limits: Limits,
    limiter: Limiter,
    figures: Figures,
    started: Instant,
}

/// When a batch of packets arrived.
#[derive(Clone, Copy)]
struct Times {
    /// Seconds since 1970.
    now: f64,
    /// Microseconds since the service started.
    now_us: u64,
}

impl Service {
    fn new(state: Arc<ArcSwap<State>>, limits: Limits, figures: Figures) -> Result<Self, String> {
        let zone = Zone::build(state.load_full());
        let steered = figures.steered(&zone, None);
        let compiled = ArcSwap::from_pointee(Compiled { zone, steered });
        let limiter = Limiter::new(limits.clone());
        Ok(Self { state, compiled, cookies: Cookies::new()?, limits, limiter, figures, started: Instant::now() })
    }

    /// Compiles every state that is swapped in, beside the loops, which go on with the one before.
    async fn keep(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(STATE_CHECK_MS)).await;
            if Arc::ptr_eq(self.compiled.load().zone.state(), &self.state.load()) {
                continue;
            }
            let service = Arc::clone(&self);
            let compiling = tokio::task::spawn_blocking(move || {
                let before = service.compiled.load_full();
                let zone = before.zone.next(service.state.load_full());
                let steered = service.figures.steered(&zone, Some(&before.zone));
                service.compiled.store(Arc::new(Compiled { zone, steered }));
            });
            if let Err(error) = compiling.await {
                tracing::error!(%error, "a state of the zone could not be compiled; answers are from the one before");
            }
        }
    }

    fn times(&self) -> Times {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Times { now, now_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX) }
    }

    /// Writes the answer to a packet; false when none is to be sent.
    fn answer(&self, compiled: &Compiled, raw: &[u8], source: IpAddr, transport: Transport, times: Times, octets: &mut Vec<u8>) -> bool {
        let read = match Query::read(raw) {
            Ok(read) => read,
            Err(silence) => {
                self.figures.silent(silence);
                return false;
            }
        };
        let arrival = Arrival { source, transport, now: times.now };
        let response = respond(&compiled.zone, &self.cookies, raw, &read, arrival, octets);
        self.figures.answered(transport, &response);
        if transport == Transport::Udp && response.cookie != Known::Proven {
            let asked = response.record_type.unwrap_or(crate::kind::Type(0));
            match self.limiter.judge(source, asked, response.subject, times.now_us) {
                Verdict::Send => {}
                Verdict::Slip => {
                    self.figures.limited(Limited::Slipped);
                    truncate(octets, &response);
                    return true;
                }
                Verdict::Drop => {
                    self.figures.limited(Limited::Dropped);
                    return false;
                }
            }
        }
        self.figures.chosen(&compiled.steered, &compiled.zone, &response);
        true
    }
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
