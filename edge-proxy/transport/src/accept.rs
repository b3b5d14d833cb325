//! The accept loops: take connections, have them opened, and feed the protocols.
//!
//! Ours rather than Pingora's because ports chosen by the kernel, certificates swapped live, bounds over all listeners, and listeners that come and
//! go under running ones need it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use pingora::apps::HttpServerApp;
use pingora::proxy::{HttpProxy, ProxyHttp, http_proxy};
use pingora::server::configuration::ServerConf;
use rustls::ServerConfig;
use skerry_config::process::Limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Protocol;
use crate::door;
use crate::gate::{Gate, Place, Refused};
use crate::opening;
use crate::{h1, h2, h3};

/// How long an idle connection is kept between two requests.
pub const KEEPALIVE_SECONDS: u64 = 60;
/// Upstreams tried for a request that is passed through.
pub(crate) const PASS_TRIES_MAX: usize = 20;
/// Idle connections to upstreams kept for requests that are passed through.
const PASS_POOL_CONNECTIONS_MAX: usize = 128;
/// The pause after `accept` failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers HTTP on the listeners given to it until told to stop. Clones are the same front.
pub struct Front<App> {
    door: Door<App>,
    gate: Gate,
    loops: TaskTracker,
    connections: TaskTracker,
}

impl<App> Clone for Front<App> {
    fn clone(&self) -> Self {
        let Self { door, gate, loops, connections } = self;
        Self { door: door.clone(), gate: gate.clone(), loops: loops.clone(), connections: connections.clone() }
    }
}

/// What every connection needs to be served.
pub(crate) struct Door<App> {
    /// Passes requests through.
    pub(crate) proxy: Arc<HttpProxy<App>>,
    /// Answers the others.
    pub(crate) behind: door::Shared,
    /// What clients may take, as it was when the connection came.
    pub(crate) limits: Arc<Limits>,
    /// Turns true when connections are to end.
    pub(crate) stop: watch::Receiver<bool>,
}

impl<App> Clone for Door<App> {
    fn clone(&self) -> Self {
        let Self { proxy, behind, limits, stop } = self;
        Self { proxy: Arc::clone(proxy), behind: Arc::clone(behind), limits: Arc::clone(limits), stop: stop.clone() }
    }
}

/// How connections come in at a listener.
#[derive(Clone, Default)]
pub struct Entrance {
    /// With it, every connection must be TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// With it, every connection must begin with a header of the PROXY protocol, and come from one of these.
    pub from: Option<Arc<[IpNet]>>,
}

/// A listener that accepts. It goes on without this handle, until the front stops.
pub struct Listener {
    local: SocketAddr,
    entrance: Arc<ArcSwap<Entrance>>,
    gate: Gate,
    /// Ends the accept loops.
    closing: CancellationToken,
    loops: TaskTracker,
    connections: TaskTracker,
    /// Ends the connections, wherever they are.
    cut: CancellationToken,
}

impl<App> Front<App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    /// A front for a tier: `behind` answers, `app` takes what is passed through, `gate`, or one made of limits, says how many come in.
    /// `stop` turns true when it is to drain.
    pub fn new(app: App, behind: door::Shared, gate: impl Into<Gate>, stop: watch::Receiver<bool>) -> Self {
        let settings =
            ServerConf { max_retries: PASS_TRIES_MAX, upstream_keepalive_pool_size: PASS_POOL_CONNECTIONS_MAX, ..ServerConf::default() };
        let proxy = Arc::new(http_proxy(&Arc::new(settings), app));
        let gate = gate.into();
        let door = Door { proxy, behind, limits: gate.limits(), stop };
        Self { door, gate, loops: TaskTracker::new(), connections: TaskTracker::new() }
    }

    /// Accepts on `listener` in the background; with `tls` every connection must be TLS.
    pub fn listen(&self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        if let Err(error) = self.open(vec![listener], Entrance { tls, from: None }) {
            tracing::error!(%error, "a listener has no address; nothing is accepted on it");
        }
    }

    /// Accepts QUIC connections on `socket` in the background, for HTTP/3. `tls` is made by [`crate::tls::for_quic`].
    ///
    /// # Errors
    /// When socket or TLS settings are not fit for QUIC.
    pub fn listen_quic(&self, socket: UdpSocket, tls: Arc<ServerConfig>) -> Result<h3::Listener, String> {
        let endpoint = h3::endpoint::open(socket, tls, &self.gate)?;
        h3::endpoint::begin(endpoint, self.door.clone(), self.gate.clone(), self.connections.clone())
    }

    /// Accepts on all of `sockets`, which are bound to one address, in the background: one loop each.
    ///
    /// # Errors
    /// When there is no socket, or it has no address.
    pub fn open(&self, sockets: Vec<TcpListener>, entrance: Entrance) -> std::io::Result<Listener> {
        let local = sockets.first().ok_or(std::io::ErrorKind::InvalidInput)?.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let listener = Listener {
            local,
            entrance: Arc::new(ArcSwap::from_pointee(entrance)),
            gate: self.gate.clone(),
            closing: CancellationToken::new(),
            loops: TaskTracker::new(),
            connections: TaskTracker::new(),
            cut: CancellationToken::new(),
        };
        for socket in sockets {
            let accepting = Accepting {
                door: Door { stop: stopping.clone(), ..self.door.clone() },
                gate: self.gate.clone(),
                entrance: Arc::clone(&listener.entrance),
                closing: listener.closing.clone(),
                all: self.connections.clone(),
                own: listener.connections.clone(),
                cut: listener.cut.clone(),
            };
            self.loops.spawn(listener.loops.track_future(accepting.run(socket)));
        }
        let (closing, loops, mut front) = (listener.closing.clone(), listener.loops.clone(), self.door.stop.clone());
        loops.close();
        tokio::spawn(async move {
            tokio::select! {
                _ = front.wait_for(|stop| *stop) => closing.cancel(),
                () = closing.cancelled() => {}
            }
            // Nobody who is told to go comes back to a socket that is just being closed.
            loops.wait().await;
            stop.send_replace(true);
        });
        Ok(listener)
    }

    /// Waits until the stop was asked for and running requests ended, at most `limits.drain_time`.
    pub async fn drained(mut self) {
        let _ = self.door.stop.wait_for(|stop| *stop).await;
        self.loops.close();
        self.loops.wait().await;
        self.door.proxy.http_cleanup().await;
        self.connections.close();
        if tokio::time::timeout(self.gate.limits().drain_time.0, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections cut off at the end of the drain");
        }
    }
}

impl Listener {
    /// The address it listens on, with its port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Has connections from now on come in another way.
    pub fn change(&self, entrance: Entrance) {
        self.entrance.store(Arc::new(entrance));
    }

    /// Stops accepting; when this returns the address is free. Connections drain in the background, at most `limits.drain_time`.
    pub async fn close(self) {
        self.closing.cancel();
        self.loops.wait().await;
        self.connections.close();
        let Self { local, gate, connections, cut, .. } = self;
        tokio::spawn(async move {
            if tokio::time::timeout(gate.limits().drain_time.0, connections.wait()).await.is_err() {
                tracing::warn!(%local, connections = connections.len(), "connections of a closed listener cut off at the end of their drain");
                cut.cancel();
            }
        });
    }
}

/// One accept loop.
struct Accepting<App> {
    door: Door<App>,
    gate: Gate,
    entrance: Arc<ArcSwap<Entrance>>,
    closing: CancellationToken,
    /// All connections of the front, and those of this listener.
    all: TaskTracker,
    own: TaskTracker,
    /// Ends the connections of this listener.
    cut: CancellationToken,
}

impl<App> Accepting<App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => break,
            };
            match accepted {
                Ok((socket, address)) => {
                    // Without room this one waits here, and all behind it in the kernel.
                    let place = tokio::select! {
                        biased;
                        place = self.gate.place() => place,
                        () = self.closing.cancelled() => break,
                    };
                    self.take(socket, address, place);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.take_the_last(listener);
    }

    /// Takes those whom the kernel has accepted already: a client cannot know that it came too late, and has perhaps sent its request.
    fn take_the_last(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((socket, address)) = listener.accept() {
            let Some(place) = self.gate.place_now() else { return };
            if socket.set_nonblocking(true).is_ok()
                && let Ok(socket) = TcpStream::from_std(socket)
            {
                self.take(socket, address, place);
            }
        }
    }

    fn take(&self, socket: TcpStream, address: SocketAddr, mut place: Place) {
        let entrance = self.entrance.load_full();
        let is_trusted = |from: &Arc<[IpNet]>| from.iter().any(|net| net.contains(&address.ip().to_canonical()));
        let refused = match &entrance.from {
            None => place.admit(address.ip()),
            Some(from) if is_trusted(from) => Ok(()),
            Some(_) => Err(self.gate.refuse(Refused::ProxyAddress)),
        };
        if let Err(refused) = refused {
            tracing::debug!(client = %address.ip(), reason = refused.as_str(), "connection refused");
            return;
        }
        let door = Door { limits: self.gate.limits(), ..self.door.clone() };
        let (gate, cut) = (self.gate.clone(), self.cut.clone());
        let served = async move {
            tokio::select! {
                biased;
                () = serve(socket, place, &entrance, door, &gate) => {}
                () = cut.cancelled() => {}
            }
        };
        self.all.spawn(self.own.track_future(served));
    }
}

/// One connection from its first byte to its last.
async fn serve<App>(socket: TcpStream, mut place: Place, entrance: &Entrance, door: Door<App>, gate: &Gate)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    // Boxed, so that an open connection does not keep the room its opening took.
    let opened = Box::pin(opening::open(socket, &mut place, entrance, &door.limits, gate, &door.stop)).await;
    let Some(socket) = opened else { return };
    place.speaks(socket.client().protocol);
    match socket.client().protocol {
        Protocol::Http2 => h2::serve(socket, &door).await,
        _ => h1::serve(socket, &door).await,
    }
}
