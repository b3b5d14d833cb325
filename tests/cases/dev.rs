//! `skerry dev` itself.

use crate::house::cdn::SOON;
use crate::house::command::is_running;
use crate::house::{Cdn, get, kill, skerry, wait_until};

/// Where a fixed layout has room: below the ports that `skerry dev` and the kernel choose by themselves.
fn free_base() -> u16 {
    let has_room = |base: u16| (base..base + 128).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
    (10_000..18_000).step_by(128).find(|base| has_room(*base)).expect("room for a layout")
}

fn pids(cdn: &Cdn) -> Vec<u64> {
    ["control", "shield-1", "edge-1", "edge-2"].iter().map(|name| cdn.process(name).0).collect()
}

#[test]
fn the_endpoints_file_says_where_everything_is_and_goes_with_it() {
    let cdn = Cdn::start(&[]);
    let names = |kind: &str| -> Vec<String> {
        cdn.endpoints()[kind].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((names("shields"), names("edges")), (vec!["shield-1".to_owned()], vec!["edge-1".to_owned(), "edge-2".to_owned()]));
    assert_eq!(cdn.at("/zone"), "cdn.test");
    for pointer in ["/control/api", "/control/token", "/control/ca", "/dns", "/origin", "/edges/1/https", "/edges/1/h3", "/edges/1/region"]
    {
        assert!(!cdn.at(pointer).is_empty());
    }
    for pointer in ["/edges/0/admin", "/edges/1/admin", "/shields/0/admin"] {
        let metrics = crate::house::curl(&[&format!("{}/metrics", cdn.at(pointer))]);
        assert!(metrics.status == 200 && metrics.text().contains("skerry_"), "{metrics:?}");
    }
    let pids = pids(&cdn);
    assert!(pids.iter().all(|pid| is_running(*pid)), "every pid is one of a process");
    let (code, place) = cdn.stop("TERM");
    assert_eq!(code, 0);
    assert!(!place.path().join("endpoints.json").exists());
    assert!(pids.iter().all(|pid| !is_running(*pid)), "no process outlives skerry dev");
}

#[test]
fn an_interrupt_stops_it_and_a_second_run_is_the_same_cdn() {
    let base = free_base().to_string();
    let cdn = Cdn::start(&["--port-base", &base]);
    let file = cdn.file("site.toml", "name = \"shop\"\nhosts = [\"shop.example.com\"]\n[origin]\nurls = [\"http://127.0.0.1:1\"]\n");
    cdn.skerry(&["site", "apply", &file]).fine();
    let token = cdn.at("/control/token").to_owned();
    // As when the first run was ended between a node's being let in and its keeping what it was given.
    std::fs::remove_file(cdn.data("edge-1").join("node.crt")).unwrap();
    let (code, place) = cdn.stop("INT");
    assert_eq!(code, 0);

    let cdn = Cdn::start_in(place, &["--port-base", &base]);
    assert_eq!(cdn.at("/control/token"), token);
    assert!(cdn.skerry(&["site", "list"]).fine().stdout.contains("shop.example.com"));
    assert_eq!(get(cdn.edge(1), "www.example.com", "/").status, 200);
}

#[test]
fn a_process_that_dies_is_named_with_the_command_that_starts_it() {
    let mut cdn = Cdn::start(&[]);
    cdn.kill("edge-2");
    wait_until("the line", SOON, || cdn.said().contains("signal 9"));
    let said = cdn.said();
    let line = said.lines().find(|line| line.contains("edge-2") && line.contains("signal 9")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("skerry edge --config"), "{line}");
    assert_eq!(get(cdn.edge(1), "www.example.com", "/").status, 200, "the others go on");
    cdn.start_again("edge-2");
    assert_eq!(get(cdn.edge(2), "www.example.com", "/").status, 200);
}

#[test]
fn its_processes_end_with_it_even_when_it_is_killed() {
    let cdn = Cdn::start(&[]);
    let pids = pids(&cdn);
    let (code, _place) = cdn.stop("KILL");
    assert_eq!(code, -1);
    wait_until("the end of all processes", SOON, || pids.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn more_edges_and_shields_are_asked_for_by_number() {
    let cdn = Cdn::start(&["--edges", "3", "--shields", "2"]);
    assert_eq!(get(cdn.edge(3), "www.example.com", "/").status, 200);
    assert_eq!(cdn.endpoints()["shields"].as_array().unwrap().len(), 2);
    assert_eq!(cdn.json(&["status"])["nodes"].as_array().unwrap().len(), 5);
    let none = skerry(&["dev", "--edges", "0"]);
    assert_eq!(none.code, 2, "{none:?}");
    let (pid, _) = cdn.process("edge-3");
    kill("TERM", pid);
    wait_until("edge-3 to stop when asked", SOON, || !is_running(pid));
}
