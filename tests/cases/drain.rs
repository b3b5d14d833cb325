//! Stopping an edge under load: what was accepted is answered, and the process ends as it should.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::house::cdn::SOON;
use crate::house::command::is_running;
use crate::house::live::limit;
use crate::house::{Cdn, Reply, Scripted, get, kill, wait_until};

const HOST: &str = "www.example.com";
/// Clients that ask one request after the other, each on a connection that it keeps.
const CLIENTS: usize = 16;
/// The answers that all of them together have had before the edge is stopped, and after it has ended.
const ANSWERS: u64 = 300;

/// What the clients have seen, all together.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    /// Requests that met a kept connection as the edge closed it, and were sent again (RFC 9112 section 9.3.1).
    again: AtomicU64,
    failed: Mutex<Vec<String>>,
    enough: AtomicBool,
}

impl Tally {
    fn fail(&self, why: String) {
        self.failed.lock().unwrap().push(why);
    }
}

/// A connection to the first of the edges that takes one.
async fn connect(edges: &[SocketAddr]) -> SendRequest<Empty<Bytes>> {
    for edge in edges {
        if let Ok(stream) = TcpStream::connect(edge).await {
            let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            return sender;
        }
    }
    panic!("no edge takes a connection");
}

/// One client of both edges, who prefers the first.
async fn ask(edges: Vec<SocketAddr>, tally: Arc<Tally>) {
    let mut number = 0_u64;
    'connections: while !tally.enough.load(Ordering::Relaxed) {
        let mut sender = connect(&edges).await;
        let mut is_kept = false;
        while !tally.enough.load(Ordering::Relaxed) {
            number += 1;
            // Every third one goes the whole way to the origin.
            let path = if number.is_multiple_of(3) { "/private" } else { "/stored" };
            let request = Request::get(path).header("host", HOST).body(Empty::<Bytes>::new()).unwrap();
            if sender.ready().await.is_err() {
                continue 'connections;
            }
            match sender.send_request(request).await {
                Ok(answer) if answer.status() == 200 => match answer.into_body().collect().await.map(http_body_util::Collected::to_bytes) {
                    Ok(body) if body == "whole" => tally.answered.fetch_add(1, Ordering::Relaxed),
                    other => return tally.fail(format!("an answer broke off: {other:?}")),
                },
                Ok(answer) => return tally.fail(format!("{path} was {}", answer.status())),
                Err(_) if is_kept => {
                    tally.again.fetch_add(1, Ordering::Relaxed);
                    continue 'connections;
                }
                Err(error) => return tally.fail(format!("a request on a connection that had just been accepted: {error:?}")),
            };
            is_kept = true;
        }
    }
}

/// An origin whose `/slow` says nothing until both barriers have been passed, the first of which tells that the request is there.
fn origin() -> (Scripted, Arc<Barrier>, Arc<Barrier>) {
    let (asked, answered) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let script = (Arc::clone(&asked), Arc::clone(&answered));
    let origin = Scripted::start(move |seen| match seen.line().split(' ').nth(1).unwrap_or_default() {
        "/slow" => {
            script.0.wait();
            script.1.wait();
            Reply::whole("200 OK", "Cache-Control: no-store\r\n", &"slow".repeat(100_000))
        }
        "/private" => Reply::whole("200 OK", "Cache-Control: no-store\r\n", "whole"),
        _ => Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "whole"),
    });
    (origin, asked, answered)
}

fn is_refused(edge: &str) -> bool {
    std::net::TcpStream::connect(edge).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// How `skerry dev` says that an edge has ended.
fn end(cdn: &Cdn, name: &str) -> String {
    let (pid, _) = cdn.process(name);
    wait_until(&format!("the end of {name}"), SOON, || !is_running(pid));
    let said = || cdn.said().lines().find(|line| line.contains(&format!("{name} (pid {pid}) ended"))).map(str::to_owned);
    wait_until("the word of it", SOON, || said().is_some());
    said().unwrap_or_default()
}

#[test]
fn an_edge_stopped_under_load_fails_no_request() {
    let (origin, asked, answered) = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let edges = vec![cdn.edge(2).parse().unwrap(), cdn.edge(1).parse().unwrap()];
    let tally = Arc::new(Tally::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let clients: Vec<_> = (0..CLIENTS).map(|_| runtime.spawn(ask(edges.clone(), Arc::clone(&tally)))).collect();
    let have_answers = |more: u64| {
        let enough = tally.answered.load(Ordering::Relaxed) + more;
        let is_over = || tally.answered.load(Ordering::Relaxed) >= enough || !tally.failed.lock().unwrap().is_empty();
        wait_until("answers", SOON, is_over);
    };
    have_answers(ANSWERS);
    let slow = std::thread::spawn({
        let edge = cdn.edge(2).to_owned();
        move || get(&edge, HOST, "/slow")
    });
    asked.wait();
    kill("TERM", cdn.process("edge-2").0);
    wait_until("the edge to accept no more", SOON, || is_refused(cdn.edge(2)));
    have_answers(ANSWERS);
    assert!(is_running(cdn.process("edge-2").0), "it ended before what it was still answering");
    answered.wait();
    assert_eq!(slow.join().unwrap().text().len(), 400_000, "the answer that ran was cut off");
    let said = end(&cdn, "edge-2");
    assert!(said.contains("exit code 0"), "{said}");
    have_answers(ANSWERS);
    tally.enough.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for client in clients {
            client.await.unwrap();
        }
    });
    assert_eq!(*tally.failed.lock().unwrap(), Vec::<String>::new());
    let again = tally.again.load(Ordering::Relaxed);
    // Each client has one connection to that edge, which closes once.
    assert!(again <= CLIENTS as u64, "{again} requests were sent again");
    println!("{} requests answered, {again} of them sent again on another connection", tally.answered.load(Ordering::Relaxed));
}

#[test]
fn a_drain_has_its_bound_and_a_second_signal_is_not_waited_for() {
    let (origin, asked, answered) = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let ask = |edge: &str| {
        let edge = edge.parse::<SocketAddr>().unwrap();
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(edge).unwrap();
            write!(stream, "GET /slow HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            answer.len()
        })
    };
    cdn.change(2, "applied", |settings| limit(settings, "drain_time", "300ms"));
    let running = ask(cdn.edge(2));
    asked.wait();
    kill("TERM", cdn.process("edge-2").0);
    let said = end(&cdn, "edge-2");
    assert!(said.contains("exit code 0"), "{said}");
    assert!(cdn.log("edge-2").contains("connections cut off at the end of the drain"), "{}", cdn.log("edge-2"));
    assert_eq!(running.join().unwrap(), 0);
    answered.wait();

    cdn.change(1, "applied", |settings| limit(settings, "drain_time", "10m"));
    let running = ask(cdn.edge(1));
    asked.wait();
    let (pid, _) = cdn.process("edge-1");
    kill("TERM", pid);
    wait_until("the edge to accept no more", SOON, || is_refused(cdn.edge(1)));
    assert!(is_running(pid));
    let since = Instant::now();
    kill("INT", pid);
    let said = end(&cdn, "edge-1");
    assert!(said.contains("exit code 130"), "{said}");
    assert!(since.elapsed() < Duration::from_secs(60), "it was waited for");
    assert_eq!(running.join().unwrap(), 0);
    answered.wait();
}
