//! Origins that are slow in every part of an answer: a named reason in time, and no other site notices.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, get, run, wait_until};

const TIMES: &str = "first_byte_timeout = \"1s\"\nbetween_bytes_timeout = \"1s\"\ntotal_timeout = \"3s\"\n";
/// A time of the above, what a shield may take beyond it, and room for a busy machine.
const IN_TIME: Duration = Duration::from_secs(15);

#[test]
fn an_origin_that_stalls_drips_or_never_ends_is_cut_off_in_time_and_alone() {
    let origin = Scripted::start(|seen| match seen.line().split(' ').nth(1).unwrap_or_default() {
        "/silent" => Reply::bytes("").then_for_ever(""),
        "/drips" => Reply::bytes("HTTP/1.1 200 OK\r\nX-A: ").then_for_ever("a"),
        "/stalls" => Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").then_for_ever(""),
        "/endless" => Reply::bytes("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n").then_for_ever("more"),
        _ => Reply::whole("200 OK", "", "there"),
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let site = format!("name = \"slow\"\nhosts = [\"slow.test\"]\n[origin]\nurls = [\"{}\"]\n{TIMES}", origin.url());
    cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site)]).fine();
    wait_until("the site", SOON, || cdn.follows("edge-1") && cdn.follows("shield-1"));
    for path in ["/silent", "/drips"] {
        let began = Instant::now();
        let got = get(cdn.edge(1), "slow.test", path);
        assert_eq!(got.status, 504, "{path}: {got:?}");
        assert!(got.field("cache-status").contains("detail=timeout"), "{path}: {got:?}");
        assert!(began.elapsed() < IN_TIME, "{path}: {:?}", began.elapsed());
    }
    for path in ["/stalls", "/endless"] {
        let began = Instant::now();
        let url = format!("http://{}{path}", cdn.edge(1));
        let ran = run(Command::new("curl").args(["--silent", "--max-time", "30", "--header", "Host: slow.test", &url]));
        // The head was sent long before: the end of a body that is not whole is all there is to be seen.
        assert!([18, 56, 92].contains(&ran.code), "{path}: {ran:?}");
        assert!(began.elapsed() < IN_TIME, "{path}: {:?}", began.elapsed());
        assert_eq!(get(cdn.edge(1), "a.test", "/fine").text(), "there", "another site goes on");
    }
    let log = std::fs::read_to_string(cdn.data("shield-1.log")).unwrap();
    assert!(log.contains("its head was not complete in 1s"), "{log}");
}
