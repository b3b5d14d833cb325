//! Without the control plane.

use crate::house::cdn::SOON;
use crate::house::{Cdn, Nginx, get, wait_until};

const HOST: &str = "shop.example.com";

#[test]
fn edges_go_on_restart_and_catch_up() {
    let origin = Nginx::start();
    origin.put("/a.txt", b"one\n");
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let ask = |cdn: &Cdn, edge, path: &str| get(cdn.edge(edge), HOST, path);
    assert_eq!(ask(&cdn, 1, "/a.txt").text(), "one\n");

    cdn.kill("control");
    assert!(ask(&cdn, 1, "/a.txt").is_hit_at("edge-1"), "what is stored is served");
    origin.put("/b.txt", b"two\n");
    assert_eq!(ask(&cdn, 2, "/b.txt").text(), "two\n", "what is not stored is fetched");

    cdn.kill("edge-1");
    cdn.start_again("edge-1");
    assert_eq!(ask(&cdn, 1, "/b.txt").text(), "two\n", "an edge that starts alone serves from its copy");

    cdn.start_again("control");
    for node in ["edge-1", "edge-2", "shield-1"] {
        wait_until(&format!("{node} to follow again"), SOON, || cdn.follows(node));
    }
    origin.put("/a.txt", b"one, changed\n");
    ask(&cdn, 2, "/a.txt");
    cdn.skerry(&["purge", "--all", "--wait", "5s"]).fine();
    for edge in [1, 2] {
        assert_eq!(ask(&cdn, edge, "/a.txt").text(), "one, changed\n");
    }
}

#[test]
fn a_purge_missed_while_away_is_in_force_before_the_node_follows() {
    let origin = Nginx::start();
    origin.put("/a.txt", b"old\n");
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    assert_eq!(get(cdn.edge(2), HOST, "/a.txt").text(), "old\n");
    cdn.kill("edge-2");
    cdn.skerry(&["purge", "--all"]).fine();
    origin.put("/a.txt", b"new and longer\n");
    cdn.start_again("edge-2");
    wait_until("edge-2 to follow", SOON, || cdn.follows("edge-2"));
    assert_eq!(get(cdn.edge(2), HOST, "/a.txt").text(), "new and longer\n");
}
