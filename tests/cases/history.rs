//! What nodes did while the control plane was away, and what they say of themselves.

use std::time::Duration;

use serde_json::Value;

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, curl, get, wait_until};

/// After so long a node has brought to disk what it counted.
const ON_DISK: Duration = Duration::from_secs(12);

fn origin() -> Scripted {
    Scripted::start(|seen| match seen.line() {
        line if line.contains("/bad") => Reply::whole("500 Internal Server Error", "", "bad"),
        line if line.contains("/cut") => Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n0123").then_close(),
        _ => Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "there"),
    })
}

/// What the first edge has counted since it started.
fn counted(cdn: &Cdn) -> u64 {
    let text = curl(&[&format!("{}/metrics", cdn.at("/edges/0/admin"))]).text();
    let lines = text.lines().filter(|line| line.starts_with("skerry_edge_requests_total{"));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(_, count)| count.parse::<u64>().unwrap()).sum()
}

fn read(cdn: &Cdn, path: &str) -> Value {
    let token = format!("Authorization: Bearer {}", cdn.at("/control/token"));
    let got = curl(&["-H", &token, &format!("{}{path}", cdn.at("/control/api"))]);
    assert_eq!(got.status, 200, "{got:?}");
    serde_json::from_str(&got.text()).unwrap()
}

#[test]
fn nothing_that_a_node_did_is_lost_or_counted_twice_over_an_outage() {
    let origin = origin();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    // `skerry dev` has asked it too, to see that it answers.
    let mut asked = counted(&cdn);
    let mut ask = |cdn: &Cdn, times: u64| {
        for _ in 0..times {
            asked += 1;
            assert_eq!(get(cdn.edge(1), "www.test", &format!("/{}", asked % 10)).status, 200);
        }
        asked
    };
    ask(&cdn, 7);
    let taken = read(&cdn, "/v1/nodes/edge-1/history")["total"]["requests"].as_u64().unwrap();
    cdn.kill("control");
    let before = ask(&cdn, 20);
    let file = |name: &str| {
        let text = std::fs::read(cdn.data("edge-1").join(name)).unwrap_or_default();
        serde_json::from_slice::<Value>(&text).unwrap_or_default()
    };
    let sum = |bucket: &Value| bucket["sums"]["requests"].as_u64().unwrap_or(0);
    let closed = || file("history-closed.json")["closed"].as_array().map_or(0, |list| list.iter().map(sum).sum());
    wait_until("what was counted to be on disk", ON_DISK, || taken + sum(&file("history.json")["open"]) + closed() == before);
    cdn.kill("edge-1");
    cdn.start_again("edge-1");
    let all = ask(&cdn, 30);
    cdn.start_again("control");
    let total = || read(&cdn, "/v1/nodes/edge-1/history")["total"].clone();
    wait_until("the history", SOON, || total()["requests"].as_u64() >= Some(all));
    let total = total();
    assert_eq!(total["requests"], all, "{total}");
    // And once more, with nothing new.
    cdn.kill("control");
    cdn.start_again("control");
    wait_until("the edge", SOON, || cdn.follows("edge-1"));
    let history = read(&cdn, "/v1/nodes/edge-1/history");
    assert_eq!(history["total"]["requests"], all, "{history}");
    let buckets = history["buckets"].as_array().unwrap();
    let of = |value: &Value| value["requests"].as_u64().unwrap();
    assert_eq!(buckets.iter().map(of).sum::<u64>(), all, "{history}");
    let sites: u64 = buckets.iter().flat_map(|bucket| bucket["sites"].as_array().unwrap()).map(of).sum();
    assert_eq!(sites, all, "{history}");
    let table = cdn.skerry(&["node", "history", "edge-1", "--from", "2026-11-01T00:00:00Z"]).fine().stdout;
    let total = table.lines().last().unwrap();
    assert!(total.starts_with("since it joined") && total.contains(&all.to_string()), "{table}");
    let refused = cdn.skerry(&["node", "history", "edge-1", "--from", "yesterday"]);
    assert!(refused.code == 1 && refused.stderr.contains("yesterday"), "{refused:?}");
}

#[test]
fn a_node_tells_its_figures_and_its_last_errors() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    get(cdn.edge(1), "www.test", "/fine");
    get(cdn.edge(1), "www.test", "/bad/thing?token=secret");
    crate::house::clients::curl_to_the_end(&["-H", "Host: www.test", &format!("http://{}/cut", cdn.edge(1))]);
    let said = cdn.skerry(&["node", "figures", "edge-1", "--metric", "skerry_edge_requests"]).fine().stdout;
    assert!(said.contains("skerry_edge_requests_total{cache=\"error\",status=\"200\"} 1"), "{said}");
    assert!(!said.contains("skerry_cache"), "{said}");
    let errors = cdn.json(&["node", "errors", "edge-1"]);
    let errors = errors["errors"].as_array().unwrap();
    let found: Vec<_> = errors.iter().map(|error| (error["url"].as_str().unwrap(), error["status"].as_u64().unwrap())).collect();
    assert_eq!(found, [("www.test/cut", 200), ("www.test/bad/thing", 500)], "{errors:?}");
    assert_eq!((&errors[0]["site"], &errors[1]["method"]), (&Value::from("default"), &Value::from("GET")), "{errors:?}");
    assert!(!errors[0]["reason"].as_str().unwrap().is_empty(), "{errors:?}");
    // The shield has them too, and its table is for people.
    let table = cdn.skerry(&["node", "errors", "shield-1"]).fine().stdout;
    assert!(table.contains("www.test/bad/thing") && !table.contains("secret"), "{table}");
    let status = cdn.skerry(&["status"]).fine().stdout;
    assert!(status.contains("CERTIFICATE ENDS") && status.contains("PER SECOND"), "{status}");
}
