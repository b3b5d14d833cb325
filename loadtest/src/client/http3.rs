//! HTTP/3 by h3 over quinn.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use h3::client::SendRequest;
use h3::error::{Code, StreamError};
use h3_quinn::OpenStreams;
use http::Request;
use http::response::Parts;
use quinn::VarInt;
use quinn::crypto::rustls::QuicClientConfig;

use super::{Unanswered, pause, told};
use crate::target::Target;

/// The one that asks; a clone asks on the same connection.
#[derive(Clone)]
pub(super) struct Link {
    sender: SendRequest<OpenStreams, Bytes>,
    connection: quinn::Connection,
    /// Whether the server takes no further requests.
    left: Arc<AtomicBool>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// QUIC with the TLS of `tls`.
pub(super) fn configuration(tls: &Arc<rustls::ClientConfig>) -> Result<quinn::ClientConfig, String> {
    let crypto = QuicClientConfig::try_from(Arc::clone(tls)).map_err(|error| error.to_string())?;
    Ok(quinn::ClientConfig::new(Arc::new(crypto)))
}

/// The same, taking no more than so many bytes before they are read.
pub(super) fn with_window(mut quic: quinn::ClientConfig, bytes: u32) -> quinn::ClientConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(bytes)).receive_window(VarInt::from_u32(bytes));
    quic.transport_config(Arc::new(transport));
    quic
}

/// Opens a connection from a UDP socket of its own, as each client of a server has one.
pub(super) async fn open(target: &Target, source: Option<IpAddr>, configuration: quinn::ClientConfig) -> Result<Link, String> {
    let any: IpAddr = if target.address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = quinn::Endpoint::client(SocketAddr::new(source.unwrap_or(any), 0)).map_err(|error| error.to_string())?;
    let connecting = endpoint.connect_with(configuration, target.address, &target.name).map_err(|error| told(&error))?;
    let connection = connecting.await.map_err(|error| told(&error))?;
    let (mut driver, sender) =
        h3::client::builder().build(h3_quinn::Connection::new(connection.clone())).await.map_err(|error| told(&error))?;
    // Ends with the connection, which the last sender closes; what goes wrong shows at the next request.
    tokio::spawn(async move { std::future::poll_fn(|context| driver.poll_close(context)).await });
    Ok(Link { sender, connection, left: Arc::default() })
}

impl Link {
    pub(super) async fn ask(&mut self, request: Request<()>, rate: u64, mut take: impl FnMut(&[u8])) -> Result<Parts, Unanswered> {
        let mut stream = self.sender.send_request(request).await.map_err(|error| self.unanswered(&error))?;
        stream.finish().await.map_err(|error| self.unanswered(&error))?;
        let (head, ()) = stream.recv_response().await.map_err(|error| self.unanswered(&error))?.into_parts();
        while let Some(mut data) = stream.recv_data().await.map_err(|error| told(&error))? {
            while data.has_remaining() {
                let part = data.chunk();
                let length = part.len();
                take(part);
                data.advance(length);
                pause(length, rate).await;
            }
        }
        Ok(head)
    }

    /// A request that the server's GOAWAY has left out may be asked elsewhere (RFC 9114 section 5.2).
    fn unanswered(&self, error: &StreamError) -> Unanswered {
        match error {
            StreamError::RemoteClosing | StreamError::RemoteTerminate { code: Code::H3_REQUEST_REJECTED } => {
                self.left.store(true, Ordering::Relaxed);
                Unanswered::NotTaken
            }
            error => Unanswered::Failed(told(error)),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.connection.close_reason().is_some()
    }
}
