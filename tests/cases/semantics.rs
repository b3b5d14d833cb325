//! What RFC 9111 asks of a shared cache, through edge and shield and over both protocols, as a client sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::house::cdn::SOON;
use crate::house::clients::Got;
use crate::house::{Cdn, Reply, Scripted, curl, wait_until};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

/// An origin that answers a path, its query left out, with these header lines; the body counts its answers.
fn origin(answers: &'static [(&'static str, &'static str)]) -> Scripted {
    let count = AtomicU64::new(0);
    Scripted::start(move |seen| {
        let path = seen.line().split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
        let lines = answers.iter().find(|(found, _)| *found == path).map_or("Cache-Control: max-age=60\r\n", |(_, lines)| lines);
        Reply::whole("200 OK", lines, &count.fetch_add(1, Ordering::Relaxed).to_string())
    })
}

/// Asks edge `number` for a path.
fn ask(cdn: &Cdn, number: usize, version: &str, path: &str, more: &[&str]) -> Got {
    let url = format!("http://{}{path}", cdn.edge(number));
    curl(&[&[version, "--header", "Host: a.test"], more, &[url.as_str()]].concat())
}

/// Each protocol, with a query that keeps its objects apart from the other's.
fn each() -> impl Iterator<Item = (&'static str, &'static str)> {
    VERSIONS.into_iter().zip(["?1", "?2"])
}

#[test]
fn rfc9111_4_2_3_age_adds_up_across_the_tiers() {
    let origin = origin(&[("/aged", "Cache-Control: max-age=1000\r\nAge: 100\r\n")]);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        let path = format!("/aged{query}");
        let age = |got: &Got| got.field("age").parse::<u64>().unwrap_or_else(|_| panic!("no age in {got:?}"));
        let first = age(&ask(&cdn, 1, version, &path, &[]));
        assert!((100..110).contains(&first), "{first}");
        wait_until("a second to pass", SOON, || age(&ask(&cdn, 1, version, &path, &[])) > first);
        let at_edge = age(&ask(&cdn, 1, version, &path, &[]));
        let other = ask(&cdn, 2, version, &path, &[]);
        assert!(other.is_hit_at("shield-1") && !other.is_hit_at("edge-2"), "{other:?}");
        // The time the shield had it counts at the other edge, and no tier counts it twice.
        assert!((at_edge.saturating_sub(1)..=at_edge + 3).contains(&age(&other)), "{at_edge} {other:?}");
        assert!(ask(&cdn, 2, version, &path, &[]).is_hit_at("edge-2"));
        assert_eq!(origin.seen(&path).len(), 1);
    }
}

#[test]
fn rfc9111_4_1_variants_are_told_apart_by_the_fields_named() {
    let origin = Scripted::start(|seen| {
        let head = seen.head.to_ascii_lowercase();
        let language = head.lines().find_map(|line| line.strip_prefix("accept-language: ")).unwrap_or("none").to_owned();
        let vary = if seen.line().contains("/star") { "*" } else { "Accept-Language" };
        Reply::whole("200 OK", &format!("Cache-Control: max-age=60\r\nVary: {vary}\r\n"), &language)
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        for language in ["de", "fr"] {
            let field = format!("Accept-Language: {language}");
            for hit in [false, true] {
                let got = ask(&cdn, 1, version, &format!("/{query}"), &["--header", &field]);
                assert!(got.text() == language && got.is_hit_at("edge-1") == hit, "{got:?}");
            }
        }
        assert!(!ask(&cdn, 1, version, &format!("/{query}"), &[]).is_hit_at("edge-1"));
        for _ in 0..2 {
            let star = ask(&cdn, 1, version, &format!("/star{query}"), &[]);
            assert!(!star.is_hit_at("edge-1") && !star.is_hit_at("shield-1"), "{star:?}");
        }
    }
}

#[test]
fn rfc9111_3_what_may_not_be_shared_is_stored_by_no_tier() {
    const PRIVATE: [(&str, &str); 4] = [
        ("/no-store", "Cache-Control: no-store, max-age=60\r\n"),
        ("/private", "Cache-Control: private, max-age=60\r\n"),
        ("/cookie", "Set-Cookie: id=1\r\n"),
        ("/targeted", "Cache-Control: max-age=60\r\nCDN-Cache-Control: no-store\r\n"),
    ];
    let origin = origin(&PRIVATE);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        for (path, _) in PRIVATE {
            let path = format!("{path}{query}");
            let bodies: Vec<String> = [1, 1, 2].iter().map(|edge| ask(&cdn, *edge, version, &path, &[]).text()).collect();
            assert_eq!(origin.seen(&path).len(), 3, "{path} {version}: {bodies:?}");
        }
    }
}

#[test]
fn rfc9111_3_5_an_authorized_answer_is_shared_only_where_the_origin_says_so() {
    let origin = origin(&[("/public", "Cache-Control: public, max-age=60\r\n"), ("/shared", "Cache-Control: s-maxage=60\r\n")]);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let mine = ["--header", "Authorization: Basic eDp5"];
    for (version, query) in each() {
        for (path, times) in [("/silent", 2), ("/public", 1), ("/shared", 1)] {
            let path = format!("{path}{query}");
            let hits = [1, 2].map(|_| ask(&cdn, 1, version, &path, &mine).is_hit_at("edge-1"));
            assert_eq!((hits, origin.seen(&path).len()), ([false, times == 1], times), "{path} {version}");
        }
    }
}

#[test]
fn rfc9111_4_3_4_a_304_updates_the_fields_of_what_is_stored() {
    let origin = Scripted::start(|seen| {
        let conditional = seen.head.to_ascii_lowercase().contains("if-none-match: \"1\"");
        let lines = format!("Cache-Control: max-age=0\r\nETag: \"1\"\r\nX-Turn: {0}\r\nContent-Type: text/t{0}\r\n", u8::from(conditional));
        if conditional {
            Reply::bytes(&format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n"))
        } else {
            Reply::whole("200 OK", &lines, "body")
        }
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        for turn in ["0", "1", "1"] {
            let got = ask(&cdn, 1, version, &format!("/{query}"), &[]);
            assert_eq!((got.status, got.text().as_str(), got.field("x-turn").as_str()), (200, "body", turn), "{got:?}");
            assert_eq!(got.field("content-type"), format!("text/t{turn}"), "through the tier between");
        }
    }
}

#[test]
fn rfc9111_5_2_2_2_must_revalidate_is_no_stale_answer_when_the_origin_fails() {
    let gone = Arc::new(AtomicU64::new(0));
    let seen_gone = Arc::clone(&gone);
    let origin = Scripted::start(move |seen| {
        if seen_gone.load(Ordering::Relaxed) > 0 {
            return Reply::bytes("").then_close();
        }
        let must = if seen.line().contains("/must") { ", must-revalidate" } else { "" };
        Reply::whole("200 OK", &format!("Cache-Control: max-age=0, stale-if-error=600{must}\r\nETag: \"1\"\r\n"), "body")
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        gone.store(0, Ordering::Relaxed);
        let (may, must) = (format!("/may{query}"), format!("/must{query}"));
        for path in [&may, &must] {
            assert_eq!(ask(&cdn, 1, version, path, &[]).text(), "body");
        }
        gone.store(1, Ordering::Relaxed);
        let covered = ask(&cdn, 1, version, &may, &[]);
        assert_eq!((covered.status, covered.text().as_str()), (200, "body"), "{covered:?}");
        let refused = ask(&cdn, 1, version, &must, &[]);
        assert!(refused.status == 502 || refused.status == 504, "{refused:?}");
    }
}

#[test]
fn rfc9213_the_most_specific_valid_field_decides() {
    let origin = origin(&[
        ("/cdn", "Cache-Control: no-store\r\nCDN-Cache-Control: max-age=60\r\n"),
        ("/own", "Cache-Control: no-store\r\nCDN-Cache-Control: no-store\r\nSkerry-Cache-Control: max-age=60\r\n"),
        ("/broken", "Cache-Control: max-age=60\r\nCDN-Cache-Control: max-age=;\r\n"),
    ]);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        for path in ["/cdn", "/own", "/broken"] {
            let hits = [1, 2].map(|_| {
                let got = ask(&cdn, 1, version, &format!("{path}{query}"), &[]);
                assert_eq!(got.field("skerry-cache-control"), "", "{got:?}");
                got.is_hit_at("edge-1")
            });
            assert_eq!(hits, [false, true], "{path} {version}");
        }
    }
}

#[test]
fn rfc9213_2_2_fields_for_other_caches_are_passed_on() {
    let origin = origin(&[("/", "Cache-Control: max-age=60\r\nOther-Cache-Control: no-store\r\nCDN-Cache-Control: max-age=50\r\n")]);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        for hit in [false, true] {
            let got = ask(&cdn, 1, version, &format!("/{query}"), &[]);
            assert_eq!(got.is_hit_at("edge-1"), hit, "{got:?}");
            let passed = ["cache-control", "other-cache-control", "cdn-cache-control"].map(|name| got.field(name));
            assert_eq!(passed, ["max-age=60", "no-store", "max-age=50"], "{got:?}");
        }
    }
}

#[test]
fn rfc9875_3_an_unsafe_request_invalidates_the_groups_its_answer_names() {
    let origin = Scripted::start(|seen| match seen.line().split(' ').nth(1).unwrap_or_default() {
        "/form" => Reply::whole("200 OK", "Cache-Control: no-store\r\nCache-Group-Invalidation: \"g\"\r\n", "done"),
        "/other" => Reply::whole("200 OK", "Cache-Control: max-age=60\r\nCache-Groups: \"h\"\r\n", "stored"),
        _ => Reply::whole("200 OK", "Cache-Control: max-age=60\r\nCache-Groups: \"g\", \"h\"\r\n", "stored"),
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for version in VERSIONS {
        let statuses = |path: &str| ask(&cdn, 1, version, path, &[]).field("cache-status");
        for path in ["/grouped", "/other"] {
            statuses(path);
            // The answer to a safe request invalidates nothing, whatever it says.
            assert_eq!(ask(&cdn, 1, version, "/form", &[]).text(), "done");
            assert!(statuses(path).contains("edge-1; hit"), "{path} {version}");
        }
        let posted = ask(&cdn, 1, version, "/form", &["--data-binary", "x"]);
        assert_eq!((posted.text().as_str(), posted.at("edge-1").as_str()), ("done", "fwd=method"), "{posted:?}");
        let grouped = statuses("/grouped");
        assert!(grouped.contains("edge-1; fwd=") && grouped.contains("shield-1; fwd="), "{version}: {grouped}");
        assert!(statuses("/other").contains("edge-1; hit"), "{version}");
    }
}

#[test]
fn rfc9111_5_2_2_4_a_cookie_named_by_no_cache_stays_out_of_the_store() {
    let origin = origin(&[("/", "Cache-Control: max-age=60, public, no-cache=\"Set-Cookie\"\r\nSet-Cookie: id=1\r\n")]);
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        let path = format!("/{query}");
        ask(&cdn, 1, version, &path, &[]);
        for edge in [1, 2] {
            let got = ask(&cdn, edge, version, &path, &[]);
            let from_a_store = got.field("cache-status").contains("; hit");
            assert!(got.field("set-cookie").is_empty() || !from_a_store, "a cookie out of a store: {got:?}");
        }
    }
}

#[test]
fn rfc9111_4_4_an_unsafe_request_invalidates_its_target_and_the_location_it_names() {
    let origin = Scripted::start(|seen| match seen.line() {
        line if line.starts_with("POST /fails") => Reply::whole("500 Oops", "", "no"),
        line if line.starts_with("POST /target") => {
            let query = line.split(' ').nth(1).and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
            Reply::whole("201 Created", &format!("Location: /made?{query}\r\nContent-Location: http://else.test/other?{query}\r\n"), "")
        }
        _ => Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "body"),
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, query) in each() {
        let path = |name: &str| format!("/{name}{query}");
        let is_hit = |name: &str| ask(&cdn, 1, version, &path(name), &[]).is_hit_at("edge-1");
        for name in ["target", "made", "other", "fails"] {
            assert!([is_hit(name), is_hit(name)] == [false, true], "{name} {version}");
        }
        assert_eq!(ask(&cdn, 1, version, &path("target"), &["--data-binary", "x"]).status, 201);
        assert_eq!(ask(&cdn, 1, version, &path("fails"), &["--data-binary", "x"]).status, 500);
        let hits = ["target", "made", "other", "fails"].map(is_hit);
        assert_eq!(hits, [false, false, true, true], "{version}: not of another host, and not by an error");
        // The shield forgot as well.
        assert_eq!(origin.seen(&path("target")).len(), 3, "{version}");
    }
}
