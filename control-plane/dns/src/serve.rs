//! Sockets in, answers out: the only part of this crate that knows a socket or a clock.
//!
//! Owns the UDP and TCP loops, their bounds, and the compiled zone that goes with the state in force. Never decides what an
//! answer is. The loops are our own rather than `hickory_server::Server`'s, which bounds neither connections nor queries in
//! flight: a flood of connections would take the file descriptors of the whole control plane.

mod slots;
mod tcp;
mod udp;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
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
/// How long cookies are made by a secret of this process: a day (RFC 7873 section 7.1).
const OWN_SECRET_USED: Duration = Duration::from_secs(86_400);
/// The pause before a loop that ended by a mistake of ours begins again, in milliseconds.
const AGAIN_PAUSE_MS: u64 = 100;
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
    let parts = loops.into_iter().map(|each| Part::Udp(Arc::new(each)));
    let parts: Vec<Part> = parts.chain([Part::Tcp(Arc::new(sockets.tcp)), Part::Keep]).collect();
    Ok(tokio::spawn(run(parts, service, stop)))
}

/// One of the loops of a service.
#[derive(Clone)]
enum Part {
    Udp(Arc<udp::Loop>),
    Tcp(Arc<TcpListener>),
    Keep,
}

impl Part {
    async fn run(self, service: Arc<Service>, stop: watch::Receiver<bool>, pause: Duration) {
        sleep(pause).await;
        match self {
            Self::Udp(each) => each.run(service).await,
            Self::Tcp(listener) => tcp::run(listener, service, stop).await,
            Self::Keep => service.keep().await,
        }
    }
}

/// Runs all parts until `stop` turns true. One that ends by itself, as no part should, begins again: its socket takes its share of the queries all the
/// while.
async fn run(parts: Vec<Part>, service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    let mut by_task = HashMap::new();
    for part in parts {
        let task = running.spawn(part.clone().run(Arc::clone(&service), stop.clone(), Duration::ZERO));
        by_task.insert(task.id(), part);
    }
    loop {
        let ended = tokio::select! {
            // A sender that is gone can never say stop, so that counts as said.
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = running.join_next_with_id() => ended,
        };
        let (task, error) = match ended {
            Ok((task, ())) => (task, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(part) = by_task.remove(&task) else { continue };
        tracing::error!(error = error.map(|error| error.to_string()), "a loop of the DNS service ended and begins again");
        let task = running.spawn(part.clone().run(Arc::clone(&service), stop.clone(), Duration::from_millis(AGAIN_PAUSE_MS)));
        by_task.insert(task.id(), part);
    }
    running.shutdown().await;
}

/// A zone with the counters of its edges, and what cookies are made by with it.
#[derive(Debug)]
struct Compiled {
    zone: Zone,
    steered: Steered,
    cookies: Cookies,
}

/// What all loops share.
struct Service {
    state: Arc<ArcSwap<State>>,
    compiled: ArcSwap<Compiled>,
    /// What cookies are made by where the zone has no secrets that may be used.
    own_cookies: ArcSwap<Cookies>,
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
        let steered = Figures::steered(&zone);
        let own_cookies = Cookies::new()?;
        let cookies = own_cookies.sharing(&zone.state().cookies);
        let own_cookies = ArcSwap::from_pointee(own_cookies);
        let compiled = ArcSwap::from_pointee(Compiled { zone, steered, cookies });
        let limiter = Limiter::new(limits.clone());
        Ok(Self { state, compiled, own_cookies, limits, limiter, figures, started: Instant::now() })
    }

    /// Compiles every state that is swapped in, beside the loops, which go on with the one before.
    async fn keep(self: Arc<Self>) {
        // The edges that the last state had no more: a loop may have counted one of them after it was forgotten.
        let mut gone = BTreeSet::new();
        // The one that was looked at last, whether it could be compiled or not.
        let mut seen = Arc::clone(self.compiled.load().zone.state());
        let mut drawn = Instant::now();
        loop {
            sleep(Duration::from_millis(STATE_CHECK_MS)).await;
            if drawn.elapsed() >= OWN_SECRET_USED {
                drawn = Instant::now();
                self.renew_own_cookies();
            } else if Arc::ptr_eq(&seen, &self.state.load()) {
                continue;
            }
            seen = self.state.load_full();
            let (service, state, gone_before) = (Arc::clone(&self), Arc::clone(&seen), std::mem::take(&mut gone));
            let compiling = tokio::task::spawn_blocking(move || {
                let before = service.compiled.load_full();
                let zone = before.zone.next(state);
                let steered = Figures::steered(&zone);
                let gone = gone_edges(&before.zone, &zone);
                let all = gone.union(&gone_before).filter(|name| !has_edge(&zone, name)).cloned().collect();
                let cookies = service.own_cookies.load().sharing(&zone.state().cookies);
                service.compiled.store(Arc::new(Compiled { zone, steered, cookies }));
                service.figures.forget(&all);
                gone
            });
            match compiling.await {
                Ok(gone_now) => gone = gone_now,
                Err(error) => tracing::error!(%error, "a state of the zone could not be compiled; answers are from the one before"),
            }
        }
    }

    fn renew_own_cookies(&self) {
        match self.own_cookies.load().renewed() {
            Ok(renewed) => self.own_cookies.store(Arc::new(renewed)),
            Err(error) => tracing::warn!(error, "no other secret of this process for DNS cookies; the one in use stays for another day"),
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
        let response = respond(&compiled.zone, &compiled.cookies, raw, &read, arrival, octets);
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

/// The names of the edges that a zone has no more.
fn gone_edges(before: &Zone, zone: &Zone) -> BTreeSet<String> {
    let names: BTreeSet<&str> = zone.state().edges.iter().map(|edge| edge.name.as_str()).collect();
    before.state().edges.iter().map(|edge| &edge.name).filter(|name| !names.contains(name.as_str())).cloned().collect()
}

fn has_edge(zone: &Zone, name: &str) -> bool {
    zone.state().edges.iter().any(|edge| edge.name == name)
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
