//! The certificate authority with which the edges of `skerry dev` issue certificates for the hosts of their sites.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

use super::data::Data;

/// The certificate, for clients to trust.
pub(crate) const CERTIFICATE: &str = "ca.pem";
/// Its key, for the edges.
pub(crate) const KEY: &str = "ca.key";

/// Makes the authority, unless the data directory has one already.
pub(crate) fn ensure(data: &Data) -> Result<(), String> {
    let (certificate, key) = (data.file(CERTIFICATE), data.file(KEY));
    if certificate.exists() && key.exists() {
        return Ok(());
    }
    let (certificate_pem, key_pem) = made().map_err(|error| format!("the certificate authority cannot be made: {error}"))?;
    // The key first: a certificate without its key would be taken for a whole one.
    write(&key, 0o600, &key_pem)?;
    write(&certificate, 0o644, &certificate_pem)
}

fn made() -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "Skerry development CA");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2054, 1, 1);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), String> {
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        let place = tempfile::tempdir().unwrap();
        let data = Data::open(Some(place.path())).unwrap();
        ensure(&data).unwrap();
        let first = std::fs::read(data.file(CERTIFICATE)).unwrap();
        ensure(&data).unwrap();
        assert_eq!(first, std::fs::read(data.file(CERTIFICATE)).unwrap());
        assert_eq!(std::fs::metadata(data.file(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
