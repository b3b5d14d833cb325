//! What is asked for and where: a URL, and the address that answers for its host.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use http::uri::PathAndQuery;

/// Something to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// Whether it is asked over TLS or QUIC (`https`).
    pub secure: bool,
    /// The host alone, lower case: what a certificate must be for.
    pub name: String,
    /// The `Host` field or `:authority`: host, and port where it is not the scheme's own.
    pub host: String,
    /// Path and query.
    pub path: PathAndQuery,
}

/// An address in place of what the name system says: `HOST:PORT:ADDRESS`, as curl has it, for URLs with that port; or `HOST:ADDRESS`; or
/// `HOST:ADDRESS:PORT`, to connect to another port than the URL's. An IPv6 address is in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    host: String,
    /// The port of the URLs that it is for; of none, for all.
    of: Option<u16>,
    address: IpAddr,
    /// The port to connect to, where it is not that of the URL.
    port: Option<u16>,
}

impl std::str::FromStr for Resolve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no HOST:ADDRESS such as shop.example.com:192.0.2.7 or shop.example.com:443:[2001:db8::7], IPv6 in brackets"
            )
        };
        let (host, rest) = text.split_once(':').filter(|(host, _)| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.to_ascii_lowercase();
        if let Ok(address) = rest.parse::<SocketAddr>() {
            return Ok(Self { host, of: None, address: address.ip(), port: Some(address.port()) });
        }
        let (of, address) = match rest.split_once(':').map(|(port, address)| (port.parse(), address)) {
            Some((Ok(port), address)) => (Some(port), address),
            _ => (None, rest),
        };
        let inner = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let address = match inner {
            Some(inner) => inner.parse().ok().map(IpAddr::V6),
            None => address.parse().ok().map(IpAddr::V4),
        };
        Ok(Self { host, of, address: address.ok_or_else(wrong)?, port: None })
    }
}

impl Target {
    /// Reads a URL and finds its address: the first of `resolve` for the host, else the system's first.
    ///
    /// # Errors
    /// A sentence: the URL is neither `http` nor `https`, has no host, or its host has no address.
    pub async fn find(url: &str, resolve: &[Resolve]) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
        let (secure, usual) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(format!("`{url}` is neither an http:// nor an https:// URL")),
        };
        let authority = uri.authority().ok_or_else(|| format!("`{url}` has no host"))?;
        let name = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(usual);
        let given = resolve.iter().find(|resolve| resolve.host == name && resolve.of.is_none_or(|of| of == port));
        let address = match given {
            Some(given) => SocketAddr::new(given.address, given.port.unwrap_or(port)),
            None => tokio::net::lookup_host((name.as_str(), port))
                .await
                .map_err(|error| format!("the host of `{url}` has no address: {error}"))?
                .next()
                .ok_or_else(|| format!("the host of `{url}` has no address"))?,
        };
        let host = match authority.port_u16() {
            Some(port) if port != usual => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { address, secure, name, host, path })
    }

    /// The path as what a request asks for: alone where the request line has it so (RFC 9112 section 3.2.1), else with scheme and host,
    /// from which the pseudo-header fields of HTTP/2 and HTTP/3 are made.
    ///
    /// # Errors
    /// A sentence: the host is none that a URL may have.
    pub fn uri(&self, path: &PathAndQuery, origin_form: bool) -> Result<Uri, String> {
        if origin_form {
            return Ok(Uri::from(path.clone()));
        }
        let scheme = if self.secure { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(self.host.as_str()).path_and_query(path.clone()).build();
        uri.map_err(|error| format!("`{}` is no host: {error}", self.host))
    }

    /// The path with one more query parameter, so that it names an object that nobody has asked for.
    #[must_use]
    pub fn unseen(&self, mark: &str, number: u64) -> PathAndQuery {
        let joint = if self.path.query().is_some() { '&' } else { '?' };
        let text = format!("{}{joint}unseen={mark}-{number}", self.path);
        text.parse().unwrap_or_else(|_| self.path.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(url: &str, resolve: &str) -> Result<(String, String, String), String> {
        let resolve: Vec<Resolve> = if resolve.is_empty() { Vec::new() } else { vec![resolve.parse()?] };
        let target = Target::find(url, &resolve).await?;
        Ok((target.address.to_string(), target.host, target.path.to_string()))
    }

    #[tokio::test]
    async fn a_url_and_a_given_address_make_a_target() {
        for (url, resolve, address, host, path) in [
            ("http://127.0.0.1:81/a?b=c", "", "127.0.0.1:81", "127.0.0.1:81", "/a?b=c"),
            ("http://[::1]:81", "", "[::1]:81", "[::1]:81", "/"),
            ("http://Shop.test/", "shop.test:127.0.0.2:8080", "127.0.0.2:8080", "Shop.test", "/"),
            ("http://shop.test:90/", "shop.test:127.0.0.2", "127.0.0.2:90", "shop.test:90", "/"),
            ("http://shop.test/", "shop.test:80:127.0.0.2", "127.0.0.2:80", "shop.test", "/"),
            ("https://shop.test/", "shop.test:443:[2001:db8::1]", "[2001:db8::1]:443", "shop.test", "/"),
            ("http://shop.test/", "shop.test:[::1]:90", "[::1]:90", "shop.test", "/"),
            ("https://shop.test/", "shop.test:[::1]", "[::1]:443", "shop.test", "/"),
            ("https://shop.test:80/", "shop.test:[::1]", "[::1]:80", "shop.test:80", "/"),
        ] {
            assert_eq!(find(url, resolve).await, Ok((address.into(), host.into(), path.into())), "{url} {resolve}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_a_sentence() {
        for (url, resolve, said) in [
            ("ftp://127.0.0.1/", "", "is neither an http:// nor an https:// URL"),
            ("/path", "", "is neither an http:// nor an https:// URL"),
            ("http://[", "", "is no URL"),
            ("http://shop.test/", "shop.test", "is no HOST:ADDRESS"),
            ("http://shop.test/", ":127.0.0.1", "is no HOST:ADDRESS"),
            ("http://shop.test/", "shop.test:nowhere", "is no HOST:ADDRESS"),
            // Would it be port 2001 or a part of the address?
            ("http://shop.test/", "shop.test:2001:db8::1", "IPv6 in brackets"),
            ("http://shop.test/", "shop.test:::1", "IPv6 in brackets"),
            ("http://shop.invalid/", "shop.invalid:443:127.0.0.1", "has no address"),
        ] {
            let error = find(url, resolve).await.expect_err(url);
            assert!(error.contains(said), "{error}");
        }
    }

    #[tokio::test]
    async fn a_request_has_the_form_of_its_protocol() {
        let target = Target::find("https://127.0.0.1:8443/a?b=c", &[]).await.expect("a target");
        assert_eq!(target.uri(&target.path, true).map(|uri| uri.to_string()), Ok("/a?b=c".to_owned()));
        assert_eq!(target.uri(&target.path, false).map(|uri| uri.to_string()), Ok("https://127.0.0.1:8443/a?b=c".to_owned()));
    }

    #[tokio::test]
    async fn an_unseen_path_keeps_the_query() {
        let target = Target::find("http://127.0.0.1/a?b=c", &[]).await.expect("a target");
        assert_eq!(target.unseen("m", 3), "/a?b=c&unseen=m-3");
        let target = Target::find("http://127.0.0.1/a", &[]).await.expect("a target");
        assert_eq!(target.unseen("m", 3), "/a?unseen=m-3");
    }
}
