//! Places against a plain longest-prefix search, and scopes against every other client.

use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().expect("valid")
}

fn client(text: &str) -> Client {
    let net = net(text);
    Client::new(net.addr(), net.prefix_len())
}

fn check(declared: &[(&str, Declared)], asked: &str, region: Option<Declared>, scope: u8) {
    let coverage = Coverage::build(declared.iter().map(|&(text, region)| (net(text), region)));
    assert_eq!(coverage.place(&client(asked)), Placed { declared: region, scope }, "{asked} in {declared:?}");
}

#[test]
fn the_longest_prefix_around_the_client_decides() {
    let declared = [("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.2.0/24", 3), ("2001:db8::/32", 4)];
    check(&declared, "10.1.2.3/32", Some(3), 24);
    check(&declared, "10.1.3.0/24", Some(2), 24);
    check(&declared, "10.1.128.0/24", Some(2), 17);
    check(&declared, "10.128.0.0/24", Some(1), 9);
    check(&declared, "10.0.0.0/24", Some(1), 16);
    check(&declared, "11.0.0.0/24", None, 8);
    check(&declared, "192.0.2.0/24", None, 1);
    check(&declared, "2001:db8:1::/48", Some(4), 32);
    check(&declared, "2001:db9::/48", None, 32);
    check(&declared, "::/48", None, 3);
}

#[test]
fn a_client_prefix_that_spans_several_regions_is_told_that_it_is_too_short() {
    let declared = [("10.0.0.0/8", 1), ("10.1.0.0/16", 2)];
    check(&declared, "10.0.0.0/8", Some(1), 16);
    check(&declared, "10.0.0.0/12", Some(1), 16);
    check(&declared, "0.0.0.0/4", None, 5);
}

#[test]
fn no_coverage_is_one_scope() {
    check(&[], "10.1.2.0/24", None, 0);
    check(&[("0.0.0.0/0", 7)], "10.1.2.0/24", Some(7), 0);
    check(&[("0.0.0.0/0", 7)], "2001:db8::/48", None, 0);
}

#[test]
fn neighbours_of_one_region_are_one_range_and_the_first_of_two_declarations_counts() {
    check(&[("10.0.0.0/9", 1), ("10.128.0.0/9", 1)], "10.200.0.0/24", Some(1), 8);
    check(&[("10.0.0.0/9", 1), ("10.0.0.0/9", 2)], "10.0.0.0/24", Some(1), 9);
}

#[test]
fn the_last_addresses_of_each_family_have_a_place() {
    check(&[("255.255.255.255/32", 1)], "255.255.255.255/32", Some(1), 32);
    check(&[("255.255.255.255/32", 1)], "255.255.255.254/32", None, 32);
    let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128";
    check(&[(last, 1)], last, Some(1), 128);
}

#[test]
fn a_mapped_resolver_is_an_ipv4_one() {
    assert_eq!(Client::host("::ffff:192.0.2.1".parse().expect("valid")), client("192.0.2.1/32"));
}

/// Prefixes that collide often: few bits vary.
fn crowded() -> impl Strategy<Value = IpNet> {
    (any::<bool>(), 0_u8..8, 0_u8..8, 0_u8..=32).prop_map(|(ipv4, high, low, prefix)| {
        let address = if ipv4 {
            IpAddr::from([10, high, low, 0])
        } else {
            IpAddr::from([0x2001, 0xdb8, u16::from(high), u16::from(low), 0, 0, 0, 0])
        };
        IpNet::new(address, if ipv4 { prefix } else { prefix * 2 }).expect("valid").trunc()
    })
}

/// The rule in its plainest form.
fn longest(declared: &[(IpNet, Declared)], asked: &IpNet) -> Option<Declared> {
    let around = declared.iter().filter(|(net, _)| net.contains(asked));
    around.rev().max_by_key(|(net, _)| net.prefix_len()).map(|&(_, region)| region)
}

proptest! {
    #[test]
    fn places_as_the_plain_rule_does(declared in prop::collection::vec((crowded(), 0_u32..4), 0..24), asked in crowded()) {
        let coverage = Coverage::build(declared.iter().copied());
        let placed = coverage.place(&Client::new(asked.addr(), asked.prefix_len()));
        prop_assert_eq!(placed.declared, longest(&declared, &asked));
        prop_assert!(placed.scope <= asked.max_prefix_len());
    }

    #[test]
    fn all_clients_of_a_scope_are_placed_alike(
        declared in prop::collection::vec((crowded(), 0_u32..4), 0..24), asked in crowded(), others in prop::collection::vec(any::<u128>(), 32)
    ) {
        let coverage = Coverage::build(declared.iter().copied());
        let asked = Client::new(asked.addr(), asked.prefix_len());
        let placed = coverage.place(&asked);
        if placed.scope > asked.prefix {
            // Such a scope only says that a longer prefix would be answered better.
            return Ok(());
        }
        let scope = placed.scope;
        for other in others {
            let width = if asked.ipv4 { mask(32) } else { mask(128) };
            let bits = (asked.bits & mask(scope)) | (other & !mask(scope) & width);
            let other = Client { ipv4: asked.ipv4, bits, prefix: if asked.ipv4 { 32 } else { 128 } };
            prop_assert_eq!(coverage.place(&other).declared, placed.declared);
        }
    }
}
