//! A state with one of everything, for the tests of this crate.

#[path = "../../../tests/house/mmdb.rs"]
pub(crate) mod mmdb;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::state::{Edge, Site, State, Target};
use crate::zone::Zone;

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

fn edge(name: &str, region: &str, texts: &[&str]) -> Edge {
    Edge { name: name.into(), region: region.into(), addresses: addresses(texts), ..Edge::default() }
}

fn site(name: &str, hosts: &[&str]) -> Site {
    Site { name: name.into(), hosts: hosts.iter().map(|&host| host.into()).collect(), ..Site::default() }
}

/// Region `north` has one edge with both families, `south` one with IPv4 only, `west` three.
pub(crate) fn state() -> State {
    let covered = |net: &str, region: &str| (net.parse().expect("a prefix"), Target::Region(region.to_owned()));
    State {
        zone: "cdn.test".into(),
        serial: 7,
        nameservers: vec![
            ("ns1.cdn.test".into(), addresses(&["192.0.2.53", "2001:db8::53"])),
            ("ns2.example.net".into(), addresses(&["198.51.100.53"])),
        ],
        ttl: Duration::from_secs(20),
        h3: false,
        region_order: vec!["south".into(), "north".into()],
        coverage: vec![
            covered("10.1.0.0/16", "north"),
            covered("10.2.0.0/16", "south"),
            covered("10.3.0.0/16", "west"),
            covered("2001:db8:1::/48", "north"),
        ],
        edges: vec![
            edge("edge-n", "north", &["192.0.2.1", "2001:db8::1"]),
            edge("edge-s", "south", &["192.0.2.2"]),
            edge("edge-w1", "west", &["192.0.2.11"]),
            edge("edge-w2", "west", &["192.0.2.12"]),
            edge("edge-w3", "west", &["192.0.2.13"]),
        ],
        sites: vec![
            site("shop", &["shop.example.com", "www.cdn.test", "*.img.cdn.test", "deep.a.img.cdn.test"]),
            site("home", &["cdn.test", "*"]),
        ],
        ..State::default()
    }
}

/// The same, compiled.
pub(crate) fn zone() -> Zone {
    Zone::build(Arc::new(state()))
}

/// A query for a name of any octets.
pub(crate) fn asked(name: &hickory_proto::rr::Name, record_type: hickory_proto::rr::RecordType) -> Vec<u8> {
    let mut message = hickory_proto::op::Message::query();
    message.add_query(hickory_proto::op::Query::query(name.clone(), record_type));
    message.to_vec().expect("a message")
}
