//! What the declared records of a zone and the limits of its answers mean together.

use std::collections::HashMap;

use super::{allowed, many};
use crate::check::fault::{Findings, quoted};
use crate::check::names;
use crate::limits::{DNS_CONNECTIONS_MAX, DNS_RATE_MAX, DNS_TTL_MAX, RECORD_VALUES_MAX, RECORDS_MAX, SLIP_MAX};
use crate::process::{Dns, DnsLimits, DnsRecord, RECORD_TYPES, RecordData};
use crate::units::Period;

pub(super) fn check(dns: &Dns, findings: &mut Findings) {
    many(dns.records.len(), RECORDS_MAX, "dns.records", findings);
    let mut types: HashMap<String, Vec<&str>> = HashMap::new();
    for (index, record) in dns.records.iter().enumerate().take(RECORDS_MAX) {
        let path = format!("dns.records[{index}]");
        one(dns, record, &path, findings);
        let there = types.entry(record.name.to_ascii_lowercase()).or_default();
        let clash = if record.kind == "CNAME" { there.first() } else { there.iter().find(|kind| **kind == "CNAME") };
        if there.contains(&record.kind.as_str()) {
            let says = format!("{} has a {} already; write all its values in one", quoted(&record.name), record.kind);
            findings.add(format!("{path}.type"), says);
        } else if let Some(other) = clash {
            let says = format!("{} has a {other} already, and nothing stands beside a CNAME; keep one of them", quoted(&record.name));
            findings.add(format!("{path}.type"), says);
        }
        there.push(&record.kind);
    }
    loops(dns, findings);
    limits(&dns.limits, "dns.limits", findings);
}

/// CNAMEs that lead back to themselves: a resolver follows them until it gives up. Each loop is told once, at its first record.
fn loops(dns: &Dns, findings: &mut Findings) {
    let names: HashMap<String, (usize, String)> = dns
        .records
        .iter()
        .enumerate()
        .take(RECORDS_MAX)
        .filter_map(|(index, record)| match record.values.first().map(|value| record.data(value)) {
            Some(Ok(RecordData::Cname(target))) => Some((record.name.to_ascii_lowercase(), (index, target.to_ascii_lowercase()))),
            _ => None,
        })
        .collect();
    for (name, (first, target)) in &names {
        let mut by = Vec::new();
        let mut at = target;
        // Who comes to a record before its own, or meets more names than there are, is in or before a loop that another record tells.
        while let Some((index, next)) = names.get(at).filter(|(index, _)| index > first && by.len() < names.len()) {
            by.push((index, at));
            at = next;
        }
        if at == name {
            let way: String = by.iter().map(|(_, name)| format!(" by way of {}", quoted(name))).collect();
            let because: Vec<String> = by.iter().map(|(index, _)| format!("dns.records[{index}].values[0]")).collect();
            let because: Vec<&str> = because.iter().map(String::as_str).collect();
            let says = format!("{} leads back to itself{way}; write a name that is not one of these", quoted(name));
            findings.add_because(format!("dns.records[{first}].values[0]"), &because, says);
        }
    }
}

/// What the limits at a path say.
pub(super) fn limits(limits: &DnsLimits, path: &str, findings: &mut Findings) {
    for (name, value, least, most) in [
        ("same_per_second", limits.same_per_second, 0, DNS_RATE_MAX),
        ("errors_per_second", limits.errors_per_second, 0, DNS_RATE_MAX),
        ("all_per_second", limits.all_per_second, 0, DNS_RATE_MAX),
        ("slip", limits.slip, 0, SLIP_MAX),
        ("connections", limits.connections, 1, DNS_CONNECTIONS_MAX),
        ("connections_per_address", limits.connections_per_address, 1, DNS_CONNECTIONS_MAX),
    ] {
        if value < least || value > most {
            findings.add(format!("{path}.{name}"), format!("{value} is out of bounds; write {least} to {most}"));
        }
    }
    allowed(&limits.exempt, &format!("{path}.exempt"), findings);
}

fn one(dns: &Dns, record: &DnsRecord, path: &str, findings: &mut Findings) {
    let zone = dns.zone.to_ascii_lowercase();
    let name = record.name.to_ascii_lowercase();
    if let Err(why) = names::owner(&record.name) {
        findings.add(format!("{path}.name"), format!("{} {why}", quoted(&record.name)));
    } else if name != zone && !names::covers(&format!("*.{zone}"), &name) {
        let says = format!("{} is not in the zone; write a name that ends in .{zone}", quoted(&record.name));
        findings.add_because(format!("{path}.name"), &["dns.zone"], says);
    }
    if !RECORD_TYPES.contains(&record.kind.as_str()) {
        let says = format!("{} is no type that can be declared; write one of {}", quoted(&record.kind), RECORD_TYPES.join(", "));
        findings.add(format!("{path}.type"), says);
        return;
    }
    if record.kind == "CNAME" && name == zone {
        findings.add(format!("{path}.type"), "the zone itself cannot be another name; declare A and AAAA, or a site with the zone as host");
    }
    let at = format!("{path}.values");
    if record.values.is_empty() {
        findings.add(&at, "the list is empty; write at least one value");
    }
    let most = if record.kind == "CNAME" { 1 } else { RECORD_VALUES_MAX };
    many(record.values.len(), most, &at, findings);
    for (index, value) in record.values.iter().enumerate().take(most) {
        if let Err(why) = record.data(value) {
            findings.add(format!("{at}[{index}]"), format!("{} {why}", quoted(value)));
        }
    }
    if record.ttl.0.as_secs() == 0 || record.ttl.0 > DNS_TTL_MAX || record.ttl.0.subsec_nanos() != 0 {
        let says = format!("\"{}\" is no lifetime for DNS; write whole seconds from \"1s\" to \"{}\"", record.ttl, Period(DNS_TTL_MAX));
        findings.add(format!("{path}.ttl"), says);
    }
}
