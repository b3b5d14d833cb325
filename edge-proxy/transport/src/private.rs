//! Who this node is to the others of its CDN, and whom of them it believes: mutual TLS under the CDN's own CA.
//!
//! What is shown and what is revoked are swapped whole, while connections run: handshakes from then on, and every request, see the new.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, SignatureScheme};

use crate::tls::provider;

/// What tells a certificate from all others: the SHA-256 of its DER.
pub type Fingerprint = [u8; 32];

/// The longest that a certificate of the CDN's own CA counts after its end: as long as it was valid, and at most so long. Nodes renew theirs with a third of
/// its life left; whoever could not, because the control plane was away, goes on so long.
pub const GRACE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// See the module. Shared by the node's listeners and links.
pub struct Private {
    shown: ArcSwap<Shown>,
    /// The only CA that is trusted, DER.
    ca: Vec<u8>,
    ca_for_pass: Arc<[WrappedX509]>,
    revoked: ArcSwap<HashSet<Fingerprint>>,
    /// Keeps connections made with these credentials apart from others.
    group: u64,
}

struct Shown {
    key: Arc<CertifiedKey>,
    for_pass: Arc<CertKey>,
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Private").finish_non_exhaustive()
    }
}

impl Private {
    /// Credentials from DER: the node's certificate, its key (PKCS#8), and the CA.
    ///
    /// # Errors
    /// When one of them cannot be read, or key and certificate are not of each other.
    pub fn new(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Self, String> {
        x509_parser::parse_x509_certificate(ca).map_err(|error| format!("the CA certificate cannot be read: {error}"))?;
        let mut hasher = DefaultHasher::new();
        (certificate, ca).hash(&mut hasher);
        Ok(Self {
            shown: ArcSwap::from_pointee(Shown::new(certificate, key)?),
            ca: ca.to_vec(),
            ca_for_pass: Arc::new([WrappedX509::new(ca.to_vec(), parse_x509)]),
            revoked: ArcSwap::default(),
            group: hasher.finish(),
        })
    }

    /// Shows another certificate of the same node from here on. Connections that stand go on.
    ///
    /// # Errors
    /// When it cannot be read, or key and certificate are not of each other; the one before stays.
    pub fn show(&self, certificate: &[u8], key: &[u8]) -> Result<(), String> {
        self.shown.store(Arc::new(Shown::new(certificate, key)?));
        Ok(())
    }

    /// Believes no more whoever shows one of these certificates, in place of those before.
    pub fn revoke(&self, certificates: impl IntoIterator<Item = Fingerprint>) {
        self.revoked.store(Arc::new(certificates.into_iter().collect()));
    }

    /// Whether a certificate is revoked.
    #[must_use]
    pub fn is_revoked(&self, certificate: &Fingerprint) -> bool {
        self.revoked.load().contains(certificate)
    }

    /// The CA, DER.
    pub(crate) fn ca(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.ca.clone())
    }

    /// What keeps connections made with these credentials apart from others.
    pub(crate) fn group(&self) -> u64 {
        self.group
    }

    /// The certificate that is shown, and the CA, as Pingora takes them.
    pub(crate) fn for_pass(&self) -> (Arc<CertKey>, Arc<[WrappedX509]>) {
        (Arc::clone(&self.shown.load().for_pass), Arc::clone(&self.ca_for_pass))
    }

    /// Refuses a certificate that is revoked.
    pub(crate) fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        match self.is_revoked(&fingerprint(certificate)) {
            true => Err(Error::InvalidCertificate(CertificateError::Revoked)),
            false => Ok(()),
        }
    }
}

impl Shown {
    fn new(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        x509_parser::parse_x509_certificate(certificate).map_err(|error| format!("the node certificate cannot be read: {error}"))?;
        let for_pass = Arc::new(CertKey::new(vec![certificate.to_vec()], key.to_vec()));
        let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|error| format!("the node key cannot be used: {error}"))?;
        let chain = vec![CertificateDer::from(certificate.to_vec())];
        let key =
            CertifiedKey::from_der(chain, key, &provider()).map_err(|error| format!("the node certificate cannot be used: {error}"))?;
        Ok(Self { key: Arc::new(key), for_pass })
    }
}

impl ResolvesServerCert for Private {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.load().key))
    }
}

impl ResolvesClientCert for Private {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = Arc::clone(&self.shown.load().key);
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What tells a certificate, DER, from all others.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> Fingerprint {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref());
    fingerprint
}

/// Verifies a certificate of the CDN's own CA, also for a while after its end: as long as it was valid, and at most [`GRACE_MAX`].
///
/// # Errors
/// What `verify` says.
pub fn with_grace<T>(certificate: &[u8], now: UnixTime, verify: impl Fn(UnixTime) -> Result<T, Error>) -> Result<T, Error> {
    let verified = verify(now);
    if !matches!(&verified, Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }))) {
        return verified;
    }
    match life(certificate) {
        Some((begin, end)) if now.as_secs() <= end.saturating_add(end.saturating_sub(begin).min(GRACE_MAX.as_secs())) => {
            verify(UnixTime::since_unix_epoch(Duration::from_secs(end)))
        }
        _ => verified,
    }
}

/// The first and the last second of a certificate's life, since 1970.
#[must_use]
pub fn life(certificate: &[u8]) -> Option<(u64, u64)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
    Some((seconds(parsed.validity().not_before)?, seconds(parsed.validity().not_after)?))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const BEGIN: u64 = 1_767_225_600;

    fn certificate(days: i64) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = params.not_before + Duration::from_secs(u64::try_from(days).unwrap() * 86_400);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_counts_after_its_end_as_long_as_it_was_valid_and_at_most_thirty_days() {
        for (days, grace) in [(1, 1), (30, 30), (90, 30)] {
            let certificate = certificate(days);
            let end = BEGIN + u64::try_from(days).unwrap() * 86_400;
            assert_eq!(life(&certificate), Some((BEGIN, end)));
            let at = |second: u64| {
                with_grace(&certificate, UnixTime::since_unix_epoch(Duration::from_secs(second)), |now| {
                    if now.as_secs() > end { Err(Error::InvalidCertificate(CertificateError::Expired)) } else { Ok(now.as_secs()) }
                })
            };
            assert_eq!(at(BEGIN + 1), Ok(BEGIN + 1));
            assert_eq!(at(end + grace * 86_400), Ok(end), "{days} days");
            assert!(at(end + grace * 86_400 + 1).is_err(), "{days} days");
        }
        let otherwise = || Err::<(), _>(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(with_grace(&certificate(1), UnixTime::since_unix_epoch(Duration::from_secs(BEGIN)), |_| otherwise()).is_err());
    }
}
