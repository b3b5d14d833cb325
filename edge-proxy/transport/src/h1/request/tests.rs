//! Heads, good and bad, in every cut.

use skerry_config::units::Size;

use super::*;

fn limits() -> Limits {
    Limits::default()
}

/// What the front door makes of `text` when it comes in two parts, cut at `cut`.
fn read_cut(text: &[u8], cut: usize) -> Result<Request, Refusal> {
    let mut finder = Finder::default();
    let limits = limits();
    if let Some(length) = finder.find(&text[..cut], &limits)? {
        return Request::read(&Bytes::copy_from_slice(&text[..length]), &limits, false);
    }
    let length = finder.find(text, &limits)?.expect("a whole head");
    Request::read(&Bytes::copy_from_slice(&text[..length]), &limits, false)
}

fn read(text: &str) -> Result<Request, Refusal> {
    let whole = read_cut(text.as_bytes(), 0).map_err(|refusal| (refusal, format!("{text:?}")));
    for cut in 1..text.len() {
        let again = read_cut(text.as_bytes(), cut);
        assert_eq!(again.as_ref().err(), whole.as_ref().err().map(|(refusal, _)| refusal), "{text:?} cut at {cut}");
    }
    whole.map_err(|(refusal, _)| refusal)
}

#[test]
fn a_request_is_read() {
    let request = read("GET /a?b=%20 HTTP/1.1\r\nHost: Shop.test:80\r\nAccept: */*\r\nX-Empty:\r\nX-Tab:\ta\tb \t\r\n\r\n").unwrap();
    assert_eq!((request.head.host(), request.head.path()), ("shop.test", "/a"));
    let Head { method, authority, path_and_query, headers, .. } = request.head;
    assert_eq!((method, authority.as_str(), path_and_query.as_str()), (Method::GET, "shop.test", "/a?b=%20"));
    assert_eq!(headers.len(), 3);
    assert_eq!(
        (&headers["accept"], &headers["x-empty"], &headers["x-tab"]),
        (&"*/*".parse().unwrap(), &"".parse().unwrap(), &"a\tb".parse().unwrap())
    );
    assert_eq!(request.rest, Rest { body: Body::None, waits: false, upgrade: false });
    assert!(request.keeps_alive && !request.is_old);
}

#[test]
fn who_keeps_the_connection() {
    for (version, connection, keeps) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let request = read(&format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n")).unwrap();
        assert_eq!(request.keeps_alive, keeps, "{version} {connection:?}");
        assert_eq!(request.is_old, version == "1.0");
    }
}

#[test]
fn where_the_body_ends_is_said_once() {
    for (fields, expected) in [
        ("", Ok(Body::None)),
        ("Content-Length: 0", Ok(Body::None)),
        ("Content-Length: 5", Ok(Body::Length(5))),
        ("Content-Length: 0005", Ok(Body::Length(5))),
        ("Transfer-Encoding: chunked", Ok(Body::Chunked)),
        ("Transfer-Encoding: Chunked", Ok(Body::Chunked)),
        ("Content-Length: 5\r\nContent-Length: 5", Err(Refusal::Framing)),
        ("Content-Length: 5\r\ncontent-length: 6", Err(Refusal::Framing)),
        ("Content-Length: 5, 5", Err(Refusal::Framing)),
        ("Content-Length:", Err(Refusal::Framing)),
        ("Content-Length: +5", Err(Refusal::Framing)),
        ("Content-Length: -5", Err(Refusal::Framing)),
        ("Content-Length: 0x5", Err(Refusal::Framing)),
        ("Content-Length: 5 5", Err(Refusal::Framing)),
        ("Content-Length: 18446744073709551616", Err(Refusal::Framing)),
        ("Content-Length: 1073741825", Err(Refusal::BodyLength)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Err(Refusal::Framing)),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", Err(Refusal::Framing)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err(Refusal::Framing)),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", Err(Refusal::Framing)),
        ("Transfer-Encoding: gzip, chunked", Err(Refusal::Coding)),
        ("Transfer-Encoding: chunked, gzip", Err(Refusal::Framing)),
        ("Transfer-Encoding: identity", Err(Refusal::Framing)),
        ("Transfer-Encoding: xchunked", Err(Refusal::Framing)),
        ("Transfer-Encoding: \"chunked\"", Err(Refusal::Framing)),
        ("Transfer-Encoding: chunked;q=1", Err(Refusal::Framing)),
        ("Transfer-Encoding: \u{b}chunked", Err(Refusal::Field)),
        ("Transfer-Encoding:", Err(Refusal::Framing)),
    ] {
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
        assert_eq!(read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).map(|request| request.rest.body), expected, "{fields:?}");
    }
    assert_eq!(read("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err(), Refusal::Framing);
}

#[test]
fn what_is_no_request_is_refused_by_name() {
    use Refusal::{Field, Host, Line, LineEnd, Method, Target, Version};
    for (text, refusal) in [
        ("GET / HTTP/1.1\nHost: a\n\n", LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", LineEnd),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd),
        ("\r\n  ba\r\n\r\n", Line),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Line),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n", Line),
        ("GET / HTTP/1.1.1\r\nHost: a\r\n\r\n", Line),
        ("GET / HTTP/1.\r\nHost: a\r\n\r\n", Line),
        ("GET /\r\n\r\n", Line),
        ("GET / XTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Version),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Method),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\t: a\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(: a\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{7f}b\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1b}b\r\n\r\n", Field),
        ("GET / HTTP/1.1\r\n\r\n", Host),
        ("GET / HTTP/1.0\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", Host),
        ("GET http://a/ HTTP/1.1\r\n\r\n", Host),
        ("GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", Host),
        ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", Host),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", Target),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /\u{fc} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ] {
        assert_eq!(read(text).map(|request| request.head.path_and_query), Err(refusal), "{text:?}");
    }
}

#[test]
fn an_absolute_target_is_that_of_its_host() {
    for (target, expected) in [("http://a/b?c", "/b?c"), ("HTTP://a", "/"), ("http://a?c", "/?c"), ("https://a/", "/")] {
        let request = read(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        assert_eq!((request.head.host(), request.head.path_and_query.as_str()), ("a", expected), "{target}");
    }
    assert!(read("GET http://a/ HTTP/1.0\r\n\r\n").is_ok(), "HTTP/1.0 knew no Host");
}

#[test]
fn every_bound_holds_exactly() {
    let fits_into = |text: &str, limits: &Limits| {
        let mut finder = Finder::default();
        let length = finder.find(text.as_bytes(), limits)?.expect("whole");
        Request::read(&Bytes::copy_from_slice(&text.as_bytes()[..length]), limits, false).map(|_| ())
    };
    let fits = |text: &str| fits_into(text, &limits());
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    assert_eq!(fits(&target(16 << 10)), Ok(()));
    assert_eq!(fits(&target((16 << 10) + 1)), Err(Refusal::TargetLength));
    let wide = Limits { target: Size(40 << 10), ..limits() };
    assert_eq!(fits_into(&target(40 << 10), &wide), Ok(()), "as much as the settings allow");
    assert_eq!(fits_into(&target((40 << 10) + 1), &wide), Err(Refusal::TargetLength));
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(count - 1));
    assert_eq!(fits(&many(128)), Ok(()));
    assert_eq!(fits(&many(129)), Err(Refusal::FieldCount));
    // `:method` with `GET`, `:path` with `/`, `Host` with `a`, and `X`, each 32 bytes more.
    let sized = |size: usize| {
        let others = (10 + 32) + (6 + 32) + (5 + 32) + (1 + 32);
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(size - others))
    };
    assert_eq!(fits(&sized(48 << 10)), Ok(()));
    assert_eq!(fits(&sized((48 << 10) + 1)), Err(Refusal::HeadLength));
}

#[test]
fn what_has_no_end_is_refused_before_one_comes() {
    for (begin, more, refusal) in [
        ("GET /", "a", Refusal::TargetLength),
        ("", "x", Refusal::TargetLength),
        ("GET / HTTP/1.1\r\nX: ", "a", Refusal::HeadLength),
        ("GET / HTTP/1.1\r\n", "X: a\r\n", Refusal::FieldCount),
    ] {
        let (mut finder, mut text) = (Finder::default(), begin.to_owned());
        let refused = loop {
            match finder.find(text.as_bytes(), &limits()) {
                Ok(found) => assert_eq!(found, None),
                Err(refusal) => break refusal,
            }
            text.push_str(more);
        };
        assert_eq!(refused, refusal, "{begin:?}");
        assert!(text.len() <= (48 << 10) + 2 * LINE_BYTES_MAX, "{begin:?}: {}", text.len());
    }
}
