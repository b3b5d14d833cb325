//! What a certificate must come from, and the TLS that is offered.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CipherSuite, ClientConfig, RootCertStore};

/// The authorities to trust.
#[derive(Clone, Debug)]
pub struct Trust(Arc<RootCertStore>);

impl Trust {
    /// Reads a file of certificates in PEM.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or holds no certificate of an authority.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{} is no file of certificates in PEM: {why}", path.display());
        let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            roots.add(certificate.map_err(|error| wrong(error.to_string()))?).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() { Err(wrong("it holds none".to_owned())) } else { Ok(Self(Arc::new(roots))) }
    }

    /// TLS 1.3 and nothing older, with one protocol to agree on. AES-128-GCM is offered first, as browsers and curl do, so that servers
    /// which let the client choose all do the same work.
    ///
    /// # Errors
    /// A sentence: the library refuses that.
    pub(super) fn client(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, String> {
        let mut provider: CryptoProvider = ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&rustls::version::TLS13]);
        let builder = builder.map_err(|error| error.to_string())?;
        let mut configuration = builder.with_root_certificates(Arc::clone(&self.0)).with_no_client_auth();
        configuration.alpn_protocols = vec![alpn.to_vec()];
        // A handshake is a handshake: none is shortened by what an earlier connection left.
        configuration.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(configuration))
    }
}
