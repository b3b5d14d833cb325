//! Which edges answer for a region, and how they share its clients.

use std::collections::BTreeMap;

use super::*;

fn edge(name: &str, region: &str, addresses: &[&str], up: bool) -> Edge {
    Edge { name: name.into(), region: region.into(), addresses: addresses.iter().map(|text| text.parse().expect("valid")).collect(), up }
}

fn steer(order: &[&str], edges: Vec<Edge>) -> Steer {
    Steer::build(&State { region_order: order.iter().map(|&region| region.into()).collect(), edges, ..State::default() })
}

fn client(third: u8) -> Client {
    Client::new(IpAddr::from([10, 1, third, 9]), 32)
}

/// The first IPv4 addresses' last octets, in the order of the answer.
fn chosen(steer: &Steer, region: Option<&str>, client: &Client) -> Vec<u8> {
    let region = region.map(|name| steer.region(name).expect("valid"));
    steer.choose(region, client, Wanted::Ipv4).edges.iter().map(|candidate| candidate.ipv4[0].octets()[3]).collect()
}

#[test]
fn a_region_is_served_by_its_own_edges_then_by_the_next_in_order_then_by_name() {
    let edges = |b_up, c_up, a_up| {
        vec![
            edge("a", "autumn", &["192.0.2.1"], a_up),
            edge("b", "north", &["192.0.2.2"], b_up),
            edge("c", "south", &["192.0.2.3"], c_up),
            edge("d", "winter", &["192.0.2.4"], true),
        ]
    };
    let all = steer(&["south", "north"], edges(true, true, true));
    assert_eq!(chosen(&all, Some("north"), &client(1)), [2]);
    assert_eq!(chosen(&all, None, &client(1)), [3]);
    assert_eq!(chosen(&steer(&["south", "north"], edges(false, true, true)), Some("north"), &client(1)), [3]);
    assert_eq!(chosen(&steer(&["south", "north"], edges(true, false, true)), None, &client(1)), [2]);
    assert_eq!(chosen(&steer(&["south", "north"], edges(false, false, true)), Some("north"), &client(1)), [1]);
    assert_eq!(chosen(&steer(&["south", "north"], edges(false, false, false)), Some("north"), &client(1)), [4]);
}

#[test]
fn when_no_edge_is_up_every_edge_counts_as_up() {
    let down = steer(&["south"], vec![edge("b", "north", &["192.0.2.2"], false), edge("c", "south", &["192.0.2.3"], false)]);
    assert_eq!(chosen(&down, Some("north"), &client(1)), [2]);
    assert_eq!(chosen(&down, None, &client(1)), [3]);
}

#[test]
fn an_edge_without_address_is_not_up() {
    let half = steer(&[], vec![edge("a", "north", &[], true), edge("b", "south", &["192.0.2.2"], false)]);
    assert_eq!(chosen(&half, Some("north"), &client(1)), [2]);
    assert!(chosen(&steer(&[], Vec::new()), None, &client(1)).is_empty());
}

#[test]
fn the_wanted_family_never_leads_into_another_region() {
    let mixed = steer(&["north"], vec![edge("a", "north", &["192.0.2.1"], true), edge("b", "south", &["192.0.2.2", "2001:db8::2"], true)]);
    let north = mixed.region("north");
    assert!(mixed.choose(north, &client(1), Wanted::Ipv6).edges.is_empty());
    assert_eq!(mixed.choose(mixed.region("south"), &client(1), Wanted::Ipv6).edges.len(), 1);
}

#[test]
fn clients_spread_stay_and_only_those_of_a_lost_edge_move() {
    let edges =
        |gone: u8| (1..=4_u8).map(|n| edge(&format!("edge-{n}"), "north", &[&format!("192.0.2.{n}")], n != gone)).collect::<Vec<_>>();
    let (full, less) = (steer(&[], edges(0)), steer(&[], edges(3)));
    let mut shares: BTreeMap<u8, u32> = BTreeMap::new();
    for third in 0..=255 {
        let before = chosen(&full, Some("north"), &client(third));
        assert_eq!(before.len(), EDGES_PER_ANSWER_MAX);
        assert_eq!(before, chosen(&full, Some("north"), &Client::new(IpAddr::from([10, 1, third, 200]), 32)), "one /24, one answer");
        let after = chosen(&less, Some("north"), &client(third));
        if before[0] == 3 {
            assert_eq!(after[0], before[1], "the second edge takes over");
        } else {
            assert_eq!(after[0], before[0], "no other client moves");
        }
        *shares.entry(before[0]).or_default() += 1;
    }
    assert!(shares.len() == 4 && shares.values().all(|&share| (40..=90).contains(&share)), "{shares:?} of 256, 64 expected");
}
