//! Drives one connection: takes its requests, sends its answers, and ends it when it is idle, stopped, or over a bound.
//!
//! All of it is one task with one timer. A request that is answered at once is over before the task rests.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response, request};
use pingora::apps::HttpServerApp as _;
use pingora::http::RequestHeader;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::proxy::ProxyHttp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::bodies::{Bodies, Body, Ended};
use super::coming::{self, Coming};
use super::going::Going;
use super::wire::{Noticed, Tally, Wire};
use super::{Connection, SEND_BUFFER};
use crate::accept::Door;
use crate::alarm::Alarm;
use crate::asker::Later;
use crate::client::Client;
use crate::door::{self, LINGER_BYTES_MAX, LINGER_TIME_MAX, Ready, ReadyHead, Reply};
use crate::head::{Head, Line, Refusal};
use crate::pace::{self, WINDOW};
use crate::priority::Priority;
use crate::stream::{StreamSession, Waiting};

/// Frames of a client in a [`WINDOW`] that move nothing (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, what nobody knows), besides those that
/// its requests and our answers account for; with more the connection ends.
const CONTROL_FRAMES_MAX: u64 = 2_000;
/// Such frames that one request accounts for.
const CONTROL_FRAMES_PER_HEAD: u64 = 8;
/// The bytes sent that account for one such frame: a client may give windows back in portions as small as this.
const BYTES_PER_CONTROL_FRAME: u64 = 256;
/// Requests that a client takes back in a [`WINDOW`], besides half of those it makes; with more the connection ends.
const RESETS_MAX: u64 = 256;
/// How long a client that was asked to leave may stay without a request.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the word that a connection ends is tried to be sent.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// A request, and where its answer goes.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// See the module.
pub(super) struct Driver<'a, App> {
    door: &'a Door<App>,
    client: Arc<Client>,
    digest: Arc<Digest>,
    connection: Connection,
    wire: Wire,
    bodies: Bodies,
    /// Requests taken.
    requests: u32,
    /// Whether no further requests are wanted.
    leaving: bool,
    /// When the [`WINDOW`] of the wire's figures began.
    period: Instant,
    /// When there last was a request.
    busy: Instant,
    /// Until when the end is tried to be said.
    closing: Option<Instant>,
}

impl<'a, App> Driver<'a, App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    pub(super) fn new(door: &'a Door<App>, client: Arc<Client>, digest: Arc<Digest>, connection: Connection, wire: Wire) -> Self {
        let now = Instant::now();
        let bodies = Bodies::default();
        Self { door, client, digest, connection, wire, bodies, requests: 0, leaving: false, period: now, busy: now, closing: None }
    }

    pub(super) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut stop = pin!(stopping.wait_for(|stop| *stop));
        let mut stopped = false;
        let mut timer = pin!(tokio::time::sleep_until(self.due()));
        std::future::poll_fn(|cx| {
            if !stopped && stop.as_mut().poll(cx).is_ready() {
                stopped = true;
                self.leave();
            }
            loop {
                if self.poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                let due = self.due();
                if due < timer.deadline() {
                    timer.as_mut().reset(due);
                }
                std::task::ready!(timer.as_mut().poll(cx));
                if self.look(Instant::now()).is_ready() {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(self.due());
            }
        })
        .await;
        let Self { door, client, mut bodies, .. } = self;
        bodies.give_up(&mut |Ended(entry, bytes, whole)| door.behind.ended(&entry, &client, bytes, whole));
    }

    /// Does everything that can be done without waiting; ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taken = false;
        loop {
            while let Poll::Ready(next) = self.next(cx) {
                match next {
                    Some(Ok((request, answer))) => self.answer(request, answer),
                    Some(Err(error)) => return self.failed(&error),
                    None => return Poll::Ready(()),
                }
                taken = true;
            }
            if self.closing.is_none() && self.is_flooded() {
                self.door.behind.refused(Refusal::Flood, &self.client);
                self.close(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            match self.wire.poll_drain(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if !self.bodies.is_empty() && self.hand_over(cx) => {}
                _ => break,
            }
        }
        if taken || self.connection.has_streams() {
            self.busy = Instant::now();
        }
        Poll::Pending
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Accepted, h2::Error>>> {
        pin!(self.connection.accept()).poll(cx)
    }

    fn hand_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { door, client, bodies, .. } = self;
        bodies.hand_over(cx, &mut |Ended(entry, bytes, whole)| door.behind.ended(&entry, client, bytes, whole))
    }

    /// Takes no further requests; those under way go on.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) && self.closing.is_none() {
            self.connection.graceful_shutdown();
        }
    }

    /// Ends the connection with all its streams.
    fn close(&mut self, reason: Reason) {
        self.connection.abrupt_shutdown(reason);
        self.closing = Some(Instant::now() + CLOSE_TIME_MAX);
    }

    /// The connection has ended itself: by the client's fault if it says why.
    fn failed(&mut self, error: &h2::Error) -> Poll<()> {
        if error.is_library() && error.is_go_away() {
            tracing::debug!(client = %self.client.ip(), %error, "HTTP/2 connection ended");
            let flood = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
            self.door.behind.refused(if flood { Refusal::Flood } else { Refusal::Field }, &self.client);
        }
        Poll::Ready(())
    }

    /// Takes note of what the crate did by itself; whether it was made to do too much.
    fn is_flooded(&mut self) -> bool {
        let Noticed { malformed, updates, flood } = self.wire.notice(is_flood);
        // Whoever sends malformed messages is not listened to any longer.
        for _ in 0..malformed {
            self.door.behind.refused(Refusal::Field, &self.client);
            self.leave();
        }
        for (id, priority) in updates {
            self.bodies.reprioritize(id, priority);
        }
        if flood && self.period.elapsed() >= WINDOW {
            self.begin_period(Instant::now());
            return false;
        }
        flood
    }

    /// Gives what was sent in the period that ends.
    fn begin_period(&mut self, now: Instant) -> u64 {
        self.period = now;
        self.wire.take_tally().sent
    }

    fn idle_time(&self) -> Duration {
        let time = self.door.limits.idle_time.0;
        if self.leaving { time.min(LEAVE_TIME_MAX) } else { time }
    }

    /// When to look again, if nothing happens before.
    fn due(&self) -> Instant {
        if let Some(closing) = self.closing {
            return closing;
        }
        let mut due = self.busy + self.idle_time();
        if !self.bodies.is_empty() || self.wire.is_blocked() {
            due = due.min(self.period + WINDOW);
        }
        match self.wire.unfinished_since() {
            Some(since) => due.min(since + self.door.limits.head_time.0),
            None => due,
        }
    }

    /// Looks whether a time is over; ready when the connection is to be dropped.
    fn look(&mut self, now: Instant) -> Poll<()> {
        let limits = &self.door.limits;
        if self.closing.is_some_and(|closing| closing <= now) {
            return Poll::Ready(());
        }
        if self.connection.has_streams() {
            self.busy = now;
        } else if self.closing.is_none() && now.duration_since(self.busy) >= self.idle_time() {
            self.close(Reason::NO_ERROR);
        }
        let head_time = limits.head_time.0;
        if self.closing.is_none() && self.wire.unfinished_since().is_some_and(|since| now.duration_since(since) >= head_time) {
            self.door.behind.refused(Refusal::HeadTime, &self.client);
            self.close(Reason::ENHANCE_YOUR_CALM);
        }
        if now.duration_since(self.period) >= WINDOW {
            let sent = self.begin_period(now);
            let Self { door, client, bodies, .. } = self;
            bodies.cut_slow(now, door.limits.rate_min.0, &mut |Ended(entry, bytes, whole)| door.behind.ended(&entry, client, bytes, whole));
            // Nothing can be told to who reads nothing.
            if self.wire.is_blocked() && sent < pace::least(self.door.limits.rate_min.0) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// One request: refused, answered, or handed on.
    fn answer(&mut self, request: Request<RecvStream>, answer: SendResponse<Bytes>) {
        self.requests += 1;
        if self.requests >= self.door.limits.requests_per_connection {
            self.leave();
        }
        let (parts, body) = request.into_parts();
        let head = match self.read(&parts) {
            Ok(head) => head,
            Err(refusal) => return self.refuse(refusal, &parts.method, body, answer),
        };
        let head_only = parts.method == Method::HEAD;
        let is_plain = (parts.method == Method::GET || head_only) && coming::is_empty(&body, &parts.headers);
        match if is_plain { self.door.behind.ask(head, &self.client) } else { Reply::Pass } {
            Reply::Ready(ready) => self.send(ready, Priority::of(&parts.headers).unwrap_or_default(), answer),
            Reply::Later(later) => self.have_answered(later, head_only, body, answer),
            Reply::Pass => self.hand_on(parts, body, answer),
        }
    }

    /// Has the tier answer in a task of its own: it notices by itself that its client is gone, and counts and logs that.
    fn have_answered(&self, later: Box<dyn Later>, head_only: bool, body: RecvStream, answer: SendResponse<Bytes>) {
        let mut asker = Waiting::new(Going::new(answer, self.door.limits.rate_min.0), head_only);
        tokio::spawn(async move {
            later.answer(&mut asker).await;
            // The end of an empty body may still be on its way until here.
            drop(body);
        });
    }

    fn read(&self, parts: &request::Parts) -> Result<Head, Refusal> {
        let line = Line {
            method: parts.method.clone(),
            version: parts.version,
            authority: parts.uri.authority().map(http::uri::Authority::as_str),
            path_and_query: parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        };
        let head = Head::of(line, parts.headers.clone(), self.client.secured.is_some())?;
        head.within(&self.door.limits)?;
        Ok(head)
    }

    fn hand_on(&self, parts: request::Parts, body: RecvStream, answer: SendResponse<Bytes>) {
        let mut head = RequestHeader::from(parts);
        head.extensions_mut().insert(Arc::clone(&self.client));
        // Where the session and the tier find it.
        let alarm: Arc<Alarm> = Arc::default();
        head.extensions_mut().insert(Arc::clone(&alarm));
        let limits = &self.door.limits;
        let (coming, going) = (Coming::new(body, &head, limits), Going::new(answer, limits.rate_min.0));
        let session = StreamSession::new(head, coming, going, Arc::clone(&self.digest));
        let session = ServerSession::new_custom(Box::new(session));
        let (proxy, stop) = (Arc::clone(&self.door.proxy), self.door.stop.clone());
        // It notices by itself that its client is gone, and is counted and logged as any other request.
        tokio::spawn(async move { alarm.bounds(proxy.process_new_http(session, &stop)).await.is_some() });
    }

    fn refuse(&mut self, refusal: Refusal, method: &Method, unread: RecvStream, mut answer: SendResponse<Bytes>) {
        let told = self.door.behind.refused(refusal, &self.client);
        let (mut message, body) = (Response::new(()), if *method == Method::HEAD { Bytes::new() } else { told.body });
        (*message.status_mut(), *message.headers_mut()) = (told.status, told.headers);
        door::ensure_date(message.headers_mut());
        if let Ok(mut stream) = answer.send_response(message, body.is_empty())
            && !body.is_empty()
        {
            let _ = stream.send_data(body, true);
        }
        if !unread.is_end_stream() {
            tokio::spawn(linger(unread));
        }
        if refusal.ends_connection() {
            self.leave();
        }
    }

    fn send(&mut self, ready: Ready, priority: Priority, mut answer: SendResponse<Bytes>) {
        let Ready { head, body, entry } = ready;
        let mut message = Response::new(());
        match head {
            ReadyHead::Fields(status, fields) => (*message.status_mut(), *message.headers_mut()) = (status, fields),
            // Nobody is asked for the head of another protocol.
            ReadyHead::Text(_) | ReadyHead::Section(_) => *message.status_mut() = entry.status,
        }
        door::ensure_date(message.headers_mut());
        let length: usize = body.iter().map(Bytes::len).sum();
        let sent = match answer.send_response(message, length == 0) {
            Ok(mut stream) if length > 0 => {
                stream.reserve_capacity(length.min(SEND_BUFFER));
                if stream.capacity() < length || self.wire.is_blocked() {
                    return self.bodies.add(Body::new(stream, body, priority, entry));
                }
                let last = body.len() - 1;
                body.into_iter().enumerate().try_for_each(|(index, piece)| stream.send_data(piece, index == last))
            }
            sent => sent.map(drop),
        };
        let bytes = if sent.is_ok() { length as u64 } else { 0 };
        self.door.behind.ended(&entry, &self.client, bytes, sent.is_ok());
    }
}

/// Takes for a moment what a refused client goes on sending. The reset that follows an answer to half a request (RFC 9113 section 8.1) makes some
/// clients forget the answer when they are not done with sending.
async fn linger(mut body: RecvStream) {
    let taking = async {
        let mut taken = 0;
        while let Some(Ok(data)) = body.data().await {
            taken += data.len();
            // A stream that is gone has no window to give back.
            if taken > LINGER_BYTES_MAX || body.flow_control().release_capacity(data.len()).is_err() {
                return;
            }
        }
    };
    // Who goes on for longer is cut off.
    let _ = tokio::time::timeout(LINGER_TIME_MAX, taking).await;
}

/// Whether a client sends more in a period than its requests account for.
fn is_flood(tally: &Tally) -> bool {
    let control = CONTROL_FRAMES_MAX + tally.heads * CONTROL_FRAMES_PER_HEAD + tally.sent / BYTES_PER_CONTROL_FRAME;
    tally.control > control || tally.resets > RESETS_MAX + tally.heads / 2
}
