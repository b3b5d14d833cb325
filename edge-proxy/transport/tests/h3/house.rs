//! A front with HTTP/3, and clients for it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use skerry_config::process::{self, Limits};
use skerry_transport::accept::Front;
use skerry_transport::asker::{Asker, Later, Pieces, Whole};
use skerry_transport::certificates::Certificates;
use skerry_transport::client::{Client, Protocol};
use skerry_transport::door::{self, Behind, Entry, Ready, ReadyHead, Reply, Told};
use skerry_transport::head::{Head, Refusal};
use skerry_transport::session;
use skerry_transport::{listen, tls};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// The time any of these tests may take for one step.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Answers in sessions what has a body, and what is asked for with POST.
pub(crate) struct Echo {
    /// Every path it was asked for.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

/// A request that waits for its answer, each path in its own way.
struct Waited {
    head: Head,
    client: Arc<Client>,
    /// What `/held` waits for.
    release: Arc<Notify>,
    left: Arc<Notify>,
}

#[async_trait]
impl Later for Waited {
    async fn answer(self: Box<Self>, asker: &mut dyn Asker) {
        let Self { head, client, release, left } = *self;
        let pieces = match head.path() {
            "/cut" => 1,
            "/large" => 64,
            "/endless" => usize::MAX,
            _ => 0,
        };
        if pieces > 0 {
            let mut pour = Pour { left: pieces, piece: vec![7; 64 << 10].into(), breaks: head.path() == "/cut" };
            asker.answer(StatusCode::OK, HeaderMap::new(), &mut pour).await;
            return;
        }
        if head.path() == "/held" {
            tokio::select! {
                () = release.notified() => {}
                () = asker.gone() => return left.notify_one(),
            }
        }
        if head.path() == "/early" {
            for _ in 0..2 {
                let early = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
                asker.interim(early).await.unwrap();
            }
        }
        let text = text(&head, client.ip(), 0);
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(text.len()))]);
        asker.answer(StatusCode::OK, headers, &mut Whole(Some(text.into()))).await;
    }
}

/// What was seen of a request.
fn text(head: &Head, client: IpAddr, length: usize) -> String {
    let said = |name: &str| head.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let Head { method, authority, path_and_query, .. } = head;
    format!("{method} {authority} {path_and_query} {client} body={length} cookie={} early={}", said("cookie"), said("early-data"))
}

/// Pieces without end, or until they break off.
struct Pour {
    left: usize,
    piece: Bytes,
    breaks: bool,
}

#[async_trait]
impl Pieces for Pour {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(Some(self.piece.clone()))
            }
            None if self.breaks => Err("upstream died".to_owned()),
            None => Ok(None),
        }
    }
}

impl Echo {
    async fn answer(&self, session: &mut Session) -> pingora::Result<()> {
        let head = Head::read(session.req_header(), session::is_tls(session)).unwrap();
        self.seen.lock().push(head.path_and_query.clone());
        let mut headers = HeaderMap::new();
        let mut length = 0;
        while let Some(piece) = session.as_mut().read_request_body().await? {
            length += piece.len();
        }
        let client = session.client_addr().and_then(|address| address.as_inet().map(SocketAddr::ip)).unwrap();
        let known = session::client(session).expect("every client is known");
        assert_eq!((known.ip(), known.protocol, known.security()), (client, Protocol::Http3, "TLSv1.3"));
        let text = text(&head, client, length);
        if head.path() == "/trailers" {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let answer = ResponseHeader::build(200, None).unwrap();
            let tasks = vec![
                HttpTask::Header(Box::new(answer), false),
                HttpTask::Body(Some(text.into()), false),
                HttpTask::Trailer(Some(Box::new(trailers))),
            ];
            return session.as_mut().response_duplex_vec(tasks).await.map(|_| ());
        }
        headers.insert("content-length", HeaderValue::from(text.len()));
        let head_only = head.method == Method::HEAD;
        let sent = session::send(session, StatusCode::OK, &headers, text.into(), head_only).await;
        sent.map(|_| ()).map_err(|_| Error::explain(ErrorType::ConnectionClosed, "left").into_down())
    }
}

#[async_trait]
impl ProxyHttp for Echo {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::InternalError, "nothing is passed through here")
    }

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        self.answer(session).await.map(|()| true)
    }
}

/// Has `/hit` at hand, and counts what it is asked and told.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) hits: AtomicU64,
    pub(crate) whole: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Every path that was waited for or passed on.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// Lets `/held` be answered.
    pub(crate) release: Arc<Notify>,
    /// Tells that the client of `/held` has gone.
    pub(crate) left: Arc<Notify>,
}

/// What is at hand.
pub(crate) const HIT: &str = "one two three";

impl Behind for Counting {
    fn ask(&self, head: Head, client: &Arc<Client>) -> Reply {
        assert_eq!(client.protocol, Protocol::Http3);
        if head.path() != "/hit" {
            self.seen.lock().push(head.path_and_query.clone());
            let (release, left) = (Arc::clone(&self.release), Arc::clone(&self.left));
            return Reply::Later(Box::new(Waited { head, client: Arc::clone(client), release, left }));
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from(HIT.len()));
        let name = client.secured.as_ref().and_then(|secured| secured.server_name.as_ref()).unwrap();
        headers.insert("x-name", HeaderValue::from(name.len()));
        let body = if head.method == Method::HEAD { Vec::new() } else { HIT.split_inclusive(' ').map(Bytes::from).collect() };
        let Head { method, authority, path_and_query, .. } = head;
        let entry = Entry { started: Instant::now(), method, authority, path_and_query, status: StatusCode::OK, slot: None };
        Reply::Ready(Ready { head: ReadyHead::Section(door::section(StatusCode::OK, headers)), body, entry })
    }

    fn ended(&self, _: &Entry, _: &Client, bytes: u64, whole: bool) {
        self.whole.fetch_add(u64::from(whole && (bytes == HIT.len() as u64 || bytes == 0)), Ordering::Relaxed);
    }

    fn refused(&self, refusal: Refusal, _: &Client) -> Told {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let status = match refusal {
            Refusal::HeadLength | Refusal::FieldCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::TargetLength => StatusCode::URI_TOO_LONG,
            Refusal::Method => StatusCode::NOT_IMPLEMENTED,
            Refusal::HeadTime => StatusCode::REQUEST_TIMEOUT,
            Refusal::BodyLength => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from(2));
        Told { status, headers, body: Bytes::from_static(b"no") }
    }
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<Counting>,
    pub(crate) release: Arc<Notify>,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) drained: JoinHandle<()>,
    pub(crate) tls: ClientConfig,
}

pub(crate) async fn start(limits: Limits) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let (cert_file, key_file) = (dir.path().join("ca.pem"), dir.path().join("ca.key"));
    std::fs::write(&cert_file, ca.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let settings = process::Tls { certificates: Vec::new(), issuer: Some(process::Certificate { cert: cert_file, key: key_file }) };
    let certificates = Certificates::load(&settings, vec!["127.0.0.1".parse().unwrap()], Box::new(|host| host == "shop.test")).unwrap();
    let (stop, stopped) = watch::channel(false);
    let counts = Arc::new(Counting::default());
    let (release, seen) = (Arc::clone(&counts.release), Arc::clone(&counts.seen));
    let front = Front::new(Echo { seen: Arc::clone(&seen) }, Arc::clone(&counts) as _, limits, stopped);
    let socket = listen::bind_udp("127.0.0.1:0".parse().unwrap(), "h3").unwrap();
    let address = socket.local_addr().unwrap();
    front.listen_quic(socket, tls::for_quic(Arc::new(certificates)).unwrap()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.der().to_vec())).unwrap();
    let mut tls = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.enable_early_data = true;
    Running { address, counts, release, seen, stop, drained: tokio::spawn(front.drained()), tls }
}

impl Running {
    /// A client's endpoint, whose sessions can be resumed.
    pub(crate) fn endpoint(&self) -> quinn::Endpoint {
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let crypto = QuicClientConfig::try_from(self.tls.clone()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        endpoint
    }

    /// A QUIC connection, with nothing said on it.
    pub(crate) async fn connect(&self) -> quinn::Connection {
        within(self.endpoint().connect(self.address, "shop.test").unwrap()).await.unwrap()
    }

    /// A connection of the `h3` crate's client, driven in the background until it ends.
    pub(crate) async fn client(&self) -> (Asking, JoinHandle<h3::error::ConnectionError>) {
        client(self.connect().await).await
    }
}

pub(crate) type Asking = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

pub(crate) async fn client(connection: quinn::Connection) -> (Asking, JoinHandle<h3::error::ConnectionError>) {
    let (mut driver, asking) = within(h3::client::new(h3_quinn::Connection::new(connection))).await.unwrap();
    (asking, tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await }))
}

/// Nothing here takes long.
pub(crate) async fn within<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, doing).await.expect("this takes too long")
}

/// Waits for a condition.
pub(crate) async fn until(met: impl Fn() -> bool) {
    let waiting = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(waiting).await;
}

pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://shop.test{path}"))
}

/// An answer: its head, and its body as far as it came, with its trailers, or what broke it off.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: Result<Option<HeaderMap>, h3::error::StreamError>,
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }
}

/// Asks, with a body.
pub(crate) async fn ask(asking: &mut Asking, request: http::request::Builder, body: &[&'static str]) -> Got {
    let mut stream = within(asking.send_request(request.body(()).unwrap())).await.unwrap();
    for piece in body {
        // A refused body is not taken to its end.
        let _ = within(stream.send_data(Bytes::from_static(piece.as_bytes()))).await;
    }
    let _ = within(stream.finish()).await;
    let head = within(stream.recv_response()).await.unwrap();
    let mut got = Vec::new();
    let end = loop {
        match within(stream.recv_data()).await {
            Ok(Some(piece)) => got.extend_from_slice(piece.chunk()),
            Ok(None) => break within(stream.recv_trailers()).await,
            Err(error) => break Err(error),
        }
    };
    Got { head, body: got, end }
}

/// Passes datagrams to the server, and back while it is open; counts the Retry packets that came.
pub(crate) fn relay(server: SocketAddr) -> (SocketAddr, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let near = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.connect(server).unwrap();
    let (address, open, retries) = (near.local_addr().unwrap(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (back, is_open, counted) = (far.try_clone().unwrap(), Arc::clone(&open), Arc::clone(&retries));
    let (client, to) = (Arc::new(Mutex::new(None)), Arc::clone(&near));
    let known = Arc::clone(&client);
    std::thread::spawn(move || {
        let mut bytes = [0; 2_000];
        while let Ok((length, from)) = near.recv_from(&mut bytes) {
            *client.lock() = Some(from);
            let _ = far.send(&bytes[..length]);
        }
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 2_000];
        while let Ok(length) = back.recv(&mut bytes) {
            // The type of a long header (RFC 9000 section 17.2).
            if bytes[0] & 0xf0 == 0xf0 {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(client) = known.lock().filter(|_| is_open.load(Ordering::Relaxed)) {
                let _ = to.send_to(&bytes[..length], client);
            }
        }
    });
    (address, open, retries)
}
