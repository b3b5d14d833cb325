//! Ranges and HEAD, through both tiers, from origins and with clients that nobody here wrote.

use std::process::Command;

use crate::house::clients::Got;
use crate::house::{Cdn, Nginx, Reply, Scripted, curl};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

fn ask(cdn: &Cdn, edge: usize, version: &str, path: &str, more: &[&str]) -> Got {
    let url = format!("http://{}{path}", cdn.edge(edge));
    curl(&[&[version, "--header", "Host: a.test"], more, &[&url]].concat())
}

/// Bytes that tell where they are.
fn numbered(lines: u32) -> Vec<u8> {
    (0..lines).flat_map(|line| format!("{line:09}\n").into_bytes()).collect()
}

#[test]
fn a_range_far_into_a_large_file_is_fetched_by_its_slice_kept_and_joined_to_others() {
    let origin = Nginx::start();
    let content = numbered(800_000);
    origin.put("/large.bin", &content);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let part = |range: &str| {
        let (first, last) = range.split_once('-').unwrap();
        content[first.parse::<usize>().unwrap()..=last.parse::<usize>().unwrap()].to_vec()
    };
    for (range, hit) in [
        ("5000000-5000099", false),
        ("5000000-5000099", true),
        ("5000010-5000019", true),
        ("5242850-5242899", false),
        ("5242800-5242890", true),
        ("7999990-7999999", false),
    ] {
        let got = ask(&cdn, 1, VERSIONS[usize::from(hit)], "/large.bin", &["--range", range]);
        assert_eq!((got.status, got.field("content-range")), (206, format!("bytes {range}/8000000")), "{got:?}");
        assert!(got.body == part(range), "{range}");
        assert_eq!(got.is_hit_at("edge-1"), hit, "{range}: {}", got.field("cache-status"));
    }
    let other = ask(&cdn, 2, VERSIONS[0], "/large.bin", &["--range", "5000150-5000160"]);
    assert!(other.is_hit_at("shield-1"), "the shield kept them too: {other:?}");
    let whole = ask(&cdn, 1, VERSIONS[0], "/large.bin", &[]);
    assert!(whole.status == 200 && whole.body == content, "parts and gaps in their order");
    assert_eq!(whole.at("edge-1"), "fwd=partial", "{}", whole.field("cache-status"));
    assert!(ask(&cdn, 1, VERSIONS[1], "/large.bin", &[]).is_hit_at("edge-1"));
}

#[test]
fn several_ranges_come_in_one_answer() {
    let origin = Nginx::start();
    origin.put("/text.txt", b"0123456789");
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for version in VERSIONS {
        let got = ask(&cdn, 1, version, "/text.txt", &["--range", "0-1,4-5,-2"]);
        let boundary = got.field("content-type").split_once("boundary=").map(|(_, boundary)| boundary.to_owned()).unwrap();
        let part = |range: &str, text: &str| {
            format!("\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}")
        };
        assert_eq!(got.status, 206);
        assert_eq!(got.text(), format!("{}{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("4-5", "45"), part("8-9", "89")));
        let outside = ask(&cdn, 1, version, "/text.txt", &["--range", "10-"]);
        assert_eq!((outside.status, outside.field("content-range").as_str()), (416, "bytes */10"));
    }
}

#[test]
fn a_download_that_was_interrupted_goes_on_with_curl() {
    let (origin, place) = (Nginx::start(), tempfile::tempdir().unwrap());
    let content = numbered(400_000);
    origin.put("/file.bin", &content);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for version in VERSIONS {
        let file = place.path().join(version);
        std::fs::write(&file, &content[..2_500_000]).unwrap();
        let status = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "60", version, "--continue-at", "-", "--output"])
            .arg(&file)
            .arg(format!("http://{}/file.bin", cdn.edge(1)))
            .status()
            .unwrap();
        assert!(status.success() && std::fs::read(&file).unwrap() == content, "{version}");
    }
}

#[test]
fn head_is_told_what_get_would_be() {
    let origin = Nginx::start();
    origin.put("/head.txt", b"0123456789");
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for version in VERSIONS {
        for path in ["/head.txt", "/missing.txt"] {
            let head = ask(&cdn, 1, version, path, &["--head"]);
            let got = ask(&cdn, 1, version, path, &[]);
            let told = |got: &Got| (got.status, ["content-length", "content-type", "etag"].map(|name| got.field(name)));
            assert_eq!(told(&head), told(&got), "{version} {path}");
        }
    }
}

#[test]
fn a_206_with_another_range_is_no_answer_and_not_stored() {
    let origin = Scripted::start(|seen| {
        let (range, body) = match seen.line().split(' ').nth(1).unwrap_or_default() {
            path if path.starts_with("/other") => ("bytes 0-4/20", "01234"),
            path if path.starts_with("/short") => ("bytes 5-9/20", "567"),
            path if path.starts_with("/odd") => ("bytes 9-5/20", "98765"),
            _ => ("bytes 5-9/20", "56789"),
        };
        Reply::whole("206 Partial Content", &format!("Cache-Control: max-age=60\r\nETag: \"1\"\r\nContent-Range: {range}\r\n"), body)
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in VERSIONS.into_iter().zip(["?1", "?2"]) {
        for path in ["/other", "/short", "/odd"] {
            let path = format!("{path}{query}");
            for turn in 1..=2 {
                let got = ask(&cdn, 1, version, &path, &["--range", "5-9"]);
                assert_eq!(got.status, 502, "{path}: {got:?}");
                assert!(got.field("cache-status").contains("detail=wrong-range"), "{path}: {}", got.field("cache-status"));
                assert!(origin.seen(&path).len() >= turn, "{path} came out of a store");
            }
        }
        assert_eq!(ask(&cdn, 1, version, &format!("/right{query}"), &["--range", "5-9"]).text(), "56789");
        let unasked = ask(&cdn, 1, version, &format!("/right-whole{query}"), &[]);
        assert!(unasked.status == 502 && unasked.field("cache-status").contains("unasked-206"), "{unasked:?}");
    }
}
