//! The rendezvous order in numbers, and which shields a site has.

use std::collections::HashMap;

use skerry_config::check::{self, Format};
use skerry_config::snapshot::Document;

use super::*;

const RESOURCES: usize = 10_000;

fn site(lines: &str) -> Site {
    let text = format!("name = \"shop\"\nhosts = [\"*\"]\n[origin]\nurls = [\"http://192.0.2.1\"]\n[shields]\n{lines}\n");
    check::site_text(&text, Format::Toml, None).unwrap()
}

/// A configuration with shields of these names, in this order, every second one in the south, where `c` leads the site if that is left to the control
/// plane.
fn snapshot(names: &[&str]) -> Snapshot {
    let shield = |(index, name): (usize, &&str)| Shield {
        name: (*name).to_owned(),
        region: if index % 2 == 0 { "north" } else { "south" }.to_owned(),
        address: format!("192.0.2.{}:1", index + 1).parse().unwrap(),
    };
    let shields = names.iter().enumerate().map(shield).collect();
    let leads = [("shop".to_owned(), "c".to_owned())].into();
    Snapshot::build(Document { sites: vec![site("")], shields, leads, version: 1 }).unwrap()
}

/// The names of the shields of each resource, in order.
fn orders(snapshot: &Snapshot, site: &Site) -> Vec<Vec<String>> {
    let order = |index: usize| {
        let (host, path) = (format!("h{}.example.com", index % 7), format!("/img/{index}.jpg"));
        ranked(snapshot, site, &host, &path).iter().map(|shield| shield.name.clone()).collect()
    };
    (0..RESOURCES).map(order).collect()
}

#[test]
fn all_edges_agree_in_whatever_order_they_know_the_shields() {
    let any = site("");
    let one = orders(&snapshot(&["a", "b", "c", "d", "e"]), &any);
    let other = orders(&snapshot(&["d", "a", "e", "c", "b"]), &any);
    assert_eq!(one, other);
}

#[test]
fn each_shield_leads_an_even_share() {
    for count in [2, 3, 5, 8] {
        let names: Vec<String> = (1..=count).map(|number| format!("shield-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut led: HashMap<String, usize> = HashMap::new();
        for order in orders(&snapshot(&names), &site("")) {
            *led.entry(order[0].clone()).or_default() += 1;
        }
        let due = RESOURCES / count;
        assert_eq!(led.len(), count);
        // Four standard deviations of a fair draw.
        let slack = 4.0 * (due as f64 * (1.0 - 1.0 / count as f64)).sqrt();
        assert!(led.values().all(|&led| (led as f64 - due as f64).abs() < slack), "{count} shields: {led:?}");
    }
}

#[test]
fn a_lost_shield_moves_its_own_share_alone_and_to_all_others() {
    let any = site("");
    let before = orders(&snapshot(&["a", "b", "c", "d", "e"]), &any);
    let after = orders(&snapshot(&["a", "b", "d", "e"]), &any);
    let mut moved: HashMap<&str, usize> = HashMap::new();
    for (before, after) in before.iter().zip(&after) {
        let left: Vec<&String> = before.iter().filter(|name| *name != "c").collect();
        assert_eq!(left, after.iter().collect::<Vec<_>>(), "the order of the others stays");
        if before[0] != after[0] {
            assert_eq!(before[0], "c");
            *moved.entry(&after[0]).or_default() += 1;
        }
    }
    let all: usize = moved.values().sum();
    assert!((1_840..=2_160).contains(&all), "a fifth of {RESOURCES} moves: {all}");
    assert!(moved.len() == 4 && moved.values().all(|&part| (420..=580).contains(&part)), "to four alike: {moved:?}");
}

#[test]
fn a_site_has_the_shields_that_it_names() {
    let snapshot = snapshot(&["a", "b", "c", "d"]);
    for (lines, own) in [
        ("", "a b c d"),
        ("names = [\"b\", \"c\"]", "b c"),
        ("regions = [\"south\"]", "b d"),
        ("regions = [\"south\", \"north\"]", "a b c d"),
        ("names = [\"gone\", \"d\"]", "d"),
        ("regions = [\"west\"]", ""),
    ] {
        for mut order in orders(&snapshot, &site(lines)).into_iter().take(50) {
            order.sort();
            assert_eq!(order.join(" "), own, "{lines}");
        }
    }
}

#[test]
fn the_leader_is_asked_first_and_the_others_stay_in_their_order() {
    let snapshot = snapshot(&["a", "b", "c", "d"]);
    let by_key = orders(&snapshot, &site(""));
    for (led, by_key) in orders(&snapshot, &site("lead = \"auto\"")).iter().zip(&by_key) {
        let rest: Vec<&String> = by_key.iter().filter(|name| *name != "c").collect();
        assert_eq!((led[0].as_str(), led[1..].iter().collect::<Vec<_>>()), ("c", rest));
    }
    // One that is not the site's leads nothing.
    let own = "names = [\"a\", \"b\"]";
    assert_eq!(orders(&snapshot, &site(&format!("{own}\nlead = \"auto\""))), orders(&snapshot, &site(own)));
}
