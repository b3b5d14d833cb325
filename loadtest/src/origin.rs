//! The origin: answers with the object that a path names, whole or a range of it, at loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::object::{Object, Pattern};

/// An origin that answers for as long as the runtime lives.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicU64>,
}

impl Origin {
    pub(crate) async fn start(pattern: Arc<Pattern>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = Self { address: listener.local_addr()?, requests: Arc::default() };
        let requests = Arc::clone(&origin.requests);
        tokio::spawn(async move {
            // An origin that cannot accept shows in the answers.
            while let Ok((socket, _)) = listener.accept().await {
                let (pattern, requests) = (Arc::clone(&pattern), Arc::clone(&requests));
                let answer = service_fn(move |request: Request<Incoming>| {
                    requests.fetch_add(1, Ordering::Relaxed);
                    std::future::ready(Ok::<_, Infallible>(answer(&request, &pattern)))
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
            }
        });
        Ok(origin)
    }
}

/// Some bytes of an object, made as they are taken.
struct Cut {
    pattern: Arc<Pattern>,
    object: Object,
    range: Range<u64>,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = Bytes::copy_from_slice(self.pattern.piece(self.object, &self.range));
        self.range.start += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.range.start)
    }
}

fn answer(request: &Request<Incoming>, pattern: &Arc<Pattern>) -> Response<Cut> {
    let object = Object::of(request.uri().path());
    let nothing = Object { kind: crate::object::Kind::Private, number: 0, bytes: 0 };
    let cut = |object, range| Cut { pattern: Arc::clone(pattern), object, range };
    let Some(object) = object else {
        let mut response = Response::new(cut(nothing, 0..0));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let asked = request.headers().get(header::RANGE).and_then(|value| range(value, object.bytes));
    let mut response = Response::new(cut(object, asked.clone().unwrap_or(0..object.bytes)));
    *response.headers_mut() = object.head();
    if let Some(range) = asked {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, object.bytes);
        response.headers_mut().insert(header::CONTENT_RANGE, HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("none")));
    }
    response
}

/// The one range that is asked for; what is no such range is ignored (RFC 9110 section 14.2).
fn range(value: &HeaderValue, length: u64) -> Option<Range<u64>> {
    let (first, last) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { length } else { last.parse::<u64>().ok()?.saturating_add(1).min(length) };
    (first < last).then_some(first..last)
}
