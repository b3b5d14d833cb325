//! The syntax of names: labels, host names, authorities, header fields. Each function answers what is wrong, without the value.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::limits::{DNS_NAME_BYTES_MAX, FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX};

/// Fields that never tell one stored answer from another: secrets, and what tells clients apart.
const NOT_IN_KEY: &[(&str, &str)] = &[
    ("cookie", "differs from client to client; name the cookies that count in key.cookies"),
    ("authorization", "is a secret of one client; pass such requests on with bypass = true"),
    ("host", "counts in every key already; leave it out"),
    ("skerry-device", "is what the edge makes of the client; write device = true in its place"),
    ("skerry-country", "is what the edge makes of the client; write country = true in its place"),
];

/// Fields that no rule can ask for, because the tiers write them or every request has them.
const NOT_IN_MATCH: &[(&str, &str)] =
    &[("cookie", "is not matched as a whole; write cookie = \"*\" in its place"), ("host", "is in every request; write host in its place")];

/// Fields that a tier removes or writes, so that what a client says in them counts nowhere.
const OF_THE_TIERS: &[(&str, &str)] = &[
    ("proxy-authorization", "is a secret of one connection and never reaches the cache; leave it out"),
    ("connection", "is about one connection; leave it out"),
    ("keep-alive", "is about one connection; leave it out"),
    ("proxy-connection", "is about one connection; leave it out"),
    ("te", "is about one connection; leave it out"),
    ("trailer", "is about one connection; leave it out"),
    ("transfer-encoding", "is about one connection; leave it out"),
    ("upgrade", "is about one connection; leave it out"),
    ("if-match", "is the origin's to evaluate and does not come along when something is fetched for the cache; leave it out"),
    ("if-none-match", "is about one use of an answer, and the cache evaluates it against what it stores; leave it out"),
    ("if-modified-since", "is about one use of an answer, and the cache evaluates it against what it stores; leave it out"),
    ("if-unmodified-since", "is the origin's to evaluate and does not come along when something is fetched for the cache; leave it out"),
    ("if-range", "is about one use of an answer, and the cache evaluates it against what it stores; leave it out"),
    ("range", "is about one use of an answer, and the cache evaluates it against what it stores; leave it out"),
    ("expect", "is about one connection; leave it out"),
    ("cdn-loop", "is written by the edge itself; leave it out"),
    ("via", "is written by the edge itself; leave it out"),
    ("x-forwarded-for", "is written by the edge itself, from the client's address; leave it out"),
    ("x-real-ip", "tells clients apart and is taken out of their requests; leave it out"),
];

/// A name of a site, a node or a region: a DNS label in lower case.
pub(crate) fn label(name: &str) -> Result<(), &'static str> {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = (1..=LABEL_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| inside(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good { Ok(()) } else { Err("write 1 to 63 characters of a-z, 0-9 and -, the first and the last a letter or digit") }
}

/// A host name of ASCII labels (RFC 1123 section 2.1), in any case.
pub(crate) fn host(name: &str) -> Result<(), &'static str> {
    if !name.is_ascii() {
        return Err("is not ASCII; write the name in punycode, with labels such as xn--bcher-kva");
    }
    if name.is_empty() {
        return Err("is empty; write a host name such as shop.example.com");
    }
    if name.ends_with('.') {
        return Err("ends with a dot; leave the dot out");
    }
    if name.len() > DNS_NAME_BYTES_MAX {
        return Err("is longer than 253 characters");
    }
    if name.split('.').any(|part| part.is_empty() || part.len() > LABEL_BYTES_MAX) {
        return Err("has a label that is empty or longer than 63 characters");
    }
    let good = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !part.starts_with('-') && !part.ends_with('-')
    };
    if !name.split('.').all(good) {
        return Err(
            "is not a host name; write labels of letters, digits and inner hyphens with dots between, and neither scheme, port nor path",
        );
    }
    if name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && name.parse::<Ipv4Addr>().is_err() {
        return Err("is neither a host name nor an IPv4 address");
    }
    Ok(())
}

/// The name of a declared record, or one that it names: a host name that may have labels with underscores (RFC 8552).
pub(crate) fn owner(name: &str) -> Result<(), &'static str> {
    if name.contains('*') {
        return Err("has a star; declare a record for each name, or a site with a wildcard as host");
    }
    if name.is_empty() || name.parse::<std::net::IpAddr>().is_ok() {
        return Err("is no name; write one such as mail.example.net");
    }
    // Each underscore stands where a letter may.
    host(&name.replace('_', "x"))
}

/// A host of a site: a host name, `*.` before one, or `*`.
pub(crate) fn site_host(name: &str) -> Result<(), &'static str> {
    if name == "*" {
        return Ok(());
    }
    let bare = name.strip_prefix("*.").unwrap_or(name);
    if bare.contains('*') {
        return Err("has a star in the wrong place; write *.example.com for all names below example.com, or * for every host");
    }
    if bare.len() < name.len() && bare.parse::<Ipv4Addr>().is_ok() {
        return Err("puts a star before an address; write the address alone");
    }
    host(bare)
}

/// Whether `pattern`, a host of a site, covers the exact name `name`. Both lower case.
pub(crate) fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
        None => pattern == name,
    }
}

/// `host`, `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`, with the host in lower case and without brackets.
pub(crate) fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (name, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(None) => return Err("opens a bracket and does not close it".to_owned()),
        Some(Some((address, rest))) => {
            let address: Ipv6Addr = address.parse().map_err(|_| "has no IPv6 address between its brackets".to_owned())?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':').ok_or("goes on after the bracket with something else than a port")?),
            };
            (address.to_string(), port)
        }
        None => {
            let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
            if port.is_some_and(|port| port.contains(':')) {
                return Err("has more than one colon; write an IPv6 address in brackets".to_owned());
            }
            host(name).map_err(|why| format!("has a host that {why}"))?;
            (name.to_ascii_lowercase(), port)
        }
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err("has a port that is none; write 1 to 65535".to_owned()),
        },
        Some(_) => return Err("has a port that is none; write 1 to 65535".to_owned()),
    };
    Ok((name, port))
}

/// A request header field that may count in a key.
pub(crate) fn key_header(name: &str) -> Result<(), &'static str> {
    field(name)?;
    refused(name, NOT_IN_KEY)
}

/// A request header field that a rule may ask for.
pub(crate) fn match_header(name: &str) -> Result<(), &'static str> {
    field(name)?;
    refused(name, NOT_IN_MATCH)
}

fn field(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > FIELD_NAME_BYTES_MAX || http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("is not the name of a header field");
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("has capitals; write it in lower case");
    }
    Ok(())
}

fn refused(name: &str, table: &[(&str, &'static str)]) -> Result<(), &'static str> {
    match table.iter().chain(OF_THE_TIERS).find(|(refused, _)| *refused == name) {
        Some((_, why)) => Err(why),
        None if name.starts_with("skerry-") => Err("is taken out of clients' requests; choose a name that does not begin with skerry-"),
        None => Ok(()),
    }
}

/// The exact name of a cookie: a token (RFC 6265 section 4.1.1) without a star.
pub(crate) fn cookie(name: &str) -> Result<(), &'static str> {
    if name.contains('*') {
        return Err("has a star; write the exact name of a cookie, because each counts by itself");
    }
    cookie_pattern(name)
}

/// The name of a cookie, or its beginning and a star.
pub(crate) fn cookie_pattern(pattern: &str) -> Result<(), &'static str> {
    if pattern.is_empty() {
        return Err("is empty; write a cookie's name, or its beginning and *");
    }
    if pattern.len() > FIELD_NAME_BYTES_MAX {
        return Err("is longer than 256 bytes");
    }
    let start = pattern.strip_suffix('*').unwrap_or(pattern);
    if start.contains('*') {
        return Err("has a star in the wrong place; write it at the end, for every name that begins so");
    }
    if start.bytes().all(is_token) { Ok(()) } else { Err("is not the name of a cookie; write the name alone, without = and value") }
}

/// Whether one cookie may have a name that fits both patterns.
pub(crate) fn cookie_patterns_meet(one: &str, other: &str) -> bool {
    match (one.strip_suffix('*'), other.strip_suffix('*')) {
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
        (Some(start), None) => other.starts_with(start),
        (None, Some(start)) => one.starts_with(start),
        (None, None) => one == other,
    }
}

/// A media type without parameters, in lower case: `type/subtype`, or `type/*`.
pub(crate) fn media_type(text: &str) -> Result<(), &'static str> {
    if text.contains(';') {
        return Err("has parameters; write the media type alone");
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("has capitals; write it in lower case");
    }
    let token = |part: &str| !part.is_empty() && !part.contains('*') && part.bytes().all(is_token);
    let good = text.len() <= FIELD_NAME_BYTES_MAX
        && text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && (subtype == "*" || token(subtype)));
    if good { Ok(()) } else { Err("is not a media type; write one such as text/html, or image/* for all of a kind") }
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
