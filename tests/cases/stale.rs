//! Stale answers, through both tiers: while they are refreshed, and when the origin fails.

use crate::house::cdn::SOON;
use crate::house::{Cdn, Python, get, wait_until};

const HOST: &str = "stale.example.com";

fn cdn(origin: &Python, cache: &str) -> Cdn {
    let cdn = Cdn::start(&[]);
    let site = format!("name = \"stale\"\nhosts = [\"{HOST}\"]\n[origin]\nurls = [\"{}\"]\n[cache]\n{cache}\n", origin.url());
    cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site)]).fine();
    wait_until("the site", SOON, || get(cdn.edge(1), HOST, "/a.txt").text() == "one\n");
    cdn
}

#[test]
fn an_answer_outlives_its_origin_as_long_as_the_site_allows() {
    let origin = Python::start();
    origin.put("/a.txt", b"one\n");
    let cdn = cdn(&origin, "default_ttl = \"1s\"\nstale_if_error = \"1h\"");
    drop(origin);
    wait_until("a stale answer", SOON, || {
        let got = get(cdn.edge(1), HOST, "/a.txt");
        assert_eq!((got.status, got.text().as_str()), (200, "one\n"), "fresh or stale, but never an error: {got:?}");
        got.field("cache-status").contains("stale-if-error")
    });
    let other = get(cdn.edge(2), HOST, "/a.txt");
    assert_eq!((other.status, other.text().as_str()), (200, "one\n"), "the shield has it for an edge that never saw it: {other:?}");
    assert_eq!(get(cdn.edge(1), HOST, "/b.txt").status, 502, "what was never stored is an error");
}

#[test]
fn a_stale_answer_is_served_while_it_is_refreshed() {
    let origin = Python::start();
    origin.put("/a.txt", b"one\n");
    let cdn = cdn(&origin, "default_ttl = \"1s\"\nstale_while_revalidate = \"1h\"");
    wait_until("a stored answer", SOON, || get(cdn.edge(1), HOST, "/a.txt").is_hit_at("edge-1"));
    let mut stale = false;
    wait_until("the other content", SOON, || {
        // Again and again: the origin tells versions apart by whole seconds.
        origin.put("/a.txt", b"two and longer\n");
        let got = get(cdn.edge(1), HOST, "/a.txt");
        assert!(got.is_hit_at("edge-1"), "nobody waits for the origin: {got:?}");
        stale |= got.field("cache-status").contains("stale-while-revalidate");
        got.text() == "two and longer\n"
    });
    assert!(stale, "the old content was served fresh to the end");
}
