//! The origin: answers with the object that a path names, whole or a range of it, with the playlist of a live stream, and with what it has
//! counted, at loopback.

mod live;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub(crate) use self::live::{Stream, WINDOW};
use crate::object::{Object, Pattern};

/// Where it tells what it has counted; such requests are not counted.
pub(crate) const FIGURES: &str = "/figures";
/// The field in which an answer has the number of its request, from 1, so that a later answer can be told from an earlier one.
pub(crate) const NUMBER: HeaderName = HeaderName::from_static("x-origin-number");

/// What it has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// Octets of bodies that were taken from it.
    pub octets: u64,
    /// Connections that were made.
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    octets: AtomicU64,
    connections: AtomicU64,
}

/// An origin that answers for as long as the runtime lives.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<Counts>,
}

/// What every answer is made from.
#[derive(Debug)]
struct Shared {
    pattern: Arc<Pattern>,
    delay: Duration,
    counts: Arc<Counts>,
    begun: Instant,
}

impl Origin {
    /// Starts one that waits for `delay` before each answer.
    pub(crate) async fn start(pattern: Arc<Pattern>, delay: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = Self { address: listener.local_addr()?, counts: Arc::default() };
        let shared = Arc::new(Shared { pattern, delay, counts: Arc::clone(&origin.counts), begun: Instant::now() });
        tokio::spawn(async move {
            // An origin that cannot accept shows in the answers.
            while let Ok((socket, _)) = listener.accept().await {
                // Small answers go out at once, not with the next (Nagle's algorithm).
                let _ = socket.set_nodelay(true);
                shared.counts.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&shared);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.answer(&request).await) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
            }
        });
        Ok(origin)
    }
}

type Answer = Response<Either<Cut, Full<Bytes>>>;

impl Shared {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if path == FIGURES {
            return text("application/json", "no-store", &self.figures());
        }
        let number = self.counts.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let mut response = match Stream::of(path) {
            Some(stream) => text("application/vnd.apple.mpegurl", "max-age=1", &stream.playlist(self.begun.elapsed())),
            None => self.object(request).map(Either::Left),
        };
        response.headers_mut().insert(NUMBER, HeaderValue::from(number));
        response
    }

    fn figures(&self) -> String {
        let counted = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { requests, octets, connections } = &*self.counts;
        let figures = Figures { requests: counted(requests), octets: counted(octets), connections: counted(connections) };
        serde_json::to_string(&figures).unwrap_or_default()
    }

    fn object(&self, request: &Request<Incoming>) -> Response<Cut> {
        answer(request, &self.pattern, &self.counts)
    }
}

fn text(kind: &'static str, control: &'static str, text: &str) -> Answer {
    let mut response = Response::new(Either::Right(Full::new(Bytes::copy_from_slice(text.as_bytes()))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    response
}

/// Answers until standard input ends; says first, in one line of JSON, where: `{"listening": "127.0.0.1:PORT"}`.
///
/// # Errors
/// A sentence: there is no port.
pub async fn serve(delay: Duration) -> Result<(), String> {
    let origin = Origin::start(Arc::new(Pattern::new()), delay).await.map_err(|error| format!("the origin does not start: {error}"))?;
    println!("{{\"listening\":\"{}\"}}", origin.address);
    let input = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    input.await.map(|_| ()).map_err(|error| format!("standard input cannot be read: {error}"))
}

/// Some bytes of an object, made as they are taken.
struct Cut {
    pattern: Arc<Pattern>,
    counts: Arc<Counts>,
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
        self.counts.octets.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.range.start)
    }
}

fn answer(request: &Request<Incoming>, pattern: &Arc<Pattern>, counts: &Arc<Counts>) -> Response<Cut> {
    let object = Object::of(request.uri().path());
    let nothing = Object { kind: crate::object::Kind::Private, number: 0, bytes: 0 };
    let cut = |object, range| Cut { pattern: Arc::clone(pattern), counts: Arc::clone(counts), object, range };
    let Some(object) = object else {
        let mut response = Response::new(cut(nothing, 0..0));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    if request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| *known == object.validator()) {
        let mut response = Response::new(cut(object, 0..0));
        *response.headers_mut() = object.head();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
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
