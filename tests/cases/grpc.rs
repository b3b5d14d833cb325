//! gRPC through edge and shield, with Google's own client and server: all kinds of calls, trailers, deadlines, cancellation.

use crate::house::cdn::SOON;
use crate::house::python::{Script, python};
use crate::house::{Cdn, run, wait_until};

/// A self-signed certificate by openssl; its files' paths.
pub(super) fn certificate(place: &std::path::Path) -> (String, String) {
    let [cert, key] = ["origin.pem", "origin.key"].map(|name| place.join(name).to_str().unwrap().to_owned());
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
    let mut command = std::process::Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        &key,
        "-out",
        &cert,
    ]);
    run(command.args(subject)).fine();
    (cert, key)
}

/// A CDN with a site `grpc.test` for an origin, with a setting of the origin's table and more of the site's.
fn cdn(url: &str, origin: &str, more: &str) -> Cdn {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.toml");
    std::fs::write(
        &file,
        format!(
            "name = \"default\"
hosts = [\"grpc.test\", \"www.example.com\"]
[origin]
urls = [\"{url}\"]
{origin}
{more}
"
        ),
    )
    .unwrap();
    Cdn::start(&["--site", file.to_str().unwrap()])
}

fn cleartext(more: &str) -> (Script, Cdn) {
    let origin = Script::start("grpc_server.py", &[]);
    let cdn = cdn(&format!("http://127.0.0.1:{}", origin.address()), "http_version = \"2\"", more);
    (origin, cdn)
}

#[test]
fn every_kind_of_call_reaches_an_origin_in_cleartext() {
    let (origin, cdn) = cleartext("");
    python("grpc_client.py", &[cdn.edge(1), "grpc.test", "kinds"]).fine();
    let notes = origin.notes();
    assert!(notes[0].starts_with("unary hi te=") && notes[0].contains("via=True"), "{notes:?}");
    // The client's 30 s are the origin's to obey.
    let left: f64 = notes[0].rsplit_once("deadline=").unwrap().1.parse().unwrap();
    assert!((10.0..=30.0).contains(&left), "{notes:?}");
    // Past the shield as well.
    cdn.kill("shield-1");
    python("grpc_client.py", &[cdn.edge(1), "grpc.test", "kinds"]).fine();
}

#[test]
fn every_kind_of_call_reaches_an_origin_over_tls() {
    let place = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(place.path());
    let origin = Script::start("grpc_server.py", &[&cert, &key]);
    let cdn = cdn(&format!("https://127.0.0.1:{}", origin.address()), "verify_tls = false", "");
    python("grpc_client.py", &[cdn.edge(1), "grpc.test", "kinds"]).fine();
}

#[test]
fn a_call_with_every_window_full_both_ways_goes_on_when_its_client_reads() {
    let place = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(place.path());
    let origin = Script::start("grpc_server.py", &[&cert, &key]);
    let cdn = cdn(&format!("https://127.0.0.1:{}", origin.address()), "verify_tls = false", "");
    python("grpc_client.py", &[cdn.edge(1), "grpc.test", "full"]).fine();
    cdn.kill("shield-1");
    python("grpc_client.py", &[cdn.edge(1), "grpc.test", "full"]).fine();
}

#[test]
fn trailers_of_a_request_reach_the_origin_of_a_call_and_stop_nothing_else() {
    let origin = Script::start("h2_trailers.py", &["serve"]);
    let cdn = cdn(&format!("http://127.0.0.1:{}", origin.address()), "http_version = \"2\"", "");
    for way in ["through the shield", "past it"] {
        if way == "past it" {
            cdn.kill("shield-1");
        }
        for kind in ["application/grpc", "text/plain"] {
            python("h2_trailers.py", &["ask", cdn.edge(1), "grpc.test", kind]).fine();
        }
        let notes: Vec<String> = origin.notes().into_iter().filter(|note| !note.starts_with("None")).collect();
        let last = &notes[notes.len() - 2..];
        assert_eq!(last, ["application/grpc 1000 x-sum=42", "text/plain 1000"], "{way}");
    }
}

/// `limits.rate_min` is for who sends a body, not for who has nothing to say.
#[test]
fn a_client_that_is_silent_while_the_origin_speaks_is_not_too_slow() {
    let (_origin, cdn) = cleartext("");
    std::thread::scope(|scope| {
        scope.spawn(|| python("grpc_client.py", &[cdn.edge(1), "grpc.test", "silent"]).fine());
        scope.spawn(|| python("h3_client.py", &[cdn.at("/edges/0/h3"), cdn.at("/control/ca"), "silent"]).fine());
    });
}

#[test]
fn a_call_that_is_given_up_ends_at_the_origin() {
    let (origin, cdn) = cleartext("");
    for (what, notes) in [("cancel", 2), ("deadline", 4)] {
        python("grpc_client.py", &[cdn.edge(1), "grpc.test", what]).fine();
        wait_until("the end of the call at the origin", SOON, || origin.notes().len() == notes);
        assert_eq!(origin.notes().last().unwrap(), "ended");
    }
}

#[test]
fn a_call_that_is_idle_for_too_long_is_ended() {
    let (origin, cdn) = cleartext("[pass]\ngrpc_idle_timeout = \"3s\"");
    let ran = python("grpc_client.py", &[cdn.edge(1), "grpc.test", "idle"]).fine();
    let (seconds, code) = ran.stdout.trim().split_once(' ').unwrap();
    assert!(seconds.parse::<f64>().unwrap() >= 3.0, "{ran:?}");
    assert!(["UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN"].contains(&code), "{ran:?}");
    wait_until("the end of the call at the origin", SOON, || origin.notes().len() == 2);
}
