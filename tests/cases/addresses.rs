//! Where origins may be: what a site names is connected to only where the node's settings allow it, and whoever is refused takes nobody else with him.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Names, Reply, Scripted, curl, get, wait_until};

/// More than any refusal takes, and less than a connection that is tried takes to fail.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn an_origin_at_an_address_that_is_not_allowed_is_a_502_that_says_so() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "", "there"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (name, url) in [
        ("metadata", "http://169.254.169.254"),
        ("private", "http://10.0.0.1:8080"),
        ("mapped", "http://[::ffff:169.254.169.254]"),
        ("nat64", "https://[64:ff9b::a9fe:a9fe]"),
        ("unspecified", "http://0.0.0.0:1"),
    ] {
        let host = format!("{name}.test");
        let site = format!("name = \"{name}\"\nhosts = [\"{host}\"]\n[origin]\nurls = [\"{url}\"]\n");
        cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site)]).fine();
        wait_until("the site", SOON, || get(cdn.edge(1), &host, "/").text() != "there");
        for more in [&[][..], &["--data", "x"], &["--header", "Accept: text/event-stream"]] {
            let began = Instant::now();
            let url = format!("http://{}/a", cdn.edge(1));
            let got = curl(&[&["--header", &format!("Host: {host}")], more, &[url.as_str()]].concat());
            assert_eq!(got.status, 502, "{name} {more:?}: {got:?}");
            assert!(got.field("cache-status").contains("detail=address-refused"), "{name} {more:?}: {got:?}");
            assert!(!got.text().contains("169.254"), "an address behind the edge is nobody's business: {got:?}");
            assert!(began.elapsed() < AT_ONCE, "{name} {more:?}: somebody tried to connect");
        }
        assert_eq!(get(cdn.edge(1), "a.test", "/").text(), "there", "another site goes on");
    }
    let log = std::fs::read_to_string(cdn.data("shield-1.log")).unwrap();
    assert!(log.contains("169.254.169.254, which is link-local") && log.contains("169.254.169.254/32"), "the operator is told why: {log}");
}

#[test]
fn an_edge_without_a_shield_is_as_careful_and_a_prefix_allows() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "there"));
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    cdn.kill("shield-1");
    assert_eq!(get(cdn.edge(1), "a.test", "/1").text(), "there", "loopback is allowed by skerry dev");
    cdn.kill("edge-1");
    let (_, config) = cdn.process("edge-1");
    let settings = std::fs::read_to_string(&config).unwrap();
    assert!(settings.contains("127.0.0.0/8"), "{settings}");
    std::fs::write(&config, settings.replace("127.0.0.0/8", "127.0.0.0/32")).unwrap();
    cdn.start_again("edge-1");
    let got = get(cdn.edge(1), "a.test", "/2");
    assert!(got.status == 502 && got.field("cache-status").contains("detail=address-refused"), "{got:?}");
    assert!(origin.seen("/2").is_empty());
}

/// A CDN with a site `named.test` whose origin has a name, which its shield asks `names` for.
fn named(origin: &Scripted, names: &Names) -> Cdn {
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    cdn.kill("shield-1");
    let (_, config) = cdn.process("shield-1");
    let settings = std::fs::read_to_string(&config).unwrap();
    assert!(settings.contains("resolvers = []"), "{settings}");
    std::fs::write(&config, settings.replace("resolvers = []", &format!("resolvers = [{:?}]", names.address()))).unwrap();
    cdn.start_again("shield-1");
    let port = origin.url().rsplit(':').next().unwrap().to_owned();
    let site = format!("name = \"named\"\nhosts = [\"named.test\"]\n[origin]\nurls = [\"http://origin.test:{port}\"]\n");
    cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site)]).fine();
    cdn
}

#[test]
fn a_name_is_followed_kept_when_dns_fails_and_refused_where_it_may_not_lead() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "", "there"));
    let names = Names::start(Ipv4Addr::LOCALHOST);
    let cdn = named(&origin, &names);
    let said = || get(cdn.edge(1), "named.test", "/").text();
    wait_until("the site", SOON, || said() == "there" && names.asked() > 0);

    // The same question again and again, with nothing good for an answer: nobody notices.
    names.say(None);
    let asked = names.asked();
    wait_until("questions that fail", SOON, || {
        assert_eq!(said(), "there");
        names.asked() > asked + 4
    });
    names.say(Some(&[Ipv4Addr::new(169, 254, 169, 254)]));
    wait_until("the change", SOON, || get(cdn.edge(1), "named.test", "/").field("cache-status").contains("detail=address-refused"));
    assert_eq!(get(cdn.edge(1), "a.test", "/").text(), "there", "another site goes on");
    names.say(Some(&[Ipv4Addr::LOCALHOST]));
    wait_until("the way back", SOON, || said() == "there");
}

#[test]
fn what_is_passed_through_goes_to_the_address_that_answers_too() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", "", &String::from_utf8_lossy(&seen.body)));
    let names = Names::start(Ipv4Addr::LOCALHOST);
    let cdn = named(&origin, &names);
    // Nobody listens at the first one.
    names.say(Some(&[Ipv4Addr::new(127, 0, 0, 99), Ipv4Addr::LOCALHOST]));
    let url = format!("http://{}/sent", cdn.edge(1));
    let sent = || curl(&["--header", "Host: named.test", "--data-binary", "hello", &url]);
    wait_until("the site", SOON, || sent().text() == "hello");
    for _ in 0..5 {
        let got = sent();
        assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    }
}
