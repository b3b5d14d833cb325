//! Answers as a table, and the promise of their scope.

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, Record, RecordType};
use proptest::prelude::*;

use super::*;
use crate::sample::{asked as packet, zone};
use crate::state;

const NOW: f64 = 1e9;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn client(text: &str) -> Client {
    let net: ipnet::IpNet = text.parse().expect("a prefix");
    Client::new(net.addr(), net.prefix_len())
}

/// An answer as another reader of DNS understands it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    rcode: Rcode,
    authoritative: bool,
    scope: u8,
    answers: Vec<Record>,
    authority: Vec<Record>,
    additional: Vec<Record>,
}

fn tell(zone: &Zone, asked: &Name, record_type: RecordType, client: Client) -> Told {
    let raw = packet(asked, record_type);
    let query = Query::read(&raw).expect("a query").expect("well-formed");
    let mut octets = Vec::new();
    let mut writer = Writer::begin(&mut octets, &raw, &query, zone.apex());
    let reply = answer(zone, Asked { query: &query, client, now: NOW }, &mut writer);
    glue(zone, &query, &mut writer);
    let counts = writer.counts();
    octets[2] |= 0x80;
    for (at, count) in (6..).step_by(2).zip(counts) {
        octets[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    let message = Message::from_vec(&octets).expect("a message");
    Told {
        rcode: reply.rcode,
        authoritative: reply.authoritative,
        scope: reply.scope,
        answers: message.answers,
        authority: message.authorities,
        additional: message.additionals,
    }
}

/// One line for each record: owner, lifetime, type, data.
fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)).collect()
}

fn check_in(zone: &Zone, asked: &str, record_type: RecordType, from: &str, answers: &[&str], scope: u8) {
    let told = tell(zone, &name(asked), record_type, client(from));
    assert_eq!(lines(&told.answers), answers, "{asked} {record_type} from {from}");
    assert_eq!((told.rcode, told.authoritative, told.scope), (Rcode::NOERROR, true, scope), "{asked} {record_type} from {from}");
    let negative = record_type != RecordType::CNAME && answers.iter().all(|line| line.contains(" CNAME ")) || answers.is_empty();
    let authority = lines(&told.authority);
    assert_eq!(authority, if negative { vec![SOA_LINE] } else { Vec::new() }, "{asked} {record_type} from {from}");
}

fn check(asked: &str, record_type: RecordType, from: &str, answers: &[&str], scope: u8) {
    check_in(&zone(), asked, record_type, from, answers, scope);
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
    let reply = tell(&zone(), &name("cdn.test."), RecordType::NS, client("10.1.0.0/24"));
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
    let reply = tell(&with, &name("shop.cdn.test."), RecordType::HTTPS, client("10.2.9.0/24"));
    assert_eq!(lines(&reply.answers), ["shop.cdn.test. 20 HTTPS 1 . alpn=h3,h2,http/1.1, ipv4hint=192.0.2.2,"]);
}

#[test]
fn two_edges_of_a_region_answer_in_an_order_that_is_one_for_each_group() {
    let zone = zone();
    let ask = |from: &str| tell(&zone, &name("shop.cdn.test."), RecordType::A, client(from));
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
    check("WwW.cDn.TeSt.", RecordType::CNAME, "10.1.9.0/24", &["WwW.cDn.TeSt. 300 CNAME shop.cDn.TeSt."], 0);
}

#[test]
fn any_is_one_record_where_a_name_exists_and_the_alias_where_it_has_one() {
    for exists in ["cdn.test.", "shop.cdn.test.", "edge-n.nodes.cdn.test.", "edge-n.shop.cdn.test."] {
        check(exists, RecordType::ANY, "10.1.9.0/24", &[&format!("{exists} 3600 HINFO RFC8482 ")], 0);
    }
    for alias in ["www.cdn.test.", "x.img.cdn.test."] {
        let told = tell(&zone(), &name(alias), RecordType::ANY, client("10.1.9.0/24"));
        assert_eq!(lines(&told.answers), [format!("{alias} 300 CNAME shop.cdn.test.")]);
        assert_eq!((told.rcode, told.authority.len()), (Rcode::NOERROR, 0));
    }
}

#[test]
fn what_an_answer_is_about_is_the_name_asked_for_but_of_a_wildcard_the_target() {
    let zone = with_records();
    let target = crate::name::Name::from_text("shop.cdn.test").expect("a name");
    for (asked, subject) in [
        ("shop.cdn.test.", None),
        ("www.cdn.test.", None),
        ("in.cdn.test.", None),
        ("deep.a.img.cdn.test.", None),
        ("x.img.cdn.test.", Some(Subject::Name(target.octets()))),
        ("y.x.img.cdn.test.", Some(Subject::Name(target.octets()))),
        ("gone.cdn.test.", Some(Subject::Missing)),
    ] {
        let raw = packet(&name(asked), RecordType::A);
        let query = Query::read(&raw).expect("a query").expect("well-formed");
        let mut octets = Vec::new();
        let mut writer = Writer::begin(&mut octets, &raw, &query, zone.apex());
        let asks = Asked { query: &query, client: client("10.1.9.0/24"), now: NOW };
        assert_eq!(answer(&zone, asks, &mut writer).subject, subject.unwrap_or(Subject::Name(query.name())), "{asked}");
    }
}

#[test]
fn what_does_not_exist_says_so_and_what_is_not_ours_is_refused() {
    let zone = zone();
    for (asked, record_type, rcode) in [
        ("nothing.cdn.test.", RecordType::A, Rcode::NXDOMAIN),
        ("gone.nodes.cdn.test.", RecordType::A, Rcode::NXDOMAIN),
        ("below.shop.cdn.test.", RecordType::ANY, Rcode::NXDOMAIN),
        ("img.cdn.test.", RecordType::A, Rcode::NOERROR),
        ("nodes.cdn.test.", RecordType::A, Rcode::NOERROR),
    ] {
        let reply = tell(&zone, &name(asked), record_type, client("10.1.9.0/24"));
        assert_eq!((reply.rcode, reply.authoritative, lines(&reply.authority)), (rcode, true, vec![SOA_LINE.to_owned()]), "{asked}");
        assert!(reply.answers.is_empty(), "{asked}");
    }
    for (asked, record_type) in
        [("example.com.", RecordType::A), (".", RecordType::NS), ("cdn.test.", RecordType::AXFR), ("cdn.test.", RecordType::IXFR)]
    {
        let reply = tell(&zone, &name(asked), record_type, client("10.1.9.0/24"));
        assert_eq!(
            (reply.rcode, reply.authoritative, reply.answers.len() + reply.authority.len()),
            (Rcode::REFUSED, false, 0),
            "{asked} {record_type}"
        );
    }
}

#[test]
fn what_is_no_type_of_record_is_not_done() {
    let zone = zone();
    for (number, rcode) in [(41, Rcode::FORMERR), (128, Rcode::NOTIMP), (249, Rcode::NOTIMP), (254, Rcode::NOTIMP), (256, Rcode::NOERROR)] {
        assert_eq!(tell(&zone, &name("shop.cdn.test."), RecordType::from(number), client("10.1.9.0/24")).rcode, rcode, "{number}");
    }
}

fn declared(name: &str, data: state::Data) -> state::Record {
    state::Record { name: name.into(), ttl: std::time::Duration::from_secs(600), data }
}

/// The sample with declared records, some of which cannot stand where they are declared.
fn with_records() -> Zone {
    let caa = |tag: &str| state::Data::Caa { critical: false, tag: tag.into(), value: "ca.example".into() };
    let cname = |to: &str| state::Data::Cname(to.into());
    let address = |text: &str| state::Data::Address(text.parse().expect("an address"));
    let txt = |text: &str| state::Data::Txt(text.into());
    let long = (0..6).map(|at| declared(&format!("long{at}.cdn.test"), cname(&format!("long{}.cdn.test", at + 1))));
    let mut records = vec![
        declared("long6.cdn.test", cname("www.cdn.test")),
        declared("into.cdn.test", cname("round.cdn.test")),
        declared("cdn.test", caa("issue")),
        declared("cdn.test", caa("issuewild")),
        declared("cdn.test", txt("mine")),
        declared("cdn.test", state::Data::Mx { preference: 10, exchange: "mail.cdn.test".into() }),
        declared("mail.cdn.test", address("192.0.2.77")),
        declared("_acme.shop.cdn.test", txt(&"x".repeat(300))),
        declared("www.cdn.test", txt("beside a host")),
        declared("shop.cdn.test", txt("beside a target")),
        declared("shop.cdn.test", address("192.0.2.78")),
        declared("home.cdn.test", cname("elsewhere.example")),
        declared("out.cdn.test", cname("elsewhere.example")),
        declared("in.cdn.test", cname("www.cdn.test")),
        declared("gone.cdn.test", cname("nothing.cdn.test")),
        declared("round.cdn.test", cname("about.cdn.test")),
        declared("about.cdn.test", cname("round.cdn.test")),
        declared("about.cdn.test", txt("beside an alias")),
        declared("elsewhere.example", txt("not of the zone")),
    ];
    records.extend(long);
    Zone::build(std::sync::Arc::new(state::State { records, ..crate::sample::state() }))
}

#[test]
fn declared_records_stand_beside_those_of_the_cdn() {
    let zone = with_records();
    let check = |asked: &str, record_type, answers: &[&str]| check_in(&zone, asked, record_type, "10.1.9.0/24", answers, 0);
    let issue = ["cdn.test. 600 CAA 0 issue \"ca.example\"", "cdn.test. 600 CAA 0 issuewild \"ca.example\""];
    check("cdn.test.", RecordType::CAA, &issue);
    check("cdn.test.", RecordType::TXT, &["cdn.test. 600 TXT skerry serial=7", "cdn.test. 600 TXT mine"]);
    check("cdn.test.", RecordType::MX, &["cdn.test. 600 MX 10 mail.cdn.test."]);
    check("mail.cdn.test.", RecordType::A, &["mail.cdn.test. 600 A 192.0.2.77"]);
    check("mail.cdn.test.", RecordType::AAAA, &[]);
    let long = format!("_acme.shop.cdn.test. 600 TXT {}{}", "x".repeat(255), "x".repeat(45));
    check("_acme.shop.cdn.test.", RecordType::TXT, &[&long]);
    check("www.cdn.test.", RecordType::TXT, &["www.cdn.test. 600 TXT beside a host"]);
    check("shop.cdn.test.", RecordType::TXT, &["shop.cdn.test. 600 TXT beside a target"]);
    check_in(&zone, "shop.cdn.test.", RecordType::A, "10.1.9.0/24", &["shop.cdn.test. 20 A 192.0.2.1"], 16);
    check_in(&zone, "www.cdn.test.", RecordType::A, "10.1.9.0/24", &["www.cdn.test. 20 A 192.0.2.1"], 16);
    check("home.cdn.test.", RecordType::CNAME, &[]);
    check("about.cdn.test.", RecordType::CNAME, &["about.cdn.test. 600 CNAME round.cdn.test."]);
}

#[test]
fn aliases_are_followed_within_the_zone_and_not_for_ever() {
    let zone = with_records();
    let ask = |asked: &str| tell(&zone, &name(asked), RecordType::A, client("10.1.9.0/24"));
    let told = ask("in.cdn.test.");
    assert_eq!(lines(&told.answers), ["in.cdn.test. 600 CNAME www.cdn.test.", "www.cdn.test. 20 A 192.0.2.1"]);
    let told = ask("out.cdn.test.");
    assert_eq!((lines(&told.answers), told.authority.len()), (vec!["out.cdn.test. 600 CNAME elsewhere.example.".to_owned()], 0));
    let told = ask("gone.cdn.test.");
    assert_eq!((told.rcode, told.answers.len(), lines(&told.authority)), (Rcode::NXDOMAIN, 1, vec![SOA_LINE.to_owned()]));
    for round in ["round.cdn.test.", "into.cdn.test."] {
        let told = ask(round);
        assert_eq!((told.rcode, told.answers.len(), told.authority.len()), (Rcode::SERVFAIL, 0, 0), "{round}");
    }
    let told = ask("long0.cdn.test.");
    let so_far = (told.rcode, told.answers.len(), told.authority.len());
    assert_eq!(so_far, (Rcode::NOERROR, ALIASES_MAX + 1, 0), "the resolver asks for the rest, and was not told that there is none");
    assert_eq!(ask("long5.cdn.test.").answers.len(), 3);
}

#[test]
fn an_edge_has_a_name_below_every_site_that_it_may_serve() {
    let state = crate::sample::state();
    let zone = Zone::build(std::sync::Arc::new(state.clone()));
    let north = ["edge-n.shop.cdn.test. 300 A 192.0.2.1"];
    check_in(&zone, "edge-n.shop.cdn.test.", RecordType::A, "10.2.9.0/24", &north, 0);
    let https = "Edge-N.shop.cdn.test. 300 HTTPS 1 . alpn=h2,http/1.1, ipv4hint=192.0.2.1, ipv6hint=2001:db8::1,";
    check_in(&zone, "Edge-N.shop.cdn.test.", RecordType::HTTPS, "10.2.9.0/24", &[https], 0);
    let mut fenced = state;
    fenced.sites[0].regions = vec!["south".into()];
    fenced.lacking.insert("home".into(), std::sync::Arc::new(["edge-s".to_owned()].into()));
    let zone = Zone::build(std::sync::Arc::new(fenced));
    let rcode = |asked: &str| tell(&zone, &name(asked), RecordType::A, client("10.2.9.0/24")).rcode;
    assert_eq!((rcode("edge-n.shop.cdn.test."), rcode("edge-s.shop.cdn.test.")), (Rcode::NXDOMAIN, Rcode::NOERROR));
    assert_eq!((rcode("edge-n.home.cdn.test."), rcode("edge-s.home.cdn.test.")), (Rcode::NOERROR, Rcode::NXDOMAIN));
    assert_eq!((rcode("edge-x.home.cdn.test."), rcode("a.edge-n.home.cdn.test.")), (Rcode::NXDOMAIN, Rcode::NXDOMAIN));
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
        let reply = tell(&zone, &asked, RecordType::from(record_type), from);
        prop_assert!(reply.answers.len() <= 16);
        let refused = [Rcode::REFUSED, Rcode::NOTIMP, Rcode::FORMERR].contains(&reply.rcode);
        prop_assert_eq!(reply.authoritative, !refused);
    }

    #[test]
    fn all_clients_of_a_scope_get_the_same_answer(
        asked in any_name(), record_type in prop::sample::select(vec![RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SOA]),
        b in 0_u8..5, c in any::<u8>(), ipv6 in any::<bool>(), others in prop::collection::vec(any::<u128>(), 16)
    ) {
        let zone = zone();
        let (from, width) = if ipv6 { ([0x2001, 0xdb8, u16::from(b), u16::from(c), 0, 0, 0, 0].into(), 56) } else { (IpAddr::from([10, b, c, 0]), 24) };
        let reply = tell(&zone, &asked, record_type, Client::new(from, width));
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
            prop_assert_eq!(&tell(&zone, &asked, record_type, Client::new(other, 128)), &reply, "{} {}", from, other);
        }
    }
}
