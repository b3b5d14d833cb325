//! A plan of a great many prefixes on its way to a DNS node: that it arrives whole, and what it costs, of which docs/performance-million.md has the figures.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skerry_dns::learn::{Learner, Measured, Settings};

use crate::house::cdn::SOON;
use crate::house::dns_node::DnsNode;
use crate::house::{Cdn, Relay, curl, dig, wait_until};

/// The prefixes that are planned for, unless `SKERRY_PLANNED_PREFIXES` says how many.
const PREFIXES: u32 = 200_000;
/// How long it may take until they are learned, planned, sent and put in force, by what is not optimized.
const ARRIVES: Duration = Duration::from_secs(240);
/// What goes over the wire for a prefix when all are sent, in octets: a key of 9, a value of 13 for two edges, and what frames them.
const WIRE_OCTETS_MAX: u64 = 40;
/// What the memory of a DNS node may grow by for a prefix, in octets, while a plan comes in, and what it has beside that, in bytes.
const MEMORY_OCTETS_MAX: u64 = 600;
const MEMORY_BYTES: u64 = 128 << 20;
/// What a change of few prefixes may cost, in octets: what a plan says of itself, its edges and its networks is in each.
const DELTA_OCTETS_MAX: u64 = 16 << 10;
/// How long nothing may have come until a plan is whole.
const QUIET: Duration = Duration::from_secs(6);

fn count() -> u32 {
    std::env::var("SKERRY_PLANNED_PREFIXES").ok().and_then(|text| text.parse().ok()).unwrap_or(PREFIXES)
}

/// The first address of a prefix: 16.0.0.0/24 and on.
fn address(number: u32) -> [u8; 4] {
    ((16 << 24) + (number << 8)).to_be_bytes()
}

/// What a control plane has learned of so many prefixes: every other one is nearer to the second edge.
fn learned(prefixes: u32) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let mut learner = Learner::new(Settings { explore: 0.0 });
    let measured = |edge: u32, number: u32| {
        let round_trip = Duration::from_millis(if number % 2 == edge { 10 } else { 50 });
        let prefix = format!("{}/24", std::net::Ipv4Addr::from(address(number))).parse().unwrap();
        Measured { prefix, count: 8, smoothed: round_trip, least: round_trip, age: Duration::ZERO }
    };
    for (turn, first) in (0..).zip((0..prefixes).step_by(1_000)) {
        // Each brings in every other thousand: of all, no more than half may be one's.
        for edge in [turn % 2, (turn + 1) % 2] {
            let report: Vec<Measured> = (first..prefixes.min(first + 1_000)).map(|number| measured(edge, number)).collect();
            assert_eq!(learner.told(now, &format!("edge-{}", edge + 1), &report).taken, report.len());
        }
    }
    learner.to_octets()
}

/// What a process has taken: of memory at most, in bytes, and of processors.
fn taken(pid: u64) -> (u64, Duration) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks: u64 = stat.rsplit(')').next().unwrap().split(' ').skip(12).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    (peak << 10, Duration::from_millis(ticks * 10))
}

/// Waits until nothing more comes.
fn quiet(relay: &Relay) {
    let (mut passed, mut since) = (relay.passed(), Instant::now());
    wait_until("the plan to be whole", ARRIVES, || {
        let now = relay.passed();
        if now > passed + DELTA_OCTETS_MAX {
            since = Instant::now();
        }
        passed = now;
        since.elapsed() > QUIET
    });
}

#[test]
fn a_plan_of_a_great_many_prefixes_arrives_whole_and_a_change_of_it_costs_little() {
    let prefixes = count();
    let mut cdn = Cdn::start(&[]);
    cdn.start_changed("control", |settings| drop(settings["dns"].as_table_mut().unwrap().insert("explore_percent".to_owned(), 0.into())));
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(cdn.data("control").join("ready.json")).unwrap()).unwrap();
    let relay = Relay::start(ready["nodes"].as_str().unwrap());
    let node = DnsNode::join_at(&cdn, "dns-1", &relay.address());
    let pid = u64::from(node.pid());
    cdn.kill("control");
    std::fs::write(cdn.data("control").join("latency"), learned(prefixes)).unwrap();
    let (before_octets, (_, before_time)) = (relay.passed(), taken(pid));
    cdn.start_again("control");

    // Of all over the table, and of the last that is sent too.
    let answered = |number: u32| {
        let subnet = format!("+subnet={}/24", std::net::Ipv4Addr::from(address(number)));
        dig(node.at("dns"), &["default.cdn.test", "A", &subnet]).first().cloned()
    };
    let is_planned = |number: u32| answered(number).as_deref() == Some(if number.is_multiple_of(2) { "127.0.0.1" } else { "127.0.0.2" });
    wait_until("the plan to arrive", ARRIVES, || is_planned(1) && is_planned(prefixes - 1));
    quiet(&relay);
    for number in (0..prefixes).step_by((prefixes / 100) as usize) {
        assert!(is_planned(number) && is_planned(number + 1), "prefix {number}");
    }
    let (whole, (peak, time)) = (relay.passed() - before_octets, taken(pid));
    let (_, control_time) = taken(cdn.process("control").0);
    println!("{prefixes} prefixes: {whole} octets on the wire, {:.1} a prefix", whole as f64 / f64::from(prefixes));
    println!(
        "the DNS node took {:?} of processors and had {} MiB at most; the control plane took {control_time:?}",
        time - before_time,
        peak >> 20
    );
    assert!(whole > u64::from(prefixes) * 20, "{whole} octets are too few for all");
    assert!(whole < u64::from(prefixes) * WIRE_OCTETS_MAX + (1 << 20), "{whole} octets on the wire");
    assert!(peak < u64::from(prefixes) * MEMORY_OCTETS_MAX + MEMORY_BYTES, "{} MiB of memory", peak >> 20);

    // One more prefix: what its client measured, and what every plan says of itself.
    let url = format!("http://{}/", cdn.edge(2));
    let new = || dig(node.at("dns"), &["default.cdn.test", "A", "+subnet=127.5.1.0/24"]).first().cloned();
    assert_eq!(new().as_deref(), Some("127.0.0.1"), "the first region");
    let changes = || node.metric("skerry_dns_zone_changes_total ");
    let (before_octets, before_changes, (_, before_time)) = (relay.passed(), changes(), taken(pid));
    wait_until("the new prefix", ARRIVES, || {
        curl(&["--interface", "127.5.1.1", "--header", "Host: www.example.com", &url]);
        new().as_deref() == Some("127.0.0.2")
    });
    let (octets, changes, time) = (relay.passed() - before_octets, changes() - before_changes, taken(pid).1 - before_time);
    println!("then {changes} changes of {octets} octets, for which the DNS node took {time:?}, those answers included");
    assert!(octets < (changes as u64 + 2) * DELTA_OCTETS_MAX, "{octets} octets in {changes} changes");

    // Started again it says what it has, and is sent no more than the blocks that differ.
    let before_octets = relay.passed();
    let node = DnsNode::start(node.kill());
    wait_until("its stream", SOON, || cdn.follows_zone("dns-1"));
    quiet(&relay);
    assert_eq!(dig(node.at("dns"), &["default.cdn.test", "A", "+subnet=127.5.1.0/24"]).first().map(String::as_str), Some("127.0.0.2"));
    let again = relay.passed() - before_octets;
    println!("after a start {again} octets");
    assert!(again < whole / 4, "{again} octets of {whole}");
}
