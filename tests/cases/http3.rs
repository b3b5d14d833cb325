//! HTTP/3 for clients: by aioquic, which nobody here wrote, and what the other protocols say of it.

use crate::house::clients::Got;
use crate::house::python::python;
use crate::house::{Cdn, Reply, Scripted, curl, get};

fn ask(cdn: &Cdn, what: &[&str]) {
    python("h3_client.py", &[&[cdn.at("/edges/0/h3"), cdn.at("/control/ca")], what].concat()).fine();
}

/// Asks edge 1 over TLS.
fn secure(cdn: &Cdn, protocol: &str, path: &str) -> Got {
    let to = format!("www.example.com:443:{}", cdn.at("/edges/0/https"));
    curl(&[protocol, "--cacert", cdn.at("/control/ca"), "--connect-to", &to, &format!("https://www.example.com{path}")])
}

#[test]
fn a_client_gets_over_http3_what_it_gets_over_the_others() {
    let cdn = Cdn::start(&[]);
    ask(&cdn, &["fetch"]);
    ask(&cdn, &["head"]);
    ask(&cdn, &["early"]);
    let hit = secure(&cdn, "--http2", "/style.css");
    assert!(hit.is_hit_at("edge-1"), "what came over HTTP/3 is stored for all: {hit:?}");
}

#[test]
fn what_no_client_should_send_is_refused_and_counted() {
    let cdn = Cdn::start(&[]);
    ask(&cdn, &["malformed"]);
    ask(&cdn, &["forced"]);
    let metrics = curl(&[&format!("{}/metrics", cdn.at("/edges/0/admin"))]).text();
    // Ten heads, two bodies, one frame.
    for (reason, times) in [("field", 13), ("field-count", 1)] {
        let line = format!("skerry_edge_refused_total{{reason=\"{reason}\"}} {times}");
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("status=\"502\""), "what a client did is put down to the origin: {metrics}");
    ask(&cdn, &["fetch"]);
}

#[test]
fn an_answer_that_breaks_off_is_reset() {
    let origin = Scripted::start(|seen| match seen.line() {
        "GET /cut HTTP/1.1" => Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").then_close(),
        _ => Reply::whole("200 OK", "", "whole"),
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    ask(&cdn, &["cut", "/cut"]);
}

#[test]
fn answers_over_tls_say_that_there_is_http3() {
    let cdn = Cdn::start(&[]);
    let (_, port) = cdn.at("/edges/0/h3").rsplit_once(':').unwrap();
    let expected = format!("h3=\":{port}\"; ma=86400");
    for protocol in ["--http1.1", "--http2"] {
        // A miss, a hit, what is passed through, and what is refused.
        for path in ["/style.css", "/style.css", "/api/version", "/nothing-here"] {
            let got = secure(&cdn, protocol, path);
            assert_eq!(got.field("alt-svc"), expected, "{protocol} {path}: {got:?}");
        }
    }
    assert_eq!(get(cdn.edge(1), "www.example.com", "/style.css").field("alt-svc"), "", "in cleartext nobody knows who says so");
}

#[test]
fn origins_are_told_of_what_came_ahead_of_the_handshake() {
    let origin = Scripted::start(|seen| {
        let early = seen.head.to_ascii_lowercase().contains("\r\nearly-data: 1\r\n");
        if early { Reply::whole("425 Too Early", "", "later") } else { Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "fine") }
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    ask(&cdn, &["told"]);
    for path in ["/missed", "/passed"] {
        let early: Vec<bool> = origin.seen(path).iter().map(|seen| seen.head.to_ascii_lowercase().contains("\r\nearly-data:")).collect();
        assert_eq!(early, [true, false], "{path}");
    }
}

#[test]
fn too_early_is_passed_on_and_not_stored() {
    let origin = Scripted::start(|seen| {
        let early = seen.head.to_ascii_lowercase().contains("\r\nearly-data: 1\r\n");
        let lines = "Cache-Control: max-age=60\r\n";
        if early { Reply::whole("425 Too Early", "", "later") } else { Reply::whole("200 OK", lines, "fine") }
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let url = format!("http://{}/a", cdn.edge(1));
    // As a balancer before the edge says of what it took early.
    let early = curl(&["-H", "Host: www.example.com", "-H", "Early-Data: 1", &url]);
    assert_eq!((early.status, early.text().as_str()), (425, "later"));
    assert_eq!(get(cdn.edge(1), "www.example.com", "/a").text(), "fine");
    assert!(get(cdn.edge(1), "www.example.com", "/a").is_hit_at("edge-1"));
}
