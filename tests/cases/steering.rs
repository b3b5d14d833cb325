//! Whom DNS sends where: fences of sites, weights and costs of edges.

use crate::house::cdn::SOON;
use crate::house::{Cdn, dig, wait_until};

const FENCED: &str =
    "name = \"fenced\"\nhosts = [\"fenced.example.com\"]\nregions = [\"region-2\"]\norigin.urls = [\"http://127.0.0.1:9\"]\n";

#[test]
fn a_fenced_site_is_answered_with_edges_of_its_regions_alone() {
    let cdn = Cdn::start(&[]);
    let server = cdn.at("/dns").to_owned();
    let ask = |name: &str, subnet: &str| dig(&server, &[name, "A", &format!("+subnet={subnet}")]);
    let typo = cdn.file("typo.toml", &FENCED.replace("region-2", "region-7"));
    let refused = cdn.skerry(&["site", "apply", &typo]);
    assert!(
        refused.stderr.contains("regions[0]: no edge is in region \"region-7\"; join it first, or write region-1, region-2"),
        "{refused:?}"
    );

    let fenced = cdn.file("fenced.toml", FENCED);
    cdn.skerry(&["site", "apply", &fenced]).fine();
    wait_until("the site", SOON, || ask("fenced.cdn.test", "10.2.2.0/24") == ["127.0.0.2"]);
    assert_eq!(ask("fenced.cdn.test", "10.1.2.0/24"), ["127.0.0.2"], "the declared region is outside");
    assert_eq!(ask("fenced.cdn.test", "192.0.2.0/24"), ["127.0.0.2"], "a client of no region");
    assert_eq!(ask("default.cdn.test", "10.1.2.0/24"), ["127.0.0.1"], "a site without a fence");

    cdn.kill("edge-2");
    wait_until("the other site to leave the edge", SOON, || ask("default.cdn.test", "10.2.2.0/24") == ["127.0.0.1"]);
    for subnet in ["10.1.2.0/24", "10.2.2.0/24"] {
        assert_eq!(ask("fenced.cdn.test", subnet), ["127.0.0.2"], "not even as a last resort");
    }
}

#[test]
fn an_edge_without_weight_gets_clients_only_while_no_other_can() {
    let cdn = Cdn::start(&[]);
    let server = cdn.at("/dns").to_owned();
    // Of no region, so of the first in the order: edge-1's.
    let first = || dig(&server, &["default.cdn.test", "A", "+subnet=10.1.2.0/24"]).first().cloned();
    assert_eq!(first().as_deref(), Some("127.0.0.1"));
    let said = cdn.skerry(&["node", "steer", "edge-1", "--weight", "0", "--cost", "5ms"]).fine();
    assert_eq!(said.stdout.trim(), "node edge-1 has a weight of 0 % and counts as 5 ms farther away");
    wait_until("the edge to be left out", SOON, || first().as_deref() == Some("127.0.0.2"));
    let shown = cdn.json(&["node", "list"]);
    assert_eq!(shown["nodes"][0]["steering"], serde_json::json!({"weight": 0, "cost_ms": 5}), "{shown}");
    let table = cdn.skerry(&["node", "list"]).fine().stdout;
    assert!(table.lines().any(|line| line.starts_with("edge-1") && line.contains(" 0 % ") && line.contains(" 5 ms ")), "{table}");

    cdn.kill("edge-2");
    wait_until("the edge to be the only one", SOON, || first().as_deref() == Some("127.0.0.1"));
    let refused = cdn.skerry(&["node", "steer", "edge-1", "--weight", "101"]);
    assert!(refused.refused(1).contains("write 0 to 100"), "{refused:?}");
    assert_eq!(cdn.skerry(&["node", "steer", "edge-1"]).code, 2);
}
