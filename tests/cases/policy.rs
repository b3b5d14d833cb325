//! What a site says of telling answers apart holds through both tiers: cookies, hosts, schemes, devices, countries, and what clients may not say.

use crate::house::cdn::SOON;
use crate::house::mmdb::{Value, mmdb};
use crate::house::{Cdn, Reply, Scripted, curl, get, wait_until};

/// Answers for ten minutes with the fields it was asked with, one a line, in lower case.
fn origin() -> Scripted {
    Scripted::start(|seen| {
        let fields: Vec<String> = seen.head.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_ascii_lowercase).collect();
        Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", &format!("{}\n", fields.join("\n")))
    })
}

/// A CDN with one site for everything, whose cache is written in TOML below `[cache]`.
fn cdn(origin: &Scripted, cache: &str) -> Cdn {
    let place = tempfile::tempdir().unwrap();
    let site = place.path().join("shop.toml");
    let hosts = "hosts = [\"shop.test\", \"*.img.test\"]";
    std::fs::write(&site, format!("name = \"shop\"\n{hosts}\n[origin]\nurls = [\"{}\"]\n[cache]\n{cache}\n", origin.url())).unwrap();
    Cdn::start(&["--site", site.to_str().unwrap()])
}

/// Asks edge 1 for a path of `shop.test` with these header lines.
#[track_caller]
fn ask(cdn: &Cdn, path: &str, fields: &[&str]) -> crate::house::clients::Got {
    let url = format!("http://{}{path}", cdn.edge(1));
    let mut arguments = vec!["--header", "Host: shop.test"];
    fields.iter().for_each(|field| arguments.extend(["--header", field]));
    arguments.push(&url);
    curl(&arguments)
}

#[test]
fn cookies_are_stripped_keyed_or_lead_past_the_cache() {
    let origin = origin();
    let cdn = cdn(&origin, "cookies = { bypass = [\"session*\"], strip = [\"_ga*\"] }\nkey = { cookies = [\"lang\"] }");
    let first = ask(&cdn, "/", &["Cookie: _ga=1; lang=de; seen=1"]);
    assert!(first.text().contains("\ncookie: lang=de; seen=1\n"), "{first:?}");
    assert!(ask(&cdn, "/", &["Cookie: lang=de; _ga=2; _gat=3"]).is_hit_at("edge-1"), "what is stripped counts nowhere");
    assert!(!ask(&cdn, "/", &["Cookie: lang=fr"]).is_hit_at("edge-1"), "what is keyed counts");
    assert!(!ask(&cdn, "/", &[]).is_hit_at("edge-1"), "an absent cookie is another value");
    let asked = origin.seen("/").len();
    for _ in 0..2 {
        let past = ask(&cdn, "/", &["Cookie: lang=de; session_id=7; _ga=1"]);
        assert_eq!((past.at("edge-1").as_str(), past.at("shield-1").as_str()), ("fwd=bypass", "fwd=bypass"), "{past:?}");
        assert!(past.text().contains("session_id=7"), "{past:?}");
    }
    assert_eq!(origin.seen("/").len(), asked + 2);
    // Without the cookie field as a whole when nothing is left of it.
    assert!(!ask(&cdn, "/none", &["Cookie: _ga=1"]).text().contains("cookie:"));
}

#[test]
fn rules_by_header_field_and_cookie_are_found_by_both_tiers() {
    let origin = origin();
    let rules = "rules = [{ match = { header = \"x-preview\" }, bypass = true },\n\
        { match = { cookie = \"beta*\" }, ttl = \"7s\", key = { cookies = [\"beta_group\"] } }]";
    let cdn = cdn(&origin, rules);
    let preview = ask(&cdn, "/", &["X-Preview: 1"]);
    assert_eq!((preview.at("edge-1").as_str(), preview.at("shield-1").as_str()), ("fwd=bypass", "fwd=bypass"), "{preview:?}");
    let beta = ask(&cdn, "/", &["Cookie: beta_group=a"]);
    let short = |lifetime: &str| beta.field("cache-status").split([',', ';']).filter(|said| said.trim() == lifetime).count();
    assert_eq!(short("ttl=7") + short("ttl=6"), 2, "{beta:?}");
    assert!(ask(&cdn, "/", &["Cookie: beta_group=a; other=1"]).is_hit_at("edge-1"));
    assert!(!ask(&cdn, "/", &["Cookie: beta_group=b"]).is_hit_at("edge-1"));
    let plain = ask(&cdn, "/", &[]);
    assert!(!plain.is_hit_at("edge-1"), "{plain:?}");
    assert!(["ttl=600", "ttl=599"].iter().any(|said| plain.field("cache-status").contains(said)), "{plain:?}");
}

#[test]
fn hosts_with_one_alias_share_their_answers_and_their_purges() {
    let origin = origin();
    let cdn = cdn(&origin, "key = { host = \"shop.test\" }");
    let of = |host: &str, path: &str| get(cdn.edge(1), host, path);
    for (at, purge) in [
        ["--url", "http://b.img.test/purged.jpg"],
        ["--url", "https://shop.test/purged.jpg"],
        ["--prefix", "https://c.img.test/pur"],
        ["--host", "a.img.test"],
        ["--host", "d.img.test"],
    ]
    .iter()
    .enumerate()
    {
        assert!(!of("a.img.test", "/purged.jpg").is_hit_at("edge-1"), "{purge:?}");
        for host in ["a.img.test", "b.img.test", "shop.test"] {
            assert!(of(host, "/purged.jpg").is_hit_at("edge-1"), "{host}");
        }
        cdn.skerry(&["purge", purge[0], purge[1], "--wait", "5s"]).fine();
        assert_eq!(origin.seen("/purged.jpg").len(), at + 1);
    }
    of("b.img.test", "/purged.jpg");
    assert_eq!(origin.seen("/purged.jpg").len(), 6, "no tier keeps what another host stored");
}

#[test]
fn schemes_share_their_answers_when_the_site_says_so() {
    let origin = origin();
    let cdn = cdn(&origin, "rules = [{ match = { path = \"/shared\" }, key = { scheme = false } }]");
    let https = |path: &str| {
        let edge = cdn.at("/edges/0/https");
        let port = edge.rsplit_once(':').unwrap().1;
        let (at, url) = (format!("shop.test:{port}:127.0.0.1"), format!("https://shop.test:{port}{path}"));
        curl(&["--insecure", "--resolve", &at, "--header", "Host: shop.test", &url])
    };
    for (path, shared) in [("/shared", true), ("/apart", false)] {
        assert!(!ask(&cdn, path, &[]).is_hit_at("edge-1"));
        assert_eq!(https(path).is_hit_at("edge-1"), shared, "{path}");
        assert!(https(path).is_hit_at("edge-1"), "{path}");
    }
}

#[test]
fn each_class_of_device_has_answers_of_its_own_and_no_client_names_its_class() {
    let origin = origin();
    let cdn = cdn(&origin, "rules = [{ match = { path = \"/told\" }, key = { device = true } }]");
    let agents = [
        ("mobile", "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148"),
        ("tablet", "User-Agent: Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) Mobile/15E148"),
        ("bot", "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1)"),
        ("desktop", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)"),
    ];
    for (class, agent) in agents {
        let got = ask(&cdn, "/told", &[agent, "Skerry-Device: forged"]);
        assert!(!got.is_hit_at("edge-1"), "{class}");
        assert!(got.text().contains(&format!("\nskerry-device: {class}\n")) && !got.text().contains("forged"), "{got:?}");
    }
    let other_phone = "User-Agent: Mozilla/5.0 (Linux; Android 10; K) Chrome/126.0.0.0 Mobile Safari/537.36";
    let got = ask(&cdn, "/told", &[other_phone, "Skerry-Device: bot"]);
    assert!(got.is_hit_at("edge-1") && got.text().contains("skerry-device: mobile"), "{got:?}");
    let elsewhere = ask(&cdn, "/", &[agents[0].1, "Skerry-Device: bot", "Skerry-Country: DE", "Skerry-Anything: 1"]);
    assert!(!elsewhere.text().contains("skerry-"), "{elsewhere:?}");
}

#[test]
fn countries_come_from_the_database_which_is_read_again_when_it_changes() {
    let origin = origin();
    let mut cdn = cdn(&origin, "key = { country = true }");
    let unknown = ask(&cdn, "/", &["Skerry-Country: DE"]);
    assert!(unknown.text().contains("\nskerry-country: zz\n"), "without a database no country is known: {unknown:?}");

    let (one, two) = ("127.0.0.1/32", "127.0.0.2/32");
    let countries = |known: &[(&str, &'static str)]| {
        let known: Vec<(&str, Value)> = known.iter().map(|(prefix, code)| (*prefix, Value::country(code))).collect();
        mmdb("Test-Country", &known)
    };
    let path = cdn.file("country.mmdb", "");
    std::fs::write(&path, countries(&[(one, "DE"), (two, "FR")])).unwrap();
    let (_, config) = cdn.process("edge-1");
    let settings = std::fs::read_to_string(&config).unwrap();
    cdn.kill("edge-1");
    assert!(settings.contains("[geo]\n"), "{settings}");
    std::fs::write(&config, settings.replace("[geo]\n", &format!("[geo]\ndatabase = \"{path}\"\n"))).unwrap();
    cdn.start_again("edge-1");
    let url = format!("http://{}/", cdn.edge(1));
    let from = |address: &str| curl(&["--interface", address, "--header", "Host: shop.test", &url]);
    for (address, country) in [("127.0.0.1", "de"), ("127.0.0.2", "fr"), ("127.0.0.3", "zz")] {
        let got = from(address);
        assert!(got.text().contains(&format!("\nskerry-country: {country}\n")), "{address}: {got:?}");
        assert!(from(address).is_hit_at("edge-1"), "{address}");
    }

    let renewed = format!("{path}.new");
    std::fs::write(&renewed, countries(&[(one, "SE")])).unwrap();
    std::fs::rename(&renewed, &path).unwrap();
    wait_until("the new database", SOON, || from("127.0.0.1").text().contains("\nskerry-country: se\n"));
    assert!(from("127.0.0.2").text().contains("\nskerry-country: zz\n"));
}

#[test]
fn an_edge_does_not_start_with_a_database_that_it_cannot_read() {
    let place = tempfile::tempdir().unwrap();
    let edge = include_str!("../../config/examples/edge.toml").replace("/var/lib/skerry/north-1", place.path().to_str().unwrap());
    assert!(edge.contains(place.path().to_str().unwrap()));
    let settings = place.path().join("edge.toml");
    let listen = "[listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";
    let head = edge.split("[control]").next().unwrap();
    let control = "[control]\naddress = \"127.0.0.1:1\"\n";
    std::fs::write(&settings, format!("{head}{control}{listen}[geo]\ndatabase = \"/nowhere/country.mmdb\"\n")).unwrap();
    let said = crate::house::skerry(&["edge", "--config", settings.to_str().unwrap()]);
    let sentence = said.refused(1);
    assert!(sentence.contains("/nowhere/country.mmdb: cannot be read") && sentence.contains("MaxMind DB format"), "{sentence}");
}

#[test]
fn a_field_that_is_in_no_key_reaches_no_origin_through_the_cache() {
    let origin = origin();
    let cdn = cdn(&origin, "rules = [{ match = { path = \"/past\" }, bypass = true }]");
    let forged = [
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: evil",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Scheme: evil",
        "X-Forwarded-Port: 666",
        "Forwarded: host=evil.test",
        "X-Host: evil.test",
        "X-Original-URL: /evil",
        "X-Rewrite-URL: /evil",
        "X-HTTP-Method-Override: EVIL",
        "Cache-Status: evil; hit",
        "Skerry-Scheme: evil",
        "X_Forwarded_Host: evil.test",
        "X-Original_URL: /evil",
        "Skerry_Device: evil",
        "X-Plain: kept",
    ];
    for path in ["/", "/past"] {
        let got = ask(&cdn, path, &forged);
        let text = got.text();
        assert!(!text.contains("evil") && !text.contains("x-forwarded-port") && !text.contains("203.0.113.9"), "{path}: {text}");
        assert!(text.contains("\nx-plain: kept\n") && text.contains("\nx-forwarded-host: shop.test\n"), "{path}: {text}");
        assert!(text.contains("\nx-forwarded-for: 127.0.0.1\n") && text.contains("\nx-forwarded-proto: http\n"), "{path}: {text}");
    }
    assert!(ask(&cdn, "/", &[]).is_hit_at("edge-1"), "what did not reach the origin does not tell answers apart");
    // What is passed through is stored for nobody: the client's own affair, but for who it is.
    let url = format!("http://{}/upload", cdn.edge(1));
    let arguments = ["--header", "Host: shop.test", "--header", forged[0], "--header", forged[9], "--data-binary", "x", &url];
    let passed = curl(&arguments).text();
    assert!(passed.contains("x-http-method-override: evil") && !passed.contains("evil.test"), "{passed}");
}

#[test]
fn a_field_in_the_key_reaches_the_origin_as_the_client_sent_it_and_varies() {
    let origin = origin();
    let cdn = cdn(&origin, "key = { headers = [\"x-forwarded-host\"] }");
    let mine = ask(&cdn, "/", &["X-Forwarded-Host: evil.test"]);
    assert!(mine.text().contains("\nx-forwarded-host: evil.test\n"), "{mine:?}");
    let plain = ask(&cdn, "/", &[]);
    assert!(!plain.is_hit_at("edge-1") && plain.text().contains("\nx-forwarded-host: shop.test\n"), "{plain:?}");
    assert!(ask(&cdn, "/", &["X-Forwarded-Host: evil.test"]).is_hit_at("edge-1"));
    assert!(ask(&cdn, "/", &[]).text().contains("\nx-forwarded-host: shop.test\n"));
}

#[test]
fn a_head_too_large_for_a_shield_is_refused_by_the_edge_and_that_is_kept_for_nobody() {
    let origin = origin();
    let cdn = cdn(&origin, "negative = { status = [\"4xx\"], ttl = \"60s\" }");
    let long = |kib: usize| format!("X-Long: {}", "v".repeat(kib << 10));
    // Over HTTP/2 a head that a shield would not take does not come in at all; the largest that does gets room for what the edge adds.
    for (version, path, large) in [("--http1.1", "/1", long(70)), ("--http2-prior-knowledge", "/2", long(63))] {
        let url = format!("http://{}{path}", cdn.edge(1));
        let with = |field: &str| curl(&[version, "--header", "Host: shop.test", "--header", field, &url]);
        let refused = with(&large);
        assert_eq!((refused.status, refused.field("cache-status").as_str()), (431, "edge-1; detail=bad-request"), "{refused:?}");
        let plain = ask(&cdn, path, &[]);
        assert!(plain.status == 200 && !plain.is_hit_at("edge-1"), "{plain:?}");
        assert_eq!(with(&long(40)).status, 200);
    }
}
