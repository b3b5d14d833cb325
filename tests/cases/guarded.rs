//! Origins that are kept from harm: what is not asked, and what clients are told instead.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, curl, get, run, wait_until};

/// A door that an origin's answers wait behind.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn wait(&self) {
        let (open, told) = &*self.0;
        drop(told.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

fn ok() -> Reply {
    Reply::whole("200 OK", "Cache-Control: no-store\r\n", "here\n")
}

/// Puts a site in force whose table of the origin has these lines; its host.
fn apply(cdn: &Cdn, name: &str, origin: &str) -> String {
    let host = format!("{name}.example.com");
    let site = format!("name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\n{origin}\n");
    cdn.skerry(&["site", "apply", &cdn.file(&format!("{name}.toml"), &site)]).fine();
    for node in ["edge-1", "edge-2", "shield-1"] {
        wait_until("the site", SOON, || cdn.follows(node));
    }
    host
}

#[test]
fn a_slow_origin_has_its_own_requests_refused_and_nobody_elses() {
    const REQUESTS: usize = 6;
    let door = Door::default();
    let slow = Scripted::start({
        let door = door.clone();
        move |seen| {
            if seen.line().contains("/slow") {
                door.wait();
            }
            ok()
        }
    });
    let calm = Scripted::start(|_| ok());
    let cdn = Cdn::start(&["--origin", &calm.url()]);
    let limits = "limits = { concurrent = 1, queue = 1, queue_time = \"1m\" }";
    let host = apply(&cdn, "slow", &format!("urls = [\"{}\"]\n{limits}", slow.url()));
    let other = apply(&cdn, "calm", &format!("urls = [\"{}\"]\n{limits}", calm.url()));

    let (told, answers) = channel();
    std::thread::scope(|scope| {
        for number in 0..REQUESTS {
            let (told, host, edge) = (told.clone(), &host, cdn.edge(1));
            scope.spawn(move || told.send(get(edge, host, &format!("/slow{number}"))).unwrap());
        }
        // One is asked, one waits.
        for _ in 0..REQUESTS - 2 {
            let got = answers.recv_timeout(SOON).unwrap();
            assert_eq!(got.status, 503, "{got:?}");
            assert!(got.field("cache-status").contains("queue-full"), "{got:?}");
            assert_eq!(got.field("retry-after"), "1", "{got:?}");
        }
        assert_eq!(get(cdn.edge(1), &other, "/a").status, 200, "another site has nothing to do with it");
        door.open();
        for _ in 0..2 {
            assert_eq!(answers.recv_timeout(SOON).unwrap().status, 200);
        }
    });
}

#[test]
fn an_origin_that_says_when_to_come_back_is_left_alone_while_stale_answers_are_given() {
    let is_down = Arc::new(AtomicBool::new(false));
    let origin = Scripted::start({
        let is_down = Arc::clone(&is_down);
        move |seen| match is_down.load(Ordering::SeqCst) {
            true => Reply::whole("503 Service Unavailable", "Retry-After: 45\r\n", "later\n"),
            false if seen.line().contains("/stored") => Reply::whole("200 OK", "Cache-Control: max-age=1\r\n", "stored\n"),
            false => ok(),
        }
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let host = apply(&cdn, "down", &format!("urls = [\"{}\"]\n[cache]\nstale_if_error = \"1h\"", origin.url()));
    let stored = || get(cdn.edge(1), &host, "/stored");
    assert_eq!(stored().status, 200);
    is_down.store(true, Ordering::SeqCst);
    wait_until("a stale answer", SOON, || stored().field("cache-status").contains("stale-if-error"));

    let asked = origin.all();
    for number in 0..10 {
        let got = stored();
        assert_eq!((got.status, got.text().as_str()), (200, "stored\n"), "{got:?}");
        let got = get(cdn.edge(number % 2 + 1), &host, &format!("/other{number}"));
        assert_eq!(got.status, 503, "{got:?}");
        assert!(got.field("cache-status").contains("breaker-open"), "{got:?}");
        let seconds: u32 = got.field("retry-after").parse().unwrap();
        assert!((1..=45).contains(&seconds), "{got:?}");
    }
    assert_eq!(origin.all(), asked, "the origin was asked although it had said when to come back");
}

#[test]
fn a_server_that_fails_is_taken_out_and_comes_back() {
    let fails = Arc::new(AtomicBool::new(true));
    let first = Scripted::start({
        let fails = Arc::clone(&fails);
        move |seen| match fails.load(Ordering::SeqCst) && seen.line().contains("/try") {
            true => Reply::whole("500 Internal Server Error", "Cache-Control: no-store\r\n", "broken\n"),
            false => Reply::whole("200 OK", "Cache-Control: no-store\r\n", "first\n"),
        }
    });
    let second = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: no-store\r\n", "second\n"));
    let cdn = Cdn::start(&["--origin", &first.url()]);
    let ejection = "ejection = { errors = 3, percent = 0, time = \"1s\" }";
    let host = apply(&cdn, "two", &format!("urls = [\"{}\", \"{}\"]\n{ejection}", first.url(), second.url()));
    let mut errors = 0;
    wait_until("the second server", SOON, || {
        let got = get(cdn.edge(1), &host, "/try");
        errors += u32::from(got.status == 500);
        got.text() == "second\n"
    });
    assert_eq!(errors, 3);
    fails.store(false, Ordering::SeqCst);
    wait_until("the first server", SOON, || get(cdn.edge(1), &host, "/try").text() == "first\n");
}

#[test]
fn requests_are_repeated_no_more_than_their_share() {
    const REQUESTS: usize = 50;
    // Each answer ends in the middle of its body, so that the rest of it is asked for again.
    let origin = Scripted::start(|seen| match seen.line().contains("/cut") {
        true => {
            let length = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nhalf";
            Reply::bytes(if seen.head.to_ascii_lowercase().contains("range:") { "" } else { length }).then_close()
        }
        false => ok(),
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let retries = "retries = { percent = 10, floor = 2 }\nbreaker = { errors = 0 }";
    let host = apply(&cdn, "cut", &format!("urls = [\"{}\"]\n{retries}", origin.url()));
    let before = origin.all();
    for number in 0..REQUESTS {
        let _ = run(Command::new("curl").args(["--silent", "--output", "/dev/null", "--max-time", "50", "--noproxy", "*"]).args([
            "--header",
            &format!("Host: {host}"),
            &format!("http://{}/cut{number}", cdn.edge(1)),
        ]));
    }
    let repeated = origin.all() - before - REQUESTS;
    // Both tiers repeat, each within its share, and what one repeats may cost the other two requests: a part of the object and the whole.
    assert!((1..=REQUESTS / 2).contains(&repeated), "{repeated} of {REQUESTS} were repeated");
}

#[test]
fn a_server_whose_checks_fail_is_not_asked_until_they_are_well() {
    let is_well = Arc::new(AtomicBool::new(false));
    let first = Scripted::start({
        let is_well = Arc::clone(&is_well);
        move |seen| match seen.line().contains("/healthz") && !is_well.load(Ordering::SeqCst) {
            true => Reply::whole("500 Internal Server Error", "", "ill\n"),
            false => Reply::whole("200 OK", "Cache-Control: no-store\r\n", "first\n"),
        }
    });
    let second = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: no-store\r\n", "second\n"));
    let cdn = Cdn::start(&["--origin", &first.url()]);
    let health = "health = { path = \"/healthz\", interval = \"1s\", rise = 1, fall = 2 }";
    let servers = format!("servers = [{{ url = \"{}\" }}, {{ url = \"{}\", group = 1 }}]", first.url(), second.url());
    let host = apply(&cdn, "checked", &format!("{servers}\n{health}"));
    let asked = || get(cdn.edge(1), &host, "/a").text();
    assert_eq!(asked(), "first\n");
    wait_until("the second server", SOON, || asked() == "second\n");
    let metrics = curl(&[&format!("{}/metrics", cdn.at("/shields/0/admin"))]).text();
    let down = |line: &&str| line.starts_with("skerry_origin_health_changes_total{change=\"down\"") && line.contains(&first.url());
    assert!(metrics.lines().find(down).is_some_and(|line| line.ends_with(" 1")), "{metrics}");
    is_well.store(true, Ordering::SeqCst);
    wait_until("the first server", SOON, || asked() == "first\n");
}
