//! The access log: one line a request, with what is known of its connection.

use crate::house::cdn::SOON;
use crate::house::{Cdn, curl, wait_until};

/// The number of a field of a line.
fn number(line: &str, field: &str) -> Option<u64> {
    line.split_whitespace().find_map(|word| word.strip_prefix(field)?.strip_prefix('=')?.parse().ok())
}

#[test]
fn a_line_tells_protocol_tls_and_round_trips_whichever_way_a_request_took() {
    let mut cdn = Cdn::start(&["--edges", "1"]);
    cdn.kill("edge-1");
    cdn.start_again_with("edge-1", &[("RUST_LOG", "info,skerry::access=debug")]);
    let (http, https) = (cdn.edge(1).to_owned(), cdn.at("/edges/0/https").to_owned());
    let ca = cdn.at("/control/ca").to_owned();
    let connect = format!("default.cdn.test:443:{https}");
    let log = || std::fs::read_to_string(cdn.data("edge-1-again.log")).unwrap();
    for (number_of, options, protocol, security) in [
        (1, &["--http1.1"][..], "HTTP/1.1", None),
        (2, &["--http1.1", "--tls-max", "1.2"], "HTTP/1.1", Some("TLSv1.2")),
        (3, &["--http1.1"], "HTTP/1.1", Some("TLSv1.3")),
        (4, &["--http2"], "HTTP/2", Some("TLSv1.3")),
    ] {
        let path = format!("/files/64.bin?{number_of}");
        let secure = ["--cacert", &ca, "--connect-to", &connect];
        let url = if security.is_some() { format!("https://default.cdn.test{path}") } else { format!("http://{http}{path}") };
        let host = ["--header", "Host: default.cdn.test"];
        // The first answer is fetched, the second comes from memory.
        for outcome in ["Miss", "Hit"] {
            let more = if security.is_some() { &secure[..] } else { &host[..] };
            curl(&[options, more, &[url.as_str()]].concat());
            let is_it = |line: &&str| line.contains("skerry::access") && line.contains(&path) && line.contains(&format!("cache={outcome}"));
            wait_until("the line", SOON, || log().lines().any(|line| is_it(&line)));
            let log = log();
            let line = log.lines().find(is_it).unwrap();
            assert!(line.contains(" client=127.0.0.1 ") && line.contains(&format!(" uri=\"default.cdn.test{path}\" ")), "{line}");
            assert!(line.contains(&format!("protocol=\"{protocol}\"")), "{line}");
            assert!(line.contains(&format!("tls=\"{}\"", security.unwrap_or("-"))), "{line}");
            let (smoothed, least) = (number(line, "rtt_us"), number(line, "rtt_min_us"));
            // A connection of HTTP/2 may be closed when its request's line is written, and says nothing any more.
            let is_closed = protocol == "HTTP/2" && smoothed.is_none() && least.is_none();
            assert!(is_closed || (smoothed.is_some_and(|time| time > 0) && least.is_some_and(|time| time > 0)), "{line}");
        }
    }
}
