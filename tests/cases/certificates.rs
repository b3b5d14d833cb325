//! Certificates of clients and of origins.

use std::process::Command;

use crate::house::cdn::SOON;
use crate::house::command::run;
use crate::house::{Cdn, Nginx, curl, get, wait_until};

/// A self-signed certificate for `host`, by openssl; its files' paths.
pub(crate) fn certificate(cdn: &Cdn, name: &str, host: &str) -> (String, String) {
    let (cert, key) = (cdn.file(&format!("{name}.pem"), ""), cdn.file(&format!("{name}.key"), ""));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{host}")])
        .args(["-keyout", &key, "-out", &cert]))
    .fine();
    (cert, key)
}

/// The common name of the certificate an edge shows for `host`.
pub(crate) fn shown(https: &str, host: &str) -> String {
    let ran = run(Command::new("openssl").args(["s_client", "-connect", https, "-servername", host, "-showcerts"]));
    ran.stdout.lines().find(|line| line.contains("subject=")).unwrap_or_default().to_owned()
}

#[test]
fn a_certificate_is_swapped_without_a_restart() {
    let mut cdn = Cdn::start(&[]);
    let host = "secure.example.com";
    let (cert, key) = certificate(&cdn, "first", host);
    let (next_cert, next_key) = certificate(&cdn, "second", host);
    cdn.kill("edge-2");
    let (_, config) = cdn.process("edge-2");
    let settings = std::fs::read_to_string(&config).unwrap();
    let with = format!("certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]");
    assert!(settings.contains("certificates = []"), "{settings}");
    std::fs::write(&config, settings.replace("certificates = []", &with)).unwrap();
    cdn.start_again("edge-2");

    let https = cdn.at("/edges/1/https").to_owned();
    assert!(shown(&https, host).contains("first"), "{}", shown(&https, host));
    let pid = std::fs::read_to_string(cdn.data("edge-2").join("ready.json")).unwrap();
    // The key first: for a moment the pair does not match, and the old one must stay in force.
    std::fs::copy(&next_key, &key).unwrap();
    std::fs::copy(&next_cert, &cert).unwrap();
    wait_until("the other certificate", SOON, || shown(&https, host).contains("second"));
    assert_eq!(std::fs::read_to_string(cdn.data("edge-2").join("ready.json")).unwrap(), pid, "the same process, not a new one");
    let other = shown(&https, "default.cdn.test");
    assert!(other.contains("default.cdn.test"), "names that no file covers are the issuer's: {other}");
}

#[test]
fn an_origin_behind_tls_is_verified_unless_the_site_says_not_to() {
    let cdn = Cdn::start(&[]);
    let (cert, key) = certificate(&cdn, "origin", "origin.internal");
    let origin = Nginx::start_tls(&cert, &key);
    origin.put("/a.txt", b"over http/2\n");
    let site = |verify: &str| {
        format!(
            "name = \"shop\"\nhosts = [\"shop.example.com\"]\n[origin]\nurls = [\"{}\"]\nserver_name = \"origin.internal\"\n{verify}\n",
            origin.url()
        )
    };
    cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site(""))]).fine();
    wait_until("the site", SOON, || get(cdn.edge(1), "shop.example.com", "/a.txt").status != 404);
    let refused = get(cdn.edge(1), "shop.example.com", "/a.txt");
    assert_eq!(refused.status, 502, "a certificate nobody vouches for: {refused:?}");
    assert!(refused.field("cache-status").contains("tls-failed"), "{refused:?}");
    assert_eq!(origin.served("/a.txt"), 0);

    cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site("verify_tls = false"))]).fine();
    let is_hit = || Some(get(cdn.edge(1), "shop.example.com", "/a.txt")).filter(|got| got.status == 200 && got.is_hit_at("edge-1"));
    wait_until("a hit", SOON, || is_hit().is_some_and(|got| got.text() == "over http/2\n"));
    assert_eq!(origin.protocols("/a.txt"), ["HTTP/2.0"], "one fetch, over HTTP/2");
    let posted = curl(&["--data", "x", "--header", "Host: shop.example.com", &format!("http://{}/a.txt", cdn.edge(1))]);
    assert_eq!(posted.status, 405, "nginx refuses a POST to a file, through both tiers: {posted:?}");
}

/// A certificate for `host` of an authority of its own, by openssl: the authority's PEM text, and the paths of certificate and key.
fn issued(cdn: &Cdn, host: &str) -> (String, String, String) {
    let (ca, ca_key) = certificate(cdn, "authority", "authority.test");
    let (request, cert, key) = (cdn.file("issued.csr", ""), cdn.file("issued.pem", ""), cdn.file("issued.key", ""));
    run(Command::new("openssl")
        .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=issued"])
        .args(["-addext", &format!("subjectAltName=DNS:{host}"), "-keyout", &key, "-out", &request]))
    .fine();
    run(Command::new("openssl")
        .args(["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "2"])
        .args(["-copy_extensions", "copy", "-out", &cert]))
    .fine();
    (std::fs::read_to_string(ca).unwrap(), cert, key)
}

#[test]
fn an_origin_with_an_authority_of_its_own_is_verified_by_that_one() {
    let cdn = Cdn::start(&[]);
    let (ca, cert, key) = issued(&cdn, "origin.internal");
    let (other, _) = certificate(&cdn, "other", "other.test");
    let other = std::fs::read_to_string(other).unwrap();
    let origin = Nginx::start_tls(&cert, &key);
    origin.put("/a.txt", b"vouched for\n");
    for (name, server_name, ca, says) in [
        ("right", "origin.internal", &ca, None),
        ("stranger", "origin.internal", &other, Some("UnknownIssuer")),
        ("misnamed", "elsewhere.internal", &ca, Some("not valid for name")),
    ] {
        let (host, url) = (format!("{name}.test"), origin.url());
        let site = format!(
            "name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\nurls = [\"{url}\"]\nserver_name = \"{server_name}\"\nca = \"\"\"\n{ca}\"\"\"\n"
        );
        cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site)]).fine();
        wait_until("the site", SOON, || cdn.follows("edge-1") && cdn.follows("shield-1"));
        for more in [&[][..], &["--head"], &["--data", "x"]] {
            let url = format!("http://{}/a.txt", cdn.edge(1));
            let got = curl(&[&["--header", &format!("Host: {host}")], more, &[url.as_str()]].concat());
            let is_refused = got.status == 502 && got.field("cache-status").contains("detail=tls-failed");
            assert_eq!(is_refused, says.is_some(), "{name} {more:?}: {got:?}");
        }
        let log = std::fs::read_to_string(cdn.data("shield-1.log")).unwrap();
        assert!(says.is_none_or(|says| log.contains(says)), "{log}");
    }
    assert_eq!(get(cdn.edge(1), "right.test", "/a.txt").text(), "vouched for\n");
}

#[test]
fn an_origin_is_shown_the_certificate_of_the_site() {
    let cdn = Cdn::start(&[]);
    let (cert, key) = certificate(&cdn, "origin", "origin.internal");
    let (shown, its_key) = certificate(&cdn, "client", "edge.internal");
    let origin = Nginx::start_asking(&cert, &key, &shown);
    origin.put("/a.txt", b"known\n");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let more = format!("client_certificate = \"\"\"\n{}\"\"\"\nclient_key = \"\"\"\n{}\"\"\"\n", read(&shown), read(&its_key));
    for (name, more, got, passed) in [("known", more.as_str(), 200, 405), ("stranger", "", 400, 400)] {
        let (host, url) = (format!("{name}.test"), origin.url());
        let site = format!("name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\nurls = [\"{url}\"]\nverify_tls = false\n{more}");
        cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site)]).fine();
        wait_until("the site", SOON, || cdn.follows("edge-1") && cdn.follows("shield-1"));
        assert_eq!(get(cdn.edge(1), &host, "/a.txt").status, got, "{name}");
        let posted = curl(&["--data", "x", "--header", &format!("Host: {host}"), &format!("http://{}/a.txt", cdn.edge(1))]);
        assert_eq!(posted.status, passed, "{name}: {posted:?}");
    }
    // What is shown can be written again.
    let shown = cdn.skerry(&["site", "show", "known"]).fine().stdout;
    assert!(shown.contains("redacted:") && !shown.contains("PRIVATE KEY"), "{shown}");
    let again = cdn.skerry(&["site", "apply", &cdn.file("again.toml", &shown)]).fine().stdout;
    assert!(again.contains("nothing changes"), "{again}");
    assert_eq!(get(cdn.edge(1), "known.test", "/a.txt").status, 200);
}
