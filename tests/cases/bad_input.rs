//! What is wrong is said in one sentence, and nothing is half done.

use std::net::TcpListener;
use std::process::Command;

use crate::house::cdn::SOON;
use crate::house::command::binary;
use crate::house::{Cdn, get, run, skerry, wait_until};

fn edge_settings(data: &str, admin: &str) -> String {
    format!(
        "role = \"edge\"\nname = \"edge-1\"\ndata = \"{data}\"\npublic_addresses = [\"127.0.0.1\"]\n\
         [control]\naddress = \"127.0.0.1:1\"\njoin_token = \"skj1.x\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"{admin}\"\n"
    )
}

fn control_settings(data: &str, api: &str) -> String {
    format!(
        "role = \"control\"\ndata = \"{data}\"\n[listen]\napi = \"{api}\"\nnodes = \"127.0.0.1:0\"\ndns = \"127.0.0.1:0\"\n\
         [dns]\nzone = \"cdn.test\"\nnameservers = [{{ name = \"ns1.cdn.test\", addresses = [\"127.0.0.1\"] }}]\n"
    )
}

/// Runs a role with a settings file of this content; its one sentence.
#[track_caller]
fn refusal(role: &str, settings: &str) -> String {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), settings).unwrap();
    skerry(&[role, "--config", file.path().to_str().unwrap()]).refused(1).to_owned()
}

#[test]
fn a_settings_file_that_is_missing_broken_or_of_another_role() {
    let missing = skerry(&["edge", "--config", "/nowhere/edge.toml"]);
    assert!(missing.refused(1).contains("/nowhere/edge.toml"), "{missing:?}");
    assert!(refusal("edge", "role = \"edge\"\nname =\n").contains(".toml:2:"));
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), edge_settings("data", "127.0.0.1:0")).unwrap();
    let other = skerry(&["shield", "--config", file.path().to_str().unwrap()]);
    assert!(other.refused(2).contains("skerry edge --config"), "{other:?}");
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let sentence = refusal("control", &control_settings(data.to_str().unwrap(), &address));
    assert!(sentence.contains(&address), "{sentence}");
    let sentence = refusal("edge", &edge_settings(data.to_str().unwrap(), &address));
    assert!(sentence.contains(&address), "{sentence}");
}

#[test]
fn a_data_directory_that_cannot_be_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("data");
    for (role, settings) in [
        ("control", control_settings(below.to_str().unwrap(), "127.0.0.1:0")),
        ("edge", edge_settings(below.to_str().unwrap(), "127.0.0.1:0")),
    ] {
        let sentence = refusal(role, &settings);
        assert!(sentence.contains(below.to_str().unwrap()), "{role}: {sentence}");
    }
    let dev = skerry(&["dev", "--data", below.to_str().unwrap()]);
    assert!(dev.refused(1).contains("--data"), "{dev:?}");
}

#[test]
fn a_dev_that_cannot_start_stops_what_it_started() {
    // The API's port is taken; a base may not lie among the ephemeral ports.
    let taken = (19_000..20_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).expect("a free port");
    let base = taken.local_addr().unwrap().port();
    let said = skerry(&["dev", "--port-base", &base.to_string()]);
    assert!(said.refused(1).contains(&format!("127.0.0.1:{base}")), "{said:?}");
}

#[test]
fn an_operator_who_says_too_little_or_the_wrong_thing() {
    assert!(skerry(&["status"]).refused(2).contains("SKERRY_API"));
    assert!(skerry(&["status", "--api", "http://127.0.0.1:1"]).refused(2).contains("SKERRY_TOKEN"));
    let nobody = skerry(&["status", "--api", "http://127.0.0.1:1", "--token", "x"]);
    assert!(nobody.refused(1).contains("is the control plane running"), "{nobody:?}");
    assert!(skerry(&["status", "--api", "ftp://127.0.0.1:1", "--token", "x"]).refused(2).contains("https://HOST:PORT"));
    assert_eq!(skerry(&["purge", "--soft"]).code, 2);
    assert_eq!(skerry(&["purge", "--all", "--wait", "5"]).code, 2);
    assert_eq!(skerry(&["frobnicate"]).code, 2);
}

#[test]
fn what_the_control_plane_refuses_changes_nothing() {
    let cdn = Cdn::start(&[]);
    let mut wrong = Command::new(binary());
    wrong.args(["status", "--api", cdn.at("/control/api"), "--token", "wrong"]);
    assert!(run(&mut wrong).refused(1).contains("admin.token"));

    let one = "name = \"one\"\nhosts = [\"a.example.com\"]\n[origin]\nurls = [\"http://127.0.0.1:1\"]\n";
    cdn.skerry(&["site", "apply", &cdn.file("one.toml", one)]).fine();
    let snapshot = cdn.json(&["status"])["snapshot"].clone();
    let said = cdn.skerry(&["site", "apply", &cdn.file("two.toml", &one.replace("\"one\"", "\"two\""))]);
    assert!(said.code == 1 && said.stderr.contains("a.example.com") && said.stderr.contains("one"), "{said:?}");
    assert_eq!(cdn.json(&["status"])["snapshot"], snapshot, "a refused site changes nothing");
    assert!(!cdn.skerry(&["site", "list"]).fine().stdout.contains("two"));

    for refused in [
        cdn.skerry(&["site", "show", "nobody"]),
        cdn.skerry(&["site", "rollback", "one", "99"]),
        cdn.skerry(&["node", "drain", "nobody"]),
        cdn.skerry(&["purge", "--url", "not a url"]),
    ] {
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(!refused.stderr.trim().is_empty());
    }

    // Nobody listens at the origin of site one.
    let got = get(cdn.edge(1), "a.example.com", "/");
    assert!(matches!(got.status, 502..=504), "{got:?}");
    assert_eq!(get(cdn.edge(1), "www.example.com", "/").status, 200, "other sites go on");
}

#[test]
fn an_unreachable_origin_is_said_at_the_start_and_the_cdn_stands() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cdn = Cdn::start(&["--origin", &format!("http://{nobody}")]);
    assert!(cdn.said().contains("cannot be reached"), "{}", cdn.said());
    assert!(get(cdn.edge(1), "www.example.com", "/").status >= 500);
    let wrong = skerry(&["dev", "--origin", "not an origin"]);
    assert!(wrong.refused(1).contains("not an origin"), "{wrong:?}");
}

#[test]
fn a_low_limit_of_open_files_is_raised_as_far_as_allowed() {
    let place = tempfile::tempdir().unwrap();
    let (data, config) = (place.path().join("data"), place.path().join("control.toml"));
    std::fs::write(&config, control_settings(data.to_str().unwrap(), "127.0.0.1:0")).unwrap();
    let mut child = Command::new("prlimit")
        .arg("--nofile=256:1500")
        .arg(binary())
        .args(["control", "--config", config.to_str().unwrap()])
        .env("SKERRY_STOP_WITH_STDIN", "1")
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the control plane", SOON, || data.join("ready.json").exists());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().nth(3), Some("1500"), "{open_files}");
}
