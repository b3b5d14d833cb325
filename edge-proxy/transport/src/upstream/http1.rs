//! One HTTP/1.1 connection to a server: a request is written in one go, its answer is read by whoever asked. Nothing runs beside it.
//!
//! Below: [`head`] reads heads of answers, [`body`] what follows them.

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::header;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::Instant;

mod body;
mod head;

pub(super) use body::Reading;
use head::{Coming, Head};

use super::failure::{Due, Failed};
use super::io::Io;
use super::{Answered, Outgoing, Source, UpstreamErrorKind};
use crate::alarm::Timer;
use crate::interim::{Arrived, INTERIM_MAX};
use crate::sound::{self, Answer};
use crate::target::{IDLE_TIME_MAX, Target};

/// Bytes of a head, with what comes along of the body, that are read at once.
const HEAD_READ_BYTES: usize = 4 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    io: Io,
    address: SocketAddr,
    /// What has come and was not used. Nothing between two requests.
    read: BytesMut,
    /// The head of a request, from `written` on still to be sent.
    head: Vec<u8>,
    written: usize,
    timer: Timer,
    /// Until when it may be idle.
    keep_until: Instant,
}

impl Connection {
    pub(super) fn new(io: Io, address: SocketAddr) -> Box<Self> {
        let (read, timer, keep_until) = (BytesMut::new(), Timer::default(), Instant::now());
        Box::new(Self { io, address, read, head: Vec::new(), written: 0, timer, keep_until })
    }

    /// The server's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Until when it may be idle.
    pub(super) fn keep_until(&self) -> Instant {
        self.keep_until
    }

    /// Whether it can be used for another request, as far as this side knows: it is open, and nothing has come that nobody asked for.
    pub(super) fn is_fresh(&mut self) -> bool {
        let mut byte = [0];
        // Whatever the task has used up of its turn: what has come is to be seen.
        let read = pin!(tokio::task::unconstrained(self.io.read(&mut byte))).poll(&mut Context::from_waker(Waker::noop()));
        read.is_pending() && Instant::now() < self.keep_until
    }

    /// Asks, and reads the heads of the answer up to the final one.
    ///
    /// # Errors
    /// When there is none that could be true, or not in time.
    pub(super) async fn ask(mut self: Box<Self>, target: &Target, request: &Outgoing, began: Instant) -> Result<Answered, Failed> {
        self.write_head(target, request)?;
        let mut due = Due::after(target.times.between_bytes, UpstreamErrorKind::Timeout);
        std::future::poll_fn(|cx| self.poll_send(cx, &mut due)).await?;
        let mut due = Due::of_head(&target.times, began);
        let (mut coming, mut arrived) = (Coming::default(), Arrived::default());
        for _ in 0..=INTERIM_MAX {
            let head = std::future::poll_fn(|cx| self.poll_head(cx, &mut coming, &mut due)).await?;
            let answer = Answer { status: head.status, version: head.version, headers: &head.headers };
            sound::check(&answer, &request.headers, false).map_err(Failed::of)?;
            if head.status.is_informational() {
                arrived.add(head.status, head.headers);
                request.early.iter().for_each(|early| arrived.hand_on(early));
                continue;
            }
            let keep = head.keeps(IDLE_TIME_MAX);
            self.keep_until = Instant::now() + keep.unwrap_or_default();
            let source = Source::Http1(Reading::of(self, &head, &request.method, keep.is_some()));
            return Ok(Answered { status: head.status, headers: head.headers, interim: arrived.into_heads(), source });
        }
        Err(Failed::new(UpstreamErrorKind::BadHead, "too many informational answers"))
    }

    fn write_head(&mut self, target: &Target, request: &Outgoing) -> Result<(), Failed> {
        let host = target.host_header.as_deref().unwrap_or(&request.authority);
        // RFC 9112 section 3.2: neither would be one word.
        if !is_word(&request.path_and_query) || !is_word(host) {
            return Err(Failed::new(UpstreamErrorKind::BadHead, "its target or host cannot be written into a head"));
        }
        self.written = 0;
        let head = &mut self.head;
        head.clear();
        let mut say = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        say(&[request.method.as_str().as_bytes(), b" ", request.path_and_query.as_bytes(), b" HTTP/1.1\r\nHost: ", host.as_bytes()]);
        for (name, value) in &request.headers {
            if *name != header::HOST {
                say(&[b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()]);
            }
        }
        say(&[b"\r\n\r\n"]);
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, due: &mut Due) -> Poll<Result<(), Failed>> {
        let Self { io, head, written, timer, .. } = self;
        let mut io = std::pin::Pin::new(io);
        let sent = loop {
            if *written == head.len() {
                break io.as_mut().poll_flush(cx).map_ok(drop);
            }
            match io.as_mut().poll_write(cx, &head[*written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => *written += bytes,
                other => break other.map_ok(drop),
            }
        };
        match sent {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(|error| Failed::cut(&error))),
            Poll::Pending => due.poll(timer, cx),
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, coming: &mut Coming, due: &mut Due) -> Poll<Result<Head, Failed>> {
        loop {
            if let Some(head) = coming.take(&mut self.read).map_err(Failed::of)? {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_fill(cx, HEAD_READ_BYTES, due))? == 0 {
                return Poll::Ready(Err(Failed::new(UpstreamErrorKind::Cut, "the connection ended before its head was complete")));
            }
        }
    }

    /// Reads what has come, up to `wanted` bytes; 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize, due: &mut Due) -> Poll<Result<usize, Failed>> {
        self.read.reserve(wanted);
        match pin!(self.io.read_buf(&mut self.read)).poll(cx) {
            Poll::Ready(read) => Poll::Ready(read.map_err(|error| Failed::cut(&error))),
            Poll::Pending => due.poll(&mut self.timer, cx),
        }
    }

    /// Lets go of what an idle connection does not need.
    pub(super) fn rest(&mut self) {
        self.read = BytesMut::new();
    }

    /// Says that it ends, for what is nobody's any more.
    pub(super) fn close(mut self) {
        let _ = pin!(self.io.shutdown()).poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// Whether it is one word of a head: neither space nor control.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}
