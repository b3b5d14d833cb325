//! Ports for a CDN on loopback: free ones, found by binding them, or a fixed layout.
//!
//! Free ports lie under the kernel's ephemeral ones, so that no outgoing connection takes one between our look and the child's bind. They
//! come in blocks, and a run owns its block as long as it lives, so that no other run takes one either.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Where free ports are looked for.
const FREE: std::ops::Range<u16> = 20_000..32_000;
/// The ports of a block: enough for the largest CDN of `skerry dev`, and some that others have.
const BLOCK_PORTS: u16 = 100;
/// Who has a block listens on its first port here, where nobody serves. The kernel ends that with the process, however it ends.
const OWNER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 255, 255, 254));

/// The loopback address of edge `number`, from 1.
pub(crate) fn edge_address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, number))
}

/// The loopback address of everything that is no edge.
pub(crate) const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Every port of the CDN.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    /// The control API.
    pub(crate) api: u16,
    /// The stream of the nodes.
    pub(crate) nodes: u16,
    /// DNS, UDP and TCP.
    pub(crate) dns: u16,
    /// The routing host.
    pub(crate) route: u16,
    /// The sample origin.
    pub(crate) origin: u16,
    /// Cleartext HTTP of every edge, on its own address.
    pub(crate) http: u16,
    /// HTTPS of every edge, on its own address.
    pub(crate) https: u16,
    /// The admin listener of each edge.
    pub(crate) edge_admins: Vec<u16>,
    /// The tier listener and the admin listener of each shield.
    pub(crate) shields: Vec<(u16, u16)>,
    /// What keeps free ports ours; they are somebody else's when it is dropped.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) block: Option<Arc<TcpListener>>,
}

impl Ports {
    /// The layout above `base`, as `--port-base` documents it.
    pub(crate) fn fixed(base: u16, edges: u8, shields: u8) -> Self {
        Self {
            api: base,
            nodes: base + 1,
            dns: base + 2,
            route: base + 4,
            origin: base + 3,
            http: base + 80,
            https: base + 43,
            edge_admins: (1..=u16::from(edges)).map(|number| base + 100 + number).collect(),
            shields: (1..=u16::from(shields)).map(|number| (base + 10 + number, base + 20 + number)).collect(),
            block: None,
        }
    }

    /// Free ports. All edges have the same two, so that a client that DNS sends elsewhere needs no other port.
    pub(crate) fn free(edges: u8, shields: u8) -> Result<Self, String> {
        let (owner, mut ports) = block()?;
        let mut one = |addresses: &[IpAddr]| free(addresses, &mut ports);
        let edge_addresses: Vec<IpAddr> = (1..=edges).map(edge_address).collect();
        Ok(Self {
            api: one(&[HOST])?,
            nodes: one(&[HOST])?,
            dns: one(&[HOST])?,
            route: one(&[HOST])?,
            origin: one(&[HOST])?,
            http: one(&edge_addresses)?,
            https: one(&edge_addresses)?,
            edge_admins: (0..edges).map(|_| one(&[HOST])).collect::<Result<_, _>>()?,
            shields: (0..shields).map(|_| Ok((one(&[HOST])?, one(&[HOST])?))).collect::<Result<_, String>>()?,
            block: Some(Arc::new(owner)),
        })
    }
}

/// A block that no other run has, and its ports. Where the search begins is random, so that runs begun at once rarely meet.
fn block() -> Result<(TcpListener, std::ops::Range<u16>), String> {
    let mut byte = [0; 1];
    SystemRandom::new().fill(&mut byte).map_err(|_| "the system gives no random numbers".to_owned())?;
    let blocks = (FREE.end - FREE.start) / BLOCK_PORTS;
    for offset in 0..blocks {
        let first = FREE.start + (u16::from(byte[0]) + offset) % blocks * BLOCK_PORTS;
        if let Ok(owner) = TcpListener::bind((OWNER, first)) {
            return Ok((owner, first..first + BLOCK_PORTS));
        }
    }
    Err(format!(
        "all {blocks} blocks of ports between {} and {} are taken by other runs; choose ports with --port-base",
        FREE.start, FREE.end
    ))
}

/// The next of `ports` that can be bound on all `addresses`, over TCP and UDP.
fn free(addresses: &[IpAddr], ports: &mut std::ops::Range<u16>) -> Result<u16, String> {
    let binds = |address: &IpAddr, port| {
        let socket = SocketAddr::new(*address, port);
        TcpListener::bind(socket).is_ok() && UdpSocket::bind(socket).is_ok()
    };
    let found = ports.by_ref().find(|port| addresses.iter().all(|address| binds(address, *port)));
    found.ok_or_else(|| format!("too many of the ports up to {} are taken by other programs; choose ports with --port-base", ports.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ports: &Ports) -> Vec<u16> {
        let mut all = vec![ports.api, ports.nodes, ports.dns, ports.route, ports.origin, ports.http, ports.https];
        all.extend(&ports.edge_admins);
        all.extend(ports.shields.iter().flat_map(|(tier, admin)| [tier, admin]));
        all
    }

    #[test]
    fn no_two_listeners_share_a_port() {
        for ports in [Ports::fixed(8000, 32, 8), Ports::free(32, 8).unwrap()] {
            let mut sorted = all(&ports);
            assert_eq!(sorted.len(), 7 + 32 + 16);
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 7 + 32 + 16, "{ports:?}");
        }
    }

    #[test]
    fn a_bound_port_is_not_given_and_no_block_twice() {
        let (owner, mut ports) = block().unwrap();
        let (other, others) = block().unwrap();
        assert_ne!(ports, others);
        let first = ports.start;
        let bound = TcpListener::bind((HOST, first)).unwrap();
        assert_eq!(free(&[HOST], &mut ports), Ok(first + 1));
        drop((owner, other, bound));
        assert!(free(&[HOST], &mut (first..first)).unwrap_err().contains("--port-base"));
    }
}
