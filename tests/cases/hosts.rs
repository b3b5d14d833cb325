//! Tiers on hosts of their own, one of which is lost under load: its cable, its process, or all but its sockets. Every byte that clients get is right,
//! and there; nobody sees an error where there is another way; and another site goes on.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::clients::fetch_and_compare;
use crate::house::hosts::Hosts;
use crate::house::{Nginx, Reply, Scripted, get, wait_until};

/// Clients of each site, one request each at a time.
const CLIENTS: usize = 3;
/// The rest of a client between two requests.
const REST: Duration = Duration::from_millis(10);
/// How long a request may take whose shield is lost meanwhile: until the link is known to be silent, and what the next shield needs.
const TAKE_OVER_MAX: Duration = Duration::from_secs(10);
/// How long a request of another site may take on a machine that has more to do.
const UNHARMED_MAX: Duration = Duration::from_secs(3);
/// The length of an answer, bytes.
const LENGTH: usize = 20_000;
/// The paths of a site; then they begin again.
const PATHS: u32 = 2_000;

/// What the origin has under a path: bytes that no other path has.
fn content(path: &str) -> String {
    let line = format!("{path} ");
    line.repeat(LENGTH / line.len() + 1)[..LENGTH].to_owned()
}

fn whole(seen: &crate::house::scripted::Seen) -> Reply {
    let path = seen.line().split(' ').nth(1).unwrap_or_default();
    Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", &content(path))
}

/// A site with short times of its own.
fn site(name: &str, origin: &Scripted, shields: &str) -> String {
    site_of(name, &[origin.url()], shields)
}

/// The same with several origin servers.
fn site_of(name: &str, origins: &[String], shields: &str) -> String {
    format!(
        "name = \"{name}\"\nhosts = [\"{name}.test\"]\n[origin]\nurls = {origins:?}\nconnect_timeout = \"1s\"\nfirst_byte_timeout = \"2s\"\n\
         between_bytes_timeout = \"2s\"\nbreaker = {{ errors = 0 }}\nejection = {{ errors = 0, percent = 0 }}\n\
         retries = {{ percent = 100, floor = 1000 }}\n[shields]\n{shields}\n"
    )
}

/// What the clients of one site saw.
#[derive(Default)]
struct Tally {
    done: AtomicU32,
    slowest: Mutex<Duration>,
    failed: Mutex<Vec<String>>,
}

impl Tally {
    fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests were answered.
    #[track_caller]
    fn goes_on(&self, more: u32) {
        let before = self.done();
        wait_until("answers to clients", 2 * SOON, || self.done() >= before + more);
    }

    #[track_caller]
    fn is_fine(&self, site: &str, slowest_max: Duration) {
        let failed = self.failed.lock().unwrap();
        assert!(failed.is_empty(), "{site}: {} of {} failed: {:#?}", failed.len(), self.done(), &failed[..failed.len().min(10)]);
        let slowest = *self.slowest.lock().unwrap();
        assert!(slowest < slowest_max, "{site}: one of {} took {slowest:?}", self.done());
    }
}

/// Has clients ask for sites at both edges while `what` goes on: mostly what was never asked for, each path once at each edge
/// until [`PATHS`] are through.
fn under_load(hosts: &Hosts, sites: &[&str], what: impl FnOnce(&[Tally])) -> Vec<Tally> {
    let tallies: Vec<Tally> = sites.iter().map(|_| Tally::default()).collect();
    let (stop, paths) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for (site, tally) in sites.iter().zip(&tallies) {
            for _ in 0..CLIENTS {
                let (stop, paths) = (&stop, &paths);
                scope.spawn(move || hosts.net.on("client", || ask_on(hosts, site, tally, stop, paths)));
            }
        }
        // A panic ends the clients too.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| what(&tallies)));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
    tallies
}

fn ask_on(hosts: &Hosts, site: &str, tally: &Tally, stop: &AtomicBool, paths: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        let number = paths.fetch_add(1, Ordering::Relaxed);
        let (path, edge) = (format!("/{site}/{}", number / 2 % PATHS), number as usize % 2 + 1);
        let began = Instant::now();
        let got = fetch_and_compare(&hosts.edge(edge), &format!("{site}.test"), &path, content(&path).as_bytes());
        let took = began.elapsed();
        if let Err(why) = got {
            tally.failed.lock().unwrap().push(format!("{path} at edge-{edge} after {took:?}: {why}"));
        }
        let mut slowest = tally.slowest.lock().unwrap();
        *slowest = took.max(*slowest);
        drop(slowest);
        tally.done.fetch_add(1, Ordering::Relaxed);
        std::thread::park_timeout(REST);
    }
}

/// Waits until both edges ask for something of a site through this shield.
#[track_caller]
fn through(hosts: &Hosts, host: &str, shield: &str) {
    for edge in [1, 2] {
        let mut number = 0;
        wait_until(&format!("edge-{edge} to ask {shield}"), 2 * SOON, || {
            number += 1;
            let path = format!("/through/{shield}/{edge}/{number}");
            let got = hosts.net.on("client", || get(&hosts.edge(edge), host, &path));
            got.field("cache-status").contains(shield)
        });
    }
}

/// Loses a shield in one way under load, and gets it back.
#[track_caller]
fn lose_a_shield(lose: impl Fn(&Hosts), regain: impl Fn(&mut Hosts)) {
    let Some(mut hosts) = Hosts::start() else { return };
    let origin = hosts.origin(whole);
    hosts.apply(&[site("both", &origin, ""), site("other", &origin, "names = [\"shield-2\"]")]);
    through(&hosts, "both.test", "shield-1");
    let tallies = under_load(&hosts, &["both", "other"], |tallies| {
        tallies[0].goes_on(100);
        lose(&hosts);
        // More than all clients at once: those that were on their way to it have been answered, and those after them.
        tallies[0].goes_on(300);
        tallies[1].goes_on(100);
    });
    tallies[0].is_fine("both", TAKE_OVER_MAX);
    tallies[1].is_fine("other", UNHARMED_MAX);
    regain(&mut hosts);
    through(&hosts, "both.test", "shield-1");
}

#[test]
fn a_shield_whose_process_is_killed() {
    lose_a_shield(|hosts| hosts.signal("shield-1", "KILL"), |hosts| hosts.start_again("shield-1"));
}

#[test]
fn a_shield_whose_process_is_stopped() {
    lose_a_shield(|hosts| hosts.signal("shield-1", "STOP"), |hosts| hosts.signal("shield-1", "CONT"));
}

#[test]
fn a_shield_whose_cable_is_pulled_out() {
    lose_a_shield(|hosts| hosts.net.plug("shield-1", false), |hosts| hosts.net.plug("shield-1", true));
}

#[test]
fn a_control_plane_whose_cable_is_pulled_out_is_missed_by_no_client() {
    let Some(hosts) = Hosts::start() else { return };
    let origin = hosts.origin(whole);
    hosts.apply(&[site("both", &origin, "")]);
    let tallies = under_load(&hosts, &["both"], |tallies| {
        tallies[0].goes_on(100);
        hosts.net.plug("control", false);
        tallies[0].goes_on(500);
        hosts.net.plug("control", true);
        wait_until("every node to follow", 2 * SOON, || ["shield-1", "edge-1", "edge-2"].iter().all(|node| hosts.follows(node)));
        tallies[0].goes_on(100);
    });
    tallies[0].is_fine("both", UNHARMED_MAX);
}

/// What an origin does that is lost.
const STALLED: u32 = 1;
const RESET: u32 = 2;

#[test]
fn an_origin_that_is_lost_has_its_site_fail_by_name_and_no_other() {
    let Some(hosts) = Hosts::start() else { return };
    let mode = Arc::new(AtomicU32::new(0));
    let now = Arc::clone(&mode);
    let lost = hosts.origin(move |seen| match now.load(Ordering::SeqCst) {
        STALLED => Reply::bytes("").then_for_ever(""),
        RESET => Reply::bytes("").then_reset(),
        _ => whole(seen),
    });
    let second = hosts.second_origin(whole);
    hosts.apply(&[site("lost", &lost, ""), site("other", &second, "")]);
    let ask = |path: &str| hosts.net.on("client", || get(&hosts.edge(1), "lost.test", path));
    assert_eq!(ask("/kept").text(), content("/kept"));
    let tallies = under_load(&hosts, &["other"], |tallies| {
        for (number, (how, details)) in [(STALLED, ["timeout"].as_slice()), (RESET, &["cut-short", "protocol-error"])].iter().enumerate() {
            mode.store(*how, Ordering::SeqCst);
            let got = ask(&format!("/new/{number}"));
            let status = got.field("cache-status");
            assert!(details.iter().any(|detail| status.contains(detail)) && got.status >= 502, "{got:?}");
            assert_eq!(ask("/kept").text(), content("/kept"));
            tallies[0].goes_on(50);
        }
        mode.store(0, Ordering::SeqCst);
        hosts.net.plug("origin", false);
        let got = ask("/new/unplugged");
        assert!(got.status >= 502, "{got:?}");
        tallies[0].goes_on(50);
        hosts.net.plug("origin", true);
        wait_until("the origin to be asked again", 2 * SOON, || ask("/new/back").status == 200);
    });
    tallies[0].is_fine("other", UNHARMED_MAX);
}

#[test]
fn a_site_whose_origin_is_not_for_edges_fails_by_name_without_its_shield_and_no_other_does() {
    let Some(hosts) = Hosts::start() else { return };
    let origin = hosts.origin(whole);
    let second = hosts.second_origin(whole);
    hosts.apply(&[site("bound", &origin, "names = [\"shield-1\"]\nfallback = \"fail\""), site("other", &second, "")]);
    let ask = |path: &str| hosts.net.on("client", || get(&hosts.edge(1), "bound.test", path));
    assert_eq!(ask("/kept").text(), content("/kept"));
    let tallies = under_load(&hosts, &["other"], |tallies| {
        tallies[0].goes_on(50);
        hosts.net.plug("shield-1", false);
        let asked = origin.all();
        for path in ["/new/1", "/new/2"] {
            let got = ask(path);
            assert!(got.status == 503 && got.field("cache-status").contains("no-shield"), "{got:?}");
        }
        assert_eq!(ask("/kept").text(), content("/kept"));
        assert_eq!(origin.all(), asked, "an edge went to the origin itself");
        tallies[0].goes_on(50);
        hosts.net.plug("shield-1", true);
        wait_until("the shield to be asked again", 2 * SOON, || ask("/new/back").status == 200);
    });
    tallies[0].is_fine("other", TAKE_OVER_MAX);
}

#[test]
fn an_origin_that_is_killed_under_load_costs_no_client_an_answer_where_there_is_another() {
    let Some(hosts) = Hosts::start() else { return };
    let mut origins = ["origin", "second"].map(|host| {
        let address = hosts.net.address(host);
        hosts.net.on(host, || Nginx::start_at(address.into()))
    });
    let made = std::time::SystemTime::now();
    for path in (0..PATHS).map(|number| format!("/both/{number}")) {
        origins.iter().for_each(|origin| origin.put_as_of(&path, content(&path).as_bytes(), made));
    }
    hosts.apply(&[site_of("both", &origins.each_ref().map(Nginx::url), "")]);
    let tallies = under_load(&hosts, &["both"], |tallies| {
        tallies[0].goes_on(100);
        origins[0].kill();
        tallies[0].goes_on(300);
    });
    tallies[0].is_fine("both", UNHARMED_MAX);
}
