//! A purge is in force on every node when the command returns.

use crate::house::{Cdn, Nginx, get};

const HOST: &str = "shop.example.com";
const PATH: &str = "/tagged/item.txt";

/// Fills both edges, changes the origin, purges with `arguments`, and asks both edges once.
#[track_caller]
fn check(arguments: &[&str]) {
    let origin = Nginx::start();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    origin.put(PATH, b"old\n");
    origin.put("/kept.txt", b"kept\n");
    for edge in [1, 1, 2, 2] {
        assert_eq!(get(cdn.edge(edge), HOST, PATH).text(), "old\n");
        get(cdn.edge(edge), "kept.example.com", "/kept.txt");
    }
    origin.put(PATH, b"new and longer\n");
    assert_eq!(get(cdn.edge(1), HOST, PATH).text(), "old\n", "nothing but the purge brings the new one");

    let said = cdn.skerry(&[&["purge"], arguments, &["--wait", "5s"]].concat()).fine();
    for node in ["edge-1", "edge-2", "shield-1"] {
        assert!(said.stdout.contains(node), "{node} is not named: {said:?}");
    }
    for edge in [1, 2] {
        assert_eq!(get(cdn.edge(edge), HOST, PATH).text(), "new and longer\n", "edge {edge}");
    }
    let everything = arguments.contains(&"--all") || arguments.contains(&"--site");
    assert_eq!(get(cdn.edge(1), "kept.example.com", "/kept.txt").is_hit_at("edge-1"), !everything, "what was not named stays");
}

#[test]
fn by_url() {
    check(&["--url", "http://shop.example.com/tagged/item.txt"]);
}

#[test]
fn by_prefix() {
    check(&["--prefix", "https://shop.example.com/tagged/"]);
}

#[test]
fn by_tag() {
    check(&["--tag", "blue"]);
}

#[test]
fn by_host() {
    check(&["--host", HOST]);
}

#[test]
fn by_site() {
    check(&["--site", "default"]);
}

#[test]
fn everything() {
    check(&["--all"]);
}

#[test]
fn soft() {
    check(&["--soft", "--tag", "red"]);
}

#[test]
fn several_at_once() {
    check(&["--url", "http://other.example.com/", "--tag", "none", "--tag", "red"]);
}

#[test]
fn a_node_that_is_away_is_named_and_does_not_hold_the_purge_up() {
    let cdn = Cdn::start(&[]);
    cdn.kill("edge-2");
    crate::house::wait_until("the control plane to see it", crate::house::cdn::SOON, || !cdn.follows("edge-2"));
    let said = cdn.skerry(&["purge", "--all", "--wait", "5s"]).fine();
    assert!(said.stdout.contains("edge-1"), "{said:?}");
    assert!(said.stdout.lines().any(|line| line.starts_with("not connected") && line.contains("edge-2")), "{said:?}");
}

#[test]
fn a_node_that_does_not_confirm_in_time_is_named_and_the_command_fails() {
    let cdn = Cdn::start(&[]);
    let (pid, _) = cdn.process("edge-2");
    crate::house::kill("STOP", pid);
    let said = cdn.skerry(&["purge", "--all", "--wait", "1s"]);
    crate::house::kill("CONT", pid);
    assert!(said.refused(1).contains("edge-2"), "{said:?}");
    crate::house::wait_until("the purge to arrive", crate::house::cdn::SOON, || cdn.follows("edge-2"));
}
