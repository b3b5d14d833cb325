//! docs/reference/metrics.md is what the processes themselves say of their metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::Path;

use crate::house::dns_node::DnsNode;
use crate::house::{Cdn, curl, dig, get};

/// What `/metrics` says of one metric.
#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// Reads the Prometheus text format.
fn read(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            metrics.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            metrics.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((name, rest)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|base| metrics.contains_key(*base)))
                .unwrap_or(name);
            let labels = rest.split_once('}').map_or(rest, |(labels, _)| labels);
            let names = labels
                .split("\",")
                .filter_map(|label| label.split_once('='))
                .map(|(label, _)| label.to_owned())
                .filter(|label| label != "le");
            metrics.entry(name.to_owned()).or_default().labels.extend(names);
        }
    }
    metrics
}

fn table(page: &mut String, title: &str, url: &str) {
    let metrics = read(&curl(&[&format!("{url}/metrics")]).text());
    let _ = writeln!(page, "\n## {title}\n\n| name | type | labels | what |\n|---|---|---|---|");
    for (name, Metric { kind, help, labels }) in &metrics {
        assert!(name.starts_with("skerry_"), "{name}");
        assert!(kind != "counter" || name.ends_with("_total"), "a counter without _total: {name}");
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
    }
}

#[test]
fn the_metrics_page_is_what_the_processes_say() {
    let cdn = Cdn::start(&[]);
    // So that everything that is counted by label has been counted once.
    get(cdn.edge(1), "www.example.com", "/");
    dig(cdn.at("/dns"), &["default.cdn.test", "A"]);
    let (address, port) = cdn.at("/dns").rsplit_once(':').unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"no packet", (address, port.parse::<u16>().unwrap())).unwrap();
    dig(cdn.at("/dns"), &["default.cdn.test", "A"]);

    let (api, token) = (cdn.at("/control/api"), format!("authorization: Bearer {}", cdn.at("/control/token")));
    let hook = r#"{"url": "http://127.0.0.1:9/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}"#;
    let json = "content-type: application/json";
    assert_eq!(curl(&["-X", "PUT", "-H", &token, "-H", json, "--data-binary", hook, &format!("{api}/v1/webhooks/ops")]).status, 201);

    let mut page = String::from(
        "# Metrics\n\nEvery process serves these as Prometheus text at `/metrics` of its admin listener (the control plane: of its API).\n\
         This page is written by a test from what the processes say; `SKERRY_BLESS=1` rewrites it.\n",
    );
    table(&mut page, "Edge", cdn.at("/edges/0/admin"));
    table(&mut page, "Shield", cdn.at("/shields/0/admin"));
    table(&mut page, "Control plane and DNS", cdn.at("/control/api"));
    let node = DnsNode::join(&cdn, "dns-1");
    curl(&["--header", "Host: nothing.example.com", &format!("http://{}/", node.at("route"))]);
    dig(node.at("dns"), &["default.cdn.test", "A"]);
    table(&mut page, "DNS node", &format!("http://{}", node.at("admin")));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/metrics.md");
    if std::env::var_os("SKERRY_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/reference/metrics.md is not what the processes say; run this test with SKERRY_BLESS=1 and read the difference"
    );
}
