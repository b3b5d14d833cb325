//! Where a request came from, by who is believed on it, and how the origin is told (RFC 7239, and the older `X-Forwarded-*`).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use skerry_config::site::{ForwardedAs, Forwarding};
use skerry_transport::hygiene::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};

/// Load balancers in a row that are followed; who is behind more of them is taken for the last one's client.
const HOPS_MAX: usize = 16;

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Came {
    /// The client, where one is known.
    client: Option<IpAddr>,
    /// The load balancers it came through, the last one connected to the edge.
    through: Vec<IpAddr>,
    /// The scheme that a load balancer was asked by.
    pub(crate) scheme: Option<&'static str>,
    /// Whether the connection is the client's own, and not that of somebody who is trusted.
    pub(crate) is_direct: bool,
}

impl Came {
    /// Follows the words of those in `forwarding.trust`, from the one that is connected on.
    pub(crate) fn of(peer: Option<IpAddr>, headers: &HeaderMap, forwarding: &Forwarding) -> Self {
        let Some(peer) = peer else { return Self::default() };
        let is_trusted = |ip: IpAddr| forwarding.trust.iter().any(|range| range.contains(&ip));
        if !is_trusted(peer) {
            return Self { client: Some(peer), through: Vec::new(), scheme: None, is_direct: true };
        }
        let (said, scheme) = said(headers);
        let (mut client, mut through) = (peer, Vec::new());
        for ip in said.into_iter().rev().take(HOPS_MAX) {
            // What is before a word that is no address was said by nobody who is known.
            let Some(ip) = ip.filter(|_| is_trusted(client)) else { break };
            through.push(client);
            client = ip;
        }
        through.reverse();
        Self { client: Some(client), through, scheme, is_direct: false }
    }

    /// The client's address.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The client, then whom it came through.
    fn hops(&self) -> impl Iterator<Item = IpAddr> {
        self.client.into_iter().chain(self.through.iter().copied())
    }

    /// Tells the origin. A host and a scheme that are in the fields stay: the site's key has them.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, ways: &[ForwardedAs], scheme: &'static str, authority: &str) {
        for way in ways {
            match way {
                ForwardedAs::XForwarded => {
                    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
                    if let Ok(host) = HeaderValue::from_str(authority) {
                        headers.entry(X_FORWARDED_HOST).or_insert(host);
                    }
                    let mut text = String::new();
                    for ip in self.hops() {
                        separate(&mut text);
                        // A String takes everything.
                        let _ = write!(text, "{ip}");
                    }
                    insert(headers, X_FORWARDED_FOR, text);
                }
                ForwardedAs::Forwarded => {
                    let mut text = String::with_capacity(64 + authority.len());
                    for ip in self.hops() {
                        separate(&mut text);
                        // RFC 7239 section 6.1: an IPv6 address is in brackets, and so in quotes.
                        let _ = if ip.is_ipv6() { write!(text, "for=\"[{ip}]\"") } else { write!(text, "for={ip}") };
                    }
                    if text.is_empty() {
                        text.push_str("for=unknown");
                    }
                    [";host=\"", authority, "\";proto=", scheme].iter().for_each(|piece| text.push_str(piece));
                    insert(headers, FORWARDED, text);
                }
            }
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Some(value) = HeaderValue::try_from(value).ok().filter(|value| !value.is_empty()) {
        headers.insert(name, value);
    }
}

fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push_str(", ");
    }
}

/// What the fields say: the addresses, the nearest last, `None` where it is no address; and the scheme.
fn said(headers: &HeaderMap) -> (Vec<Option<IpAddr>>, Option<&'static str>) {
    let members = |name: HeaderName| -> Vec<String> {
        let lines = headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
        lines.flat_map(|line| line.split(',').map(|member| member.trim().to_owned()).collect::<Vec<_>>()).collect()
    };
    let scheme = |text: Option<&str>| match text.map(str::to_ascii_lowercase).as_deref() {
        Some("http") => Some("http"),
        Some("https") => Some("https"),
        _ => None,
    };
    let plain = members(X_FORWARDED_FOR);
    if !plain.is_empty() {
        let proto = members(X_FORWARDED_PROTO);
        return (plain.iter().map(|text| address(text)).collect(), scheme(proto.last().map(String::as_str)));
    }
    let elements = members(FORWARDED);
    let of = |element: &str, wanted: &str| {
        let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        let mut values =
            pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().trim_matches('"').to_owned());
        values.next()
    };
    let addresses = elements.iter().map(|element| of(element, "for").and_then(|text| address(&text))).collect();
    (addresses, scheme(elements.last().and_then(|element| of(element, "proto")).as_deref()))
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(peer: &str, fields: &[(&'static str, &'static str)]) -> Came {
        let forwarding = Forwarding { trust: vec!["10.0.0.0/8".parse().unwrap()], ..Forwarding::default() };
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, value)| {
            headers.append(name, value);
        });
        Came::of(Some(peer.parse().unwrap()), &headers, &forwarding)
    }

    fn hops(came: &Came) -> String {
        came.hops().map(|ip| ip.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_those_who_are_trusted_are_believed() {
        for (peer, fields, expected) in [
            ("192.0.2.1", &[("x-forwarded-for", "198.51.100.1")][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1 10.0.0.1"),
            // What the client said of itself, before the load balancer, is dropped.
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 198.51.100.1, 10.0.0.2")], "198.51.100.1 10.0.0.2 10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.1")], "198.51.100.1 10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, nonsense")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1:4711")], "198.51.100.1 10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1, For=\"[2001:db8::1]:80\";proto=https")], "2001:db8::1 10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=1.1.1.1")], "198.51.100.1 10.0.0.1"),
        ] {
            assert_eq!(hops(&came(peer, fields)), expected, "{peer} {fields:?}");
        }
        let many: &'static str = Box::leak(["10.0.0.9"; 100].join(",").into_boxed_str());
        assert_eq!(came("10.0.0.1", &[("x-forwarded-for", many)]).hops().count(), HOPS_MAX + 1);
        assert!(came("192.0.2.1", &[("x-forwarded-for", "198.51.100.1")]).is_direct);
        assert!(!came("10.0.0.1", &[]).is_direct && !Came::default().is_direct);
        let scheme = |peer, fields| came(peer, fields).scheme;
        assert_eq!(scheme("10.0.0.1", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "http, HTTPS")]), Some("https"));
        assert_eq!(scheme("10.0.0.1", &[("forwarded", "for=1.1.1.1;proto=https")]), Some("https"));
        assert_eq!(scheme("192.0.2.1", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")]), None);
        assert_eq!(scheme("10.0.0.1", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "gopher")]), None);
    }

    #[test]
    fn the_origin_is_told_in_the_ways_the_site_wants() {
        let came = came("10.0.0.1", &[("x-forwarded-for", "2001:db8::1")]);
        let mut headers = HeaderMap::new();
        came.tell(&mut headers, &[], "https", "a.test");
        assert!(headers.is_empty());
        came.tell(&mut headers, &[ForwardedAs::XForwarded, ForwardedAs::Forwarded], "https", "a.test");
        assert_eq!(headers[X_FORWARDED_FOR], "2001:db8::1, 10.0.0.1");
        assert_eq!(
            (&headers[X_FORWARDED_PROTO], &headers[X_FORWARDED_HOST]),
            (&HeaderValue::from_static("https"), &HeaderValue::from_static("a.test"))
        );
        assert_eq!(headers[FORWARDED], "for=\"[2001:db8::1]\", for=10.0.0.1;host=\"a.test\";proto=https");
    }
}
