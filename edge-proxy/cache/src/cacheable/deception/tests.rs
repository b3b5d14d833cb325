//! Tables. Web cache deception: Gil 2017; Mirheidari et al., "Cached and Confused", 2020.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use skerry_config::site::Negative;
use skerry_config::snapshot::Policy;
use skerry_config::units::Period;

use crate::cacheable::{Question, Refusal, Response, judge};
use crate::exchange::tests::house::{START, policy};

fn refused(path: &str, status: u16, fields: &[(&'static str, &str)], policy: &Policy) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let response =
        Response { status: StatusCode::from_u16(status).unwrap(), headers: &headers, age: None, requested_at: START, responded_at: START };
    let verdict = judge(Question { path, headers: &HeaderMap::new(), ranged: false }, response, policy);
    verdict.err() == Some(Refusal::Deception)
}

fn guarded() -> Policy {
    Policy { deception_guard: true, default_ttl: Period::from_secs(60), ..policy() }
}

const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

#[test]
fn a_page_under_the_name_of_a_file_is_refused() {
    for path in [
        "/account/x.css",
        "/account/x.CSS",
        "/account.php/nonexistent.js",
        "/account/a.b.woff2",
        "/account/x.css;y=z",
        "/account;x.css",
        "/account/%2ecss",
        "/account%2Fx%2Ecss",
        "/account%3Bx.css",
        "/account%3Fx.css",
        "/account/x.css%3Fy",
        "/account%23x.png",
        "/account%00x.css",
        "/account%0Ax.css",
        "/account%5Cx.css",
        "/account/x.css%00",
        "/account/x.css%20",
        "/account/x.css.",
        "/account/x.css.%20.",
    ] {
        assert!(refused(path, 200, &[HTML], &guarded()), "{path}");
        assert!(!refused(path, 200, &[HTML], &Policy { deception_guard: false, ..guarded() }), "{path}");
    }
}

#[test]
fn bytes_that_are_no_text_behind_a_media_type_do_not_hide_it() {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_bytes(b"text/html; name=\xe9").unwrap());
    let response = Response { status: StatusCode::OK, headers: &headers, age: None, requested_at: START, responded_at: START };
    let question = Question { path: "/account/x.css", headers: &HeaderMap::new(), ranged: false };
    assert_eq!(judge(question, response, &guarded()).err(), Some(Refusal::Deception));
}

#[test]
fn other_paths_may_be_pages() {
    for path in ["/", "/account", "/a.html", "/v1/x.json", "/a.css/", "/a.css/b", "/css", "/.well-known/x", "/a.cssx", "/a.c+ss", "/%zz.%"]
    {
        assert!(!refused(path, 200, &[HTML], &guarded()), "{path}");
    }
}

#[test]
fn the_type_decides() {
    for (path, media_type, expected) in [
        ("/a.css", "text/css", false),
        ("/a.css", "Text/HTML", true),
        ("/a.css", "application/xhtml+xml", true),
        ("/a.css", "application/json", true),
        ("/a.css", "application/problem+json", true),
        ("/a.js", "application/javascript", false),
        ("/a.js.map", "application/json", false),
        ("/a.js.map", "text/html", true),
        ("/a.svg", "image/svg+xml", false),
        ("/a.png", "image/webp", false),
        ("/a.css", "text/plain", false),
    ] {
        assert_eq!(refused(path, 200, &[("content-type", media_type)], &guarded()), expected, "{path} {media_type}");
    }
    assert!(!refused("/a.css", 200, &[], &guarded()), "without a type nothing contradicts the path");
}

#[test]
fn the_origins_word_to_shared_caches_counts() {
    for (field, expected) in [
        (("cache-control", "max-age=60"), true),
        (("cache-control", "max-age=60, public"), false),
        (("cache-control", "s-maxage=60"), false),
        (("cdn-cache-control", "max-age=60"), false),
        (("cdn-cache-control", "must-revalidate"), true),
    ] {
        assert_eq!(refused("/a.css", 200, &[HTML, field], &guarded()), expected, "{field:?}");
    }
}

#[test]
fn an_error_page_is_kept_where_somebody_gave_it_a_lifetime() {
    assert!(refused("/a.css", 404, &[HTML], &guarded()));
    assert!(!refused("/a.css", 404, &[HTML, ("cache-control", "max-age=60")], &guarded()));
    let listed = Policy { negative: Negative { status: vec!["404".parse().unwrap()], ttl: Period::from_secs(5) }, ..guarded() };
    assert!(!refused("/a.css", 404, &[HTML], &listed));
    assert!(!refused("/a.css", 301, &[HTML], &guarded()));
}
