//! HTTP/2 to servers: connections that many requests share, spoken by the `h2` crate.
//!
//! Each has a task, the [`driver`]; a request is a [`Stream`] of it, counted until its answer has been read.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version, header};
use parking_lot::Mutex;
use tokio::time::Instant;

mod driver;

use driver::Wire;

use super::failure::{Due, Failed};
use super::io::Io;
use super::{Answered, Outgoing, Source, UpstreamErrorKind};
use crate::alarm::Timer;
use crate::interim::{Arrived, INTERIM_MAX};
use crate::sound::{self, Answer, HEAD_BYTES_MAX};
use crate::target::{H2_CONNECTION_WINDOW_BYTES, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX, IDLE_TIME_MAX, Target};

/// A list of fields so large, in bytes with 32 for each field, ends its stream. What is above the bound for heads is told by its name up to here.
const FIELD_LIST_BYTES_MAX: u32 = 4 * HEAD_BYTES_MAX as u32;

/// One connection.
pub(super) struct Connection {
    address: SocketAddr,
    requests: SendRequest<Bytes>,
    streams: AtomicUsize,
    /// Whether nothing can be asked over it any more.
    is_over: Arc<AtomicBool>,
    /// Whether it stays open though nobody uses it.
    is_kept: bool,
    /// Since when nobody has.
    idle_since: Mutex<Instant>,
}

/// A place among the streams of a connection.
pub(super) struct Stream(Arc<Connection>);

/// The body of an answer.
pub(super) struct Reading {
    body: RecvStream,
    timer: Timer,
    _stream: Stream,
}

impl Connection {
    /// Begins to speak HTTP/2, as both sides have agreed to; `is_kept` is for a link that is to stay open.
    ///
    /// # Errors
    /// When the connection has ended already.
    pub(super) async fn begin(io: Io, address: SocketAddr, is_kept: bool) -> Result<Arc<Self>, Failed> {
        let wire = Wire::new(io);
        let begun = Builder::new()
            .enable_push(false)
            .initial_window_size(H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
            .max_header_list_size(FIELD_LIST_BYTES_MAX)
            .handshake(wire.clone());
        let (requests, connection) = begun.await.map_err(|error| failed(&error))?;
        let is_over: Arc<AtomicBool> = Arc::default();
        tokio::spawn(driver::drive(connection, wire, is_kept, Arc::clone(&is_over)));
        let idle_since = Mutex::new(Instant::now());
        Ok(Arc::new(Self { address, requests, streams: AtomicUsize::new(0), is_over, is_kept, idle_since }))
    }

    /// The server's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether nothing can be asked over it any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Whether it stays open though nobody uses it.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether nobody has used it for long.
    pub(super) fn is_spare(&self, now: Instant) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && now.duration_since(*self.idle_since.lock()) > IDLE_TIME_MAX
    }

    /// The requests under way.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether another request has room beside those under way.
    pub(super) fn has_room(&self) -> bool {
        !self.is_over() && self.streams() < H2_STREAMS_MAX.min(self.requests.current_max_send_streams())
    }

    /// What an error of the crate's stands for. After some of them nothing more can be asked.
    fn failed(&self, error: &h2::Error) -> Failed {
        if error.is_io() || error.is_go_away() {
            self.is_over.store(true, Ordering::Release);
        }
        failed(error)
    }

    /// A place for one more. Beyond what the server takes at once it waits for its turn.
    pub(super) fn stream(self: &Arc<Self>) -> Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Stream(Arc::clone(self))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.0.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.0.idle_since.lock() = Instant::now();
        }
    }
}

impl Stream {
    /// The server's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Asks, and reads the heads of the answer up to the final one.
    ///
    /// # Errors
    /// When there is none that could be true, or not in time.
    pub(super) async fn ask(self, target: &Target, request: &Outgoing, began: Instant) -> Result<Answered, Failed> {
        let head = head(target, request)?;
        let mut due = Due::of_head(&target.times, began);
        let mut requests = self.0.requests.clone();
        let mut timer = Timer::default();
        poll_fn(|cx| match requests.poll_ready(cx) {
            Poll::Ready(ready) => Poll::Ready(ready.map_err(|error| self.0.failed(&error))),
            Poll::Pending => due.poll(&mut timer, cx),
        })
        .await?;
        let (response, _) = requests.send_request(head, true).map_err(|error| self.0.failed(&error))?;
        let mut asking = Asking { connection: &self.0, response, arrived: Arrived::default(), interim: 0, timer };
        let (parts, body) = poll_fn(|cx| asking.poll_head(cx, request, &mut due)).await?.into_parts();
        let Asking { arrived, timer, .. } = asking;
        let source = Source::Http2(Box::new(Reading { body, timer, _stream: self }));
        Ok(Answered { status: parts.status, headers: parts.headers, interim: arrived.into_heads(), source })
    }
}

/// A request whose answer is waited for.
struct Asking<'a> {
    connection: &'a Connection,
    response: ResponseFuture,
    arrived: Arrived,
    interim: usize,
    timer: Timer,
}

impl Asking<'_> {
    fn poll_head(&mut self, cx: &mut Context<'_>, request: &Outgoing, due: &mut Due) -> Poll<Result<Response<RecvStream>, Failed>> {
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let interim = interim.map_err(|error| self.connection.failed(&error))?;
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Poll::Ready(Err(Failed::new(UpstreamErrorKind::BadHead, "too many informational answers")));
            }
            check(&interim, request)?;
            let (parts, ()) = interim.into_parts();
            self.arrived.add(parts.status, parts.headers);
            request.early.iter().for_each(|early| self.arrived.hand_on(early));
        }
        match Pin::new(&mut self.response).poll(cx) {
            Poll::Ready(answer) => {
                let answer = answer.map_err(|error| self.connection.failed(&error))?;
                check(&answer, request)?;
                Poll::Ready(Ok(answer))
            }
            Poll::Pending => due.poll(&mut self.timer, cx),
        }
    }
}

fn check<B>(answer: &Response<B>, request: &Outgoing) -> Result<(), Failed> {
    let headers = answer.headers();
    sound::length(headers).map_err(Failed::of)?;
    let answer = Answer { status: answer.status(), version: Version::HTTP_2, headers };
    sound::check(&answer, &request.headers, false).map_err(Failed::of)
}

fn head(target: &Target, request: &Outgoing) -> Result<Request<()>, Failed> {
    let host = target.host_header.as_deref().unwrap_or(&request.authority);
    let scheme = if target.endpoint.tls().is_some() { "https" } else { "http" };
    let path = PathAndQuery::try_from(request.path_and_query.as_str()).ok();
    let uri = path.and_then(|path| Uri::builder().scheme(scheme).authority(host).path_and_query(path).build().ok());
    let uri = uri.ok_or_else(|| Failed::new(UpstreamErrorKind::BadHead, "its target or host cannot be written into a head"))?;
    let mut head = Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = uri;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = request.headers.clone();
    head.headers_mut().remove(header::HOST);
    Ok(head)
}

impl Reading {
    /// The next piece, never empty; `None` at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>, due: &mut Due) -> Poll<Result<Option<Bytes>, Failed>> {
        loop {
            let Poll::Ready(data) = self.body.poll_data(cx) else { return due.poll(&mut self.timer, cx) };
            let data = match data {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(Failed::new(UpstreamErrorKind::Cut, error.to_string()))),
                Some(Ok(data)) => data,
            };
            // A stream that is gone has no window to give back.
            let _ = self.body.flow_control().release_capacity(data.len());
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(data)));
            }
        }
    }
}

/// What an error of the crate's stands for, before there is a head.
fn failed(error: &h2::Error) -> Failed {
    let kind = if error.is_io() { UpstreamErrorKind::Cut } else { UpstreamErrorKind::Protocol };
    let is_goodbye = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    let is_refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    Failed { unseen: is_goodbye || is_refused, ..Failed::new(kind, error.to_string()) }
}
