//! Listeners and limits that change under a running edge.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};

use crate::house::cdn::SOON;
use crate::house::live::{limit, listen};
use crate::house::{Cdn, Reply, Scripted, curl, get, wait_until};

const HOST: &str = "www.example.com";

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Whether a connection is closed without an answer.
fn is_closed(mut connection: TcpStream) -> bool {
    connection.set_read_timeout(Some(SOON)).unwrap();
    let _ = connection.write_all(b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let ended = connection.read_to_end(&mut answer);
    assert!(ended.as_ref().err().is_none_or(|error| error.kind() == std::io::ErrorKind::ConnectionReset), "{ended:?}");
    answer.is_empty()
}

#[test]
fn a_listener_comes_with_the_settings_file_and_drains_when_it_goes() {
    let (asked, answered) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let script = (Arc::clone(&asked), Arc::clone(&answered));
    let origin = Scripted::start(move |seen| {
        if seen.line().contains("/slow") {
            script.0.wait();
            script.1.wait();
        }
        Reply::whole("200 OK", "Cache-Control: no-store\r\n", "whole")
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let before = cdn.listening(1, "http");
    let mut settings = cdn.settings(1);
    listen(&mut settings, "http", "127.0.0.1:0");
    // Without a signal: the file is watched.
    cdn.rewrite(1, &toml::to_string(&settings).unwrap());
    wait_until("the other listener", SOON, || cdn.listening(1, "http").len() == 2);
    let added = cdn.listening(1, "http")[1];
    assert_eq!(get(&added.to_string(), HOST, "/a").text(), "whole");

    let running = std::thread::spawn(move || get(&added.to_string(), HOST, "/slow"));
    asked.wait();
    cdn.change(1, "applied", |settings| {
        settings["listen"]["http"].as_array_mut().unwrap().pop();
    });
    assert_eq!(cdn.listening(1, "http"), before);
    assert!(is_refused(added), "a listener that is gone accepts");
    answered.wait();
    assert_eq!(running.join().unwrap().text(), "whole", "what ran was cut off");
    assert_eq!(get(cdn.edge(1), HOST, "/a").text(), "whole", "the other listener goes on");
}

#[test]
fn a_settings_file_at_fault_leaves_the_old_in_force() {
    let cdn = Cdn::start(&[]);
    let good = toml::to_string(&cdn.settings(1)).unwrap();
    let in_force = || cdn.metric(1, "skerry_edge_settings_in_force");
    assert_eq!(in_force(), 1.0);
    let bad = good.replace("[limits]", "[limits]\nnonsense = 1").replace("connections = 16384", "connections = 0");
    assert_ne!(bad, good);
    cdn.reread(1, "refused", &bad);
    assert_eq!(in_force(), 0.0);
    let log = cdn.log("edge-1");
    let line = log.lines().find(|line| line.contains("settings refused")).expect("a line in the log");
    assert!(line.contains("nonsense") && line.contains("limits.connections") && line.contains("write 1 to 1000000"), "{line}");
    assert_eq!(get(cdn.edge(1), HOST, "/").status, 200);

    let other_role = "role = \"shield\"\nname = \"edge-1\"\ndata = \"data\"\n[control]\naddress = \"127.0.0.1:1\"\n[listen]\n\
                      tier = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    cdn.reread(1, "refused", other_role);
    assert!(cdn.log("edge-1").contains("role is no longer"), "{}", cdn.log("edge-1"));
    cdn.reread(1, "applied", &good);
    assert_eq!((in_force(), get(cdn.edge(1), HOST, "/").status), (1.0, 200));
}

#[test]
fn what_cannot_be_put_in_force_is_said_and_leaves_the_rest_alone() {
    let cdn = Cdn::start(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap().to_string();
    cdn.change(1, "partly", |settings| {
        listen(settings, "http", &taken_address);
        listen(settings, "http", "127.0.0.1:0");
        settings["cache"]["memory"] = "256MiB".into();
    });
    let log = cdn.log("edge-1");
    assert!(log.contains(&format!("cannot listen on {taken_address} for http")), "{log}");
    let waiting = log.lines().find(|line| line.contains("not in force before the next start")).expect("a warning");
    assert!(waiting.contains("cache") && !waiting.contains("listen"), "{waiting}");
    let listening = cdn.listening(1, "http");
    assert_eq!(listening.len(), 2, "{listening:?}");
    assert_eq!(get(&listening[1].to_string(), HOST, "/").status, 200);

    // The port is free again: the next reading takes it.
    drop(taken);
    cdn.change(1, "applied", |settings| settings["cache"]["memory"] = "192MiB".into());
    assert_eq!(get(&taken_address, HOST, "/").status, 200);
    assert_eq!(cdn.listening(1, "http")[1], listening[1], "those that were there stay");
}

#[test]
fn a_listener_changes_its_kind_and_certificates_come_with_it() {
    let cdn = Cdn::start(&[]);
    cdn.change(1, "applied", |settings| listen(settings, "http", "127.0.0.1:0"));
    let address = cdn.listening(1, "http")[1];
    let (cert, key) = super::certificates::certificate(&cdn, "live", "live.example.com");
    cdn.change(1, "applied", |settings| {
        settings["listen"]["http"].as_array_mut().unwrap().pop();
        // The port that the kernel chose, written down: another listener, as far as the file goes.
        listen(settings, "https", &address.to_string());
        let files = [("cert".to_owned(), cert.as_str().into()), ("key".to_owned(), key.as_str().into())];
        settings["tls"]["certificates"] = vec![toml::Value::Table(files.into_iter().collect())].into();
    });
    assert!(super::certificates::shown(&address.to_string(), "live.example.com").contains("live"));
    cdn.change(1, "applied", |settings| {
        settings["listen"]["https"].as_array_mut().unwrap().pop();
        listen(settings, "http", &address.to_string());
    });
    assert_eq!(get(&address.to_string(), HOST, "/").status, 200, "the same socket, in cleartext");
    cdn.change(1, "partly", |settings| settings["tls"]["certificates"][0]["key"] = "/nowhere/live.key".into());
    assert!(cdn.log("edge-1").contains("/nowhere/live.key"), "{}", cdn.log("edge-1"));
    assert!(super::certificates::shown(cdn.at("/edges/0/https"), "live.example.com").contains("live"), "the old certificate stays");
}

#[test]
fn limits_change_live_and_each_refusal_is_counted() {
    let cdn = Cdn::start(&[]);
    let refused = |reason: &str| cdn.metric(1, &format!("skerry_edge_connections_refused_total{{reason=\"{reason}\"}}"));
    let connect = || TcpStream::connect(cdn.edge(1)).unwrap();
    let open = || cdn.metric(1, "skerry_edge_connections{protocol=\"opening\"}");

    cdn.change(1, "applied", |settings| limit(settings, "connections_per_address", 2));
    let held = [connect(), connect()];
    wait_until("two open connections", SOON, || open() == 2.0);
    assert!(is_closed(connect()), "a third one was answered");
    assert_eq!(refused("address_connections"), 1.0);
    drop(held);
    wait_until("the end of both", SOON, || open() == 0.0);
    assert!(!is_closed(connect()));

    cdn.change(1, "applied", |settings| {
        limit(settings, "connections_per_address", 1_000);
        limit(settings, "new_connections_per_second", 1);
    });
    wait_until("a connection refused for its rate", SOON, || {
        drop((connect(), connect()));
        refused("address_rate") >= 1.0
    });

    cdn.change(1, "applied", |settings| {
        limit(settings, "new_connections_per_second", 1_000);
        limit(settings, "connections", 1);
    });
    wait_until("the end of all", SOON, || open() == 0.0);
    let held = connect();
    wait_until("one open connection", SOON, || open() == 1.0);
    let waiting = std::thread::spawn({
        let edge = cdn.edge(1).to_owned();
        move || get(&edge, HOST, "/")
    });
    assert_eq!(open(), 1.0, "the second waits outside");
    assert!(!waiting.is_finished());
    drop(held);
    assert_eq!(waiting.join().unwrap().status, 200, "who waited is answered");
}

#[test]
fn requests_above_the_limit_are_told_to_come_again() {
    let (asked, answered) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let script = (Arc::clone(&asked), Arc::clone(&answered));
    let origin = Scripted::start(move |seen| {
        if seen.line().contains("/slow") {
            script.0.wait();
            script.1.wait();
        }
        Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "whole")
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    cdn.change(1, "applied", |settings| limit(settings, "requests", 1));
    let edge = cdn.edge(1).to_owned();
    let running = std::thread::spawn(move || get(&edge, HOST, "/slow"));
    asked.wait();
    let post = format!("http://{}/post", cdn.edge(1));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let refused = curl(&[version, "--header", "Host: www.example.com", "--data", "x", &post]);
        assert_eq!((refused.status, refused.field("retry-after").as_str()), (503, "1"), "{refused:?}");
        assert!(refused.field("cache-status").contains("busy"), "{refused:?}");
    }
    assert_eq!(cdn.metric(1, "skerry_edge_requests_over_limit_total"), 2.0);
    assert_eq!(cdn.metric(1, "skerry_edge_requests_running"), 1.0);
    assert!(origin.seen("/post").is_empty(), "a refused request reached the origin");
    answered.wait();
    assert_eq!(running.join().unwrap().text(), "whole");
    assert_eq!(curl(&["--header", "Host: www.example.com", "--data", "x", &post]).status, 200);
}

#[test]
fn a_second_edge_on_a_port_fails_and_the_first_goes_on() {
    let cdn = Cdn::start(&[]);
    let place = tempfile::tempdir().unwrap();
    let settings = format!(
        "role = \"edge\"\nname = \"edge-9\"\ndata = {:?}\npublic_addresses = [\"127.0.0.1\"]\n[control]\naddress = \"127.0.0.1:1\"\n\
         join_token = \"skj1.x\"\n[listen]\nhttp = [{:?}]\nadmin = \"127.0.0.1:0\"\n",
        place.path().join("data"),
        cdn.edge(1)
    );
    let file = place.path().join("edge.toml");
    std::fs::write(&file, settings).unwrap();
    let second = crate::house::skerry(&["edge", "--config", file.to_str().unwrap()]);
    let sentence = second.refused(1);
    assert!(sentence.contains(cdn.edge(1)) && sentence.contains("another process has it"), "{sentence}");
    for _ in 0..20 {
        assert_eq!(get(cdn.edge(1), HOST, "/").status, 200);
    }
}
