//! Whom DNS sends where: fences of sites, weights and costs of edges.

use crate::house::cdn::SOON;
use crate::house::dns_node::DnsNode;
use crate::house::{Cdn, Got, curl, dig, wait_until};

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
    wait_until("its own region to be answered", SOON, || first().as_deref() == Some("127.0.0.1"));
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

#[test]
fn a_route_is_told_with_what_excludes_the_others() {
    let cdn = Cdn::start(&[]);
    let fenced = cdn.file("fenced.toml", FENCED);
    cdn.skerry(&["site", "apply", &fenced]).fine();
    let route = |words: &[&str]| cdn.json(&[&["route"], words].concat());
    let choice = route(&["10.1.2.3"]);
    assert_eq!(
        (&choice["edges"], &choice["reason"], &choice["client"]),
        (&serde_json::json!(["edge-1"]), &"declared".into(), &"10.1.2.3/32".into())
    );
    assert_eq!(choice["ttl"], 1, "{choice}");
    let excluded = |choice: &serde_json::Value, name: &str| {
        let candidates = choice["candidates"].as_array().unwrap();
        candidates.iter().find(|candidate| candidate["name"] == name).unwrap()["excluded"].as_str().map(str::to_owned)
    };
    assert_eq!(excluded(&choice, "edge-1"), None, "{choice}");
    assert_eq!(excluded(&choice, "edge-2").as_deref(), Some("another one is declared for the client's prefix"));
    wait_until("DNS to know the site", SOON, || cdn.skerry(&["route", "10.1.2.0/24", "fenced"]).code == 0);
    wait_until("the fenced site", SOON, || route(&["10.1.2.0/24", "fenced"])["edges"] == serde_json::json!(["edge-2"]));
    let fenced = route(&["10.1.2.0/24", "fenced"]);
    assert_eq!(excluded(&fenced, "edge-1").as_deref(), Some("it does not have the site, or the site is fenced off from its region"));
    let table = cdn.skerry(&["route", "10.1.2.3"]).fine().stdout;
    assert!(table.starts_with("10.1.2.3/32 is sent to edge-1: declared\n"), "{table}");
    assert!(table.contains("EXCLUDED") && table.contains("another one is declared"), "{table}");

    cdn.kill("edge-2");
    wait_until("the edge to be down", SOON, || excluded(&route(&["10.1.2.3"]), "edge-2").as_deref() == Some("it is not up"));
    assert_eq!(route(&["10.1.2.0/24", "fenced"])["reason"], "last_resort");
    assert!(cdn.skerry(&["route", "nobody"]).refused(1).contains("\"nobody\" is no client; write an address such as 192.0.2.7"));
    assert!(cdn.skerry(&["route", "10.1.2.3", "nothing"]).refused(1).contains("there is no site \"nothing\""));
}

const REDIRECTED: &str = "name = \"shop\"\nhosts = [\"shop.example.com\", \"*.shop.cdn.test\"]\norigin.urls = [\"ORIGIN\"]\n";

#[test]
fn the_routing_host_sends_clients_to_an_edge_that_answers() {
    let cdn = Cdn::start(&[]);
    let node = DnsNode::join(&cdn, "dns-1");
    let hosts = [cdn.at("/route").to_owned(), node.at("route").to_owned()];
    let text = REDIRECTED.replace("ORIGIN", cdn.at("/origin"));
    let shop = cdn.file("shop.toml", &text);
    cdn.skerry(&["site", "apply", &shop]).fine();
    let ask = |router: &str, host: &str, more: &[&str], path: &str| {
        curl(&[&["--path-as-is", "--header", &format!("Host: {host}"), &format!("http://{router}{path}")], more].concat())
    };
    let location = |got: &Got| got.field("location");
    for router in &hosts {
        wait_until("the site", SOON, || location(&ask(router, "shop.example.com", &[], "/")).contains(".shop."));
        // Nobody declared who serves clients of 127.0.0.0/8: that is the first region.
        let got = ask(router, "shop.example.com:80", &[], "/a%20b?q=1&r=//x");
        assert_eq!((got.status, location(&got)), (302, "https://edge-1.shop.cdn.test/a%20b?q=1&r=//x".to_owned()));
        assert_eq!(got.field("cache-control"), "no-store");
        assert_eq!(location(&ask(router, "SHOP.cdn.test.", &[], "/")), "https://edge-1.shop.cdn.test/", "the target of the site");
        assert_eq!(ask(router, "shop.example.com", &["--head"], "/").status, 302);
        assert_eq!(ask(router, "shop.example.com", &["--data", "x"], "/").status, 307);
        // The site of this CDN that owns every other host does not own the names of its edges by its own right, but for want of another.
        assert_eq!(location(&ask(router, "other.example.com", &[], "/")), "https://edge-1.default.cdn.test/");
    }
    assert_eq!(dig(cdn.at("/dns"), &["edge-1.shop.cdn.test", "A"]), ["127.0.0.1"]);
    assert_eq!(dig(node.at("dns"), &["edge-2.shop.cdn.test", "A"]), ["127.0.0.2"]);

    // By path, every path has an edge of its own, whoever asks where.
    let by_path = cdn.file("shop.toml", &format!("{text}route = {{ by = \"path\", scheme = \"http\" }}\n"));
    cdn.skerry(&["site", "apply", &by_path]).fine();
    let paths: Vec<String> = (0..20).map(|number| format!("/object-{number}")).collect();
    for router in &hosts {
        wait_until("the change", SOON, || location(&ask(router, "shop.example.com", &[], "/")).starts_with("http://"));
    }
    let all = |router: &str| paths.iter().map(|path| location(&ask(router, "shop.example.com", &[], path))).collect::<Vec<_>>();
    let chosen = all(&hosts[0]);
    assert_eq!(chosen, all(&hosts[1]));
    for edge in ["edge-1", "edge-2"] {
        let served = chosen.iter().filter(|location| location.starts_with(&format!("http://{edge}.shop.cdn.test/"))).count();
        assert!((3..=17).contains(&served), "{served} of 20 on {edge}");
    }
    // The edge answers there.
    let to = format!("edge-1.shop.cdn.test:80:{}", cdn.edge(1));
    wait_until("the edge to have the site", SOON, || {
        curl(&["--connect-to", &to, "http://edge-1.shop.cdn.test/"]).field("cache-status").contains("edge-1")
    });
    cdn.skerry(&["node", "drain", "edge-1"]).fine();
    wait_until("the edge to be left out", SOON, || all(&hosts[1]).iter().all(|location| location.starts_with("http://edge-2.")));

    // A site that does not own the names is not sent anywhere.
    let lacking = cdn.file("lacking.toml", "name = \"bare\"\nhosts = [\"bare.example.com\"]\norigin.urls = [\"http://127.0.0.1:9\"]\n");
    cdn.skerry(&["site", "apply", &lacking]).fine();
    let other = cdn.file("other.toml", "name = \"other\"\nhosts = [\"*.bare.cdn.test\"]\norigin.urls = [\"http://127.0.0.1:9\"]\n");
    cdn.skerry(&["site", "apply", &other]).fine();
    for router in &hosts {
        wait_until("the refusal", SOON, || ask(router, "bare.example.com", &[], "/").status == 501);
        let refused = ask(router, "bare.example.com", &[], "/");
        assert!(refused.text().contains("does not own \\\"*.bare.cdn.test\\\""), "{}", refused.text());
        assert_eq!(refused.field("content-type"), "application/problem+json");
    }
}
