//! One HTTP request to a process of this CDN, over cleartext HTTP/1.1, on a connection of its own.
//!
//! The operator commands ask the control API with it, `skerry dev` asks whether everything answers. It follows no redirect and keeps
//! no connection.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The largest answer that is read, in bytes. The largest one of the API is a site with 256 rules.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nobody listens there, or nobody lets us.
    Connect(std::io::Error),
    /// Not within the time allowed.
    Late(Duration),
    /// The connection broke, or what came is no HTTP.
    Broken(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "{error}"),
            Self::Late(limit) => write!(f, "no answer within {limit:?}"),
            Self::Broken(says) => write!(f, "no whole answer: {says}"),
        }
    }
}

/// Sends `request` to `address` (`host:port`) and reads the whole answer, all within `limit`.
pub(crate) async fn ask(address: &str, request: Request<Full<Bytes>>, limit: Duration) -> Result<Response<Bytes>, Unanswered> {
    tokio::time::timeout(limit, exchange(address, request)).await.unwrap_or(Err(Unanswered::Late(limit)))
}

async fn exchange(address: &str, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Unanswered> {
    let broken = |error: hyper::Error| Unanswered::Broken(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(Unanswered::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the sender, which ends with this call.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| Unanswered::Broken(error.to_string()))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
