//! Records of the zone as they are written: sets of one type at one name, with their data in octets.
//!
//! Owns the data of each type. Knows neither names that own records nor packets.

use std::net::IpAddr;

use crate::kind::Type;
use crate::name::Name;
use crate::state;

/// The octets of the longest string of a TXT record (RFC 1035 section 3.3); a longer text is cut into several.
const STRING_OCTETS_MAX: usize = 255;
/// The octets of the longest data of a record (RFC 1035 section 3.2.1).
const DATA_OCTETS_MAX: usize = 65_535;

/// The data of one record. The names between the octets may be compressed, as all types that have any are of RFC 1035.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// The octets before the names.
    pub before: Vec<u8>,
    /// The names.
    pub names: Vec<Name>,
    /// The octets after the names.
    pub after: Vec<u8>,
}

impl Data {
    /// Octets without names.
    #[must_use]
    pub fn octets(octets: Vec<u8>) -> Self {
        Self { before: octets, ..Self::default() }
    }

    /// One name.
    #[must_use]
    pub fn name(name: Name) -> Self {
        Self { names: vec![name], ..Self::default() }
    }

    /// An address, of either type.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(ipv4) => Self::octets(ipv4.octets().into()),
            IpAddr::V6(ipv6) => Self::octets(ipv6.octets().into()),
        }
    }

    /// One text, in as many strings as it takes (RFC 1035 section 3.3.14).
    #[must_use]
    pub fn text(text: &[u8]) -> Self {
        let mut octets = Vec::with_capacity(text.len() + 1);
        if text.is_empty() {
            octets.push(0);
        }
        for string in text.chunks(STRING_OCTETS_MAX) {
            octets.extend(u8::try_from(string.len()));
            octets.extend_from_slice(string);
        }
        Self::octets(octets)
    }

    /// A declared record's data with its type. None when it cannot be written: a name that is none, a text that is too long.
    #[must_use]
    pub fn declared(data: &state::Data) -> Option<(Type, Self)> {
        let (record_type, data) = match data {
            state::Data::Address(address) => (if address.is_ipv4() { Type::A } else { Type::AAAA }, Self::address(*address)),
            state::Data::Cname(name) => (Type::CNAME, Self::name(Name::from_text(name)?)),
            state::Data::Txt(text) => (Type::TXT, Self::text(text.as_bytes())),
            state::Data::Mx { preference, exchange } => {
                let before = preference.to_be_bytes().into();
                (Type::MX, Self { before, names: vec![Name::from_text(exchange)?], after: Vec::new() })
            }
            state::Data::Caa { critical, tag, value } => {
                // RFC 8659 section 4.1: flags, the length of the tag, the tag, and the value up to the end.
                let mut octets = vec![if *critical { 0x80 } else { 0 }, u8::try_from(tag.len()).ok()?];
                octets.extend_from_slice(tag.as_bytes());
                octets.extend_from_slice(value.as_bytes());
                (Type::CAA, Self::octets(octets))
            }
        };
        (data.before.len() <= DATA_OCTETS_MAX).then_some((record_type, data))
    }
}

/// The records of one type at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Their type.
    pub record_type: Type,
    /// Their lifetime, in seconds; one for all of a set (RFC 2181 section 5.2).
    pub ttl_s: u32,
    /// Their data; not empty.
    pub data: Vec<Data>,
}

/// Adds a record to the sets of a name. The shortest lifetime of a set is that of all of it, and no record is in it twice.
pub fn add(sets: &mut Vec<Set>, record_type: Type, ttl_s: u32, data: Data) {
    match sets.iter_mut().find(|set| set.record_type == record_type) {
        Some(set) => {
            set.ttl_s = set.ttl_s.min(ttl_s);
            if !set.data.contains(&data) {
                set.data.push(data);
            }
        }
        None => sets.push(Set { record_type, ttl_s, data: vec![data] }),
    }
}
