//! One TLS connection to the control plane, as a gRPC channel.
//!
//! Never tries again: a connection that ends is another connection's business, so that who follows decides about waiting.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::identity::Identity;
use crate::token::DIGEST_BYTES;
use crate::wire;

/// Time allowed for the name, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may work later.
    Unreachable(String),
    /// Who answered is not the control plane of this CDN.
    Untrusted(String),
}

/// TLS for a node that has joined.
pub(crate) fn known(identity: &Identity) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.ca.clone())).map_err(|error| format!("the CA certificate cannot be used: {error}"))?;
    let chain = vec![CertificateDer::from(identity.certificate.clone())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key);
    config.map(with_h2).map_err(|error| format!("the node certificate cannot be used: {error}"))
}

/// TLS for a node that knows only the digest of the CA certificate.
pub(crate) fn pinned(ca_digest: [u8; DIGEST_BYTES]) -> Result<ClientConfig, String> {
    let provider = provider();
    let verifier = Arc::new(Pinned { ca_digest, algorithms: provider.signature_verification_algorithms });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(with_h2(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

fn with_h2(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Connects once.
pub(crate) async fn channel(address: &str, tls: ClientConfig) -> Result<Channel, Failure> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, handshake(address, tls))
        .await
        .map_err(|_| Failure::Unreachable(format!("no answer from {address} within {} s", CONNECT_TIMEOUT.as_secs())))??;
    let endpoint = Endpoint::from_static("http://control.skerry")
        .http2_keep_alive_interval(wire::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(wire::KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let once = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = once.lock().take();
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let channel = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connector)).await;
    match channel {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(Failure::Unreachable(format!("{address}: {error}"))),
        Err(_) => Err(Failure::Unreachable(format!("no HTTP/2 from {address} within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

async fn handshake(address: &str, tls: ClientConfig) -> Result<TlsStream<TcpStream>, Failure> {
    let unreachable = |error: io::Error| Failure::Unreachable(format!("cannot connect to {address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let name = ServerName::try_from(wire::CONTROL_NAME).map_err(|error| Failure::Untrusted(error.to_string()))?;
    TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(why)) => {
                Failure::Untrusted(format!("the certificate of {address} is not this CDN's control plane's ({why:?})"))
            }
            _ => unreachable(error),
        }
    })
}

/// Trusts a chain that holds the CA certificate with the known digest, and is signed by it.
#[derive(Debug)]
struct Pinned {
    ca_digest: [u8; DIGEST_BYTES],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = |certificate: &&CertificateDer<'_>| digest(&SHA256, certificate).as_ref() == self.ca_digest;
        let ca = intermediates.iter().find(pinned).ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, &[], name, ocsp, now)?;
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
