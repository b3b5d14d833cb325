//! The authorities that a site trusts for its origin. Read once, however many requests go there.
//!
//! The lock covers the table of those that were read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Texts kept; beyond it all are forgotten and read again.
const TEXTS_MAX: usize = 1_024;

static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Trust>>>> = LazyLock::new(Mutex::default);

/// Certificate authorities.
pub struct Trust {
    roots: Arc<RootCertStore>,
    /// The same for Pingora.
    for_pass: Arc<[WrappedX509]>,
    /// Keeps connections that these have vouched for apart from others.
    group: u64,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("authorities", &self.roots.len()).finish_non_exhaustive()
    }
}

impl Trust {
    /// The authorities of a PEM text; `None` where there is none in it, or one cannot be read, which the check refuses long before.
    #[must_use]
    pub fn of(pem: &str) -> Option<Arc<Self>> {
        if let Some(known) = KNOWN.lock().get(pem) {
            return Some(Arc::clone(known));
        }
        let (mut roots, mut for_pass) = (RootCertStore::empty(), Vec::new());
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.ok()?;
            x509_parser::parse_x509_certificate(&der).ok()?;
            for_pass.push(WrappedX509::new(der.to_vec(), parse_x509));
            roots.add(der).ok()?;
        }
        if roots.is_empty() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        pem.hash(&mut hasher);
        let trust = Arc::new(Self { roots: Arc::new(roots), for_pass: for_pass.into(), group: hasher.finish() });
        let mut known = KNOWN.lock();
        if known.len() >= TEXTS_MAX {
            known.clear();
        }
        known.insert(pem.to_owned(), Arc::clone(&trust));
        Some(trust)
    }

    /// As TLS takes them.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// What tells them from others.
    pub(crate) fn group(&self) -> u64 {
        self.group
    }

    /// Has a peer trust these alone.
    pub(crate) fn tell(&self, peer: &mut HttpPeer) {
        peer.options.ca = Some(Arc::clone(&self.for_pass));
        peer.group_key ^= self.group;
    }
}
