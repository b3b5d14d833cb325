//! A front door before a tier that knows a few answers, and an origin that keeps every byte it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use skerry_config::process::Limits;
use skerry_transport::accept::Front;
use skerry_transport::asker::{Asker, Later, Pieces, Sent, Unsent};
use skerry_transport::client::Client;
use skerry_transport::door::{self, Behind, Entry, Ready, ReadyHead, Reply, Told};
use skerry_transport::head::{Head, Refusal};
use skerry_transport::session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// Longer than anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// The pieces of `/hit/large` and how many there are.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;
pub(crate) const PIECES: usize = 1_000;

/// What the tier knows, and what it was told.
#[derive(Default)]
pub(crate) struct Tier {
    pub(crate) refused: Mutex<Vec<Refusal>>,
    /// Path, bytes and whether that was all, of what was answered at once.
    pub(crate) ended: Mutex<Vec<(String, u64, bool)>>,
    /// Tells that one of them ended.
    pub(crate) over: Notify,
    /// What became of answers that were waited for, by path.
    pub(crate) waited: Mutex<Vec<(String, Sent)>>,
    /// Lets `/slow` be answered.
    pub(crate) go: Notify,
    /// Tells that `/slow` was asked for, or that a body goes no further.
    pub(crate) asked: Notify,
}

/// What the tier knows, as the front door asks it.
struct AtTheDoor(Arc<Tier>);

impl Behind for AtTheDoor {
    fn ask(&self, head: Head, client: &Arc<Client>) -> Reply {
        assert!(client.address.ip().is_loopback());
        let Some(text) = head.path_and_query.strip_prefix("/hit/").map(str::to_owned) else {
            return Reply::Later(Box::new(Waited(Arc::clone(&self.0), head)));
        };
        let body = if text == "large" { vec![Bytes::from(vec![b'x'; PIECE_BYTES]); PIECES] } else { vec![Bytes::from(text)] };
        let length: usize = body.iter().map(Bytes::len).sum();
        let headers = HeaderMap::from_iter([(http::header::CONTENT_LENGTH, length.into())]);
        let Head { method, authority, path_and_query, .. } = head;
        let entry = Entry { started: Instant::now(), method, authority, path_and_query, status: StatusCode::OK, slot: None };
        let body = if entry.method == Method::HEAD { Vec::new() } else { body };
        let text = [&door::text(StatusCode::OK, &headers)[..], b"X-At: door\r\n"].concat();
        Reply::Ready(Ready { head: ReadyHead::Text(text), body, entry })
    }

    fn ended(&self, entry: &Entry, _: &Client, bytes: u64, whole: bool) {
        self.0.ended.lock().push((entry.path_and_query.clone(), bytes, whole));
        self.0.over.notify_one();
    }

    fn refused(&self, refusal: Refusal, _: &Client) -> Told {
        self.0.refused.lock().push(refusal);
        let body = Bytes::from(refusal.text());
        let headers = HeaderMap::from_iter([(http::header::CONTENT_LENGTH, body.len().into())]);
        Told { status: StatusCode::BAD_REQUEST, headers, body }
    }
}

/// A request that waits for its answer: its own path, as [`body_of`] sends it.
struct Waited(Arc<Tier>, Head);

#[async_trait]
impl Later for Waited {
    async fn answer(self: Box<Self>, asker: &mut dyn Asker) {
        let Self(tier, head) = *self;
        let path = head.path_and_query;
        let sent = if path == "/slow" {
            tier.asked.notify_one();
            tokio::select! {
                () = tier.go.notified() => None,
                () = asker.gone() => Some(Sent { bytes: 0, end: Err(Unsent::Client) }),
            }
        } else {
            None
        };
        let sent = match sent {
            Some(sent) => sent,
            None => {
                let (length, mut body) = body_of(&tier, &path);
                let headers = HeaderMap::from_iter(length.map(|length| (http::header::CONTENT_LENGTH, length.into())));
                asker.answer(StatusCode::OK, headers, &mut body).await
            }
        };
        tier.waited.lock().push((path, sent));
        tier.over.notify_one();
    }
}

/// The body of an answer that is waited for, and its length if the head tells it.
fn body_of(tier: &Arc<Tier>, path: &str) -> (Option<usize>, Body) {
    let body = |pieces: Vec<&str>, end| Body { pieces: pieces.into_iter().rev().map(|piece| Bytes::from(piece.to_owned())).collect(), end };
    let none = End::Proper;
    match path {
        "/chunks" => (None, body(vec!["one ", "two ", "three"], none)),
        "/cut" => (Some(10), body(vec!["half"], End::Broken)),
        "/cut/chunks" => (None, body(vec!["half"], End::Broken)),
        "/short" => (Some(10), body(vec!["half"], none)),
        "/long" => (Some(4), body(vec!["twice as long"], none)),
        "/stalled" => (None, body(vec!["half"], End::Never(Arc::clone(tier)))),
        "/late" => (Some(4), body(vec!["late"], End::Late(Arc::clone(tier)))),
        "/headless" => (Some(4), body(vec![], End::Never(Arc::clone(tier)))),
        "/endless" => (None, body(vec![], End::Endless(Bytes::from(vec![b'x'; PIECE_BYTES])))),
        path => (Some(path.len()), body(vec![path], none)),
    }
}

/// What a body does behind its pieces.
enum End {
    Proper,
    Broken,
    /// Nothing, and says so.
    Never(Arc<Tier>),
    /// Ends when it may go, and says that it waits.
    Late(Arc<Tier>),
    /// Goes on with these.
    Endless(Bytes),
}

struct Body {
    pieces: Vec<Bytes>,
    end: End,
}

#[async_trait]
impl Pieces for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        if let Some(piece) = self.pieces.pop() {
            return Ok(Some(piece));
        }
        match &self.end {
            End::Proper => Ok(None),
            End::Broken => Err("upstream died".to_owned()),
            End::Never(tier) => {
                tier.asked.notify_one();
                std::future::pending().await
            }
            End::Late(tier) => {
                tier.asked.notify_one();
                tier.go.notified().await;
                Ok(None)
            }
            End::Endless(piece) => Ok(Some(piece.clone())),
        }
    }
}

/// What is passed through: all but GET and HEAD.
struct Sessions(Arc<Tier>, SocketAddr);

#[async_trait]
impl ProxyHttp for Sessions {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        let client = session::client(session).expect("every client is known");
        assert!(client.address.ip().is_loopback() && session::client_ip(session) == Some(client.ip()));
        Head::read(session.req_header(), session::is_tls(session)).expect("the front door lets nothing else through");
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.1, false, String::new())))
    }

    async fn fail_to_proxy(&self, session: &mut Session, _: &pingora::Error, (): &mut ()) -> FailToProxy {
        if let Some(refusal) = session::refusal(session) {
            self.0.refused.lock().push(refusal);
            let headers = HeaderMap::from_iter([(http::header::CONTENT_LENGTH, 0.into())]);
            let _ = session::send(session, StatusCode::BAD_REQUEST, &headers, Bytes::new(), false).await;
        }
        FailToProxy { error_code: 0, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, (): &(), _: &pingora::Error) -> bool {
        true
    }
}

/// What the origin got, connection by connection, and whether they ended.
#[derive(Default)]
pub(crate) struct Origin {
    pub(crate) connections: Mutex<Vec<(Vec<u8>, bool)>>,
    pub(crate) changed: Notify,
}

impl Origin {
    /// Every byte it got.
    pub(crate) fn got(&self) -> String {
        String::from_utf8_lossy(&self.connections.lock().iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<u8>>()).into_owned()
    }

    /// Waits until what it got is as wanted.
    pub(crate) async fn wait(&self, wanted: impl Fn(&[(Vec<u8>, bool)]) -> bool) {
        let seen = async {
            loop {
                let changed = self.changed.notified();
                if wanted(&self.connections.lock()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(SOON, seen).await.unwrap_or_else(|_| panic!("the origin got {:?}", self.got()));
    }
}

async fn originate(listener: TcpListener, origin: Arc<Origin>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let origin = Arc::clone(&origin);
        let place = {
            let mut connections = origin.connections.lock();
            connections.push((Vec::new(), false));
            connections.len() - 1
        };
        tokio::spawn(async move {
            let mut request = Vec::new();
            let mut room = [0; 4096];
            while let Ok(read @ 1..) = socket.read(&mut room).await {
                request.extend_from_slice(&room[..read]);
                origin.connections.lock()[place].0.extend_from_slice(&room[..read]);
                origin.changed.notify_waiters();
                if let Some(answer) = answer(&request) {
                    request.clear();
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            }
            origin.connections.lock()[place].1 = true;
            origin.changed.notify_waiters();
        });
    }
}

/// The origin's answer to a whole request: its body; none on `/stalled`.
fn answer(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let lower = head.to_ascii_lowercase();
    if lower.contains("/stalled") {
        return None;
    }
    let is_whole = match lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => !lower.contains("chunked") || body.ends_with("0\r\n\r\n"),
    };
    is_whole.then(|| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// All of it, running.
pub(crate) struct House {
    pub(crate) http: SocketAddr,
    pub(crate) tier: Arc<Tier>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) stop: watch::Sender<bool>,
}

impl House {
    pub(crate) async fn start(limits: Limits) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = upstream.local_addr().unwrap();
        let (tier, origin) = (Arc::new(Tier::default()), Arc::new(Origin::default()));
        tokio::spawn(originate(upstream, Arc::clone(&origin)));
        let (stop, stopped) = watch::channel(false);
        let front = Front::new(Sessions(Arc::clone(&tier), at), Arc::new(AtTheDoor(Arc::clone(&tier))), limits, stopped);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        front.listen(listener, None);
        Self { http, tier, origin, stop }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.http).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Everything that comes back for `text`, until the connection ends. `apart` sends every byte by itself.
    pub(crate) async fn say(&self, text: &str, apart: bool) -> String {
        let mut socket = self.connect().await;
        let (mut read, mut write) = socket.split();
        let writing = async {
            for part in text.as_bytes().chunks(if apart { 1 } else { text.len().max(1) }) {
                // What is refused early is not read to its end.
                if write.write_all(part).await.is_err() {
                    return;
                }
            }
        };
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(SOON, read.read_to_end(&mut answer));
        let ((), read) = tokio::join!(writing, reading);
        read.expect("the connection goes on").unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// The bodies of answers that follow each other, each by its length, and the text of their heads.
pub(crate) fn split(mut answers: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = answers.split_once("\r\n\r\n") {
        let length =
            head.to_ascii_lowercase().split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        found.push((head.to_owned(), rest[..length].to_owned()));
        answers = &rest[length..];
    }
    assert_eq!(answers, "", "bytes that belong to no answer");
    found
}

/// Reads one answer with its body.
pub(crate) async fn one(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let reading = async {
        loop {
            let so_far = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
                let length = head
                    .to_ascii_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                if body.len() >= length {
                    return so_far;
                }
            }
            let mut byte = [0];
            socket.read_exact(&mut byte).await.unwrap();
            text.push(byte[0]);
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("an answer")
}
