//! The measurement of the front door, and the page that is made of it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use skerry_loadtest::front;
use skerry_loadtest::peer::{Kind, Peer, Workers};

use crate::house::{cleartext, loadtest, said};

/// An object of the length that its name says, as the sample origin has them.
fn sized(uri: &Uri) -> (u16, Bytes) {
    let length = uri.path().trim_start_matches("/files/").trim_end_matches(".bin").parse::<usize>();
    length.map_or((404, Bytes::new()), |length| (200, Bytes::from(vec![7_u8; length])))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_door_is_measured_over_every_protocol() {
    if !Kind::Nginx.is_installed() {
        return;
    }
    // Another nginx stands for the edge, so the figures are worth nothing; that every row is there and says what it must is worth all.
    let origin = format!("http://{}", cleartext(Arc::new(sized)).await);
    let edge = Peer::start(Kind::Nginx, &origin, Workers::One).await.expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, json) = (folder.path().join("endpoints.json"), folder.path().join("results.json"));
    let ca = folder.path().join("ca.pem");
    std::fs::copy(edge.authority().expect("an authority"), &ca).expect("copied");
    let endpoints = serde_json::json!({
        "control": {"ca": ca},
        "origin": origin,
        "edges": [
            {"name": "edge-1", "http": edge.address().to_string(), "https": edge.secure().expect("TLS").to_string(), "h3": null, "pid": edge.processes().expect("processes")[0]},
        ],
    });
    std::fs::write(&file, endpoints.to_string()).expect("written");
    let (file, json) = (file.to_str().expect("UTF-8"), json.to_str().expect("UTF-8"));
    let quick = ["--rounds", "1", "--round-ms", "100", "--idle", "20", "--revision", "v1"];
    let output = loadtest(&[&["front", "--endpoints", file, "--json", json], &quick[..]].concat()).await;
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{stderr}");
    for name in ["HTTP/1.1, 1 KB", "HTTP/1.1, 16 KB", "HTTP/1.1, 1 MB", "HTTP/1.1 over TLS 1.3, 16 KB", "HTTP/2 over TLS 1.3, 1 KB"] {
        assert!(stdout.contains(&format!("\n| {name} | ")), "{stdout}");
    }
    assert!(stdout.contains("| HTTP/3, 1 KB | not measured: skerry has no listener for it |"), "{stdout}");
    assert!(stdout.contains("\n| TLS 1.3 | nginx | 20 | ") && stdout.contains("(v1), nginx 1."), "{stdout}");

    let results: front::Results = serde_json::from_str(&std::fs::read_to_string(json).expect("written")).expect("results");
    assert!(results.rows.iter().filter(|row| row.absent.is_none()).all(|row| row.sides.len() == 2 && row.sides[0].rounds[0].answers > 0));
    // wrk looks at no answer, and is accounted for once it has ended.
    let wrk: Vec<_> = results.rows.iter().filter(|row| row.generator == "wrk").collect();
    assert_eq!(wrk.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["h1-1k"]);
    let rounds = || wrk.iter().flat_map(|row| &row.sides).flat_map(|side| &side.rounds);
    assert!(rounds().all(|round| round.hits.is_none() && round.generator_s > 0.0 && round.p99_us >= round.p50_us && round.p50_us > 0));
    assert!(
        stdout.contains("\n- HTTP/1.1, 1 KB: 64 connections by wrk, skerry and nginx.") && stdout.contains(", wrk debian/"),
        "{stdout}"
    );
    let http2 = results.rows.iter().find(|row| row.id == "h2-1k").expect("a row");
    assert_eq!(http2.suite.as_deref(), Some("TLS13_AES_128_GCM_SHA256"));
    assert_eq!(said(&loadtest(&["page", json]).await).0, stdout);

    let output = loadtest(&["front", "--endpoints", file, "--only", "h4"]).await;
    assert!(said(&output).1.contains("`h4` is no case; these are: h1-1k, "), "{}", said(&output).1);
    edge.stop().await;
    // Nobody is there: not a number but a sentence.
    let output = loadtest(&["front", "--endpoints", file, "--only", "h1-1k"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).1.contains(" process ") && said(&output).1.contains("No such file"), "{}", said(&output).1);
}

#[tokio::test]
async fn the_pages_in_the_documentation_are_made_of_their_results() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (name, made_by) in [("performance", "make bench-front"), ("performance-soak", "make bench-soak")] {
        let results = docs.join(format!("{name}.json"));
        let page = said(&loadtest(&["page", results.to_str().expect("UTF-8")]).await).0;
        assert_eq!(std::fs::read_to_string(docs.join(format!("{name}.md"))).expect("the page"), page, "run `{made_by}`");
    }

    let runs = ["performance-nodes.json", "performance-nodes-sites.json"].map(|name| docs.join(name).display().to_string());
    let page = said(&loadtest(&["page", &runs[0], &runs[1]]).await).0;
    assert_eq!(std::fs::read_to_string(docs.join("performance-nodes.md")).expect("the page"), page, "run `make bench-nodes`");

    let results = docs.join("performance-compare.json");
    let page = said(&loadtest(&["report", results.to_str().expect("UTF-8")]).await).0;
    assert_eq!(std::fs::read_to_string(docs.join("performance-compare.md")).expect("the page"), page, "run `make bench-compare`");

    let output = loadtest(&["page", "/dev/null"]).await;
    assert!(said(&output).1.contains("/dev/null is no file that `front --json` wrote"), "{}", said(&output).1);
}
