//! Hosts that are far from each other: how long the ways between them are is what every connection sees.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::house::net::Net;

/// What a machine that has more to do may add to a round trip.
const LATE: Duration = Duration::from_millis(60);

/// The time to open a connection: one round trip.
fn to_open(net: &Net, from: &str, to: SocketAddr) -> Duration {
    net.on(from, || {
        let began = Instant::now();
        TcpStream::connect_timeout(&to, Duration::from_secs(10)).expect("a connection");
        began.elapsed()
    })
}

#[test]
fn a_connection_takes_as_long_as_the_way_and_another_when_ways_are_swapped() {
    let net = match Net::make_apart(&["client", "near", "far"]) {
        Ok(net) => net,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "no hosts here, and CI has to have them: {why}");
            eprintln!("skipped: no hosts of their own on this machine: {why}");
            return;
        }
    };
    let listen = |host: &str| net.on(host, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap());
    let (_near, _far) = (listen("near"), listen("far"));
    let at = |host: &str| SocketAddr::new(net.address(host).into(), 80);
    let (short, long) = (Duration::from_millis(10), Duration::from_millis(100));
    for (near, far) in [(short, long), (long, short)] {
        net.set_way("client", "near", near);
        net.set_way("client", "far", far);
        for (host, way) in [("near", near), ("far", far)] {
            let took = to_open(&net, "client", at(host));
            assert!(took >= 2 * way && took < 2 * way + LATE, "{host} is {way:?} away, and took {took:?}");
        }
    }
    let took = to_open(&net, "near", at("far"));
    assert!(took < LATE, "these two are as near to each other as ever, and took {took:?}");
}
