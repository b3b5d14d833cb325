//! The CDN's own certificate authority: `ca.pem` and `ca.key` in the data directory. Issues the certificates of nodes and of the control plane itself.
//!
//! Never decides who may have a certificate.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use skerry_agent::{Role, disk, identity, wire};

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";

/// How long the CA certificate is valid.
const CA_VALIDITY: Duration = Duration::from_secs(20 * 366 * 86_400);

/// How long the control plane's own certificate is valid. There is a new one at every start.
const OWN_VALIDITY: Duration = Duration::from_secs(10 * 366 * 86_400);

/// How far a node's clock may be behind ours, and at most this part of the certificate's life.
const CLOCK_SKEW: Duration = Duration::from_secs(86_400);
const CLOCK_SKEW_PART: u32 = 12;

/// The certificate authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// How long the certificate of a node is valid.
    life: Duration,
}

impl Ca {
    /// Whether a data directory has one already.
    pub(crate) fn exists(data: &Path) -> bool {
        data.join(KEY).exists()
    }

    /// Reads the CA from the data directory, or makes it. Nodes' certificates are valid for `life`.
    pub(crate) fn load(data: &Path, life: Duration) -> Result<Self, String> {
        let (certificate_path, key_path) = (data.join(CERTIFICATE), data.join(KEY));
        let read = |path: &Path| disk::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
        match (read(&certificate_path)?, read(&key_path)?) {
            (Some(certificate), Some(key)) => Self::parse(&certificate, &key, life).map_err(|why| {
                format!("the certificate authority in {} and {} cannot be used: {why}", certificate_path.display(), key_path.display())
            }),
            (Some(_), None) => {
                Err(format!("{} is there without {}; restore the key from a backup", certificate_path.display(), key_path.display()))
            }
            // A key without its certificate was never used: the certificate is written last.
            (None, _) => Self::make(&certificate_path, &key_path, life),
        }
    }

    fn parse(certificate: &[u8], key: &[u8], life: Duration) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(certificate).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
        let key = KeyPair::try_from(&key).map_err(|error| error.to_string())?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
        Ok(Self { issuer, certificate, life })
    }

    fn make(certificate_path: &Path, key_path: &Path, life: Duration) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
        let mut params = params("Skerry node CA", CA_VALIDITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(|error| format!("cannot make the CA certificate: {error}"))?;
        let write = |path: &Path, content: &str, mode| {
            disk::write(path, content.as_bytes(), mode).map_err(|error| format!("{} cannot be written: {error}", path.display()))
        };
        write(key_path, &identity::pem("PRIVATE KEY", &key.serialize_der()), 0o600)?;
        write(certificate_path, &identity::pem("CERTIFICATE", certificate.der()), 0o644)?;
        let certificate = certificate.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate, life })
    }

    /// The CA certificate.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for a node with the key of its request; nothing else of the request counts.
    pub(crate) fn issue(&self, role: Role, name: &str, csr: &[u8]) -> Result<CertificateDer<'static>, String> {
        let wrong = |error: rcgen::Error| format!("the certificate request cannot be used: {error}");
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr)).map_err(wrong)?;
        let mut params = params(name, self.life)?;
        params.distinguished_name.push(DnType::OrganizationalUnitName, role.word());
        let uri = rcgen::string::Ia5String::from_str(&identity::uri(role, name)).map_err(wrong)?;
        params.subject_alt_names = vec![dns_name(name)?, SanType::URI(uri)];
        leaf(&mut params);
        Ok(params.signed_by(&request.public_key, &self.issuer).map_err(wrong)?.der().clone())
    }

    /// The control plane's own certificate with its key, for the name that nodes verify and for `names`.
    pub(crate) fn own(&self, names: &[String]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let key = KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
        let mut params = params(wire::CONTROL_NAME, OWN_VALIDITY)?;
        params.subject_alt_names = vec![dns_name(wire::CONTROL_NAME)?];
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => dns_name(name)?,
            });
        }
        leaf(&mut params);
        let certificate =
            params.signed_by(&key, &self.issuer).map_err(|error| format!("cannot make the control plane's certificate: {error}"))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![certificate.der().clone(), self.certificate.clone()], key))
    }
}

fn params(common_name: &str, validity: Duration) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Skerry");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock of this machine is before 1970".to_owned())?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW.min(validity / CLOCK_SKEW_PART));
    params.not_after = epoch + now + validity;
    Ok(params)
}

fn leaf(params: &mut CertificateParams) {
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
}

fn dns_name(name: &str) -> Result<SanType, String> {
    rcgen::string::Ia5String::from_str(name).map(SanType::DnsName).map_err(|_| format!("{name:?} cannot be a name in a certificate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_ca_is_the_same_after_a_restart_and_issues_for_the_name_it_was_told() {
        let data = tempfile::tempdir().unwrap();
        let ca = Ca::load(data.path(), LIFE).unwrap();
        let again = Ca::load(data.path(), LIFE).unwrap();
        assert_eq!(ca.certificate(), again.certificate());
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::new(vec!["somebody-else".to_owned()]).unwrap().serialize_request(&key).unwrap();
        let certificate = again.issue(Role::Edge, "edge-1", csr.der()).unwrap();
        assert_eq!(identity::owner(&certificate), Some((Role::Edge, "edge-1".to_owned())));
        assert!(again.issue(Role::Edge, "edge-1", b"nothing").is_err());
        std::fs::remove_file(data.path().join(KEY)).unwrap();
        assert!(Ca::load(data.path(), LIFE).err().unwrap().contains("restore the key"));
    }
}
