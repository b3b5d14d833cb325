//! Answers as a table, and the promise of their scope.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::sample::zone;

const NOW: f64 = 1e9;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn client(text: &str) -> Client {
    let net: ipnet::IpNet = text.parse().expect("a prefix");
    Client::new(net.addr(), net.prefix_len())
}

/// One line for each record: owner, lifetime, type, data.
fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)).collect()
}

fn check(asked: &str, record_type: RecordType, from: &str, answers: &[&str], scope: u8) {
    let reply = answer(&zone(), &name(asked), record_type, &client(from), NOW);
    assert_eq!(lines(&reply.answers), answers, "{asked} {record_type} from {from}");
    assert_eq!((reply.rcode, reply.authoritative, reply.scope), (ResponseCode::NoError, true, scope), "{asked} {record_type} from {from}");
    let negative = record_type != RecordType::CNAME && answers.iter().all(|line| line.contains(" CNAME ")) || answers.is_empty();
    assert_eq!(lines(&reply.authority), if negative { vec![SOA_LINE] } else { Vec::new() }, "{asked} {record_type} from {from}");
}

const SOA_LINE: &str = "cdn.test. 30 SOA ns1.cdn.test. hostmaster.cdn.test. 7 3600 600 604800 30";

#[test]
fn the_zone_itself() {
    let soa = "cdn.test. 3600 SOA ns1.cdn.test. hostmaster.cdn.test. 7 3600 600 604800 30";
    check("cdn.test.", RecordType::SOA, "10.1.0.0/24", &[soa], 0);
    check("cdn.test.", RecordType::NS, "10.1.0.0/24", &["cdn.test. 3600 NS ns1.cdn.test.", "cdn.test. 3600 NS ns2.example.net."], 0);
    check("cdn.test.", RecordType::TXT, "10.1.0.0/24", &["cdn.test. 3600 TXT skerry serial=7"], 0);
    check("cdn.test.", RecordType::MX, "10.1.0.0/24", &[], 0);
    check("ns1.cdn.test.", RecordType::A, "10.1.0.0/24", &["ns1.cdn.test. 300 A 192.0.2.53"], 0);
    check("ns1.cdn.test.", RecordType::HTTPS, "10.1.0.0/24", &[], 0);
    let reply = answer(&zone(), &name("cdn.test."), RecordType::NS, &client("10.1.0.0/24"), NOW);
    assert_eq!(lines(&reply.additional), ["ns1.cdn.test. 300 A 192.0.2.53", "ns1.cdn.test. 300 AAAA 2001:db8::53"]);
}

#[test]
fn a_site_is_where_its_client_is() {
    check("shop.cdn.test.", RecordType::A, "10.1.9.0/24", &["shop.cdn.test. 20 A 192.0.2.1"], 16);
    check("shop.cdn.test.", RecordType::A, "10.2.9.0/24", &["shop.cdn.test. 20 A 192.0.2.2"], 16);
    check("shop.cdn.test.", RecordType::A, "192.0.2.0/24", &["shop.cdn.test. 20 A 192.0.2.2"], 1);
    check("shop.cdn.test.", RecordType::A, "2001:db8:1::/56", &["shop.cdn.test. 20 A 192.0.2.1"], 48);
    check("shop.cdn.test.", RecordType::AAAA, "10.1.9.0/24", &["shop.cdn.test. 20 AAAA 2001:db8::1"], 16);
    check("shop.cdn.test.", RecordType::AAAA, "10.2.9.0/24", &[], 16);
    check("shop.cdn.test.", RecordType::TXT, "10.2.9.0/24", &[], 0);
    check("shop.cdn.test.", RecordType::CNAME, "10.2.9.0/24", &[], 0);
    check("cdn.test.", RecordType::A, "10.1.9.0/24", &["cdn.test. 20 A 192.0.2.1"], 16);
    check("edge-n.nodes.cdn.test.", RecordType::AAAA, "10.2.9.0/24", &["edge-n.nodes.cdn.test. 300 AAAA 2001:db8::1"], 0);
}

#[test]
fn https_names_protocols_and_addresses() {
    let north = "shop.cdn.test. 20 HTTPS 1 . alpn=h2,http/1.1, ipv4hint=192.0.2.1, ipv6hint=2001:db8::1,";
    check("shop.cdn.test.", RecordType::HTTPS, "10.1.9.0/24", &[north], 16);
    check("shop.cdn.test.", RecordType::HTTPS, "10.2.9.0/24", &["shop.cdn.test. 20 HTTPS 1 . alpn=h2,http/1.1, ipv4hint=192.0.2.2,"], 16);
    let with = Zone::build(std::sync::Arc::new(crate::state::State { h3: true, ..crate::sample::state() }));
    let reply = answer(&with, &name("shop.cdn.test."), RecordType::HTTPS, &client("10.2.9.0/24"), NOW);
    assert_eq!(lines(&reply.answers), ["shop.cdn.test. 20 HTTPS 1 . alpn=h3,h2,http/1.1, ipv4hint=192.0.2.2,"]);
}

#[test]
fn two_edges_of_a_region_answer_in_an_order_that_is_one_for_each_group() {
    let zone = zone();
    let ask = |from: &str| answer(&zone, &name("shop.cdn.test."), RecordType::A, &client(from), NOW);
    let reply = ask("10.3.9.0/24");
    assert_eq!((reply.answers.len(), reply.scope), (2, 24));
    assert_eq!(reply, ask("10.3.9.77/32"));
    let orders: std::collections::BTreeSet<_> = (0..=255).map(|third| lines(&ask(&format!("10.3.{third}.0/24")).answers)).collect();
    assert_eq!(orders.len(), 6, "every order of two of three edges");
    assert_eq!(ask("10.3.0.0/20").scope, 24, "a prefix too short to choose by");
}

#[test]
fn hosts_of_a_site_are_names_for_its_target() {
    let (alias, address) = ("www.cdn.test. 300 CNAME shop.cdn.test.", "shop.cdn.test. 20 A 192.0.2.1");
    check("www.cdn.test.", RecordType::A, "10.1.9.0/24", &[alias, address], 16);
    check("www.cdn.test.", RecordType::CNAME, "10.1.9.0/24", &[alias], 0);
    check("www.cdn.test.", RecordType::TXT, "10.1.9.0/24", &[alias], 0);
    check("www.cdn.test.", RecordType::AAAA, "10.2.9.0/24", &[alias], 16);
    check("a.B.img.cdn.test.", RecordType::A, "10.1.9.0/24", &["a.B.img.cdn.test. 300 CNAME shop.cdn.test.", address], 16);
    check("WwW.cDn.TeSt.", RecordType::CNAME, "10.1.9.0/24", &["WwW.cDn.TeSt. 300 CNAME shop.cdn.test."], 0);
}

#[test]
fn any_is_one_record_where_a_name_exists() {
    for exists in ["cdn.test.", "shop.cdn.test.", "www.cdn.test.", "x.img.cdn.test."] {
        check(exists, RecordType::ANY, "10.1.9.0/24", &[&format!("{exists} 3600 HINFO RFC8482 ")], 0);
    }
}

#[test]
fn what_does_not_exist_says_so_and_what_is_not_ours_is_refused() {
    let zone = zone();
    for (asked, record_type, rcode) in [
        ("nothing.cdn.test.", RecordType::A, ResponseCode::NXDomain),
        ("gone.nodes.cdn.test.", RecordType::A, ResponseCode::NXDomain),
        ("below.shop.cdn.test.", RecordType::ANY, ResponseCode::NXDomain),
        ("img.cdn.test.", RecordType::A, ResponseCode::NoError),
        ("nodes.cdn.test.", RecordType::A, ResponseCode::NoError),
    ] {
        let reply = answer(&zone, &name(asked), record_type, &client("10.1.9.0/24"), NOW);
        assert_eq!((reply.rcode, reply.authoritative, lines(&reply.authority)), (rcode, true, vec![SOA_LINE.to_owned()]), "{asked}");
        assert!(reply.answers.is_empty(), "{asked}");
    }
    for (asked, record_type) in
        [("example.com.", RecordType::A), (".", RecordType::NS), ("cdn.test.", RecordType::AXFR), ("cdn.test.", RecordType::IXFR)]
    {
        let reply = answer(&zone, &name(asked), record_type, &client("10.1.9.0/24"), NOW);
        assert_eq!(reply, Reply::empty(ResponseCode::Refused, false), "{asked} {record_type}");
    }
}

/// Names in and around the sample zone, and names of any octets.
fn any_name() -> impl Strategy<Value = Name> {
    let known = prop::sample::select(vec![
        "cdn.test.",
        "shop.cdn.test.",
        "home.cdn.test.",
        "www.cdn.test.",
        "a.img.cdn.test.",
        "edge-n.nodes.cdn.test.",
        "none.cdn.test.",
    ]);
    let labels = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..4);
    let wild = (labels, any::<bool>()).prop_filter_map("too long", |(labels, inside)| {
        let mut all: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
        if inside {
            all.extend([b"cdn".as_slice(), b"test"]);
        }
        Name::from_labels(all).ok()
    });
    prop_oneof![known.prop_map(name), wild]
}

/// Clients inside, beside and far from the sample coverage, of any prefix length.
fn any_client() -> impl Strategy<Value = Client> {
    let near = (0_u8..5, any::<u8>(), any::<u8>()).prop_map(|(b, c, d)| IpAddr::from([10, b, c, d]));
    let ipv6 = (0_u16..3, any::<u16>()).prop_map(|(c, d)| IpAddr::from([0x2001, 0xdb8, c, d, 0, 0, 0, 1]));
    let far = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes())),
        any::<u128>().prop_map(|bits| IpAddr::from(bits.to_be_bytes()))
    ];
    (prop_oneof![near, ipv6, far], any::<u8>()).prop_map(|(address, prefix)| Client::new(address, prefix))
}

proptest! {
    #[test]
    fn any_question_has_an_answer(asked in any_name(), record_type in any::<u16>(), from in any_client()) {
        let zone = zone();
        let reply = answer(&zone, &asked, RecordType::from(record_type), &from, NOW);
        prop_assert!(reply.answers.len() <= 16);
        prop_assert_eq!(reply.authoritative, reply.rcode != ResponseCode::Refused);
    }

    #[test]
    fn all_clients_of_a_scope_get_the_same_answer(
        asked in any_name(), record_type in prop::sample::select(vec![RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SOA]),
        b in 0_u8..5, c in any::<u8>(), ipv6 in any::<bool>(), others in prop::collection::vec(any::<u128>(), 16)
    ) {
        let zone = zone();
        let (from, width) = if ipv6 { ([0x2001, 0xdb8, u16::from(b), u16::from(c), 0, 0, 0, 0].into(), 56) } else { (IpAddr::from([10, b, c, 0]), 24) };
        let reply = answer(&zone, &asked, record_type, &Client::new(from, width), NOW);
        prop_assert!(reply.scope <= width, "the sample tells no two clients of one /{width} apart");
        for other in others {
            let other = match from {
                IpAddr::V4(address) => {
                    let keep = u32::MAX.checked_shl(32 - u32::from(reply.scope)).unwrap_or(0);
                    IpAddr::from(((address.to_bits() & keep) | (u32::try_from(other >> 96).expect("32 bits") & !keep)).to_be_bytes())
                }
                IpAddr::V6(address) => {
                    let keep = u128::MAX.checked_shl(128 - u32::from(reply.scope)).unwrap_or(0);
                    IpAddr::from(((address.to_bits() & keep) | (other & !keep)).to_be_bytes())
                }
            };
            prop_assert_eq!(&answer(&zone, &asked, record_type, &Client::new(other, 128), NOW), &reply, "{} {}", from, other);
        }
    }
}
