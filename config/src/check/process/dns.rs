//! What the settings of DNS mean together: those in the control plane's, and those of a node that answers for it alone.

use std::collections::HashMap;

use super::{addresses, distinct, many, node, records};
use crate::check::fault::{Findings, quoted};
use crate::check::names;
use crate::limits::{DNS_NAME_BYTES_MAX, DNS_TTL_MAX, EXPLORE_PERCENT_MAX, LABEL_BYTES_MAX, NAMESERVERS_MAX, PREFIXES_MAX, REGIONS_MAX};
use crate::process::{Coverage, Dns, DnsGeo, DnsNode};
use crate::units::Period;

pub(super) fn check(dns: &Dns, findings: &mut Findings) {
    if let Err(why) = names::host(&dns.zone) {
        findings.add("dns.zone", format!("{} {why}", quoted(&dns.zone)));
    } else if dns.zone.len() > DNS_NAME_BYTES_MAX - LABEL_BYTES_MAX - 1 {
        findings.add("dns.zone", format!("{} leaves no room for the name of a site; write at most 189 characters", quoted(&dns.zone)));
    }
    if dns.nameservers.is_empty() {
        findings.add("dns.nameservers", "the list is empty; write at least one name server");
    }
    many(dns.nameservers.len(), NAMESERVERS_MAX, "dns.nameservers", findings);
    let mut seen = HashMap::new();
    for (index, server) in dns.nameservers.iter().enumerate().take(NAMESERVERS_MAX) {
        let path = format!("dns.nameservers[{index}]");
        let at = format!("{path}.name");
        if let Err(why) = names::host(&server.name) {
            findings.add(&at, format!("{} {why}", quoted(&server.name)));
        } else if let Some(first) = seen.insert(server.name.to_ascii_lowercase(), index) {
            findings.add(&at, format!("{} is dns.nameservers[{first}] already; keep one of them", quoted(&server.name)));
        }
        let path = format!("{path}.addresses");
        let inside = names::covers(&format!("*.{}", dns.zone.to_ascii_lowercase()), &server.name.to_ascii_lowercase())
            || server.name.eq_ignore_ascii_case(&dns.zone);
        let because = ["dns.zone", at.as_str()];
        if inside && server.addresses.is_empty() {
            findings.add_because(&path, &because, "missing; a name server inside the zone needs its addresses");
        } else if !inside && !server.addresses.is_empty() {
            findings.add_because(&path, &because, "the name is not in the zone, so its addresses are answered elsewhere; leave them out");
        }
        addresses(&server.addresses, &path, findings);
    }
    if dns.ttl.0.as_secs() == 0 || dns.ttl.0 > DNS_TTL_MAX || dns.ttl.0.subsec_nanos() != 0 {
        findings.add(
            "dns.ttl",
            format!("\"{}\" is no lifetime for DNS; write whole seconds from \"1s\" to \"{}\"", dns.ttl, Period(DNS_TTL_MAX)),
        );
    }
    regions(dns, findings);
    geo(&dns.geo, "dns.geo", findings);
    if dns.explore_percent > EXPLORE_PERCENT_MAX {
        let write = format!("{} is no share in percent; write a whole number from 0 to {EXPLORE_PERCENT_MAX}", dns.explore_percent);
        findings.add("dns.explore_percent", write);
    }
    records::check(dns, findings);
}

fn regions(dns: &Dns, findings: &mut Findings) {
    many(dns.region_order.len(), REGIONS_MAX, "dns.region_order", findings);
    let mut seen = HashMap::new();
    for (index, name) in dns.region_order.iter().enumerate().take(REGIONS_MAX) {
        let at = format!("dns.region_order[{index}]");
        if let Err(why) = names::label(name) {
            findings.add(at, format!("{} is not a region; {why}", quoted(name)));
        } else if let Some(first) = seen.insert(name, index) {
            findings.add(at, format!("{} is dns.region_order[{first}] already; keep one of them", quoted(name)));
        }
    }
    many(dns.coverage.len(), REGIONS_MAX, "dns.coverage", findings);
    let prefixes = dns.coverage.iter().map(|coverage| coverage.prefixes.len()).sum();
    many(prefixes, PREFIXES_MAX, "dns.coverage", findings);
    let mut owners = HashMap::new();
    for (index, coverage) in dns.coverage.iter().enumerate().take(REGIONS_MAX) {
        covered(index, coverage, &mut owners, findings);
    }
}

fn covered<'a>(index: usize, coverage: &'a Coverage, owners: &mut HashMap<ipnet::IpNet, &'a str>, findings: &mut Findings) {
    let path = format!("dns.coverage[{index}]");
    let owner = match (coverage.region.as_str(), coverage.node.as_str()) {
        ("", "") => {
            findings.add(&path, "neither region nor node is there; write which of them serves the prefixes, such as region = \"north\"");
            ""
        }
        (region, "") => {
            if let Err(why) = names::label(region) {
                findings.add(format!("{path}.region"), format!("{} is not a region; {why}", quoted(region)));
            }
            region
        }
        ("", node) => {
            if let Err(why) = names::label(node) {
                findings.add(format!("{path}.node"), format!("{} is not a node; {why}", quoted(node)));
            }
            node
        }
        (region, node) => {
            findings.add(&path, format!("both region {} and node {} are there; keep one of them", quoted(region), quoted(node)));
            region
        }
    };
    if coverage.prefixes.is_empty() {
        findings.add(format!("{path}.prefixes"), "the list is empty; write at least one prefix, such as \"192.0.2.0/24\"");
    }
    for (nth, prefix) in coverage.prefixes.iter().enumerate().take(PREFIXES_MAX) {
        let at = format!("{path}.prefixes[{nth}]");
        if prefix.trunc() != *prefix {
            findings.add(at, format!("\"{prefix}\" has bits after its length; write \"{}\"", prefix.trunc()));
        } else if let Some(owner) = owners.insert(*prefix, owner) {
            findings.add(at, format!("\"{prefix}\" belongs to {} already; a prefix has one region or node", quoted(owner)));
        }
    }
}

fn geo(geo: &DnsGeo, at: &str, findings: &mut Findings) {
    for (field, database, what) in [("city", &geo.city, "a city"), ("asn", &geo.asn, "an ASN")] {
        if database.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            let write = format!("the path is empty; write the path of {what} database in the MaxMind DB format, or leave the field out");
            findings.add(format!("{at}.{field}"), write);
        }
    }
}

pub(super) fn of_node(settings: &DnsNode, findings: &mut Findings) {
    records::limits(&settings.limits, "limits", findings);
    node(&settings.name, &settings.data, &settings.control, findings);
    geo(&settings.geo, "geo", findings);
    let listen = &settings.listen;
    let fixed = [("listen.dns", listen.dns), ("listen.admin", listen.admin)];
    distinct(&fixed.into_iter().chain(listen.route.map(|address| ("listen.route", address))).collect::<Vec<_>>(), findings);
}
