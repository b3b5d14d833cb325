//! The opening of a TCP connection: whose it is, the TLS handshake, and what it speaks. Ends before the first request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use skerry_config::process::Limits;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::accept::Entrance;
use crate::client::{Client, Protocol, Samples, Secured};
use crate::connection::{Io, Kernel, Socket};
use crate::gate::{Gate, Place, Refused};
use crate::private::fingerprint;
use crate::proxied::{self, Told, Wrong};

/// How long a connection that is just being opened when a stop comes may still take to ask for something: a TLS handshake and a request of a
/// client far away.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);

/// What an HTTP/2 client with prior knowledge begins with (RFC 9113 section 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Opens a connection; `None` when it was refused or there is nothing to serve on it.
pub(crate) async fn open(
    socket: TcpStream,
    place: &mut Place,
    entrance: &Entrance,
    limits: &Limits,
    gate: &Gate,
    stop: &watch::Receiver<bool>,
) -> Option<Socket> {
    let _ = socket.set_nodelay(true);
    let address = socket.peer_addr().ok()?;
    let opened = async {
        match shake_hands(socket, place, entrance, limits, gate).await? {
            Shaken::Agreed(socket) => Ok(socket),
            Shaken::InClear(socket, ends) => sniff(socket, ends, limits).await,
        }
    };
    let mut stopping = stop.clone();
    let mut opened = tokio::select! {
        biased;
        opened = opened => opened.inspect_err(|failed: &Failed| failed.tell(address, gate)).ok()?,
        // Who asks for nothing, as browsers do that connect ahead of need, does not hold up the drain.
        () = last_call(&mut stopping) => return None,
    };
    if *stop.borrow() {
        tokio::time::timeout(LAST_CALL, first_bytes(&mut opened)).await.ok()?.ok()?;
    }
    Some(opened)
}

async fn last_call(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
    tokio::time::sleep(LAST_CALL).await;
}

/// Waits for a request to begin; what was read is read again.
async fn first_bytes(socket: &mut Socket) -> io::Result<()> {
    let mut first = [0; 256];
    let read = socket.read(&mut first).await?;
    socket.unread(Bytes::copy_from_slice(&first[..read]));
    Ok(())
}

/// A connection of which is known whose it is.
enum Shaken {
    /// Over TLS, with all that was agreed on.
    Agreed(Socket),
    /// In cleartext. What it speaks is still to be seen.
    InClear(TcpStream, Ends),
}

/// Between whom a connection is.
struct Ends {
    /// The client's address.
    from: SocketAddr,
    /// The address it came to.
    to: SocketAddr,
    /// Whether a load balancer said so, and is at the other end.
    is_forwarded: bool,
}

impl Ends {
    fn client(&self, protocol: Protocol, secured: Option<Secured>, kernel: &Arc<Kernel>) -> Arc<Client> {
        let &Self { from: address, to: local, is_forwarded } = self;
        let measure = Some(Arc::clone(kernel) as _);
        Arc::new(Client { address, local, protocol, secured, measure, is_forwarded, samples: Samples::default() })
    }
}

/// Why a connection does not come as far as that.
enum Failed {
    /// It was refused, and counted.
    Refused(Refused),
    Proxy(Wrong),
    Tls(io::Error),
    Time,
    Supplanted,
    /// The socket is closed already.
    Gone,
}

impl Failed {
    /// Counts and logs it.
    fn tell(&self, address: SocketAddr, gate: &Gate) {
        let (reason, error) = match self {
            Self::Gone | Self::Proxy(Wrong::Nothing) => return,
            Self::Refused(reason) => (*reason, String::new()),
            Self::Proxy(wrong) => (Refused::ProxyHeader, wrong.to_string()),
            Self::Tls(error) => (Refused::Handshake, error.to_string()),
            Self::Time => (Refused::HandshakeTime, String::new()),
            Self::Supplanted => (Refused::Handshakes, String::new()),
        };
        if !matches!(self, Self::Refused(_)) {
            gate.refuse(reason);
        }
        tracing::debug!(client = %address.ip(), reason = reason.as_str(), error, "connection refused");
    }
}

/// What comes before the bytes of a protocol, within `limits.handshake_time`.
async fn shake_hands(
    mut socket: TcpStream,
    place: &mut Place,
    entrance: &Entrance,
    limits: &Limits,
    gate: &Gate,
) -> Result<Shaken, Failed> {
    let (from, to) = (socket.peer_addr().map_err(|_| Failed::Gone)?, socket.local_addr().map_err(|_| Failed::Gone)?);
    let mut ends = Ends { from, to, is_forwarded: entrance.from.is_some() };
    if entrance.tls.is_none() && entrance.from.is_none() {
        return Ok(Shaken::InClear(socket, ends));
    }
    let mut handshake = gate.handshake();
    let shaken = async {
        if entrance.from.is_some() {
            match proxied::take(&mut socket).await.map_err(Failed::Proxy)? {
                Told::Client { from, to } => (ends.from, ends.to) = (from, to),
                Told::Nothing => {}
            }
            place.admit(ends.from.ip()).map_err(Failed::Refused)?;
        }
        match &entrance.tls {
            Some(tls) => secure(socket, ends, tls).await.map(Shaken::Agreed),
            None => Ok(Shaken::InClear(socket, ends)),
        }
    };
    tokio::select! {
        biased;
        shaken = tokio::time::timeout(limits.handshake_time.0, shaken) => shaken.map_err(|_| Failed::Time)?,
        () = handshake.supplanted() => Err(Failed::Supplanted),
    }
}

/// The TLS handshake; the client's choice of a protocol comes with it.
async fn secure(socket: TcpStream, ends: Ends, tls: &Arc<ServerConfig>) -> Result<Socket, Failed> {
    let kernel = Kernel::of(&socket);
    let stream = TlsAcceptor::from(Arc::clone(tls)).accept(socket).await.map_err(Failed::Tls)?;
    let agreed = stream.get_ref().1;
    let protocol = if agreed.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
    let secured = Secured {
        version: if agreed.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2) { "TLSv1.2" } else { "TLSv1.3" },
        server_name: agreed.server_name().map(Into::into),
        certificate: agreed.peer_certificates().and_then(<[_]>::first).map(|certificate| fingerprint(certificate)),
    };
    let client = ends.client(protocol, Some(secured), &kernel);
    Ok(Socket::new(Io::Tls(Box::new(stream)), kernel, client))
}

/// Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes, and puts them back. The first has `limits.idle_time`, as nothing was asked
/// before it; what looks like the preface of HTTP/2 has `limits.handshake_time` for the rest.
async fn sniff(mut socket: TcpStream, ends: Ends, limits: &Limits) -> Result<Socket, Failed> {
    let kernel = Kernel::of(&socket);
    let mut first = [0_u8; H2_PREFACE.len()];
    let mut filled = match tokio::time::timeout(limits.idle_time.0, socket.read(&mut first)).await {
        Err(_) | Ok(Ok(0) | Err(_)) => return Err(Failed::Gone),
        Ok(Ok(read)) => read,
    };
    let deadline = Instant::now() + limits.handshake_time.0;
    while filled < first.len() && first[..filled] == H2_PREFACE[..filled] {
        match tokio::time::timeout_at(deadline, socket.read(&mut first[filled..])).await {
            Err(_) => return Err(Failed::Time),
            Ok(Ok(0) | Err(_)) => return Err(Failed::Gone),
            Ok(Ok(read)) => filled += read,
        }
    }
    let protocol = if &first == H2_PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    let client = ends.client(protocol, None, &kernel);
    let mut socket = Socket::new(Io::Plain(socket), kernel, client);
    socket.unread(Bytes::copy_from_slice(&first[..filled]));
    Ok(socket)
}
