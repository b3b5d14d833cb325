//! A DNS service with nothing around it, for `.ci/bench-dns`: `answers ADDRESS PREFIXES` answers at the address for a CDN of 256 sites and 32 edges,
//! with as many declared prefixes of clients, and says where on standard output. It ends with its standard input.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use skerry_dns::limit::{Limits, RATE_MAX};
use skerry_dns::serve::{Sockets, serve};
use skerry_dns::state::{Edge, Site, State, Target};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

/// Regions, each with edges of its own.
const REGIONS: u32 = 8;
/// Edges of a region.
const EDGES: u32 = 4;
/// Sites, each with one host in the zone.
const SITES: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, prefixes] = &arguments[..] else { return Err("usage: answers ADDRESS PREFIXES".to_owned()) };
    let prefixes = prefixes.parse().map_err(|error| format!("{prefixes:?} is no number of prefixes: {error}"))?;
    let told = |error: std::io::Error| format!("cannot listen on {address}: {error}");
    let wanted = address.parse().map_err(|error| format!("{address:?} is no address with a port: {error}"))?;
    let sockets = Sockets::bind(wanted).await.map_err(told)?;
    let at = sockets.address().map_err(told)?;
    let state = Arc::new(ArcSwap::from_pointee(state(prefixes)));
    // One sender asks as often as it can; what the limits cost is in the measure.
    let limits = Limits { same_per_second: RATE_MAX, errors_per_second: RATE_MAX, all_per_second: RATE_MAX, ..Limits::default() };
    let (stop, stopped) = watch::channel(false);
    let task = serve(sockets, state, limits, &prometheus::Registry::new(), stopped)?;
    println!("{at}");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.map_err(|error| error.to_string())?;
    stop.send(true).map_err(|error| error.to_string())?;
    task.await.map_err(|error| error.to_string())
}

fn state(prefixes: u32) -> State {
    let region = |number: u32| format!("region-{number}");
    let prefix = |number: u32| format!("{}/24", Ipv4Addr::from_bits((1 << 24) + (number << 8)));
    let coverage = (0..prefixes)
        .filter_map(|number| Some((prefix(number).parse().ok()?, Target::Region(region(number.wrapping_mul(2_654_435_761) >> 29)))));
    let edges = (0..REGIONS * EDGES).map(|number| Edge {
        name: format!("edge-{number}"),
        region: region(number % REGIONS),
        addresses: vec![Ipv4Addr::from_bits((192 << 24) + (2 << 8) + number).into()],
        ..Edge::default()
    });
    State {
        zone: "cdn.example".to_owned(),
        serial: 7,
        nameservers: vec![("ns1.cdn.example".to_owned(), vec![Ipv4Addr::new(192, 0, 2, 253).into()])],
        ttl: Duration::from_secs(20),
        h3: true,
        region_order: (0..REGIONS).map(region).collect(),
        coverage: coverage.collect(),
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
