//! The client: one connection at a time, over HTTP/1.1, HTTP/2 or HTTP/3, with TLS or without.
//!
//! Owns connecting, asking and reading whole answers. The protocols are hyper's, h3's and quinn's; nothing here makes a frame. Checks no
//! body and counts nothing.

mod http1;
mod http2;
mod http3;
mod trust;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::response::Parts;
use http::uri::PathAndQuery;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use self::trust::Trust;
use crate::target::Target;

/// How long a connection may take to come, TLS included, where it is not said otherwise, in seconds.
pub const CONNECT_TIMEOUT_S: u64 = 10;
/// The most that [`CONNECT_TIMEOUT_S`] may be made, in seconds.
pub const CONNECT_TIMEOUT_MAX_S: u64 = 600;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on a connection.
    H1,
    /// HTTP/2; over cleartext with prior knowledge (RFC 9113 section 3.3).
    H2,
    /// HTTP/3, over QUIC only.
    H3,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "h1" => Ok(Self::H1),
            "h2" => Ok(Self::H2),
            "h3" => Ok(Self::H3),
            _ => Err(format!("`{text}` is none of h1, h2 and h3")),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H1 => "HTTP/1.1",
            Self::H2 => "HTTP/2",
            Self::H3 => "HTTP/3",
        })
    }
}

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    protocol: Protocol,
    connect_timeout: Duration,
    source: Option<IpAddr>,
    window: Option<u32>,
    fields: http::HeaderMap,
    tls: Option<Arc<rustls::ClientConfig>>,
    quic: Option<quinn::ClientConfig>,
}

impl Client {
    /// A client of `target`; `trust` is what its certificate must come from.
    ///
    /// # Errors
    /// A sentence: the three do not go together.
    pub fn new(target: Target, protocol: Protocol, trust: Option<&Trust>) -> Result<Self, String> {
        let (tls, quic) = match (target.secure, trust, protocol) {
            (false, _, Protocol::H3) => return Err("HTTP/3 is spoken over QUIC only: give an https:// URL".to_owned()),
            (false, Some(_), _) => return Err("an authority to trust is of no use for an http:// URL, which has no certificate".to_owned()),
            (false, None, _) => (None, None),
            (true, None, _) => return Err("an https:// URL needs the file of the authority to trust (--ca FILE)".to_owned()),
            (true, Some(trust), Protocol::H1) => (Some(trust.client(b"http/1.1")?), None),
            (true, Some(trust), Protocol::H2) => (Some(trust.client(b"h2")?), None),
            (true, Some(trust), Protocol::H3) => (None, Some(http3::configuration(&trust.client(b"h3")?)?)),
        };
        Ok(Self {
            target,
            protocol,
            connect_timeout: Duration::from_secs(CONNECT_TIMEOUT_S),
            source: None,
            window: None,
            fields: http::HeaderMap::new(),
            tls,
            quic,
        })
    }

    /// The same, with another time for a connection to come.
    #[must_use]
    pub fn connecting_within(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// The same, with these header fields in every request.
    #[must_use]
    pub fn with_fields(self, fields: http::HeaderMap) -> Self {
        Self { fields, ..self }
    }

    /// The same, connecting from an address of this machine instead of the one that the system takes.
    #[must_use]
    pub fn connecting_from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same, taking no more than so many bytes of an answer before they are read, as far as the protocol and the kernel let it say so.
    #[must_use]
    pub fn with_window(mut self, bytes: u32) -> Self {
        self.window = Some(bytes);
        self.quic = self.quic.map(|quic| http3::with_window(quic, bytes));
        self
    }

    /// Whom it asks.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// By which protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// A request for a path of the target.
    ///
    /// # Errors
    /// A sentence: the target's host is none.
    pub fn request(&self, path: &PathAndQuery) -> Result<Request<()>, String> {
        let is_h1 = self.protocol == Protocol::H1;
        let mut request = Request::get(self.target.uri(path, is_h1)?);
        if is_h1 {
            request = request.header(http::header::HOST, &self.target.host);
        }
        let mut request = request.body(()).map_err(|error| error.to_string())?;
        request.headers_mut().extend(self.fields.clone());
        Ok(request)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// A sentence: it does not come in time, is refused, its certificate is not trusted, or another protocol is spoken there.
    pub async fn connect(&self) -> Result<Connection, String> {
        let address = self.target.address;
        match timeout(self.connect_timeout, self.open()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(format!("cannot connect to {address} over {}: {error}", self.protocol)),
            Err(_) => {
                let seconds = self.connect_timeout.as_secs();
                Err(format!("cannot connect to {address} over {} within {seconds} s", self.protocol))
            }
        }
    }

    async fn open(&self) -> Result<Connection, String> {
        if let Some(quic) = &self.quic {
            return Ok(Connection { link: Link::H3(http3::open(&self.target, self.source, quic.clone()).await?), suite: None });
        }
        let stream = tcp(self.target.address, self.source, self.window).await.map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else {
            return Ok(Connection { link: self.speak(stream).await?, suite: None });
        };
        let name = ServerName::try_from(self.target.name.clone()).map_err(|error| format!("`{}`: {error}", self.target.name))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(|error| error.to_string())?;
        let session = stream.get_ref().1;
        if self.protocol == Protocol::H2 && session.alpn_protocol() != Some(b"h2") {
            return Err("the server does not choose HTTP/2 in the TLS handshake (ALPN)".to_owned());
        }
        let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
        Ok(Connection { link: self.speak(stream).await?, suite })
    }

    async fn speak<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&self, stream: S) -> Result<Link, String> {
        match self.protocol {
            Protocol::H1 => Ok(Link::H1(http1::open(stream).await?)),
            _ => Ok(Link::H2(http2::open(stream, self.window).await?)),
        }
    }
}

async fn tcp(address: SocketAddr, source: Option<IpAddr>, window: Option<u32>) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    if let Some(window) = window {
        socket.set_recv_buffer_size(window)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why there was no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The server takes no further requests on this connection, and nothing was done with this one: it is to be asked on another.
    NotTaken,
    /// A sentence.
    Failed(String),
}

impl From<String> for Unanswered {
    fn from(sentence: String) -> Self {
        Self::Failed(sentence)
    }
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotTaken => f.write_str("the server takes no further requests on this connection"),
            Self::Failed(sentence) => f.write_str(sentence),
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    link: Link,
    suite: Option<rustls::CipherSuite>,
}

#[derive(Debug)]
enum Link {
    H1(http1::Link),
    H2(http2::Link),
    H3(http3::Link),
}

impl Connection {
    /// Asks, hands every part of the body to `take`, and gives the head when the whole answer is there.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn ask(&mut self, request: Request<()>, take: impl FnMut(&[u8])) -> Result<Parts, Unanswered> {
        self.ask_slowly(request, u64::MAX, take).await
    }

    /// The same, reading no more than so many bytes a second.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn ask_slowly(&mut self, request: Request<()>, rate: u64, take: impl FnMut(&[u8])) -> Result<Parts, Unanswered> {
        match &mut self.link {
            Link::H1(link) => link.ask(request, rate, take).await.map_err(Unanswered::Failed),
            Link::H2(link) => link.ask(request, rate, take).await.map_err(Unanswered::Failed),
            Link::H3(link) => link.ask(request, rate, take).await,
        }
    }

    /// Waits until it can be asked again after a whole answer; false if it cannot.
    pub async fn is_ready(&mut self) -> bool {
        match &mut self.link {
            Link::H1(link) => link.is_ready().await,
            Link::H2(link) => !link.is_closed(),
            Link::H3(link) => !link.is_closed(),
        }
    }

    /// Whether it is known to have ended.
    #[must_use]
    pub fn is_closed(&mut self) -> bool {
        match &mut self.link {
            Link::H1(link) => link.is_closed(),
            Link::H2(link) => link.is_closed(),
            Link::H3(link) => link.is_closed(),
        }
    }

    /// The same connection for another stream; none over HTTP/1.1.
    #[must_use]
    pub fn share(&self) -> Option<Self> {
        let link = match &self.link {
            Link::H1(_) => return None,
            Link::H2(link) => Link::H2(link.clone()),
            Link::H3(link) => Link::H3(link.clone()),
        };
        Some(Self { link, suite: self.suite })
    }

    /// The cipher suite of TLS over TCP.
    #[must_use]
    pub const fn suite(&self) -> Option<rustls::CipherSuite> {
        self.suite
    }
}

/// Waits as long as so many bytes take at a rate, in bytes a second.
async fn pause(bytes: usize, rate: u64) {
    if rate < u64::MAX {
        tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64)).await;
    }
}

/// An error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
