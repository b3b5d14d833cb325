//! Cleartext HTTP/1.1: a server that keeps to the protocol, Python's, and ones that lie.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::house::{DEADLINE_S, loadtest, said, server};

/// A digest that no body here has.
const DIGEST: &str = "9bdd04e9f77a23d4c9e04a84d2f5b2a4a0d37bdb5ea4a5ba6a4f0bb2b3c2f6f5";

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted_and_every_body_checked() {
    let url = format!("http://shop.test:{}/a", server(|_| (200, "the body")).await.port());
    let arguments = ["run", "--url", &url, "--resolve", "shop.test:127.0.0.1", "--connections", "3", "--requests", "100", "--json"];
    let (stdout, stderr) = said(&loadtest(&arguments).await);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_eq!(report["statuses"]["200"], 100);
    assert_eq!((&report["answers"], &report["hits"], &report["body_octets"]), (&100.into(), &100.into(), &800.into()));
    assert_eq!((&report["wrong_bodies"], &report["errors"]), (&0.into(), &0.into()));
    assert!(report["latency_us"]["p50"].as_u64() <= report["latency_us"]["max"].as_u64());

    let output = loadtest(&[&arguments[..5], &["--seconds", "1"]].concat()).await;
    assert!(output.status.success());
    assert!(said(&output).0.contains("\nlatency   p50 "), "{}", said(&output).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_have_the_fields_that_are_given() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a request"));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("written");
        String::from_utf8(head).expect("text").to_ascii_lowercase()
    });
    let arguments =
        ["run", "--url", &url, "--connections", "1", "--requests", "1", "--header", "X-Wish: a: b", "--header", "accept:text/html"];
    assert!(loadtest(&arguments).await.status.success());
    let asked = asked.await.expect("a request");
    assert!(asked.contains("\r\nx-wish: a: b\r\n") && asked.contains("\r\naccept: text/html\r\n"), "{asked}");

    for (header, why) in [("x-wish", "there is no colon"), ("x wish: a", "the name is none"), ("Host: a.test", "the host is that of --url")]
    {
        let output = loadtest(&["run", "--url", &url, "--header", header]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).1.contains(why), "{}", said(&output).1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_fails_the_run_and_is_told() {
    let address = server(|number| (200, if number == 57 { "tho body" } else { "the body" })).await;
    let output = loadtest(&["run", "--url", &format!("http://{address}/"), "--connections", "2", "--requests", "100"]).await;
    let stderr = said(&output).1;
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("1 of 100 answers had a wrong body: a body has SHA-256 "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_must_have_the_digest_that_is_given() {
    let url = format!("http://{}/", server(|_| (200, "the body")).await);
    let digest: String =
        ring::digest::digest(&ring::digest::SHA256, b"the body").as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(loadtest(&["run", "--url", &url, "--requests", "5", "--expect-sha256", &digest]).await.status.success());
    let output = loadtest(&["run", "--url", &url, "--requests", "5", "--expect-sha256", DIGEST]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).1.contains(&format!("5 of 5 answers had a wrong body: a body has SHA-256 {digest} where {DIGEST}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_short_and_a_run_without_success_fail() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let cutting = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if stream.read(&mut [0; 4096]).await.is_ok() {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nthe b").await;
                }
            });
        }
    });
    let output = loadtest(&["run", "--url", &format!("http://{cutting}/"), "--connections", "1", "--requests", "4"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).1.contains("4 requests had no whole answer"), "{}", said(&output).1);

    let failing = server(|number| if number == 0 { (200, "yes") } else { (503, "no") }).await;
    let output = loadtest(&["run", "--url", &format!("http://{failing}/"), "--connections", "1", "--requests", "4"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).1.contains("3 of 4 answers had a status that is no success (503: 3)"), "{}", said(&output).1);
}

#[tokio::test]
async fn what_cannot_be_run_is_one_sentence() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let closed = format!("http://{closed}/");
    for (arguments, code, expected) in [
        (&["run", "--url", "ftp://127.0.0.1/"][..], 1, "is neither an http:// nor an https:// URL"),
        (&["run", "--url", &closed], 1, "cannot connect to 127.0.0.1:"),
        (&["run", "--url", &closed, "--connections", "0"], 1, "0 connections are not between 1 and 10000"),
        (&["run", "--url", &closed, "--requests", "0"], 1, "0 requests measure nothing"),
        (&["run", "--url", &closed, "--seconds", "0"], 1, "is not above 0"),
        (&["run", "--url", &closed, "--expect-sha256", "abc"], 2, "`abc` is no SHA-256 digest"),
        (&["compare", "/nowhere/plan.toml"], 1, "cannot read /nowhere/plan.toml"),
        (&["compare", "/dev/null"], 1, "/dev/null is no plan: "),
        (&["compare", "/dev/null", "--peer", "apache"], 2, "apache"),
        (&["front", "--endpoints", "/nowhere/endpoints.json"], 1, "cannot read /nowhere/endpoints.json"),
        (&["front", "--endpoints", "/dev/null"], 1, "/dev/null is no endpoints file"),
    ] {
        let output = loadtest(arguments).await;
        let stderr = said(&output).1;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_server_is_measured_with_and_without_kept_connections() {
    for protocol in ["HTTP/1.0", "HTTP/1.1"] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("file"), [7; 100_000]).expect("written");
        let mut python = Command::new("python3");
        python.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--protocol", protocol, "0", "--directory"]).arg(folder.path());
        let mut child = python.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("python3");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = timeout(Duration::from_secs(DEADLINE_S), lines.next_line()).await.expect("in time").expect("a line").expect("a line");
        let port = first.split_whitespace().nth(5).unwrap_or_else(|| panic!("no port in {first:?}")).to_owned();
        let url = format!("http://127.0.0.1:{port}/file");
        let output = loadtest(&["run", "--url", &url, "--connections", "4", "--requests", "40", "--json"]).await;
        let (stdout, stderr) = said(&output);
        assert!(output.status.success() && stdout.contains("\"body_octets\": 4000000"), "{protocol}: {stdout}{stderr}");
        child.kill().await.expect("killed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_allowed_the_files_that_it_needs() {
    let url = format!("http://{}/", server(|_| (200, "the body")).await);
    let run = async |limits: &str| {
        let mut shell = Command::new("sh");
        let command = format!("{limits} && exec \"$0\" run --url {url} --connections 150 --requests 150");
        shell.args(["-c", &command, env!("CARGO_BIN_EXE_skerry-loadtest")]).kill_on_drop(true);
        timeout(Duration::from_secs(DEADLINE_S), shell.output()).await.expect("in time").expect("a shell")
    };
    let output = run("ulimit -Sn 100").await;
    assert!(output.status.success(), "{}", said(&output).1);
    let output = run("ulimit -Sn 100 && ulimit -Hn 100").await;
    let stderr = said(&output).1;
    assert!(stderr.contains("150 connections: 278 open files are needed, and 100 are allowed (ulimit -Hn)"), "{stderr}");
}
