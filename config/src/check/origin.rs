//! What the values of an origin mean together: its servers, its times, and what it is spared. Judges typed values; never sees text.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use rustls::crypto::ring::sign::any_supported_type;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::fault::{Findings, quoted};
use super::names;
use crate::limits::{
    ANSWER_TIMEOUT_MAX, ANSWERS_MAX, CHECK_INTERVAL_MAX, CHECK_INTERVAL_MIN, CHECK_PATH_BYTES_MAX, CHECK_TIMEOUT_MAX, CHECKS_IN_A_ROW_MAX,
    CONNECT_TIMEOUT_MAX, ORIGIN_AT_ONCE_MAX, ORIGIN_EJECTION_MAX, ORIGIN_ERRORS_MAX, ORIGIN_GROUP_MAX, ORIGIN_OPEN_MAX,
    ORIGIN_QUEUE_TIME_MAX, ORIGIN_RETRIES_MAX, ORIGIN_RETRY_AFTER_MAX, ORIGIN_WEIGHT_MAX, ORIGINS_MAX, PEM_BYTES_MAX, TOTAL_TIMEOUT_MAX,
};
use crate::origin::Server;
use crate::site::{Breaker, Health, Origin, OriginLimits};
use crate::units::{Period, Size};

/// Everything that is wrong with an origin by itself.
pub(crate) fn check(origin: &Origin, findings: &mut Findings) {
    match (origin.urls.is_empty(), origin.servers.is_empty()) {
        (true, true) => findings.add("origin.urls", "the list is empty; write at least one origin, such as \"https://origin.example.net\""),
        (false, false) => findings.add("origin.servers", "there are urls already; write either urls or servers"),
        _ => {}
    }
    let plain = origin.urls.iter().enumerate().map(|(index, url)| (format!("origin.urls[{index}]"), String::new(), url));
    let servers =
        origin.servers.iter().enumerate().map(|(index, server)| (format!("origin.servers[{index}]"), ".url".to_owned(), &server.url));
    for (name, many) in [("origin.urls", origin.urls.len()), ("origin.servers", origin.servers.len())] {
        if many > ORIGINS_MAX {
            findings.add(name, format!("{many} origins; a site has at most {ORIGINS_MAX}"));
        }
    }
    let mut seen: HashMap<Server, String> = HashMap::new();
    for (path, field, url) in plain.take(ORIGINS_MAX).chain(servers.take(ORIGINS_MAX)) {
        match url.parse::<Server>() {
            Err(says) => findings.add(format!("{path}{field}"), says),
            Ok(server) => match seen.get(&server) {
                Some(first) => findings.add(format!("{path}{field}"), format!("{} is {first} already; keep one of them", quoted(url))),
                None => {
                    seen.insert(server, path);
                }
            },
        }
    }
    for (index, server) in origin.servers.iter().enumerate().take(ORIGINS_MAX) {
        let path = format!("origin.servers[{index}]");
        within(server.weight, 1..=ORIGIN_WEIGHT_MAX, &format!("{path}.weight"), findings);
        within(server.group, 0..=ORIGIN_GROUP_MAX, &format!("{path}.group"), findings);
        names_of(server.host_header.as_deref(), server.server_name.as_deref(), &path, findings);
    }
    if let Some(health) = &origin.health {
        self::health(health, findings);
    }
    names_of(origin.host_header.as_deref(), origin.server_name.as_deref(), "origin", findings);
    if let Some(pem) = &origin.ca {
        authorities(pem, origin, findings);
    }
    identity(origin, findings);
    timeout(origin.connect_timeout, CONNECT_TIMEOUT_MAX, "origin.connect_timeout", findings);
    timeout(origin.tls_timeout, CONNECT_TIMEOUT_MAX, "origin.tls_timeout", findings);
    timeout(origin.first_byte_timeout, ANSWER_TIMEOUT_MAX, "origin.first_byte_timeout", findings);
    timeout(origin.between_bytes_timeout, ANSWER_TIMEOUT_MAX, "origin.between_bytes_timeout", findings);
    if let Some(total) = origin.total_timeout {
        timeout(total, TOTAL_TIMEOUT_MAX, "origin.total_timeout", findings);
    }
    limits(&origin.limits, findings);
    breaker(&origin.breaker, findings);
    within(origin.retries.percent, 0..=100, "origin.retries.percent", findings);
    within(origin.retries.floor, 0..=ORIGIN_RETRIES_MAX, "origin.retries.floor", findings);
    within(origin.ejection.errors, 0..=ORIGIN_ERRORS_MAX, "origin.ejection.errors", findings);
    within(origin.ejection.percent, 0..=100, "origin.ejection.percent", findings);
    timeout(origin.ejection.time, ORIGIN_EJECTION_MAX, "origin.ejection.time", findings);
}

fn authorities(pem: &str, origin: &Origin, findings: &mut Findings) {
    if let Err(says) = certificates(pem) {
        return findings.add("origin.ca", says);
    }
    if !origin.verify_tls {
        findings.add_because("origin.ca", &["origin.verify_tls"], "verify_tls = false asks for no certificate; leave one of them out");
    }
}

/// What the site shows of itself to its origin.
fn identity(origin: &Origin, findings: &mut Findings) {
    const CERTIFICATE: &str = "origin.client_certificate";
    const KEY: &str = "origin.client_key";
    let (chain, key) = match (&origin.client_certificate, &origin.client_key) {
        (None, None) => return,
        (Some(_), None) => return findings.add(CERTIFICATE, "it has no key; write its private key as client_key"),
        (None, Some(_)) => return findings.add(KEY, "it has no certificate; write its certificate as client_certificate"),
        (Some(chain), Some(key)) => (certificates(chain), key),
    };
    let leaf = chain.map_err(|says| findings.add(CERTIFICATE, says)).ok();
    // Its key is checked where it is known.
    if key.reference().is_some() {
        return;
    }
    match (public_key(key.reveal()), leaf) {
        (Err(says), _) => findings.add(KEY, says),
        (Ok(public), Some(leaf)) if public != leaf => {
            findings.add_because(
                KEY,
                &[CERTIFICATE],
                "it is not the key of the first certificate in client_certificate; write the one that is",
            );
        }
        _ => {}
    }
}

/// The public key (SubjectPublicKeyInfo, DER) of the first certificate of a PEM text in which all can be read, else what is wrong.
fn certificates(pem: &str) -> Result<Vec<u8>, String> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(format!("{} bytes; write at most {}", pem.len(), Size(PEM_BYTES_MAX as u64)));
    }
    let mut first = None;
    for (index, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let der = certificate.ok();
        let Some((_, read)) = der.as_ref().and_then(|der| X509Certificate::from_der(der).ok()) else {
            let number = index + 1;
            return Err(format!("certificate {number} cannot be read as X.509; write PEM text as a certificate authority hands it out"));
        };
        first.get_or_insert_with(|| read.public_key().raw.to_vec());
    }
    let none = "there is no certificate in it; write the PEM text itself, from \"-----BEGIN CERTIFICATE-----\" on";
    first.ok_or_else(|| none.to_owned())
}

/// The public key that belongs to a private one, else what is wrong; that never repeats any of it.
fn public_key(pem: &str) -> Result<Vec<u8>, String> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(format!("{} bytes; write at most {}", pem.len(), Size(PEM_BYTES_MAX as u64)));
    }
    let none = "there is no private key in it; write the PEM text itself, from \"-----BEGIN PRIVATE KEY-----\" on";
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| none.to_owned())?;
    let key = any_supported_type(&key).ok().and_then(|key| Some(key.public_key()?.to_vec()));
    key.ok_or_else(|| "it is no key that can be used; write one of RSA (2048 to 8192 bits), ECDSA (P-256, P-384) or Ed25519".to_owned())
}

fn breaker(breaker: &Breaker, findings: &mut Findings) {
    within(breaker.errors, 0..=ORIGIN_ERRORS_MAX, "origin.breaker.errors", findings);
    timeout(breaker.open, ORIGIN_OPEN_MAX, "origin.breaker.open", findings);
    if breaker.retry_after_max.0 > ORIGIN_RETRY_AFTER_MAX {
        let (period, most) = (breaker.retry_after_max, Period(ORIGIN_RETRY_AFTER_MAX));
        findings.add("origin.breaker.retry_after_max", format!("\"{period}\" is too long; write at most \"{most}\""));
    }
}

fn limits(limits: &OriginLimits, findings: &mut Findings) {
    within(limits.concurrent, 1..=ORIGIN_AT_ONCE_MAX, "origin.limits.concurrent", findings);
    within(limits.queue, 0..=ORIGIN_AT_ONCE_MAX, "origin.limits.queue", findings);
    timeout(limits.queue_time, ORIGIN_QUEUE_TIME_MAX, "origin.limits.queue_time", findings);
}

fn within(number: u32, bounds: RangeInclusive<u32>, path: &str, findings: &mut Findings) {
    if !bounds.contains(&number) {
        findings.add(path, format!("{number} is out of bounds; write {} to {}", bounds.start(), bounds.end()));
    }
}

/// The `Host` and the TLS server name of the table at `path`.
fn names_of(host_header: Option<&str>, server_name: Option<&str>, path: &str, findings: &mut Findings) {
    if let Some(host) = host_header
        && let Err(why) = names::host_and_port(host)
    {
        findings.add(format!("{path}.host_header"), format!("{} {why}", quoted(host)));
    }
    let Some(name) = server_name else { return };
    let path = format!("{path}.server_name");
    // An empty name would turn verification off in the TLS connector, whatever `verify_tls` says.
    if name.is_empty() {
        findings.add(path, "the name is empty; write the name in the origin's certificate, or leave the field out");
    } else if name.parse::<std::net::IpAddr>().is_err()
        && let Err(why) = names::host(name)
    {
        findings.add(path, format!("{} {why}", quoted(name)));
    }
}

fn health(health: &Health, findings: &mut Findings) {
    let path = &health.path;
    let is_target =
        path.len() <= CHECK_PATH_BYTES_MAX && path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !is_target {
        let most = CHECK_PATH_BYTES_MAX;
        findings.add("origin.health.path", format!("{} is not a path; write one such as \"/healthz\", at most {most} bytes", quoted(path)));
    }
    if !(CHECK_INTERVAL_MIN..=CHECK_INTERVAL_MAX).contains(&health.interval.0) {
        let (least, most) = (Period(CHECK_INTERVAL_MIN), Period(CHECK_INTERVAL_MAX));
        findings.add("origin.health.interval", format!("\"{}\" is out of bounds; write \"{least}\" to \"{most}\"", health.interval));
    }
    timeout(health.timeout, CHECK_TIMEOUT_MAX, "origin.health.timeout", findings);
    if health.status.is_empty() || health.status.len() > ANSWERS_MAX {
        findings.add("origin.health.status", format!("{} statuses; write 1 to {ANSWERS_MAX}", health.status.len()));
    }
    within(health.rise, 1..=CHECKS_IN_A_ROW_MAX, "origin.health.rise", findings);
    within(health.fall, 1..=CHECKS_IN_A_ROW_MAX, "origin.health.fall", findings);
}

fn timeout(period: Period, max: Duration, path: &str, findings: &mut Findings) {
    if period.0.is_zero() {
        findings.add(path, format!("\"0s\" leaves no time at all; write more than that, up to \"{}\"", Period(max)));
    } else if period.0 > max {
        findings.add(path, format!("\"{period}\" is too long; write at most \"{}\"", Period(max)));
    }
}
