//! A country database as operators have it: the smallest writer of the MaxMind DB format (version 2.0) that a reader takes.
//!
//! IPv4 only, 24-bit records, one record of data a country: `{"country": {"iso_code": "DE"}}`.

use std::net::Ipv4Addr;

/// Between tree and data.
const SEPARATOR: [u8; 16] = [0; 16];
/// Before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// What a side of a node leads to.
#[derive(Clone, Copy)]
enum Side {
    Nothing,
    Node(usize),
    Data(usize),
}

/// The bytes of a database that knows these addresses and no other.
pub(crate) fn mmdb(countries: &[(Ipv4Addr, &str)]) -> Vec<u8> {
    let mut nodes = vec![[Side::Nothing; 2]];
    let mut data = Vec::new();
    for (address, code) in countries {
        let offset = data.len();
        map(&mut data, 1);
        text(&mut data, "country");
        map(&mut data, 1);
        text(&mut data, "iso_code");
        text(&mut data, code);
        let bits = u32::from(*address);
        let mut node = 0;
        for depth in (1..32).rev() {
            let side = usize::from(bits >> depth & 1 == 1);
            node = match nodes[node][side] {
                Side::Node(next) => next,
                _ => {
                    nodes.push([Side::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][side] = Side::Node(next);
                    next
                }
            };
        }
        nodes[node][usize::from(bits & 1 == 1)] = Side::Data(offset);
    }
    let mut out = Vec::new();
    for side in nodes.iter().flatten() {
        let record = match side {
            Side::Nothing => nodes.len(),
            Side::Node(node) => *node,
            Side::Data(offset) => nodes.len() + SEPARATOR.len() + offset,
        };
        out.extend_from_slice(&u32::try_from(record).unwrap().to_be_bytes()[1..]);
    }
    out.extend_from_slice(&SEPARATOR);
    out.extend_from_slice(&data);
    out.extend_from_slice(MARKER);
    metadata(&mut out, nodes.len());
    out
}

fn metadata(out: &mut Vec<u8>, nodes: usize) {
    map(out, 9);
    text(out, "binary_format_major_version");
    number(out, UINT16, 2);
    text(out, "binary_format_minor_version");
    number(out, UINT16, 0);
    text(out, "build_epoch");
    number(out, UINT64, 1_700_000_000);
    text(out, "database_type");
    text(out, "Test-Country");
    text(out, "description");
    map(out, 1);
    text(out, "en");
    text(out, "a test");
    text(out, "ip_version");
    number(out, UINT16, 4);
    text(out, "languages");
    // An array of none: an extended type, 11, is written as 0 and then itself less 7.
    out.extend_from_slice(&[0, 11 - 7]);
    text(out, "node_count");
    number(out, UINT32, u64::try_from(nodes).unwrap());
    text(out, "record_size");
    number(out, UINT16, 24);
}

const TEXT: u8 = 2;
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const MAP: u8 = 7;
const UINT64: u8 = 9;

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(MAP << 5 | pairs);
}

/// Shorter than 29 bytes.
fn text(out: &mut Vec<u8>, text: &str) {
    out.push(TEXT << 5 | u8::try_from(text.len()).unwrap());
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
