//! The open loop: a stall must show in its tail, a rate that is not reached must not look like one that is, and both generators that everyone
//! knows must see the same server.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::house::{loadtest, said, server};

fn report(output: &std::process::Output) -> serde_json::Value {
    let (stdout, stderr) = said(output);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
}

/// A server that answers every request at once, but for one time, a while after it was first asked, when it stands still for that long.
async fn stalling(stall: Duration) -> std::net::SocketAddr {
    const AFTER: Duration = Duration::from_millis(700);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let first = std::sync::Arc::new(std::sync::OnceLock::new());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let first = std::sync::Arc::clone(&first);
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let begun: Instant = *first.get_or_init(Instant::now);
                    let since = begun.elapsed();
                    if since >= AFTER && since < AFTER + stall {
                        tokio::time::timeout(AFTER + stall - since, std::future::pending::<()>()).await.expect_err("nothing comes");
                    }
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nthe body").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_stall_is_in_the_tail_of_an_open_loop_and_not_of_a_closed_one() {
    const STALL: Duration = Duration::from_millis(500);
    let stall_us = u64::try_from(STALL.as_micros()).expect("few");
    let url = format!("http://{}/", stalling(STALL).await);
    let open = ["run", "--url", &url, "--connections", "4", "--seconds", "2", "--rate", "500", "--arrivals", "constant", "--json"];
    let open = report(&loadtest(&open).await);
    // A quarter of the plan falls into the stall; half of that waits for more than half of it.
    let latency = |report: &serde_json::Value, at: &str| report["latency_us"][at].as_u64().expect("a time");
    assert!(latency(&open, "p90") > stall_us / 3, "{open}");
    assert!(latency(&open, "p99") > stall_us * 4 / 5, "{open}");
    assert_eq!(open["planned"]["requests"], 1000, "{open}");
    assert_eq!(open["answers"], 1000, "{open}");
    // The same stall, of which a closed loop sees no more than one request a connection.
    let url = format!("http://{}/", stalling(STALL).await);
    let closed = report(&loadtest(&["run", "--url", &url, "--connections", "4", "--seconds", "2", "--json"]).await);
    assert!(latency(&closed, "p90") < stall_us / 3 && latency(&closed, "max") > stall_us / 2, "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_not_reached_fails_the_run() {
    let url = format!("http://{}/", server(|_| (200, "the body")).await);
    let output = loadtest(&["run", "--url", &url, "--connections", "1", "--seconds", "1", "--rate", "500000"]).await;
    let stderr = said(&output).1;
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("requests/s was not reached: "), "{stderr}");
    for (rate, said_of_it) in [("0", "a rate of 0 requests/s is not above 0"), ("2e6", "and at most 1000000"), ("-5", "-5")] {
        let rate = format!("--rate={rate}");
        let output = loadtest(&["run", "--url", &url, &rate]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).1.contains(said_of_it), "{}", said(&output).1);
    }
    let output = loadtest(&["run", "--url", &url, "--arrivals", "constant"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output).1);
}

/// Starts nginx's own server of a small file, and asks it with ours and with others at the same rate of connections: where both can measure the
/// same thing, they agree. All take the whole of a core, so a round of one that was disturbed is measured again.
#[tokio::test(flavor = "multi_thread")]
async fn rates_agree_with_those_of_wrk_and_h2load_at_a_server_that_is_the_slower_side() {
    const TRIES: usize = 8;
    // A server whose pace is its own, not the machine's: so fast and no faster on each of 8 connections.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let pause = Duration::from_millis(10);
                    tokio::time::timeout(pause, std::future::pending::<()>()).await.expect_err("nothing comes");
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nthe body").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let url = format!("http://{address}/");
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let ours = report(&loadtest(&["run", "--url", &url, "--connections", "8", "--seconds", "2", "--json"]).await);
        let ours = (ours["answers_per_second"].as_f64().expect("a rate"), ours["latency_us"]["p50"].as_f64().expect("a time"));
        let wrk = run("wrk", &["-t", "1", "-c", "8", "-d", "2s", "--latency", &url]).await;
        let wrk = (number(&wrk, "Requests/sec:"), number(&wrk, "50%") * 1000.0);
        let h2load = run("h2load", &["--h1", "-t", "1", "-c", "8", "-D", "2", &url]).await;
        let h2load = h2load.split("finished in").nth(1).and_then(|rest| rest.split(',').nth(1)).map_or(0.0, |rate| number(rate, ""));
        seen.push((ours, wrk, h2load));
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.1;
        if near(ours.0, wrk.0) && near(ours.1, wrk.1) && near(ours.0, h2load) {
            return;
        }
    }
    panic!("requests/s and median us of ours and of wrk, requests/s of h2load: {seen:?}");
}

async fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("in time").expect("it is installed (make setup)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first number after a word.
fn number(text: &str, after: &str) -> f64 {
    let rest = text.find(after).map_or("", |at| &text[at + after.len()..]).trim_start();
    let digits: String = rest.chars().take_while(|&digit| digit.is_ascii_digit() || digit == '.').collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after `{after}` in {text}"))
}
