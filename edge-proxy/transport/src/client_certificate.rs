//! The certificate that a site shows to its origin.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::CertKey;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with its chain and its private key.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The same for Pingora.
    for_pass: Arc<CertKey>,
    /// Keeps connections over which it was shown apart from others.
    group: u64,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// What two PEM texts hold; `None` where one of them cannot be read, which the check refuses long before.
    #[must_use]
    pub fn of(certificates: &str, key: &str) -> Option<Arc<Self>> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates.as_bytes()).collect::<Result<_, _>>().ok()?;
        // Pingora panics at one that it cannot read.
        let can_be_read = chain.iter().all(|der| x509_parser::parse_x509_certificate(der).is_ok());
        if chain.is_empty() || !can_be_read {
            return None;
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
        let mut hasher = DefaultHasher::new();
        (&chain, key.secret_der()).hash(&mut hasher);
        let for_pass = CertKey::new(chain.iter().map(|der| der.to_vec()).collect(), key.secret_der().to_vec());
        Some(Arc::new(Self { chain, key, for_pass: Arc::new(for_pass), group: hasher.finish() }))
    }

    /// What tells it from others.
    pub(crate) fn group(&self) -> u64 {
        self.group
    }

    /// The certificate with those between it and its authority, and its key.
    pub(crate) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }

    /// Has a peer be shown it.
    pub(crate) fn tell(&self, peer: &mut HttpPeer) {
        peer.client_cert_key = Some(Arc::clone(&self.for_pass));
        peer.group_key ^= self.group;
    }
}
