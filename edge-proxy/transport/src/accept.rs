//! The accept loop: takes connections, secures them, and feeds Pingora's HTTP sessions.
//!
//! Ours rather than Pingora's because ports chosen by the kernel, certificates swapped live and bounds per listener need it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, ProxyHttp, http_proxy};
use pingora::server::configuration::ServerConf;
use rustls::ServerConfig;
use skerry_config::process::Limits;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::client::{Client, Protocol, Secured};
use crate::connection::{Io, Socket};
use crate::dated::Dated;
use crate::door;
use crate::h2;

/// Connections of one listener at once; further ones wait in the kernel's backlog.
pub const CONNECTIONS_MAX: usize = 16_384;
/// The time a client has for its TLS handshake, and for its first byte afterwards.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(15);
/// How long an idle connection is kept between two requests.
pub const KEEPALIVE_SECONDS: u64 = 60;
/// How long running requests may go on after a stop was asked for.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Upstreams tried for a request that is passed through.
const PASS_TRIES_MAX: usize = 20;
/// Idle connections to upstreams kept for requests that are passed through.
const PASS_POOL_CONNECTIONS_MAX: usize = 128;
/// The pause after `accept` failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What an HTTP/2 client with prior knowledge begins with (RFC 9113 section 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Answers HTTP on the listeners given to it until told to stop.
pub struct Front<App> {
    door: Door<App>,
    connections: TaskTracker,
}

/// What every connection needs to be served.
pub(crate) struct Door<App> {
    /// Takes requests that need a session.
    pub(crate) proxy: Arc<HttpProxy<App>>,
    /// Answers the others.
    pub(crate) behind: door::Shared,
    /// What clients may take.
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

impl<App> Front<App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    /// A front for a tier: `behind` answers at once, `app` takes what needs a session. `stop` turns true when it is to drain.
    pub fn new(app: App, behind: door::Shared, limits: Limits, stop: watch::Receiver<bool>) -> Self {
        let settings =
            ServerConf { max_retries: PASS_TRIES_MAX, upstream_keepalive_pool_size: PASS_POOL_CONNECTIONS_MAX, ..ServerConf::default() };
        let proxy = Arc::new(http_proxy(&Arc::new(settings), app));
        Self { door: Door { proxy, behind, limits: Arc::new(limits), stop }, connections: TaskTracker::new() }
    }

    /// Accepts on `listener` in the background; with `tls` every connection must be TLS.
    pub fn listen(&self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let (door, connections) = (self.door.clone(), self.connections.clone());
        tokio::spawn(accept_until_stopped(listener, tls.map(TlsAcceptor::from), door, connections));
    }

    /// Waits until the stop was asked for and running requests ended, at most [`DRAIN_TIME_MAX`].
    pub async fn drained(mut self) {
        let _ = self.door.stop.wait_for(|stop| *stop).await;
        self.door.proxy.http_cleanup().await;
        self.connections.close();
        if tokio::time::timeout(DRAIN_TIME_MAX, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections cut off at the end of the drain");
        }
    }
}

async fn accept_until_stopped<App>(listener: TcpListener, tls: Option<TlsAcceptor>, door: Door<App>, connections: TaskTracker)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = door.stop.clone();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, _)) => {
                let (tls, door) = (tls.clone(), door.clone());
                connections.spawn(async move {
                    serve(socket, tls, door).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<App>(socket: TcpStream, tls: Option<TlsAcceptor>, door: Door<App>)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let _ = socket.set_nodelay(true);
    let opened = tokio::time::timeout(HANDSHAKE_TIME_MAX, async {
        match tls {
            Some(acceptor) => secure(socket, &acceptor).await,
            None => sniff(socket).await,
        }
    });
    let mut stopping = door.stop.clone();
    let opened = tokio::select! {
        biased;
        opened = opened => opened,
        // Who has asked for nothing yet, as browsers do ahead of need, does not hold up the drain.
        _ = stopping.wait_for(|stop| *stop) => return,
    };
    let Ok(Some(socket)) = opened else { return };
    match socket.client().protocol {
        Protocol::Http2 => h2::serve(socket, &door).await,
        _ => serve_h1(socket, &door.proxy, &door.stop).await,
    }
}

/// HTTP/1.1 requests of one connection, one after the other.
async fn serve_h1<App>(socket: Socket, proxy: &Arc<HttpProxy<App>>, stop: &watch::Receiver<bool>)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let mut session = ServerSession::new_http1(Box::new(Dated::new(Box::new(socket))));
    session.set_keepalive((!*stop.borrow()).then_some(KEEPALIVE_SECONDS));
    // Requests sent ahead are answered in turn (RFC 9112 section 9.3.2); without this they would be lost with the connection.
    session.set_pipelining_enabled(true);
    while let Some((stream, settings)) = proxy.process_new_http(session, stop).await.map(|reused| reused.consume()) {
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
    }
}

/// The TLS handshake; the client's choice of a protocol comes with it.
async fn secure(socket: TcpStream, acceptor: &TlsAcceptor) -> Option<Socket> {
    let (address, local) = (socket.peer_addr().ok()?, socket.local_addr().ok()?);
    let stream = acceptor.accept(socket).await.ok()?;
    let agreed = stream.get_ref().1;
    let protocol = if agreed.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
    let secured = Secured {
        version: if agreed.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2) { "TLSv1.2" } else { "TLSv1.3" },
        server_name: agreed.server_name().map(Into::into),
    };
    let client = Arc::new(Client { address, local, protocol, secured: Some(secured) });
    Some(Socket::new(Io::Tls(Box::new(stream)), client))
}

/// Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes, and puts them back.
async fn sniff(mut socket: TcpStream) -> Option<Socket> {
    let (address, local) = (socket.peer_addr().ok()?, socket.local_addr().ok()?);
    let mut first = [0_u8; H2_PREFACE.len()];
    let mut filled = 0;
    while filled < first.len() && first[..filled] == H2_PREFACE[..filled] {
        match socket.read(&mut first[filled..]).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    let protocol = if &first == H2_PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    let client = Arc::new(Client { address, local, protocol, secured: None });
    let mut socket = Socket::new(Io::Plain(socket), client);
    socket.unread(Bytes::copy_from_slice(&first[..filled]));
    Some(socket)
}
