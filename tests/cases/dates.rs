//! `Date` is the origin's, whichever way an answer takes (RFC 9110 section 6.6.1), and lifetimes count from it.

use crate::house::clients::Got;
use crate::house::{Cdn, Reply, Scripted, curl};

const OLD: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";
const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

fn origin() -> Scripted {
    Scripted::start(|seen| {
        let path = seen.line().split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let (date, more) = match path {
            "/old" => (OLD, "Cache-Control: max-age=2000000000\r\nETag: \"1\"\r\n"),
            "/future" => (FUTURE, "Cache-Control: max-age=60\r\nETag: \"1\"\r\n"),
            "/expired" => (FUTURE, "Expires: Thu, 31 Dec 2099 23:59:59 GMT\r\n"),
            "/private" => (OLD, "Cache-Control: no-store\r\n"),
            _ => return Reply::whole("200 OK", "Cache-Control: max-age=60\r\n", "dateless"),
        };
        Reply::whole("200 OK", &format!("Date: {date}\r\n{more}"), "dated")
    })
}

fn ask(cdn: &Cdn, version: &str, path: &str, more: &[&str]) -> Got {
    let url = format!("http://{}{path}", cdn.edge(1));
    curl(&[&[version, "--header", "Host: a.test"], more, &[url.as_str()]].concat())
}

#[test]
fn an_answer_keeps_the_date_of_its_origin() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for (version, name) in VERSIONS.iter().zip(["1", "2"]) {
        for (path, date) in [("/old", OLD), ("/future", FUTURE)] {
            let path = format!("{path}?{name}");
            let miss = ask(&cdn, version, &path, &[]);
            assert!(!miss.is_hit_at("edge-1"), "{miss:?}");
            assert_eq!(miss.field("date"), date, "{miss:?}");
            let hit = ask(&cdn, version, &path, &[]);
            assert!(hit.is_hit_at("edge-1"), "{hit:?}");
            assert_eq!(hit.field("date"), date, "{hit:?}");
            let confirmed = ask(&cdn, version, &path, &["--header", "If-None-Match: \"1\""]);
            assert_eq!((confirmed.status, confirmed.field("date").as_str()), (304, date), "{confirmed:?}");
            let sent = ask(&cdn, version, &path, &["--data-binary", "x"]);
            assert_eq!(sent.field("date"), date, "{sent:?}");
        }
        let private = ask(&cdn, version, "/private", &[]);
        assert_eq!(private.field("date"), OLD, "{private:?}");
        let dateless = ask(&cdn, version, "/dateless", &[]);
        assert!(dateless.field("date").ends_with(" GMT"), "{dateless:?}");
    }
}

#[test]
fn what_expired_before_its_date_is_never_fresh() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for version in VERSIONS {
        for _ in 0..2 {
            let got = ask(&cdn, version, "/expired", &[]);
            assert!(got.status == 200 && !got.is_hit_at("edge-1") && !got.is_hit_at("shield-1"), "{got:?}");
        }
    }
    assert_eq!(origin.seen("/expired").len(), 4);
}
