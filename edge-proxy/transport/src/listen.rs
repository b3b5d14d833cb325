//! Binding sockets, with errors an operator can act on.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Binds a TCP listener. Port 0 chooses a free port.
///
/// # Errors
/// One sentence naming the address, what it was for and what to do.
pub async fn bind(address: SocketAddr, purpose: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| refusal(address, purpose, &error))
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
