//! HTTP/2 by hyper.

use bytes::Bytes;
use http::response::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{pause, told};

/// What a server may send on one stream before it is told that it was read, in bytes; about what browsers give.
const STREAM_WINDOW_BYTES: u32 = 6 << 20;
/// The same for all streams of a connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 15 << 20;

/// The one that asks; a clone asks on the same connection.
#[derive(Clone, Debug)]
pub(super) struct Link(SendRequest<Empty<Bytes>>);

pub(super) async fn open<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, window: Option<u32>) -> Result<Link, String> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(window.unwrap_or(STREAM_WINDOW_BYTES))
        .initial_connection_window_size(window.unwrap_or(CONNECTION_WINDOW_BYTES));
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
    // Ends with the last sender; what goes wrong shows at the next request.
    tokio::spawn(connection);
    Ok(Link(sender))
}

impl Link {
    pub(super) async fn ask(&mut self, request: Request<()>, rate: u64, take: impl FnMut(&[u8])) -> Result<Parts, String> {
        self.0.ready().await.map_err(|error| told(&error))?;
        let response = self.0.send_request(request.map(|()| Empty::new())).await.map_err(|error| told(&error))?;
        read(response, rate, take).await
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Reads the body of an answer, over either protocol.
pub(super) async fn read(response: Response<Incoming>, rate: u64, mut take: impl FnMut(&[u8])) -> Result<Parts, String> {
    let (head, mut body) = response.into_parts();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| told(&error))?.into_data() {
            take(&data);
            pause(data.len(), rate).await;
        }
    }
    Ok(head)
}
