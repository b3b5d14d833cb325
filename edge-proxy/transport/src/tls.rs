//! rustls configurations, with ring as the only provider.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme};

/// Protocols offered by ALPN, in order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The protocol over QUIC.
const ALPN_H3: &[u8] = b"h3";

/// TLS sessions over QUIC that can be resumed; beyond, the oldest are forgotten.
const QUIC_SESSIONS_MAX: usize = 16_384;

/// The ring provider.
#[must_use]
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For clients: certificates by server name, TLS 1.2 and 1.3. Session tickets are encrypted under keys of this process that change every 6 hours; the key
/// before still opens tickets, so that a session is resumed for 6 to 12 hours (RFC 8446 section 4.6.1 allows 7 days).
///
/// # Errors
/// When the provider has no randomness.
pub fn for_clients(certificates: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, String> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| format!("no session tickets: {error}"))?;
    Ok(Arc::new(config))
}

/// For clients over QUIC: the same certificates, TLS 1.3, and early data. Its sessions are kept here and each is used once, so that what a client
/// sends ahead of a handshake is taken once (RFC 8446 section 8.1): tickets, which keep a session at the client, could not see to that.
///
/// # Errors
/// When the provider does not have TLS 1.3.
pub fn for_quic(certificates: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![ALPN_H3.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(QUIC_SESSIONS_MAX);
    // QUIC has a bound of its own on early data, and knows no other value (RFC 9001 section 4.6.1).
    config.max_early_data_size = u32::MAX;
    Ok(Arc::new(config))
}

/// For nodes: mutual TLS under the CDN's own CA, only for certificates of `role`.
///
/// # Errors
/// When certificate, key or CA (all DER) cannot be used.
pub fn for_nodes(certificate: &[u8], key: &[u8], ca: &[u8], role: &'static str) -> Result<Arc<ServerConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec())).map_err(|error| format!("the CA certificate cannot be used: {error}"))?;
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|error| format!("the node key cannot be used: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(Arc::new(OfRole { inner, role }))
        .with_single_cert(vec![CertificateDer::from(certificate.to_vec())], key)
        .map_err(|error| format!("the node certificate cannot be used: {error}"))?;
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The authorities of the system, for servers that no others are named for.
pub(crate) static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    if let Err(error) = pingora::tls::load_platform_certs_incl_env_into_store(&mut roots) {
        tracing::error!(%error, "the certificate authorities of the system cannot be read; servers that need them fail at TLS");
    }
    Arc::new(roots)
});

/// To a server that speaks HTTP/1.1 and that one of these authorities, in PEM, vouches for; without them those of the system.
///
/// # Errors
/// When there is no authority, or one cannot be used.
pub fn to_server(authorities: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    let roots = match authorities {
        None => Arc::clone(&SYSTEM),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("not a certificate in PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("a certificate that is no authority's: {error}"))?;
            }
            Arc::new(roots)
        }
    };
    if roots.is_empty() {
        return Err("no certificate authority is in it; write at least one in PEM".to_owned());
    }
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The name in a node certificate's identity `spiffe://skerry/ROLE/NAME`, if it has that role.
#[must_use]
pub fn node_name(certificate: &[u8], role: &str) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => {
            let (has, name) = uri.strip_prefix("spiffe://skerry/")?.split_once('/')?;
            (has == role).then(|| name.to_owned())
        }
        _ => None,
    })
}

/// Verifies as usual, then asks for the role.
#[derive(Debug)]
struct OfRole {
    inner: Arc<dyn ClientCertVerifier>,
    role: &'static str,
}

impl ClientCertVerifier for OfRole {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(leaf, chain, now)?;
        match node_name(leaf, self.role) {
            Some(_) => Ok(verified),
            None => Err(Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
