//! How far clients are, and where nodes stand, from the nodes' own words over their streams.

use std::net::Ipv4Addr;
use std::time::Duration;

use skerry_agent::wire::LATENCY_PREFIXES_MAX;
use skerry_agent::{Latency, PrefixTimes};
use skerry_config::process::Location;

use super::figures::Behind;
use super::house::eventually;

fn times(nth: u32) -> PrefixTimes {
    let millis = Duration::from_millis;
    let prefix = ipnet::IpNet::new(Ipv4Addr::from(0x0a00_0000 + (nth << 8)).into(), 24).unwrap();
    PrefixTimes { prefix, count: 3, smoothed: millis(20), least: millis(15), age: millis(2_500) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_measured_arrives_in_reports_of_a_bounded_size() {
    let dir = tempfile::tempdir().unwrap();
    let behind = Behind::start(dir.path()).await;
    let place = Location { latitude: 52.52, longitude: 13.41 };
    let node = behind.node_at(dir.path(), "edge-1", Some(place)).await;
    let all: Vec<PrefixTimes> = (0..LATENCY_PREFIXES_MAX as u32 + 10).map(times).collect();
    *node.told.latency.lock() = Latency { prefixes: all.clone(), dropped: 7 };

    let health = &behind.plane.health;
    eventually("the node says how it does", async || {
        let live = health.live("edge-1");
        (live.load.utilization == Some(250) && live.location == Some(place)).then_some(())
    })
    .await;
    let mut told = Vec::new();
    for expected in [LATENCY_PREFIXES_MAX, 10] {
        let report = eventually("a report comes", async || health.measured.take().reports.remove("edge-1")).await;
        let prefixes: Vec<_> = report.into_iter().flat_map(|report| report.prefixes).collect();
        assert_eq!(prefixes.len(), expected);
        told.extend(prefixes);
    }
    assert_eq!(told, all);
    let taken = behind.plane.figures.latency_prefixes.with_label_values(&["taken"]).get();
    assert_eq!(taken, all.len() as u64);
    node.stop().await;
    behind.stop().await;
}
