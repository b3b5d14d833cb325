//! Requests that may change what they name, through both tiers (RFC 9111 sections 4 and 4.4).

use crate::house::{Cdn, Reply, Scripted, curl, get};

const HOST: &str = "www.example.com";

#[test]
fn unsafe_requests_reach_the_origin_and_what_they_changed_is_asked_for_again() {
    let origin = Scripted::start(|seen| {
        let line = seen.line();
        let mut words = line.split(' ');
        match (words.next().unwrap_or_default(), words.next().unwrap_or_default().rsplit('/').next()) {
            ("GET", _) => Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "stored"),
            (_, Some("204")) => Reply::bytes("HTTP/1.1 204 No Content\r\n\r\n"),
            (_, Some(status)) => Reply::whole(&format!("{status} As asked"), "Cache-Control: max-age=60\r\n", "done"),
            (_, None) => Reply::whole("400 Bad Request", "", ""),
        }
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    // Method, status, and whether what is stored for the target is still used.
    let rows = [
        ("POST", 200, false),
        ("PUT", 204, false),
        ("DELETE", 200, false),
        ("PATCH", 303, false),
        ("FROB", 200, false),
        ("POST", 404, true),
        ("PUT", 500, true),
        ("OPTIONS", 200, true),
    ];
    for (number, (method, status, stays)) in rows.into_iter().enumerate() {
        let path = format!("/{number}/{status}");
        get(cdn.edge(1), HOST, &path);
        assert!(get(cdn.edge(1), HOST, &path).is_hit_at("edge-1"), "{path}");
        let host = format!("Host: {HOST}");
        let url = format!("http://{}{path}", cdn.edge(1));
        for time in 1..=2 {
            let got = curl(&["--request", method, "--data-binary", "x", "--header", &host, &url]);
            assert_eq!(got.status, status, "{method} {path}: {got:?}");
            let seen = origin.seen(&path).iter().filter(|seen| seen.line().starts_with(method)).count();
            assert_eq!(seen, time, "{method} {path} did not reach the origin");
        }
        let got = get(cdn.edge(1), HOST, &path);
        assert_eq!((got.status, got.text().as_str()), (200, "stored"), "{method} {path}: {got:?}");
        assert_eq!(got.is_hit_at("edge-1"), stays, "{method} {path}: {got:?}");
        assert!(stays || !got.is_hit_at("shield-1"), "the shield kept what was changed: {method} {path}: {got:?}");
    }
}

#[test]
fn rfc9110_13_2_1_conditions_that_are_not_for_a_cache_reach_the_origin() {
    let origin = Scripted::start(|seen| {
        let fields = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"];
        let head = seen.head.to_ascii_lowercase();
        let there: Vec<&str> = fields.into_iter().filter(|name| head.contains(&format!("\r\n{name}:"))).collect();
        Reply::whole("200 OK", "Cache-Control: max-age=60\r\nETag: \"1\"\r\n", &there.join(" "))
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let fields = ["If-Match: \"2\"", "If-None-Match: \"1\"", "If-Range: \"2\"", "Range: bytes=0-0"].into_iter();
    let dates = ["If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT", "If-Unmodified-Since: Thu, 01 Jan 2026 00:00:00 GMT"];
    let conditions: Vec<&str> = fields.chain(dates).flat_map(|field| ["--header", field]).collect();
    let (host, url) = (format!("Host: {HOST}"), format!("http://{}/", cdn.edge(1)));
    get(cdn.edge(1), HOST, "/");
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let got = curl(&[&["--request", method, "--header", &host, &url], &conditions[..]].concat());
        let expected = "if-match if-none-match if-modified-since if-unmodified-since if-range range";
        assert_eq!((got.status, got.text().as_str()), (200, expected), "{method}: {got:?}");
    }
}
