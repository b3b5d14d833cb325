//! HTTP/2 at an edge with clients that nobody here wrote.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use crate::house::Cdn;
use crate::house::cdn::SOON;

const HITS: &str = "skerry_edge_requests_total{cache=\"hit\",status=\"200\"}";

#[test]
fn many_streams_of_many_connections_get_their_hits_whole() {
    let cdn = Cdn::start(&[]);
    for (place, path, length) in [("/edges/0/https", "/files/1024.bin", 1024), ("/edges/0/http", "/files/300000.bin", 300_000)] {
        let scheme = place.rsplit('/').next().unwrap();
        let url = format!("{scheme}://{}{path}", cdn.at(place));
        // The first one stores it.
        let first = Command::new("h2load").args(["-n1", "-c1", &url]).output().unwrap();
        assert!(String::from_utf8_lossy(&first.stdout).contains("1 succeeded"), "{first:?}");
        let before = cdn.metric(1, HITS);
        let all = Command::new("h2load").args(["-n600", "-c6", "-m50", &url]).output().unwrap();
        let said = String::from_utf8_lossy(&all.stdout);
        assert!(said.contains("600 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
        assert!(said.contains(&format!("({}) data", 600 * length)), "{said}");
        assert_eq!(cdn.metric(1, HITS) - before, 600.0, "{url}");
    }
}

#[test]
fn what_is_refused_is_counted_by_its_reason_and_reaches_nobody() {
    let cdn = Cdn::start(&[]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // `:method: GET`, `:scheme: http`, `:path: /`, `connection: a`; and a flood of PINGs.
    let malformed = b"\0\0\x11\x01\x05\0\0\0\x01\x82\x86\x84\0\x0aconnection\x01a";
    let ping = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (reason, said) in [("field", malformed.to_vec()), ("flood", ping.repeat(10_000))] {
        let series = format!("skerry_edge_refused_total{{reason=\"{reason}\"}}");
        let mut client = TcpStream::connect(cdn.at("/edges/0/http")).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        // The server may close before it has all of it.
        let _ = client.write_all(&[&preface[..], &said].concat());
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        assert_eq!(cdn.metric(1, &series), 1.0, "{reason}");
    }
    let upgrade = Command::new("nghttp").args(["-nv", &format!("http://{}/", cdn.at("/edges/0/http"))]).output().unwrap();
    assert!(String::from_utf8_lossy(&upgrade.stdout).contains(":status: 200"), "{upgrade:?}");
}
