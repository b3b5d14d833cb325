//! Packets of strangers: the first byte says whether they came over TCP and from which family.
#![no_main]

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use libfuzzer_sys::fuzz_target;
use skerry_dns::cookie::Cookies;
use skerry_dns::packet::{Arrival, Transport, UDP_PAYLOAD_MAX, respond, truncate};
use skerry_dns::query::Query;
use skerry_dns::state::{Data, Edge, Record, Site, State, Target};
use skerry_dns::zone::Zone;

/// The octets of the question that a UDP answer may be larger than, without EDNS.
const PLAIN_OCTETS_MAX: usize = 512;

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let edge = |number: u8, region: &str| Edge {
        name: format!("edge-{number}"),
        region: region.to_owned(),
        addresses: vec![IpAddr::from([192, 0, 2, number]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)])],
        ..Edge::default()
    };
    let covered = |net: &str, region: &str| (net.parse().expect("a prefix"), Target::Region(region.to_owned()));
    let many = (0..90).map(|last| Data::Address(IpAddr::from([198, 51, 100, last])));
    let texts = (0..8).map(|number| Data::Txt(format!("{number}").repeat(200)));
    let records = many.map(|data| ("many.cdn.test", data)).chain(texts.map(|data| ("cdn.test", data)));
    let aliases = [("a.cdn.test", "b.cdn.test"), ("b.cdn.test", "a.cdn.test"), ("c.cdn.test", "none.cdn.test")];
    let aliases = aliases.map(|(name, target)| (name, Data::Cname(target.to_owned())));
    let record = |(name, data): (&str, Data)| Record { name: name.to_owned(), ttl: Duration::from_secs(60), data };
    let hosts = ["www.cdn.test", "*.img.cdn.test", "cdn.test"].map(str::to_owned);
    Zone::build(Arc::new(State {
        zone: "cdn.test".to_owned(),
        serial: 7,
        nameservers: vec![("ns1.cdn.test".to_owned(), vec![IpAddr::from([192, 0, 2, 53])]), ("ns.example.net".to_owned(), Vec::new())],
        ttl: Duration::from_secs(20),
        h3: true,
        coverage: vec![covered("10.1.0.0/16", "north"), covered("10.1.7.0/24", "south"), covered("2001:db8::/32", "north")],
        records: records.chain(aliases).map(record).collect(),
        edges: vec![edge(1, "north"), edge(2, "north"), edge(3, "south")],
        sites: vec![Site { name: "shop".to_owned(), hosts: hosts.into(), ..Site::default() }],
        ..State::default()
    }))
});

fuzz_target!(|data: &[u8]| {
    let Some((how, raw)) = data.split_first() else { return };
    let transport = if how & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let source = if how & 2 == 0 { IpAddr::from([10, 1, 7, 9]) } else { IpAddr::from([0x2001, 0xdb8, 7, 0, 0, 0, 0, 9]) };
    let Ok(read) = Query::read(raw) else {
        assert!(raw.len() < 12 || raw[2] & 0x80 != 0, "only what is short or an answer gets none");
        return;
    };
    let mut octets = Vec::new();
    let response = respond(&ZONE, &Cookies::with([7; 16]), raw, &read, Arrival { source, transport, now: 1e9 }, &mut octets);
    let message = Message::from_vec(&octets).expect("an answer is a message");
    assert!(octets[..2] == raw[..2] && octets[2] & 0x80 != 0, "an answer to this query");
    assert_eq!(message.metadata.truncation, response.truncated);
    if let Ok(query) = &read {
        assert_eq!(message.queries.len(), usize::from(query.has_question()));
        let cookie = query.edns.and_then(|edns| edns.cookie);
        assert!(
            query.has_question() || cookie.is_some() && octets.len() >= 12 + 11 + 4 + 24,
            "without a question there is a cookie, and it is answered"
        );
        assert_eq!(octets[12..query.question_end], raw[12..query.question_end], "the question as it was asked");
        assert_eq!(message.edns.is_some(), query.edns.is_some(), "EDNS is answered with EDNS, and nothing else");
        let most = if query.edns.is_some() { usize::from(UDP_PAYLOAD_MAX) } else { PLAIN_OCTETS_MAX };
        assert!(transport == Transport::Tcp || octets.len() <= most, "{} octets over UDP", octets.len());
    }
    let refused = !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    assert!(!refused || message.answers.is_empty() && message.authorities.is_empty() && message.additionals.is_empty());
    let whole = octets.len();
    truncate(&mut octets, &response);
    assert!(octets.len() <= whole && Message::from_vec(&octets).expect("still a message").metadata.truncation);
});
