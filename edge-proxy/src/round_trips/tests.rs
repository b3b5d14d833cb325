//! What is kept of many clients, of few, and of those whom nobody asks for.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use skerry_agent::PrefixTimes;

use super::table::{COUNT_MAX, PREFIXES_MAX};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn millis(smoothed: u64, least: u64) -> RoundTrip {
    RoundTrip { smoothed: Duration::from_millis(smoothed), least: Duration::from_millis(least) }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The `nth` of the networks that have nothing but their /8 in common.
fn apart(nth: u32) -> IpNet {
    IpNet::new(Ipv4Addr::from(0x0a00_0000 | (nth << 8)).into(), 24).unwrap()
}

fn counts(times: &[PrefixTimes]) -> HashMap<IpNet, u32> {
    times.iter().map(|times| (times.prefix, times.count)).collect()
}

#[test]
fn measurements_of_a_prefix_are_one_sum_and_no_address_is_kept() {
    let round_trips = RoundTrips::new(3600 * SECOND, &Registry::new());
    let began = round_trips.began;
    let clients = [("192.0.2.1", 10, 8), ("192.0.2.200", 30, 9), ("2001:db8:1:2::3", 50, 50), ("2001:db8:1:ffff::", 70, 40)];
    for (second, (ip, smoothed, least)) in (0..).zip(clients) {
        round_trips.note(ip.parse().unwrap(), millis(smoothed, least), began + second * SECOND);
    }
    let Latency { prefixes, dropped } = round_trips.take(10, began + 10 * SECOND);
    let told = |prefix: &str, smoothed, least, age| {
        let (smoothed, least) = (Duration::from_millis(smoothed), Duration::from_millis(least));
        PrefixTimes { prefix: net(prefix), count: 2, smoothed, least, age: Duration::from_millis(age) }
    };
    assert_eq!(prefixes, [told("192.0.2.0/24", 20, 8, 9_500), told("2001:db8:1::/48", 60, 40, 7_500)]);
    assert_eq!(dropped, 0);
    assert_eq!(round_trips.take(10, began + 10 * SECOND).prefixes, [], "what was taken is there no more");
}

#[test]
fn a_busy_prefix_has_its_turn_and_no_more() {
    let mut table = Table::default();
    let mut seen: HashMap<IpNet, u32> = HashMap::new();
    for report in 0..10 {
        for nth in 0..2_000 {
            table.note(apart(nth), millis(20, 20), report * SECOND);
            for _ in 0..10 {
                table.note(apart(0), millis(20, 20), report * SECOND);
            }
        }
        let taken = table.take(500, report * SECOND);
        assert_eq!(taken.len(), 500);
        for times in taken {
            *seen.entry(times.prefix).or_default() += 1;
            assert!(times.count <= COUNT_MAX, "{times:?}");
        }
    }
    assert_eq!(seen.len(), 2_000, "every prefix had its turn");
    assert!(seen.values().all(|turns| (2..=3).contains(turns)), "{seen:?}");
}

#[test]
fn a_prefix_with_all_that_may_count_follows_what_comes_after() {
    let mut table = Table::default();
    for _ in 0..COUNT_MAX {
        table.note(apart(0), millis(20, 20), SECOND);
    }
    for _ in 0..20 * COUNT_MAX {
        table.note(apart(0), millis(80, 60), 20 * SECOND);
    }
    let times = table.take(1, 21 * SECOND)[0];
    assert_eq!((times.count, times.least), (COUNT_MAX, Duration::from_millis(20)));
    assert!(times.smoothed.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1), "{times:?}");
    assert!(times.age.abs_diff(SECOND) < SECOND / 10, "{times:?}");
}

#[test]
fn thin_prefixes_become_wider_where_there_is_no_room_and_thick_ones_stay() {
    let mut table = Table::default();
    let thick: Vec<IpNet> = (0..1_000).map(|nth| apart(nth * 16)).collect();
    for prefix in &thick {
        for _ in 0..5 {
            table.note(*prefix, millis(20, 20), SECOND);
        }
    }
    // Sixteen beside each other in each /20.
    let (thin, mut dropped) = (20_000, 0);
    for nth in 0..thin {
        dropped += table.note(apart(0x4000 + nth), millis(30, 30), SECOND).room;
        assert!(table.len() <= PREFIXES_MAX);
    }
    let taken = table.take(usize::MAX, SECOND);
    let counts = counts(&taken);
    assert!(thick.iter().all(|prefix| counts.get(prefix) == Some(&5)), "the thick ones are as they were");
    assert!(taken.iter().any(|times| times.prefix.prefix_len() == 20 && times.count == 16), "the thin ones are together");
    assert_eq!(counts.values().sum::<u32>(), 5_000 + thin, "and none is lost");
    assert_eq!((dropped, table.dropped()), (0, 0));
}

#[test]
fn with_no_room_in_wider_ones_either_the_oldest_are_dropped_and_counted() {
    let mut table = Table::default();
    let apart = |nth: u32| IpNet::new(std::net::Ipv6Addr::from(u128::from(nth) << 96).into(), 48).unwrap();
    let most = 3 * u32::try_from(PREFIXES_MAX).unwrap();
    let mut dropped = 0;
    for nth in 0..most {
        dropped += table.note(apart(nth), millis(20, 20), Duration::from_millis(nth.into())).room;
        assert!(table.len() <= PREFIXES_MAX);
    }
    let taken = table.take(usize::MAX, SECOND);
    assert_eq!(taken.len() as u64 + dropped, u64::from(most));
    assert_eq!(table.dropped(), dropped);
    let oldest = net(&format!("{}/32", std::net::Ipv6Addr::UNSPECIFIED));
    assert!(!counts(&taken).contains_key(&oldest) && counts(&taken).contains_key(&apart(most - 1)));
}

#[test]
fn what_nobody_takes_is_forgotten_in_time() {
    let registry = Registry::new();
    let round_trips = RoundTrips::new(60 * SECOND, &registry);
    let began = round_trips.began;
    round_trips.note("192.0.2.1".parse().unwrap(), millis(10, 10), began);
    round_trips.note("198.51.100.1".parse().unwrap(), millis(10, 10), began + 40 * SECOND);
    // Measured anew does not make it younger.
    round_trips.note("192.0.2.1".parse().unwrap(), millis(10, 10), began + 59 * SECOND);
    round_trips.forget(began + 60 * SECOND);
    assert_eq!(round_trips.figures.prefixes.get(), 2);
    round_trips.forget(began + 61 * SECOND);
    assert_eq!(round_trips.figures.prefixes.get(), 1);
    let Latency { prefixes, dropped } = round_trips.take(10, began + 62 * SECOND);
    assert_eq!((counts(&prefixes), dropped), (HashMap::from([(net("198.51.100.0/24"), 1)]), 2));
    assert_eq!(round_trips.figures.dropped.with_label_values(&["old"]).get(), 2);
    assert_eq!((round_trips.figures.samples.get(), round_trips.figures.reported.get()), (3, 1));
}

proptest! {
    #[test]
    fn in_whatever_order_they_come_the_sums_are_of_all(
        measured in prop::collection::vec((0_u32..4, 1_u64..500, 1_u64..500, 0_u64..100), 1..200)
    ) {
        let mut table = Table::default();
        for &(nth, smoothed, least, second) in &measured {
            table.note(apart(nth), millis(smoothed, least), Duration::from_secs(second));
        }
        for times in table.take(usize::MAX, 100 * SECOND) {
            let own: Vec<_> = measured.iter().filter(|(nth, ..)| apart(*nth) == times.prefix).collect();
            let mean = |of: fn(&(u32, u64, u64, u64)) -> u64| own.iter().map(|measured| of(measured) as f64).sum::<f64>() / own.len() as f64;
            prop_assert_eq!(times.count as usize, own.len());
            prop_assert_eq!(times.least, Duration::from_millis(own.iter().map(|measured| measured.2).min().unwrap()));
            prop_assert!((times.smoothed.as_secs_f64() * 1e3 - mean(|measured| measured.1)).abs() < 0.1);
            prop_assert!((100.0 - times.age.as_secs_f64() - mean(|measured| measured.3)).abs() < 0.1);
        }
    }
}
