//! Reports in, plans out: what is refused, what follows from it, and how steady it is.

mod guards;
mod numbers;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::geo::{Location, Places};
use crate::place::Client;
use crate::plan::{Row, Why};
use crate::state::{Edge, Target};
use crate::steer::{Choice, Reason, Wanted, choose};
use crate::zone::{Addresses, Zone};

const BEGIN: f64 = 1e9;
const STEP_S: f64 = 5.0;

fn edge(name: &str, last: u8) -> Edge {
    Edge { name: name.into(), region: name.into(), addresses: vec![[192, 0, 2, last].into()], ..Edge::default() }
}

fn state(edges: &[&str]) -> State {
    let edges = edges.iter().zip(1..).map(|(name, last)| edge(name, last)).collect();
    State { zone: "cdn.test".into(), ttl: Duration::from_secs(20), edges, ..State::default() }
}

fn measured(prefix: &str, ms: f64, count: u32) -> Measured {
    let round_trip = Duration::from_secs_f64(ms / 1_000.0);
    Measured { prefix: prefix.parse().expect("a prefix"), count, smoothed: round_trip, least: round_trip, age: Duration::ZERO }
}

/// A CDN and its clients: every prefix asks when its answer holds no more, and is measured by whom it goes to.
struct House {
    now: f64,
    learner: Learner,
    state: State,
    /// By prefix: whom it goes to, until when, and how often that changed.
    clients: BTreeMap<String, (String, f64, u32)>,
    zone: Zone,
}

impl House {
    fn new(edges: &[&str], prefixes: impl IntoIterator<Item = String>) -> Self {
        let state = state(edges);
        let zone = Zone::build(Arc::new(state.clone()));
        let clients = prefixes.into_iter().map(|prefix| (prefix, (String::new(), 0.0, 0))).collect();
        Self { now: BEGIN, learner: Learner::new(Settings::default()), state, clients, zone }
    }

    fn choice(&self, prefix: &str) -> Choice<'_> {
        let net: IpNet = prefix.parse().expect("a prefix");
        let client = Client::new(net.addr(), net.prefix_len());
        choose(&self.zone, &Addresses::Steered, &client, Wanted::Any, self.now).expect("steered")
    }

    /// For so many seconds with these round trips, by prefix and node in ms, so many samples a second, and what a node can do of them.
    fn run(&mut self, seconds: f64, ms: impl Fn(&str, &str) -> f64, rate: impl Fn(&str) -> f64, capacity: f64) {
        let until = self.now + seconds;
        while self.now < until {
            let mut reports: BTreeMap<String, Vec<Measured>> = BTreeMap::new();
            let mut loads: BTreeMap<String, f64> = BTreeMap::new();
            for prefix in self.clients.keys().cloned().collect::<Vec<_>>() {
                if self.clients[&prefix].1 <= self.now {
                    let choice = self.choice(&prefix);
                    let (name, holds) = (choice.edges.first().expect("an edge").name.clone(), self.now + choice.ttl.as_secs_f64());
                    let client = self.clients.get_mut(&prefix).expect("a client");
                    client.2 += u32::from(!client.0.is_empty() && client.0 != name);
                    (client.0, client.1) = (name, holds);
                }
                let node = self.clients[&prefix].0.clone();
                *loads.entry(node.clone()).or_default() += rate(&prefix);
                let count = (rate(&prefix) * STEP_S) as u32;
                reports.entry(node.clone()).or_default().push(measured(&prefix, ms(&prefix, &node), count));
            }
            self.now += STEP_S;
            for edge in &mut self.state.edges {
                self.learner.told(self.now, &edge.name, reports.get(&edge.name).map_or(&[], Vec::as_slice));
                edge.utilization = Some((loads.get(&edge.name).copied().unwrap_or(0.0) / capacity) as f32);
            }
            self.plan();
        }
    }

    fn plan(&mut self) {
        self.state.plan = Arc::new(self.learner.plan(self.now, &self.state));
        self.zone = Zone::build(Arc::new(self.state.clone()));
    }

    fn at(&self, prefix: &str) -> &str {
        &self.clients[prefix].0
    }
}

#[test]
fn what_cannot_be_is_refused_by_its_reason_and_the_rest_is_taken() {
    let mut learner = Learner::new(Settings::default());
    let usual = measured("10.1.2.0/24", 20.0, 3);
    let report = [
        usual,
        measured("10.1.2.128/25", 20.0, 3),
        measured("8.0.0.0/5", 20.0, 3),
        measured("10.1.3.0/24", 20.0, 0),
        Measured { least: Duration::from_millis(21), ..usual },
        measured("10.1.4.0/24", 10_001.0, 3),
        Measured { age: AGE_MAX + Duration::from_secs(1), ..usual },
        measured("2001:db8:1::/48", 30.0, 1),
    ];
    let taken = learner.told(BEGIN, "edge-1", &report);
    let refused = BTreeMap::from([(Refused::Absurd, 4), (Refused::Slow, 1), (Refused::Old, 1)]);
    assert_eq!((taken, learner.prefixes()), (Taken { taken: 2, refused }, 2));
}

#[test]
fn a_measurement_that_two_witnesses_contradict_is_refused_and_what_its_node_said_before_forgotten() {
    let at = |latitude, longitude| Some(Location { latitude, longitude });
    let mut state = state(&["berlin", "paris", "sydney"]);
    state.edges[0].location = at(52.5, 13.4);
    state.edges[1].location = at(48.9, 2.4);
    state.edges[2].location = at(-33.9, 151.2);
    let mut learner = Learner::new(Settings::default());
    learner.plan(BEGIN, &state);
    let told = |learner: &mut Learner, node, ms| learner.told(BEGIN + 1.0, node, &[measured("10.1.2.0/24", ms, 3)]);
    assert_eq!(told(&mut learner, "sydney", 3.0).taken, 1, "nobody knows better");
    assert_eq!(told(&mut learner, "berlin", 10.0).taken, 1, "one against one");
    assert_eq!(told(&mut learner, "paris", 14.0).taken, 1, "it agrees with berlin");
    assert_eq!(told(&mut learner, "sydney", 3.0).refused, BTreeMap::from([(Refused::FasterThanLight, 1)]));
    let plan = learner.plan(BEGIN + 2.0, &state);
    let row = plan.row(Prefix::of([10, 1, 2, 0].into(), 24)).expect("a row");
    let first = row.ranked().next().expect("a node");
    assert_eq!(plan.nodes[usize::from(first.node)].name, "berlin");
}

#[test]
fn clients_go_to_the_faster_node_and_follow_within_a_minute_when_it_is_another() {
    let prefixes = ["10.1.1.0/24", "10.2.1.0/24"].map(str::to_owned);
    let mut house = House::new(&["a", "b"], prefixes);
    let one = |_: &str, node: &str| if node == "a" { 10.0 } else { 80.0 };
    house.run(240.0, one, |_| 2.0, 1_000.0);
    assert_eq!((house.at("10.1.1.0/24"), house.at("10.2.1.0/24")), ("a", "a"));
    assert_eq!(house.choice("10.1.1.0/24").reason, Reason::Measured);
    let other = |_: &str, node: &str| if node == "b" { 10.0 } else { 80.0 };
    house.run(60.0, other, |_| 2.0, 1_000.0);
    assert_eq!((house.at("10.1.1.0/24"), house.at("10.2.1.0/24")), ("b", "b"), "{:?}", house.state.plan);
}

#[test]
fn a_node_that_fails_is_no_answer_from_that_state_on_and_no_change_of_the_kind_that_is_counted() {
    let mut house = House::new(&["a", "b", "c"], ["10.1.1.0/24".to_owned()]);
    let ms = |_: &str, node: &str| BTreeMap::from([("a", 10.0), ("b", 20.0), ("c", 90.0)])[node];
    house.run(300.0, ms, |_| 2.0, 1_000.0);
    assert_eq!(house.at("10.1.1.0/24"), "a");
    house.state.edges[0].up = false;
    house.zone = Zone::build(Arc::new(house.state.clone()));
    assert_eq!(house.choice("10.1.1.0/24").edges[0].name, "b", "by the plan that was made before");
    house.plan();
    let first = house.state.plan.rows().next().and_then(|row| row.ranked().next()).expect("a node");
    assert_eq!(house.state.plan.nodes[usize::from(first.node)].name, "b", "{:?}", house.state.plan.rows().next());
}

#[test]
fn a_crowd_spills_to_the_next_best_before_a_node_is_full_and_only_as_much_of_it_as_must() {
    let prefixes: Vec<String> = (0..200).map(|nth| format!("10.1.{nth}.0/24")).collect();
    let mut house = House::new(&["a", "b", "c"], prefixes.clone());
    let ms = |_: &str, node: &str| BTreeMap::from([("a", 10.0), ("b", 40.0), ("c", 90.0)])[node];
    house.run(600.0, ms, |_| 1.0, 400.0);
    let share = |house: &House, node: &str| prefixes.iter().filter(|prefix| house.at(prefix) == node).count();
    assert!(share(&house, "a") >= 196, "half of what it can do: {}", share(&house, "a"));
    house.run(600.0, ms, |_| 3.0, 400.0);
    let (a, b) = (share(&house, "a"), share(&house, "b"));
    let utilization = |count: usize| count as f64 * 3.0 / 400.0;
    assert!((0.7..0.9).contains(&utilization(a)), "{a} {b}");
    assert!((0.5..0.9).contains(&utilization(b)), "{a} {b}");
    let spilled = prefixes.iter().filter(|prefix| house.choice(prefix).reason == Reason::Spilled).count();
    assert!(spilled >= b / 2, "{spilled} of {b} {a} {:?}", house.state.plan);
    assert!(house.clients.values().all(|client| client.2 <= 4), "changes within twenty minutes");
}

#[test]
fn what_is_declared_is_planned_for_and_answered_whatever_was_measured() {
    let mut house = House::new(&["a", "b"], ["10.1.1.0/24".to_owned()]);
    house.state.coverage = vec![("10.1.0.0/16".parse().expect("a prefix"), Target::Node("b".into()))];
    house.zone = Zone::build(Arc::new(house.state.clone()));
    house.run(120.0, |_, node| if node == "a" { 10.0 } else { 80.0 }, |_| 2.0, 1_000.0);
    assert_eq!((house.at("10.1.1.0/24"), house.choice("10.1.1.0/24").reason), ("b", Reason::Declared));
    assert_eq!(house.state.plan.summary.regret_ms, 0.0, "nothing better may be chosen");
}

/// North or south, by the second number; each pair of two third numbers is a network.
#[derive(Debug)]
struct Known;

impl Places for Known {
    fn location(&self, address: std::net::IpAddr) -> Option<Location> {
        let std::net::IpAddr::V4(address) = address else { return None };
        Some(Location { latitude: if address.octets()[1] == 1 { 50.0 } else { -30.0 }, longitude: 10.0 })
    }

    fn network(&self, address: std::net::IpAddr) -> Option<u32> {
        let std::net::IpAddr::V4(address) = address else { return None };
        Some(u32::from(address.octets()[1]))
    }
}

#[test]
fn who_was_never_measured_is_answered_by_place_and_by_what_is_known_of_its_network() {
    let mut house = House::new(&["north", "south"], ["10.1.1.0/24", "10.2.1.0/24"].map(str::to_owned));
    house.state.geo = Some(Arc::new(Known));
    for (edge, latitude) in house.state.edges.iter_mut().zip([48.0, -28.0]) {
        edge.location = Some(Location { latitude, longitude: 10.0 });
    }
    house.plan();
    let first = |house: &House, prefix: &str| {
        let choice = house.choice(prefix);
        (choice.edges[0].name.clone(), choice.reason, choice.scope)
    };
    assert_eq!(first(&house, "10.1.200.0/24"), ("north".into(), Reason::Geography, 24));
    assert_eq!(first(&house, "10.2.200.0/24"), ("south".into(), Reason::Geography, 24));
    // From the network of 10.2 the way to the south is a detour.
    let ms = |prefix: &str, node: &str| if prefix.starts_with("10.2") && node == "south" { 250.0 } else { 130.0 };
    house.run(300.0, ms, |_| 2.0, 1_000.0);
    assert_eq!(first(&house, "10.2.200.0/24").0, "north", "{:?}", house.state.plan.networks);
}

#[test]
fn a_node_that_lies_moves_no_more_than_its_own_latencies() {
    let prefixes: Vec<String> = (0..50).map(|nth| format!("10.1.{nth}.0/24")).collect();
    let mut honest = House::new(&["a", "b", "liar"], prefixes.clone());
    let ms = |_: &str, node: &str| BTreeMap::from([("a", 10.0), ("b", 40.0), ("liar", 90.0)])[node];
    honest.run(300.0, ms, |_| 1.0, 400.0);
    let before: Vec<String> = prefixes.iter().map(|prefix| honest.at(prefix).to_owned()).collect();
    for _ in 0..20 {
        let lies: Vec<Measured> = prefixes.iter().map(|prefix| measured(prefix, 9_000.0, u32::MAX)).collect();
        honest.learner.told(honest.now, "liar", &lies);
        honest.run(STEP_S, ms, |_| 1.0, 400.0);
    }
    let moved = prefixes.iter().zip(&before).filter(|(prefix, before)| honest.at(prefix) != before.as_str()).count();
    assert!(moved <= 4, "{moved} moved: two may try a node, and two be on their way back from that");
    let row = honest.state.plan.row(Prefix::of([10, 1, 1, 0].into(), 24)).expect("a row");
    assert!(row.why == Why::Measured && honest.state.plan.summary.mean_ms < 12.0, "{row:?} {:?}", honest.state.plan.summary);
}

#[test]
fn what_was_learned_is_the_same_after_a_restart_and_octets_that_are_damaged_are_refused() {
    let prefixes: Vec<String> = (0..40).map(|nth| format!("10.{}.{nth}.0/24", nth % 2 + 1)).collect();
    let mut house = House::new(&["north", "south"], prefixes.clone());
    house.state.geo = Some(Arc::new(Known));
    for (edge, latitude) in house.state.edges.iter_mut().zip([48.0, -28.0]) {
        edge.location = Some(Location { latitude, longitude: 10.0 });
    }
    house.run(300.0, |prefix, node| if prefix.starts_with("10.1") == (node == "north") { 15.0 } else { 95.0 }, |_| 1.0, 100.0);
    let octets = house.learner.to_octets();
    let mut again = Learner::from_octets(&octets, Settings::default()).expect("a learner");
    assert!(again.to_octets() == octets);
    let before: BTreeMap<Prefix, Row> = house.state.plan.rows().map(|row| (row.prefix, *row)).collect();
    let plan = again.plan(house.now + STEP_S, &house.state);
    assert_eq!(plan.len(), before.len());
    for row in plan.rows() {
        assert_eq!(row.ranked().next().map(|ranked| ranked.node), before[&row.prefix].ranked().next().map(|ranked| ranked.node), "{row:?}");
    }
    for cut in [0, 7, 8, 15, octets.len() / 2, octets.len() - 1] {
        assert!(Learner::from_octets(&octets[..cut], Settings::default()).is_err(), "{cut} octets of {}", octets.len());
    }
    let mut damaged = octets.clone();
    damaged[octets.len() / 3] ^= 0x10;
    assert!(Learner::from_octets(&damaged, Settings::default()).unwrap_err().contains("damaged"));
    let later = (1..=8).map(|nth| again.plan(house.now + f64::from(FORGET_AFTER_S / 7 * nth), &house.state).len());
    assert_eq!(later.last(), Some(0), "what is old is forgotten");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn octets_with_a_sum_that_is_right_are_a_learner_or_refused(content in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut octets = [b"skerryL2".as_slice(), &content].concat();
        octets.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&octets).to_le_bytes());
        if let Ok(mut learner) = Learner::from_octets(&octets, Settings::default()) {
            learner.plan(BEGIN, &state(&["a", "b"]));
        }
    }

    #[test]
    fn no_report_breaks_the_learner_and_a_plan_names_only_nodes_that_there_are(
        reports in prop::collection::vec(
            (0_u8..6, prop::collection::vec((any::<u32>(), 0_u8..=32, any::<u32>(), any::<u32>(), any::<u32>()), 0..20), 0_f64..1e4), 0..12),
        utilization in prop::collection::vec(any::<f32>(), 4),
    ) {
        let mut state = state(&["a", "b", "c", "d"]);
        for (edge, utilization) in state.edges.iter_mut().zip(utilization) {
            edge.utilization = Some(utilization);
        }
        let mut learner = Learner::new(Settings::default());
        let mut now = BEGIN;
        for (node, report, later) in reports {
            let report: Vec<Measured> = report.into_iter().map(|(bits, length, micros, least, age)| Measured {
                prefix: IpNet::new(bits.to_be_bytes().into(), length).expect("a prefix"),
                count: age,
                smoothed: Duration::from_micros(micros.into()),
                least: Duration::from_micros(least.into()),
                age: Duration::from_millis(age.into()),
            }).collect();
            let taken = learner.told(now, &format!("node-{node}"), &report);
            prop_assert_eq!(taken.taken + taken.refused.values().sum::<usize>(), report.len());
            now += later;
            let plan = learner.plan(now, &state);
            prop_assert_eq!(plan.len(), learner.prefixes());
            for row in plan.rows() {
                prop_assert!(row.ranked().count() > 0);
                for ranked in row.ranked() {
                    let name = &plan.nodes[usize::from(ranked.node)].name;
                    prop_assert!(state.edges.iter().any(|edge| edge.name == *name));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn no_prefix_changes_more_often_than_four_times_an_hour_whatever_is_measured(seed in any::<u64>()) {
        let prefixes: Vec<String> = (0..12).map(|nth| format!("10.{nth}.1.0/24")).collect();
        let mut house = House::new(&["a", "b", "c", "d"], prefixes);
        let begin = house.now;
        for turn in 0..60_u64 {
            let ms = |prefix: &str, node: &str| {
                let mixed = xxhash_rust::xxh3::xxh3_64_with_seed(format!("{prefix}{node}{turn}").as_bytes(), seed);
                5.0 + (mixed % 200) as f64
            };
            house.run(60.0, ms, |_| 4.0, 30.0);
            prop_assert!(house.now <= begin + 3_600.0);
        }
        let most = house.clients.values().map(|client| client.2).max();
        prop_assert!(most <= Some(5), "{:?}: four, and the first move of all from where it was answered before anything was known", most);
    }
}
