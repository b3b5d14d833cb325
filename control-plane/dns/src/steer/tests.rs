//! Which edges answer for a region, and how they share its clients.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::plan::Plan;

fn edge(name: &str, region: &str, addresses: &[&str], up: bool) -> Edge {
    let addresses = addresses.iter().map(|text| text.parse().expect("valid")).collect();
    Edge { name: name.into(), region: region.into(), addresses, up, ..Edge::default() }
}

/// With 10.1.0.0/16 declared for region `north`, 10.2.0.0/16 for `south`, 10.3.0.0/16 for the edge `b`.
fn zone(order: &[&str], edges: Vec<Edge>) -> Zone {
    let declared = |net: &str, target| (net.parse().expect("valid"), target);
    let region = |name: &str| Target::Region(name.to_owned());
    Zone::build(Arc::new(State {
        ttl: Duration::from_secs(20),
        region_order: order.iter().map(|&region| region.into()).collect(),
        coverage: vec![
            declared("10.1.0.0/16", region("north")),
            declared("10.2.0.0/16", region("south")),
            declared("10.3.0.0/16", Target::Node("b".into())),
        ],
        edges,
        ..State::default()
    }))
}

fn from(second: u8, third: u8) -> Client {
    Client::new(IpAddr::from([10, second, third, 9]), 32)
}

fn choice<'a>(zone: &'a Zone, client: &Client, wanted: Wanted) -> Choice<'a> {
    choose(zone, &Addresses::Steered, client, wanted, 0.0).expect("steered")
}

/// The first IPv4 addresses' last octets, in the order of the answer.
fn chosen(zone: &Zone, client: &Client) -> Vec<u8> {
    choice(zone, client, Wanted::Ipv4).edges.iter().map(|candidate| candidate.ipv4[0].octets()[3]).collect()
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
    let all = zone(&["south", "north"], edges(true, true, true));
    assert_eq!(chosen(&all, &from(1, 1)), [2]);
    assert_eq!(chosen(&all, &from(9, 1)), [3]);
    assert_eq!(chosen(&zone(&["south", "north"], edges(false, true, true)), &from(1, 1)), [3]);
    assert_eq!(chosen(&zone(&["south", "north"], edges(true, false, true)), &from(9, 1)), [2]);
    assert_eq!(chosen(&zone(&["south", "north"], edges(false, false, true)), &from(1, 1)), [1]);
    assert_eq!(chosen(&zone(&["south", "north"], edges(false, false, false)), &from(1, 1)), [4]);
}

#[test]
fn when_no_edge_is_up_every_edge_counts_as_up() {
    let down = zone(&["south"], vec![edge("b", "north", &["192.0.2.2"], false), edge("c", "south", &["192.0.2.3"], false)]);
    assert_eq!(chosen(&down, &from(1, 1)), [2]);
    assert_eq!(chosen(&down, &from(9, 1)), [3]);
}

#[test]
fn an_edge_without_address_is_not_up() {
    let half = zone(&[], vec![edge("a", "north", &[], true), edge("b", "south", &["192.0.2.2"], false)]);
    assert_eq!(chosen(&half, &from(1, 1)), [2]);
    assert!(chosen(&zone(&[], Vec::new()), &from(9, 1)).is_empty());
}

#[test]
fn a_query_for_ipv6_never_leads_into_another_region() {
    let mixed = zone(&["north"], vec![edge("a", "north", &["192.0.2.1"], true), edge("b", "south", &["192.0.2.2", "2001:db8::2"], true)]);
    assert!(choice(&mixed, &from(1, 1), Wanted::Ipv6).edges.is_empty());
    assert_eq!(choice(&mixed, &from(2, 1), Wanted::Ipv6).edges.len(), 1);
}

#[test]
fn a_query_for_ipv4_is_answered_by_the_first_region_that_has_it_where_what_was_declared_has_none() {
    let edges = |far: &[&str]| {
        vec![
            edge("a", "north", &["2001:db8::1"], true),
            edge("b", "north", &["2001:db8::2"], true),
            Edge { weight: 50, ..edge("c", "south", far, true) },
            edge("d", "west", &["192.0.2.4"], true),
        ]
    };
    let mixed = zone(&["north", "south"], edges(&["192.0.2.3"]));
    for client in [from(1, 1), from(1, 2), from(3, 1), from(9, 1)] {
        let ipv4 = choice(&mixed, &client, Wanted::Ipv4);
        assert_eq!((ipv4.edges[0].name.as_str(), ipv4.reason, ipv4.scope), ("c", Reason::Region, 24), "{client:?}");
        assert!(matches!(choice(&mixed, &client, Wanted::Any).edges[0].name.as_str(), "a" | "b"));
    }
    assert_eq!(chosen(&zone(&["north", "south"], edges(&["2001:db8::3"])), &from(1, 1)), [4]);
    // Not beyond a fence.
    let mut state = State { region_order: vec!["north".into()], edges: edges(&["192.0.2.3"]), ..State::default() };
    state.zone = "cdn.test".into();
    state.sites = vec![crate::state::Site { name: "shop".into(), regions: vec!["north".into()], ..crate::state::Site::default() }];
    let fenced = Zone::build(Arc::new(state));
    let addresses = fenced.site("shop").expect("a site");
    assert!(choose(&fenced, addresses, &from(1, 1), Wanted::Ipv4, 0.0).expect("steered").edges.is_empty());
}

#[test]
fn clients_spread_stay_and_only_those_of_a_lost_edge_move() {
    let edges =
        |gone: u8| (1..=4_u8).map(|n| edge(&format!("edge-{n}"), "north", &[&format!("192.0.2.{n}")], n != gone)).collect::<Vec<_>>();
    let (full, less) = (zone(&[], edges(0)), zone(&[], edges(3)));
    let mut shares: BTreeMap<u8, u32> = BTreeMap::new();
    for third in 0..=255 {
        let before = chosen(&full, &from(1, third));
        assert_eq!(before.len(), EDGES_PER_ANSWER_MAX);
        assert_eq!(before, chosen(&full, &Client::new(IpAddr::from([10, 1, third, 200]), 32)), "one /24, one answer");
        let after = chosen(&less, &from(1, third));
        if before[0] == 3 {
            assert_eq!(after[0], before[1], "the second edge takes over");
        } else {
            assert_eq!(after[0], before[0], "no other client moves");
        }
        *shares.entry(before[0]).or_default() += 1;
    }
    assert!(shares.len() == 4 && shares.values().all(|&share| (40..=90).contains(&share)), "{shares:?} of 256, 64 expected");
}

#[test]
fn an_edge_that_was_declared_answers_alone_and_its_region_while_it_cannot() {
    let edges = |up| {
        vec![edge("a", "north", &["192.0.2.1"], true), edge("b", "north", &["192.0.2.2"], up), edge("c", "south", &["192.0.2.3"], true)]
    };
    let both = zone(&["south"], edges(true));
    let declared = choice(&both, &from(3, 1), Wanted::Any);
    assert_eq!((declared.reason, declared.scope, declared.edges.len()), (Reason::Declared, 16, 1));
    assert_eq!(chosen(&both, &from(3, 1)), [2]);
    assert_eq!(chosen(&zone(&["south"], edges(false)), &from(3, 1)), [1]);
}

#[test]
fn weight_is_the_share_of_clients_that_an_edge_takes_and_none_is_taken_from_all() {
    let edges = |weight| vec![Edge { weight, ..edge("a", "north", &["192.0.2.1"], true) }, edge("b", "north", &["192.0.2.2"], true)];
    let share = |weight| {
        let zone = zone(&[], edges(weight));
        (0..=255).filter(|&third| chosen(&zone, &from(1, third))[0] == 1).count()
    };
    let (usual, half, none) = (share(100), share(50), share(0));
    assert!((100..=156).contains(&usual) && (40..=88).contains(&half) && none == 0, "{usual} {half} {none} of 256");
    let alone = zone(&[], vec![Edge { weight: 0, ..edge("a", "north", &["192.0.2.1"], true) }]);
    assert_eq!(chosen(&alone, &from(1, 1)), [1]);
}

#[test]
fn an_edge_without_weight_answers_only_while_no_other_can_whatever_is_declared() {
    let edges = |weight, other_up| {
        let north = Edge { weight, ..edge("a", "north", &["192.0.2.1"], true) };
        vec![north, edge("c", "south", &["192.0.2.3"], other_up)]
    };
    assert_eq!(chosen(&zone(&[], edges(1, true)), &from(1, 1)), [1]);
    let without = zone(&["north"], edges(0, true));
    assert_eq!((chosen(&without, &from(1, 1)), chosen(&without, &from(9, 1))), (vec![3], vec![3]));
    assert_eq!(chosen(&zone(&[], edges(0, false)), &from(2, 1)), [1]);
    let explained = explain(&without, &Addresses::Steered, &from(1, 1), Wanted::Any, 0.0).expect("steered");
    let excluded = explained.considered.iter().find(|edge| edge.name == "a").and_then(|edge| edge.excluded);
    assert_eq!(excluded, Some(Excluded::Weight));
}

/// Clients of 10.9.1.0/24 are near the edge `a`, which has IPv4 alone, and far from `b`, which has both; `tried`, by number, is tried.
fn planned(tried: Option<u16>) -> Zone {
    let edges = vec![edge("a", "north", &["192.0.2.1"], true), edge("b", "north", &["2001:db8::2"], true)];
    let ranked = [(0, 10.0), (1, 200.0)].map(|(node, ms)| crate::plan::Ranked { node, ms, spread_ms: 1.0 });
    let row = Row::new(Prefix::of([10, 9, 1, 0].into(), 24), ranked).trying(tried.map(|node| (node, 100)));
    let mut plan = Plan::default().with_rows([row], []);
    let node = |edge: &Edge| crate::plan::Node { name: edge.name.clone(), price_ms: 0.0, utilization: None };
    plan.nodes = Arc::new(edges.iter().map(node).collect());
    Zone::build(Arc::new(State { ttl: Duration::from_secs(20), edges, plan: Arc::new(plan), ..State::default() }))
}

#[test]
fn an_edge_with_the_wanted_family_answers_however_far_it_is_while_no_nearer_one_has_it() {
    let first = |zone: &Zone, wanted| choice(zone, &from(9, 1), wanted).edges.iter().map(|edge| edge.name.clone()).collect::<Vec<_>>();
    let steady = planned(None);
    assert_eq!((first(&steady, Wanted::Ipv4), first(&steady, Wanted::Ipv6)), (vec!["a".into()], vec!["b".into()]));
    assert_eq!(first(&steady, Wanted::Any), ["a"], "the other is too far to be named second");
    let trying = planned(Some(1));
    assert_eq!((first(&trying, Wanted::Ipv4), first(&trying, Wanted::Any)), (vec!["a".into()], vec!["b".to_owned(), "a".into()]));
}

#[test]
fn of_a_declared_region_the_one_that_is_tried_answers_for_as_long_and_never_one_of_another() {
    let edges = || {
        let (a, b) = (edge("a", "north", &["192.0.2.1"], true), edge("b", "north", &["192.0.2.2"], true));
        vec![a, b, edge("c", "south", &["192.0.2.3"], true)]
    };
    let tried = |node: Option<u16>| {
        let ranked = [(0, 10.0), (1, 15.0), (2, 5.0)].map(|(node, ms)| crate::plan::Ranked { node, ms, spread_ms: 1.0 });
        let row = Row::new(Prefix::of([10, 1, 1, 0].into(), 24), ranked).with(Why::Measured, 7).trying(node.map(|node| (node, 12)));
        let mut plan = Plan::default().with_rows([row], []);
        let node = |edge: &Edge| crate::plan::Node { name: edge.name.clone(), price_ms: 0.0, utilization: None };
        plan.nodes = Arc::new(edges().iter().map(node).collect());
        let declared = vec![("10.1.0.0/16".parse().expect("valid"), Target::Region("north".into()))];
        let (ttl, plan) = (Duration::from_secs(20), Arc::new(plan));
        Zone::build(Arc::new(State { ttl, coverage: declared, edges: edges(), plan, ..State::default() }))
    };
    let first = |zone: &Zone| {
        let choice = choice(zone, &from(1, 1), Wanted::Ipv4);
        (choice.edges[0].name.clone(), choice.reason, choice.ttl.as_secs())
    };
    assert_eq!(first(&tried(None)), ("a".into(), Reason::Declared, 7), "as long as the row says");
    assert_eq!(first(&tried(Some(1))), ("b".into(), Reason::Explored, 12));
    assert_eq!(first(&tried(Some(2))), ("a".into(), Reason::Declared, 7));
}

/// Everybody is at 50 degrees north in network 1.
#[derive(Debug)]
struct Here;

impl crate::geo::Places for Here {
    fn location(&self, _: IpAddr) -> Option<crate::geo::Location> {
        Some(crate::geo::Location { latitude: 50.0, longitude: 10.0 })
    }

    fn network(&self, _: IpAddr) -> Option<u32> {
        Some(1)
    }
}

/// Edges `a` and `b`, some degrees north of everybody, and what is known of the network and of the price of `a`.
fn here(degrees: [f32; 2], network: crate::plan::Network, price_ms: f32) -> Zone {
    let at = |name: &str, last: u8, north: f32| {
        let location = Some(crate::geo::Location { latitude: 50.0 + north, longitude: 10.0 });
        Edge { location, ..edge(name, "world", &[&format!("192.0.2.{last}")], true) }
    };
    let edges = vec![at("a", 1, degrees[0]), at("b", 2, degrees[1])];
    let node = |name: &str, price_ms| crate::plan::Node { name: name.into(), price_ms, utilization: None };
    let nodes = Arc::new(vec![node("a", price_ms), node("b", 0.0)]);
    let mut plan = Plan::default();
    (plan.nodes, plan.networks) = (nodes, Arc::new(BTreeMap::from([(1, network)])));
    Zone::build(Arc::new(State { edges, plan: Arc::new(plan), geo: Some(Arc::new(Here)), ..State::default() }))
}

#[test]
fn a_network_that_is_slow_everywhere_prefers_no_edge_for_never_having_been_measured_to_it() {
    let slow = |offset_ms| here([1.0, 5.0], crate::plan::Network { offset_ms, nodes: vec![(0, 30.0)] }, 0.0);
    let first = |zone: &Zone| choice(zone, &from(9, 1), Wanted::Ipv4).edges[0].name.clone();
    assert_eq!(first(&slow(30.0)), "a", "the nearer one, as all are slow");
    assert_eq!(first(&slow(0.0)), "b", "the way to the nearer one alone is a detour");
}

#[test]
fn the_explanation_has_the_latency_that_was_chosen_by() {
    let zone = here([1.0, 5.0], crate::plan::Network { offset_ms: 2.0, nodes: vec![(0, 30.0)] }, 0.0);
    let explained = explain(&zone, &Addresses::Steered, &from(9, 1), Wanted::Any, 0.0).expect("steered");
    let told: Vec<(&str, f64)> = explained.considered.iter().map(|one| (one.name.as_str(), one.ms.expect("a latency").round())).collect();
    assert_eq!((explained.choice.edges[0].name.as_str(), told), ("b", vec![("b", 18.0), ("a", 40.0)]));
}

#[test]
fn where_no_edge_of_the_row_may_answer_the_one_that_does_is_not_excluded() {
    let near = here([1.0, 5.0], crate::plan::Network::default(), 0.0);
    let row = Row::new(Prefix::of([10, 9, 1, 0].into(), 24), [crate::plan::Ranked { node: 0, ms: 9.0, spread_ms: 1.0 }]);
    let mut state = State::clone(near.state());
    state.edges[0].up = false;
    state.plan = Arc::new(state.plan.with_rows([row], []));
    let zone = Zone::build(Arc::new(state));
    let explained = explain(&zone, &Addresses::Steered, &from(9, 1), Wanted::Any, 0.0).expect("steered");
    let excluded: Vec<(&str, Option<Excluded>)> = explained.considered.iter().map(|one| (one.name.as_str(), one.excluded)).collect();
    assert_eq!(excluded, [("b", None), ("a", Some(Excluded::Down))]);
    assert_eq!(explained.choice.edges[0].name, "b");
}

#[test]
fn as_an_edge_becomes_dearer_its_unmeasured_clients_leave_it_a_few_at_a_time() {
    let left = |price_ms: f32| {
        let zone = here([1.0, 5.0], crate::plan::Network::default(), price_ms);
        (0..=255).filter(|&third| choice(&zone, &from(9, third), Wanted::Ipv4).edges[0].name == "b").count()
    };
    // The other one is 6.2 ms farther away.
    let counts = [0.0, 4.0, 5.0, 6.2, 8.0, 10.0, 13.0].map(left);
    assert!(counts[0] == 0 && counts[1] == 0 && counts[6] == 256 && counts.is_sorted(), "{counts:?}");
    assert!((32..=96).contains(&counts[2]) && (96..=160).contains(&counts[3]), "{counts:?}");
    let zone = here([1.0, 5.0], crate::plan::Network::default(), 6.2);
    for third in 0..=255 {
        let explained = explain(&zone, &Addresses::Steered, &from(9, third), Wanted::Any, 0.0).expect("steered");
        let total = |one: &Considered| one.ms.expect("a latency") + one.price_ms;
        assert!(total(&explained.considered[0]) <= total(&explained.considered[1]), "{:?}", explained.considered);
    }
}
