//! A client prefix in eight octets, as the tables of what is learned have it by the million.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::place::Client;

/// The longest prefix that anything is learned of, in bits: no client is told apart from its neighbours.
pub const IPV4_BITS_MAX: u8 = 24;
/// The same of IPv6.
pub const IPV6_BITS_MAX: u8 = 48;
/// The shortest prefix that measurements are taken for, in bits: the widest that an edge of ours folds others into.
pub const IPV4_BITS_MIN: u8 = 16;
/// The same of IPv6.
pub const IPV6_BITS_MIN: u8 = 32;

/// Set in the lowest octet for IPv6; the rest of it is the length.
const IPV6: u64 = 0x80;
/// The bits of the length.
const LENGTH: u64 = 0x7f;
/// Where the address begins.
const ADDRESS_SHIFT: u32 = 8;

/// A prefix of at most 24 bits of IPv4 or 48 of IPv6: the address in the upper 48 bits, then family and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(u64);

impl Prefix {
    /// The first `bits` bits of an address, at most those of a group of clients. An IPv4 address mapped into IPv6 is the IPv4 one.
    #[must_use]
    pub fn of(address: IpAddr, bits: u8) -> Self {
        let (address, bits, family) = match address.to_canonical() {
            IpAddr::V4(address) => (u64::from(address.to_bits()) << 24, bits.min(IPV4_BITS_MAX), 0),
            // The upper 56 bits: all that is kept and more.
            IpAddr::V6(address) => ((address.to_bits() >> 72) as u64, bits.min(IPV6_BITS_MAX), IPV6),
        };
        let address = (address << ADDRESS_SHIFT) & u64::MAX.checked_shl(64 - u32::from(bits)).unwrap_or(0);
        Self(address | family | u64::from(bits))
    }

    /// Of a network; `None` when it is longer than what is learned of, or wider.
    #[must_use]
    pub fn measured(net: IpNet) -> Option<Self> {
        let bits = if net.addr().is_ipv4() { IPV4_BITS_MIN..=IPV4_BITS_MAX } else { IPV6_BITS_MIN..=IPV6_BITS_MAX };
        bits.contains(&net.prefix_len()).then(|| Self::of(net.addr(), net.prefix_len()))
    }

    /// From what [`Prefix::packed`] gave; bits beyond the prefix are cleared.
    #[must_use]
    pub fn unpacked(packed: u64) -> Self {
        let prefix = Self(packed);
        Self::of(prefix.address_of(packed), prefix.bits())
    }

    /// As a number that sorts by address.
    #[must_use]
    pub fn packed(self) -> u64 {
        self.0
    }

    /// Its length.
    #[must_use]
    pub fn bits(self) -> u8 {
        (self.0 & LENGTH) as u8
    }

    /// Whether it is of IPv4.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        self.0 & IPV6 == 0
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address_of(self.0)
    }

    fn address_of(self, packed: u64) -> IpAddr {
        let address = packed >> ADDRESS_SHIFT;
        if self.is_ipv4() {
            IpAddr::V4(Ipv4Addr::from_bits((address >> 24) as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(address) << 72))
        }
    }

    /// As a network.
    #[must_use]
    pub fn net(self) -> IpNet {
        IpNet::new(self.address(), self.bits()).unwrap_or_else(|_| IpNet::from(self.address()))
    }

    /// The prefix of so many bits around it; itself when it is no longer than that.
    #[must_use]
    pub fn wider(self, bits: u8) -> Self {
        Self::of(self.address(), bits.min(self.bits()))
    }
}

impl From<&Client> for Prefix {
    /// The group of clients that are always given the same edge, or all of a client's prefix when that is shorter.
    fn from(client: &Client) -> Self {
        Self::of(client.address(), client.prefix_bits())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_prefixes_of_a_length_that_something_is_learned_of_are_taken() {
        let taken = |text: &str| Prefix::measured(text.parse().expect("a prefix")).map(|prefix| prefix.net().to_string());
        assert_eq!(taken("10.1.2.9/24").as_deref(), Some("10.1.2.0/24"));
        assert_eq!(taken("10.1.2.0/16").as_deref(), Some("10.1.0.0/16"));
        assert_eq!(taken("10.1.2.0/25"), None);
        assert_eq!(taken("10.0.0.0/15"), None);
        assert_eq!(taken("2001:db8:1::/48").as_deref(), Some("2001:db8:1::/48"));
        assert_eq!(taken("2001:db8:1::/49"), None);
        assert_eq!(taken("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(taken("2000::/31"), None);
        assert_eq!(Prefix::of("::ffff:10.1.2.3".parse().expect("an address"), 128).net().to_string(), "10.1.2.0/24");
    }

    proptest! {
        #[test]
        fn a_prefix_is_what_was_packed(bits in any::<u128>(), length in 0_u8..=128, ipv4 in any::<bool>()) {
            let address = if ipv4 { IpAddr::from(((bits >> 96) as u32).to_be_bytes()) } else { IpAddr::from(bits.to_be_bytes()) };
            let prefix = Prefix::of(address, length);
            prop_assert_eq!(Prefix::unpacked(prefix.packed()), prefix);
            prop_assert!(prefix.net().contains(&address.to_canonical()));
            prop_assert_eq!(prefix.wider(128), prefix);
            prop_assert!(prefix.wider(12).net().contains(&prefix.net()));
        }

        #[test]
        fn any_number_is_some_prefix(packed in any::<u64>()) {
            let prefix = Prefix::unpacked(packed);
            prop_assert_eq!(Prefix::of(prefix.address(), prefix.bits()), prefix);
        }
    }
}
