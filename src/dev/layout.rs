//! What the CDN of `skerry dev` looks like: its nodes, their addresses and their settings files.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;
use skerry_config::process::{
    Alarm, Capacity, Certificate, Certificates, Control, ControlApi, ControlLink, ControlListen, Coverage, Disk, Dns, DnsGeo, DnsLimits,
    Edge, EdgeListen, Geo, Limits, Measuring, Memory, Nameserver, Origins, Process, Purges, Rollout, Shield, ShieldListen, Tls, Webhooks,
};
use skerry_config::units::{Period, Size};

use super::ca;
use super::data::Data;
use super::ports::{HOST, Ports, edge_address};

/// The zone that the DNS of `skerry dev` answers for; `.test` is reserved (RFC 6761 section 6.2).
pub(crate) const ZONE: &str = "cdn.test";
/// The file in a node's data directory that is there once it has joined.
const JOINED: &str = "node.crt";

/// The whole CDN.
#[derive(Debug)]
pub(crate) struct Cdn {
    /// `http://` and the address of the control API.
    pub(crate) api: String,
    /// The admin token.
    pub(crate) token: String,
    /// The certificate authority of the edges' certificates.
    pub(crate) ca: PathBuf,
    /// The settings file of the control plane.
    pub(crate) control_config: PathBuf,
    /// Where DNS answers.
    pub(crate) dns: SocketAddr,
    /// The URL of the origin of site `default`.
    pub(crate) origin: String,
    /// Whether that is the sample origin.
    pub(crate) sample: bool,
    /// The shields.
    pub(crate) shields: Vec<Node>,
    /// The edges.
    pub(crate) edges: Vec<Node>,
    /// The ports, kept so that no other run is given one that a process of this CDN is started again with.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) ports: Ports,
}

/// A shield or an edge.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// Its settings file.
    pub(crate) config: PathBuf,
    /// Where its admin listener answers.
    pub(crate) admin: SocketAddr,
    /// Where it answers: HTTP of an edge, the tier listener of a shield.
    pub(crate) address: SocketAddr,
    /// HTTPS of an edge.
    pub(crate) https: Option<SocketAddr>,
    /// HTTP/3 of an edge, over UDP at the port of HTTPS, where nobody else has that.
    pub(crate) h3: Option<SocketAddr>,
}

/// Room enough that the sample origin's 100 MB file is stored and served from memory.
fn memory() -> Memory {
    Memory { memory: Size::from_mib(192), object_max: Size::from_mib(128), filling_max: Size::from_mib(192) }
}

/// All clients of this machine have one address: it may have as many connections as all have elsewhere.
fn limits() -> Limits {
    let limits = Limits::default();
    let connections = limits.connections;
    Limits { connections_per_address: connections, new_connections_per_second: connections, ..limits }
}

/// A disk tier for what a given data directory keeps between runs.
fn disk(data: &Data, node: &Node) -> Option<Disk> {
    let at = data.file(&node.name).join("cache");
    data.is_kept().then(|| Disk {
        path: at,
        size: Size::from_mib(512),
        slice: Size::from_mib(1),
        second_hit_below: Size::default(),
        second_hit_above: None,
    })
}

/// The region of edge or shield `number`, from 1.
fn region(number: usize) -> String {
    format!("region-{number}")
}

/// The shields at their ports, spread over the regions of the edges.
pub(crate) fn shields(data: &Data, ports: &Ports) -> Vec<Node> {
    let node = |(index, (tier, admin)): (usize, &(u16, u16))| {
        let name = format!("shield-{}", index + 1);
        Node {
            region: region(index % ports.edge_admins.len() + 1),
            config: data.file(&format!("{name}.toml")),
            admin: SocketAddr::new(HOST, *admin),
            address: SocketAddr::new(HOST, *tier),
            https: None,
            h3: None,
            name,
        }
    };
    ports.shields.iter().enumerate().map(node).collect()
}

/// The edges at their ports: edge i on 127.0.0.i, in region i.
pub(crate) fn edges(data: &Data, ports: &Ports) -> Vec<Node> {
    let node = |(number, admin): (u8, &u16)| {
        let name = format!("edge-{number}");
        let https = SocketAddr::new(edge_address(number), ports.https);
        Node {
            region: region(usize::from(number)),
            config: data.file(&format!("{name}.toml")),
            admin: SocketAddr::new(HOST, *admin),
            address: SocketAddr::new(edge_address(number), ports.http),
            https: Some(https),
            h3: UdpSocket::bind(https).is_ok().then_some(https),
            name,
        }
    };
    (1..).zip(&ports.edge_admins).map(node).collect()
}

/// The settings of the control plane. Clients of 10.i.0.0/16 are served by region i.
pub(crate) fn control_settings(data: &Data, ports: &Ports) -> Process {
    let regions = 1..=ports.edge_admins.len();
    let prefix = |number| format!("10.{number}.0.0/16").parse();
    let coverage = regions
        .clone()
        .filter_map(|number| Some(Coverage { region: region(number), node: String::new(), prefixes: vec![prefix(number).ok()?] }))
        .collect();
    Process::Control(Control {
        data: data.file("control"),
        listen: ControlListen {
            api: SocketAddr::new(HOST, ports.api),
            nodes: SocketAddr::new(HOST, ports.nodes),
            dns: SocketAddr::new(HOST, ports.dns),
            route: None,
        },
        names: Vec::new(),
        dns: Dns {
            zone: ZONE.to_owned(),
            nameservers: vec![Nameserver { name: format!("ns1.{ZONE}"), addresses: vec![HOST] }],
            ttl: Period::from_secs(1),
            // The edges' ports are not 443, which HTTPS records are about.
            h3: false,
            region_order: regions.map(region).collect(),
            coverage,
            records: Vec::new(),
            limits: DnsLimits::default(),
            geo: DnsGeo::default(),
            explore_percent: 2,
        },
        api: ControlApi::default(),
        webhooks: Webhooks { allow: loopback() },
        certificates: Certificates::default(),
        alarm: Alarm::default(),
        // Who tries something out wants to see it at once.
        rollout: Rollout { hold: Period::default(), ..Rollout::default() },
        purges: Purges::default(),
    })
}

/// Whether the node has joined in an earlier run and needs no token.
pub(crate) fn has_joined(data: &Data, node: &Node) -> bool {
    data.file(&node.name).join(JOINED).exists()
}

fn link(ports: &Ports, join_token: Option<String>) -> ControlLink {
    ControlLink { address: SocketAddr::new(HOST, ports.nodes).to_string(), join_token }
}

/// This machine.
fn loopback() -> Vec<IpNet> {
    vec![Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(), Ipv6Net::from(Ipv6Addr::LOCALHOST).into()]
}

/// Origins on this machine, the sample among them, and where else they are allowed to be.
fn origins(allow: &[IpNet]) -> Origins {
    Origins { allow: loopback().into_iter().chain(allow.iter().copied()).collect(), resolvers: Vec::new() }
}

/// The settings of a shield.
pub(crate) fn shield_settings(data: &Data, ports: &Ports, node: &Node, join_token: Option<String>, allow: &[IpNet]) -> Process {
    Process::Shield(Shield {
        name: node.name.clone(),
        data: data.file(&node.name),
        control: link(ports, join_token),
        listen: ShieldListen { tier: node.address, admin: node.admin },
        advertise: None,
        cache: memory(),
        disk: disk(data, node),
        memory_limit: None,
        origins: origins(allow),
    })
}

/// The settings of an edge.
pub(crate) fn edge_settings(data: &Data, ports: &Ports, node: &Node, join_token: Option<String>, allow: &[IpNet]) -> Process {
    Process::Edge(Edge {
        name: node.name.clone(),
        data: data.file(&node.name),
        control: link(ports, join_token),
        listen: EdgeListen {
            http: vec![node.address],
            https: node.https.into_iter().collect(),
            h3: node.h3.into_iter().collect(),
            proxied: Vec::new(),
            admin: node.admin,
        },
        public_addresses: vec![node.address.ip()],
        location: None,
        cache: memory(),
        disk: disk(data, node),
        memory_limit: None,
        geo: Geo::default(),
        limits: limits(),
        origins: origins(allow),
        measuring: Measuring::default(),
        capacity: Capacity::default(),
        tls: Tls { certificates: Vec::new(), issuer: Some(Certificate { cert: data.file(ca::CERTIFICATE), key: data.file(ca::KEY) }) },
    })
}

/// Writes a settings file; it may hold a join token, so only its owner may read it.
pub(crate) fn write(path: &std::path::Path, settings: &impl Serialize) -> Result<(), String> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let text = toml::to_string(settings).map_err(|error| format!("{} cannot be written as TOML: {error}", path.display()))?;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_as_they_were_meant() {
        let place = tempfile::tempdir().unwrap();
        let data = Data::open(Some(place.path())).unwrap();
        let ports = Ports::fixed(8000, 2, 1);
        let (shield, edge) = (&shields(&data, &ports)[0], &edges(&data, &ports)[1]);
        assert_eq!(edge.address.to_string(), "127.0.0.2:8080");
        let all = [
            control_settings(&data, &ports),
            shield_settings(&data, &ports, shield, Some("skj1.x".to_owned()), &[]),
            edge_settings(&data, &ports, edge, None, &["10.0.0.0/8".parse().unwrap()]),
        ];
        for settings in all {
            let path = data.file("a.toml");
            write(&path, &settings).unwrap();
            assert_eq!(skerry_config::check::process_file(&path).unwrap(), settings);
        }
    }

    #[test]
    fn the_one_address_of_all_clients_may_have_every_connection() {
        let data = Data::open(None).unwrap();
        let ports = Ports::fixed(8000, 1, 1);
        let Process::Edge(edge) = edge_settings(&data, &ports, &edges(&data, &ports)[0], None, &[]) else { panic!("settings of an edge") };
        let Limits { connections, connections_per_address, new_connections_per_second, .. } = edge.limits;
        assert_eq!((connections_per_address, new_connections_per_second), (connections, connections));
    }
}
