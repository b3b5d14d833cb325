//! DNS nodes: `skerry dns` follows a control plane, answers without it, and catches up.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::house::cdn::SOON;
use crate::house::dns_node::DnsNode;
use crate::house::{Cdn, dig, get, run, wait_until};

const SHOP: &str = "name = \"shop\"\nhosts = [\"shop.example.com\"]\norigin.urls = [\"http://127.0.0.1:9\"]\n";

#[test]
fn a_dns_node_answers_while_the_control_plane_is_dead_and_after_its_own_restart_and_catches_up() {
    let mut cdn = Cdn::start(&[]);
    let node = DnsNode::join(&cdn, "dns-1");
    let ask = |node: &DnsNode, name: &str, subnet: &str| dig(node.at("dns"), &[name, "A", &format!("+subnet={subnet}")]);
    assert_eq!(ask(&node, "default.cdn.test", "10.1.2.0/24"), ["127.0.0.1"]);
    assert_eq!(ask(&node, "default.cdn.test", "10.2.2.0/24"), ["127.0.0.2"]);
    assert_eq!(dig(node.at("dns"), &["cdn.test", "NS", "+tcp"]), ["ns1.cdn.test."]);

    // It hears of changes: of nodes, and of sites.
    cdn.skerry(&["node", "drain", "edge-2"]).fine();
    wait_until("the drained node to be left out", SOON, || ask(&node, "default.cdn.test", "10.2.2.0/24") == ["127.0.0.1"]);
    cdn.skerry(&["node", "resume", "edge-2"]).fine();
    wait_until("the node to be back", SOON, || ask(&node, "default.cdn.test", "10.2.2.0/24") == ["127.0.0.2"]);

    cdn.kill("control");
    assert_eq!(ask(&node, "default.cdn.test", "10.2.2.0/24"), ["127.0.0.2"]);
    let node = DnsNode::start(node.kill());
    assert!(node.log().contains("answering from the copy on disk"), "{}", node.log());
    assert_eq!(ask(&node, "default.cdn.test", "10.1.2.0/24"), ["127.0.0.1"]);
    assert_eq!(ask(&node, "default.cdn.test", "10.2.2.0/24"), ["127.0.0.2"]);
    assert_eq!(ask(&node, "shop.cdn.test", "10.2.2.0/24"), Vec::<String>::new());

    cdn.start_again("control");
    let shop = cdn.file("shop.toml", SHOP);
    cdn.skerry(&["site", "apply", &shop]).fine();
    wait_until("the new site to be answered", SOON, || ask(&node, "shop.cdn.test", "10.2.2.0/24") == ["127.0.0.2"]);
    assert_eq!(ask(&node, "default.cdn.test", "10.1.2.0/24"), ["127.0.0.1"]);
}

#[test]
fn a_dns_node_is_a_node_that_purges_and_rollouts_do_not_wait_for() {
    let cdn = Cdn::start(&[]);
    let node = DnsNode::join(&cdn, "dns-1");
    assert!(!dig(node.at("dns"), &["default.cdn.test", "A"]).is_empty());
    let shown = || cdn.json(&["status"])["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "dns-1").cloned().unwrap();
    wait_until("its load", SOON, || shown()["requests"].as_u64() > Some(0));
    let dns = shown();
    assert_eq!((&dns["role"], &dns["connected"], &dns["snapshot"]), (&"dns".into(), &true.into(), &serde_json::Value::Null));
    assert!(dns["zone_serial"].as_u64() > Some(0), "{dns}");
    assert_eq!((&dns["behind"]["snapshots"], &dns["behind"]["purges"]), (&0.into(), &0.into()));
    let table = cdn.skerry(&["node", "list"]).fine().stdout;
    let line = table.lines().find(|line| line.starts_with("dns-1")).unwrap();
    assert!(line.contains(" dns ") && line.contains(" up ") && line.contains(" zone "), "{table}");

    let purged = cdn.json(&["purge", "--all", "--wait", "20s"]);
    assert_eq!((&purged["nodes"]["pending"], &purged["nodes"]["away"]), (&serde_json::json!([]), &serde_json::json!([])), "{purged}");
    assert!(!purged["nodes"]["acked"].as_array().unwrap().contains(&"dns-1".into()), "{purged}");
    let shop = cdn.file("shop.toml", SHOP);
    cdn.skerry(&["site", "apply", &shop, "--wait", "20s"]).fine();

    let metrics = get(node.at("admin"), "localhost", "/metrics").text();
    assert!(metrics.contains("skerry_dns_zone_changes_total ") && metrics.contains("skerry_dns_queries_total{"), "{metrics}");
    // It is let go of like any other.
    cdn.skerry(&["node", "remove", "dns-1"]).fine();
    wait_until("the end of its stream", SOON, || node.log().contains("refused by the control plane"));
    assert!(!dig(node.at("dns"), &["default.cdn.test", "A"]).is_empty(), "what it has it answers");
}

#[test]
fn a_client_keeps_its_cookie_at_all_name_servers_and_no_log_has_the_secret() {
    let mut cdn = Cdn::start(&[]);
    let node = DnsNode::join(&cdn, "dns-1");
    let control = cdn.at("/dns").to_owned();
    let ask = |server: &str, cookie: &str| {
        let (host, port) = server.rsplit_once(':').unwrap();
        let arguments = [&format!("@{host}"), "-p", port, "+tries=2", "+header-only", "+nobadcookie", &format!("+cookie={cookie}")];
        run(Command::new("dig").args(arguments)).fine().stdout
    };
    let told = ask(&control, "0102030405060708");
    let cookie = told.split("; COOKIE: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert!(ask(node.at("dns"), &cookie).contains("status: NOERROR"), "the DNS node knows it");
    assert!(ask(node.at("dns"), &format!("{}{}", &cookie[..32], "0".repeat(16))).contains("status: BADCOOKIE"), "and no other");

    // Without the control plane, and after starts of both.
    cdn.kill("control");
    let node = DnsNode::start(node.kill());
    assert!(ask(node.at("dns"), &cookie).contains("status: NOERROR"));
    cdn.start_again("control");
    assert!(ask(&control, &cookie).contains("status: NOERROR"));

    let secrets: Value = serde_json::from_slice(&std::fs::read(cdn.data("control").join("dns-cookies")).unwrap()).unwrap();
    let octets: Vec<u8> = serde_json::from_value(secrets[0]["octets"].clone()).unwrap();
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let list = octets.iter().map(u8::to_string).collect::<Vec<_>>();
    let logs = [node.log(), cdn.log("control"), cdn.log("control-again"), cdn.skerry(&["status", "--json"]).fine().stdout];
    for shown in [hex, list.join(","), list.join(", ")] {
        assert!(logs.iter().all(|log| !log.contains(&shown)));
    }
    let mode = std::fs::metadata(cdn.data("control").join("dns-cookies")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
