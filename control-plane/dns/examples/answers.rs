//! A DNS service with nothing around it, for `.ci/bench-dns`: `answers ADDRESS PREFIXES KNOWN` answers at the address for a CDN of 256 sites and 32 edges,
//! and says where on standard output. It ends with its standard input. What is known of as many prefixes of clients is that they are `declared` for a
//! region, that they are `planned` for six edges, or only their place and network (`geography`).

#[path = "../../../tests/house/mmdb.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "a writer for tests, some of which need more")]
mod mmdb;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use skerry_dns::geo::{Databases, Location, Places};
use skerry_dns::limit::{Limits, RATE_MAX};
use skerry_dns::plan::{Network, Node, Plan, RANKED_MAX, Ranked, Row};
use skerry_dns::prefix::Prefix;
use skerry_dns::serve::{Sockets, serve};
use skerry_dns::state::{Edge, Site, State, Target};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use self::mmdb::{Value, mmdb};

/// Regions, each with edges of its own.
const REGIONS: u32 = 8;
/// Edges of a region.
const EDGES: u32 = 4;
/// The network of all clients.
const NETWORK: u32 = 64_500;
/// Sites, each with one host in the zone.
const SITES: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, prefixes, known] = &arguments[..] else {
        return Err("usage: answers ADDRESS PREFIXES declared|planned|geography".to_owned());
    };
    let prefixes: u32 = prefixes.parse().map_err(|error| format!("{prefixes:?} is no number of prefixes: {error}"))?;
    let state = match known.as_str() {
        "declared" => State { coverage: (0..prefixes).filter_map(declared).collect(), ..state() },
        "planned" => State { plan: Arc::new(plan().with_rows((0..prefixes).map(row), [])), ..state() },
        "geography" => State { plan: Arc::new(plan()), geo: Some(places(prefixes)?), ..state() },
        _ => return Err(format!("{known:?} is nothing that may be known; write declared, planned or geography")),
    };
    let told = |error: std::io::Error| format!("cannot listen on {address}: {error}");
    let wanted = address.parse().map_err(|error| format!("{address:?} is no address with a port: {error}"))?;
    let sockets = Sockets::bind(wanted).await.map_err(told)?;
    let at = sockets.address().map_err(told)?;
    let state = Arc::new(ArcSwap::from_pointee(state));
    // One sender asks as often as it can; what the limits cost is in the measure.
    let limits = Limits { same_per_second: RATE_MAX, errors_per_second: RATE_MAX, all_per_second: RATE_MAX, ..Limits::default() };
    let (stop, stopped) = watch::channel(false);
    let task = serve(sockets, state, limits, &prometheus::Registry::new(), stopped)?;
    println!("{at}");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.map_err(|error| error.to_string())?;
    stop.send(true).map_err(|error| error.to_string())?;
    task.await.map_err(|error| error.to_string())
}

fn region(number: u32) -> String {
    format!("region-{number}")
}

/// The first address of a prefix, a /24.
fn first(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((1 << 24) + (number << 8))
}

/// Another number for each, without an order.
fn mixed(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761)
}

fn declared(number: u32) -> Option<(ipnet::IpNet, Target)> {
    Some((ipnet::Ipv4Net::new(first(number), 24).ok()?.into(), Target::Region(region(mixed(number) >> 29))))
}

fn row(number: u32) -> Row {
    let ranked = (0..RANKED_MAX as u32).map(|nth| {
        let node = (mixed(number) >> 27).wrapping_add(nth * 5) % (REGIONS * EDGES);
        Ranked { node: u16::try_from(node).unwrap_or_default(), ms: 10.0 + nth as f32, spread_ms: 1.0 }
    });
    Row::new(Prefix::of(IpAddr::V4(first(number)), 24), ranked)
}

/// With a network, and no row.
fn plan() -> Plan {
    let node = |number| Node { name: format!("edge-{number}"), price_ms: 0.0, utilization: Some(0.3) };
    let network = Network { offset_ms: 2.0, nodes: (0..8).map(|node| (node, 5.0)).collect() };
    let nodes = Arc::new((0..REGIONS * EDGES).map(node).collect());
    let mut plan = Plan::default();
    (plan.nodes, plan.networks) = (nodes, Arc::new(BTreeMap::from([(NETWORK, network)])));
    plan
}

/// Databases of places and networks, read as the service reads them.
fn places(prefixes: u32) -> Result<Arc<dyn Places>, String> {
    let directory = std::env::temp_dir().join(format!("answers-{}", std::process::id()));
    let (city, asn) = (directory.join("city.mmdb"), directory.join("asn.mmdb"));
    let texts: Vec<String> = (0..prefixes).map(|number| format!("{}/24", first(number))).collect();
    let known = |value: &dyn Fn(u32) -> Value| texts.iter().map(String::as_str).zip((0..prefixes).map(value)).collect::<Vec<_>>();
    let at = |number| Value::city(f64::from(mixed(number) >> 26) - 32.0, f64::from(number % 360) - 180.0);
    let written = std::fs::create_dir(&directory)
        .and_then(|()| std::fs::write(&city, mmdb("City", &known(&at))))
        .and_then(|()| std::fs::write(&asn, mmdb("ASN", &known(&|_| Value::network(NETWORK)))));
    let read = written.map_err(|error| format!("{}: {error}", directory.display())).and_then(|()| Databases::read(Some(&city), Some(&asn)));
    std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(Arc::new(read?))
}

fn state() -> State {
    let edges = (0..REGIONS * EDGES).map(|number| Edge {
        name: format!("edge-{number}"),
        region: region(number % REGIONS),
        addresses: vec![Ipv4Addr::from_bits((192 << 24) + (2 << 8) + number).into()],
        location: Some(Location { latitude: (number % 8) as f32 * 15.0 - 50.0, longitude: number as f32 * 11.0 - 170.0 }),
        ..Edge::default()
    });
    State {
        zone: "cdn.example".to_owned(),
        serial: 7,
        nameservers: vec![("ns1.cdn.example".to_owned(), vec![Ipv4Addr::new(192, 0, 2, 253).into()])],
        ttl: Duration::from_secs(20),
        h3: true,
        region_order: (0..REGIONS).map(region).collect(),
        edges: edges.collect(),
        sites: (0..SITES)
            .map(|number| Site {
                name: format!("site-{number:03}"),
                hosts: vec![format!("www-{number:03}.cdn.example")],
                ..Site::default()
            })
            .collect(),
        ..State::default()
    }
}
