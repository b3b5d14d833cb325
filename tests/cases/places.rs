//! Clients that nothing was measured of, with databases of places: who is nearest, what was measured of their network, and files that change.

use std::path::Path;
use std::time::Duration;

use crate::house::cdn::SOON;
use crate::house::dns_node::DnsNode;
use crate::house::mmdb::{Value, mmdb};
use crate::house::{Cdn, curl, dig, wait_until};

const BERLIN: [f64; 2] = [52.52, 13.41];
const MUNICH: [f64; 2] = [48.14, 11.58];
/// Nearer to the first.
const LEIPZIG: [f64; 2] = [51.34, 12.37];
/// A report takes 5 s, a plan as long, and what it says of networks is made anew every 30 s.
const LEARNED: Duration = Duration::from_secs(90);
/// Clients of one network, of which those of the first prefix are measured.
const MEASURED: &str = "127.5.1.0/24";
const THEIRS: &str = "127.6.1.0/24";
/// Clients of no network that is known.
const NORTH: &str = "127.7.1.0/24";
const SOUTH: &str = "127.8.1.0/24";
/// What a DNS node answers nobody else.
const MOVED: &str = "127.9.1.0/24";

/// Puts a file in the place of another, as operators do.
fn put(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn cities(moved: [f64; 2]) -> Vec<u8> {
    let city = |[latitude, longitude]: [f64; 2]| Value::city(latitude, longitude);
    let known = [(MEASURED, city(LEIPZIG)), (THEIRS, city(LEIPZIG)), (NORTH, city(BERLIN)), (SOUTH, city(MUNICH)), (MOVED, city(moved))];
    mmdb("Test-City", &known)
}

#[test]
fn clients_go_to_the_nearest_edge_by_city_and_by_what_was_measured_of_their_network_and_databases_are_read_again() {
    let mut cdn = Cdn::start(&[]);
    let [city, asn] = ["city.mmdb", "asn.mmdb"].map(|name| cdn.data(name));
    put(&city, &cities(BERLIN));
    put(&asn, &mmdb("Test-ASN", &[(MEASURED, Value::network(64_500)), (THEIRS, Value::network(64_500))]));
    for (edge, at) in [("edge-1", BERLIN), ("edge-2", MUNICH)] {
        cdn.start_changed(edge, |settings| drop(settings.insert("location".to_owned(), at.to_vec().into())));
    }
    let geo: toml::Table = format!("city = {city:?}\nasn = {asn:?}\n").parse().unwrap();
    cdn.start_changed("control", |settings| {
        let dns = settings["dns"].as_table_mut().unwrap();
        dns.insert("geo".to_owned(), geo.clone().into());
        // Nobody is tried for a while with another edge than the best.
        dns.insert("explore_percent".to_owned(), 0.into());
    });
    let node = DnsNode::join(&cdn, "dns-1").again_with(&format!("[geo]\n{geo}"));
    let route = |client: &str| {
        let route = cdn.json(&["route", client]);
        (route["edges"][0].as_str().unwrap_or_default().to_owned(), route["reason"].as_str().unwrap_or_default().to_owned())
    };
    let said = |edge: &str, reason: &str| (edge.to_owned(), reason.to_owned());
    for (client, edge) in [(NORTH, "edge-1"), (SOUTH, "edge-2"), (THEIRS, "edge-1"), (MOVED, "edge-1")] {
        wait_until(&format!("{client} to be sent to {edge}"), SOON, || route(client) == said(edge, "geography"));
    }
    let address = |server: &str, client: &str| dig(server, &["default.cdn.test", "A", &format!("+subnet={client}")]).first().cloned();
    assert_eq!(address(node.at("dns"), SOUTH).as_deref(), Some("127.0.0.2"));

    // Their neighbours by network are measured at the edge that is farther away, and are nearer to it than that says.
    let url = format!("http://{}/", cdn.edge(2));
    wait_until("what was measured of the network", LEARNED, || {
        curl(&["--interface", "127.5.1.1", "--header", "Host: www.example.com", &url]);
        route(THEIRS) == said("edge-2", "estimated")
    });
    assert_eq!(route(NORTH), said("edge-1", "geography"), "of whose network nothing was measured");
    wait_until("the DNS node to hear of it", SOON, || address(node.at("dns"), THEIRS).as_deref() == Some("127.0.0.2"));

    // They are read again, by both; a broken one is not taken.
    assert_eq!(address(node.at("dns"), MOVED).as_deref(), Some("127.0.0.1"));
    put(&city, &cities(MUNICH));
    wait_until("the new database", SOON, || route(MOVED) == said("edge-2", "geography"));
    wait_until("the new database on the DNS node", SOON, || address(node.at("dns"), MOVED).as_deref() == Some("127.0.0.2"));
    put(&city, b"broken");
    wait_until("the broken database to be counted", SOON, || node.metric("skerry_dns_geo_reads_total{outcome=\"failed\"}") > 0.0);
    assert!(node.log().contains("not a database"), "{}", node.log());
    assert_eq!(address(node.at("dns"), MOVED).as_deref(), Some("127.0.0.2"), "what was read before counts on");
    put(&city, &cities(BERLIN));
    wait_until("a database that is one again", SOON, || address(node.at("dns"), MOVED).as_deref() == Some("127.0.0.1"));
}
