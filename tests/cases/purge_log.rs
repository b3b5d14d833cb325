//! The purge log with real processes: killed in the middle of a burst, and too short for a node that was away.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, get, kill, wait_until};

const HOST: &str = "shop.example.com";
/// Stored answers, and who purges them at the same time.
const PATHS: usize = 24;
const OPERATORS: usize = 4;

/// An origin whose answers all have the version in their text, and that version.
fn versioned() -> (Scripted, Arc<AtomicU32>) {
    let version = Arc::new(AtomicU32::new(1));
    let now = Arc::clone(&version);
    let origin = Scripted::start(move |_| {
        let text = format!("version {}", now.load(Ordering::SeqCst));
        Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", &text)
    });
    (origin, version)
}

/// Purges a path over a connection of its own; whether that was accepted.
fn accepts(api: &str, token: &str, path: usize) -> bool {
    let body = format!("{{\"urls\":[\"http://{HOST}/{path}\"]}}");
    let request = format!(
        "POST /v1/purges HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    let asked = TcpStream::connect(api.trim_start_matches("http://")).and_then(|mut stream| {
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 202")
}

#[test]
fn what_was_accepted_before_the_control_plane_was_killed_is_in_force_on_every_node() {
    let (origin, version) = versioned();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    for (edge, path) in [1, 2].into_iter().flat_map(|edge| (0..PATHS).map(move |path| (edge, path))) {
        assert_eq!(get(cdn.edge(edge), HOST, &format!("/{path}")).text(), "version 1");
    }
    version.store(2, Ordering::SeqCst);
    let begun = Barrier::new(OPERATORS + 1);
    let accepted: BTreeSet<usize> = std::thread::scope(|scope| {
        let operator = |first: usize| {
            let (cdn, begun) = (&cdn, &begun);
            move || {
                let mut accepted = Vec::new();
                for (turn, path) in (0..PATHS).cycle().skip(first * PATHS / OPERATORS).enumerate() {
                    if !accepts(cdn.at("/control/api"), cdn.at("/control/token"), path) {
                        break;
                    }
                    accepted.push(path);
                    if turn == 0 {
                        begun.wait();
                    }
                }
                accepted
            }
        };
        let operators: Vec<_> = (0..OPERATORS).map(|first| scope.spawn(operator(first))).collect();
        // Each has been answered once.
        begun.wait();
        cdn.kill("control");
        operators.into_iter().flat_map(|operator| operator.join().unwrap()).collect()
    });
    assert!(accepted.len() >= OPERATORS, "{accepted:?}");
    cdn.start_again("control");
    wait_until("the nodes to follow", SOON, || ["shield-1", "edge-1", "edge-2"].iter().all(|node| cdn.follows(node)));
    for (edge, path) in [1, 2].into_iter().flat_map(|edge| accepted.iter().map(move |path| (edge, path))) {
        assert_eq!(get(cdn.edge(edge), HOST, &format!("/{path}")).text(), "version 2", "{path} at edge {edge}");
    }
    let shown = cdn.skerry(&["purge", "show", "1"]).fine().stdout;
    assert!(shown.starts_with("purge 1 of {\"") && ["shield-1", "edge-1", "edge-2"].iter().all(|node| shown.contains(node)), "{shown}");
    let log = cdn.json(&["purge", "log"]);
    assert_eq!(log["nodes"].as_array().unwrap().iter().filter(|node| node["behind"] == 0).count(), 3, "{log}");
    let newest = log["newest"].as_u64().unwrap();
    assert!(cdn.skerry(&["purge", "log"]).fine().stdout.contains(&format!("to {newest} are kept")));
    let none = cdn.skerry(&["purge", "show", &(newest + 1).to_string()]);
    assert!(none.code == 1 && none.stderr.contains(&(newest + 1).to_string()), "{none:?}");
}

#[test]
fn a_node_that_missed_more_than_the_log_keeps_serves_nothing_from_before() {
    let (origin, version) = versioned();
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let (_, config) = cdn.process("control");
    let mut settings: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
    settings.insert("purges".to_owned(), toml::toml! { keep = 3 }.into());
    cdn.kill("control");
    std::fs::write(&config, toml::to_string(&settings).unwrap()).unwrap();
    cdn.start_again("control");
    wait_until("the nodes to follow", SOON, || ["shield-1", "edge-1", "edge-2"].iter().all(|node| cdn.follows(node)));
    for path in ["/named", "/other"] {
        assert_eq!(get(cdn.edge(2), HOST, path).text(), "version 1");
    }
    let (pid, _) = cdn.process("edge-2");
    kill("STOP", pid);
    // What is sent while its stream stands lies in the socket, and is not missed.
    wait_until("the control plane to give it up", SOON, || cdn.json(&["status"])["nodes"][1]["connected"] == false);
    version.store(2, Ordering::SeqCst);
    cdn.skerry(&["purge", "--url", &format!("http://{HOST}/named")]).fine();
    for tag in ["a", "b", "c"] {
        cdn.skerry(&["purge", "--tag", tag]).fine();
    }
    kill("CONT", pid);
    wait_until("edge-2 to follow", SOON, || cdn.follows("edge-2"));
    assert_eq!(get(cdn.edge(2), HOST, "/named").text(), "version 2");
    assert!(!get(cdn.edge(2), HOST, "/other").is_hit_at("edge-2"), "what was purged is not known to it, so everything was");
}
