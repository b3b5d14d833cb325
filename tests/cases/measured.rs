//! What edges measure of their clients, and what they tell of it: over every protocol, of connections that are the client's own, and nobody's address.

use crate::house::cdn::SOON;
use crate::house::python::python;
use crate::house::{Cdn, Reply, Scripted, curl, get, wait_until};

const MEASURED: &str = "skerry_edge_round_trips_total";
const BEACON: &str = "/.well-known/skerry/rtt";

fn origin() -> Scripted {
    Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "whole"))
}

#[test]
fn connections_are_measured_by_whatever_protocol_and_the_control_plane_hears_of_it() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let https = format!("https://{}/a", cdn.at("/edges/0/https"));
    let http = format!("http://{}/a", cdn.edge(1));
    // `skerry dev` itself asked whether everything answers.
    let mut expected = cdn.metric(1, MEASURED);
    for words in [
        &["--http1.1", &http][..],
        &["--http1.1", "--insecure", &https],
        &["--http2", "--insecure", &https],
        &["--http2-prior-knowledge", &http],
        // Passed through.
        &["--data", "x", &http],
    ] {
        assert_eq!(curl(&[&["--header", "Host: www.example.com"], words].concat()).text(), "whole");
        expected += 1.0;
        assert_eq!(cdn.metric(1, MEASURED), expected, "{words:?}");
    }
    // Two requests of one connection.
    let twice = curl(&["--header", "Host: www.example.com", &http, "--output", "/dev/null", &http]);
    assert_eq!((twice.text().as_str(), cdn.metric(1, MEASURED)), ("whole", expected + 1.0));

    let metrics = || curl(&[&format!("{}/metrics", cdn.at("/control/api"))]).text();
    let taken = "skerry_control_latency_prefixes_total{outcome=\"taken\"} ";
    wait_until("the control plane to hear of it", SOON, || {
        metrics().lines().any(|line| line.strip_prefix(taken).is_some_and(|count| count != "0"))
    });
    wait_until("all to be reported", SOON, || cdn.metric(1, "skerry_edge_round_trips_reported_total") >= expected + 1.0);
    assert_eq!(cdn.metric(1, "skerry_edge_round_trip_prefixes"), 0.0);
    wait_until("the utilization to be known", SOON, || cdn.metric(1, "skerry_edge_utilization{part=\"cpu\"}") > 0.0);
    assert!(!cdn.log("edge-1").contains("127.0.0.0/24") && !cdn.log("control").contains("127.0.0.0/24"), "no prefix is in a log");
}

#[test]
fn a_connection_over_quic_is_measured_too() {
    let cdn = Cdn::start(&[]);
    let before = cdn.metric(1, MEASURED);
    python("h3_client.py", &[cdn.at("/edges/0/h3"), cdn.at("/control/ca"), "fetch"]).fine();
    assert!(cdn.metric(1, MEASURED) > before);
}

#[test]
fn a_connection_of_a_load_balancer_says_nothing_of_its_clients() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let trusting = format!(
        "name = \"trusting\"\nhosts = [\"trusting.test\"]\n[origin]\nurls = [\"{}\"]\n[forwarding]\ntrust = [\"127.0.0.0/8\"]\n",
        origin.url()
    );
    cdn.skerry(&["site", "apply", &cdn.file("trusting.toml", &trusting)]).fine();
    wait_until("the site to be in force", SOON, || cdn.follows("edge-1"));
    cdn.change(1, "applied", |settings| {
        let listener = "address = \"127.0.0.1:0\"\nfrom = [\"127.0.0.0/8\"]".parse::<toml::Table>().unwrap();
        settings["listen"].as_table_mut().unwrap().insert("proxied".to_owned(), vec![listener].into());
    });
    let (proxied, before) = (cdn.listening(1, "proxied")[0], cdn.metric(1, MEASURED));
    let got = curl(&["--haproxy-protocol", "--header", "Host: www.example.com", &format!("http://{proxied}/a")]);
    assert_eq!(got.text(), "whole");
    assert_eq!(get(cdn.edge(1), "trusting.test", "/a").text(), "whole");
    assert_eq!(cdn.metric(1, MEASURED), before);
    assert_eq!(get(cdn.edge(1), "www.example.com", "/a").text(), "whole");
    assert_eq!(cdn.metric(1, MEASURED), before + 1.0, "another site trusts nobody");
}

#[test]
fn the_beacon_is_answered_by_the_edge_where_it_is_wanted() {
    let origin = origin();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    assert_eq!(get(cdn.edge(1), "www.example.com", BEACON).text(), "whole", "the path is the origin's by default");
    cdn.kill("edge-1");
    let mut settings = cdn.settings(1);
    settings.insert("measuring".to_owned(), "beacon = true".parse::<toml::Table>().unwrap().into());
    cdn.rewrite(1, &toml::to_string(&settings).unwrap());
    cdn.start_again("edge-1");
    let (asked, before) = (origin.seen(BEACON).len(), cdn.metric(1, MEASURED));
    let url = format!("http://{}{BEACON}", cdn.edge(1));
    for more in [&[][..], &["--head"], &["--http2-prior-knowledge"]] {
        let got = curl(&[&["--header", "Host: www.example.com"], more, &[url.as_str()]].concat());
        assert_eq!(got.status, 204, "{got:?}");
        // curl shows the head of what it asks HEAD for.
        assert!(more == ["--head"] || got.body.is_empty(), "{got:?}");
        for (name, value) in [("cache-control", "no-store"), ("access-control-allow-origin", "*"), ("timing-allow-origin", "*")] {
            assert_eq!(got.field(name), value, "{got:?}");
        }
        assert_eq!(got.field("content-length"), "", "RFC 9110 section 8.6: {got:?}");
    }
    assert_eq!((cdn.metric(1, "skerry_edge_beacons_total{outcome=\"answered\"}"), cdn.metric(1, MEASURED)), (3.0, before + 3.0));
    assert_eq!(curl(&["--header", "Host: www.example.com", "--data", "x", &url]).status, 200, "another method goes where it went");
    assert_eq!(get(cdn.edge(1), "www.example.com", &format!("{BEACON}/")).text(), "whole");
    assert_eq!(origin.seen(BEACON).len(), asked + 1);
    assert_eq!(cdn.metric(1, "skerry_edge_requests_total{cache=\"hit\",status=\"204\"}"), 0.0, "it is no request of the site");
}
