//! TLS towards servers: what is offered, who is trusted and who this side is, made once for each kind, so that sessions are resumed.
//!
//! The lock covers the map of the kinds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use skerry_config::site::HttpVersion;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::private::{Private, with_grace};
use crate::target::{Endpoint, Kind, TlsTo};
use crate::tls::{SYSTEM, node_name, provider};

/// Kinds kept; beyond it all are forgotten and made again.
const KINDS_MAX: usize = 1_024;

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// See the module.
#[derive(Default)]
pub(super) struct Secured {
    known: Mutex<HashMap<Kind, TlsConnector>>,
}

impl Secured {
    /// Shakes hands within `time`. The other side has shown who it is then, and whether it speaks HTTP/2.
    ///
    /// # Errors
    /// One sentence on what was wrong.
    pub(super) async fn shake_hands(
        &self,
        endpoint: &Endpoint,
        tls: &TlsTo,
        stream: TcpStream,
        time: Duration,
    ) -> Result<(Box<TlsStream<TcpStream>>, bool), String> {
        let name = ServerName::try_from(tls.server_name.clone())
            .map_err(|_| format!("{:?} is neither a name nor an address that a certificate could be for", tls.server_name))?;
        let shaking = self.connector(endpoint, tls)?.connect(name, stream);
        let stream = match tokio::time::timeout(time, shaking).await {
            Ok(shaken) => shaken.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("the TLS handshake was not done in {time:?}")),
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        if endpoint.is_own_tier() && !is_http2 {
            return Err("it does not speak HTTP/2".to_owned());
        }
        Ok((Box::new(stream), is_http2))
    }

    fn connector(&self, endpoint: &Endpoint, tls: &TlsTo) -> Result<TlsConnector, String> {
        let kind = endpoint.kind(tls);
        if let Some(known) = self.known.lock().get(&kind) {
            return Ok(known.clone());
        }
        let connector = TlsConnector::from(Arc::new(configuration(tls, kind.http_version)?));
        let mut known = self.known.lock();
        if known.len() >= KINDS_MAX {
            known.clear();
        }
        Ok(known.entry(kind).or_insert(connector).clone())
    }
}

fn configuration(tls: &TlsTo, http_version: HttpVersion) -> Result<ClientConfig, String> {
    let said = |error: Error| error.to_string();
    let roots = match (&tls.private, &tls.trust) {
        (Some(private), _) => {
            let mut roots = RootCertStore::empty();
            roots.add(private.ca()).map_err(said)?;
            Arc::new(roots)
        }
        (None, Some(trust)) => trust.roots(),
        (None, None) => Arc::clone(&SYSTEM),
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(said)?;
    // An empty store trusts nobody, which is said when a certificate is to be checked.
    let verifier: Arc<dyn ServerCertVerifier> = match (WebPkiServerVerifier::builder_with_provider(roots, provider()).build(), &tls.private)
    {
        (Ok(inner), Some(private)) => Arc::new(OfShield { inner, private: Arc::clone(private) }),
        (Ok(inner), None) if tls.verify => inner,
        (Err(error), _) if tls.verify => return Err(format!("no certificate authority is trusted: {error}")),
        _ => Arc::new(Anybody),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match (&tls.private, &tls.client) {
        (Some(private), _) => builder.with_client_cert_resolver(Arc::clone(private) as _),
        (None, Some(client)) => {
            let (chain, key) = client.parts();
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("the certificate that is shown cannot be used: {error}"))?
        }
        (None, None) => builder.with_no_client_auth(),
    };
    let offered: &[&[u8]] = match http_version {
        HttpVersion::Http1 => &[HTTP_1],
        HttpVersion::Http2 => &[HTTP_2],
        HttpVersion::Auto => &[HTTP_2, HTTP_1],
    };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Verifies as usual, then asks for the identity of the very shield: another node's certificate is none, whatever names are in it.
#[derive(Debug)]
struct OfShield {
    inner: Arc<WebPkiServerVerifier>,
    private: Arc<Private>,
}

impl ServerCertVerifier for OfShield {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = with_grace(leaf, now, |now| self.inner.verify_server_cert(leaf, chain, name, ocsp, now))?;
        self.private.check(leaf)?;
        match node_name(leaf, "shield") {
            Some(shield) if shield == name.to_str() => Ok(verified),
            _ => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate, for a site that says so, as long as who shows it has its key.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
