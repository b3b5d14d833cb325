//! `skerry explain` and `/v1/explain`: every node says what it has, and why the next answer will be what it will be.

use serde_json::{Value, json};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, curl, get, kill, wait_until};

const HOST: &str = "shop.example.com";

/// A site with one rule, at an origin whose answers vary on the language.
fn cdn() -> (Cdn, Scripted) {
    let origin = Scripted::start(|seen| {
        let german = seen.head.to_ascii_lowercase().contains("accept-language: de");
        let fields = "Cache-Control: max-age=600\r\nVary: Accept-Language\r\nETag: \"1\"\r\nCache-Tag: red\r\n";
        Reply::whole("200 OK", fields, if german { "hallo" } else { "hello there" })
    });
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.toml");
    let rule = "[[cache.rules]]\nmatch = { path = \"/long/*\" }\nttl = \"1h\"\n\
                [[cache.rules]]\nmatch = { path = \"/device/*\" }\nkey = { device = true }\n";
    // Under the name that keeps the CDN from serving every other host.
    let site = format!("name = \"default\"\nhosts = [\"{HOST}\"]\n[origin]\nurls = [\"{}\"]\n{rule}", origin.url());
    std::fs::write(&file, site).unwrap();
    (Cdn::start(&["--site", file.to_str().unwrap()]), origin)
}

impl Cdn {
    /// What a node says in JSON.
    #[track_caller]
    fn explained(&self, node: &str, path: &str, more: &[&str]) -> Value {
        let url = format!("http://{HOST}{path}");
        let answer = self.json(&[&["explain", &url, "--edge", node], more].concat());
        answer["nodes"][0]["answer"].clone()
    }
}

#[test]
fn both_tiers_tell_what_they_stored_and_what_a_purge_did() {
    let (cdn, origin) = cdn();
    get(cdn.edge(1), HOST, "/long/a?b");
    wait_until("the answer to be stored", SOON, || cdn.explained("edge-1", "/long/a?b", &[])["next"]["outcome"] == "hit");
    let edge = cdn.explained("edge-1", "/long/a?b", &[]);
    assert_eq!((&edge["site"], &edge["rule"]), (&json!("default"), &json!({"index": 0, "match": {"path": "/long/*"}})));
    assert_eq!((&edge["key"]["text"], &edge["upstream"][0]), (&json!("http://shop.example.com/long/a?b"), &json!("shield-1")));
    let stored = &edge["stored"];
    assert_eq!(
        (&stored["status"], &stored["length"], &stored["etag"], &stored["tags"]),
        (&json!(200), &json!(11), &json!("\"1\""), &json!(1))
    );
    assert_eq!((&stored["lifetime"]["source"], &stored["lifetime"]["lifetime_ms"]), (&json!("rule"), &json!(3_600_000)));
    let age = |part: &str| stored["age"][part].as_u64().unwrap();
    assert_eq!(age("current_ms"), age("initial_ms") + age("resident_ms"));
    let shield = cdn.explained("shield-1", "/long/a?b", &[]);
    assert_eq!((&shield["next"]["outcome"], &shield["upstream"]), (&json!("hit"), &json!([origin.url()])));
    assert_eq!(cdn.explained("edge-2", "/long/a?b", &[])["next"]["outcome"], "miss", "nobody asked this edge");

    cdn.skerry(&["purge", "--tag", "red", "--wait", "5s"]).fine();
    for node in ["edge-1", "shield-1"] {
        let told = cdn.explained(node, "/long/a?b", &[]);
        assert_eq!(told["next"]["why"], "purge 1 (by tag) removed what is stored", "{told:#}");
        let compared = json!([{"kind": "tag", "name": "red", "hard": 1, "soft": 0, "verdict": "gone"}]);
        assert_eq!(told["purges"], json!({"in_force": 1, "stamp": 0, "compared": compared, "verdict": "gone"}));
    }
    assert_eq!(origin.seen("/long/a?b").len(), 1, "explaining asks no origin");
    let said = cdn.skerry(&["explain", &format!("http://{HOST}/long/a?b")]).fine().stdout;
    for line in ["edge-1  edge, ", "edge-2  edge, ", "shield-1  shield, "] {
        assert!(said.lines().any(|said| said.starts_with(line)), "no {line:?} in {said}");
    }
    assert!(said.contains("  purges    fetched at 0, 1 in force here; tag red at 1: gone\n"), "{said}");
    assert!(said.contains("  next      miss: purge 1 (by tag) removed what is stored\n"), "{said}");
}

#[test]
fn header_fields_choose_the_variant() {
    let (cdn, _origin) = cdn();
    let url = format!("http://{}/a", cdn.edge(1));
    curl(&["--header", &format!("Host: {HOST}"), "--header", "Accept-Language: de", &url]);
    let german = ["-H", "Accept-Language: de"];
    for node in ["edge-1", "shield-1"] {
        wait_until("the answer to be stored", SOON, || cdn.explained(node, "/a", &german)["next"]["outcome"] == "hit");
        let told = cdn.explained(node, "/a", &german);
        assert_eq!(told["variant"]["fields"], json!([{"name": "accept-language", "value": "de"}]));
        assert_eq!(told["stored"]["length"], 5);
        let other = cdn.explained(node, "/a", &["-H", "Accept-Language: en"]);
        assert_eq!((&other["next"]["fwd"], &other["stored"]), (&json!("vary-miss"), &Value::Null), "{other:#}");
    }
    // The URL that a client was given, and the host it says.
    let told = cdn.json(&["explain", &url, "--edge", "edge-1", "-H", &format!("Host: {HOST}"), "-H", "accept-language: de"]);
    assert_eq!(told["nodes"][0]["answer"]["next"]["outcome"], "hit", "{told:#}");
}

#[test]
fn a_device_is_told_from_another_at_both_tiers() {
    const PHONE: &str =
        "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1";
    let (cdn, _origin) = cdn();
    curl(&["--header", &format!("Host: {HOST}"), "--header", PHONE, &format!("http://{}/device/a", cdn.edge(1))]);
    let next = |node, field: &str| cdn.explained(node, "/device/a", &["-H", field])["next"]["outcome"].clone();
    wait_until("the answer to be stored", SOON, || next("edge-1", PHONE) == "hit");
    for node in ["edge-1", "shield-1"] {
        assert_eq!(next(node, "Skerry-Device: mobile"), "hit", "{node}");
        assert_eq!(next(node, "Skerry-Device: desktop"), "miss", "{node}");
    }
    let key = cdn.explained("edge-1", "/device/a", &["-H", PHONE])["key"]["text"].clone();
    assert_eq!(key, "http://shop.example.com/device/a skerry-device=mobile");
}

#[test]
fn strangers_and_mistakes_are_told_in_one_sentence() {
    let (cdn, _origin) = cdn();
    let said = cdn.skerry(&["explain", "http://shp.example.com/", "--edge", "edge-1"]).fine().stdout;
    let why = "no site owns shp.example.com; the nearest is shop.example.com of site default";
    assert!(said.contains(&format!("  site      none: {why}\n")), "{said}");
    assert!(cdn.skerry(&["explain", "shop.example.com/a"]).refused(1).contains("http://HOST/PATH"));
    assert!(cdn.skerry(&["explain", "http://a/", "-H", "nonsense"]).refused(1).contains("'Name: value'"));
    assert!(cdn.skerry(&["explain", "http://a/", "--edge", "nobody"]).refused(1).contains("nobody"));
    assert_eq!(cdn.skerry(&["explain"]).code, 2);
}

#[test]
fn a_node_that_is_away_or_silent_does_not_hold_the_others_up() {
    let (cdn, _origin) = cdn();
    let (pid, _) = cdn.process("edge-2");
    kill("STOP", pid);
    let silent = cdn.json(&["explain", &format!("http://{HOST}/")]);
    kill("CONT", pid);
    let of = |answer: &Value, name: &str| answer["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).cloned().unwrap();
    // It may be given up before the question comes.
    let why = of(&silent, "edge-2")["error"].clone();
    assert!(why == "no answer within 2 s" || why == "not connected", "{silent:#}");
    assert_eq!(of(&silent, "edge-1")["answer"]["next"]["outcome"], "miss");
    cdn.kill("edge-2");
    wait_until("the control plane to see it", SOON, || !cdn.follows("edge-2"));
    let away = cdn.json(&["explain", &format!("http://{HOST}/")]);
    assert_eq!(of(&away, "edge-2")["error"], "not connected");
    assert!(cdn.skerry(&["explain", &format!("http://{HOST}/"), "--edge", "edge-2"]).refused(1).contains("is not connected"));
}
