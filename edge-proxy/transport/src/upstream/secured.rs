//! TLS towards servers: what is offered, who is trusted and who this side is, made once for each kind, so that sessions are resumed.
//!
//! The lock covers the map of the kinds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use skerry_config::site::HttpVersion;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

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
            let (_, _, ca) = private.parts();
            roots.add(CertificateDer::from(ca.to_vec())).map_err(said)?;
            Arc::new(roots)
        }
        (None, Some(trust)) => trust.roots(),
        (None, None) => Arc::clone(&SYSTEM),
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(said)?;
    // An empty store trusts nobody, which is said when a certificate is to be checked.
    let verifier: Arc<dyn ServerCertVerifier> = match WebPkiServerVerifier::builder_with_provider(roots, provider()).build() {
        Ok(inner) if tls.private.is_some() => Arc::new(OfShield(inner)),
        Ok(inner) if tls.verify => inner,
        Err(error) if tls.verify => return Err(format!("no certificate authority is trusted: {error}")),
        _ => Arc::new(Anybody),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match shown(tls)? {
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("the certificate that is shown cannot be used: {error}"))?
        }
        None => builder.with_no_client_auth(),
    };
    let offered: &[&[u8]] = match http_version {
        HttpVersion::Http1 => &[HTTP_1],
        HttpVersion::Http2 => &[HTTP_2],
        HttpVersion::Auto => &[HTTP_2, HTTP_1],
    };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// What the other side is shown of who this one is.
fn shown(tls: &TlsTo) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
    let Some(private) = &tls.private else { return Ok(tls.client.as_ref().map(|client| client.parts())) };
    let (certificate, key, _) = private.parts();
    let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|error| format!("the node key cannot be used: {error}"))?;
    Ok(Some((vec![CertificateDer::from(certificate.to_vec())], key)))
}

/// Verifies as usual, then asks for the identity of the very shield: another node's certificate is none, whatever names are in it.
#[derive(Debug)]
struct OfShield(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for OfShield {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(leaf, chain, name, ocsp, now)?;
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
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
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
