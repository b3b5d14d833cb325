//! A node's credentials: `node.crt`, `node.key` and `ca.crt` in its data directory, and reading who a certificate is for.
//!
//! Trusts nothing: whether a certificate is valid is decided by TLS, against the CA.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{Role, Settings, disk};

const CERTIFICATE: &str = "node.crt";
const KEY: &str = "node.key";
const CA: &str = "ca.crt";
/// Key and certificate of a renewal that is being kept.
const RENEWED: &str = "renewed.pem";

/// The node's credentials, from the control plane's own CA.
#[derive(Clone)]
pub struct Identity {
    /// The node certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS#8 DER.
    pub key: Vec<u8>,
    /// The CA certificate, DER.
    pub ca: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("owner", &owner(&self.certificate)).finish_non_exhaustive()
    }
}

/// The name and role of the node that a certificate was issued to, from its URI `spiffe://skerry/ROLE/NAME`.
#[must_use]
pub fn owner(certificate: &[u8]) -> Option<(Role, String)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| {
        let GeneralName::URI(uri) = name else { return None };
        let (role, name) = uri.strip_prefix("spiffe://skerry/")?.split_once('/')?;
        Some((Role::from_word(role)?, name.to_owned()))
    })
}

/// The URI that tells a node's role and name in its certificate.
#[must_use]
pub fn uri(role: Role, name: &str) -> String {
    format!("spiffe://skerry/{}/{name}", role.word())
}

/// The credentials in the data directory, `None` when the node has yet to join. What cannot be read is set aside.
pub(crate) fn load(settings: &Settings) -> Result<Option<Identity>, String> {
    finish_renewal(&settings.data)?;
    let path = settings.data.join(CERTIFICATE);
    let Some(certificate) = read(&settings.data, CERTIFICATE)? else { return Ok(None) };
    let (Some(key), Some(ca)) = (read(&settings.data, KEY)?, read(&settings.data, CA)?) else { return Ok(None) };
    let identity = parse(&certificate, &key, &ca);
    let Some((identity, (role, name))) = identity.and_then(|identity| owner(&identity.certificate).map(|owner| (identity, owner))) else {
        disk::set_aside(&path, "the node certificate, its key or the CA certificate is not PEM of the right kind");
        return Ok(None);
    };
    if (role, name.as_str()) != (settings.role, settings.name.as_str()) {
        return Err(format!(
            "data directory {} belongs to {} {name:?}, not to {} {:?}; give each node a directory of its own",
            settings.data.display(),
            role.word(),
            settings.role.word(),
            settings.name
        ));
    }
    Ok(Some(identity))
}

fn parse(certificate: &[u8], key: &[u8], ca: &[u8]) -> Option<Identity> {
    let certificate = CertificateDer::from_pem_slice(certificate).ok()?.to_vec();
    let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_slice(key).ok()? else { return None };
    let ca = CertificateDer::from_pem_slice(ca).ok()?.to_vec();
    Some(Identity { certificate, key: key.secret_pkcs8_der().to_vec(), ca })
}

/// The node's key pair: the one on disk, else a fresh one, on disk before it is used, so that a join whose answer was lost can be asked for again.
pub(crate) fn key_pair(data: &Path) -> Result<rcgen::KeyPair, String> {
    if let Some(pem) = read(data, KEY)? {
        let known = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok();
        let pair = known.and_then(|key| rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256).ok());
        if let Some(pair) = pair {
            return Ok(pair);
        }
        disk::set_aside(&data.join(KEY), "the node key is not PKCS#8 of an ECDSA P-256 key");
    }
    let pair = rcgen::KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
    write(data, KEY, &pem("PRIVATE KEY", &pair.serialize_der()), 0o600)?;
    Ok(pair)
}

/// Keeps what the control plane issued; the certificate last, because its presence means that the node has joined.
pub(crate) fn keep(data: &Path, identity: &Identity) -> Result<(), String> {
    write(data, KEY, &pem("PRIVATE KEY", &identity.key), 0o600)?;
    write(data, CA, &pem("CERTIFICATE", &identity.ca), 0o644)?;
    write(data, CERTIFICATE, &pem("CERTIFICATE", &identity.certificate), 0o644)
}

/// Keeps a renewed certificate with its new key. First both in one file, so that after a crash in between they are still of each other.
pub(crate) fn keep_renewed(data: &Path, identity: &Identity) -> Result<(), String> {
    let both = pem("PRIVATE KEY", &identity.key) + &pem("CERTIFICATE", &identity.certificate);
    write(data, RENEWED, &both, 0o600)?;
    finish_renewal(data)
}

/// Puts what a renewal left in its places.
fn finish_renewal(data: &Path) -> Result<(), String> {
    let Some(both) = read(data, RENEWED)? else { return Ok(()) };
    let path = data.join(RENEWED);
    let (Ok(certificate), Ok(PrivateKeyDer::Pkcs8(key))) = (CertificateDer::from_pem_slice(&both), PrivateKeyDer::from_pem_slice(&both))
    else {
        disk::set_aside(&path, "the renewed certificate or its key is not PEM of the right kind");
        return Ok(());
    };
    write(data, KEY, &pem("PRIVATE KEY", key.secret_pkcs8_der()), 0o600)?;
    write(data, CERTIFICATE, &pem("CERTIFICATE", &certificate), 0o644)?;
    std::fs::remove_file(&path).map_err(|error| format!("{} cannot be removed: {error}", path.display()))
}

/// DER as PEM (RFC 7468).
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    const LINE_CHARACTERS: usize = 64;
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE_CHARACTERS) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

fn read(data: &Path, file: &str) -> Result<Option<Vec<u8>>, String> {
    disk::read(&data.join(file)).map_err(|error| format!("{} cannot be read: {error}", data.join(file).display()))
}

fn write(data: &Path, file: &str, content: &str, mode: u32) -> Result<(), String> {
    disk::write(&data.join(file), content.as_bytes(), mode)
        .map_err(|error| format!("{} cannot be written: {error}", data.join(file).display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One that is its own CA.
    pub(crate) fn identity(name: &str) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let name = rcgen::string::Ia5String::try_from(uri(Role::Edge, name)).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(name));
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Identity { ca: certificate.clone(), certificate, key: key.serialize_der() }
    }

    #[test]
    fn a_renewal_that_a_crash_cut_short_is_finished() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path();
        let settings = Settings {
            role: Role::Edge,
            name: "edge-1".to_owned(),
            data: data.to_owned(),
            control: skerry_config::process::ControlLink { address: "127.0.0.1:1".to_owned(), join_token: None },
            public_addresses: Vec::new(),
            tier_address: None,
            location: None,
        };
        let (first, second) = (identity("edge-1"), identity("edge-1"));
        keep(data, &first).unwrap();
        let both = pem("PRIVATE KEY", &second.key) + &pem("CERTIFICATE", &second.certificate);
        // The crash came when the key was written and the certificate was not.
        std::fs::write(data.join(RENEWED), both).unwrap();
        write(data, KEY, &pem("PRIVATE KEY", &second.key), 0o600).unwrap();
        let found = load(&settings).unwrap().unwrap();
        assert_eq!((found.certificate, found.key, found.ca), (second.certificate, second.key, first.ca));
        assert!(!data.join(RENEWED).exists());
        let third = identity("edge-1");
        keep_renewed(data, &third).unwrap();
        assert_eq!(load(&settings).unwrap().unwrap().key, third.key);
    }
}
