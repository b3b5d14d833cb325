//! Packets in, packets out: the rules around an answer, and that no packet is too strange.

use std::sync::Arc;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;

use super::*;
use crate::query::Silence;
use crate::sample;

const NOW: f64 = 1e9;
const RESOLVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 2, 0, 53));

fn query(name: &str, record_type: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(hickory_proto::op::Query::query(Name::from_ascii(name).expect("a name"), record_type));
    query
}

fn with_edns(mut query: Message, payload: u16, option: Option<EdnsOption>) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    edns.options_mut().as_mut().extend(option.map(|option| (EdnsCode::Subnet, option)));
    query.edns = Some(edns);
    query
}

fn octets(query: &Message) -> Vec<u8> {
    query.to_vec().expect("a message")
}

/// What the figures would count of an answer.
struct Counted {
    rcode: Rcode,
    truncated: bool,
    subnet: bool,
    cookie: Known,
}

fn cookies() -> Cookies {
    Cookies::with([7; 16])
}

/// The octets of the answer to a packet.
fn sent(zone: &Zone, raw: &[u8], transport: Transport) -> Result<(Vec<u8>, Counted), crate::query::Silence> {
    let mut octets = b"what was there before".to_vec();
    let read = Query::read(raw)?;
    let arrival = Arrival { source: RESOLVER, transport, now: NOW };
    let Response { rcode, truncated, subnet, cookie, .. } = respond(zone, &cookies(), raw, &read, arrival, &mut octets);
    Ok((octets, Counted { rcode, truncated, subnet, cookie }))
}

fn ask(raw: &[u8], transport: Transport) -> Message {
    Message::from_vec(&sent(&sample::zone(), raw, transport).expect("an answer").0).expect("a message")
}

fn subnet_octets(text: &str) -> EdnsOption {
    let octets = text.split(' ').map(|octet| octet.parse().expect("an octet")).collect();
    EdnsOption::Unknown(EdnsCode::Subnet.into(), octets)
}

#[test]
fn the_header_and_question_of_an_answer_are_those_of_the_query() {
    let query = query("ShOp.CdN.tEsT.", RecordType::A);
    let answer = ask(&octets(&query), Transport::Udp);
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert!(answer.metadata.recursion_desired && answer.metadata.authoritative && !answer.metadata.recursion_available);
    assert!(answer.queries[0].name().eq_case(query.queries[0].name()));
    assert!(answer.answers[0].name.eq_case(query.queries[0].name()), "letter case is a proof of the path (0x20)");
    assert_eq!(answer.answers[0].data.ip_addr(), Some("192.0.2.2".parse().expect("an address")), "placed by the resolver");
    assert_eq!(answer.edns, None);
}

#[test]
fn a_client_subnet_decides_and_is_answered_with_a_scope() {
    for (asked, address, answered) in [
        ("0 1 24 0 10 1 9", "192.0.2.1", "0 1 24 16 10 1 9"),
        ("0 1 32 0 10 2 9 9", "192.0.2.2", "0 1 32 16 10 2 9 9"),
        ("0 1 17 0 10 1 128", "192.0.2.1", "0 1 17 16 10 1 128"),
        ("0 2 48 0 32 1 13 184 0 1", "192.0.2.1", "0 2 48 48 32 1 13 184 0 1"),
        // A hidden client: the resolver's place, an answer for everyone.
        ("0 1 0 0", "192.0.2.2", "0 1 0 0"),
        ("0 0 0 0", "192.0.2.2", "0 0 0 0"),
        // IPv4 within IPv6.
        ("0 2 128 0 0 0 0 0 0 0 0 0 0 0 255 255 10 1 9 9", "192.0.2.1", "0 2 128 112 0 0 0 0 0 0 0 0 0 0 255 255 10 1 9 9"),
    ] {
        let query = with_edns(query("shop.cdn.test.", RecordType::A), 4096, Some(subnet_octets(asked)));
        let (response, counted) = sent(&sample::zone(), &octets(&query), Transport::Udp).expect("an answer");
        assert!(counted.subnet);
        let EdnsOption::Unknown(_, expected) = subnet_octets(answered) else { panic!("a subnet") };
        let ends = [&[0, 8, 0, u8::try_from(expected.len()).expect("short")], expected.as_slice()].concat();
        assert!(response.ends_with(&ends), "{asked}: {response:?} does not end with {ends:?}");
        assert!(response.windows(4).any(|window| window == address.parse::<std::net::Ipv4Addr>().expect("valid").octets()), "{asked}");
    }
}

#[test]
fn a_client_subnet_that_breaks_the_rules_is_malformed() {
    for sent in [
        "0 1 24 16 10 1 9",
        "0 1 24 0 10 1",
        "0 1 16 0 10 255 9",
        "0 1 15 0 10 1",
        "0 1 33 0 10 1 9 9 0",
        "0 3 8 0 10",
        "0 1",
        "0 0 1 0 0",
        "0 0 0 0 0",
    ] {
        let query = with_edns(query("shop.cdn.test.", RecordType::A), 1232, Some(subnet_octets(sent)));
        let answer = ask(&octets(&query), Transport::Udp);
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{sent}");
        assert!(answer.answers.is_empty(), "{sent}");
    }
    let mut twice = with_edns(query("shop.cdn.test.", RecordType::A), 1232, Some(subnet_octets("0 1 24 0 10 1 9")));
    twice.edns.as_mut().expect("edns").options_mut().as_mut().push((EdnsCode::Subnet, subnet_octets("0 1 24 0 10 2 9")));
    assert_eq!(ask(&octets(&twice), Transport::Udp).metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn what_is_not_a_question_to_us_is_answered_by_its_name() {
    let plain = octets(&query("shop.cdn.test.", RecordType::A));
    let changed = |at: usize, to: u8| {
        let mut raw = plain.clone();
        raw[at] = to;
        raw
    };
    let class_at = plain.len() - 1;
    for (raw, rcode) in [
        (changed(2, 0x28), ResponseCode::NotImp),   // UPDATE
        (changed(2, 0x10), ResponseCode::NotImp),   // STATUS
        (changed(5, 0), ResponseCode::FormErr),     // no question
        (changed(5, 2), ResponseCode::FormErr),     // two
        (changed(4, 255), ResponseCode::FormErr),   // 65281
        (changed(11, 1), ResponseCode::FormErr),    // a record that is not there
        (changed(12, 0xc0), ResponseCode::FormErr), // a name that points ahead
        (changed(class_at, 3), ResponseCode::Refused),
        (changed(class_at, 255), ResponseCode::Refused),
        (octets(&query("example.com.", RecordType::A)), ResponseCode::Refused),
        (octets(&query("cdn.test.", RecordType::AXFR)), ResponseCode::Refused),
    ] {
        let answer = ask(&raw, Transport::Udp);
        assert_eq!(answer.metadata.response_code, rcode, "{raw:?}");
        assert_eq!(answer.metadata.id.to_be_bytes(), raw[..2], "{raw:?}");
        assert!(answer.answers.is_empty() && !answer.metadata.authoritative);
    }
    for (raw, silence) in [(&[][..], Silence::Short), (&plain[..11], Silence::Short), (&changed(2, 0x80), Silence::Response)] {
        assert_eq!(sent(&sample::zone(), raw, Transport::Udp).map(|(octets, _)| octets), Err(silence));
    }
}

#[test]
fn an_edns_version_that_does_not_exist_is_told_the_one_that_does() {
    let mut query = with_edns(query("shop.cdn.test.", RecordType::A), 1232, None);
    query.edns.as_mut().expect("edns").set_version(1).set_dnssec_ok(true);
    let answer = ask(&octets(&query), Transport::Udp);
    let edns = answer.edns.expect("edns");
    assert_eq!((u16::from(answer.metadata.response_code), edns.version(), edns.flags().dnssec_ok), (16, 0, true));
    assert_eq!(edns.max_payload(), UDP_PAYLOAD_MAX);
}

/// The sample with a name server of 100 addresses: 1600 octets of A records, and as many of glue.
fn large() -> Zone {
    let mut state = sample::state();
    state.nameservers[0].1 = (0..100).map(|last| IpAddr::from([192, 0, 2, last])).collect();
    Zone::build(Arc::new(state))
}

#[test]
fn what_does_not_fit_is_truncated_but_glue_is_left_out_first() {
    let zone = large();
    let ask = |query: &Message, transport| {
        let (response, counted) = sent(&zone, &octets(query), transport).expect("an answer");
        let message = Message::from_vec(&response).expect("a message");
        assert_eq!(message.metadata.truncation, counted.truncated);
        (message, response.len())
    };
    let addresses = query("ns1.cdn.test.", RecordType::A);
    for (query, limit) in [
        (addresses.clone(), 512),
        (with_edns(addresses.clone(), 0, None), 512),
        (with_edns(addresses.clone(), 1000, None), 1000),
        (with_edns(addresses.clone(), 65535, None), 1232),
    ] {
        let (message, length) = ask(&query, Transport::Udp);
        assert!(message.metadata.truncation && message.answers.is_empty() && length <= limit);
        assert_eq!(message.edns.is_some(), query.edns.is_some(), "EDNS stays");
    }
    let (whole, _) = ask(&addresses, Transport::Tcp);
    assert!(!whole.metadata.truncation && whole.answers.len() == 100);
    let (servers, _) = ask(&query("cdn.test.", RecordType::NS), Transport::Udp);
    assert!(!servers.metadata.truncation && servers.answers.len() == 2 && servers.additionals.is_empty());
}

proptest! {
    #[test]
    fn any_octets_are_survived(raw in prop::collection::vec(any::<u8>(), 0..600), tcp in any::<bool>()) {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        if let Ok((octets, _)) = sent(&sample::zone(), &raw, transport) {
            prop_assert_eq!(&octets[..2], &raw[..2]);
            prop_assert!(octets[2] & 0x80 != 0);
        }
    }

    #[test]
    fn a_damaged_query_is_survived(at in prop::collection::vec((0_usize..64, any::<u8>()), 1..6), cut in 0_usize..64, subnet in any::<bool>()) {
        let option = subnet.then(|| subnet_octets("0 1 24 0 10 1 9"));
        let mut raw = octets(&with_edns(query("www.cdn.test.", RecordType::A), 1232, option));
        for (at, to) in at {
            let at = at % raw.len();
            raw[at] = to;
        }
        raw.truncate(raw.len().saturating_sub(cut % 32));
        if let Ok((octets, _)) = sent(&sample::zone(), &raw, Transport::Udp) {
            prop_assert!(octets.len() <= usize::from(UDP_PAYLOAD_MAX));
            prop_assert!(Message::from_vec(&octets).is_ok());
        }
    }

    /// Where another reader, who looks into all records, finds nothing wrong, we read the same.
    #[test]
    fn queries_are_read_as_another_reader_reads_them(at in prop::collection::vec((2_usize..80, any::<u8>()), 0..4)) {
        let mut raw = octets(&with_edns(query("www.cdn.test.", RecordType::A), 1232, Some(subnet_octets("0 1 24 0 10 1 9"))));
        for (at, to) in at {
            let at = at % raw.len();
            raw[at] = to;
        }
        if let (Ok(Ok(ours)), Ok(theirs)) = (Query::read(&raw), Message::from_vec(&raw)) {
            let question = &theirs.queries[0];
            prop_assert_eq!(u16::from(question.query_type()), ours.record_type.0);
            prop_assert_eq!(question.name().len() + 1, ours.name().len(), "the root counts");
            prop_assert_eq!(theirs.edns.as_ref().map(hickory_proto::op::Edns::version), ours.edns.map(|edns| edns.version));
        }
    }
}

/// A query with the option of cookies.
fn with_cookie(cookie: &[u8]) -> Vec<u8> {
    let option = EdnsOption::Unknown(10, cookie.to_vec());
    let mut query = with_edns(query("shop.cdn.test.", RecordType::A), 1232, None);
    query.edns.as_mut().expect("edns").options_mut().as_mut().push((EdnsCode::Cookie, option));
    octets(&query)
}

#[test]
fn a_client_that_brings_a_cookie_gets_ours_and_is_known_by_it() {
    let client = [1, 2, 3, 4, 5, 6, 7, 8];
    let (first, counted) = sent(&sample::zone(), &with_cookie(&client), Transport::Udp).expect("an answer");
    assert_eq!((counted.cookie, counted.rcode), (Known::Asks, Rcode::NOERROR));
    let ours = &first[first.len() - 16..];
    assert_eq!(first[first.len() - 28..first.len() - 16], [&[0, 10, 0, 24], client.as_slice()].concat());
    let (second, counted) = sent(&sample::zone(), &with_cookie(&[&client, ours].concat()), Transport::Udp).expect("an answer");
    assert_eq!((counted.cookie, &second[second.len() - 16..]), (Known::Proven, ours));
    let (_, counted) = sent(&sample::zone(), &with_cookie(&[&client, [7; 16].as_slice()].concat()), Transport::Udp).expect("an answer");
    assert_eq!((counted.cookie, counted.rcode), (Known::Asks, Rcode::NOERROR), "one that is not ours is none");
    for broken in [&client[..7], &[&client[..], &[1; 7]].concat(), &[1; 41], &[]] {
        let (_, counted) = sent(&sample::zone(), &with_cookie(broken), Transport::Udp).expect("an answer");
        assert_eq!(counted.rcode, Rcode::FORMERR, "{broken:?}");
    }
}

/// A query without a question, with the option of cookies.
fn cookie_alone(cookie: &[u8]) -> Vec<u8> {
    let mut query = with_edns(Message::query(), 1232, None);
    query.edns.as_mut().expect("edns").options_mut().as_mut().push((EdnsCode::Cookie, EdnsOption::Unknown(10, cookie.to_vec())));
    octets(&query)
}

#[test]
fn a_cookie_without_a_question_is_answered_with_ours_and_whether_theirs_holds() {
    let client = [1, 2, 3, 4, 5, 6, 7, 8];
    for transport in [Transport::Udp, Transport::Tcp] {
        let told = |cookie: &[u8]| {
            let (octets, counted) = sent(&sample::zone(), &cookie_alone(cookie), transport).expect("an answer");
            let message = Message::from_vec(&octets).expect("a message");
            assert_eq!((message.queries.len(), message.answers.len(), message.authorities.len()), (0, 0, 0));
            let option = message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Cookie).cloned());
            let ours = option.map(|option| match option {
                EdnsOption::Unknown(_, octets) => octets,
                other => panic!("no cookie: {other:?}"),
            });
            (message.metadata.response_code, ours, counted)
        };
        let (rcode, ours, counted) = told(&client);
        let ours = ours.expect("a cookie");
        assert_eq!((rcode, ours.len(), &ours[..8], counted.cookie), (ResponseCode::NoError, 24, client.as_slice(), Known::Asks));
        let (rcode, again, counted) = told(&ours);
        assert_eq!((rcode, again.as_ref(), counted.cookie), (ResponseCode::NoError, Some(&ours), Known::Proven));
        let (rcode, other, counted) = told(&[&client, [7; 16].as_slice()].concat());
        assert_eq!((rcode, other.as_ref(), counted.rcode), (ResponseCode::BADCOOKIE, Some(&ours), Rcode::BADCOOKIE));
        for broken in [&client[..7], &[]] {
            assert_eq!(told(broken).0, ResponseCode::FormErr, "{broken:?}");
        }
        let mut other_edns = cookie_alone(&client);
        other_edns[18] = 1;
        assert_eq!(sent(&sample::zone(), &other_edns, transport).expect("an answer").1.rcode, Rcode::BADVERS);
    }
    let plain = octets(&with_edns(Message::query(), 1232, None));
    assert_eq!(ask(&plain, Transport::Udp).metadata.response_code, ResponseCode::FormErr, "nothing is asked for");
}

#[test]
fn a_cut_answer_keeps_question_and_edns_and_says_so() {
    let zone = sample::zone();
    for (raw, edns) in [(octets(&query("cdn.test.", RecordType::NS)), false), (with_cookie(&[1; 8]), true)] {
        let mut sent = Vec::new();
        let read = Query::read(&raw).expect("a query");
        let arrival = Arrival { source: RESOLVER, transport: Transport::Udp, now: NOW };
        let response = respond(&zone, &cookies(), &raw, &read, arrival, &mut sent);
        truncate(&mut sent, &response);
        let message = Message::from_vec(&sent).expect("a message");
        assert!(message.metadata.truncation && message.queries.len() == 1 && message.edns.is_some() == edns);
        assert!(message.answers.is_empty() && message.authorities.is_empty() && message.additionals.is_empty());
    }
    let mut sent = Vec::new();
    let read = Err(Rcode::NOTIMP);
    let arrival = Arrival { source: RESOLVER, transport: Transport::Udp, now: NOW };
    let response = respond(&zone, &cookies(), &octets(&query("cdn.test.", RecordType::NS)), &read, arrival, &mut sent);
    truncate(&mut sent, &response);
    assert!(sent.len() == 12 && sent[2] & 0x02 != 0);
}

#[test]
fn records_where_a_query_has_none_are_read_over_and_edns_is_where_it_belongs() {
    let plain = octets(&query("shop.cdn.test.", RecordType::A));
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let other = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1];
    let with = |counts: [u8; 3], records: &[&[u8]]| {
        let mut raw = [&plain, records.concat().as_slice()].concat();
        (raw[7], raw[9], raw[11]) = (counts[0], counts[1], counts[2]);
        ask(&raw, Transport::Udp).metadata.response_code
    };
    assert_eq!(with([0, 0, 2], &[&other, &opt]), ResponseCode::NoError);
    assert_eq!(with([1, 1, 1], &[&other, &other, &opt]), ResponseCode::NoError);
    assert_eq!(with([0, 0, 2], &[&opt, &opt]), ResponseCode::FormErr, "twice");
    assert_eq!(with([1, 0, 0], &[&opt]), ResponseCode::FormErr, "among the answers");
    assert_eq!(with([0, 0, 1], &[&[1, b'x'], &opt]), ResponseCode::FormErr, "below the root");
    assert_eq!(with([0, 0, 1], &[&opt, &[0]]), ResponseCode::FormErr, "more than there should be");
    assert_eq!(with([0, 0, 1], &[&opt[..10]]), ResponseCode::FormErr, "less");
    let too_long_option = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 5, 0, 8, 0, 9, 0];
    assert_eq!(with([0, 0, 1], &[&too_long_option]), ResponseCode::FormErr, "an option beyond its record");
}
