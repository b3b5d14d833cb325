//! The head of a request, validated once for every protocol.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use pingora::http::RequestHeader;
use skerry_config::process::Limits;

use crate::hygiene;

mod refusal;
mod url;

pub use refusal::Refusal;

/// The bytes of a field in the size of a head, as every protocol is held to `limits.head`: as HTTP/2 counts (RFC 9113 section 6.5.2).
pub(crate) const fn field_bytes(name: &str, value_bytes: usize) -> usize {
    name.len() + value_bytes + 32
}

/// A validated request head, without the fields of its connection.
#[derive(Clone, Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// `http` or `https`, as the connection was.
    pub scheme: &'static str,
    /// The host, lower case, without final dot, and with a port only if it is not the scheme's own.
    pub authority: String,
    /// So much of the authority is the host.
    host_bytes: usize,
    /// Whether a port was said that is the scheme's own.
    says_own_port: bool,
    /// Path and query as sent; starts with `/`.
    pub path_and_query: String,
    /// So much of that is the path.
    path_bytes: usize,
    /// End-to-end header fields, without `Host`.
    pub headers: HeaderMap,
    /// Whether the client asks for a WebSocket. Offers of any other protocol are not taken up (RFC 9110 section 7.8), least of all `h2c`, behind which
    /// further requests would reach the origin unseen.
    pub upgrade: bool,
}

/// The first line of a request, or the pseudo-fields in its place.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The method.
    pub method: Method,
    /// The version; HTTP/3 goes as HTTP/2, whose rules it has.
    pub version: Version,
    /// The authority of the target, if it has one.
    pub authority: Option<&'a str>,
    /// Path and query of the target, if it has any.
    pub path_and_query: Option<&'a str>,
}

impl Head {
    /// The host, lower case, without port and final dot.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.authority[..self.host_bytes]
    }

    /// The path, without query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path_and_query[..self.path_bytes]
    }

    /// Takes the request for one of this scheme, whatever its connection is: a tier asks another one over TLS also for what a client asked in cleartext.
    pub fn take_for(&mut self, https: bool) {
        let scheme = if https { "https" } else { "http" };
        if std::mem::replace(&mut self.scheme, scheme) == scheme {
            return;
        }
        let own = |https| format!(":{}", own_port(https));
        if std::mem::replace(&mut self.says_own_port, self.authority[self.host_bytes..] == own(https)) {
            self.authority.push_str(&own(!https));
        } else if self.says_own_port {
            self.authority.truncate(self.host_bytes);
        }
    }

    /// Whether a client may ask for so much, for the protocols that have the head in fields. `h1` looks while it reads.
    ///
    /// # Errors
    /// When the head, the number of fields, the target, or the body that is announced is above its limit.
    pub(crate) fn within(&self, limits: &Limits) -> Result<(), Refusal> {
        let fields: usize = self.headers.iter().map(|(name, value)| field_bytes(name.as_str(), value.len())).sum();
        let pseudo = [(":path", self.path_and_query.len()), (":authority", self.authority.len()), (":method", self.method.as_str().len())];
        let bytes = fields + pseudo.into_iter().map(|(name, value)| field_bytes(name, value)).sum::<usize>();
        let is_longer =
            |length: &HeaderValue| length.to_str().ok().and_then(|text| text.parse().ok()).is_none_or(|length: u64| length > limits.body.0);
        if self.path_and_query.len() as u64 > limits.target.0 {
            return Err(Refusal::TargetLength);
        }
        if bytes as u64 > limits.head.0 {
            return Err(Refusal::HeadLength);
        }
        if self.headers.len() > limits.fields as usize {
            return Err(Refusal::FieldCount);
        }
        if limits.body.0 > 0 && self.headers.get(header::CONTENT_LENGTH).is_some_and(is_longer) {
            return Err(Refusal::BodyLength);
        }
        Ok(())
    }

    /// Reads a head as Pingora parsed it.
    ///
    /// # Errors
    /// When host or target are not what RFC 9110 and 9112 ask for.
    pub fn read(request: &RequestHeader, tls: bool) -> Result<Self, Refusal> {
        if request.version != Version::HTTP_2 && !is_target(request.raw_path()) {
            return Err(Refusal::Target);
        }
        let line = Line {
            method: request.method.clone(),
            version: request.version,
            authority: request.uri.authority().map(http::uri::Authority::as_str),
            path_and_query: request.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        };
        Self::of(line, request.headers.clone(), tls)
    }

    /// Makes a head of what was parsed of it. How large it may be is judged where the limits are known.
    ///
    /// # Errors
    /// When host, target or framing are not what RFC 9110 and 9112 ask for.
    pub fn of(line: Line<'_>, mut headers: HeaderMap, tls: bool) -> Result<Self, Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, second) = (hosts.next().cloned(), hosts.next());
        if second.is_some() {
            return Err(Refusal::Host);
        }
        if host.is_some() {
            headers.remove(header::HOST);
        }
        Self::hosted(line, host.as_ref().map(HeaderValue::as_bytes), headers, tls)
    }

    /// Makes a head of what was parsed of it: `host` is the one `Host` field, which is not among the others.
    pub(crate) fn hosted(line: Line<'_>, host: Option<&[u8]>, mut headers: HeaderMap, tls: bool) -> Result<Self, Refusal> {
        if line.method == Method::CONNECT {
            return Err(Refusal::Method);
        }
        let scheme = if tls { "https" } else { "http" };
        let Authority { text: authority, host_bytes, says_own_port } = host_of(&line, host, tls)?;
        // Most requests have none of these, and one look at the names costs less than asking for each.
        let of_connection = hygiene::has_hop_by_hop(&headers);
        if !is_framed(&headers, of_connection) {
            return Err(Refusal::Framing);
        }
        if line.version == Version::HTTP_2 && headers.values().any(has_space_around) {
            return Err(Refusal::Field);
        }
        let path_and_query = match line.path_and_query {
            Some(target) if target.starts_with('/') => target.to_owned(),
            Some(target) if target.starts_with('?') => format!("/{target}"),
            None => "/".to_owned(),
            Some(_) => return Err(Refusal::Target),
        };
        let path_bytes = path_and_query.bytes().position(|byte| byte == b'?').unwrap_or(path_and_query.len());
        let (path, query) = path_and_query.split_at(path_bytes);
        if !is_written_well(path, query) {
            return Err(Refusal::Target);
        }
        let upgrade = line.version == Version::HTTP_11
            && of_connection
            && names(&headers, &header::CONNECTION, "upgrade")
            && names(&headers, &header::UPGRADE, "websocket");
        if of_connection {
            hygiene::strip_hop_by_hop(&mut headers);
        }
        join_cookies(&mut headers);
        Ok(Self { method: line.method, scheme, authority, host_bytes, says_own_port, path_and_query, path_bytes, headers, upgrade })
    }
}

/// Whether a target of HTTP/1.1 has the origin or the absolute form (RFC 9112 section 3.2). Of any other, as of `name` or `name:80`, Pingora's URI
/// says `/`, while it passes on the target as it came.
fn is_target(raw: &[u8]) -> bool {
    let begins = |with: &str| raw.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()));
    ["/", "http://", "https://"].into_iter().any(begins)
}

/// Whether path and query have only characters that every reader takes for the same (RFC 3986 section 2). Browsers send some that are none of a
/// URI's, which are let pass; what begins a fragment, what no parser of URIs reads, and what is not ASCII is not.
fn is_written_well(path: &str, query: &str) -> bool {
    let stands = |byte: u8| WRITTEN_WELL[usize::from(byte)];
    path.bytes().all(|byte| stands(byte) == Well::Anywhere) && query.bytes().all(|byte| stands(byte) != Well::Nowhere)
}

/// Where in a target a byte may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Well {
    Anywhere,
    InQueries,
    Nowhere,
}

const WRITTEN_WELL: [Well; 256] = {
    let mut table = [Well::Nowhere; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] = match byte {
            b'#' | b'<' | b'>' => Well::Nowhere,
            b'`' => Well::InQueries,
            _ => Well::Anywhere,
        };
        byte += 1;
    }
    table
};

/// Whether a list field has this member, whatever its case.
pub(crate) fn names(headers: &HeaderMap, field: &HeaderName, member: &str) -> bool {
    let values = headers.get_all(field).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(member))
}

/// Whether space stands at either end of a value, where HTTP/2 and HTTP/3 allow none (RFC 9113 section 8.2.1, RFC 9114 section 4.2).
fn has_space_around(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
}

/// Whether at most one thing says where the body ends: a single number, or chunks without any other coding. `of_connection` says whether there are
/// fields of the connection at all, `Transfer-Encoding` among them.
fn is_framed(headers: &HeaderMap, of_connection: bool) -> bool {
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        (values.next().map(HeaderValue::as_bytes), values.next().is_some())
    };
    let coding = if of_connection { only(header::TRANSFER_ENCODING) } else { (None, false) };
    match (coding, only(header::CONTENT_LENGTH)) {
        ((None, _), (None, _)) => true,
        ((Some(coding), false), (None, _)) => coding.eq_ignore_ascii_case(b"chunked"),
        ((None, _), (Some(length), false)) => !length.is_empty() && length.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Host and port, as [`Head`] has them.
#[derive(Debug)]
struct Authority {
    text: String,
    host_bytes: usize,
    says_own_port: bool,
}

/// Host and authority: of the target when it has one (RFC 9112 section 3.2.2), else of the `Host` field.
fn host_of(line: &Line<'_>, field: Option<&[u8]>, tls: bool) -> Result<Authority, Refusal> {
    let said = || field.and_then(|field| Authority::of(std::str::from_utf8(field).ok()?, tls));
    let Some(authority) = line.authority else { return said().ok_or(Refusal::Host) };
    let found = Authority::of(authority, tls).ok_or(Refusal::Host)?;
    // RFC 9113 section 8.3.1: over HTTP/2 both may be there, and must then be the same.
    if line.version == Version::HTTP_2 && field.is_some() && said().is_none_or(|said| said.text != found.text) {
        return Err(Refusal::Host);
    }
    Ok(found)
}

/// The port of a scheme (RFC 9110 section 4.2).
const fn own_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl Authority {
    /// Reads `host[:port]`, lower-cased, and drops a port that is the scheme's own. `None` for anything that is not a host.
    fn of(text: &str, tls: bool) -> Option<Self> {
        let (host, port) = match memchr::memrchr(b':', text.as_bytes()) {
            Some(colon) if !text[colon..].contains(']') => (&text[..colon], Some(&text[colon + 1..])),
            _ => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_v6 = || {
            host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|rest| rest.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if host.is_empty() || host.len() > 253 || !(host.bytes().all(is_name) || is_v6()) {
            return None;
        }
        let port = match port {
            None | Some("") => None,
            Some(digits) => Some(digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok())??),
        };
        let mut text = String::with_capacity(host.len() + ":65535".len());
        text.push_str(host);
        text.make_ascii_lowercase();
        let says_own_port = port == Some(own_port(tls));
        if let Some(port) = port.filter(|_| !says_own_port) {
            text.push(':');
            text.push_str(itoa::Buffer::new().format(port));
        }
        Some(Self { text, host_bytes: host.len(), says_own_port })
    }
}

/// Joins the `Cookie` fields that HTTP/2 allows to be split (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, hosts: &[&str]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for host in hosts {
            request.append_header("Host", *host).unwrap();
        }
        request
    }

    #[test]
    fn hosts_are_normalised() {
        for (text, tls, host, authority) in [
            ("Example.COM", false, "example.com", "example.com"),
            ("example.com:80", false, "example.com", "example.com"),
            ("example.com:80", true, "example.com", "example.com:80"),
            ("example.com:443", true, "example.com", "example.com"),
            ("example.com.:8080", false, "example.com", "example.com:8080"),
            ("example.com:", false, "example.com", "example.com"),
            ("127.0.0.1:8080", false, "127.0.0.1", "127.0.0.1:8080"),
            ("[::1]:8080", false, "[::1]", "[::1]:8080"),
            ("[::1]", false, "[::1]", "[::1]"),
        ] {
            let found = Authority::of(text, tls).unwrap();
            assert_eq!((found.text.as_str(), &found.text[..found.host_bytes]), (authority, host), "{text}");
        }
    }

    #[test]
    fn a_head_is_the_same_whether_its_scheme_is_known_before_or_after() {
        for host in ["a", "a:80", "a:443", "a:8080", "[::1]", "[::1]:80", "[::1]:443"] {
            for (tls, https) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut head = Head::read(&request("/", &[host]), tls).unwrap();
                head.take_for(https);
                let expected = Head::read(&request("/", &[host]), https).unwrap();
                assert_eq!((head.scheme, &head.authority, head.host()), (expected.scheme, &expected.authority, expected.host()), "{host}");
            }
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", ".", "a b", "a/b", "user@host", "host:port", "host:99999", "host:+80", "[::1", "ho\u{e9}st", "a,b"] {
            assert!(Authority::of(text, false).is_none(), "{text}");
        }
        assert_eq!(Head::read(&request("/", &[]), false).unwrap_err(), Refusal::Host);
        assert_eq!(Head::read(&request("/", &["a", "b"]), false).unwrap_err(), Refusal::Host);
    }

    #[test]
    fn the_target_is_an_absolute_path() {
        assert_eq!(Head::read(&request("/a?b", &["h"]), false).unwrap().path_and_query, "/a?b");
        assert_eq!(Head::read(&request("/a?b", &["h"]), false).unwrap().path(), "/a");
        let mut absolute = request("/", &["h"]);
        absolute.set_uri("http://Other/a".parse().unwrap());
        assert_eq!(Head::read(&absolute, false).unwrap().host(), "other");
        for target in ["*", "a", "other.test", "other.test:80"] {
            assert_eq!(Head::read(&request(target, &["h"]), false).unwrap_err(), Refusal::Target, "{target}");
        }
    }

    #[test]
    fn over_http2_host_and_authority_are_the_same() {
        for (host, fine) in [("Other", true), ("other:80", true), ("else", false), ("other:81", false), ("\u{e9}", false)] {
            let mut asked = request("/", &[host]);
            asked.set_uri("http://other/a".parse().unwrap());
            assert!(Head::read(&asked, false).is_ok(), "{host}: over HTTP/1.1 the target counts");
            asked.set_version(Version::HTTP_2);
            assert_eq!(Head::read(&asked, false).is_ok(), fine, "{host}");
        }
    }

    #[test]
    fn only_a_websocket_is_an_upgrade() {
        for (connection, upgrade, expected) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("Upgrade, HTTP2-Settings", "h2c", false),
            ("Upgrade", "TLS/1.0", false),
        ] {
            let mut asked = request("/", &["h"]);
            asked.append_header("connection", connection).unwrap();
            asked.append_header("upgrade", upgrade).unwrap();
            assert_eq!(Head::read(&asked, false).unwrap().upgrade, expected, "{connection} {upgrade}");
        }
    }

    #[test]
    fn a_body_whose_end_is_in_doubt_is_refused() {
        for (fields, framed) in [
            (&[("content-length", "5")][..], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("content-length", "5, 5")], false),
            (&[("content-length", "+5")], false),
            (&[("content-length", "")], false),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], false),
        ] {
            let mut asked = request("/", &["h"]);
            for (name, value) in fields {
                asked.append_header(*name, *value).unwrap();
            }
            assert_eq!(Head::read(&asked, false).err(), (!framed).then_some(Refusal::Framing), "{fields:?}");
        }
    }
}
