//! Changes of sites reach real nodes by stages: what breaks traffic stops at the first one, and whoever is killed in the middle, all converge.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::house::cdn::SOON;
use crate::house::wait::wait_for;
use crate::house::{Cdn, Reply, Scripted, get, wait_until};

const HOST: &str = "shop.test";
/// An origin that nobody answers at: the site passes every check.
const BROKEN: &str = "http://127.0.0.1:1";
/// How long a rollout may take here, the holds of its stages included.
const ROLLOUT_MAX: Duration = Duration::from_secs(90);

fn origin() -> Scripted {
    Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: no-store\r\n", "here"))
}

fn site(name: &str, host: &str, origin: &str) -> String {
    format!("name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\nurls = [\"{origin}\"]\n")
}

/// Two regions with an edge and a shield each, and a control plane that holds stages for so long.
fn held(hold: &str) -> Cdn {
    let mut cdn = Cdn::start(&["--edges", "2", "--shields", "2"]);
    let (_, config) = cdn.process("control");
    cdn.kill("control");
    let text = std::fs::read_to_string(&config).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("hold =") && !line.starts_with("requests_min ="));
    let text = kept.collect::<Vec<_>>().join("\n").replace("[rollout]", &format!("[rollout]\nhold = \"{hold}\"\nrequests_min = 20"));
    assert!(text.contains("requests_min = 20"), "{text}");
    std::fs::write(&config, text).unwrap();
    cdn.start_again("control");
    everyone(&cdn);
    cdn
}

fn everyone(cdn: &Cdn) {
    let all = ["edge-1", "edge-2", "shield-1", "shield-2"];
    wait_until("all nodes", SOON, || all.iter().all(|name| cdn.follows(name)));
}

fn apply(cdn: &Cdn, text: &str) -> u64 {
    cdn.json(&["site", "apply", &cdn.file("site.toml", text)])["rollout"].as_u64().unwrap()
}

fn shown(cdn: &Cdn, id: u64) -> Value {
    cdn.json(&["rollout", "show", &id.to_string()])
}

/// Waits until all nodes of the present stage have the configuration in force.
fn adopted(cdn: &Cdn, id: u64, stage: &str) {
    wait_for(&format!("stage {stage}"), SOON, || {
        let rollout = shown(cdn, id);
        let last = rollout["stages"].as_array().and_then(|stages| stages.last()).cloned().unwrap_or_default();
        if last["name"] == stage && last["adopted"].is_string() { Ok(()) } else { Err(format!("{rollout:#}")) }
    });
}

/// What a node has on its disk of configurations.
fn on_disk(cdn: &Cdn, node: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(cdn.data(node).join(name)).unwrap_or_default();
    read("snapshot.json") + &read("snapshot.changes")
}

/// The number on each node.
fn numbers(cdn: &Cdn) -> BTreeMap<String, u64> {
    let status = cdn.json(&["status"]);
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes.filter_map(|node| Some((node["name"].as_str()?.to_owned(), node["snapshot"].as_u64()?))).collect()
}

/// Clients of both edges that go on until their process is stopped.
struct Traffic(Vec<std::process::Child>);

impl Traffic {
    fn start(cdn: &Cdn, hosts: &[&str]) -> Self {
        let pairs = [1, 2].into_iter().flat_map(|edge| hosts.iter().map(move |host| (edge, *host)));
        let ask = |(edge, host): (usize, &str)| {
            // At most so many a second: enough for every stage, and little for the machine.
            let url = format!("http://{}/[1-100000]", cdn.edge(edge));
            let rate = ["--silent", "--rate", "60/s", "--output", "/dev/null", "--header"];
            let mut client = Command::new("curl");
            client.args(rate).arg(format!("Host: {host}")).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            client.spawn().unwrap()
        };
        Self(pairs.map(ask).collect())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for client in &mut self.0 {
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

#[test]
fn a_change_that_passes_the_checks_and_breaks_traffic_is_stopped_at_the_first_stage() {
    let origin = origin();
    let cdn = held("6s");
    for (name, host) in [("shop", HOST), ("news", "news.test"), ("first", "first.test")] {
        cdn.skerry(&["site", "apply", "--wait", "60s", &cdn.file("site.toml", &site(name, host, &origin.url()))]).fine();
    }
    let traffic = Traffic::start(&cdn, &[HOST, "news.test"]);
    // While this one is held the other two come together.
    let held = apply(&cdn, &site("first", "other.test", &origin.url()));
    adopted(&cdn, held, "node");
    let listed = cdn.json(&["site", "list"]);
    let of = |name: &str| listed["sites"].as_array().unwrap().iter().find(|site| site["name"] == name).cloned().unwrap();
    assert_eq!(["version", "settled", "rollout"].map(|field| of("first")[field].as_u64()), [Some(2), Some(1), Some(held)], "{listed:#}");
    assert_eq!(["version", "settled", "rollout"].map(|field| of("shop")[field].as_u64()), [Some(1), Some(1), None], "{listed:#}");
    apply(&cdn, &(site("news", "news.test", &origin.url()) + "[cache]\ndefault_ttl = \"1s\"\n"));
    let broken = cdn.file("broken.toml", &site("shop", HOST, BROKEN));
    let id = cdn.json(&["site", "apply", &broken])["rollout"].as_u64().unwrap();
    assert_eq!(id, held + 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| cdn.skerry(&["site", "apply", "--wait", "90s", &broken]));
        cdn.skerry(&["rollout", "abort", &held.to_string()]).fine();
        let why = waiting.join().unwrap();
        assert!(why.refused(1).contains("site shop was rolled back by rollout"), "{why:?}");
    });
    let rollout = wait_for("the end", ROLLOUT_MAX, || {
        let rollout = shown(&cdn, id);
        if rollout["ended"].is_string() { Ok(rollout) } else { Err(format!("{rollout:#}")) }
    });
    drop(traffic);
    let sites = rollout["sites"].as_array().unwrap();
    let shop = sites.iter().find(|site| site["name"] == "shop").unwrap();
    let reason = shop["rolled_back"]["reason"].as_str().unwrap();
    assert!(reason.contains("requests failed"), "{reason}");
    assert!(sites.iter().any(|site| site["name"] == "news" && site["rolled_back"].is_null()), "{rollout:#}");
    assert_eq!(rollout["state"], "done", "{rollout:#}");
    // Those with most of the traffic came first, and nobody after them.
    let first: Vec<&str> = rollout["stages"][0]["nodes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(first.len(), 2, "{rollout:#}");
    for node in ["edge-1", "edge-2", "shield-1", "shield-2"] {
        assert_eq!(on_disk(&cdn, node).contains(BROKEN), first.contains(&node), "{node}, {first:?}");
    }
    everyone(&cdn);
    for edge in [1, 2] {
        assert_eq!(get(cdn.edge(edge), HOST, "/after").text(), "here");
        assert_eq!(get(cdn.edge(edge), "news.test", "/after").text(), "here");
    }
    let history = cdn.skerry(&["site", "history", "shop"]).fine().stdout;
    assert!(history.lines().last().is_some_and(|line| line.contains("rollout") && line.contains("requests failed")), "{history}");
}

#[test]
fn whoever_is_killed_in_the_middle_of_a_rollout_all_converge_and_no_number_falls() {
    let (old, new) = (origin(), origin());
    let mut cdn = held("1h");
    cdn.skerry(&["site", "apply", "--wait", "60s", &cdn.file("site.toml", &site("shop", HOST, &old.url()))]).fine();
    let mut before = numbers(&cdn);
    let mut none_fell = |cdn: &Cdn| {
        let now = numbers(cdn);
        for (node, number) in &now {
            assert!(before.get(node).is_none_or(|before| before <= number), "{node}: {before:?} {now:?}");
        }
        before.extend(now);
    };
    let id = apply(&cdn, &site("shop", HOST, &new.url()));
    adopted(&cdn, id, "node");
    none_fell(&cdn);
    cdn.kill("control");
    assert_eq!(get(cdn.edge(1), HOST, "/alone").text(), "here");
    cdn.kill("edge-1");
    cdn.start_again("edge-1");
    cdn.start_again("control");
    wait_until("the node of the first stage", SOON, || numbers(&cdn).len() == 4);
    let rollout = shown(&cdn, id);
    assert_eq!((&rollout["state"], rollout["stages"].as_array().unwrap().len()), (&"running".into(), 1), "{rollout:#}");
    none_fell(&cdn);
    assert!(on_disk(&cdn, "edge-1").contains(&new.url()) && !on_disk(&cdn, "edge-2").contains(&new.url()));

    cdn.skerry(&["rollout", "proceed", &id.to_string()]).fine();
    adopted(&cdn, id, "all");
    none_fell(&cdn);
    cdn.kill("shield-2");
    cdn.kill("control");
    cdn.start_again("control");
    cdn.skerry(&["rollout", "proceed", &id.to_string()]).fine();
    cdn.start_again("shield-2");
    wait_for("the end", SOON, || {
        let rollout = shown(&cdn, id);
        if rollout["state"] == "done" { Ok(()) } else { Err(format!("{rollout:#}")) }
    });
    everyone(&cdn);
    none_fell(&cdn);
    for node in ["edge-1", "edge-2", "shield-1", "shield-2"] {
        assert!(on_disk(&cdn, node).contains(&new.url()), "{node}");
    }
    let listed = cdn.skerry(&["rollout", "list"]).fine().stdout;
    assert!(listed.contains("done") && !listed.contains("not on all nodes"), "{listed}");
}
