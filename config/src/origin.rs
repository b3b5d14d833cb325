//! The URL of an origin server, taken apart: scheme, host, port, and nothing else.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::check::fault::quoted;
use crate::check::names;

/// An origin server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Whether it is spoken to over TLS (`https`).
    pub tls: bool,
    /// A host name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port; 80 or 443 when the URL has none.
    pub port: u16,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |says: &str| format!("{} {says}", quoted(text));
        let write = "is not an origin; write \"http://host[:port]\" or \"https://host[:port]\"";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(write))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("has a scheme that origins are not spoken to by; write http or https")),
        };
        if rest.contains('@') {
            // What is before the @ may be a password: a fault does not repeat it.
            return Err("the URL holds a user name or password; write only scheme, host and port".to_owned());
        }
        if let Some(end) = rest.find(['/', '?', '#']) {
            let bare = &text[..text.len() - rest.len() + end];
            return Err(wrong(&format!("goes on after the host; write {}", quoted(bare))));
        }
        let (host, port) = names::host_and_port(rest).map_err(|why| wrong(&why))?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "https://" } else { "http://" })?;
        if self.host.parse::<Ipv6Addr>().is_ok() {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if self.port == if self.tls { 443 } else { 80 } { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_url_apart_and_writes_it_in_its_shortest_form() {
        for (text, tls, host, port, written) in [
            ("http://a", false, "a", 80, "http://a"),
            ("HTTPS://A.Example.Net", true, "a.example.net", 443, "https://a.example.net"),
            ("https://a.example.net:8443", true, "a.example.net", 8443, "https://a.example.net:8443"),
            ("http://192.0.2.1:80", false, "192.0.2.1", 80, "http://192.0.2.1"),
            ("https://[2001:DB8::1]:444", true, "2001:db8::1", 444, "https://[2001:db8::1]:444"),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server, Server { tls, host: host.to_owned(), port });
            assert_eq!(server.to_string(), written);
            assert_eq!(written.parse::<Server>().unwrap(), server);
        }
    }

    #[test]
    fn refuses_what_is_more_or_less_than_an_origin() {
        for text in [
            "",
            "a.example.net",
            "//a",
            "ftp://a",
            "http://",
            "http://a/",
            "http://a?b",
            "http://a#b",
            "http://u@a",
            "http://a:0",
            "http://a:65536",
            "http://a:",
            "http://a:+80",
            "http://::1",
            "http://[::1",
            "http://[fe80::1%25eth0]",
            "http://a b",
            "http://bücher.example",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text:?}");
        }
    }
}
