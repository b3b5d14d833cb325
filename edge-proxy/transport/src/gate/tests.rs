//! Each bound is reached and not passed, and what is given back counts no more. Time is passed in.

use std::time::Duration;

use futures_util::FutureExt as _;

use std::net::Ipv6Addr;

use super::*;

fn gate(change: impl FnOnce(&mut Limits)) -> Gate {
    let mut limits = Limits::default();
    change(&mut limits);
    limits.into()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A place for a connection of this client.
fn enter(gate: &Gate, client: &str) -> Result<Place, Refused> {
    let mut place = gate.place_now().unwrap();
    place.admit(address(client)).map(|()| place)
}

/// What a gate counts, as a scrape shows it: name, label, value.
fn scraped(gate: &Gate) -> Vec<(String, String, f64)> {
    let registry = prometheus::Registry::new();
    gate.register("edge", &registry);
    let of = |family: &prometheus::proto::MetricFamily| {
        let name = family.name().to_owned();
        let value = |metric: &prometheus::proto::Metric| metric.get_counter().get_value() + metric.get_gauge().get_value();
        let label =
            |metric: &prometheus::proto::Metric| metric.get_label().first().map(|label| label.value().to_owned()).unwrap_or_default();
        family.get_metric().iter().map(|metric| (name.clone(), label(metric), value(metric))).collect::<Vec<_>>()
    };
    registry.gather().iter().flat_map(of).collect()
}

#[track_caller]
fn assert_counted(gate: &Gate, name: &str, label: &str, expected: f64) {
    let all = scraped(gate);
    let found = all.iter().find(|(found, by, _)| found == &format!("skerry_edge_{name}") && by == label);
    assert_eq!(found.map(|found| found.2), Some(expected), "{name} {label}: {all:?}");
}

#[tokio::test]
async fn no_more_connections_than_allowed_and_the_next_waits() {
    let gate = gate(|limits| limits.connections = 2);
    let first = gate.place().await;
    let second = enter(&gate, "192.0.2.1").unwrap();
    assert_counted(&gate, "connections", "opening", 2.0);
    let mut third = std::pin::pin!(gate.place());
    assert!(third.as_mut().now_or_never().is_none(), "a third one came in");
    assert!(gate.place_now().is_none());
    gate.refuse(Refused::Connections);
    assert_counted(&gate, "connections_refused_total", "connections", 1.0);
    drop(first);
    let mut third = tokio::time::timeout(Duration::from_secs(5), third).await.expect("who waited was not told");
    third.speaks(Protocol::Http2);
    assert_counted(&gate, "connections", "HTTP/2", 1.0);
    drop((second, third));
    for protocol in SPOKEN {
        assert_counted(&gate, "connections", protocol, 0.0);
    }
}

#[tokio::test]
async fn a_higher_limit_lets_in_who_waits_and_a_lower_one_ends_nothing() {
    let gate = gate(|limits| limits.connections = 1);
    let _first = gate.place().await;
    let mut second = std::pin::pin!(gate.place());
    assert!(second.as_mut().now_or_never().is_none());
    gate.set_limits(Limits { connections: 2, ..Limits::default() });
    let second = tokio::time::timeout(Duration::from_secs(5), second).await.expect("who waited was not told");
    gate.set_limits(Limits { connections: 1, ..Limits::default() });
    drop(second);
    assert!(gate.place_now().is_none(), "one is open, and one is allowed");
}

#[test]
fn an_address_has_its_connections_and_a_64_is_one_address() {
    let gate = gate(|limits| limits.connections_per_address = 2);
    let enter = |text: &str| enter(&gate, text);
    for (one, same, other) in
        [("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::1", "2001:db8:0:1:ffff::", "2001:db8:0:2::1")]
    {
        let first = enter(one).unwrap();
        let second = enter(same).unwrap();
        assert_eq!(enter(one).err(), Some(Refused::AddressConnections), "{one}");
        let elsewhere = enter(other).unwrap();
        drop(second);
        drop(enter(same).unwrap());
        drop((first, elsewhere));
    }
    assert_counted(&gate, "connections_refused_total", "address_connections", 2.0);
    assert_counted(&gate, "connections", "opening", 0.0);
}

#[test]
fn an_address_has_its_new_connections_in_a_second() {
    let gate = gate(|limits| limits.new_connections_per_second = 3);
    let begun = Instant::now();
    let enter = |text: &str, after: u64| {
        let mut place = gate.place_now().unwrap();
        place.admit_at(address(text), begun + Duration::from_millis(after)).map(|()| drop(place))
    };
    for after in [0, 500, 999] {
        enter("192.0.2.1", after).unwrap();
    }
    assert_eq!(enter("192.0.2.1", 999), Err(Refused::AddressRate), "closed ones count too");
    enter("192.0.2.2", 999).unwrap();
    enter("192.0.2.1", 1_000).unwrap();
    assert_counted(&gate, "connections_refused_total", "address_rate", 1.0);
}

#[test]
fn the_table_of_addresses_is_bounded_and_keeps_those_with_connections() {
    let gate = gate(|limits| limits.connections_per_address = 1);
    let held = enter(&gate, "192.0.2.1").unwrap();
    for number in 0..3 * RECENT_MAX as u128 {
        let each = IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (number << 64)));
        gate.place_now().unwrap().admit(each).unwrap();
    }
    assert!(gate.0.addresses.lock().len() <= RECENT_MAX + 1, "{} are remembered", gate.0.addresses.lock().len());
    assert_eq!(enter(&gate, "192.0.2.1").err(), Some(Refused::AddressConnections), "a flood made us forget an open connection");
    drop(held);
    enter(&gate, "192.0.2.1").unwrap();
}

#[test]
fn requests_are_counted_as_long_as_they_run() {
    let gate = gate(|limits| limits.requests = 1);
    let running = gate.request().unwrap();
    assert!(gate.request().is_none());
    assert_counted(&gate, "requests_over_limit_total", "", 1.0);
    assert_counted(&gate, "requests_running", "", 1.0);
    drop(running);
    assert!(gate.request().is_some());
    assert_counted(&gate, "requests_running", "", 0.0);
}

#[test]
fn the_oldest_of_too_many_handshakes_makes_room() {
    let gate = gate(|_| {});
    let mut all: Vec<Handshake> = (0..HANDSHAKES_MAX).map(|_| gate.handshake()).collect();
    assert!(all[0].supplanted().now_or_never().is_none());
    let newest = gate.handshake();
    assert!(all[0].supplanted().now_or_never().is_some(), "nobody made room");
    assert!(all[1].supplanted().now_or_never().is_none(), "the second oldest is within the bound");
    drop(all.remove(0));
    drop(newest);
    let _one = gate.handshake();
    assert!(all[0].supplanted().now_or_never().is_none(), "one ended, one came");
}

#[test]
fn every_reason_has_its_place_and_its_name() {
    let gate = gate(|_| {});
    for reason in Refused::ALL {
        gate.refuse(reason);
        assert_counted(&gate, "connections_refused_total", reason.as_str(), 1.0);
    }
}
