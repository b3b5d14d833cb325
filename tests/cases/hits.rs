//! Where an answer comes from.

use crate::house::{Cdn, Nginx, Python, curl, get};

#[test]
fn the_second_request_is_a_hit_at_the_edge_and_the_other_edge_hits_the_shield() {
    let origin = Nginx::start();
    origin.put("/page.txt", b"one page\n");
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let ask = |edge| {
        let got = get(cdn.edge(edge), "www.example.com", "/page.txt");
        assert_eq!((got.status, got.text().as_str()), (200, "one page\n"), "{got:?}");
        got
    };

    let first = ask(1);
    assert_eq!((first.at("edge-1"), first.at("shield-1")), ("fwd=uri-miss".to_owned(), "fwd=uri-miss".to_owned()), "{first:?}");
    assert!(ask(1).is_hit_at("edge-1"));
    let other = ask(2);
    assert!(!other.is_hit_at("edge-2") && other.is_hit_at("shield-1"), "{other:?}");
    assert!(ask(2).is_hit_at("edge-2"));
    assert_eq!(origin.served("/page.txt"), 1, "one origin fetch in all");
}

#[test]
fn an_origin_that_says_nothing_is_kept_as_the_site_says() {
    let origin = Python::start();
    origin.put("/a.txt", b"from python\n");
    let place = tempfile::tempdir().unwrap();
    let site = place.path().join("site.yaml");
    let text = format!("name: py\nhosts: [py.example.com]\norigin: {{urls: [\"{}\"]}}\ncache: {{default_ttl: 60s}}\n", origin.url());
    std::fs::write(&site, text).unwrap();
    let cdn = Cdn::start(&["--site", site.to_str().unwrap()]);

    for edge in [1, 1, 2, 2] {
        let got = get(cdn.edge(edge), "py.example.com", "/a.txt");
        assert_eq!((got.status, got.text().as_str()), (200, "from python\n"), "{got:?}");
        assert!(!got.field("via").is_empty(), "{got:?}");
    }
    assert_eq!(origin.served("/a.txt"), 1);
}

#[test]
fn tls_and_http2_are_answered_under_the_name_that_was_asked_for() {
    let cdn = Cdn::start(&[]);
    let https = cdn.at("/edges/0/https");
    let (address, port) = https.rsplit_once(':').unwrap();
    let url = format!("https://default.cdn.test:{port}/");
    let connect = format!("default.cdn.test:{port}:{address}");
    let with = |version| curl(&["--cacert", cdn.at("/control/ca"), version, "--resolve", &connect, &url]);
    for version in ["--http1.1", "--http2"] {
        let got = with(version);
        assert_eq!(got.status, 200, "{got:?}");
        assert!(got.text().contains("It answers"), "{got:?}");
    }
    assert!(with("--http2").is_hit_at("edge-1"), "cleartext or not, HTTP/1.1 or 2: one stored answer");
}

#[test]
fn a_range_of_a_stored_answer_is_cut_at_the_edge() {
    let origin = Nginx::start();
    origin.put("/digits.txt", b"0123456789");
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    get(cdn.edge(1), "a.example.com", "/digits.txt");
    let url = format!("http://{}/digits.txt", cdn.edge(1));
    let got = curl(&["--header", "Host: a.example.com", "--range", "2-4", &url]);
    assert_eq!((got.status, got.text().as_str(), got.field("content-range").as_str()), (206, "234", "bytes 2-4/10"), "{got:?}");
    let past = curl(&["--header", "Host: a.example.com", "--range", "10-", &url]);
    assert_eq!(past.status, 416, "{past:?}");
    let etag = get(cdn.edge(1), "a.example.com", "/digits.txt").field("etag");
    let unchanged = curl(&["--header", "Host: a.example.com", "--header", &format!("If-None-Match: {etag}"), &url]);
    assert_eq!(unchanged.status, 304, "{unchanged:?}");
    assert_eq!(origin.served("/digits.txt"), 1);
}
