//! One HTTP request to a process of this CDN, over HTTP/1.1, cleartext or TLS, on a connection of its own.
//!
//! The operator commands ask the control API with it, `skerry dev` asks whether everything answers. It follows no redirect and keeps
//! no connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer that is read, in bytes. The largest one of the API is a site with 256 rules.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nobody listens there, or nobody lets us.
    Connect(std::io::Error),
    /// Whoever answers is not trusted, or speaks no TLS.
    Untrusted(std::io::Error),
    /// Not within the time allowed.
    Late(Duration),
    /// The connection broke, or what came is no HTTP.
    Broken(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "{error}"),
            Self::Untrusted(error) => write!(f, "no TLS: {error}"),
            Self::Late(limit) => write!(f, "no answer within {limit:?}"),
            Self::Broken(says) => write!(f, "no whole answer: {says}"),
        }
    }
}

/// TLS to the other side.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    /// Whom to trust.
    pub(crate) config: Arc<ClientConfig>,
    /// The name or address that its certificate has to be for.
    pub(crate) name: ServerName<'static>,
}

/// Sends `request` to `address` (`host:port`) and reads the whole answer, all within `limit`.
pub(crate) async fn ask(
    address: &str,
    secured: Option<&Secured>,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Result<Response<Bytes>, Unanswered> {
    let asking = async {
        let stream = TcpStream::connect(address).await.map_err(Unanswered::Connect)?;
        match secured {
            None => exchange(stream, request).await,
            Some(Secured { config, name }) => {
                let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await;
                exchange(stream.map_err(Unanswered::Untrusted)?, request).await
            }
        }
    };
    tokio::time::timeout(limit, asking).await.unwrap_or(Err(Unanswered::Late(limit)))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, Unanswered> {
    let broken = |error: hyper::Error| Unanswered::Broken(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the sender, which ends with this call.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| Unanswered::Broken(error.to_string()))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
