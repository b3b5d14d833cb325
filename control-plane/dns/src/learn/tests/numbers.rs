//! Nodes that come and go: their numbers go round, and nothing that was known of one is said of the next.

use super::*;

const OLD_MS: f64 = 3.0;
const OTHER_MS: f64 = 50.0;

/// The names of a row's nodes with what is expected of them, in ms.
fn named(plan: &Plan, prefix: &str) -> Vec<(String, f32)> {
    let net: IpNet = prefix.parse().expect("a prefix");
    let row = plan.row(Prefix::of(net.addr(), net.prefix_len())).expect("a row");
    row.ranked().map(|ranked| (plan.nodes[usize::from(ranked.node)].name.clone(), ranked.ms)).collect()
}

/// Tells, has only these nodes, and plans.
fn round(learner: &mut Learner, now: f64, names: &[String], told: &[(&str, &str, f64)]) -> Plan {
    for (node, prefix, ms) in told {
        assert_eq!(learner.told(now, node, &[measured(prefix, *ms, 5)]).taken, 1, "{node} at {now}");
    }
    learner.only(now, |name| names.iter().any(|has| has == name));
    let state = state(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let plan = learner.plan(now, &state);
    for row in plan.rows() {
        for number in row.ranked().map(|ranked| ranked.node).chain(row.trial(now).map(|(node, _)| node)) {
            let name = &plan.nodes[usize::from(number)].name;
            assert!(names.contains(name), "{name:?} is planned and not there");
        }
    }
    plan
}

#[test]
fn thousands_of_nodes_that_join_and_leave_take_no_number_from_the_next() {
    const AT_A_TIME: usize = 128;
    let mut learner = Learner::new(Settings::default());
    let mut now = BEGIN;
    for generation in 0..NODES_MAX / AT_A_TIME + 8 {
        let names: Vec<String> = (0..AT_A_TIME).map(|nth| format!("edge-{generation}-{nth}")).collect();
        for _ in 0..2 {
            now += STEP_S;
            let told: Vec<(&str, &str, f64)> = names.iter().map(|name| (name.as_str(), "10.1.1.0/24", OTHER_MS)).collect();
            round(&mut learner, now, &names, &told);
        }
    }
    let last = ["last".to_owned(), "new".to_owned()];
    for _ in 0..3 {
        now += STEP_S;
        let plan = round(&mut learner, now, &last, &[("last", "10.1.1.0/24", OTHER_MS), ("new", "10.1.1.0/24", OLD_MS)]);
        assert_eq!(named(&plan, "10.1.1.0/24").len(), 2);
    }
    assert_eq!(named(&learner.plan(now, &state(&["last", "new"])), "10.1.1.0/24").last().expect("two").0, "last");
    assert!(learner.nodes.len() <= 3 * AT_A_TIME, "{} numbers for two nodes", learner.nodes.len());
}

#[test]
fn what_a_node_measured_is_not_said_of_the_one_that_has_its_number_next() {
    let prefixes = ["10.1.1.0/24", "10.1.2.0/24", "10.9.1.0/24"];
    let mut learner = Learner::new(Settings::default());
    let mut house = ["other", "old"].map(str::to_owned).to_vec();
    let mut now = BEGIN;
    for _ in 0..12 {
        now += STEP_S;
        for prefix in prefixes {
            round(&mut learner, now, &house, &[("old", prefix, OLD_MS), ("other", prefix, OTHER_MS)]);
        }
    }
    let number = learner.numbers["old"];
    house.truncate(1);
    now += STEP_S;
    let without = round(&mut learner, now, &house, &[]);
    assert!(without.numbers().all(|planned| planned != number) && without.nodes[usize::from(number)].name.is_empty());
    assert_eq!(named(&without, prefixes[0]).len(), 1);
    // Written and read meanwhile: the number stays one that is nobody's.
    learner = Learner::from_octets(&learner.to_octets(), Settings::default()).expect("a learner");
    round(&mut learner, now, &house, &[]);
    house.push("new".to_owned());
    // As many plans as it takes to look at every prefix anew.
    for _ in 0..13 {
        now += STEP_S;
        round(&mut learner, now, &house, &[]);
    }
    assert_eq!(learner.numbers["new"], number, "it is free once no plan has it");
    let plan = round(&mut learner, now, &house, &[("other", prefixes[0], OTHER_MS)]);
    for prefix in prefixes {
        let named = named(&plan, prefix);
        assert_eq!(named[0].0, "other", "{named:?}");
        let new = named.iter().find(|(name, _)| name == "new").expect("ranked");
        assert!(new.1 > 5.0 * OLD_MS as f32, "what is expected of it is what was measured of the old one: {named:?}");
    }
    learner.only(now, |_| true);
    assert!(learner.parted.is_empty());
}

#[test]
fn a_prefix_whose_node_is_gone_goes_to_the_best_and_not_to_whoever_spoke_of_it_first() {
    let mut learner = Learner::new(Settings { explore: 0.0 });
    let names = ["far", "best", "near"].map(str::to_owned);
    let mut now = BEGIN;
    for _ in 0..40 {
        now += STEP_S;
        round(&mut learner, now, &names, &[("far", "10.1.1.0/24", 90.0), ("best", "10.1.1.0/24", 5.0), ("near", "10.1.1.0/24", 12.0)]);
    }
    assert_eq!(named(&learner.plan(now, &state(&["far", "best", "near"])), "10.1.1.0/24")[0].0, "best");
    let left = ["far", "near"].map(str::to_owned);
    let plan = round(&mut learner, now + STEP_S, &left, &[]);
    assert_eq!(named(&plan, "10.1.1.0/24")[0].0, "near");
}
