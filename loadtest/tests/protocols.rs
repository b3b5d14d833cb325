//! TLS, HTTP/2 and HTTP/3: nginx, and servers of this process that lie.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use skerry_loadtest::peer::{self, Kind, Peer, Workers};

use crate::house::{Certified, HOST, cleartext, counted, loadtest, said};

/// A run of 100 requests: by a protocol from an address, where the host's certificate comes from `ca`.
struct Asked<'a> {
    protocol: &'a str,
    address: SocketAddr,
    host: &'a str,
    ca: Option<&'a Path>,
}

impl Asked<'_> {
    async fn run(&self, more: &[&str]) -> std::process::Output {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        let (url, resolve) = (format!("{scheme}://{}:{}/a", self.host, self.address.port()), format!("{}:127.0.0.1", self.host));
        let mut arguments = vec!["run", "--url", &url, "--resolve", &resolve, "--protocol", self.protocol];
        arguments.extend(["--connections", "2", "--requests", "100"]);
        if let Some(ca) = self.ca {
            arguments.extend(["--ca", ca.to_str().expect("a path in UTF-8")]);
        }
        loadtest(&[&arguments, more].concat()).await
    }
}

fn streams(protocol: &str) -> &'static [&'static str] {
    if protocol == "h1" { &[] } else { &["--streams", "5"] }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_asked_over_every_protocol_that_it_has() {
    if !Kind::Nginx.is_installed() {
        return;
    }
    // Larger than the windows that HTTP/2 begins with, so that they must be opened again.
    let body = Bytes::from(vec![7_u8; 200_000]);
    let origin = cleartext(Arc::new(move |_| (200, body.clone()))).await;
    let nginx = Peer::start(Kind::Nginx, &format!("http://{origin}"), Workers::One).await.expect("nginx");
    let ca = nginx.authority();
    let (secure, cleartext_h2) = (nginx.secure().expect("TLS"), nginx.cleartext_h2().expect("HTTP/2"));
    for (protocol, address, ca) in [("h1", nginx.address(), None), ("h1", secure, ca), ("h2", cleartext_h2, None), ("h2", secure, ca)] {
        let asked = Asked { protocol, address, host: peer::HOST, ca };
        let (stdout, stderr) = said(&asked.run(&[&["--json"], streams(protocol)].concat()).await);
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        assert_eq!((&report["statuses"]["200"], &report["body_octets"]), (&100.into(), &20_000_000.into()), "{protocol}: {stdout}");
        assert_eq!((&report["wrong_bodies"], &report["errors"]), (&0.into(), &0.into()), "{protocol}: {stdout}");
    }
    // A listener that speaks HTTP/2 alone shows that the protocols are not mistaken for each other.
    let mistaken = Asked { protocol: "h1", address: cleartext_h2, host: peer::HOST, ca: None };
    assert_eq!(mistaken.run(&[]).await.status.code(), Some(1));
    nginx.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_fails_the_run_over_every_protocol() {
    let certified = Certified::new();
    let authority = certified.ca();
    let ca = Some(authority.as_path());
    let lying = || counted(|number| (200, if number == 57 { "tho body" } else { "the body" }));
    let true_one = || counted(|_| (200, "the body"));
    for (right, respond) in [(true, true_one as fn() -> _), (false, lying)] {
        let both: [&[u8]; 2] = [b"h2", b"http/1.1"];
        for (protocol, address, ca) in [
            ("h1", certified.secure(&both, respond()).await, ca),
            ("h2", certified.secure(&both, respond()).await, ca),
            ("h2", cleartext(respond()).await, None),
            ("h3", certified.quic(respond()), ca),
        ] {
            let output = Asked { protocol, address, host: HOST, ca }.run(streams(protocol)).await;
            let (stdout, stderr) = said(&output);
            if right {
                assert!(
                    output.status.success() && stdout.contains("statuses  200: 100\nbodies    800 octets"),
                    "{protocol}: {stdout}{stderr}"
                );
            } else {
                assert_eq!(output.status.code(), Some(1), "{protocol}: {stderr}");
                assert!(stderr.contains("1 of 100 answers had a wrong body: a body has SHA-256 "), "{protocol}: {stderr}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_the_servers_is_refused() {
    let (certified, other) = (Certified::new(), Certified::new());
    let respond = || counted(|_| (200, "the body"));
    for (protocol, address) in [
        ("h1", certified.secure(&[b"http/1.1"], respond()).await),
        ("h2", certified.secure(&[b"h2"], respond()).await),
        ("h3", certified.quic(respond())),
    ] {
        for (host, ca, expected) in [(HOST, other.ca(), "invalid peer certificate"), ("other.test", certified.ca(), "not valid for name")] {
            let output = Asked { protocol, address, host, ca: Some(&ca) }.run(&[]).await;
            let stderr = said(&output).1;
            assert_eq!(output.status.code(), Some(1), "{protocol}: {stderr}");
            let begins = stderr.starts_with("skerry-loadtest: cannot connect to 127.0.0.1:");
            assert!(begins && stderr.contains(expected), "{protocol}: {stderr}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_is_not_spoken_there_is_one_sentence() {
    let certified = Certified::new();
    let (ca, respond) = (certified.ca(), || counted(|_| (200, "the body")));
    let address = certified.secure(&[], respond()).await;
    let stderr = said(&Asked { protocol: "h2", address, host: HOST, ca: Some(&ca) }.run(&[]).await).1;
    assert!(stderr.contains("the server does not choose HTTP/2 in the TLS handshake"), "{stderr}");
    let address = cleartext(respond()).await;
    let stderr = said(&Asked { protocol: "h1", address, host: HOST, ca: Some(&ca) }.run(&[]).await).1;
    assert!(stderr.contains("cannot connect to 127.0.0.1:") && stderr.contains("over HTTP/1.1: "), "{stderr}");
    // A TCP listener answers no datagram.
    let stderr = said(&Asked { protocol: "h3", address, host: HOST, ca: Some(&ca) }.run(&["--connect-timeout", "1"]).await).1;
    assert!(stderr.contains("over HTTP/3 within 1 s"), "{stderr}");
}

#[tokio::test]
async fn what_does_not_go_together_is_one_sentence() {
    let certified = Certified::new();
    let (ca, folder) = (certified.ca(), certified.ca().parent().expect("a folder").to_owned());
    let (ca, empty) = (ca.to_str().expect("UTF-8"), folder.join("empty.pem"));
    std::fs::write(&empty, "nothing\n").expect("written");
    let empty = empty.to_str().expect("UTF-8");
    let (http, https) = ("http://127.0.0.1:1/", "https://127.0.0.1:1/");
    for (url, more, code, expected) in [
        (https, &[][..], 1, "needs the file of the authority to trust (--ca FILE)"),
        (http, &["--ca", ca], 1, "an authority to trust is of no use for an http:// URL"),
        (http, &["--protocol", "h3"], 1, "HTTP/3 is spoken over QUIC only"),
        (https, &["--protocol", "h4"], 2, "`h4` is none of h1, h2 and h3"),
        (https, &["--ca", "/nowhere/ca.pem"], 1, "cannot read /nowhere/ca.pem"),
        (https, &["--ca", empty], 1, "is no file of certificates in PEM: it holds none"),
        (http, &["--streams", "2"], 1, "HTTP/1.1 has 1 stream on a connection, not 2"),
        (http, &["--protocol", "h2", "--streams", "0"], 1, "0 streams are not between 1 and 1000"),
        (http, &["--protocol", "h2", "--streams", "1000", "--connections", "101"], 1, "are more than 100000 at once"),
        (http, &["--protocol", "h2"], 1, "cannot connect to 127.0.0.1:1 over HTTP/2: "),
        (http, &["--connect-timeout", "0"], 2, "0 is not in 1..=600"),
    ] {
        let output = loadtest(&[&["run", "--url", url], more].concat()).await;
        let stderr = said(&output).1;
        assert_eq!(output.status.code(), Some(code), "{more:?}: {stderr}");
        assert!(stderr.contains(expected), "{more:?}: {stderr}");
    }
}
