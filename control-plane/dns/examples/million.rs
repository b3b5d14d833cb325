//! What a million client prefixes cost: memory of what is learned and of plans, and the time of a report and of a plan.
//!
//! `cargo run --release -p skerry-dns --example million`. The figures in docs/performance-million.md are of this.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use skerry_dns::learn::{Learner, Measured, PREFIXES_MAX, Settings};
use skerry_dns::state::{Edge, State};

/// Edges, each of which measured every prefix once or not at all.
const EDGES: u32 = 50;
/// Prefixes that are measured by so many of them.
const MEASURED_BY: u32 = 3;
/// Prefixes of a report.
const REPORT_PREFIXES: usize = 8_192;

fn main() {
    let edge =
        |number: u32| Edge { name: format!("edge-{number}"), addresses: vec![Ipv4Addr::from_bits(number).into()], ..Edge::default() };
    let state = State { ttl: Duration::from_secs(20), edges: (0..EDGES).map(edge).collect(), ..State::default() };
    let mut learner = Learner::new(Settings::default());
    let (before, mut now) = (resident(), 1e9);
    learner.plan(now, &state);
    let began = Instant::now();
    for turn in 0..MEASURED_BY {
        for (number, chunk) in (0..PREFIXES_MAX as u32).collect::<Vec<_>>().chunks(REPORT_PREFIXES).enumerate() {
            let report: Vec<Measured> = chunk.iter().map(|prefix| measured(*prefix, turn)).collect();
            learner.told(now, &format!("edge-{}", (number as u32 + turn * 7) % EDGES), &report);
        }
        now += 5.0;
    }
    println!("{} prefixes learned in {:?}, {} octets each", learner.prefixes(), began.elapsed(), each(before));
    for _ in 0..4 {
        let began = Instant::now();
        let plan = learner.plan(now, &state);
        println!("a plan of {} rows in {:?}; {} octets each in all", plan.len(), began.elapsed(), each(before));
        now += 5.0;
    }
    let began = Instant::now();
    let octets = learner.to_octets().len();
    println!("{octets} octets to keep in {:?}, {} each", began.elapsed(), octets / PREFIXES_MAX);
}

fn measured(prefix: u32, turn: u32) -> Measured {
    let round_trip = Duration::from_micros(u64::from(5_000 + prefix % 90_000 + turn * 10_000));
    let net = Ipv4Net::new(Ipv4Addr::from_bits((16 << 24) + (prefix << 8)), 24).map_or_else(|_| IpNet::V4(Ipv4Net::default()), IpNet::V4);
    Measured { prefix: net, count: 3, smoothed: round_trip, least: round_trip, age: Duration::ZERO }
}

/// The pages of this process that are in memory, in octets.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|pages| pages.split(' ').nth(1)?.parse::<usize>().ok()).map_or(0, |pages| pages * 4_096)
}

fn each(before: usize) -> usize {
    resident().saturating_sub(before) / PREFIXES_MAX
}
