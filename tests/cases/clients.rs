//! How often clients may ask, what origins are told of them, and clients that do not wait for the answer.

use std::io::Write as _;
use std::process::Command;

use crate::house::cdn::SOON;
use crate::house::clients::Got;

use crate::house::{Cdn, Held, Reply, Scripted, curl, get, wait_until};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

fn cdn(origin: &Scripted, more: &str) -> Cdn {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.toml");
    std::fs::write(&file, format!("name = \"default\"\nhosts = [\"a.test\"]\n[origin]\nurls = [\"{}\"]\n{more}\n", origin.url())).unwrap();
    Cdn::start(&["--site", file.to_str().unwrap()])
}

fn ask(cdn: &Cdn, version: &str, path: &str, fields: &[&str]) -> Got {
    let mut arguments = vec![version, "--header", "Host: a.test"];
    fields.iter().for_each(|field| arguments.extend(["--header", field]));
    let url = format!("http://{}{path}", cdn.edge(1));
    arguments.push(&url);
    curl(&arguments)
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again_hits_and_all() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "ok"));
    let limits = "[[rate_limits]]\npath = \"/few/*\"\nrequests = 3\nperiod = \"1h\"\n\
                  [[rate_limits]]\npath = \"/keyed/*\"\nby = \"header:x-api-key\"\nrequests = 2\nperiod = \"1h\"\n\
                  [[rate_limits]]\npath = \"/kept/*\"\nby = \"header:x-original-url\"\nrequests = 2\nperiod = \"1h\"";
    let cdn = cdn(&origin, limits);
    // Whatever the protocol, and from memory or not.
    for (number, version) in ["--http1.1", "--http2-prior-knowledge", "--http1.1"].into_iter().enumerate() {
        let got = ask(&cdn, version, "/few/1", &[]);
        assert_eq!((got.status, got.is_hit_at("edge-1")), (200, number > 0), "{got:?}");
    }
    for version in VERSIONS {
        for path in ["/few/1", "/few/2"] {
            let got = ask(&cdn, version, path, &[]);
            let wait: u32 = got.field("retry-after").parse().unwrap();
            assert_eq!((got.status, (1000..=1200).contains(&wait)), (429, true), "{got:?}");
            assert!(
                got.field("cache-status").ends_with("detail=\"rate-limited\"") || got.field("cache-status").contains("rate-limited"),
                "{got:?}"
            );
        }
        assert_eq!(ask(&cdn, version, "/many", &[]).status, 200);
    }
    for (key, statuses) in [("a", [200, 200, 429]), ("b", [200, 200, 429])] {
        let asked = || ask(&cdn, VERSIONS[0], "/keyed/1", &[&format!("X-Api-Key: {key}")]).status;
        assert_eq!([asked(), asked(), asked()], statuses, "{key}");
        // A field that never reaches the cache counts for what is stored too.
        let asked = || ask(&cdn, VERSIONS[0], "/kept/1", &[&format!("X-Original-URL: {key}")]).status;
        assert_eq!([asked(), asked(), asked()], statuses, "{key}");
    }
    let figures = curl(&[&format!("{}/metrics", cdn.endpoints()["edges"][0]["admin"].as_str().unwrap())]).text();
    assert!(figures.contains("skerry_edge_rate_limited_total{limit=\"0\",site=\"default\"} 4\n"), "{figures}");
    assert!(figures.contains("skerry_edge_rate_limited_total{limit=\"1\",site=\"default\"} 2\n"), "{figures}");
    // What is stored and not sent is no hit.
    let figure = |name: &str| figures.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {figures}"));
    assert_eq!(figure("skerry_cache_hits_total "), figure("skerry_edge_requests_total{cache=\"hit\",status=\"200\"} "));
}

#[test]
fn who_asks_for_a_stream_of_events_is_not_answered_from_memory() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "ok"));
    let cdn = cdn(&origin, "");
    for version in VERSIONS {
        let asked = |more: &[&str]| ask(&cdn, version, "/page", more).is_hit_at("edge-1");
        asked(&[]);
        assert_eq!([asked(&[]), asked(&["Accept: text/event-stream"]), asked(&[])], [true, false, true], "{version}");
    }
}

/// What the origin was told in a field; several lines joined.
fn told(origin: &Scripted, path: &str, name: &str) -> String {
    let seen = origin.seen(path);
    let head = &seen.first().unwrap_or_else(|| panic!("nothing for {path}")).head;
    let fields = head.lines().filter_map(|line| line.split_once(':')).filter(|(found, _)| found.eq_ignore_ascii_case(name));
    fields.map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>().join(" | ")
}

const CLAIMS: [&str; 5] = [
    "X-Forwarded-For: 1.1.1.1, 198.51.100.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.test",
    "Forwarded: for=2.2.2.2",
    "X-Real-IP: 3.3.3.3",
];

#[test]
fn origins_are_told_of_clients_as_the_site_wants_and_never_by_the_client() {
    let both = "[forwarding]\nsend = [\"x-forwarded\", \"forwarded\"]";
    let trusting = "[forwarding]\nsend = [\"x-forwarded\", \"forwarded\"]\ntrust = [\"127.0.0.0/8\"]";
    let (edge, lb) = ("for=127.0.0.1;host=\"a.test\";proto=http", "for=198.51.100.7, for=127.0.0.1;host=\"a.test\";proto=https");
    for (settings, expected) in [
        ("", ["127.0.0.1", "http", "a.test", ""]),
        ("[forwarding]\nsend = []", ["", "", "", ""]),
        (both, ["127.0.0.1", "http", "a.test", edge]),
        (trusting, ["198.51.100.7, 127.0.0.1", "https", "a.test", lb]),
    ] {
        let origin = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "ok"));
        let cdn = cdn(&origin, settings);
        for (number, version) in VERSIONS.into_iter().enumerate() {
            for (method, path) in [("GET", format!("/got{number}")), ("POST", format!("/sent{number}"))] {
                let mut arguments = vec![version, "--header", "Host: a.test", "--request", method];
                CLAIMS.iter().for_each(|claim| arguments.extend(["--header", claim]));
                let url = format!("http://{}{path}", cdn.edge(1));
                arguments.push(&url);
                assert_eq!(curl(&arguments).status, 200);
                let fields = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"];
                assert_eq!(fields.map(|name| told(&origin, &path, name)), expected, "{settings} {version} {method}");
                assert_eq!(told(&origin, &path, "x-real-ip"), "");
                assert!(told(&origin, &path, "cdn-loop").contains("edge-1."));
            }
        }
    }
}

#[test]
fn a_rate_limit_is_about_the_client_that_a_trusted_load_balancer_names() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: no-store\r\n", "ok"));
    let cdn = cdn(&origin, "[forwarding]\ntrust = [\"127.0.0.0/8\"]\n[[rate_limits]]\nrequests = 1\nperiod = \"1h\"");
    let from = |client: &str| ask(&cdn, VERSIONS[0], "/", &[&format!("X-Forwarded-For: {client}")]).status;
    assert_eq!([from("198.51.100.1"), from("198.51.100.1"), from("9.9.9.9, 198.51.100.1"), from("198.51.100.2")], [200, 429, 429, 200]);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_noticed_and_what_others_may_use_is_fetched_all_the_same() {
    let origin = Held::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    let left = || cdn.metric(1, "skerry_edge_requests_total{cache=\"error\",status=\"4xx\"}");
    for (number, version) in VERSIONS.into_iter().enumerate() {
        let url = format!("http://{}/{number}", cdn.edge(1));
        let impatient = Command::new("curl").args(["-sS", version, "--max-time", "2", "--header", "Host: a.test", &url]).output().unwrap();
        assert_eq!(impatient.status.code(), Some(28), "{version}: it was answered");
        wait_until("that it left is counted", SOON, || left() > number as f64);
        let (_, mut asked) = origin.next();
        asked.get_mut().write_all(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\r\nok").unwrap();
        wait_until("the answer is stored", SOON, || get(cdn.edge(1), "a.test", &format!("/{number}")).is_hit_at("edge-1"));
    }
}
