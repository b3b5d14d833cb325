//! TLS handshakes of clients that nobody here wrote: versions, protocols, tickets, and who takes too long.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::house::Cdn;
use crate::house::cdn::SOON;
use crate::house::command::end_of;
use crate::house::live::limit;

const HOST: &str = "default.cdn.test";

/// One exchange of openssl's client with an edge; what it says of the handshake, and the answer.
#[track_caller]
fn exchange(cdn: &Cdn, options: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", cdn.at("/edges/0/https"), "-servername", HOST, "-CAfile", cdn.at("/control/ca"), "-ign_eof"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The ticket of TLS 1.3 comes behind the handshake, so that an answer is waited for.
    let _ = write!(client.stdin.take().unwrap(), "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let mut said = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    end_of(&mut client, "openssl", SOON);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn both_versions_resume_with_a_ticket() {
    let cdn = Cdn::start(&[]);
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let ticket = cdn.file(&format!("{version}.ticket"), "");
        let first = exchange(&cdn, &[option, "-sess_out", &ticket]);
        assert!(first.contains(&format!("New, {version}")) && first.contains("Verify return code: 0"), "{first}");
        assert!(first.contains("HTTP/1.1 200"), "{first}");
        let second = exchange(&cdn, &[option, "-sess_in", &ticket]);
        assert!(second.contains(&format!("Reused, {version}")) && second.contains("HTTP/1.1 200"), "{second}");
        let elsewhere = exchange(&cdn, &[option, "-sess_in", &ticket, "-servername", "www.cdn.test"]);
        assert!(!elsewhere.contains("Reused,"), "a session of another name was resumed: {elsewhere}");
    }
}

#[test]
fn the_protocol_is_the_clients_choice_and_old_versions_are_refused() {
    let cdn = Cdn::start(&[]);
    for (offered, agreed) in [("h2", "ALPN protocol: h2"), ("http/1.1", "ALPN protocol: http/1.1"), ("http/1.1,h2", "ALPN protocol: h2")] {
        let said = exchange(&cdn, &["-alpn", offered]);
        assert!(said.contains(agreed), "{offered}: {said}");
    }
    // Who agreed on HTTP/2 and sends HTTP/1.1 is refused, and counted.
    assert_eq!(cdn.metric(1, "skerry_edge_refused_total{reason=\"line\"}"), 2.0);
    assert!(exchange(&cdn, &[]).contains("No ALPN negotiated"));
    let old = exchange(&cdn, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!old.contains("HTTP/1.1 200") && old.contains("Cipher is (NONE)"), "{old}");
    let no_protocol = exchange(&cdn, &["-alpn", "smtp"]);
    assert!(!no_protocol.contains("HTTP/1.1 200"), "{no_protocol}");
    let refused = cdn.metric(1, "skerry_edge_connections_refused_total{reason=\"handshake\"}");
    assert_eq!(refused, 2.0);
}

#[test]
fn who_takes_too_long_with_his_handshake_is_closed() {
    let cdn = Cdn::start(&[]);
    cdn.change(1, "applied", |settings| limit(settings, "handshake_time", "300ms"));
    // Nothing at all, and half of a ClientHello.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let mut slow = TcpStream::connect(cdn.at("/edges/0/https")).unwrap();
        slow.set_read_timeout(Some(SOON)).unwrap();
        slow.write_all(sent).unwrap();
        assert!(matches!(slow.read(&mut [0; 16]), Ok(0)), "the connection is kept");
    }
    assert_eq!(cdn.metric(1, "skerry_edge_connections_refused_total{reason=\"handshake_time\"}"), 2.0);
    assert!(exchange(&cdn, &[]).contains("HTTP/1.1 200"));
}
