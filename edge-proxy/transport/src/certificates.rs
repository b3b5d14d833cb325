//! Certificates chosen by server name, swapped under running handshakes.
//!
//! One [`ArcSwap`] holds the table of names; a handshake reads it once. The issuer's own certificates are made on first use
//! and kept in a bounded map whose lock covers nothing else.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use skerry_config::process;

/// The certificates an issuer keeps; beyond it all are dropped and made again when asked for.
const ISSUED_MAX: usize = 4_096;

/// The name of the certificate for clients that send none; it is also for the node's own addresses.
const NAMELESS: &str = "localhost";

/// Whether the node serves a host; only for such hosts the issuer makes certificates.
pub type Serves = dyn Fn(&str) -> bool + Send + Sync;

/// Chooses the certificate for a handshake.
pub struct Certificates {
    table: ArcSwap<Table>,
    issuer: Option<IssuerKeys>,
    serves: Box<Serves>,
}

#[derive(Default)]
struct Table {
    exact: HashMap<String, Arc<CertifiedKey>>,
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// The first certificate of the settings, for clients that send no name.
    first: Option<Arc<CertifiedKey>>,
}

struct IssuerKeys {
    issuer: Issuer<'static, KeyPair>,
    own: Vec<IpAddr>,
    issued: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    /// Loads what the settings name. A client that sends no server name, as for `https://192.0.2.1/`, gets the first certificate, or
    /// one of the issuer's for the node's `own` addresses.
    ///
    /// # Errors
    /// One sentence naming the file that could not be used and why.
    pub fn load(settings: &process::Tls, own: Vec<IpAddr>, serves: Box<Serves>) -> Result<Self, String> {
        let issuer = settings.issuer.as_ref().map(|files| IssuerKeys::load(files, own)).transpose()?;
        Ok(Self { table: ArcSwap::from_pointee(Table::load(settings)?), issuer, serves })
    }

    /// Reads the files again; on an error the certificates in force stay.
    ///
    /// # Errors
    /// As for [`Certificates::load`].
    pub fn reload(&self, settings: &process::Tls) -> Result<(), String> {
        self.table.store(Arc::new(Table::load(settings)?));
        Ok(())
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return table.first.clone().or_else(|| self.issue(NAMELESS));
        };
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        if let Some(found) = table.exact.get(&name).or_else(|| table.wildcard.get(parent)) {
            return Some(Arc::clone(found));
        }
        if (self.serves)(&name) { self.issue(&name).or_else(|| table.first.clone()) } else { table.first.clone() }
    }

    fn issue(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let issuer = self.issuer.as_ref()?;
        if let Some(found) = issuer.issued.lock().get(name) {
            return Some(Arc::clone(found));
        }
        let made = Arc::new(issuer.make(name).inspect_err(|error| tracing::warn!(name, error, "certificate not issued")).ok()?);
        let mut issued = issuer.issued.lock();
        if issued.len() >= ISSUED_MAX {
            issued.clear();
        }
        issued.insert(name.to_owned(), Arc::clone(&made));
        Some(made)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

impl Table {
    fn load(settings: &process::Tls) -> Result<Self, String> {
        let mut table = Self::default();
        for files in &settings.certificates {
            let (key, names) = certified(files)?;
            let key = Arc::new(key);
            table.first.get_or_insert_with(|| Arc::clone(&key));
            for name in names {
                match name.strip_prefix("*.") {
                    Some(parent) => table.wildcard.insert(parent.to_owned(), Arc::clone(&key)),
                    None => table.exact.insert(name, Arc::clone(&key)),
                };
            }
        }
        Ok(table)
    }
}

impl IssuerKeys {
    fn load(files: &process::Certificate, own: Vec<IpAddr>) -> Result<Self, String> {
        let cert = read(&files.cert)?;
        let key = read(&files.key)?;
        let key = KeyPair::from_pem(&key).map_err(|error| format!("{}: not a private key in PEM: {error}", files.key.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&cert, key)
            .map_err(|error| format!("{}: not a CA certificate in PEM: {error}", files.cert.display()))?;
        Ok(Self { issuer, own, issued: Mutex::default() })
    }

    fn make(&self, name: &str) -> Result<CertifiedKey, String> {
        let says = |error: &dyn std::fmt::Display| error.to_string();
        let own = self.own.iter().filter(|_| name == NAMELESS).map(IpAddr::to_string);
        let names: Vec<String> = std::iter::once(name.to_owned()).chain(own).collect();
        let mut params = CertificateParams::new(names).map_err(|error| says(&error))?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(|error| says(&error))?;
        let cert = params.signed_by(&key, &self.issuer).map_err(|error| says(&error))?;
        let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| says(&error))?;
        let signer = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|error| says(&error))?;
        Ok(CertifiedKey::new(vec![cert.der().clone()], signer))
    }
}

/// A chain with its key, and the names it is for.
fn certified(files: &process::Certificate) -> Result<(CertifiedKey, Vec<String>), String> {
    let (cert_path, key_path) = (files.cert.display(), files.key.display());
    let text = read(&files.cert)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{cert_path}: not a certificate in PEM: {error}"))?;
    let leaf = chain.first().ok_or_else(|| format!("{cert_path}: no certificate in it; write the chain in PEM, leaf first"))?;
    let names = names_of(leaf).ok_or_else(|| format!("{cert_path}: the first certificate names neither a DNS name nor an address"))?;
    let key = PrivateKeyDer::from_pem_slice(read(&files.key)?.as_bytes())
        .map_err(|error| format!("{key_path}: not a private key in PEM: {error}"))?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| format!("{key_path}: {error}"))?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|error| format!("{key_path} is not the key of {cert_path}: {error}"))?;
    Ok((certified, names))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

/// The DNS names of a certificate, lower case; `None` when it has neither one nor an address, or cannot be parsed.
fn names_of(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let all = &parsed.subject_alternative_name().ok()??.value.general_names;
    let names: Vec<String> = all
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    let has_address = all.iter().any(|name| matches!(name, GeneralName::IPAddress(_)));
    (!names.is_empty() || has_address).then_some(names)
}
