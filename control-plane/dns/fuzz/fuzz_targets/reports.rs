//! Reports of nodes that say anything: 24 octets are one measurement of one of four nodes, or a plan.
//!
//! The rest of a file that does not fill a measurement is what a learner is read from.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use skerry_dns::geo::Location;
use skerry_dns::learn::{Learner, Measured, Settings};
use skerry_dns::state::{Edge, State};

/// The octets of a measurement.
const MEASUREMENT: usize = 24;
const BEGIN: f64 = 1e9;
/// The octets of the sum at the end of what is learned.
const SUM: usize = 8;

fn state(utilization: u8) -> State {
    let edge = |number: u8| Edge {
        name: format!("edge-{number}"),
        addresses: vec![IpAddr::from([192, 0, 2, number])],
        utilization: Some(f32::from(utilization) / 100.0 * f32::from(number)),
        location: (number > 0).then(|| Location { latitude: f32::from(number) * 20.0, longitude: f32::from(number) * -50.0 }),
        ..Edge::default()
    };
    State { ttl: Duration::from_secs(20), edges: (0..3).map(edge).collect(), ..State::default() }
}

fn number(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |number, octet| number << 8 | u32::from(*octet))
}

/// What is learned, with no regard to the order of groups, of which a table has none; without the sum, which depends on it.
fn sorted(learner: &Learner) -> Vec<u8> {
    let mut octets = learner.to_octets();
    octets.truncate(octets.len() - SUM);
    octets.sort_unstable();
    octets
}

fuzz_target!(|data: &[u8]| {
    let mut learner = Learner::new(Settings { explore: 0.2 });
    let mut now = BEGIN;
    let mut measurements = data.chunks_exact(MEASUREMENT);
    for octets in &mut measurements {
        now += f64::from(octets[1]) * 10.0;
        if octets[0] & 0x80 != 0 {
            if octets[3] & 0x80 != 0 {
                let gone = format!("edge-{}", octets[3] & 3);
                learner.only(now, |name| name != gone);
            }
            let plan = learner.plan(now, &state(octets[2]));
            assert_eq!(plan.len(), learner.prefixes());
            assert!(
                plan.rows().all(|row| row
                    .ranked()
                    .all(|ranked| plan.nodes.get(usize::from(ranked.node)).is_some_and(|node| !node.name.is_empty())))
            );
            continue;
        }
        let address = number(&octets[4..8]);
        let (address, longest) = match octets[0] & 0x40 {
            0 => (IpAddr::V4(Ipv4Addr::from_bits(address)), 32),
            _ => (IpAddr::V6(Ipv6Addr::from_bits(u128::from(address) << 96)), 128),
        };
        let measured = Measured {
            prefix: IpNet::new(address, octets[3] % (longest + 1)).expect("a prefix"),
            count: number(&octets[8..12]),
            smoothed: Duration::from_micros(number(&octets[12..16]).into()),
            least: Duration::from_micros(number(&octets[16..20]).into()),
            age: Duration::from_millis(number(&octets[20..24]).into()),
        };
        let taken = learner.told(now, &format!("edge-{}", octets[0] & 3), &[measured]);
        assert_eq!(taken.taken + taken.refused.values().sum::<usize>(), 1);
    }
    let octets = learner.to_octets();
    let again = Learner::from_octets(&octets, Settings::default()).expect("a learner");
    assert!(sorted(&again) == sorted(&learner));
    assert!(Learner::from_octets(measurements.remainder(), Settings::default()).is_err());
});
