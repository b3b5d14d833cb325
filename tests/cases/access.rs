//! Access to the control API as operators have it: tokens, TLS.

use std::path::Path;

use crate::house::cdn::SOON;
use crate::house::control::Control;
use crate::house::{skerry, wait_until};

/// A certificate of itself for these names, and its key, written to two files.
fn certificate(place: &Path, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(place.join("api.key"), key.serialize_pem()).unwrap();
    std::fs::write(place.join("api.pem"), certificate.pem()).unwrap();
}

#[test]
fn tokens_are_made_used_listed_and_revoked_on_the_command_line() {
    let control = Control::start(tempfile::tempdir().unwrap(), "", "127.0.0.1:0");
    let (url, admin) = (format!("http://{}", control.api()), control.token());
    let ask = |token: &str, words: &[&str]| control.ask(&url, token, None, words);
    let made = ask(&admin, &["token", "create", "--role", "purger", "--site", "shop", "--name", "of-shop", "--ttl", "1h"]).fine();
    let token = made.stdout.trim().to_owned();
    assert!(token.starts_with("ska1.") && !token.contains(char::is_whitespace), "{made:?}");
    ask(&token, &["purge", "--site", "shop"]).fine();
    let refused = ask(&token, &["purge", "--all"]);
    assert!(refused.refused(1).contains("is for site \"shop\""), "{refused:?}");
    let refused = ask(&token, &["token", "list"]);
    assert!(refused.refused(1).contains("needs an admin"), "{refused:?}");
    let listed = ask(&admin, &["token", "list"]).fine().stdout;
    let row = listed.lines().find(|line| line.starts_with("of-shop")).unwrap();
    assert!(row.contains("purger") && row.contains("shop") && !listed.contains(&token), "{listed}");
    ask(&admin, &["token", "revoke", "of-shop"]).fine();
    let gone = ask(&token, &["purge", "--site", "shop"]);
    assert!(gone.refused(1).contains("does not know this token"), "{gone:?}");
}

#[test]
fn the_api_over_tls_shows_a_certificate_of_the_cdn_or_of_files_that_change() {
    let control = Control::start(tempfile::tempdir().unwrap(), "[api.tls]\n", "127.0.0.1:0");
    let (url, token, ca) = (format!("https://{}", control.api()), control.token(), control.place().join("data/ca.pem"));
    control.ask(&url, &token, Some(&ca), &["status"]).fine();
    let by_name = format!("https://localhost:{}", control.api().rsplit_once(':').unwrap().1);
    control.ask(&by_name, &token, Some(&ca), &["status"]).fine();
    let untrusted = control.ask(&url, &token, None, &["status"]);
    assert!(untrusted.refused(1).contains("--ca FILE"), "{untrusted:?}");
    let cleartext = control.ask(&format!("http://{}", control.api()), &token, None, &["status"]);
    cleartext.refused(1);
    assert!(!control.log().contains("api.tls"), "{}", control.log());
    drop(control);

    let place = tempfile::tempdir().unwrap();
    certificate(place.path(), &["127.0.0.1"]);
    let files = place.path().join("api");
    let more = format!("[api.tls]\ncert = \"{0}.pem\"\nkey = \"{0}.key\"\n", files.display());
    let control = Control::start(place, &more, "127.0.0.1:0");
    let (url, token, file) = (format!("https://{}", control.api()), control.token(), files.with_extension("pem"));
    control.ask(&url, &token, Some(&file), &["status"]).fine();
    let first = std::fs::read(&file).unwrap();
    certificate(control.place(), &["127.0.0.1"]);
    wait_until("the new certificate is shown", SOON, || control.ask(&url, &token, Some(&file), &["status"]).code == 0);
    let before = control.place().join("first.pem");
    std::fs::write(&before, first).unwrap();
    control.ask(&url, &token, Some(&before), &["status"]).refused(1);
    std::fs::write(&file, "nonsense").unwrap();
    wait_until("what cannot be used is said", SOON, || control.log().contains("not read again"));
}

#[test]
fn an_api_that_listens_beyond_loopback_without_tls_is_warned_of() {
    let open = Control::start(tempfile::tempdir().unwrap(), "", "0.0.0.0:0");
    assert!(open.log().contains("set api.tls"), "{}", open.log());
    let loopback = Control::start(tempfile::tempdir().unwrap(), "", "127.0.0.1:0");
    assert!(!loopback.log().contains("set api.tls"), "{}", loopback.log());
}

#[test]
fn the_audit_log_survives_a_kill() {
    let control = Control::start(tempfile::tempdir().unwrap(), "", "127.0.0.1:0");
    let url = format!("http://{}", control.api());
    for number in 1..=5 {
        control.ask(&url, &control.token(), None, &["purge", "--tag", &format!("t{number}")]).fine();
    }
    let control = Control::start(control.kill(), "", "127.0.0.1:0");
    let url = format!("http://{}", control.api());
    control.ask(&url, &control.token(), None, &["purge", "--tag", "t6"]).fine();
    let audit = control.ask(&url, &control.token(), None, &["audit", "--after", "1", "--json"]).fine();
    let page: serde_json::Value = serde_json::from_str(&audit.stdout).unwrap();
    let lines = page["lines"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| line["number"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3, 4, 5, 6], "{page}");
    assert!(lines.iter().all(|line| line["path"] == "/v1/purges" && line["outcome"] == 202), "{page}");
    let table = control.ask(&url, &control.token(), None, &["audit", "--limit", "1"]).fine().stdout;
    assert!(table.lines().count() == 2 && table.contains("127.0.0.1"), "{table}");
}

#[test]
fn secrets_are_kept_listed_and_deleted_on_the_command_line() {
    let control = Control::start(tempfile::tempdir().unwrap(), "", "127.0.0.1:0");
    let (url, token) = (format!("http://{}", control.api()), control.token());
    certificate(control.place(), &["edge.test"]);
    let (chain, key) = (control.place().join("api.pem"), control.place().join("api.key"));
    let ask = |words: &[&str]| control.ask(&url, &token, None, words);
    ask(&["secret", "put", "shop-key", key.to_str().unwrap(), "--site", "shop"]).fine();
    let site = control.place().join("shop.toml");
    let text = format!(
        "name = \"shop\"\nhosts = [\"a.test\"]\n[origin]\nurls = [\"https://127.0.0.1:9\"]\nclient_key = \"secret:shop-key\"\nclient_certificate = '''\n{}'''\n",
        std::fs::read_to_string(chain).unwrap()
    );
    std::fs::write(&site, text).unwrap();
    skerry(&["check", site.to_str().unwrap()]).fine();
    ask(&["site", "apply", site.to_str().unwrap()]).fine();
    assert_eq!(
        ask(&["site", "diff", "shop", site.to_str().unwrap()]).fine().stdout.lines().filter(|line| line.starts_with(['+', '-'])).count(),
        0
    );
    let listed = ask(&["secret", "list"]).fine().stdout;
    let line = std::fs::read_to_string(&key).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(listed.contains("shop-key") && !listed.contains(&line), "{listed}");
    assert!(ask(&["secret", "delete", "shop-key"]).refused(1).contains("in use by shop"));
    ask(&["site", "delete", "shop", "--now"]).fine();
    wait_until("nodes would have it no more", SOON, || ask(&["secret", "delete", "shop-key"]).code == 0);
    assert!(!control.log().contains(&line), "{}", control.log());
}
