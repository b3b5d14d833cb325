//! The header of the PROXY protocol (HAProxy's proxy-protocol.txt, versions 1 and 2) that a load balancer sends ahead of a client's bytes.
//!
//! Reads the header and not one byte more. Whose connections may begin with one is the listener's affair.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The bytes of a header of version 1 (section 2.1).
pub const V1_BYTES_MAX: usize = 107;
/// The bytes of a header of version 2: its fixed part of 16, and 4 KiB of addresses and of fields that are read and not used.
pub const V2_BYTES_MAX: usize = V2_FIXED + 4_096;

/// The bytes of version 2 up to its addresses.
const V2_FIXED: usize = 16;
/// Where version 2 has its version and command, and that of a connection of the load balancer's own.
const V2_COMMAND: usize = 12;
const V2_LOCAL: u8 = 0x20;

/// What a header tells of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Whose it is, and the address the client came to.
    Client {
        /// The client's address.
        from: SocketAddr,
        /// The address it came to, at the load balancer.
        to: SocketAddr,
    },
    /// Nothing: it is the load balancer's own, as for a health check, or the client came by no IP protocol. The connection's addresses hold.
    Nothing,
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The beginning of a header; all of it belongs to it.
    Part,
    /// A header of so many bytes. What is behind it is the client's.
    Whole(usize, Told),
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// The connection ended before its first byte, as that of a health check may.
    #[error("nothing was sent")]
    Nothing,
    /// What came is not the beginning of a header, or tells what cannot be.
    #[error("it does not begin with a header of the PROXY protocol: {0}")]
    Malformed(String),
    /// The header is longer than [`V1_BYTES_MAX`] or [`V2_BYTES_MAX`].
    #[error("its header of the PROXY protocol is longer than {0} bytes")]
    Long(usize),
    /// The connection broke inside the header.
    #[error("it ended inside its header of the PROXY protocol: {0}")]
    Ended(io::Error),
}

/// Takes the header off the connection.
///
/// # Errors
/// When there is none. The connection is then to be closed, as nothing says whose it is.
pub async fn take(socket: &mut TcpStream) -> Result<Told, Wrong> {
    let mut taken = Vec::with_capacity(V1_BYTES_MAX);
    // As much as one look can show: no header of version 1 is longer, and those of version 2 with fields take another look.
    let mut ahead = [0_u8; V1_BYTES_MAX];
    loop {
        let before = taken.len();
        let seen = match socket.peek(&mut ahead).await {
            Ok(0) | Err(_) if before == 0 => return Err(Wrong::Nothing),
            Ok(0) => return Err(Wrong::Ended(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(Wrong::Ended(error)),
            Ok(seen) => seen,
        };
        taken.extend_from_slice(&ahead[..seen]);
        let found = scan(&taken)?;
        if let Found::Whole(length, _) = found {
            taken.truncate(length);
        }
        // They are there: this waits for nothing.
        socket.read_exact(&mut taken[before..]).await.map_err(Wrong::Ended)?;
        if let Found::Whole(_, told) = found {
            return Ok(told);
        }
    }
}

/// What `bytes`, the first of a connection, are.
///
/// # Errors
/// When no bytes after them can make a header of them.
pub fn scan(bytes: &[u8]) -> Result<Found, Wrong> {
    let shared = bytes.len().min(v2::PROTOCOL_PREFIX.len());
    if bytes[..shared] == v2::PROTOCOL_PREFIX[..shared] { scan_v2(bytes) } else { scan_v1(bytes) }
}

fn scan_v1(bytes: &[u8]) -> Result<Found, Wrong> {
    const PREFIX: &[u8] = b"PROXY ";
    let shared = bytes.len().min(PREFIX.len());
    if bytes[..shared] != PREFIX[..shared] {
        return Err(Wrong::Malformed("these are other bytes".to_owned()));
    }
    let Some(end) = bytes.iter().take(V1_BYTES_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_BYTES_MAX { Ok(Found::Part) } else { Err(Wrong::Long(V1_BYTES_MAX)) };
    };
    let line = &bytes[..=end];
    // Whatever stands between this word and the end of the line is to be ignored (section 2.1).
    if line.strip_prefix(b"PROXY UNKNOWN").is_some_and(|rest| rest.ends_with(b"\r\n") && matches!(rest[0], b' ' | b'\r')) {
        return Ok(Found::Whole(line.len(), Told::Nothing));
    }
    let header = v1::Header::try_from(line).map_err(|error| Wrong::Malformed(error.to_string()))?;
    if header.header.len() != line.len() {
        return Err(Wrong::Malformed("a CR stands inside it".to_owned()));
    }
    let told = match header.addresses {
        v1::Addresses::Tcp4(v1::IPv4 { source_address, source_port, destination_address, destination_port }) => {
            client((source_address.into(), source_port), (destination_address.into(), destination_port))
        }
        v1::Addresses::Tcp6(v1::IPv6 { source_address, source_port, destination_address, destination_port }) => {
            client((source_address.into(), source_port), (destination_address.into(), destination_port))
        }
        v1::Addresses::Unknown => Told::Nothing,
    };
    Ok(Found::Whole(line.len(), told))
}

fn scan_v2(bytes: &[u8]) -> Result<Found, Wrong> {
    let Some(fixed) = bytes.get(..V2_FIXED) else { return Ok(Found::Part) };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([fixed[V2_FIXED - 2], fixed[V2_FIXED - 1]]));
    if length > V2_BYTES_MAX {
        return Err(Wrong::Long(V2_BYTES_MAX));
    }
    // Judged before all of it is there, so that what can only be wrong is not waited for.
    let judged = v2::Header::try_from(bytes);
    if fixed[V2_COMMAND] == V2_LOCAL {
        // Its family and addresses are of no account (section 2.2).
        return Ok(if bytes.len() < length { Found::Part } else { Found::Whole(length, Told::Nothing) });
    }
    let header = match judged {
        Ok(header) => header,
        Err(v2::ParseError::Incomplete(_) | v2::ParseError::Partial(..)) => return Ok(Found::Part),
        Err(error) => return Err(Wrong::Malformed(error.to_string())),
    };
    let told = match (header.addresses, header.protocol) {
        (v2::Addresses::Unspecified, v2::Protocol::Unspecified) => Told::Nothing,
        // All other combinations of the two are to be rejected.
        (v2::Addresses::Unspecified, _) | (_, v2::Protocol::Unspecified) => {
            return Err(Wrong::Malformed("its family and transport do not go together".to_owned()));
        }
        (v2::Addresses::IPv4(v2::IPv4 { source_address, source_port, destination_address, destination_port }), _) => {
            client((source_address.into(), source_port), (destination_address.into(), destination_port))
        }
        (v2::Addresses::IPv6(v2::IPv6 { source_address, source_port, destination_address, destination_port }), _) => {
            client((source_address.into(), source_port), (destination_address.into(), destination_port))
        }
        (v2::Addresses::Unix(_), _) => Told::Nothing,
    };
    Ok(Found::Whole(length, told))
}

fn client(from: (IpAddr, u16), to: (IpAddr, u16)) -> Told {
    Told::Client { from: from.into(), to: to.into() }
}

#[cfg(test)]
mod tests;
