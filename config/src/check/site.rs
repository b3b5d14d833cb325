//! What the values of a site mean together; of its cache see [`cache`]. Judges typed values; never sees text.

use std::collections::HashMap;
use std::time::Duration;

use super::fault::{Findings, quoted};
use super::{cache, clients, names};
use crate::limits::{ANSWER_TIMEOUT_MAX, CONNECT_TIMEOUT_MAX, HOSTS_MAX, ORIGINS_MAX, TOTAL_TIMEOUT_MAX};
use crate::origin::Server;
use crate::site::{Origin, Site};
use crate::units::Period;

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
    timeout(origin.connect_timeout, CONNECT_TIMEOUT_MAX, "origin.connect_timeout", findings);
    timeout(origin.tls_timeout, CONNECT_TIMEOUT_MAX, "origin.tls_timeout", findings);
    timeout(origin.first_byte_timeout, ANSWER_TIMEOUT_MAX, "origin.first_byte_timeout", findings);
    timeout(origin.between_bytes_timeout, ANSWER_TIMEOUT_MAX, "origin.between_bytes_timeout", findings);
    if let Some(total) = origin.total_timeout {
        timeout(total, TOTAL_TIMEOUT_MAX, "origin.total_timeout", findings);
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
