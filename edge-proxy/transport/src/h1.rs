//! The HTTP/1.1 front door: the requests of one connection, one after the other.
//!
//! It reads every head itself, by one strict rule ([`request`]), and asks the tier for the answer. One that is at hand it writes (`answer`), for one
//! that has to be waited for its client waits (`asker`). What is passed through it hands to Pingora, bytes and connection, and takes the connection
//! back afterwards (`handover`). What is not HTTP as it should be is refused before anybody else sees a byte of it, and so is who is too slow.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http::Method;
use parking_lot::Mutex;
use pingora::apps::HttpServerApp as _;
use pingora::protocols::http::ServerSession;
use pingora::proxy::ProxyHttp;
use skerry_config::process::Limits;
use tokio::time::Instant;

use crate::accept::Door;
use crate::connection::Socket;
use crate::door::{Ready, ReadyHead, Reply};
use crate::head::Refusal;
use crate::pace::Pace;

mod answer;
mod asker;
mod batch;
pub mod chunks;
mod date;
mod early;
mod handover;
pub mod request;
pub(crate) mod text;
mod wait;

use answer::Written;
use asker::Waiting;
pub(crate) use handover::Handed;
use handover::{Back, Slot};
use request::{Body, EMPTY_LINES_MAX, Finder, Request, Rest};
use wait::{Came, Wait};

/// Answers the requests of one connection until it ends, is idle for too long, or a stop was asked for.
pub(crate) async fn serve<App>(socket: Socket, door: &Door<App>)
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let mut connection = Connection { socket, buffer: BytesMut::new(), wait: Wait::new(door), door, asked: 0 };
    loop {
        let then = match connection.next().await {
            Next::Head(head) => connection.answer(head).await,
            Next::Refused(refusal) => Then::Refuse { refusal, head_only: false },
            Next::End => return,
        };
        match then {
            Then::Next => {}
            Then::End => return,
            Then::Close => return Box::pin(answer::linger(&mut connection.socket)).await,
            Then::Refuse { refusal, head_only } => return Box::pin(connection.refuse(refusal, head_only)).await,
            Then::HandOver { head, rest, closes } => match Box::pin(connection.hand_over(head, rest, closes)).await {
                Some(back) => connection = back,
                None => return,
            },
        }
    }
}

/// What becomes of a connection after a request was read.
enum Then {
    /// It was answered, and another may follow.
    Next,
    /// It was answered, and the client is to read that to its end.
    Close,
    /// There is nobody to talk to any more.
    End,
    /// It goes no further.
    Refuse { refusal: Refusal, head_only: bool },
    /// It is passed through.
    HandOver { head: Bytes, rest: Rest, closes: bool },
}

struct Connection<'a, App> {
    socket: Socket,
    /// What was read and belongs to no request yet. Nothing while idle.
    buffer: BytesMut,
    wait: Wait,
    door: &'a Door<App>,
    asked: u32,
}

/// What a client said next.
enum Next {
    /// The head of a request.
    Head(Bytes),
    /// What is none.
    Refused(Refusal),
    /// Nothing more.
    End,
}

impl<'a, App> Connection<'a, App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    fn limits(&self) -> &'a Limits {
        &self.door.limits
    }

    /// Reads up to the end of the next head.
    async fn next(&mut self) -> Next {
        let limits = self.limits();
        let (mut finder, mut empty_lines, mut due) = (Finder::default(), 0, None);
        loop {
            while self.buffer.starts_with(b"\r\n") {
                self.buffer.advance(2);
                empty_lines += 1;
                if empty_lines > EMPTY_LINES_MAX {
                    return Next::Refused(Refusal::Line);
                }
            }
            // One that is only half an empty line is not looked into yet.
            if !matches!(self.buffer[..], [] | [b'\r']) {
                match finder.find(&self.buffer, limits) {
                    Ok(Some(length)) => return Next::Head(self.take(length)),
                    Ok(None) => {}
                    Err(refusal) => return Next::Refused(refusal),
                }
            }
            let is_idle = self.buffer.is_empty();
            if is_idle {
                self.buffer = BytesMut::new();
            }
            let until = || {
                let now = Instant::now();
                if is_idle { now + limits.idle_time.0 } else { *due.get_or_insert(now + limits.head_time.0) }
            };
            match self.wait.more(&mut self.socket, &mut self.buffer, until, is_idle).await {
                Came::Bytes => {}
                Came::Late if !is_idle => return Next::Refused(Refusal::HeadTime),
                Came::End | Came::Late => return Next::End,
            }
        }
    }

    /// Takes the next `length` bytes out of the buffer.
    fn take(&mut self, length: usize) -> Bytes {
        if length == self.buffer.len() {
            return std::mem::take(&mut self.buffer).freeze();
        }
        let head = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        head
    }

    /// Answers one request, unless it is passed through.
    async fn answer(&mut self, bytes: Bytes) -> Then {
        self.asked = self.asked.saturating_add(1);
        let Request { head, rest, keeps_alive, is_old } = match Request::read(&bytes, self.limits(), self.socket.is_tls()) {
            Ok(request) => request,
            Err(refusal) => return Then::Refuse { refusal, head_only: bytes.starts_with(b"HEAD ") },
        };
        let closes = !keeps_alive || self.asked >= self.limits().requests_per_connection || *self.door.stop.borrow();
        let head_only = head.method == Method::HEAD;
        let is_plain = rest.body == Body::None && !rest.upgrade && (head.method == Method::GET || head_only);
        let reply = if is_plain { self.door.behind.ask(head, self.socket.client()) } else { Reply::Pass };
        let ended = match reply {
            Reply::Ready(ready) => self.send(ready, closes, is_old).await.then_some(closes),
            Reply::Later(later) => {
                let (pace, stop) = (Pace::new(self.limits().rate_min.0), &self.door.stop);
                let (socket, early) = (&mut self.socket, &mut self.buffer);
                let mut asker = Waiting { socket, early, stop, pace, head_only, is_old, closes, is_answered: false };
                later.answer(&mut asker).await;
                asker.is_answered.then_some(asker.closes)
            }
            Reply::Pass => return Then::HandOver { head: bytes, rest, closes },
        };
        match ended {
            Some(false) => Then::Next,
            Some(true) => Then::Close,
            None => Then::End,
        }
    }

    async fn send(&mut self, mut ready: Ready, closes: bool, is_old: bool) -> bool {
        // The front door of HTTP/1.1 asks as a client of HTTP/1.1, and gets its heads as text.
        let ReadyHead::Text(mut head) = ready.head else { return false };
        head.extend_from_slice(match (closes, is_old) {
            (true, _) => b"Connection: close\r\n\r\n",
            (false, true) => b"Connection: keep-alive\r\n\r\n",
            (false, false) => b"\r\n",
        });
        let head_bytes = head.len() as u64;
        if answer::join(&mut head, &ready.body) {
            ready.body.clear();
        }
        let mut pieces = Written::new(&head, &mut ready.body);
        let mut pace = Pace::new(self.limits().rate_min.0);
        let (sent, is_whole) = pieces.write(&mut self.socket, &mut pace).await;
        self.door.behind.ended(&ready.entry, self.socket.client(), sent.saturating_sub(head_bytes), is_whole);
        is_whole
    }

    /// Has Pingora answer, and takes the connection back.
    async fn hand_over(self, bytes: Bytes, rest: Rest, closes: bool) -> Option<Self> {
        let Self { socket, buffer, wait, door, asked } = self;
        let slot: Slot = Arc::new(Mutex::new(None));
        let alarm = Arc::clone(socket.alarm());
        let handed = Handed::new(socket, bytes, rest, buffer, &door.limits, Arc::clone(&slot));
        let mut session = ServerSession::new_http1(Box::new(handed));
        if closes {
            session.set_keepalive_reuses_remaining(Some(0));
        }
        let is_reusable = alarm.bounds(door.proxy.process_new_http(session, &door.stop)).await.flatten().is_some();
        let Back { mut socket, early, is_read, is_upgraded } = slot.lock().take()?;
        if is_reusable && is_read && !is_upgraded {
            return Some(Self { socket, buffer: early, wait, door, asked });
        }
        if !is_upgraded && (!is_read || !early.is_empty()) {
            answer::linger(&mut socket).await;
        }
        None
    }

    async fn refuse(mut self, refusal: Refusal, head_only: bool) {
        let told = self.door.behind.refused(refusal, self.socket.client());
        let mut pace = Pace::new(self.limits().rate_min.0);
        answer::refuse(&mut self.socket, told, head_only, &mut pace).await;
    }
}
