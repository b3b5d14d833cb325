//! The accept loop: takes connections, secures them, and feeds Pingora's HTTP sessions.
//!
//! Ours rather than Pingora's because ports chosen by the kernel, certificates swapped live and bounds per listener need it.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{ALPN, Ssl, Stream};
use pingora::proxy::{HttpProxy, ProxyHttp, http_proxy};
use pingora::server::configuration::ServerConf;
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::dated::Dated;
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
    proxy: Arc<HttpProxy<App>>,
    connections: TaskTracker,
    stop: watch::Receiver<bool>,
}

impl<App> Front<App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    /// A front for `app`; `stop` turns true when it is to drain.
    pub fn new(app: App, stop: watch::Receiver<bool>) -> Self {
        let settings =
            ServerConf { max_retries: PASS_TRIES_MAX, upstream_keepalive_pool_size: PASS_POOL_CONNECTIONS_MAX, ..ServerConf::default() };
        Self { proxy: Arc::new(http_proxy(&Arc::new(settings), app)), connections: TaskTracker::new(), stop }
    }

    /// Accepts on `listener` in the background; with `tls` every connection must be TLS.
    pub fn listen(&self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let proxy = Arc::clone(&self.proxy);
        let connections = self.connections.clone();
        let stop = self.stop.clone();
        let tls = tls.map(|config| Arc::new(Acceptor::from_server_config(config)));
        tokio::spawn(accept_until_stopped(listener, tls, proxy, connections, stop));
    }

    /// Waits until the stop was asked for and running requests ended, at most [`DRAIN_TIME_MAX`].
    pub async fn drained(mut self) {
        let _ = self.stop.wait_for(|stop| *stop).await;
        self.proxy.http_cleanup().await;
        self.connections.close();
        if tokio::time::timeout(DRAIN_TIME_MAX, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections cut off at the end of the drain");
        }
    }
}

async fn accept_until_stopped<App>(
    listener: TcpListener,
    tls: Option<Arc<Acceptor>>,
    proxy: Arc<HttpProxy<App>>,
    connections: TaskTracker,
    mut stop: watch::Receiver<bool>,
) where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, _)) => {
                let (tls, proxy, stop) = (tls.clone(), Arc::clone(&proxy), stop.clone());
                connections.spawn(async move {
                    serve(socket, tls, proxy, stop).await;
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

async fn serve<App>(socket: TcpStream, tls: Option<Arc<Acceptor>>, proxy: Arc<HttpProxy<App>>, stop: watch::Receiver<bool>)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let addresses = (socket.peer_addr(), socket.local_addr());
    let (Ok(peer), Ok(local)) = addresses else { return };
    let _ = socket.set_nodelay(true);
    let digest = socket_digest(&socket, peer, local);
    let opened = tokio::time::timeout(HANDSHAKE_TIME_MAX, async {
        match tls {
            Some(acceptor) => {
                let mut stream = L4Stream::from(socket);
                pingora::protocols::GetSocketDigest::set_socket_digest(&mut stream, digest);
                let stream = acceptor.tls_handshake(stream).await.ok()?;
                let h2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
                Some((Box::new(stream) as Stream, h2))
            }
            None => {
                let (mut stream, h2) = sniff(socket).await?;
                pingora::protocols::GetSocketDigest::set_socket_digest(&mut stream, digest);
                Some((Box::new(stream) as Stream, h2))
            }
        }
    });
    let mut stopping = stop.clone();
    let opened = tokio::select! {
        biased;
        opened = opened => opened,
        // Who has asked for nothing yet, as browsers do ahead of need, does not hold up the drain.
        _ = stopping.wait_for(|stop| *stop) => return,
    };
    let Ok(Some((stream, h2))) = opened else { return };
    if h2 {
        h2::serve(stream, &proxy, &stop).await;
    } else {
        serve_h1(stream, &proxy, &stop).await;
    }
}

fn socket_digest(socket: &TcpStream, peer: std::net::SocketAddr, local: std::net::SocketAddr) -> pingora::protocols::SocketDigest {
    use std::os::fd::AsRawFd;
    let digest = pingora::protocols::SocketDigest::from_raw_fd(socket.as_raw_fd());
    let _ = digest.peer_addr.set(Some(peer.into()));
    let _ = digest.local_addr.set(Some(local.into()));
    digest
}

/// HTTP/1.1 requests of one connection, one after the other.
async fn serve_h1<App>(stream: Stream, proxy: &Arc<HttpProxy<App>>, stop: &watch::Receiver<bool>)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let mut session = ServerSession::new_http1(Box::new(Dated::new(stream)));
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

/// Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes, and puts them back.
async fn sniff(mut socket: TcpStream) -> Option<(L4Stream, bool)> {
    let mut first = [0_u8; H2_PREFACE.len()];
    let mut filled = 0;
    while filled < first.len() && first[..filled] == H2_PREFACE[..filled] {
        match socket.read(&mut first[filled..]).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    let h2 = &first == H2_PREFACE;
    let mut stream = L4Stream::from(socket);
    stream.rewind(&first[..filled]);
    Some((stream, h2))
}
