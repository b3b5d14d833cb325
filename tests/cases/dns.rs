//! DNS, as dig sees it.

use crate::house::cdn::SOON;
use crate::house::{Cdn, dig, wait_until};

#[test]
fn two_clients_get_two_edges_and_the_other_one_when_theirs_stops() {
    let cdn = Cdn::start(&[]);
    let server = cdn.at("/dns").to_owned();
    let ask = |subnet: &str| dig(&server, &["default.cdn.test", "A", &format!("+subnet={subnet}")]);
    assert_eq!(ask("10.1.2.0/24"), ["127.0.0.1"]);
    assert_eq!(ask("10.2.2.0/24"), ["127.0.0.2"]);

    cdn.kill("edge-1");
    wait_until("clients of edge-1 to be sent to edge-2", SOON, || ask("10.1.2.0/24") == ["127.0.0.2"]);
    assert_eq!(ask("10.2.2.0/24"), ["127.0.0.2"]);
}

#[test]
fn a_drained_node_is_left_out_and_comes_back() {
    let cdn = Cdn::start(&[]);
    let server = cdn.at("/dns").to_owned();
    let ask = || dig(&server, &["default.cdn.test", "A", "+subnet=10.2.2.0/24"]);
    cdn.skerry(&["node", "drain", "edge-2"]).fine();
    wait_until("the drained node to be left out", SOON, || ask() == ["127.0.0.1"]);
    cdn.skerry(&["node", "resume", "edge-2"]).fine();
    wait_until("the node to be back", SOON, || ask() == ["127.0.0.2"]);
}

#[test]
fn the_zone_has_its_records_over_udp_and_tcp() {
    let cdn = Cdn::start(&[]);
    let server = cdn.at("/dns").to_owned();
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(dig(&server, &["cdn.test", "NS", transport]), ["ns1.cdn.test."]);
        assert_eq!(dig(&server, &["cdn.test", "SOA", transport]).len(), 1);
        assert!(!dig(&server, &["default.cdn.test", "A", transport]).is_empty());
    }
    assert_eq!(dig(&server, &["example.org", "A"]), Vec::<String>::new(), "another zone is not ours to answer");
}
