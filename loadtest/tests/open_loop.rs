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

/// nginx before a server that takes 10 ms for each answer, so that neither nginx nor whoever asks is the slower side: all generators can measure the
/// same thing. Cleartext HTTP/1.1 and HTTP/2.
async fn paced_nginx(folder: &std::path::Path) -> (tokio::process::Child, u16, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = listener.local_addr().expect("an address");
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
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let held = [free(), free()];
    let [h1, h2] = [0, 1].map(|index: usize| held[index].local_addr().expect("an address").port());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {what};\n")).concat();
    let configuration = format!(
        "daemon off; pid nginx.pid; worker_processes 1; events {{ worker_connections 512; }}\n\
         http {{ access_log off; {temporary} keepalive_requests 1000000; upstream origin {{ server {origin}; keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{h1}; listen 127.0.0.1:{h2} http2;\n\
         location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n"
    );
    std::fs::write(folder.join("nginx.conf"), configuration).expect("written");
    drop(held);
    let mut nginx = Command::new("/usr/sbin/nginx");
    nginx.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "error.log"]).stdin(Stdio::null()).kill_on_drop(true);
    let child = nginx.spawn().expect("nginx is installed (make setup)");
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", h2)).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nginx does not answer");
        tokio::task::yield_now().await;
    }
    (child, h1, h2)
}

/// Other work on the machine comes between any two runs, so a few rounds are granted until all agree; what never agrees never does.
#[tokio::test(flavor = "multi_thread")]
async fn rates_and_times_agree_with_those_of_wrk_and_h2load_on_nginx() {
    const TRIES: usize = 8;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut nginx, h1, h2) = paced_nginx(folder.path()).await;
    let (h1, h2) = (format!("http://127.0.0.1:{h1}/"), format!("http://127.0.0.1:{h2}/"));
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.1;
    let mut seen = Vec::new();
    let agree = loop {
        let ours = |url: String, more: &'static [&'static str]| async move {
            let report = report(&loadtest(&[&["run", "--url", &url, "--seconds", "2", "--json"], more].concat()).await);
            (report["answers_per_second"].as_f64().expect("a rate"), report["latency_us"]["p50"].as_f64().expect("a time"))
        };
        let own = ours(h1.clone(), &["--connections", "8"]).await;
        let wrk = run("wrk", &["-t", "1", "-c", "8", "-d", "2s", "--latency", &h1]).await;
        let wrk = (number(&wrk, "Requests/sec:"), number(&wrk, "50%") * 1000.0);
        let h2load_h1 = finished(&run("h2load", &["--h1", "-t", "1", "-c", "8", "-D", "2", &h1]).await);
        let own_h2 = ours(h2.clone(), &["--protocol", "h2", "--connections", "2", "--streams", "8"]).await;
        let h2load = finished(&run("h2load", &["-t", "1", "-c", "2", "-m", "8", "-D", "2", &h2]).await);
        seen.push((own, wrk, h2load_h1, own_h2, h2load));
        if near(own.0, wrk.0) && near(own.1, wrk.1) && near(own.0, h2load_h1) && near(own_h2.0, h2load) {
            break true;
        }
        if seen.len() == TRIES {
            break false;
        }
    };
    // Killed, it would leave its worker behind.
    let stop = ["-c", "nginx.conf", "-e", "error.log", "-s", "stop"];
    let stopped = Command::new("/usr/sbin/nginx").arg("-p").arg(folder.path()).args(stop).status().await.expect("nginx runs");
    assert!(stopped.success() && nginx.wait().await.is_ok(), "nginx is not ended");
    assert!(agree, "requests/s and median us of ours and wrk, requests/s of h2load, the same over HTTP/2: {seen:?}");
}

/// The requests a second that h2load tells.
fn finished(said: &str) -> f64 {
    let rate = said.split("finished in").nth(1).and_then(|rest| rest.split(',').nth(1));
    number(rate.unwrap_or_else(|| panic!("h2load says: {said}")), "")
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
