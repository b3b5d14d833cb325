//! One message to one receiver: a POST over a connection of its own, to an address that it may be sent to.
//!
//! Follows no redirect: what is behind one was never checked. Names are resolved first and the address that is connected to is the one that was judged.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use skerry_transport::allowed::Allowed;
use skerry_transport::resolve::Resolver;
use skerry_transport::tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Time for the name, the connection, TLS and the head of the answer together.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Addresses of one receiver that are tried.
const ADDRESSES_MAX: usize = 4;

/// Bytes of a URL.
const URL_BYTES_MAX: usize = 2_048;

/// What is sent.
pub(super) struct Message<'a> {
    /// `webhook-id`: the same for every try.
    pub(super) id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub(super) timestamp: u64,
    /// `webhook-signature`.
    pub(super) signature: String,
    /// JSON.
    pub(super) body: String,
}

/// Why a message did not arrive.
#[derive(Debug)]
pub(super) struct Failure {
    /// In one sentence.
    pub(super) says: String,
    /// Whether the receiver wants no more of them: 410.
    pub(super) is_gone: bool,
}

/// Where a message goes, read from a URL.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Receiver {
    is_secured: bool,
    host: String,
    port: u16,
    authority: String,
    target: String,
}

/// Sends messages.
pub(super) struct Client {
    resolver: Resolver,
    allowed: Allowed,
}

impl Receiver {
    /// Where a URL leads, or what is wrong with it.
    pub(super) fn of(url: &str) -> Result<Self, String> {
        let wrong = || "this is not the URL of a receiver; write https://HOST/PATH, without a user and a fragment".to_owned();
        if url.len() > URL_BYTES_MAX {
            return Err(format!("the URL has {} bytes; at most {URL_BYTES_MAX} are allowed", url.len()));
        }
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_secured = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        let authority = authority.filter(|_| !url.contains('#')).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_secured { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { is_secured, host, port, authority: authority.as_str().to_owned(), target })
    }
}

impl Client {
    /// One that sends to public addresses and to these.
    pub(super) fn new(allow: &[IpNet]) -> Self {
        Self { resolver: Resolver::new(&[]), allowed: Allowed::new(allow) }
    }

    /// Whether a receiver that is named by its address may be sent to. Names are judged when they are resolved.
    pub(super) fn judge(&self, receiver: &Receiver) -> Result<(), String> {
        receiver.host.parse().map_or(Ok(()), |ip| self.may(receiver, ip))
    }

    fn may(&self, receiver: &Receiver, ip: IpAddr) -> Result<(), String> {
        self.allowed.may_connect(ip).map_err(|what| {
            format!(
                "{} leads to {ip}, which is {what}; an address that is not public is sent to only where webhooks.allow has it",
                receiver.host
            )
        })
    }

    /// Sends a message; it arrived when the answer is 2xx.
    pub(super) async fn send(&self, receiver: &Receiver, message: Message<'_>) -> Result<(), Failure> {
        let failed = |says: String| Failure { says, is_gone: false };
        let answer = tokio::time::timeout(TIME_MAX, self.exchange(receiver, message)).await;
        let status = answer.map_err(|_| failed(format!("no answer within {} s", TIME_MAX.as_secs())))?.map_err(failed)?;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(Failure { says: "the receiver is gone (410)".to_owned(), is_gone: true }),
            status if status.is_redirection() => Err(failed(format!("the receiver answers {status}; redirects are not followed"))),
            status => Err(failed(format!("the receiver answers {status}"))),
        }
    }

    async fn exchange(&self, receiver: &Receiver, message: Message<'_>) -> Result<StatusCode, String> {
        let request = Request::post(&receiver.target)
            .header(header::HOST, &receiver.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("skerry/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signature)
            .body(Full::new(Bytes::from(message.body)))
            .map_err(|error| format!("the request cannot be written: {error}"))?;
        let stream = self.connect(receiver).await?;
        if !receiver.is_secured {
            return ask(stream, request).await;
        }
        let name = ServerName::try_from(receiver.host.clone()).map_err(|_| format!("{} is no name for TLS", receiver.host))?;
        let connector = TlsConnector::from(tls::to_server(None)?);
        let stream = connector.connect(name, stream).await.map_err(|error| format!("no TLS with {}: {error}", receiver.authority))?;
        ask(stream, request).await
    }

    async fn connect(&self, receiver: &Receiver) -> Result<TcpStream, String> {
        let addresses = self.resolver.addresses(&receiver.host).await?;
        let mut why = format!("{} has no address", receiver.host);
        for ip in Arc::clone(&addresses).iter().take(ADDRESSES_MAX) {
            if let Err(says) = self.may(receiver, *ip) {
                why = says;
                continue;
            }
            match TcpStream::connect(SocketAddr::new(*ip, receiver.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = format!("{} at {ip} cannot be reached: {error}", receiver.authority),
            }
        }
        Err(why)
    }
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Full<Bytes>>) -> Result<StatusCode, String> {
    let broken = |error: hyper::Error| format!("no whole answer: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the sender, which ends with this call: what comes after the head is of no interest.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await.map_err(broken)?.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_a_message_goes() {
        for (url, secured, host, port, target) in [
            ("https://a.test", true, "a.test", 443, "/"),
            ("http://a.test:8080/hooks?a=b", false, "a.test", 8080, "/hooks?a=b"),
            ("https://[2001:db8::1]/x", true, "2001:db8::1", 443, "/x"),
        ] {
            let receiver = Receiver::of(url).unwrap();
            assert_eq!((receiver.is_secured, &*receiver.host, receiver.port, &*receiver.target), (secured, host, port, target), "{url}");
        }
        for url in ["", "a.test", "ftp://a.test/", "https:///x", "https://u@a.test/", "https://a.test/#f", "http://a b/"] {
            assert!(Receiver::of(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn addresses_that_are_not_public_are_refused_unless_allowed() {
        let receiver = |url: &str| Receiver::of(url).unwrap();
        let client = Client::new(&[]);
        for url in ["http://127.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest"] {
            assert!(client.judge(&receiver(url)).unwrap_err().contains("webhooks.allow"), "{url}");
        }
        assert!(client.judge(&receiver("https://192.0.2.1/")).is_ok());
        assert!(Client::new(&["127.0.0.0/8".parse().unwrap()]).judge(&receiver("http://127.0.0.1/")).is_ok());
        // A name that leads there is found out when it is resolved.
        let message = Message { id: "evt_1", timestamp: 1, signature: String::new(), body: String::new() };
        let failure = client.send(&receiver("http://localhost:1/"), message).await.unwrap_err();
        assert!(failure.says.contains("is loopback"), "{failure:?}");
    }
}
