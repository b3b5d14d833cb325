//! What the values of a site mean together; of its cache see [`cache`]. Judges typed values; never sees text.

use std::collections::HashMap;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::fault::{Findings, quoted};
use super::{cache, clients, names};
use crate::limits::{ANSWER_TIMEOUT_MAX, CONNECT_TIMEOUT_MAX, HOSTS_MAX, ORIGINS_MAX, PEM_BYTES_MAX, TOTAL_TIMEOUT_MAX};
use crate::origin::Server;
use crate::site::{Origin, Site};
use crate::units::{Period, Size};

/// Everything that is wrong with a site by itself.
pub(crate) fn check(site: &Site, findings: &mut Findings) {
    if let Err(why) = names::label(&site.name) {
        findings.add("name", format!("{} is not the name of a site; {why}", quoted(&site.name)));
    }
    hosts(&site.hosts, findings);
    origin(&site.origin, findings);
    cache::check(&site.cache, &site.hosts, findings);
    clients::pass(&site.pass, findings);
    clients::rate_limits(&site.rate_limits, findings);
    clients::forwarding(&site.forwarding, findings);
}

fn hosts(hosts: &[String], findings: &mut Findings) {
    if hosts.is_empty() {
        findings.add("hosts", "the list is empty; write at least one host, such as \"shop.example.com\", or \"*\" for every host");
    }
    if hosts.len() > HOSTS_MAX {
        findings.add("hosts", format!("{} hosts; a site has at most {HOSTS_MAX}", hosts.len()));
    }
    let mut seen = HashMap::new();
    for (index, host) in hosts.iter().enumerate().take(HOSTS_MAX) {
        let path = format!("hosts[{index}]");
        match names::site_host(host) {
            Err(why) => findings.add(path, format!("{} {why}", quoted(host))),
            Ok(()) => {
                if let Some(first) = seen.insert(host.to_ascii_lowercase(), index) {
                    findings.add(path, format!("{} is hosts[{first}] already; keep one of them", quoted(host)));
                }
            }
        }
    }
}

fn origin(origin: &Origin, findings: &mut Findings) {
    if origin.urls.is_empty() {
        findings.add("origin.urls", "the list is empty; write at least one origin, such as \"https://origin.example.net\"");
    }
    if origin.urls.len() > ORIGINS_MAX {
        findings.add("origin.urls", format!("{} origins; a site has at most {ORIGINS_MAX}", origin.urls.len()));
    }
    let mut seen = HashMap::new();
    for (index, url) in origin.urls.iter().enumerate().take(ORIGINS_MAX) {
        let path = format!("origin.urls[{index}]");
        match url.parse::<Server>() {
            Err(says) => findings.add(path, says),
            Ok(server) => {
                if let Some(first) = seen.insert(server, index) {
                    findings.add(path, format!("{} is origin.urls[{first}] already; keep one of them", quoted(url)));
                }
            }
        }
    }
    if let Some(host) = &origin.host_header
        && let Err(why) = names::host_and_port(host)
    {
        findings.add("origin.host_header", format!("{} {why}", quoted(host)));
    }
    if let Some(name) = &origin.server_name {
        server_name(name, findings);
    }
    if let Some(pem) = &origin.ca {
        authorities(pem, origin, findings);
    }
    timeout(origin.connect_timeout, CONNECT_TIMEOUT_MAX, "origin.connect_timeout", findings);
    timeout(origin.tls_timeout, CONNECT_TIMEOUT_MAX, "origin.tls_timeout", findings);
    timeout(origin.first_byte_timeout, ANSWER_TIMEOUT_MAX, "origin.first_byte_timeout", findings);
    timeout(origin.between_bytes_timeout, ANSWER_TIMEOUT_MAX, "origin.between_bytes_timeout", findings);
    if let Some(total) = origin.total_timeout {
        timeout(total, TOTAL_TIMEOUT_MAX, "origin.total_timeout", findings);
    }
}

fn authorities(pem: &str, origin: &Origin, findings: &mut Findings) {
    if pem.len() > PEM_BYTES_MAX {
        return findings.add("origin.ca", format!("{} bytes; write at most {}", pem.len(), Size(PEM_BYTES_MAX as u64)));
    }
    let mut certificates = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        certificates += 1;
        if !certificate.is_ok_and(|der| X509Certificate::from_der(&der).is_ok()) {
            let says =
                format!("certificate {certificates} cannot be read as X.509; write PEM text as a certificate authority hands it out");
            return findings.add("origin.ca", says);
        }
    }
    if certificates == 0 {
        let says = "there is no certificate in it; write the PEM text itself, from \"-----BEGIN CERTIFICATE-----\" on";
        return findings.add("origin.ca", says);
    }
    if !origin.verify_tls {
        findings.add_because("origin.ca", &["origin.verify_tls"], "verify_tls = false asks for no certificate; leave one of them out");
    }
}

fn server_name(name: &str, findings: &mut Findings) {
    // An empty name would turn verification off in the TLS connector, whatever `verify_tls` says.
    if name.is_empty() {
        findings.add("origin.server_name", "the name is empty; write the name in the origin's certificate, or leave the field out");
    } else if name.parse::<std::net::IpAddr>().is_err()
        && let Err(why) = names::host(name)
    {
        findings.add("origin.server_name", format!("{} {why}", quoted(name)));
    }
}

fn timeout(period: Period, max: Duration, path: &str, findings: &mut Findings) {
    if period.0.is_zero() {
        findings.add(path, format!("\"0s\" leaves no time at all; write more than that, up to \"{}\"", Period(max)));
    } else if period.0 > max {
        findings.add(path, format!("\"{period}\" is too long; write at most \"{}\"", Period(max)));
    }
}
