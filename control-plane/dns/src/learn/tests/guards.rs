//! What one node, one hot prefix or a clock may not do to the plan.

use super::*;

/// The names of a row's nodes, and of the one that is tried.
fn named(plan: &Plan, row: &Row, now: f64) -> Vec<String> {
    let numbers = row.ranked().map(|ranked| ranked.node).chain(row.trial(now).map(|(node, _)| node));
    numbers.map(|number| plan.nodes[usize::from(number)].name.clone()).collect()
}

#[test]
fn an_old_report_of_another_node_is_no_demand() {
    let mut house = House::new(&["a", "b", "liar"], ["10.1.1.0/24".to_owned()]);
    let ms = |_: &str, node: &str| BTreeMap::from([("a", 10.0), ("b", 40.0), ("liar", 90.0)])[node];
    house.run(300.0, ms, |_| 2.0, 1_000.0);
    let now = house.now as u32;
    house.learner.table.entries_mut().for_each(|entry| entry.changed(now - 60));
    for _ in 0..20 {
        let lie = Measured { age: AGE_MAX, ..measured("10.1.1.0/24", 90.0, 65_536) };
        house.learner.told(house.now, "liar", &[lie]);
        house.run(STEP_S, ms, |_| 2.0, 1_000.0);
    }
    let rate = house.learner.table.entries()[0].rate;
    assert!((1.0..4.0).contains(&rate), "{rate} samples a second, 2 of them true");
}

#[test]
fn a_node_that_is_drained_is_neither_ranked_nor_tried_from_the_next_plan_on() {
    let prefixes = (0..100).map(|nth| format!("10.{nth}.1.0/24"));
    let mut house = House::new(&["a", "b", "c"], prefixes);
    let ms = |_: &str, node: &str| BTreeMap::from([("a", 30.0), ("b", 10.0), ("c", 40.0)])[node];
    house.run(300.0, ms, |_| 2.0, 1_000.0);
    house.state.edges.remove(0);
    house.now += STEP_S;
    house.plan();
    let plan = &house.state.plan;
    let past = plan.rows().filter(|row| named(plan, row, house.now).iter().any(|name| name == "a")).count();
    assert_eq!(past, 0, "of {} rows", plan.len());
}

#[test]
fn what_is_tried_is_a_small_share_of_traffic_however_hot_one_prefix_is() {
    let prefixes = (0..120).map(|nth| format!("10.{nth}.1.0/24"));
    let mut house = House::new(&["a", "b"], prefixes);
    let mut most: f64 = 0.0;
    for _ in 0..60 {
        house.run(STEP_S, |_, _| 40.0, |prefix| if prefix == "10.7.1.0/24" { 100.0 } else { 1.0 }, 10_000.0);
        most = most.max(house.state.plan.summary.explored);
    }
    assert!(most > 0.0 && most < 0.03, "{most} of all samples");
}

#[test]
fn a_wide_prefix_that_one_node_speaks_of_is_answered_by_geography() {
    let mut house = House::new(&["north", "south"], []);
    house.state.geo = Some(Arc::new(Known));
    for (edge, latitude) in house.state.edges.iter_mut().zip([48.0, -28.0]) {
        edge.location = Some(Location { latitude, longitude: 10.0 });
    }
    house.plan();
    house.learner.told(house.now, "south", &[measured("10.1.0.0/16", 90.0, 3)]);
    house.plan();
    let choice = house.choice("10.1.7.0/24");
    assert_eq!((choice.edges[0].name.as_str(), choice.reason), ("north", Reason::Geography));
    house.learner.told(house.now, "north", &[measured("10.1.0.0/16", 120.0, 3)]);
    house.plan();
    assert_ne!(house.choice("10.1.7.0/24").reason, Reason::Geography, "two speak of it");
    house.learner.table.entries_mut().for_each(|entry| entry.forget(1));
    house.plan();
    assert_eq!(house.choice("10.1.7.0/24").reason, Reason::Geography, "and one again");
}

#[test]
fn what_no_place_however_wrong_allows_is_no_measurement_even_when_nobody_else_measured() {
    let mut state = state(&["north", "far"]);
    state.geo = Some(Arc::new(Known));
    state.edges[0].location = Some(Location { latitude: 48.0, longitude: 10.0 });
    state.edges[1].location = Some(Location { latitude: -48.0, longitude: -170.0 });
    let mut learner = Learner::new(Settings::default());
    learner.plan(BEGIN, &state);
    learner.told(BEGIN + 1.0, "far", &[measured("10.1.1.0/24", 1.0, 3)]);
    learner.plan(BEGIN + 2.0, &state);
    assert!(
        learner.table.entries()[0].slots.iter().all(|slot| slot.node == NOBODY),
        "the first report is looked at once its place is known"
    );
    learner.told(BEGIN + 3.0, "far", &[measured("10.1.1.0/24", 1.0, 3)]);
    let again = learner.told(BEGIN + 4.0, "far", &[measured("10.1.1.0/24", 1.0, 3)]);
    assert_eq!(again.refused, BTreeMap::from([(Refused::FasterThanLight, 1)]));
    assert_eq!(learner.told(BEGIN + 4.0, "north", &[measured("10.1.1.0/24", 1.0, 3)]).taken, 1);
}

#[test]
fn what_a_node_can_do_is_as_it_was_after_a_while_away() {
    let mut house = House::new(&["a", "b"], (0..20).map(|nth| format!("10.1.{nth}.0/24")));
    let ms = |_: &str, node: &str| if node == "a" { 10.0 } else { 80.0 };
    house.run(300.0, ms, |_| 5.0, 400.0);
    let capacity = |house: &House| house.learner.loads.capacities()[0].expect("known");
    let before = capacity(&house);
    let edge = house.state.edges.remove(0);
    let until = house.now + 600.0;
    while house.now < until {
        house.learner.told(house.now, "a", &[measured("10.1.1.0/24", 10.0, 400)]);
        house.run(STEP_S, |_, _| 80.0, |_| 5.0, 400.0);
    }
    house.state.edges.insert(0, edge);
    house.run(30.0, ms, |_| 5.0, 400.0);
    let after = capacity(&house);
    assert!((0.5..2.0).contains(&(after / before)), "{before} {after}");
}

#[test]
fn a_clock_that_jumps_neither_forgets_nor_stands_still() {
    for jump in [f64::from(FORGET_AFTER_S) * 4.0, -f64::from(FORGET_AFTER_S) * 4.0] {
        let mut house = House::new(&["a", "b"], ["10.1.1.0/24", "10.2.1.0/24"].map(str::to_owned));
        let one = |_: &str, node: &str| if node == "a" { 10.0 } else { 80.0 };
        house.run(240.0, one, |_| 2.0, 1_000.0);
        house.now += jump;
        house.clients.values_mut().for_each(|client| client.1 = 0.0);
        house.plan();
        assert_eq!(house.state.plan.len(), 2, "after {jump} s");
        assert_eq!(house.choice("10.1.1.0/24").edges[0].name, "a");
        let other = |_: &str, node: &str| if node == "b" { 10.0 } else { 80.0 };
        house.run(90.0, other, |_| 2.0, 1_000.0);
        assert_eq!((house.at("10.1.1.0/24"), house.at("10.2.1.0/24")), ("b", "b"), "after {jump} s: {:?}", house.state.plan);
    }
}

#[test]
fn of_two_nodes_neither_decides_alone_by_how_much_a_network_is_farther() {
    let mut groups = Groups::default();
    let (network, geography) = (Group::Network(7), Geography::default());
    groups.told(network, 0, geography.ms(1_000.0) - 8.0, Some(1_000.0), 3, 1);
    groups.told(network, 1, geography.ms(2_000.0) + 8.0, Some(2_000.0), 3, 1);
    assert!(groups.offset(network, &geography).abs() < 0.1, "{}", groups.offset(network, &geography));
}

#[test]
fn how_much_groups_differ_is_not_for_one_node_to_say() {
    let mut groups = Groups::default();
    for turn in 0..20 {
        for network in 1..=200 {
            groups.told(Group::Network(network), 0, f64::from(turn % 2) * 400.0, Some(1_000.0), 3, 100 + turn);
        }
        for (network, node) in (1..=10).flat_map(|network| [(network, 1), (network, 2)]) {
            groups.told(Group::Network(network), node, 30.0, Some(1_000.0), 3, 100 + turn);
        }
    }
    groups.refresh(200, Geography::default());
    let pair = groups.of(Group::Network(3)).iter().find(|pair| pair.node == 1).expect("a pair");
    assert!(groups.variance(Group::Network(3), pair) < 100.0, "{}", groups.variance(Group::Network(3), pair));
}

#[test]
fn what_a_node_brought_in_is_known_after_a_restart() {
    let mut learner = Learner::new(Settings::default());
    learner.told(BEGIN, "a", &[measured("10.1.1.0/24", 20.0, 3), measured("10.1.2.0/24", 20.0, 3)]);
    learner.told(BEGIN, "b", &[measured("10.1.1.0/24", 20.0, 3)]);
    let again = Learner::from_octets(&learner.to_octets(), Settings::default()).expect("a learner");
    assert_eq!(again.nodes.iter().map(|node| node.brought).collect::<Vec<_>>(), [2, 0]);
}

#[test]
fn no_node_takes_all_places_of_groups() {
    let mut groups = Groups::default();
    for network in 1..=groups::PAIRS_MAX as u32 {
        groups.told(Group::Network(network), 0, 20.0, None, 1, 1);
    }
    groups.told(Group::Network(u32::MAX), 1, 20.0, None, 1, 1);
    assert_eq!((groups.all().count(), groups.of(Group::Network(u32::MAX)).len()), (groups::PAIRS_MAX / 2 + 1, 1));
}

/// Places that are other ones in the second edition, and networks too.
#[derive(Debug, Default)]
struct Renewed(std::sync::atomic::AtomicU64);

impl Places for Renewed {
    fn location(&self, _: std::net::IpAddr) -> Option<Location> {
        Some(Location { latitude: 10.0 * self.edition() as f32, longitude: 10.0 })
    }

    fn network(&self, _: std::net::IpAddr) -> Option<u32> {
        Some(64_500 + self.edition() as u32)
    }

    fn edition(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn prefixes_have_the_place_and_network_of_the_databases_that_are_read_last() {
    let mut state = state(&["a"]);
    let places = Arc::new(Renewed::default());
    state.geo = Some(Arc::clone(&places) as Arc<dyn Places>);
    let mut learner = Learner::new(Settings::default());
    learner.told(BEGIN, "a", &[measured("10.1.1.0/24", 30.0, 3)]);
    learner.plan(BEGIN, &state);
    let placed = |learner: &Learner| (learner.table.entries()[0].location.degrees(), learner.table.entries()[0].network);
    assert_eq!(placed(&learner), (Some((0, 1_000)), 64_500));
    places.0.store(1, std::sync::atomic::Ordering::Relaxed);
    learner.plan(BEGIN + STEP_S, &state);
    assert_eq!(placed(&learner), (Some((1_000, 1_000)), 64_501));
    assert_eq!(learner.groups.of(Group::Network(64_501)).len(), 1, "what was measured is of that network");
}

#[test]
fn prefixes_are_looked_up_in_databases_that_changed_while_nothing_ran() {
    let mut state = state(&["a"]);
    let mut learner = Learner::new(Settings::default());
    learner.told(BEGIN, "a", &[measured("10.1.1.0/24", 30.0, 3)]);
    learner.plan(BEGIN, &state);
    assert_eq!(learner.table.entries()[0].network, 0, "there were none");
    let mut again = Learner::from_octets(&learner.to_octets(), Settings::default()).expect("a learner");
    // As fresh ones are: their edition is the first.
    state.geo = Some(Arc::new(Renewed::default()));
    again.plan(BEGIN + STEP_S, &state);
    let entry = &again.table.entries()[0];
    assert_eq!((entry.location.degrees(), entry.network), (Some((0, 1_000)), 64_500));
}

#[test]
fn a_restart_while_a_node_is_tried_is_the_change_back() {
    let mut house = House::new(&["a", "b"], ["10.1.1.0/24".to_owned()]);
    house.run(60.0, |_, _| 20.0, |_| 2.0, 1_000.0);
    let now = house.now as u32;
    let entry = house.learner.table.entry(0);
    let before = entry.changes(now);
    (entry.trial, entry.trial_until) = (Number::from(entry.held == 0), now + 30);
    let changes = |learner: &Learner| learner.table.entries()[0].changes(now);
    let again = Learner::from_octets(&house.learner.to_octets(), Settings::default()).expect("a learner");
    assert_eq!((changes(&again), changes(&house.learner)), (before + 1, before));
}

#[test]
fn when_a_node_is_gone_one_that_was_left_long_ago_speaks_for_no_demand() {
    let mut entry = Entry::new(Prefix::of([10, 1, 1, 0].into(), 24), 2);
    (entry.held, entry.slow_rate) = (1, 2.0);
    let counted = |mut entry: Entry, now| {
        entry.asked(0, 20, now);
        entry.counted
    };
    entry.leave(0, 1_000);
    assert_eq!((counted(entry.clone(), 1_060), counted(entry.clone(), 2_000)), (20.0, 0.0));
    entry.part_with(|number| number == 1, 2_000);
    assert_eq!(counted(entry, 2_001), 0.0);
}
