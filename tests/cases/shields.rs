//! Which shields a site goes through, and what becomes of it without them.

use std::time::Duration;

use crate::house::cdn::SOON;
use crate::house::{Cdn, Got, Reply, Scripted, curl, get, wait_until};

/// How long it may take until a site has a leader: it is measured, reported, waited for and published.
const LEADER_MAX: Duration = Duration::from_secs(40);

/// A site of one host, under the name that keeps `skerry dev` from serving every other host, with these lines on its shields.
fn site(name: &str, host: &str, origin: &Scripted, shields: &str) -> String {
    format!("name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\nurls = [\"{}\"]\n[shields]\n{shields}\n", origin.url())
}

fn origin() -> Scripted {
    Scripted::start(|seen| match seen.line() {
        line if line.contains("/short") => Reply::whole("200 OK", "Cache-Control: max-age=1, stale-if-error=600\r\n", "short"),
        _ => Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", "there"),
    })
}

/// Which shield an answer came through.
#[track_caller]
fn shield(got: &Got) -> String {
    let status = got.field("cache-status");
    status.split([';', ',']).find(|part| part.starts_with("shield-")).unwrap_or_default().to_owned()
}

fn apply(cdn: &Cdn, name: &str, host: &str, origin: &Scripted, shields: &str) {
    let file = cdn.file(&format!("{name}.toml"), &site(name, host, origin, shields));
    cdn.skerry(&["site", "apply", &file]).fine();
    wait_until("the site", SOON, || [1, 2].iter().all(|edge| cdn.follows(&format!("edge-{edge}"))) && cdn.follows("shield-1"));
}

#[test]
fn a_site_goes_through_the_shields_that_it_names() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url(), "--shields", "3"]);
    apply(&cdn, "two", "two.test", &origin, "names = [\"shield-1\", \"shield-3\"]");
    apply(&cdn, "region", "region.test", &origin, "regions = [\"region-2\"]");
    let through = |host: &str| {
        let mut seen: Vec<String> = (0..40).map(|index| shield(&get(cdn.edge(index % 2 + 1), host, &format!("/{index}")))).collect();
        seen.sort();
        seen.dedup();
        seen
    };
    assert_eq!(through("two.test"), ["shield-1", "shield-3"]);
    assert_eq!(through("region.test"), ["shield-2"]);
    assert_eq!(through("any.test"), ["shield-1", "shield-2", "shield-3"]);
    for index in 0..20 {
        let path = format!("/{index}/agreed");
        assert_eq!(shield(&get(cdn.edge(1), "two.test", &path)), shield(&get(cdn.edge(2), "two.test", &format!("{path}?2"))), "{path}");
    }
    let refused = cdn.skerry(&["site", "apply", &cdn.file("no.toml", &site("no", "no.test", &origin, "names = [\"shield-9\"]"))]);
    let says = "shields.names[0]: no shield is called \"shield-9\"; join it first, or write shield-1, shield-2, shield-3";
    assert!(refused.code == 1 && refused.stderr.contains(says), "{refused:?}");
}

#[test]
fn a_site_without_its_shield_fails_by_name_where_its_origin_is_not_for_edges() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url(), "--shields", "2"]);
    apply(&cdn, "kept", "kept.test", &origin, "names = [\"shield-2\"]\nfallback = \"fail\"");
    apply(&cdn, "open", "open.test", &origin, "names = [\"shield-2\"]");
    let stored = get(cdn.edge(1), "kept.test", "/short");
    assert_eq!((stored.status, shield(&stored).as_str()), (200, "shield-2"));
    let since = std::time::Instant::now();
    cdn.kill("shield-2");
    let asked = origin.all();
    let failed = get(cdn.edge(1), "kept.test", "/page");
    assert_eq!(failed.status, 503, "{failed:?}");
    assert!(failed.field("cache-status").contains("detail=no-shield"), "{failed:?}");
    assert_eq!(failed.text(), "none of the nodes in front of the origin answers\n");
    let sent = curl(&["--header", "Host: kept.test", "--data-binary", "hello", &format!("http://{}/form", cdn.edge(1))]);
    assert_eq!((sent.status, sent.field("cache-status").contains("detail=no-shield")), (503, true), "{sent:?}");
    // Stored once, and stale since.
    wait_until("the answer to be stale", SOON, || since.elapsed() > Duration::from_millis(1_100));
    let stale = get(cdn.edge(1), "kept.test", "/short");
    assert_eq!((stale.status, stale.text().as_str()), (200, "short"), "{stale:?}");
    assert_eq!(origin.all(), asked, "an edge asked the origin");
    // Other sites go on: one by its origin, one by the other shield.
    assert_eq!(get(cdn.edge(1), "open.test", "/page").text(), "there");
    assert_eq!(get(cdn.edge(1), "any.test", "/page").text(), "there");
}

#[test]
fn one_shield_leads_a_site_that_leaves_the_choice_and_another_one_takes_over() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url(), "--shields", "3"]);
    apply(&cdn, "led", "led.test", &origin, "lead = \"auto\"");
    let mut number = 0;
    // The shields that new paths go through, from both edges: so many that chance does not bring them all to one.
    let mut through = || {
        let mut seen: Vec<String> = (0..24)
            .map(|index| {
                number += 1;
                shield(&get(cdn.edge(index % 2 + 1), "led.test", &format!("/{number}")))
            })
            .collect();
        seen.sort();
        seen.dedup();
        seen
    };
    wait_until("a leader", LEADER_MAX, || through().len() == 1);
    let leader = through().remove(0);
    let asked = cdn.json(&["explain", "http://led.test/any"]);
    assert!(asked.to_string().contains(&leader), "{asked}");
    cdn.kill(&leader);
    assert!(!through().contains(&leader), "the others take over at once");
    wait_until("another leader", LEADER_MAX, || through().len() == 1);
    let next = through().remove(0);
    assert_ne!(next, leader);
    // Known without the control plane.
    cdn.kill("control");
    assert_eq!(through(), [next]);
}
