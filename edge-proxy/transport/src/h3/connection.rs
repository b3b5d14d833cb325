//! One connection: takes its requests side by side until it ends, is idle for too long, or has drained after a stop.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h3::error::Code;
use h3::frame::FrameStream;
use h3::server;
use h3::stream::BufRecvStream;
use pingora::proxy::ProxyHttp;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, VarInt, ZeroRttAccepted};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::adapter::{Quic, Request, code};
use super::body::Incoming;
use super::endpoint::Handshaking;
use super::priority::Priorities;
use super::request::{Decoder, Exchange, Sent};
use crate::accept::Door;
use crate::client::{Client, Measure, Protocol, RoundTrip, Samples, Secured};
use crate::gate::{Gate, Place, Refused};
use crate::head::Refusal;

/// The least and the most time in which requests that were under way when a stop was asked for may still arrive.
const LAST_REQUESTS_TIME: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(1);

/// Requests that are taken before other connections have their turn.
const REQUESTS_PER_TURN: usize = 64;

/// A connection that is served.
struct Open<App> {
    quic: Arc<quinn::Connection>,
    http: server::Connection<Quic, Bytes>,
    door: Arc<Door<App>>,
    priorities: Arc<Priorities>,
    client: Arc<Client>,
    place: Place,
    /// True when the handshake is complete.
    established: watch::Sender<bool>,
    running: JoinSet<(u64, Option<Sent>)>,
    /// The last answers from memory, of which the client may not have all: no more than it may have requests at once, because one that it has not
    /// is one of these.
    sent: VecDeque<Sent>,
    /// Requests taken.
    taken: u32,
    /// When there last was one.
    busy: Instant,
}

/// Serves a connection from its first packet.
pub(super) async fn serve<App>(
    mut connecting: Connecting,
    local: SocketAddr,
    door: Door<App>,
    gate: Gate,
    place: Place,
    handshaking: Handshaking,
) where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    let deadline = Instant::now() + door.limits.handshake_time.0;
    let address = connecting.remote_address();
    let refused = |reason: Refused| {
        gate.refuse(reason);
        tracing::debug!(client = %address.ip(), reason = reason.as_str(), "connection refused");
    };
    // The client's choice of a name comes with the first message of the handshake, before which nothing can be answered.
    let agreed = match timeout_at(deadline, connecting.handshake_data()).await {
        Ok(Ok(agreed)) => agreed.downcast::<HandshakeData>().ok(),
        Ok(Err(_)) => return refused(Refused::Handshake),
        Err(_) => return refused(Refused::HandshakeTime),
    };
    let Ok((quic, complete)) = connecting.into_0rtt() else { return };
    let client = client_of(&quic, local, agreed.and_then(|agreed| agreed.server_name));
    let priorities = Priorities::new(door.limits.streams as usize);
    let mut settings = server::builder();
    settings.max_field_section_size(door.limits.head.0).send_grease(false);
    let opening = settings.build(Quic::new(quic.clone(), Arc::clone(&priorities)));
    let http = match timeout_at(deadline, opening).await {
        Ok(Ok(http)) => http,
        Ok(Err(_)) => return refused(Refused::Handshake),
        Err(_) => {
            quic.close(code(Code::H3_NO_ERROR), b"no handshake in time");
            return refused(Refused::HandshakeTime);
        }
    };
    let mut open = Open {
        quic: Arc::new(quic),
        http,
        door: Arc::new(door),
        priorities,
        client,
        place,
        established: watch::Sender::new(false),
        running: JoinSet::new(),
        sent: VecDeque::new(),
        taken: 0,
        busy: Instant::now(),
    };
    match open.run(deadline, complete, handshaking).await {
        Ended::Refused(reason) => refused(reason),
        Ended::Lost => {}
        Ended::Enough => open.drain().await,
    }
    // What still runs notices by itself that its client is gone, and is counted and logged as any other request.
    open.running.detach_all();
}

/// Why no more requests are taken.
enum Ended {
    /// There was no handshake, or there are too many connections of this client.
    Refused(Refused),
    /// The connection is closed.
    Lost,
    /// The connection is to end: a stop, no request for too long, or as many as there may be.
    Enough,
}

/// What is known of a connection's client.
fn client_of(quic: &quinn::Connection, local: SocketAddr, server_name: Option<String>) -> Arc<Client> {
    let local = SocketAddr::new(quic.local_ip().unwrap_or(local.ip()), local.port());
    let server_name = server_name.map(|name| name.to_ascii_lowercase().into());
    let secured = Secured { version: "TLSv1.3", server_name, certificate: None };
    let measure = Some(Arc::new(Path(quic.clone())) as _);
    let (address, protocol, secured) = (quic.remote_address(), Protocol::Http3, Some(secured));
    Arc::new(Client { address, local, protocol, secured, measure, is_forwarded: false, samples: Samples::default() })
}

/// What QUIC assumes of a path that it has not measured (RFC 9002 section 6.2.2).
const INITIAL_RTT: Duration = Duration::from_millis(333);

/// The path of a connection, whose round trips QUIC measures.
#[derive(Debug)]
struct Path(quinn::Connection);

impl Measure for Path {
    fn round_trip(&self) -> Option<RoundTrip> {
        if self.0.close_reason().is_some() {
            return None;
        }
        let (smoothed, least) = (self.0.rtt(), self.0.min_rtt());
        // Before the first sample both are what is assumed; the least never rises above that.
        match (smoothed == INITIAL_RTT, least == INITIAL_RTT) {
            (true, true) => None,
            (false, true) => Some(RoundTrip { smoothed, least: smoothed }),
            (_, false) => Some(RoundTrip { smoothed, least }),
        }
    }
}

impl<App> Open<App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    /// Takes requests until there is a reason to take no more.
    async fn run(&mut self, deadline: Instant, complete: ZeroRttAccepted, handshaking: Handshaking) -> Ended {
        let idle_time = self.door.limits.idle_time.0;
        let mut stop = self.door.stop.clone();
        let mut stopping = pin!(stop.wait_for(|stop| *stop));
        let mut complete = pin!(complete);
        let mut idle = pin!(sleep(idle_time));
        let mut handshaking = Some(handshaking);
        loop {
            tokio::select! {
                biased;
                _ = &mut stopping => return Ended::Enough,
                _ = &mut complete, if handshaking.is_some() => {
                    handshaking = None;
                    if let Some(refused) = self.establish() {
                        return refused;
                    }
                }
                reason = too_late(deadline, &mut handshaking), if handshaking.is_some() => {
                    self.quic.close(code(Code::H3_NO_ERROR), b"no handshake in time");
                    return Ended::Refused(reason);
                }
                ended = poll_fn(|cx| self.poll(cx)) => return match ended {
                    Ended::Lost if handshaking.is_some() => Ended::Refused(Refused::Handshake),
                    Ended::Lost => self.lost(),
                    ended => ended,
                },
                () = &mut idle => {
                    if self.running.is_empty() && self.busy.elapsed() >= idle_time {
                        return Ended::Enough;
                    }
                    let since = if self.running.is_empty() { self.busy } else { Instant::now() };
                    idle.as_mut().reset(since + idle_time);
                }
            }
        }
    }

    /// Takes the requests that are there. Ready when no more are to be taken.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..REQUESTS_PER_TURN {
            match self.http.poll_accept_request_stream(cx) {
                Poll::Ready(Ok(Some(stream))) => self.begin(stream, cx),
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Ended::Lost),
                Poll::Pending => {
                    // Afterwards, so that those just begun wake this task when they end.
                    while let Poll::Ready(Some(ended)) = self.running.poll_join_next(cx) {
                        self.forget(ended);
                        self.busy = Instant::now();
                    }
                    return Poll::Pending;
                }
            }
            if self.taken >= self.door.limits.requests_per_connection {
                return Poll::Ready(Ended::Enough);
            }
        }
        // Other connections have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The connection is closed: for what the client sent, if it was closed from here.
    fn lost(&self) -> Ended {
        if matches!(self.quic.close_reason(), Some(quinn::ConnectionError::LocallyClosed)) {
            self.door.behind.refused(Refusal::Field, &self.client);
        }
        Ended::Lost
    }

    /// The handshake is complete, and with it shown whose connection this is: it counts as one of its client's, whom before that anyone could
    /// have kept out by packets in its name.
    fn establish(&mut self) -> Option<Ended> {
        // A connection that was lost completes too.
        if self.quic.close_reason().is_some() {
            return Some(Ended::Refused(Refused::Handshake));
        }
        self.place.speaks(Protocol::Http3);
        if self.place.admit(self.client.ip()).is_err() {
            self.quic.close(code(Code::H3_EXCESSIVE_LOAD), b"too many connections");
            return Some(Ended::Lost);
        }
        self.established.send_replace(true);
        None
    }

    /// Answers a request: on the spot if that can be done without waiting, else in the background.
    fn begin(&mut self, mut stream: Request, cx: &mut Context<'_>) {
        let Some((send, receive)) = stream.take() else { return };
        self.taken += 1;
        self.busy = Instant::now();
        let id = u64::from(VarInt::from(send.id()));
        let head = stream.head();
        let decoder = Decoder::new(self.http.create_resolver(FrameStream::new(BufRecvStream::new(stream))), head);
        let limits = &self.door.limits;
        let early = receive.is_0rtt().then(|| self.established.subscribe());
        let incoming = Incoming::new(receive, Arc::clone(&self.quic), limits.head.0, limits.body.0, limits.rate_min.0);
        let exchange = Exchange { door: Arc::clone(&self.door), client: self.client(), early };
        let mut running = Box::pin(exchange.run(incoming, send, decoder, self.priorities.begin(id)));
        match running.as_mut().poll(cx) {
            Poll::Ready(sent) => self.over(id, sent),
            Poll::Pending => drop(self.running.spawn(async move { (id, running.await) })),
        }
    }

    /// The client, by the address it has moved to (RFC 9000 section 9).
    fn client(&mut self) -> Arc<Client> {
        let address = self.quic.remote_address();
        if address != self.client.address {
            let Client { local, protocol, ref secured, ref measure, .. } = *self.client;
            let (secured, measure, samples) = (secured.clone(), measure.clone(), Samples::default());
            self.client = Arc::new(Client { address, local, protocol, secured, measure, is_forwarded: false, samples });
        }
        Arc::clone(&self.client)
    }

    fn forget(&mut self, ended: Result<(u64, Option<Sent>), JoinError>) {
        if let Ok((id, sent)) = ended {
            self.over(id, sent);
        }
    }

    /// A request is over.
    fn over(&mut self, id: u64, sent: Option<Sent>) {
        self.priorities.end(id);
        if self.sent.len() >= self.door.limits.streams as usize {
            self.sent.pop_front();
        }
        self.sent.extend(sent);
    }

    /// Takes what is under way, lets all of it end in its time, and closes (RFC 9114 section 5.2).
    async fn drain(&mut self) {
        let limits = Arc::clone(&self.door.limits);
        let deadline = Instant::now() + limits.drain_time.0;
        let last = Instant::now() + (2 * self.quic.rtt()).clamp(LAST_REQUESTS_TIME.start, LAST_REQUESTS_TIME.end);
        // The first word allows for the requests that are on their way while the client does not have it.
        let mut is_last = self.taken == 0;
        let mut said = self.http.shutdown(limits.streams as usize).await;
        while said.is_ok() && !(is_last && self.running.is_empty()) {
            tokio::select! {
                biased;
                () = sleep_until(deadline) => break,
                lost = poll_fn(|cx| self.poll_last(cx, is_last)) => if lost { break },
                () = sleep_until(last), if !is_last => {
                    is_last = true;
                    said = self.http.shutdown(1).await;
                }
            }
        }
        for sent in self.sent.drain(..) {
            let _ = timeout_at(deadline, sent.delivered()).await;
        }
        self.quic.close(code(Code::H3_NO_ERROR), b"");
    }

    /// Sees a request off, or takes one more, or refuses it, as its client was told. Ready with whether the connection is lost.
    fn poll_last(&mut self, cx: &mut Context<'_>, is_last: bool) -> Poll<bool> {
        if let Poll::Ready(Some(ended)) = self.running.poll_join_next(cx) {
            self.forget(ended);
            return Poll::Ready(false);
        }
        match ready!(self.http.poll_accept_request_stream(cx)) {
            Ok(Some(mut stream)) if is_last => stream.refuse(),
            Ok(Some(stream)) => self.begin(stream, cx),
            Ok(None) | Err(_) => return Poll::Ready(true),
        }
        Poll::Ready(false)
    }
}

/// Why a handshake has taken long enough: its time is over, or too many came behind it.
async fn too_late(deadline: Instant, handshaking: &mut Option<Handshaking>) -> Refused {
    let Some(Handshaking { handshake, .. }) = handshaking else { return std::future::pending().await };
    tokio::select! {
        () = sleep_until(deadline) => Refused::HandshakeTime,
        () = handshake.supplanted() => Refused::Handshakes,
    }
}
