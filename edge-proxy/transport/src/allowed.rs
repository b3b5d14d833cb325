//! Which addresses origins may have. A site names its origins, and its author is not the operator of the node: what is not on the public internet, the
//! node's own loopback and the metadata service of its cloud among it, is connected to only where the process settings allow it.
//!
//! Judges addresses as they are connected to, after names are resolved, so that no name leads to what its address may not be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What the process settings say of the addresses of origins.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    prefixes: Vec<IpNet>,
}

impl Allowed {
    /// Beside the public internet, these prefixes.
    #[must_use]
    pub fn new(prefixes: &[IpNet]) -> Self {
        Self { prefixes: prefixes.to_vec() }
    }

    /// Whether an origin may be connected to at `ip`: where it is public, or in an allowed prefix. An IPv6 address that carries one of IPv4 is judged by
    /// that one.
    ///
    /// # Errors
    /// What the address is, in one word or two.
    pub fn may_connect(&self, ip: IpAddr) -> Result<(), &'static str> {
        let ip = ip.to_canonical();
        let Some(what) = not_public(ip) else { return Ok(()) };
        let carried = if let IpAddr::V6(ip) = ip { carried(ip).map(IpAddr::V4) } else { None };
        let allows = |ip: &IpAddr| self.prefixes.iter().any(|prefix| prefix.contains(ip));
        if [Some(ip), carried].iter().flatten().any(allows) { Ok(()) } else { Err(what) }
    }
}

/// What an address is that is not public, by the registries of special addresses (RFC 6890).
fn not_public(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => not_public_v4(ip),
        IpAddr::V6(ip) => not_public_v6(ip),
    }
}

fn not_public_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [0, ..] => Some("unspecified"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared by a carrier"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] | [198, 18 | 19, ..] | [240..=255, ..] => Some("reserved"),
        [224..=239, ..] => Some("multicast"),
        _ => None,
    }
}

fn not_public_v6(ip: Ipv6Addr) -> Option<&'static str> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("private"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        // Translation within one network (RFC 8215), and Teredo, whose addresses hide one of IPv4 behind a NAT (RFC 4380).
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => Some("reserved"),
        _ => carried(ip).and_then(not_public_v4),
    }
}

/// The IPv4 address that a translator or a tunnel would connect to for an IPv6 address: NAT64 (RFC 6052), 6to4 (RFC 3056), the long deprecated
/// IPv4-compatible form (RFC 4291 section 2.5.5.1).
fn carried(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let two = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => Some(two(high, low)),
        [0x2002, high, low, ..] => Some(two(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(allow: &[&str], ip: &str) -> Result<(), &'static str> {
        let prefixes: Vec<IpNet> = allow.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Allowed::new(&prefixes).may_connect(ip.parse().unwrap())
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_form() {
        for (ip, what) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.1", "shared by a carrier"),
            ("100.127.255.255", "shared by a carrier"),
            ("127.0.0.1", "loopback"),
            ("127.255.0.9", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.8", "reserved"),
            ("192.168.0.1", "private"),
            ("198.19.0.1", "reserved"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:a00:1", "private"),
            ("::7f00:1", "loopback"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::8.8.8.8", "reserved"),
            ("2002:a00:1::1", "private"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),
            ("fc00::1", "private"),
            ("fdff:ffff::1", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ] {
            assert_eq!(may(&[], ip), Err(what), "{ip}");
            // A prefix of one family says nothing of the other one's addresses.
            assert_eq!(may(&["203.0.113.0/24", "2001:db8::/32"], ip), Err(what), "{ip}");
        }
    }

    #[test]
    fn what_is_public_needs_no_word() {
        for ip in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.2.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2001:db8::1",
        ] {
            assert_eq!(may(&[], ip), Ok(()), "{ip}");
        }
    }

    #[test]
    fn an_allowed_prefix_counts_in_every_form_of_its_addresses() {
        for ip in ["10.1.0.1", "::ffff:10.1.0.1", "64:ff9b::a01:1", "2002:a01:1::"] {
            assert_eq!(may(&["10.1.0.0/16"], ip), Ok(()), "{ip}");
            assert_eq!(may(&["10.2.0.0/16"], ip), Err("private"), "{ip}");
        }
        assert_eq!(may(&["64:ff9b::/96"], "64:ff9b::a01:1"), Ok(()));
        assert_eq!(may(&["::1/128"], "::1"), Ok(()));
        assert_eq!(may(&["::1/128"], "127.0.0.1"), Err("loopback"));
        assert_eq!(may(&["0.0.0.0/0"], "169.254.169.254"), Ok(()));
    }
}
