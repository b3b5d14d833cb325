//! The case of DNS whose instructions `.ci/guards` counts: a steered answer to a resolver that tells its client's subnet, packet in, packet out.
//!
//! `CASE TIMES` goes through it so often; without these two its name is printed. Measures nothing itself.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use skerry_dns::cookie::Cookies;
use skerry_dns::kind::Rcode;
use skerry_dns::packet::{Arrival, Transport, UDP_PAYLOAD_MAX, respond};
use skerry_dns::query::Query;
use skerry_dns::state::{Edge, Site, State, Target};
use skerry_dns::zone::Zone;

const CASE: &str = "dns_answer";

/// Regions, each with a prefix of clients.
const REGIONS: u8 = 8;
/// Edges of a region.
const EDGES: u8 = 4;
/// Sites, each with one host.
const SITES: usize = 256;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else { return println!("{CASE}") };
    assert!(name == CASE, "the case is {CASE}");
    measured(times.parse().expect("a number of times"));
}

/// Every site is asked for in turn: what the tables' seeds do to one of them evens out.
///
/// What `.ci/guards` counts: all that happens in here, and nothing that a library does when the program starts.
#[inline(never)]
fn measured(times: usize) {
    let zone = Zone::build(Arc::new(state()));
    let queries: Vec<Vec<u8>> = (0..SITES).map(query).collect();
    let resolver = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));
    let cookies = Cookies::with([7; 16]);
    let mut octets = Vec::new();
    for turn in 0..times {
        let raw = black_box(&queries[turn % SITES]);
        let read = Query::read(raw).expect("a query");
        let arrival = Arrival { source: resolver, transport: Transport::Udp, now: 1e9 };
        let response = respond(black_box(&zone), &cookies, raw, &read, arrival, &mut octets);
        assert!(response.rcode == Rcode::NOERROR && response.subnet && !response.truncated);
        black_box(&octets);
    }
}

/// Asks for the address of a site's name in the zone.
fn query(number: usize) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(hickory_proto::op::Query::query(Name::from_ascii(host(number)).expect("a name"), RecordType::A));
    let client = Ipv4Addr::new(10, (number % usize::from(REGIONS)) as u8, 20, 0);
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD_MAX);
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(client.into(), 24, 0)));
    message.edns = Some(edns);
    message.to_vec().expect("a packet")
}

fn host(number: usize) -> String {
    format!("www-{number:03}.cdn.example")
}

fn state() -> State {
    let region = |number: u8| format!("region-{number}");
    let coverage = (0..REGIONS).map(|number| (format!("10.{number}.0.0/16").parse().expect("a prefix"), Target::Region(region(number))));
    let edges = (0..REGIONS).flat_map(|of| (0..EDGES).map(move |number| (of, number))).map(|(of, number)| Edge {
        name: format!("edge-{of}-{number}"),
        region: region(of),
        addresses: vec![Ipv4Addr::new(192, 0, 2, of * EDGES + number).into()],
        ..Edge::default()
    });
    State {
        zone: "cdn.example".to_owned(),
        serial: 7,
        nameservers: vec![("ns1.cdn.example".to_owned(), vec![Ipv4Addr::new(192, 0, 2, 253).into()])],
        ttl: Duration::from_secs(20),
        h3: true,
        region_order: (0..REGIONS).map(region).collect(),
        coverage: coverage.collect(),
        edges: edges.collect(),
        sites: (0..SITES).map(|number| Site { name: format!("site-{number:03}"), hosts: vec![host(number)], ..Site::default() }).collect(),
        ..State::default()
    }
}
