//! Binding sockets, with errors an operator can act on.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The bytes asked for as buffer of a UDP socket in each direction.
const UDP_BUFFER_BYTES: usize = 4 << 20;
/// The connections of one socket that the kernel keeps until they are accepted; it may itself allow fewer (`net.core.somaxconn`).
pub const BACKLOG: i32 = 4_096;

/// Binds a TCP listener. Port 0 chooses a free port.
///
/// # Errors
/// One sentence naming the address, what it was for and what to do.
pub async fn bind(address: SocketAddr, purpose: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| refusal(address, purpose, &error))
}

/// Binds a UDP socket for QUIC. Port 0 chooses a free port.
///
/// # Errors
/// One sentence naming the address, what it was for and what to do.
pub fn bind_udp(address: SocketAddr, purpose: &str) -> Result<UdpSocket, String> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // As much of it as the system gives; with the usual 200 KiB, bursts are lost.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    bind().map_err(|error| refusal(address, purpose, &error))
}

/// Binds so many listeners to one address, between which the kernel shares the connections out (`SO_REUSEPORT`), each for an accept loop of its own.
/// Port 0 chooses a free port for all of them.
///
/// No other process joins them, nor do they join another's: the first is bound alone, which fails when anyone listens there, and a process that
/// comes later finds the same. Call inside a runtime.
///
/// # Errors
/// One sentence naming the address, what it was for and what to do.
pub fn bind_many(address: SocketAddr, count: usize, purpose: &str) -> Result<Vec<TcpListener>, String> {
    let refused = |error| refusal(address, purpose, &error);
    let first = socket(address, false).map_err(refused)?;
    let address = first.local_addr().map_err(refused)?;
    let mut listeners = vec![first];
    if count > 1 {
        socket2::SockRef::from(&listeners[0]).set_reuse_port(true).map_err(refused)?;
    }
    for _ in 1..count {
        listeners.push(socket(address, true).map_err(refused)?);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a process before this one that are closing do not hold the address; one that listens does.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The sentence for a socket that could not be bound.
#[must_use]
pub fn refusal(address: SocketAddr, purpose: &str, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => "another process has it; stop that one or choose another port",
        ErrorKind::PermissionDenied => "ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
        _ => "check the address in the settings",
    };
    format!("cannot listen on {address} for {purpose}: {error}; {hint}")
}

#[cfg(test)]
mod tests;
