//! Which names exist, and who owns them.

use super::*;
use crate::sample::state;
use crate::state::{Edge, Site};

fn name(text: &str) -> Name {
    Name::from_text(text).expect("a name")
}

fn check(zone: &Zone, asked: &str, expected: &Found<'_>) {
    assert_eq!(&zone.find(name(asked).octets()), expected, "{asked}");
}

fn alias(target: &str) -> Owned {
    Owned { alias: Some(Alias { target: name(target), ttl_s: STEADY_TTL_S }), ..Owned::default() }
}

fn steered() -> Owned {
    Owned { addresses: Some(Addresses::Steered), ..Owned::default() }
}

fn reserved() -> Owned {
    Owned { is_reserved: true, ..Owned::default() }
}

#[test]
fn every_name_has_its_owner() {
    let zone = crate::sample::zone();
    let target = name("shop.cdn.test.");
    let fixed = Set { record_type: Type::A, ttl_s: STEADY_TTL_S, data: vec![Data::octets(vec![192, 0, 2, 2])] };
    let Found::Owned(apex) = zone.find(name("cdn.test.").octets()) else { panic!("the zone") };
    assert_eq!(apex.addresses, Some(Addresses::Steered));
    assert_eq!(apex.sets.iter().map(|set| set.record_type).collect::<Vec<_>>(), [Type::SOA, Type::TXT, Type::NS]);
    check(&zone, "SHOP.cdn.TEST.", &Found::Owned(&steered()));
    check(&zone, "www.cdn.test.", &Found::Owned(&alias("shop.cdn.test.")));
    check(&zone, "edge-s.nodes.cdn.test.", &Found::Owned(&Owned { sets: vec![fixed], ..Owned::default() }));
    check(&zone, "nodes.cdn.test.", &Found::Owned(&reserved()));
    check(&zone, "img.cdn.test.", &Found::Owned(&Owned::default()));
    check(&zone, "x.img.cdn.test.", &Found::Wildcard(&target));
    check(&zone, "x.y.img.cdn.test.", &Found::Wildcard(&target));
    check(&zone, "a.img.cdn.test.", &Found::Wildcard(&target));
    check(&zone, "x.a.img.cdn.test.", &Found::Wildcard(&target));
    check(&zone, "edge-w1.shop.cdn.test.", &Found::Edge(Addresses::Edge(2)));
    check(&zone, "nothing.cdn.test.", &Found::Missing);
    check(&zone, "shop.example.com.", &Found::Outside);
    check(&zone, "test.", &Found::Outside);
    check(&zone, "xcdn.test.", &Found::Outside);
    assert_eq!(zone.find(b"\0"), Found::Outside, "the root");
}

#[test]
fn the_names_of_edges_are_out_of_reach_of_wildcards_and_sites_named_alike() {
    let mut state = state();
    state.sites = vec![Site { name: "all".into(), hosts: vec!["*.cdn.test".into(), "x.nodes.cdn.test".into()], ..Site::default() }];
    let zone = Zone::build(Arc::new(state));
    check(&zone, "any.cdn.test.", &Found::Wildcard(&name("all.cdn.test.")));
    check(&zone, "edge-s.all.cdn.test.", &Found::Edge(Addresses::Edge(1)));
    check(&zone, "edge-s.any.cdn.test.", &Found::Wildcard(&name("all.cdn.test.")));
    check(&zone, "nodes.cdn.test.", &Found::Owned(&reserved()));
    check(&zone, "gone.nodes.cdn.test.", &Found::Missing);
    check(&zone, "x.nodes.cdn.test.", &Found::Owned(&alias("all.cdn.test.")));
}

#[test]
fn what_is_learned_anew_leaves_the_names_as_they_are() {
    let before = crate::sample::zone();
    let plan = Arc::new(crate::plan::Plan::default());
    let after = before.next(Arc::new(crate::state::State { plan, ..state() }));
    assert!(Arc::ptr_eq(&before.names, &after.names) && Arc::ptr_eq(&before.coverage, &after.coverage));
    let after = before.next(Arc::new(crate::state::State { sites: Vec::new(), ..state() }));
    check(&after, "shop.cdn.test.", &Found::Missing);
    let after = after.next(Arc::new(state()));
    check(&after, "shop.cdn.test.", &Found::Owned(&steered()));
}

#[test]
fn an_edge_that_does_not_have_a_site_is_no_answer_for_it_even_when_it_is_the_only_one() {
    let mut state = state();
    let edges: Vec<String> = state.edges.iter().map(|edge| edge.name.clone()).collect();
    state.sites = ["all", "none", "some", "few"].map(|name| Site { name: name.into(), ..Site::default() }).into();
    let but_one: Arc<std::collections::BTreeSet<String>> = Arc::new(edges.iter().skip(1).cloned().collect());
    state.lacking.insert("none".into(), Arc::new(edges.iter().cloned().collect()));
    state.lacking.insert("some".into(), Arc::clone(&but_one));
    state.lacking.insert("few".into(), but_one);
    let zone = Zone::build(Arc::new(state));
    let client = crate::place::Client::host("192.0.2.1".parse().expect("valid"));
    let candidates = |site: &str| match zone.find(name(&format!("{site}.cdn.test.")).octets()) {
        Found::Owned(Owned { addresses: Some(addresses), .. }) => {
            crate::steer::choose(&zone, addresses, &client, crate::steer::Wanted::Any, 0.0).expect("steered").edges.len()
        }
        found => panic!("{found:?}"),
    };
    assert!(candidates("all") > 0);
    assert_eq!((candidates("none"), candidates("some"), candidates("few")), (0, 1, 1));
    assert_eq!(zone.among.len(), 2, "what the same edges lack is compiled once");
}

#[test]
fn the_first_owner_of_a_name_keeps_it() {
    let mut state = state();
    state.sites = vec![
        Site { name: "ns1".into(), hosts: vec!["ns1.cdn.test".into(), "two.cdn.test".into()], ..Site::default() },
        Site { name: "two".into(), hosts: vec!["nodes.cdn.test".into()], ..Site::default() },
    ];
    let zone = Zone::build(Arc::new(state));
    assert!(matches!(zone.find(name("ns1.cdn.test.").octets()), Found::Owned(Owned { addresses: None, sets, .. }) if sets.len() == 2));
    check(&zone, "two.cdn.test.", &Found::Owned(&steered()));
    check(&zone, "nodes.cdn.test.", &Found::Owned(&reserved()));
}

#[test]
fn a_state_without_a_zone_or_with_names_that_are_none_is_compiled_without_them() {
    let zone = Zone::build(Arc::new(State::default()));
    assert_eq!(zone.apex(), None);
    check(&zone, "cdn.test.", &Found::Outside);

    let long = "x".repeat(64);
    let mut state = state();
    state.sites = vec![Site { name: long.clone(), hosts: vec![format!("{long}.cdn.test"), "..".into(), String::new()], ..Site::default() }];
    state.edges.push(Edge { name: long, region: "north".into(), ..Edge::default() });
    let zone = Zone::build(Arc::new(state.clone()));
    check(&zone, "nothing.cdn.test.", &Found::Missing);
    state.zone = "..".into();
    check(&Zone::build(Arc::new(state)), "cdn.test.", &Found::Outside);
}
