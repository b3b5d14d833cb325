//! A front door over cleartext with a tier behind it that has some answers at hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use skerry_config::process::Limits;
use skerry_transport::accept::Front;
use skerry_transport::asker::{Asker, Later, Sent, Whole};
use skerry_transport::client::Client;
use skerry_transport::door::{Behind, Entry, Ready, ReadyHead, Reply, Told};
use skerry_transport::head::{Head, Refusal};
use skerry_transport::session;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

/// The bytes of the body of `/large` and `/second`.
pub(crate) const LARGE: usize = 24 << 20;
/// The bytes of the body of `/small`.
pub(crate) const SMALL: usize = 1000;

/// What became of the requests.
#[derive(Default)]
pub(crate) struct Seen {
    /// Sessions that Pingora was given.
    pub(crate) sessions: AtomicUsize,
    pub(crate) refused: Mutex<Vec<Refusal>>,
    /// Tells that `/held` was asked for, and that its client has gone.
    pub(crate) held: Notify,
    pub(crate) left: Notify,
    /// What became of answers that were waited for.
    pub(crate) waited: Mutex<Vec<(String, Sent)>>,
    /// Answers from memory: target, bytes, and whether all of it was sent.
    pub(crate) ended: Mutex<Vec<(String, u64, bool)>>,
}

struct Tier {
    seen: Arc<Seen>,
    large: Bytes,
}

impl Behind for Tier {
    fn ask(&self, head: Head, _: &Arc<Client>) -> Reply {
        let body = match head.path() {
            "/small" => self.large.slice(..SMALL),
            "/large" | "/second" => self.large.clone(),
            _ => return Reply::Later(Box::new(Waited(Arc::clone(&self.seen), head.path_and_query, self.large.clone()))),
        };
        let fields = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(body.len()))]);
        let Head { method, authority, path_and_query, .. } = head;
        let entry = Entry { started: Instant::now(), method, authority, path_and_query, status: StatusCode::OK, slot: None };
        let body = if entry.method == Method::HEAD { Vec::new() } else { vec![body.slice(..100), body.slice(100..)] };
        Reply::Ready(Ready { head: ReadyHead::Fields(StatusCode::OK, fields), body, entry })
    }

    fn ended(&self, entry: &Entry, _: &Client, bytes: u64, whole: bool) {
        self.seen.ended.lock().push((entry.path_and_query.clone(), bytes, whole));
    }

    fn refused(&self, refusal: Refusal, _: &Client) -> Told {
        self.seen.refused.lock().push(refusal);
        let status = match refusal {
            Refusal::TargetLength => StatusCode::URI_TOO_LONG,
            Refusal::HeadLength | Refusal::FieldCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::BodyLength => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = Bytes::from_static(b"no\n");
        Told { status, headers: HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(body.len()))]), body }
    }
}

/// A request that waits for its answer: the large body to `/waited`, none to `/held`, else what its body is: nothing.
struct Waited(Arc<Seen>, String, Bytes);

#[async_trait]
impl Later for Waited {
    async fn answer(self: Box<Self>, asker: &mut dyn Asker) {
        let Self(seen, path, large) = *self;
        if path == "/held" {
            seen.held.notify_one();
            asker.gone().await;
            return seen.left.notify_one();
        }
        let body = if path == "/waited" { large } else { Bytes::from_static(b"0") };
        let sent = asker.answer(StatusCode::OK, HeaderMap::new(), &mut Whole(Some(body))).await;
        seen.waited.lock().push((path, sent));
    }
}

/// Answers in a session, after the request's body, with its length.
struct Sessions(Arc<Seen>);

#[async_trait]
impl ProxyHttp for Sessions {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::InternalError, "nothing is passed through here")
    }

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        let mut bytes = 0;
        while let Some(piece) = session.read_request_body().await? {
            bytes += piece.len();
        }
        let _ = session::send(session, StatusCode::OK, &HeaderMap::new(), bytes.to_string().into(), false).await;
        Ok(true)
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) drained: tokio::task::JoinHandle<()>,
}

pub(crate) async fn start(limits: Limits) -> Server {
    let (seen, large) = (Arc::<Seen>::default(), Bytes::from(vec![b'x'; LARGE]));
    let (stop, stopped) = watch::channel(false);
    let tier = Tier { seen: Arc::clone(&seen), large };
    let front = Front::new(Sessions(Arc::clone(&seen)), Arc::new(tier), limits, stopped);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    front.listen(listener, None);
    Server { address, seen, stop, drained: tokio::spawn(front.drained()) }
}

impl Server {
    /// What was refused, as soon as it is so much: a client may see the end of its connection before that is counted.
    pub(crate) async fn refused(&self, count: usize) -> Vec<Refusal> {
        let counted = async {
            while self.seen.refused.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(20), counted).await;
        std::mem::take(&mut self.seen.refused.lock())
    }

    /// Waits until a refusal for this reason is counted, and takes it and those before it.
    pub(crate) async fn has_refused(&self, reason: Refusal) {
        loop {
            let refused = self.refused(1).await;
            assert!(!refused.is_empty(), "it is not counted");
            if refused.contains(&reason) {
                return;
            }
        }
    }

    pub(crate) fn ended(&self) -> Vec<(String, u64, bool)> {
        std::mem::take(&mut self.seen.ended.lock())
    }

    pub(crate) fn sessions(&self) -> usize {
        self.seen.sessions.load(Ordering::Relaxed)
    }
}
