//! How old an answer is after two tiers, and whose word on that is believed.

use std::time::{Duration, Instant, SystemTime};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Got, Reply, Scripted, get, wait_until};

/// The time that the origin takes for `/slow`.
const SLOW: Duration = Duration::from_secs(2);

fn origin() -> Scripted {
    Scripted::start(|seen| {
        let lines = match seen.line().split(' ').nth(1) {
            Some("/slow") => {
                let since = Instant::now();
                while since.elapsed() < SLOW {
                    std::thread::park_timeout(SLOW - since.elapsed().min(SLOW));
                }
                "Cache-Control: max-age=600\r\nAge: 10\r\n"
            }
            Some("/short") => "Cache-Control: max-age=2\r\n",
            _ => "Cache-Control: max-age=600\r\nAge: 10\r\nSkerry-Age-Ms: 0;took=60000\r\n",
        };
        Reply::whole("200 OK", lines, "there")
    })
}

#[track_caller]
fn age(got: &Got) -> u64 {
    assert!(got.field("skerry-age-ms").is_empty(), "{got:?}");
    got.field("age").parse().unwrap_or_else(|_| panic!("no Age: {got:?}"))
}

#[test]
fn what_the_origin_took_counts_once() {
    let cdn = Cdn::start(&["--origin", &origin().url()]);
    assert_eq!(get(cdn.edge(1), "a.test", "/slow").text(), "there");
    let since = Instant::now();
    let got = get(cdn.edge(1), "a.test", "/slow");
    assert!(got.is_hit_at("edge-1"));
    let most = 12 + since.elapsed().as_secs() + 1;
    assert!((12..=most).contains(&age(&got)), "10 s, and the 2 s that it took: {got:?}");
}

#[test]
fn what_is_old_at_the_shield_is_as_old_at_the_edge() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    // Early in a second, so that `Date` does not tell either how old it is.
    wait_until("a second to begin", SOON, || SystemTime::UNIX_EPOCH.elapsed().is_ok_and(|since| since.subsec_millis() < 60));
    get(cdn.edge(1), "a.test", "/short");
    let since = Instant::now();
    let after = |millis| {
        wait_until("a while", SOON, || since.elapsed() >= Duration::from_millis(millis));
    };
    after(600);
    let got = get(cdn.edge(2), "a.test", "/short");
    assert_eq!((got.at("shield-1").as_str(), got.at("edge-2").as_str()), ("hit", "fwd=uri-miss"), "{got:?}");
    // Its 2 s are over 2 s after the origin gave it, not after the edge had it.
    after(2_050);
    let got = get(cdn.edge(2), "a.test", "/short");
    assert_eq!((got.at("edge-2").as_str(), origin.seen("/short").len()), ("fwd=stale", 2), "{got:?}");
}

#[test]
fn only_a_shield_is_believed() {
    let cdn = Cdn::start(&["--origin", &origin().url()]);
    for path in ["/1", "/1", "/2"] {
        assert!(age(&get(cdn.edge(1), "a.test", path)) >= 10, "the origin spoke as a tier: {path}");
    }
    cdn.kill("shield-1");
    for path in ["/3", "/3"] {
        let got = get(cdn.edge(2), "a.test", path);
        assert!(age(&got) >= 10 && !got.field("cache-status").contains("shield-1"), "the origin spoke as a tier: {got:?}");
    }
    let sent = crate::house::curl(&["--header", "Host: a.test", "--data-binary", "x", &format!("http://{}/4", cdn.edge(2))]);
    assert!(sent.field("skerry-age-ms").is_empty(), "{sent:?}");
}
