//! HTTP/1.1 by hyper.
//!
//! The connection is moved on by whoever asks, in the same task: a task of its own would be woken twice for every request, which costs a
//! generator more than the rest of its work.

use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body_util::Empty;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{http2, told};

/// The one that asks, and the connection that it asks on.
pub(super) struct Link {
    sender: SendRequest<Empty<Bytes>>,
    connection: Moved,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("sender", &self.sender).finish_non_exhaustive()
    }
}

pub(super) async fn open<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Result<Link, String> {
    // A head without a body is one piece: a vectored write of it only costs the generator more.
    let (sender, connection) = Builder::new().writev(false).handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
    Ok(Link { sender, connection: Moved(Some(Box::pin(connection))) })
}

impl Link {
    pub(super) async fn ask(&mut self, request: Request<()>, rate: u64, take: impl FnMut(&[u8])) -> Result<Parts, String> {
        let asking = async {
            let response = self.sender.send_request(request.map(|()| Empty::new())).await.map_err(|error| told(&error))?;
            http2::read(response, rate, take).await
        };
        self.connection.along(asking).await
    }

    pub(super) async fn is_ready(&mut self) -> bool {
        self.connection.along(self.sender.ready()).await.is_ok()
    }

    /// Looks at the connection first: while nobody asks, nobody else does.
    pub(super) fn is_closed(&mut self) -> bool {
        self.connection.poll(&mut Context::from_waker(Waker::noop()));
        self.sender.is_closed()
    }
}

/// A connection, until it has ended; what went wrong with it shows at the request.
struct Moved(Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>);

impl Moved {
    fn poll(&mut self, context: &mut Context<'_>) {
        if self.0.as_mut().is_some_and(|connection| connection.as_mut().poll(context).is_ready()) {
            self.0 = None;
        }
    }

    /// Does some work on the connection, and moves the connection on meanwhile.
    async fn along<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            self.poll(context);
            work.as_mut().poll(context)
        })
        .await
    }
}
