//! Databases as operators have them: the smallest writer of the MaxMind DB format (version 2.0) that a reader takes.
//!
//! IPv6 with 28-bit records; IPv4 is below `::/96`, as the format has it. No prefix may be in another one.

use std::net::IpAddr;

/// Between tree and data.
const SEPARATOR: [u8; 16] = [0; 16];
/// Before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// What is known of a prefix.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(&'static str),
    Double(f64),
    Number(u32),
    Map(Vec<(&'static str, Value)>),
}

impl Value {
    fn map(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self::Map(pairs.into_iter().collect())
    }

    /// Of a city: `{"location": {"latitude": 52.52, "longitude": 13.41}}`.
    pub(crate) fn city(latitude: f64, longitude: f64) -> Self {
        let location = Self::map([("latitude", Self::Double(latitude)), ("longitude", Self::Double(longitude))]);
        Self::map([("location", location)])
    }

    /// Of a network: `{"autonomous_system_number": 64500}`.
    pub(crate) fn network(number: u32) -> Self {
        Self::map([("autonomous_system_number", Self::Number(number))])
    }

    /// Of a country: `{"country": {"iso_code": "DE"}}`.
    pub(crate) fn country(code: &'static str) -> Self {
        Self::map([("country", Self::map([("iso_code", Self::Text(code))]))])
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(content) => text(out, content),
            Self::Double(value) => {
                out.push(DOUBLE << 5 | 8);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Number(value) => number(out, UINT32, u64::from(*value)),
            Self::Map(pairs) => {
                map(out, u8::try_from(pairs.len()).unwrap());
                for (key, value) in pairs {
                    text(out, key);
                    value.put(out);
                }
            }
        }
    }
}

/// What a side of a node leads to.
#[derive(Clone, Copy)]
enum Side {
    Nothing,
    Node(usize),
    Data(usize),
}

/// The bytes of a database that knows these prefixes and no other.
pub(crate) fn mmdb(kind: &str, known: &[(&str, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Side::Nothing; 2]];
    let mut data = Vec::new();
    for (prefix, value) in known {
        let (address, length) = prefix.split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        let (bits, length) = match address.parse::<IpAddr>().unwrap() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), length + 96),
            IpAddr::V6(address) => (address.to_bits(), length),
        };
        let offset = data.len();
        value.put(&mut data);
        let side = |depth: u32| usize::from(bits >> (127 - depth) & 1 == 1);
        let mut node = 0;
        for depth in 0..length - 1 {
            node = match nodes[node][side(depth)] {
                Side::Node(next) => next,
                _ => {
                    nodes.push([Side::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][side(depth)] = Side::Node(next);
                    next
                }
            };
        }
        nodes[node][side(length - 1)] = Side::Data(offset);
    }
    let mut out = Vec::new();
    for sides in &nodes {
        let [left, right] = sides.map(|side| {
            let record = match side {
                Side::Nothing => nodes.len(),
                Side::Node(node) => node,
                Side::Data(offset) => nodes.len() + SEPARATOR.len() + offset,
            };
            u32::try_from(record).unwrap().to_be_bytes()
        });
        out.extend_from_slice(&left[1..]);
        out.push(left[0] << 4 | right[0]);
        out.extend_from_slice(&right[1..]);
    }
    out.extend_from_slice(&SEPARATOR);
    out.extend_from_slice(&data);
    out.extend_from_slice(MARKER);
    metadata(&mut out, kind, nodes.len());
    out
}

fn metadata(out: &mut Vec<u8>, kind: &str, nodes: usize) {
    map(out, 9);
    text(out, "binary_format_major_version");
    number(out, UINT16, 2);
    text(out, "binary_format_minor_version");
    number(out, UINT16, 0);
    text(out, "build_epoch");
    number(out, UINT64, 1_700_000_000);
    text(out, "database_type");
    text(out, kind);
    text(out, "description");
    map(out, 1);
    text(out, "en");
    text(out, "a test");
    text(out, "ip_version");
    number(out, UINT16, 6);
    text(out, "languages");
    // An array of none: an extended type, 11, is written as 0 and then itself less 7.
    out.extend_from_slice(&[0, 11 - 7]);
    text(out, "node_count");
    number(out, UINT32, u64::try_from(nodes).unwrap());
    text(out, "record_size");
    number(out, UINT16, 28);
}

const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const MAP: u8 = 7;
const UINT64: u8 = 9;

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(MAP << 5 | pairs);
}

/// Of at most 284 bytes: from 29 on the length is in a byte of its own.
fn text(out: &mut Vec<u8>, text: &str) {
    match text.len().checked_sub(29) {
        None => out.push(TEXT << 5 | u8::try_from(text.len()).unwrap()),
        Some(beyond) => out.extend_from_slice(&[TEXT << 5 | 29, u8::try_from(beyond).unwrap()]),
    }
    out.extend_from_slice(text.as_bytes());
}

/// The bytes of a number without its leading zeros.
fn number(out: &mut Vec<u8>, kind: u8, number: u64) {
    let bytes = number.to_be_bytes();
    let first = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let length = u8::try_from(bytes.len() - first).unwrap();
    if kind > 7 {
        out.extend_from_slice(&[length, kind - 7]);
    } else {
        out.push(kind << 5 | length);
    }
    out.extend_from_slice(&bytes[first..]);
}
