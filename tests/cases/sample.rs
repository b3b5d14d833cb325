//! The sample origin, through the CDN.

use serde_json::Value;

use crate::house::{Cdn, curl, get, wait_until};

#[test]
fn uploads_pages_ranges_and_live_streams_pass() {
    let cdn = Cdn::start(&[]);
    let edge = cdn.edge(1).to_owned();
    let page = get(&edge, "www.example.com", "/");
    assert_eq!((page.status, page.field("content-type").as_str()), (200, "text/html; charset=utf-8"), "{page:?}");
    assert_eq!(page.field("cache-tag"), "", "tags are for the CDN, not for the client");
    assert!(get(&edge, "www.example.com", "/bars.png").body.starts_with(b"\x89PNG"));

    let echo = curl(&["--data-binary", "some words", &format!("http://{edge}/echo")]);
    let told: Value = serde_json::from_slice(&echo.body).unwrap();
    assert_eq!((told["method"].as_str(), told["body"].as_str()), (Some("POST"), Some("some words")), "{told}");

    let part = curl(&["--range", "99999990-", &format!("http://{edge}/files/100mb.bin")]);
    assert_eq!((part.status, part.body.len()), (206, 10), "{:?}", part.fields);

    let playlist = get(&edge, "www.example.com", "/live/index.m3u8").text();
    let segments: Vec<&str> = playlist.lines().filter(|line| line.starts_with("segment-")).collect();
    assert_eq!(segments.len(), 6, "{playlist}");
    let path = format!("/live/{}", segments[5]);
    let (first, second) = (get(&edge, "www.example.com", &path), get(&edge, "www.example.com", &path));
    assert_eq!((first.body.len() % 188, first.body[0]), (0, 0x47));
    assert!(second.is_hit_at("edge-1") && second.body == first.body);
    let last = segments[5].to_owned();
    wait_until("the next segment", std::time::Duration::from_secs(8), || {
        !get(&edge, "www.example.com", "/live/index.m3u8").text().trim_end().ends_with(&last)
    });
}

#[test]
fn a_raised_version_shows_when_the_old_answer_is_no_longer_fresh() {
    let cdn = Cdn::start(&[]);
    let url = format!("http://{}/api/version", cdn.edge(1));
    let version = || serde_json::from_slice::<Value>(&curl(&[&url]).body).unwrap()["version"].as_u64().unwrap();
    assert_eq!(version(), 1);
    curl(&["--request", "POST", &url]);
    wait_until("version 2", std::time::Duration::from_secs(15), || version() == 2);
}

#[test]
fn a_websocket_is_opened_through_the_edge() {
    let cdn = Cdn::start(&[]);
    let url = format!("http://{}/ws", cdn.edge(1));
    // curl stays in the conversation until the time is up; what counts is the head of the answer.
    let place = tempfile::tempdir().unwrap();
    let head = place.path().join("head");
    let mut command = std::process::Command::new("curl");
    command.args(["--silent", "--http1.1", "--max-time", "2", "--dump-header"]).arg(&head).args(["--output", "/dev/null"]);
    for field in ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] {
        command.args(["--header", field]);
    }
    crate::house::run(command.arg(&url));
    let head = std::fs::read_to_string(&head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
}
