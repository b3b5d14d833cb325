//! What the values of process settings mean together. Judges typed values; touches neither disk nor network.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::fault::{Findings, quoted};
use super::names;
use crate::limits::{
    ADDRESSES_MAX, AT_ONCE_MAX, CERTIFICATES_MAX, CLIENT_TIME_MAX, DISK_BYTES_MIN, HEAD_BYTES_MAX, HEAD_BYTES_MIN, HEAD_FIELDS_MAX,
    MEMORY_BYTES_MIN, MEMORY_LIMIT_MIN, ORIGIN_PREFIXES_MAX, PROXIES_MAX, SLICE_BYTES_MAX, SLICE_BYTES_MIN, STREAMS_MAX, TOKEN_BYTES_MAX,
};
use crate::process::{ControlLink, Disk, Edge, Limits, Memory, Origins, Process, Proxied, Shield, Tls};
use crate::units::{Period, Size};

mod clients;
mod control;
mod dns;
mod records;

/// Everything that is wrong with process settings.
pub(crate) fn check(process: &Process, findings: &mut Findings) {
    match process {
        Process::Control(control) => control::check(control, findings),
        Process::Shield(settings) => shield(settings, findings),
        Process::Edge(settings) => edge(settings, findings),
        Process::Dns(settings) => dns::of_node(settings, findings),
    }
}

fn within(period: Period, path: &str, least: Duration, most: Duration, findings: &mut Findings) {
    if period.0 < least || period.0 > most {
        let says = format!("\"{period}\" is out of bounds; write from \"{}\" to \"{}\"", Period(least), Period(most));
        findings.add(path, says);
    }
}

fn edge(edge: &Edge, findings: &mut Findings) {
    node(&edge.name, &edge.data, &edge.control, findings);
    tiers(&edge.cache, edge.disk.as_ref(), edge.memory_limit, findings);
    distinct_from_data(&edge.data, edge.disk.as_ref(), findings);
    let listen = &edge.listen;
    if listen.http.is_empty() && listen.https.is_empty() && listen.proxied.is_empty() {
        findings.add("listen", "neither http nor https is there; write at least one address for clients, such as http = [\"0.0.0.0:80\"]");
    }
    many(listen.http.len(), ADDRESSES_MAX, "listen.http", findings);
    many(listen.https.len(), ADDRESSES_MAX, "listen.https", findings);
    many(listen.h3.len(), ADDRESSES_MAX, "listen.h3", findings);
    let udp: Vec<(String, SocketAddr)> =
        listen.h3.iter().enumerate().take(ADDRESSES_MAX).map(|(index, address)| (format!("listen.h3[{index}]"), *address)).collect();
    distinct(&udp, findings);
    proxied(&listen.proxied, findings);
    let paths: Vec<(String, SocketAddr)> = [("http", &listen.http), ("https", &listen.https)]
        .into_iter()
        .flat_map(|(kind, list)| {
            list.iter().enumerate().take(ADDRESSES_MAX).map(move |(index, address)| (format!("listen.{kind}[{index}]"), *address))
        })
        .chain(
            listen.proxied.iter().enumerate().take(ADDRESSES_MAX).map(|(index, each)| (format!("listen.proxied[{index}]"), each.address)),
        )
        .chain([("listen.admin".to_owned(), listen.admin)])
        .collect();
    distinct(&paths, findings);
    if edge.public_addresses.is_empty() {
        findings.add("public_addresses", "the list is empty; write at least one address for DNS to answer with");
    }
    addresses(&edge.public_addresses, "public_addresses", findings);
    let secured = [("listen.https", !listen.https.is_empty()), ("listen.h3", !listen.h3.is_empty())];
    let secured = secured.into_iter().chain([("listen.proxied", listen.proxied.iter().any(|each| each.tls))]);
    tls(&edge.tls, secured.filter(|(_, used)| *used).map(|(path, _)| path).next(), findings);
    limits(&edge.limits, findings);
    origins(&edge.origins, findings);
    clients::check(edge, findings);
    if edge.geo.database.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        findings.add(
            "geo.database",
            "the path is empty; write the path of a country database in the MaxMind DB format, or leave the field out",
        );
    }
}

fn proxied(listeners: &[Proxied], findings: &mut Findings) {
    many(listeners.len(), ADDRESSES_MAX, "listen.proxied", findings);
    for (index, listener) in listeners.iter().enumerate().take(ADDRESSES_MAX) {
        let path = format!("listen.proxied[{index}].from");
        if listener.from.is_empty() {
            findings.add(&path, "the list is empty; write the addresses of the load balancers, such as [\"10.0.0.0/24\"]");
        }
        many(listener.from.len(), PROXIES_MAX, &path, findings);
    }
}

fn limits(limits: &Limits, findings: &mut Findings) {
    let head = Size(HEAD_BYTES_MIN)..=Size(HEAD_BYTES_MAX);
    if !head.contains(&limits.head) {
        let (least, most) = (head.start(), head.end());
        findings.add("limits.head", format!("\"{}\" is out of bounds; write \"{least}\" to \"{most}\"", limits.head));
    }
    if limits.target.0 == 0 || limits.target > limits.head {
        let says = format!("\"{}\" is out of bounds; write at least \"1B\" and at most limits.head, \"{}\"", limits.target, limits.head);
        findings.add_because("limits.target", &["limits.head"], says);
    }
    for (name, value, most) in [
        ("fields", limits.fields, HEAD_FIELDS_MAX),
        ("streams", limits.streams, STREAMS_MAX),
        ("requests_per_connection", limits.requests_per_connection, u32::MAX),
        ("connections", limits.connections, AT_ONCE_MAX),
        ("connections_per_address", limits.connections_per_address, AT_ONCE_MAX),
        ("new_connections_per_second", limits.new_connections_per_second, AT_ONCE_MAX),
        ("requests", limits.requests, AT_ONCE_MAX),
    ] {
        if value == 0 || value > most {
            findings.add(format!("limits.{name}"), format!("{value} is out of bounds; write 1 to {most}"));
        }
    }
    let times = [("handshake_time", limits.handshake_time), ("head_time", limits.head_time), ("idle_time", limits.idle_time)];
    for (name, period) in times.into_iter().chain([("drain_time", limits.drain_time)]) {
        if period.0.is_zero() || period.0 > CLIENT_TIME_MAX {
            let says = format!("\"{period}\" is out of bounds; write more than \"0s\" and at most \"{}\"", Period(CLIENT_TIME_MAX));
            findings.add(format!("limits.{name}"), says);
        }
    }
}

/// `used` is the listener that needs a certificate, if one does.
fn tls(tls: &Tls, used: Option<&str>, findings: &mut Findings) {
    if let Some(used) = used
        && tls.certificates.is_empty()
        && tls.issuer.is_none()
    {
        let says = format!("missing; {used} needs certificates, or an issuer on a private network");
        findings.add_because("tls", &[used], says);
    }
    many(tls.certificates.len(), CERTIFICATES_MAX, "tls.certificates", findings);
    let listed = tls.certificates.iter().enumerate().map(|(index, each)| (format!("tls.certificates[{index}]"), each));
    for (path, certificate) in listed.chain(tls.issuer.iter().map(|each| ("tls.issuer".to_owned(), each))) {
        for (field, file) in [("cert", &certificate.cert), ("key", &certificate.key)] {
            if file.as_os_str().is_empty() {
                findings.add(format!("{path}.{field}"), "the path is empty; write the path of a PEM file");
            }
        }
    }
}

fn shield(shield: &Shield, findings: &mut Findings) {
    node(&shield.name, &shield.data, &shield.control, findings);
    tiers(&shield.cache, shield.disk.as_ref(), shield.memory_limit, findings);
    distinct_from_data(&shield.data, shield.disk.as_ref(), findings);
    origins(&shield.origins, findings);
    distinct(&[("listen.tier", shield.listen.tier), ("listen.admin", shield.listen.admin)], findings);
    match shield.advertise {
        None if shield.listen.tier.ip().is_unspecified() => {
            let says = "missing; listen.tier is a wildcard address, so write the address by which edges reach it";
            findings.add_because("advertise", &["listen.tier"], says);
        }
        Some(address) if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 => {
            findings.add(
                "advertise",
                format!("\"{address}\" cannot be connected to; write the address and port by which edges reach listen.tier"),
            );
        }
        _ => {}
    }
}

fn origins(origins: &Origins, findings: &mut Findings) {
    resolvers(&origins.resolvers, findings);
    allowed(&origins.allow, "origins.allow", findings);
}

fn allowed(prefixes: &[IpNet], path: &str, findings: &mut Findings) {
    many(prefixes.len(), ORIGIN_PREFIXES_MAX, path, findings);
    for (index, prefix) in prefixes.iter().enumerate().take(ORIGIN_PREFIXES_MAX) {
        let at = format!("{path}[{index}]");
        let mapped = match prefix {
            IpNet::V6(prefix) if prefix.prefix_len() >= 96 => prefix.addr().to_ipv4_mapped().map(|ip| (ip, prefix.prefix_len() - 96)),
            _ => None,
        };
        if let Some((ip, length)) = mapped {
            findings.add(at, format!("\"{prefix}\" is IPv4 in the form of IPv6; write \"{ip}/{length}\", which counts for both"));
        } else if prefix.trunc() != *prefix {
            findings.add(at, format!("\"{prefix}\" has bits after its length; write \"{}\"", prefix.trunc()));
        }
    }
}

fn resolvers(resolvers: &[SocketAddr], findings: &mut Findings) {
    many(resolvers.len(), ADDRESSES_MAX, "origins.resolvers", findings);
    for (index, address) in resolvers.iter().enumerate().take(ADDRESSES_MAX) {
        if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
            let says = format!("\"{address}\" cannot be asked; write the address and port of a DNS server, such as \"10.0.0.53:53\"");
            findings.add(format!("origins.resolvers[{index}]"), says);
        }
    }
}

fn node(name: &str, directory: &Path, link: &ControlLink, findings: &mut Findings) {
    if let Err(why) = names::label(name) {
        findings.add("name", format!("{} is not the name of a node; {why}", quoted(name)));
    }
    data(directory, findings);
    match names::host_and_port(&link.address) {
        Err(why) => findings.add("control.address", format!("{} {why}", quoted(&link.address))),
        Ok((_, None)) => findings.add("control.address", format!("{} has no port; write host:port", quoted(&link.address))),
        Ok(_) => {}
    }
    // The token is a secret: a fault does not repeat it.
    if let Some(token) = &link.join_token
        && (token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        findings.add("control.join_token", "this is not a token; write what `skerry node token create` printed, or leave the field out");
    }
}

fn tiers(cache: &Memory, tier: Option<&Disk>, limit: Option<Size>, findings: &mut Findings) {
    let Memory { memory, object_max, filling_max } = *cache;
    if let Some(limit) = limit.filter(|limit| limit.0 < MEMORY_LIMIT_MIN) {
        findings.add("memory_limit", format!("\"{limit}\" is too little for a node; write at least \"{}\"", Size(MEMORY_LIMIT_MIN)));
    }
    if memory.0 < MEMORY_BYTES_MIN {
        findings.add("cache.memory", format!("\"{memory}\" is too little; write at least \"{}\"", Size(MEMORY_BYTES_MIN)));
    }
    if object_max.0 == 0 {
        findings.add("cache.object_max", "\"0B\" would store nothing; write the size of the largest answer to store");
    }
    if let Some(tier) = tier {
        return disk(tier, object_max, findings);
    }
    if object_max > memory {
        let says = format!("\"{object_max}\" is more than cache.memory, \"{memory}\"; write at most that");
        findings.add_because("cache.object_max", &["cache.memory"], says);
    }
    if filling_max < object_max {
        let says = format!("\"{filling_max}\" is less than cache.object_max, \"{object_max}\"; write at least that");
        findings.add_because("cache.filling_max", &["cache.object_max"], says);
    }
}

fn disk(disk: &Disk, object_max: Size, findings: &mut Findings) {
    if disk.path.as_os_str().is_empty() {
        findings.add("disk.path", "the path is empty; write a directory of its own, such as \"/var/cache/skerry\"");
    }
    if disk.size.0 < DISK_BYTES_MIN {
        findings.add("disk.size", format!("\"{}\" is too little; write at least \"{}\"", disk.size, Size(DISK_BYTES_MIN)));
    } else if object_max.0 > disk.size.0 / 4 {
        let most = Size(disk.size.0 / 4);
        let says = format!("\"{object_max}\" is more than a quarter of disk.size, \"{most}\"; write at most that");
        findings.add_because("cache.object_max", &["disk.size"], says);
    }
    if !(SLICE_BYTES_MIN..=SLICE_BYTES_MAX).contains(&disk.slice.0) || !disk.slice.0.is_multiple_of(4 << 10) {
        let (least, most) = (Size(SLICE_BYTES_MIN), Size(SLICE_BYTES_MAX));
        findings.add("disk.slice", format!("\"{}\" is out of bounds; write whole pages of 4KiB, \"{least}\" to \"{most}\"", disk.slice));
    }
}

/// Each of the two locks its directory and removes what it knows to be its own.
fn distinct_from_data(data: &Path, disk: Option<&Disk>, findings: &mut Findings) {
    if let Some(disk) = disk
        && !data.as_os_str().is_empty()
        && disk.path == data
    {
        let says = format!("\"{}\" is data already; write a directory of its own, such as \"{}/cache\"", data.display(), data.display());
        findings.add_because("disk.path", &["data"], says);
    }
}

fn data(directory: &Path, findings: &mut Findings) {
    if directory.as_os_str().is_empty() {
        findings.add("data", "the path is empty; write a directory, such as \"/var/lib/skerry\"");
    }
}

/// Listeners on one address: the second could not be bound. Port 0 is another one each time.
fn distinct<P: AsRef<str>>(listeners: &[(P, SocketAddr)], findings: &mut Findings) {
    let mut seen: HashMap<SocketAddr, &str> = HashMap::new();
    for (path, address) in listeners.iter().filter(|(_, address)| address.port() != 0) {
        match seen.get(address) {
            Some(first) => findings.add_because(path.as_ref(), &[first], format!("\"{address}\" is {first} already; write another port")),
            None => {
                seen.insert(*address, path.as_ref());
            }
        }
    }
}

fn many(count: usize, max: usize, path: &str, findings: &mut Findings) {
    if count > max {
        findings.add(path, format!("{count} entries; write at most {max}"));
    }
}

fn addresses(addresses: &[IpAddr], path: &str, findings: &mut Findings) {
    many(addresses.len(), ADDRESSES_MAX, path, findings);
    let mut seen = HashMap::new();
    for (index, address) in addresses.iter().enumerate().take(ADDRESSES_MAX) {
        let at = format!("{path}[{index}]");
        if address.is_unspecified() || address.is_multicast() {
            findings.add(at, format!("\"{address}\" cannot be connected to; write an address of this machine that clients reach"));
        } else if let Some(first) = seen.insert(address, index) {
            findings.add(at, format!("\"{address}\" is {path}[{first}] already; keep one of them"));
        }
    }
}
