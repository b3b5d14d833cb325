//! DNS, as dig, kdig and dnspython see it.

use crate::house::cdn::SOON;
use crate::house::clients::kdig;
use crate::house::control::Control;
use crate::house::python::python;
use crate::house::{Cdn, curl, dig, wait_until};

/// A CDN whose edges DNS has heard of: it hears a moment after they serve.
#[track_caller]
fn known() -> Cdn {
    let cdn = Cdn::start(&[]);
    let both = || {
        ["10.1.2.0/24", "10.2.2.0/24"]
            .iter()
            .all(|subnet| !dig(cdn.at("/dns"), &["default.cdn.test", "A", &format!("+subnet={subnet}")]).is_empty())
    };
    wait_until("DNS to know the edges", SOON, both);
    cdn
}

#[test]
fn two_clients_get_two_edges_and_the_other_one_when_theirs_stops() {
    let cdn = known();
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
    let cdn = known();
    let server = cdn.at("/dns").to_owned();
    let ask = || dig(&server, &["default.cdn.test", "A", "+subnet=10.2.2.0/24"]);
    cdn.skerry(&["node", "drain", "edge-2"]).fine();
    wait_until("the drained node to be left out", SOON, || ask() == ["127.0.0.1"]);
    cdn.skerry(&["node", "resume", "edge-2"]).fine();
    wait_until("the node to be back", SOON, || ask() == ["127.0.0.2"]);
}

#[test]
fn the_zone_has_its_records_over_udp_and_tcp() {
    let cdn = known();
    let server = cdn.at("/dns").to_owned();
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(dig(&server, &["cdn.test", "NS", transport]), ["ns1.cdn.test."]);
        assert_eq!(dig(&server, &["cdn.test", "SOA", transport]).len(), 1);
        assert!(!dig(&server, &["default.cdn.test", "A", transport]).is_empty());
    }
    assert_eq!(dig(&server, &["example.org", "A"]), Vec::<String>::new(), "another zone is not ours to answer");
}

#[test]
fn dnspython_gets_what_the_rfcs_have_and_malformed_queries_what_they_deserve() {
    let cdn = known();
    let ran = python("dns_client.py", &[cdn.at("/dns"), "cdn.test", "default.cdn.test"]).fine();
    assert_eq!(ran.stdout, "fine\n");
}

#[test]
fn kdig_is_told_a_scope_and_a_cookie() {
    let cdn = known();
    let server = cdn.at("/dns").to_owned();
    for transport in ["+notcp", "+tcp"] {
        let told = kdig(&server, &["default.cdn.test", "A", "+subnet=10.1.2.0/24", "+cookie", transport]);
        for expected in ["status: NOERROR", "CLIENT-SUBNET: 10.1.2.0/24/", "COOKIE: ", "default.cdn.test. 1 IN A 127.0.0.1"] {
            assert!(told.contains(expected), "no {expected:?} in {told}");
        }
    }
    let told = kdig(&server, &["edge-2.default.cdn.test", "A"]);
    assert!(told.contains("edge-2.default.cdn.test. 300 IN A 127.0.0.2"), "a node has a name below every site: {told}");
    let told = kdig(&server, &["nothing.cdn.test", "AAAA"]);
    assert!(told.contains("status: NXDOMAIN") && told.contains("IN SOA ns1.cdn.test. hostmaster.cdn.test."), "{told}");
}

#[test]
fn declared_records_are_answered_and_what_is_asked_too_often_is_not() {
    let more = r#"
        limits = { same_per_second = 5, slip = 1 }
        [[dns.records]]
        name = "cdn.test"
        type = "CAA"
        values = ["0 issue \"ca.example\"", "128 iodef \"mailto:a@b.example\""]
        [[dns.records]]
        name = "_acme-challenge.cdn.test"
        type = "TXT"
        values = ["a text with spaces"]
        ttl = "1m"
        [[dns.records]]
        name = "mail.cdn.test"
        type = "AAAA"
        values = ["2001:db8::25"]
        [[dns.records]]
        name = "cdn.test"
        type = "MX"
        values = ["10 mail.cdn.test"]
        [[dns.records]]
        name = "blog.cdn.test"
        type = "CNAME"
        values = ["blog.example.net"]
    "#;
    let control = Control::start(tempfile::tempdir().unwrap(), more, "127.0.0.1:0");
    let server = control.dns().to_owned();
    let ask = |name: &str, kind: &str| dig(&server, &[name, kind]);
    assert_eq!(ask("cdn.test", "CAA"), ["0 issue \"ca.example\"", "128 iodef \"mailto:a@b.example\""]);
    assert_eq!(ask("_acme-challenge.cdn.test", "TXT"), ["\"a text with spaces\""]);
    assert_eq!(ask("cdn.test", "MX"), ["10 mail.cdn.test."]);
    assert_eq!(ask("mail.cdn.test", "AAAA"), ["2001:db8::25"]);
    assert_eq!(ask("blog.cdn.test", "A"), ["blog.example.net."]);

    let cut = (0..20).filter(|_| kdig(&server, &["mail.cdn.test", "AAAA", "+ignore"]).contains(" tc")).count();
    assert!(cut > 0, "5 answers a second, and 20 queries");
    let told = kdig(&server, &["mail.cdn.test", "AAAA"]);
    assert!(told.contains("2001:db8::25"), "who is cut short comes over TCP: {told}");
    let metrics = curl(&[&format!("http://{}/metrics", control.api())]).body;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("skerry_dns_limited_total{sent=\"truncated\"}"), "{metrics}");
}
