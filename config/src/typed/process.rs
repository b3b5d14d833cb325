//! How the tables of process settings are read.

use std::path::PathBuf;

use super::read::{FromText, Reader, Typed, closest, record};
use super::tree::{Kind, Node};
use crate::check::fault::quoted;
use crate::process::{
    Alarm, ApiTls, Capacity, Certificate, Certificates, Control, ControlApi, ControlLink, ControlListen, Coverage, Disk, Dns, DnsGeo,
    DnsLimits, DnsNode, DnsNodeListen, DnsRecord, Edge, EdgeListen, Geo, Limits, Location, Measuring, Memory, Nameserver, Origins, Process,
    Proxied, Purges, Rollout, Shield, ShieldListen, Tls, Webhooks, dns_explore_percent, dns_ttl, record_ttl, slice,
};
use crate::units::Size;

/// The roles a process may have.
const ROLES: &[&str] = &["control", "shield", "edge", "dns"];

/// Reads process settings. `None` when no role says which fields belong there; the fault is then the only one told.
pub(crate) fn read(node: &Node, reader: &mut Reader) -> Option<Process> {
    let Kind::Table(_) = &node.kind else {
        reader.fault("", node.at, format!("{}, not a table; write process settings", node.spoken()));
        return None;
    };
    let write = "\"control\", \"shield\", \"edge\" or \"dns\"";
    let Some(role) = node.get("role") else {
        reader.fault("role", node.at, format!("missing; write {write}"));
        return None;
    };
    let beside = &["role"];
    match &role.value.kind {
        Kind::Text(text) if text == "control" => Some(Process::Control(Control::read_beside(node, "", beside, reader))),
        Kind::Text(text) if text == "shield" => Some(Process::Shield(Shield::read_beside(node, "", beside, reader))),
        Kind::Text(text) if text == "edge" => Some(Process::Edge(Edge::read_beside(node, "", beside, reader))),
        Kind::Text(text) if text == "dns" => Some(Process::Dns(DnsNode::read_beside(node, "", beside, reader))),
        Kind::Text(text) => {
            let says = match closest(text, ROLES) {
                Some(meant) => format!("{} is not a role; did you mean {meant:?}?", quoted(text)),
                None => format!("{} is not a role; write {write}", quoted(text)),
            };
            reader.fault("role", role.value.at, says);
            None
        }
        _ => {
            reader.fault("role", role.value.at, format!("{}, not a role; write {write}", role.value.spoken()));
            None
        }
    }
}

const NODE_NAME: &str = "a name that no other node has, such as \"north-1\"";
const DATA: &str = "a directory, such as \"/var/lib/skerry\"";
const DNS: &str = "an address for DNS, such as \"0.0.0.0:53\"";
const ADMIN: &str = "an address for metrics and health, such as \"127.0.0.1:9100\"";

record!(Control {
    data = "data": required(DATA),
    listen = "listen": required("the table of listeners: api, nodes, dns"),
    names = "names": or(Vec::new()),
    dns = "dns": required("the table of the zone, with zone and nameservers"),
    api = "api": or(ControlApi::default()),
    webhooks = "webhooks": or(Webhooks::default()),
    certificates = "certificates": or(Certificates::default()),
    alarm = "alarm": or(Alarm::default()),
    rollout = "rollout": or(Rollout::default()),
    purges = "purges": or(Purges::default()),
} else Self {
    data: PathBuf::new(),
    listen: ControlListen::stand_in(),
    names: Vec::new(),
    dns: Dns::stand_in(),
    certificates: Certificates::default(),
    alarm: Alarm::default(),
    rollout: Rollout::default(),
    purges: Purges::default(),
    api: ControlApi::default(),
    webhooks: Webhooks::default(),
});

record!(Certificates {
    life = "life": or(Certificates::default().life),
} else Self::default());

record!(Alarm {
    behind = "behind": or(Alarm::default().behind),
} else Self::default());

record!(Rollout {
    hold = "hold": or(Self::default().hold),
    requests_min = "requests_min": or(Self::default().requests_min),
    errors_percent = "errors_percent": or(Self::default().errors_percent),
    hits_percent = "hits_percent": or(Self::default().hits_percent),
    slower_percent = "slower_percent": or(Self::default().slower_percent),
} else Self::default());

record!(Purges {
    rate = "rate": or(Self::default().rate),
    burst = "burst": or(Self::default().burst),
    keep = "keep": or(Self::default().keep),
} else Self::default());

record!(ControlApi {
    tls = "tls": optional,
} else Self::default());

record!(Webhooks {
    allow = "allow": or(Vec::new()),
} else Self::default());

record!(ApiTls {
    cert = "cert": optional,
    key = "key": optional,
} else Self::default());

record!(ControlListen {
    api = "api": required("an address for the REST API, such as \"127.0.0.1:8400\""),
    nodes = "nodes": required("an address for the nodes, such as \"0.0.0.0:8401\""),
    dns = "dns": required(DNS),
    route = "route": optional,
} else Self { api: FromText::stand_in(), nodes: FromText::stand_in(), dns: FromText::stand_in(), route: None });

record!(Dns {
    zone = "zone": required("the zone, such as \"cdn.example.net\""),
    nameservers = "nameservers": required("the name servers of the zone, such as [{ name = \"ns1.cdn.example.net\", addresses = [\"192.0.2.53\"] }]"),
    ttl = "ttl": or(dns_ttl()),
    h3 = "h3": or(false),
    region_order = "region_order": or(Vec::new()),
    coverage = "coverage": or(Vec::new()),
    records = "records": or(Vec::new()),
    limits = "limits": or(DnsLimits::default()),
    geo = "geo": or(DnsGeo::default()),
    explore_percent = "explore_percent": or(dns_explore_percent()),
} else Self {
    zone: String::new(),
    nameservers: Vec::new(),
    ttl: dns_ttl(),
    h3: false,
    region_order: Vec::new(),
    coverage: Vec::new(),
    records: Vec::new(),
    limits: DnsLimits::default(),
    geo: DnsGeo::default(),
    explore_percent: dns_explore_percent(),
});

record!(DnsRecord {
    name = "name": required("its whole name, such as \"_acme-challenge.cdn.example.net\""),
    kind = "type": required("its type, such as \"TXT\""),
    values = "values": required("what its records say, such as [\"a text\"]"),
    ttl = "ttl": or(record_ttl()),
} else Self { name: String::new(), kind: String::new(), values: Vec::new(), ttl: record_ttl() });

record!(DnsLimits {
    same_per_second = "same_per_second": or(DnsLimits::default().same_per_second),
    errors_per_second = "errors_per_second": or(DnsLimits::default().errors_per_second),
    all_per_second = "all_per_second": or(DnsLimits::default().all_per_second),
    slip = "slip": or(DnsLimits::default().slip),
    exempt = "exempt": or(Vec::new()),
    connections = "connections": or(DnsLimits::default().connections),
    connections_per_address = "connections_per_address": or(DnsLimits::default().connections_per_address),
} else Self::default());

record!(DnsGeo {
    city = "city": optional,
    asn = "asn": optional,
} else Self::default());

record!(Nameserver {
    name = "name": required("its full name, such as \"ns1.cdn.example.net\""),
    addresses = "addresses": or(Vec::new()),
} else Self { name: String::new(), addresses: Vec::new() });

record!(Coverage {
    region = "region": or(String::new()),
    node = "node": or(String::new()),
    prefixes = "prefixes": required("client prefixes, such as [\"192.0.2.0/24\"]"),
} else Self { region: String::new(), node: String::new(), prefixes: Vec::new() });

record!(Edge {
    name = "name": required(NODE_NAME),
    data = "data": required(DATA),
    control = "control": required("the table of the control plane, with its address"),
    listen = "listen": required("the table of listeners: http, https, admin"),
    public_addresses = "public_addresses": required("the addresses DNS answers with, such as [\"192.0.2.1\"]"),
    location = "location": optional,
    cache = "cache": or(Memory::default()),
    disk = "disk": optional,
    memory_limit = "memory_limit": optional,
    tls = "tls": or(Tls::default()),
    geo = "geo": or(Geo::default()),
    limits = "limits": or(Limits::default()),
    origins = "origins": or(Origins::default()),
    measuring = "measuring": or(Measuring::default()),
    capacity = "capacity": or(Capacity::default()),
} else Self {
    name: String::new(),
    data: PathBuf::new(),
    control: ControlLink::stand_in(),
    listen: EdgeListen::stand_in(),
    public_addresses: Vec::new(),
    location: None,
    cache: Memory::default(),
    disk: None,
    memory_limit: None,
    tls: Tls::default(),
    geo: Geo::default(),
    limits: Limits::default(),
    origins: Origins::default(),
    measuring: Measuring::default(),
    capacity: Capacity::default(),
});

record!(Measuring {
    keep = "keep": or(Self::default().keep),
    beacon = "beacon": or(false),
} else Self::default());

record!(Capacity {
    bandwidth = "bandwidth": optional,
} else Self::default());

impl Typed for Location {
    fn read(node: &Node, path: &str, reader: &mut Reader) -> Self {
        let degrees = |node: &Node| match &node.kind {
            Kind::Number(text) => text.parse::<f64>().ok(),
            _ => None,
        };
        let read = match &node.kind {
            Kind::List(items) => match &items[..] {
                [latitude, longitude] => degrees(latitude).zip(degrees(longitude)),
                _ => None,
            },
            _ => None,
        };
        let Some((latitude, longitude)) = read else {
            reader.fault(
                path,
                node.at,
                format!("{}, not a place; write [latitude, longitude] in degrees, such as [52.52, 13.41]", node.spoken()),
            );
            return Self::stand_in();
        };
        Self { latitude, longitude }
    }

    fn stand_in() -> Self {
        Self { latitude: 0.0, longitude: 0.0 }
    }
}

record!(EdgeListen {
    http = "http": or(Vec::new()),
    https = "https": or(Vec::new()),
    h3 = "h3": or(Vec::new()),
    proxied = "proxied": or(Vec::new()),
    admin = "admin": required(ADMIN),
} else Self { http: Vec::new(), https: Vec::new(), h3: Vec::new(), proxied: Vec::new(), admin: FromText::stand_in() });

record!(Proxied {
    address = "address": required("an address to listen on, such as \"0.0.0.0:8080\""),
    tls = "tls": or(false),
    from = "from": required("the load balancers' addresses, such as [\"10.0.0.0/24\"]"),
} else Self { address: FromText::stand_in(), tls: false, from: Vec::new() });

record!(Limits {
    head = "head": or(Self::default().head),
    fields = "fields": or(Self::default().fields),
    target = "target": or(Self::default().target),
    body = "body": or(Self::default().body),
    requests_per_connection = "requests_per_connection": or(Self::default().requests_per_connection),
    streams = "streams": or(Self::default().streams),
    handshake_time = "handshake_time": or(Self::default().handshake_time),
    head_time = "head_time": or(Self::default().head_time),
    idle_time = "idle_time": or(Self::default().idle_time),
    rate_min = "rate_min": or(Self::default().rate_min),
    connections = "connections": or(Self::default().connections),
    connections_per_address = "connections_per_address": or(Self::default().connections_per_address),
    new_connections_per_second = "new_connections_per_second": or(Self::default().new_connections_per_second),
    requests = "requests": or(Self::default().requests),
    drain_time = "drain_time": or(Self::default().drain_time),
} else Self::default());

record!(Shield {
    name = "name": required(NODE_NAME),
    data = "data": required(DATA),
    control = "control": required("the table of the control plane, with its address"),
    listen = "listen": required("the table of listeners: tier, admin"),
    advertise = "advertise": optional,
    cache = "cache": or(Memory::default()),
    disk = "disk": optional,
    memory_limit = "memory_limit": optional,
    origins = "origins": or(Origins::default()),
} else Self {
    name: String::new(),
    data: PathBuf::new(),
    control: ControlLink::stand_in(),
    listen: ShieldListen::stand_in(),
    advertise: None,
    cache: Memory::default(),
    disk: None,
    memory_limit: None,
    origins: Origins::default(),
});

record!(Origins {
    allow = "allow": or(Vec::new()),
    resolvers = "resolvers": or(Vec::new()),
} else Self::default());

record!(ShieldListen {
    tier = "tier": required("an address for edges, such as \"0.0.0.0:8402\""),
    admin = "admin": required(ADMIN),
} else Self { tier: FromText::stand_in(), admin: FromText::stand_in() });

record!(DnsNode {
    name = "name": required(NODE_NAME),
    data = "data": required(DATA),
    control = "control": required("the table of the control plane, with its address"),
    listen = "listen": required("the table of listeners: dns, admin"),
    limits = "limits": or(DnsLimits::default()),
} else Self {
    name: String::new(),
    data: PathBuf::new(),
    control: ControlLink::stand_in(),
    listen: DnsNodeListen::stand_in(),
    limits: DnsLimits::default(),
});

record!(DnsNodeListen {
    dns = "dns": required(DNS),
    route = "route": optional,
    admin = "admin": required(ADMIN),
} else Self { dns: FromText::stand_in(), route: None, admin: FromText::stand_in() });

record!(ControlLink {
    address = "address": required("the control plane's node listener, such as \"control.example.net:8401\""),
    join_token = "join_token": optional,
} else Self { address: String::new(), join_token: None });

record!(Memory {
    memory = "memory": or(Self::default().memory),
    object_max = "object_max": or(Self::default().object_max),
    filling_max = "filling_max": or(Self::default().filling_max),
} else Self::default());

record!(Disk {
    path = "path": required("a directory of its own, such as \"/var/cache/skerry\""),
    size = "size": required("the bytes it takes there, such as \"100GiB\""),
    slice = "slice": or(slice()),
    second_hit_below = "second_hit_below": or(Size::default()),
    second_hit_above = "second_hit_above": optional,
} else Self { path: PathBuf::new(), size: Size::default(), slice: slice(), second_hit_below: Size::default(), second_hit_above: None });

record!(Tls {
    certificates = "certificates": or(Vec::new()),
    issuer = "issuer": optional,
} else Self::default());

record!(Geo {
    database = "database": optional,
} else Self::default());

record!(Certificate {
    cert = "cert": required("the PEM file of the chain"),
    key = "key": required("the PEM file of the key"),
} else Self { cert: PathBuf::new(), key: PathBuf::new() });
