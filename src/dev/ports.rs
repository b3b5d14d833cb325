//! Ports for a CDN on loopback: free ones, found by binding them, or a fixed layout.
//!
//! Free ports lie under the kernel's ephemeral ones, so that no outgoing connection takes one between our look and the child's bind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use ring::rand::{SecureRandom as _, SystemRandom};

/// Where free ports are looked for.
const FREE: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried before giving up.
const TRIES_MAX: usize = 1_000;

/// The loopback address of edge `number`, from 1.
pub(crate) fn edge_address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, number))
}

/// The loopback address of everything that is no edge.
pub(crate) const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Every port of the CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The control API.
    pub(crate) api: u16,
    /// The stream of the nodes.
    pub(crate) nodes: u16,
    /// DNS, UDP and TCP.
    pub(crate) dns: u16,
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
}

impl Ports {
    /// The layout above `base`, as `--port-base` documents it.
    pub(crate) fn fixed(base: u16, edges: u8, shields: u8) -> Self {
        Self {
            api: base,
            nodes: base + 1,
            dns: base + 2,
            origin: base + 3,
            http: base + 80,
            https: base + 43,
            edge_admins: (1..=u16::from(edges)).map(|number| base + 100 + number).collect(),
            shields: (1..=u16::from(shields)).map(|number| (base + 10 + number, base + 20 + number)).collect(),
        }
    }

    /// Free ports. All edges have the same two, so that a client that DNS sends elsewhere needs no other port.
    pub(crate) fn free(edges: u8, shields: u8) -> Result<Self, String> {
        let mut taken = Vec::new();
        let mut one = |addresses: &[IpAddr]| free(addresses, &mut taken);
        let edge_addresses: Vec<IpAddr> = (1..=edges).map(edge_address).collect();
        Ok(Self {
            api: one(&[HOST])?,
            nodes: one(&[HOST])?,
            dns: one(&[HOST])?,
            origin: one(&[HOST])?,
            http: one(&edge_addresses)?,
            https: one(&edge_addresses)?,
            edge_admins: (0..edges).map(|_| one(&[HOST])).collect::<Result<_, _>>()?,
            shields: (0..shields).map(|_| Ok((one(&[HOST])?, one(&[HOST])?))).collect::<Result<_, String>>()?,
        })
    }
}

/// A port that can be bound on all `addresses`, over TCP and UDP, and is not in `taken`; it is put there.
fn free(addresses: &[IpAddr], taken: &mut Vec<u16>) -> Result<u16, String> {
    let random = SystemRandom::new();
    for _ in 0..TRIES_MAX {
        let mut bytes = [0; 2];
        random.fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
        let port = FREE.start + u16::from_le_bytes(bytes) % (FREE.end - FREE.start);
        let binds = |address: &IpAddr| {
            let socket = SocketAddr::new(*address, port);
            TcpListener::bind(socket).is_ok() && UdpSocket::bind(socket).is_ok()
        };
        if !taken.contains(&port) && addresses.iter().all(binds) {
            taken.push(port);
            return Ok(port);
        }
    }
    Err(format!("no free port was found between {} and {} in {TRIES_MAX} tries; choose with --port-base", FREE.start, FREE.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ports: &Ports) -> Vec<u16> {
        let mut all = vec![ports.api, ports.nodes, ports.dns, ports.origin, ports.http, ports.https];
        all.extend(&ports.edge_admins);
        all.extend(ports.shields.iter().flat_map(|(tier, admin)| [tier, admin]));
        all
    }

    #[test]
    fn no_two_listeners_share_a_port() {
        for ports in [Ports::fixed(8000, 32, 8), Ports::free(32, 8).unwrap()] {
            let mut sorted = all(&ports);
            assert_eq!(sorted.len(), 6 + 32 + 16);
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 6 + 32 + 16, "{ports:?}");
        }
    }

    #[test]
    fn a_bound_port_is_not_given() {
        let mut taken = Vec::new();
        for _ in 0..50 {
            let port = free(&[HOST], &mut taken).unwrap();
            assert!(TcpListener::bind((HOST, port)).is_ok());
        }
        assert_eq!(taken.len(), 50);
    }
}
