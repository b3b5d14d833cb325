//! What the tests share: the binary, and servers of this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long anything here may take, in seconds.
pub(crate) const DEADLINE_S: u64 = 110;
/// The host that the certificates of this process are for.
pub(crate) const HOST: &str = "shop.test";

pub(crate) async fn loadtest(arguments: &[&str]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_skerry-loadtest")).args(arguments).kill_on_drop(true).output();
    timeout(Duration::from_secs(DEADLINE_S), run).await.expect("in time").expect("the binary runs")
}

pub(crate) fn said(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What is answered to a request for a URI: status and body.
type Respond = Arc<dyn Fn(&Uri) -> (u16, Bytes) + Send + Sync>;

/// What is answered to the n-th request, from 0.
pub(crate) fn counted(body: fn(u64) -> (u16, &'static str)) -> Respond {
    let count = AtomicU64::new(0);
    Arc::new(move |_| {
        let (status, text) = body(count.fetch_add(1, Ordering::Relaxed));
        (status, Bytes::from_static(text.as_bytes()))
    })
}

/// The same by number over cleartext.
pub(crate) async fn server(body: fn(u64) -> (u16, &'static str)) -> SocketAddr {
    cleartext(counted(body)).await
}

/// An answer that says that it is a hit, unless the object is an unseen one.
fn answer(respond: &Respond, uri: &Uri) -> Response<Full<Bytes>> {
    let (status, body) = respond(uri);
    let unseen = uri.query().is_some_and(|query| query.contains("unseen="));
    let response = Response::builder().status(status).header("cache-status", if unseen { "edge-1; fwd=miss" } else { "edge-1; hit" });
    response.header("cache-control", "max-age=86400").header("content-length", body.len()).body(Full::new(body)).expect("a response")
}

async fn speak<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, respond: Respond) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&respond, request.uri());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A server over cleartext, HTTP/1.1 and HTTP/2 with prior knowledge.
pub(crate) async fn cleartext(respond: Respond) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream, Arc::clone(&respond)));
        }
    });
    address
}

/// An authority and a certificate from it for [`HOST`].
pub(crate) struct Certified {
    folder: TempDir,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority_key = KeyPair::generate().expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        let pem = authority.self_signed(&authority_key).expect("an authority").pem();
        std::fs::write(folder.path().join("ca.pem"), pem).expect("written");
        let (issuer, key) = (Issuer::new(authority, authority_key), KeyPair::generate().expect("a key"));
        let certificate = CertificateParams::new(vec![HOST.to_owned()]).expect("parameters").signed_by(&key, &issuer);
        Self { folder, certificate: certificate.expect("a certificate").der().clone(), key }
    }

    /// The file of the authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn tls(&self, protocols: &[&[u8]]) -> rustls::ServerConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        let builder = builder.expect("TLS 1.3").with_no_client_auth();
        let mut configuration = builder.with_single_cert(vec![self.certificate.clone()], key).expect("a key for its certificate");
        configuration.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        configuration
    }

    /// A server over TLS that chooses from these protocols.
    pub(crate) async fn secure(&self, protocols: &[&[u8]], respond: Respond) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let acceptor = TlsAcceptor::from(Arc::new(self.tls(protocols)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, respond) = (acceptor.clone(), Arc::clone(&respond));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        speak(stream, respond).await;
                    }
                });
            }
        });
        address
    }

    /// A server over HTTP/3.
    pub(crate) fn quic(&self, respond: Respond) -> SocketAddr {
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(self.tls(&[b"h3"])).expect("QUIC");
        let configuration = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = quinn::Endpoint::server(configuration, "127.0.0.1:0".parse().expect("an address")).expect("a socket");
        let address = endpoint.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let respond = Arc::clone(&respond);
                tokio::spawn(async move { speak_quic(incoming, respond).await });
            }
        });
        address
    }
}

async fn speak_quic(incoming: quinn::Incoming, respond: Respond) -> Option<()> {
    let connection = h3_quinn::Connection::new(incoming.await.ok()?);
    let mut connection = h3::server::Connection::<_, Bytes>::new(connection).await.ok()?;
    while let Ok(Some(resolver)) = connection.accept().await {
        let respond = Arc::clone(&respond);
        tokio::spawn(async move {
            let (request, mut stream) = resolver.resolve_request().await.ok()?;
            let (head, body) = answer(&respond, request.uri()).into_parts();
            stream.send_response(Response::from_parts(head, ())).await.ok()?;
            stream.send_data(body.collect().await.ok()?.to_bytes()).await.ok()?;
            stream.finish().await.ok()
        });
    }
    Some(())
}
