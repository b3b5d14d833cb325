//! WebSockets through edge and shield, with a client and a server nobody here wrote.

use crate::house::cdn::SOON;
use crate::house::python::{Script, python};
use crate::house::{Cdn, wait_until};

fn cdn(more: &str) -> (Script, Cdn) {
    let origin = Script::start("ws_server.py", &[]);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.toml");
    let site = format!("name = \"default\"\nhosts = [\"ws.test\"]\n[origin]\nurls = [\"http://127.0.0.1:{}\"]\n{more}\n", origin.address());
    std::fs::write(&file, site).unwrap();
    let cdn = Cdn::start(&["--site", file.to_str().unwrap()]);
    (origin, cdn)
}

/// After how many seconds a socket was closed that had a reason to be.
fn closed_after(cdn: &Cdn, what: &str) -> f64 {
    let ran = python("ws_client.py", &[cdn.edge(1), what]).fine();
    let (seconds, code) = ran.stdout.trim().split_once(' ').unwrap();
    // RFC 6455 section 7.1.5: without a word.
    assert_eq!(code, "1006", "{ran:?}");
    seconds.parse().unwrap()
}

#[test]
fn many_and_large_frames_pings_and_close_codes_go_both_ways() {
    let (origin, cdn) = cdn("");
    for way in ["through the shield", "past it"] {
        python("ws_client.py", &[cdn.edge(1), "echo"]).fine();
        if way == "through the shield" {
            cdn.kill("shield-1");
        }
    }
    wait_until("the ends of all", SOON, || origin.notes().len() == 6);
    let mut notes = origin.notes();
    notes.sort();
    assert_eq!(notes[..2], ["/close 4001 enough", "/close 4001 enough"], "{notes:?}");
    assert_eq!(notes.iter().filter(|note| *note == "/echo 4002 done").count(), 2, "{notes:?}");
}

#[test]
fn half_a_minute_of_silence_is_no_reason_to_close_it() {
    let (_origin, cdn) = cdn("");
    python("ws_client.py", &[cdn.edge(1), "idle", "31"]).fine();
}

#[test]
fn it_is_closed_when_it_is_idle_for_too_long_but_not_while_one_side_talks() {
    let (origin, cdn) = cdn("[pass]\nwebsocket_idle_timeout = \"2s\"");
    python("ws_client.py", &[cdn.edge(1), "push"]).fine();
    let seconds = closed_after(&cdn, "closed");
    assert!((2.0..20.0).contains(&seconds), "{seconds}");
    // The origin is told as well.
    wait_until("the ends of both", SOON, || origin.notes().len() == 2);
}

#[test]
fn it_is_closed_when_its_whole_time_is_over() {
    let (_origin, cdn) = cdn("[pass]\nwebsocket_timeout = \"3s\"");
    let seconds = closed_after(&cdn, "busy");
    assert!((3.0..20.0).contains(&seconds), "{seconds}");
}
