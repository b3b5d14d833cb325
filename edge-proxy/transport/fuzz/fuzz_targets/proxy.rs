//! The header of the PROXY protocol: bounded, found at the same place however the bytes come, and what is written is read.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use skerry_transport::proxied::{Found, Told, V1_BYTES_MAX, V2_BYTES_MAX, scan};

/// Headers of both versions for these addresses, which are of one family.
fn written(from: SocketAddr, to: SocketAddr) -> [Vec<u8>; 2] {
    let family = if from.is_ipv4() { 4 } else { 6 };
    let text = format!("PROXY TCP{family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let addresses = [octets(from.ip()), octets(to.ip()), from.port().to_be_bytes().to_vec(), to.port().to_be_bytes().to_vec()].concat();
    let fixed = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, if family == 4 { 0x11 } else { 0x21 }, 0, addresses.len() as u8]].concat();
    [text.into_bytes(), [fixed, addresses].concat()]
}

/// The first address and port that the bytes make, and the second.
fn addresses(data: &[u8]) -> (SocketAddr, SocketAddr) {
    let mut bytes = [0; 37];
    let length = data.len().min(bytes.len());
    bytes[..length].copy_from_slice(&data[..length]);
    let four = |at: usize| IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap()));
    let six = |at: usize| IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap()));
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (from, to) = if bytes[36] % 2 == 0 { (four(0), four(16)) } else { (six(0), six(16)) };
    ((from, port(32)).into(), (to, port(34)).into())
}

fuzz_target!(|data: &[u8]| {
    match scan(data) {
        Ok(Found::Part) => assert!(data.len() < V2_BYTES_MAX, "{} bytes are not enough", data.len()),
        Ok(Found::Whole(length, told)) => {
            assert!(length <= data.len() && length <= V2_BYTES_MAX);
            assert!(data[0] != b'P' || length <= V1_BYTES_MAX);
            // What is behind it makes no difference, and nothing shorter is a header or a fault.
            assert_eq!(scan(&data[..length]).unwrap(), Found::Whole(length, told));
            for shorter in 0..length {
                assert_eq!(scan(&data[..shorter]).unwrap(), Found::Part, "{shorter} bytes of {length}");
            }
        }
        // No bytes behind a fault mend it.
        Err(_) => assert!(scan(&[data, b"\r\n\r\n\0\r\nQUIT\n\n\n"].concat()).is_err()),
    }

    let (from, to) = addresses(data);
    for header in written(from, to) {
        let bytes = [header.as_slice(), data].concat();
        assert_eq!(scan(&bytes).unwrap(), Found::Whole(header.len(), Told::Client { from, to }), "{}", header.escape_ascii());
    }
});
