//! Rows against a plain table, and one plan made of another.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn prefix(text: &str) -> Prefix {
    let net: ipnet::IpNet = text.parse().expect("a network");
    Prefix::of(net.addr(), net.prefix_len())
}

fn row(prefix: Prefix, node: Number) -> Row {
    Row::new(prefix, [Ranked { node, ms: 12.3, spread_ms: 4.0 }, Ranked { node: node + 1, ms: 45.6, spread_ms: 7.0 }])
}

#[test]
fn the_longest_prefix_around_the_client_has_the_row() {
    let plan =
        Plan::default().with_rows([row(prefix("10.1.0.0/16"), 1), row(prefix("10.1.2.0/24"), 2), row(prefix("2001:db8::/40"), 3)], []);
    let around = |text: &str| plan.around(prefix(text)).and_then(|row| row.ranked().next()).map(|ranked| ranked.node);
    assert_eq!(around("10.1.2.0/24"), Some(2));
    assert_eq!(around("10.1.3.0/24"), Some(1));
    assert_eq!(around("10.1.0.0/16"), Some(1));
    assert_eq!(around("10.0.0.0/15"), None, "a client whose prefix spans several rows");
    assert_eq!(around("2001:db8:1::/48"), Some(3));
    assert_eq!(around("2001:db9::/48"), None);
    assert_eq!(plan.len(), 3);
    let less = plan.with_rows([], [prefix("10.1.2.0/24")]);
    assert_eq!(less.around(prefix("10.1.2.0/24")).map(|row| row.prefix), Some(prefix("10.1.0.0/16")));
    assert_eq!((less.len(), plan.len()), (2, 3), "the older plan is as it was");
}

#[test]
fn a_row_says_what_it_was_made_of_and_no_more_than_it_can_hold() {
    let many = (0..9).map(|node| Ranked { node, ms: 10_000.0, spread_ms: 1_000.0 });
    let full = Row::new(prefix("10.1.2.0/24"), many);
    assert_eq!(full.ranked().count(), RANKED_MAX);
    assert_eq!(full.ranked().next(), Some(Ranked { node: 0, ms: 6_553.5, spread_ms: 255.0 }));
    assert_eq!(row(prefix("10.1.2.0/24"), 7).ranked().map(|ranked| ranked.ms).collect::<Vec<_>>(), [12.3, 45.6]);
    let tried = full.trying(Some((4, 1_000)));
    assert_eq!((tried.trial(999.9), tried.trial(1_000.0), full.trial(0.0)), (Some((4, 1_000)), None, None));
    assert!(size_of::<Row>() <= 48, "{} octets a row", size_of::<Row>());
}

/// Words about few prefixes, so that they meet.
fn any_changes() -> impl Strategy<Value = Vec<(Prefix, Option<Number>)>> {
    let one = (0_u8..4, 0_u8..4, prop::sample::select(vec![16_u8, 20, 24]), prop::option::of(0_u16..3));
    let one = one.prop_map(|(second, third, bits, node)| (Prefix::of([10, second, third << 4, 0].into(), bits), node));
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn a_plan_is_the_sum_of_the_words_about_it(first in any_changes(), second in any_changes()) {
        let mut known: HashMap<Prefix, Number> = HashMap::new();
        let mut plans = vec![Plan::default()];
        for changes in [&first, &second] {
            // One word about each prefix.
            let last: HashMap<Prefix, Option<Number>> = changes.iter().copied().collect();
            let set = last.iter().filter_map(|(prefix, node)| node.map(|node| row(*prefix, node)));
            let gone = last.iter().filter(|(_, node)| node.is_none()).map(|(prefix, _)| *prefix);
            plans.push(plans.last().expect("a plan").with_rows(set, gone));
            for (prefix, node) in last {
                match node {
                    Some(node) => known.insert(prefix, node),
                    None => known.remove(&prefix),
                };
            }
        }
        let (before, plan) = (&plans[1], &plans[2]);
        prop_assert_eq!(plan.len(), known.len());
        for (prefix, node) in &known {
            prop_assert_eq!(plan.row(*prefix), Some(&row(*prefix, *node)));
        }
        for second in 0..5 {
            let asked = Prefix::of([10, second, 17, 0].into(), 24);
            let longest = known.keys().filter(|prefix| prefix.net().contains(&asked.net())).max_by_key(|prefix| prefix.bits());
            prop_assert_eq!(plan.around(asked).map(|row| row.prefix), longest.copied());
        }
        let difference = plan.since(before);
        prop_assert!(difference.rows.len() <= known.len());
        let again = before.after(&difference);
        prop_assert_eq!(again.since(plan), Difference { made: plan.made, ..Difference::default() });
        prop_assert_eq!(again.len(), plan.len());
    }
}
