//! Webhooks to a receiver that nobody here wrote.

use serde_json::{Value, json};

use crate::house::cdn::SOON;
use crate::house::python::Script;
use crate::house::wait::wait_for;
use crate::house::{Cdn, curl};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Asks the API; the status and the answer.
#[track_caller]
fn ask(cdn: &Cdn, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let control = &cdn.endpoints()["control"];
    let token = format!("authorization: Bearer {}", control["token"].as_str().unwrap());
    let url = format!("{}{path}", control["api"].as_str().unwrap());
    let got = curl(&["-X", method, "-H", "content-type: application/json", "-H", &token, "--data-binary", &body.to_string(), &url]);
    (got.status, serde_json::from_slice(&got.body).unwrap_or_default())
}

#[test]
fn messages_are_verified_by_the_reference_library() {
    let cdn = Cdn::start(&[]);
    let receiver = Script::start("webhook_receiver.py", &[SECRET]);
    let url = format!("http://{}/hook", receiver.address());
    let secret = cdn.file("webhook.secret", &format!("{SECRET}\n"));
    let made = cdn.json(&["webhook", "put", "ops", &url, "--kind", "purge", "--kind", "node", "--secret", &secret]);
    assert!(made["name"] == "ops" && !made.to_string().contains(SECRET), "{made}");
    let (status, purge) = ask(&cdn, "POST", "/v1/purges", &json!({"all": true}));
    assert_eq!(status, 202, "{purge}");
    let (status, _) = ask(&cdn, "POST", "/v1/nodes/edge-1/drain", &json!({}));
    assert_eq!(status, 200);
    let notes = wait_for("both messages", SOON, || {
        let notes = receiver.notes();
        if notes.len() < 2 { Err(format!("{notes:?}")) } else { Ok(notes) }
    });
    let notes: Vec<Value> = notes.iter().map(|note| serde_json::from_str(note).unwrap()).collect();
    assert!(notes.iter().all(|note| note["verified"] == true), "{notes:?}");
    assert_eq!((&notes[0]["message"]["type"], &notes[0]["message"]["data"]["seq"]), (&json!("purge"), &purge["seq"]), "{notes:?}");
    assert_eq!(notes[1]["message"]["data"]["what"], "drained", "{notes:?}");
    let (_, shown) = ask(&cdn, "GET", "/v1/webhooks/ops", &json!(null));
    assert!(shown["secret"].as_str().unwrap().starts_with("redacted:"), "{shown}");
    // Changed, it keeps its secret.
    let changed = cdn.json(&["webhook", "put", "ops", &url]);
    assert_eq!((&changed["secret"], &changed["kinds"]), (&shown["secret"], &Value::Null), "{changed}");
    let listed = cdn.skerry(&["webhook", "list"]).fine().stdout;
    assert!(listed.contains(&url) && !listed.contains(SECRET), "{listed}");
    cdn.skerry(&["webhook", "delete", "ops"]).fine();
    assert_eq!(ask(&cdn, "GET", "/v1/webhooks/ops", &json!(null)).0, 404);
}
