//! What the values of a site mean together. Judges typed values; never sees text.

use std::collections::HashMap;
use std::time::Duration;

use super::fault::{Findings, quoted};
use super::names;
use crate::limits::{
    ANSWER_TIMEOUT_MAX, CONNECT_TIMEOUT_MAX, FIELD_NAME_BYTES_MAX, HOSTS_MAX, KEY_HEADERS_MAX, ORIGINS_MAX, PATTERN_BYTES_MAX,
    QUERY_NAMES_MAX, RULES_MAX,
};
use crate::origin::Server;
use crate::site::{Key, Match, Origin, Query, Rule, Site};
use crate::units::Period;

/// Everything that is wrong with a site by itself.
pub(crate) fn check(site: &Site, findings: &mut Findings) {
    if let Err(why) = names::label(&site.name) {
        findings.add("name", format!("{} is not the name of a site; {why}", quoted(&site.name)));
    }
    hosts(&site.hosts, findings);
    origin(&site.origin, findings);
    key(&site.cache.key, "cache.key", findings);
    if site.cache.rules.len() > RULES_MAX {
        findings.add("cache.rules", format!("{} rules; a site has at most {RULES_MAX}", site.cache.rules.len()));
    }
    let mut before = None;
    for (index, each) in site.cache.rules.iter().enumerate().take(RULES_MAX) {
        let path = format!("cache.rules[{index}]");
        if let Some(all) = before {
            let other = format!("cache.rules[{all}]");
            let says = format!("this rule never applies, because {other} matches every request; move it before that one");
            findings.add_because(&path, &[&other], says);
        }
        rule(each, &path, &site.hosts, findings);
        before = before.or(matches_all(&each.matches).then_some(index));
    }
}

fn matches_all(matches: &Match) -> bool {
    matches.host.as_deref().is_none_or(|host| host == "*") && matches.path.as_deref().is_none_or(|path| path == "*")
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
    timeout(origin.first_byte_timeout, ANSWER_TIMEOUT_MAX, "origin.first_byte_timeout", findings);
    timeout(origin.between_bytes_timeout, ANSWER_TIMEOUT_MAX, "origin.between_bytes_timeout", findings);
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

fn rule(rule: &Rule, path: &str, hosts: &[String], findings: &mut Findings) {
    if let Some(pattern) = &rule.matches.path
        && let Err(why) = path_pattern(pattern)
    {
        findings.add(format!("{path}.match.path"), format!("{} {why}", quoted(pattern)));
    }
    if let Some(host) = &rule.matches.host {
        let at = format!("{path}.match.host");
        if host.contains('*') {
            findings.add(at, format!("{} has a star; a rule names one exact host, or none for all hosts of the site", quoted(host)));
        } else if let Err(why) = names::host(host) {
            findings.add(at, format!("{} {why}", quoted(host)));
        } else if !hosts.iter().any(|owned| names::covers(&owned.to_ascii_lowercase(), &host.to_ascii_lowercase())) {
            findings.add_because(
                at,
                &["hosts"],
                format!("{} is not a host of this site; add it to hosts, or name one of them", quoted(host)),
            );
        }
    }
    if rule.bypass {
        let idle = [
            ("ttl", rule.ttl.is_some()),
            ("stale_while_revalidate", rule.stale_while_revalidate.is_some()),
            ("stale_if_error", rule.stale_if_error.is_some()),
            ("key", rule.key.is_some()),
        ];
        for (field, _) in idle.into_iter().filter(|(_, given)| *given) {
            let because = format!("{path}.bypass");
            findings.add_because(format!("{path}.{field}"), &[&because], "nothing is stored when bypass is true; remove one of the two");
        }
    }
    if let Some(given) = &rule.key {
        key(given, &format!("{path}.key"), findings);
    }
}

fn path_pattern(pattern: &str) -> Result<(), &'static str> {
    if !pattern.starts_with(['/', '*']) {
        return Err("begins with neither / nor *; write a path such as /api/* or *.jpg");
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err("is longer than 1024 bytes");
    }
    if pattern.contains(['?', '#']) {
        return Err("has a query or fragment; rules match the path alone, and the query belongs in key");
    }
    if !pattern.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a space or a character that no path is sent with; write it percent-encoded");
    }
    Ok(())
}

fn key(key: &Key, path: &str, findings: &mut Findings) {
    if let Some(given) = &key.query {
        query(given, &format!("{path}.query"), findings);
    }
    if key.headers.len() > KEY_HEADERS_MAX {
        findings.add(format!("{path}.headers"), format!("{} header fields; a key has at most {KEY_HEADERS_MAX}", key.headers.len()));
    }
    let mut seen = HashMap::new();
    for (index, name) in key.headers.iter().enumerate().take(KEY_HEADERS_MAX) {
        let at = format!("{path}.headers[{index}]");
        if let Err(why) = names::key_header(name) {
            findings.add(at, format!("{} {why}", quoted(name)));
        } else if let Some(first) = seen.insert(name, index) {
            findings.add(at, format!("{} is headers[{first}] already; keep one of them", quoted(name)));
        }
    }
}

fn query(query: &Query, path: &str, findings: &mut Findings) {
    if query.keep.is_some() && query.drop.is_some() {
        findings.add(path, "keep and drop are both there; write one of them");
    }
    for (field, names) in [("keep", &query.keep), ("drop", &query.drop)] {
        let names = names.as_deref().unwrap_or_default();
        if names.len() > QUERY_NAMES_MAX {
            findings.add(format!("{path}.{field}"), format!("{} names; write at most {QUERY_NAMES_MAX}", names.len()));
        }
        let mut seen = HashMap::new();
        for (index, name) in names.iter().enumerate().take(QUERY_NAMES_MAX) {
            let at = format!("{path}.{field}[{index}]");
            if name.is_empty() || name.len() > FIELD_NAME_BYTES_MAX {
                findings.add(at, format!("{} is not the name of a parameter; write 1 to {FIELD_NAME_BYTES_MAX} bytes", quoted(name)));
            } else if name.contains(['&', '=', '#']) {
                findings.add(at, format!("{} is more than a name; leave out &, = and the value", quoted(name)));
            } else if let Some(first) = seen.insert(name, index) {
                findings.add(at, format!("{} is {field}[{first}] already; keep one of them", quoted(name)));
            }
        }
    }
}
