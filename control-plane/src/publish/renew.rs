//! Another certificate for a node that follows by one.

use skerry_agent::wire::{Renew, Renewed, renewed};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::{Door, Peer};
use crate::intent::Issued;

impl Door {
    /// Issues another certificate for the key of a request. The node goes on by the one it has until it uses the new one.
    pub(super) async fn renew(&self, peer: &Peer, renew: Renew) -> Renewed {
        let outcome = match self.issue_again(peer, &renew.csr).await {
            Ok(certificate) => {
                tracing::info!(node = peer.name, "a certificate is issued anew");
                renewed::Outcome::Certificate(certificate.into())
            }
            Err(why) => {
                tracing::warn!(node = peer.name, why, "no certificate is issued anew");
                renewed::Outcome::Refused(why)
            }
        };
        Renewed { outcome: Some(outcome) }
    }

    async fn issue_again(&self, peer: &Peer, csr: &[u8]) -> Result<Vec<u8>, String> {
        key_of(csr)?;
        let certificate = self.plane.ca.issue(peer.role, &peer.name, csr)?;
        let (plane, issued) = (&self.plane, Issued::of(&certificate));
        let renewed = plane.intent.renew_node(&peer.name, &peer.issued.certificate, issued, &plane.revoked).await;
        renewed.map_err(|why| why.says().to_owned())?;
        Ok(certificate.to_vec())
    }
}

/// The public key of a certificate request, which must be signed by it.
pub(super) fn key_of(csr: &[u8]) -> Result<Vec<u8>, String> {
    X509CertificationRequest::from_der(csr)
        .ok()
        .filter(|(_, csr)| csr.verify_signature().is_ok())
        .map(|(_, csr)| csr.certification_request_info.subject_pki.raw.to_vec())
        .ok_or_else(|| "the certificate request is not PKCS#10 signed by its own key".to_owned())
}
