//! Binding sockets, with errors an operator can act on.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The bytes asked for as buffer of a UDP socket in each direction.
const UDP_BUFFER_BYTES: usize = 4 << 20;

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
