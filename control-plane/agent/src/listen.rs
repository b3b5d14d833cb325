//! A small HTTP server for people and programs of the operator: an axum router behind one listener, with bounds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use rustls::ServerConfig;
use skerry_transport::gate::Prefix;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Connections at once; further ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 1024;

/// Connections at once of one client, a /64 of IPv6 counting as one; further ones are closed, so that nobody holds every place.
const CONNECTIONS_PER_CLIENT_MAX: usize = 512;

/// Time allowed for the head of a request, idle time before it included, and for a TLS handshake. Whoever says nothing holds a place no longer than that.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two pings on an HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Time running requests have to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Time until accepting is tried again when the system has no file descriptor left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Who sent a request: an extension of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `router` over HTTP/1.1 and cleartext HTTP/2 until `stop` says so, then lets running requests end within 5 s.
pub fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    accepting(listener, router, None, stop)
}

/// The same over TLS.
pub fn serve_over_tls(listener: TcpListener, router: Router, tls: Arc<ServerConfig>, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    accepting(listener, router, Some(TlsAcceptor::from(tls)), stop)
}

fn accepting(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let clients = Clients::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = crate::stopped(stop.clone()) => break,
                accepted = accept(&listener, &places) => accepted,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Some(entered) = clients.enter(peer.ip()) else {
                tracing::debug!(%peer, "closed: the client has {CONNECTIONS_PER_CLIENT_MAX} connections");
                continue;
            };
            let place = (place, entered);
            let server = Server { router: router.clone(), peer: Peer(peer), head_timeout: HEAD_TIMEOUT, _place: place, stop: stop.clone() };
            match tls.clone() {
                None => drop(tokio::spawn(connection(stream, server))),
                Some(tls) => drop(tokio::spawn(secured(stream, tls, server))),
            }
        }
        drop(listener);
        // Whoever holds every place knows that no connection is left.
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        if tokio::time::timeout(STOP_TIMEOUT, places.acquire_many(all)).await.is_err() {
            tracing::warn!("requests were still running when the server stopped");
        }
    })
}

/// What one connection needs.
struct Server {
    router: Router,
    peer: Peer,
    head_timeout: Duration,
    /// Kept until the connection ends.
    _place: (OwnedSemaphorePermit, Entered),
    stop: watch::Receiver<bool>,
}

/// The clients that have connections, with how many. The lock is held while one comes or goes.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<HashMap<Prefix, usize>>>);

/// A connection of a client, counted until it is dropped.
struct Entered {
    clients: Clients,
    client: Prefix,
}

impl Clients {
    /// Counts a connection; `None` when its client has as many as one may have.
    fn enter(&self, client: IpAddr) -> Option<Entered> {
        let client = Prefix::of(client);
        let mut counts = self.0.lock();
        let count = counts.entry(client).or_default();
        if *count >= CONNECTIONS_PER_CLIENT_MAX {
            return None;
        }
        *count += 1;
        Some(Entered { clients: self.clone(), client })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Shakes hands and serves one connection.
async fn secured(stream: TcpStream, tls: TlsAcceptor, server: Server) {
    match tokio::time::timeout(server.head_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, server).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
        Err(_) => tracing::debug!("the TLS handshake took too long"),
    }
}

/// Serves one connection, waiting for the head of a request at most the head's time.
async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, server: Server) {
    let Server { router, peer, head_timeout, _place, stop } = server;
    let asked = Arc::new(AtomicBool::new(false));
    let saw = Arc::clone(&asked);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        saw.store(true, Ordering::Relaxed);
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(PING_INTERVAL));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Until it is known which version of HTTP is spoken, hyper's own timer does not run.
    let silent = async {
        tokio::time::sleep(head_timeout).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => Ok(()),
        () = crate::stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(STOP_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What comes back for `said` before the connection is closed.
    async fn answer(said: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let (_stop, stopped) = watch::channel(false);
        let (stream, peer) = listener.accept().await.unwrap();
        let head_timeout = Duration::from_millis(50);
        let place = (place, Clients::default().enter(peer.ip()).unwrap());
        let server = Server { router: Router::new(), peer: Peer(peer), head_timeout, _place: place, stop: stopped };
        tokio::spawn(connection(stream, server));
        client.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut answer)).await.expect("the connection is held").unwrap();
        answer
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_head_holds_no_place() {
        for said in ["", "P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"] {
            answer(said.as_bytes()).await;
        }
        let whole = answer(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(whole.starts_with(b"HTTP/1.1 404"), "{whole:?}");
    }

    #[tokio::test]
    async fn one_client_has_no_more_than_its_share_of_the_places() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = serve(listener, Router::new(), stopped);
        let ask = async |stream: &mut TcpStream| {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
            stream.read(&mut [0; 12]).await
        };
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_PER_CLIENT_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(ask(&mut stream).await.unwrap(), 12);
            held.push(stream);
        }
        let mut more = TcpStream::connect(address).await.unwrap();
        assert!(matches!(ask(&mut more).await, Ok(0) | Err(_)), "one too many");
        // Another client has places yet, and so has this one once it lets one go.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        assert_eq!(ask(&mut socket.connect(address).await.unwrap()).await.unwrap(), 12);
        held.pop();
        let again = async {
            while !matches!(ask(&mut TcpStream::connect(address).await.unwrap()).await, Ok(12)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), again).await.expect("a place is free again");
        stop.send_replace(true);
        drop(held);
        server.await.unwrap();
    }
}
