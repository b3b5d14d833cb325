//! DNS answers with the edge that is fastest, as the edges measured it on real connections, and with another when that is no longer so.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::house::hosts::Hosts;
use crate::house::{Reply, dig, get, wait_until};

/// How long DNS may take to follow.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);
/// How long an answer stays that is no trial of the edge that is thought to be the slower one: those last as long as an answer lives and 15 s.
const STAYS: Duration = Duration::from_secs(25);
/// From a client's request to its next.
const REST: Duration = Duration::from_millis(200);
/// The ways of the client to the nearer edge and to the one farther away.
const NEAR: Duration = Duration::from_millis(5);
const FAR: Duration = Duration::from_millis(60);

/// What takes the time: an edge reports what it measured every 5 s, a plan is made every 5 s, and a jump is believed when a report has more than one
/// connection of it: about ten seconds in all. Each answer is then watched for 25 s more. DNS is asked as by a resolver that has nothing in its cache.
#[test]
fn dns_moves_to_the_faster_edge_within_a_minute_after_the_ways_are_swapped() {
    let Some(hosts) = Hosts::start_apart("5s") else { return };
    let origin = hosts.origin(|_| Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "whole"));
    let site = format!("name = \"shop\"\nhosts = [\"shop.test\"]\n[origin]\nurls = [\"{}\"]\n", origin.url());
    hosts.apply(&[site]);
    let net = &hosts.net;
    let (edges, control) = (["edge-1", "edge-2"].map(|edge| net.address(edge)), format!("{}:5300", net.address("control")));
    let set_ways = |ways: [Duration; 2]| ["edge-1", "edge-2"].iter().zip(ways).for_each(|(edge, way)| net.set_way("client", edge, way));
    let answered = || {
        let lines = net.on("client", || dig(&control, &["shop.cdn.test", "A"]));
        lines.first().and_then(|line| line.parse::<Ipv4Addr>().ok())
    };

    let stop = AtomicBool::new(false);
    let is_asking = |number: usize| {
        let edge = hosts.edge(number);
        // Each request by a connection of its own, as of clients that come and go.
        net.on("client", || {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(get(&edge, "shop.test", "/a").text(), "whole");
                std::thread::park_timeout(REST);
            }
        });
    };
    set_ways([NEAR, FAR]);
    std::thread::scope(|scope| {
        // Some of a network's clients are at each edge: their resolvers have cached another answer, or were given the other one to explore it.
        let clients = [1, 2].map(|number| scope.spawn(move || is_asking(number)));
        let watched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (ways, fastest) in [([NEAR, FAR], edges[0]), ([FAR, NEAR], edges[1])] {
                set_ways(ways);
                let (began, mut since) = (Instant::now(), None);
                wait_until(&format!("{fastest} to be the answer"), FOLLOWS_WITHIN + STAYS, || {
                    since = (answered() == Some(fastest)).then(|| since.unwrap_or_else(Instant::now));
                    since.is_some_and(|since| since.elapsed() >= STAYS)
                });
                let took = since.unwrap().duration_since(began);
                assert!(took < FOLLOWS_WITHIN, "{fastest} became the answer after {took:?}");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        if let Err(panic) = watched {
            std::panic::resume_unwind(panic);
        }
    });
}
