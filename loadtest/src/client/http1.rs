//! HTTP/1.1 by hyper.

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{http2, told};

/// The one that asks.
#[derive(Debug)]
pub(super) struct Link(SendRequest<Empty<Bytes>>);

pub(super) async fn open<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Result<Link, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
    // Ends with the sender; what goes wrong shows at the next request.
    tokio::spawn(connection);
    Ok(Link(sender))
}

impl Link {
    pub(super) async fn ask(&mut self, request: Request<()>, take: impl FnMut(&[u8])) -> Result<Parts, String> {
        let response = self.0.send_request(request.map(|()| Empty::new())).await.map_err(|error| told(&error))?;
        http2::read(response, take).await
    }

    pub(super) async fn is_ready(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
