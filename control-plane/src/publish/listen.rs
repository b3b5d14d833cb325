//! The nodes' listener: TCP, TLS with the CDN's own CA, HTTP/2. A client certificate is asked for and not demanded: who joins has none yet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use skerry_agent::wire;
use skerry_agent::wire::control_server::ControlServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::{Door, Peer};
use crate::ca::Ca;

/// TLS handshakes at once; further connections wait in the listen queue.
const HANDSHAKES_MAX: usize = 256;

/// Time allowed for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that wait to be served.
const WAITING_MAX: usize = 64;

/// Streams of one node at once: it needs one.
const STREAMS_MAX: u32 = 8;

/// Time the streams have to end when the control plane stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Time until accepting is tried again when the system has no file descriptor left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The listener's TLS, with the control plane's own certificate. A node's counts for a while after its end: who is away too long to renew it comes back by it.
pub(crate) fn tls(ca: &Ca, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("the control plane's certificate cannot be used: {error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone()).map_err(|error| unusable(&error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).allow_unauthenticated().build();
    let verifier = verifier.map_err(|error| unusable(&error))?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| unusable(&error))?;
    let mut config = builder
        .with_client_cert_verifier(skerry_transport::tls::graced(verifier))
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Serves nodes until `stop` says so.
pub(crate) fn serve(listener: TcpListener, tls: Arc<ServerConfig>, door: Door, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    let (ready, waiting) = mpsc::channel(WAITING_MAX);
    let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(tls), ready, stop.clone()));
    let incoming = futures_util::stream::unfold(waiting, |mut waiting| async move {
        let next: Option<io::Result<Wire>> = waiting.recv().await.map(Ok);
        next.map(|wire| (wire, waiting))
    });
    let service = ControlServer::new(door).max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
    let server = Server::builder()
        .http2_keepalive_interval(Some(wire::KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(wire::KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, skerry_agent::stopped(stop.clone()));
    tokio::spawn(async move {
        let mut server = std::pin::pin!(server);
        let ended = tokio::select! {
            ended = server.as_mut() => ended,
            () = async { skerry_agent::stopped(stop).await; tokio::time::sleep(STOP_TIMEOUT).await } => Ok(()),
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the nodes' listener ended");
        }
        accepting.abort();
        // An abort is what it ends with.
        let _ = accepting.await;
    })
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, ready: mpsc::Sender<Wire>, stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = skerry_agent::stopped(stop.clone()) => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a node's connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, tls)).await {
                // An error means that the server is gone.
                Ok(Ok(wire)) => drop(ready.send(wire).await),
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
            drop(place);
        });
    }
}

async fn handshake(stream: TcpStream, tls: TlsAcceptor) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = certificate.and_then(|certificate| Peer::of(certificate));
    Ok(Wire { stream, peer })
}

/// A connection whose other end is known.
struct Wire {
    stream: TlsStream<TcpStream>,
    peer: Option<Peer>,
}

impl Connected for Wire {
    type ConnectInfo = Option<Peer>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.peer.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
