//! The front door with real sockets: what comes in as HTTP/1.1, HTTP/2 and TLS, and what leaves when a body breaks off.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use skerry_config::process;
use skerry_transport::accept::Front;
use skerry_transport::asker::{Asker, Later, Pieces, Unsent, Whole};
use skerry_transport::certificates::Certificates;
use skerry_transport::client::Client;
use skerry_transport::door::{Behind, Reply, Told};
use skerry_transport::head::{Head, Refusal};
use skerry_transport::session;
use skerry_transport::tls;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// What the answer to `/old` has for its `Date`.
const OLD: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

/// For `/late`: told when the client has left, and the bytes that it had then.
static LEFT: Notify = Notify::const_new();
static HAD: LazyLock<watch::Sender<Option<u64>>> = LazyLock::new(|| watch::Sender::new(None));

/// Answers in sessions, with what it saw, `/early` and `/many` after interim answers. What is waited for it does not see: `/cut` with a body that breaks
/// off, `/late` with one whose end comes when its client has left.
struct Echo;

struct Late(Option<Bytes>);

#[async_trait]
impl Pieces for Late {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        if self.0.is_none() {
            LEFT.notified().await;
        }
        Ok(self.0.take())
    }
}

struct Broken(bool);

#[async_trait]
impl Pieces for Broken {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        if std::mem::replace(&mut self.0, true) { Err("upstream died".to_owned()) } else { Ok(Some(Bytes::from_static(b"half"))) }
    }
}

/// A request that waits for its answer.
struct Waited(Head);

#[async_trait]
impl Later for Waited {
    async fn answer(self: Box<Self>, asker: &mut dyn Asker) {
        let text = self.0.path_and_query;
        let mut headers = HeaderMap::new();
        let early = |status: u16| http::Response::builder().status(status).header("link", "</a>").body(()).unwrap();
        match &*text {
            "/cut" => {
                let sent = asker.answer(StatusCode::OK, headers, &mut Broken(false)).await;
                return assert_eq!(sent.end, Err(Unsent::Body("upstream died".to_owned())));
            }
            "/late" => {
                headers.insert("content-length", HeaderValue::from(text.len()));
                let sent = asker.answer(StatusCode::OK, headers, &mut Late(Some(text.into()))).await;
                HAD.send_replace(Some(if sent.end.is_ok() { sent.bytes } else { 0 }));
                return;
            }
            "/waited/old" => {
                headers.insert("date", HeaderValue::from_static(OLD));
                headers.append("date", HeaderValue::from_static("Sun, 02 Jan 2000 00:00:00 GMT"));
            }
            "/waited/many" => {
                for _ in 0..100 {
                    asker.interim(early(103)).await.unwrap();
                }
            }
            _ => {
                for status in [102, 103, 199] {
                    asker.interim(early(status)).await.unwrap();
                }
            }
        }
        assert_eq!(asker.answer(StatusCode::OK, headers, &mut Whole(Some(text.into()))).await.end, Ok(()));
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
        let head = Head::read(session.req_header(), session::is_tls(session)).unwrap();
        let text = format!("{} {} {} {:?}", head.scheme, head.authority, head.path_and_query, session.req_header().version);
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from(text.len()));
        if head.path_and_query == "/old" {
            headers.insert("date", HeaderValue::from_static(OLD));
            headers.append("date", HeaderValue::from_static("Sun, 02 Jan 2000 00:00:00 GMT"));
        }
        if head.path_and_query == "/many" {
            let many = vec![http::Response::builder().status(103).body(()).unwrap(); 100];
            session::send_interim(session, &many).await.unwrap();
        }
        if head.path_and_query == "/early" {
            let early = |status: u16| http::Response::builder().status(status).header("link", "</a>").body(()).unwrap();
            session::send_interim(session, &[early(102), early(103), early(199)]).await.unwrap();
        }
        let sent = session::send(session, StatusCode::OK, &headers, text.into(), head.method == "HEAD").await;
        assert!(sent.is_ok() || session.req_header().version == Version::HTTP_2, "{sent:?}");
        Ok(true)
    }
}

/// What the front door asks: what is cut or late, or below `/waited`, is waited for, and refusals are plain.
struct Refusing;

impl Behind for Refusing {
    fn ask(&self, head: Head, _: &Arc<Client>) -> Reply {
        match head.path() {
            "/cut" | "/late" => Reply::Later(Box::new(Waited(head))),
            path if path.starts_with("/waited/") => Reply::Later(Box::new(Waited(head))),
            _ => Reply::Pass,
        }
    }

    fn refused(&self, _: Refusal, _: &Client) -> Told {
        Told { status: StatusCode::BAD_REQUEST, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

struct Running {
    http: SocketAddr,
    https: SocketAddr,
    stop: watch::Sender<bool>,
    drained: tokio::task::JoinHandle<()>,
    dir: tempfile::TempDir,
}

async fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let (cert_file, key_file) = (dir.path().join("ca.pem"), dir.path().join("ca.key"));
    std::fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let settings = process::Tls { certificates: Vec::new(), issuer: Some(process::Certificate { cert: cert_file, key: key_file }) };
    let certificates = Certificates::load(&settings, vec!["127.0.0.1".parse().unwrap()], Box::new(|host| host == "shop.test")).unwrap();

    let (stop, stopped) = watch::channel(false);
    let front = Front::new(Echo, Arc::new(Refusing), process::Limits::default(), stopped);
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (http, https) = (plain.local_addr().unwrap(), secure.local_addr().unwrap());
    front.listen(plain, None);
    front.listen(secure, Some(tls::for_clients(Arc::new(certificates)).unwrap()));
    Running { http, https, stop, drained: tokio::spawn(front.drained()), dir }
}

async fn curl(args: Vec<String>) -> Output {
    tokio::task::spawn_blocking(move || Command::new("curl").args(["-sS", "--max-time", "10"]).args(args).output().unwrap()).await.unwrap()
}

fn args(list: &[&str]) -> Vec<String> {
    list.iter().map(|arg| (*arg).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_cleartext_port_speaks_http1_and_http2_with_prior_knowledge() {
    let running = start().await;
    let url = format!("http://{}/a?b", running.http);
    let first = curl(args(&["--http1.1", &url, &url])).await;
    let expected = format!("http {} /a?b HTTP/1.1", running.http);
    assert_eq!(String::from_utf8(first.stdout).unwrap(), expected.repeat(2));
    let second = curl(args(&["--http2-prior-knowledge", &url])).await;
    assert_eq!(String::from_utf8(second.stdout).unwrap(), format!("http {} /a?b HTTP/2.0", running.http));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_shorter_than_the_http2_preface_is_answered() {
    let running = start().await;
    let mut socket = TcpStream::connect(running.http).await.unwrap();
    socket.write_all(b"GET / HTTP/1.0\r\nHost:a\r\n\r\n".get(..16).unwrap()).await.unwrap();
    socket.write_all(b"Host:a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("http a / HTTP/1.0"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_takes_the_certificate_of_the_name_and_refuses_names_nobody_serves() {
    let running = start().await;
    let ca = running.dir.path().join("ca.pem");
    let port = running.https.port();
    let ask = |host: &str| {
        args(&[
            "--cacert",
            ca.to_str().unwrap(),
            "--resolve",
            &format!("{host}:{port}:127.0.0.1"),
            "-w",
            "|%{http_version}",
            &format!("https://{host}:{port}/"),
        ])
    };
    let served = curl(ask("shop.test")).await;
    assert_eq!(String::from_utf8(served.stdout).unwrap(), format!("https shop.test:{port} / HTTP/2.0|2"));
    let nameless = curl(args(&["--cacert", ca.to_str().unwrap(), &format!("https://127.0.0.1:{port}/")])).await;
    assert_eq!(String::from_utf8(nameless.stdout).unwrap(), format!("https 127.0.0.1:{port} / HTTP/2.0"), "by address, without a name");
    let strange = curl(ask("other.test")).await;
    assert!(!strange.status.success(), "a name that no site owns got a certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_never_looks_whole() {
    let running = start().await;
    let url = format!("http://{}/cut", running.http);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let cut = curl(args(&[version, &url])).await;
        assert!(!cut.status.success(), "{version}: curl took half a body for a whole one");
        assert!(b"half".starts_with(&cut.stdout[..]), "{version}: {:?}", cut.stdout);
    }
}

/// A TLS connection on which openssl has shaken hands and says nothing more.
async fn shake(to: SocketAddr, protocol: &str) -> tokio::process::Child {
    let mut client = tokio::process::Command::new("openssl")
        .args(["s_client", "-alpn", protocol, "-servername", "shop.test", "-connect", &to.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let shaken = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("ALPN protocol: ") {
                return assert_eq!(line, format!("ALPN protocol: {protocol}"));
            }
        }
        panic!("openssl has not shaken hands");
    };
    tokio::time::timeout(Duration::from_secs(5), shaken).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_closes_idle_connections_and_ends() {
    let running = start().await;
    let mut idle = TcpStream::connect(running.http).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let mut first = [0_u8; 12];
    idle.read_exact(&mut first).await.unwrap();
    // Connected ahead of need, as browsers do: nothing said, or nothing but the hand given.
    let _silent = [TcpStream::connect(running.http).await.unwrap(), TcpStream::connect(running.https).await.unwrap()];
    let _shaken = [shake(running.https, "http/1.1").await, shake(running.https, "h2").await];
    running.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(5), running.drained).await.expect("an idle connection held up the drain").unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), idle.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_its_date_and_one_without_gets_the_time() {
    let running = start().await;
    let mut socket = TcpStream::connect(running.http).await.unwrap();
    let ask = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{more}\r\n");
    let ahead = [ask("/old", ""), ask("/", ""), ask("/waited/old", ""), ask("/waited/", ""), ask("/old", "Connection: close\r\n")].concat();
    socket.write_all(ahead.as_bytes()).await.unwrap();
    let mut answers = String::new();
    tokio::time::timeout(Duration::from_secs(5), socket.read_to_string(&mut answers)).await.unwrap().unwrap();
    let dates: Vec<&str> = answers.lines().filter_map(|line| line.strip_prefix("Date: ")).collect();
    assert!(dates.len() == 5 && dates.iter().map(|date| *date == OLD).eq([true, false, true, false, true]), "{answers}");

    let ca = running.dir.path().join("ca.pem");
    let secure = format!("https://127.0.0.1:{}", running.https.port());
    let plain = format!("http://{}", running.http);
    let ways = [
        &["--http1.1", "--cacert", ca.to_str().unwrap(), &secure][..],
        &["--http1.1", "--head", &plain],
        &["--http1.0", &plain],
        &["--http2-prior-knowledge", &plain],
    ];
    for (way, path) in ways.iter().flat_map(|way| [(way, "/old"), (way, "/waited/old")]) {
        let (at, options) = way.split_last().unwrap();
        let url = format!("{at}{path}");
        let list = [options, &[&*url]].concat();
        let got = curl(args(&[&["--include"], &list[..]].concat())).await;
        let text = String::from_utf8(got.stdout).unwrap().to_ascii_lowercase();
        let dates: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("date: ")).collect();
        assert_eq!(dates, [OLD.to_ascii_lowercase()], "{list:?}: {text}");
    }
}

/// The heads of an answer, as curl shows them.
async fn heads(list: &[&str]) -> Vec<String> {
    let got = curl(args(&[&["--dump-header", "-", "--output", "/dev/null", "--output", "/dev/null"], list].concat())).await;
    String::from_utf8(got.stdout).unwrap().trim_end().split("\r\n\r\n").map(str::to_ascii_lowercase).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_come_before_the_answer_but_for_http_1_0() {
    let running = start().await;
    for path in ["/early", "/waited/early"] {
        let url = format!("http://{}{path}", running.http);
        let secure = format!("https://127.0.0.1:{}{path}", running.https.port());
        for list in [["--http1.1", &url, &url], ["--http2-prior-knowledge", "--head", &url], ["--insecure", &secure, &secure]] {
            let heads = heads(&list).await;
            let statuses: Vec<&str> = heads.iter().filter_map(|head| head.split_ascii_whitespace().nth(1)).collect();
            let answers = list.iter().filter(|arg| arg.ends_with("/early")).count();
            assert_eq!(statuses, ["102", "103", "199", "200"].repeat(answers), "{list:?}: {heads:?}");
            for (head, status) in heads.iter().zip(statuses) {
                assert_eq!(head.contains("\nlink: </a>"), status != "200", "{list:?}: {heads:?}");
            }
        }
        let old = heads(&["--http1.0", &url]).await;
        assert!(old.len() == 1 && old[0].starts_with("http/1.1 200"), "{old:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interim_answers_of_a_stream_are_bounded() {
    let running = start().await;
    let (client, _connection) = connect_h2(running.http).await;
    let mut client = client.ready().await.unwrap();
    for path in ["/many", "/waited/many"] {
        let (mut answer, _) = client.send_request(request_h2(&format!("http://a.test{path}")), true).unwrap();
        let mut interim = 0;
        while std::future::poll_fn(|cx| answer.poll_informational(cx)).await.is_some_and(|head| head.is_ok()) {
            interim += 1;
        }
        assert_eq!((interim, answer.await.unwrap().status().as_u16()), (8, 200), "{path}");
    }
}

/// A connection of the HTTP/2 client, and its end.
async fn connect_h2(to: SocketAddr) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(to).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    (client, tokio::spawn(connection))
}

fn request_h2(uri: &str) -> http::Request<()> {
    http::Request::builder().uri(uri).body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_connection_are_answered_side_by_side_and_a_stop_ends_it() {
    let running = start().await;
    let (client, connection) = connect_h2(running.http).await;
    let mut client = client.ready().await.unwrap();
    let mut answers = Vec::new();
    for number in 0..50 {
        let is_given_up = number % 5 == 4;
        let (answer, mut sending) = client.send_request(request_h2(&format!("http://a.test/{number}")), !is_given_up).unwrap();
        if is_given_up {
            // It concerns no other stream. Fewer than 20 in a row: more are taken for an attack, which ends the connection.
            sending.send_reset(h2::Reason::CANCEL);
        } else {
            answers.push((number, answer));
        }
    }
    for (number, answer) in answers {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        let mut text = Vec::new();
        while let Some(piece) = body.data().await {
            text.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(String::from_utf8(text).unwrap(), format!("http a.test /{number} HTTP/2.0"));
    }
    running.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(5), running.drained).await.expect("an idle connection held up the drain").unwrap();
    tokio::time::timeout(Duration::from_secs(5), connection).await.expect("the connection goes on").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_with_all_of_an_answer_has_had_it_whole() {
    let running = start().await;
    let (client, _connection) = connect_h2(running.http).await;
    let mut client = client.ready().await.unwrap();
    let (answer, mut asking) = client.send_request(request_h2("http://a.test/late"), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let text = body.data().await.unwrap().unwrap();
    asking.send_reset(h2::Reason::CANCEL);
    // When this is answered, the server has seen the reset.
    client.send_request(request_h2("http://a.test/next"), true).unwrap().0.await.unwrap();
    LEFT.notify_one();
    let mut had = HAD.subscribe();
    let had = tokio::time::timeout(Duration::from_secs(5), had.wait_for(Option::is_some)).await.unwrap().unwrap().unwrap();
    assert_eq!(had, text.len() as u64);
}

/// A TLS client over a connection that is there already.
async fn secure(socket: TcpStream, ca: &std::path::Path) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    tokio_rustls::TlsConnector::from(config).connect("shop.test".try_into().unwrap(), socket).await.unwrap()
}

/// A client cannot know that it came just before the stop: the kernel had taken its connection, so its request is answered.
#[tokio::test(flavor = "multi_thread")]
async fn who_came_just_before_a_stop_is_answered() {
    let running = start().await;
    let mut plain = TcpStream::connect(running.http).await.unwrap();
    let secured = TcpStream::connect(running.https).await.unwrap();
    let silent = TcpStream::connect(running.http).await.unwrap();
    running.stop.send(true).unwrap();
    let mut secured = secure(secured, &running.dir.path().join("ca.pem")).await;
    let request = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    plain.write_all(request).await.unwrap();
    secured.write_all(request).await.unwrap();
    let mut answers = [Vec::new(), Vec::new()];
    let [in_clear, over_tls] = &mut answers;
    let both = async { tokio::join!(plain.read_to_end(in_clear), secured.read_to_end(over_tls)) };
    let _ = tokio::time::timeout(Duration::from_secs(5), both).await.expect("a connection is kept after a stop");
    for answer in &answers {
        let answer = String::from_utf8_lossy(answer);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("HTTP/1.1"), "{answer:?}");
    }
    tokio::time::timeout(Duration::from_secs(5), running.drained).await.expect("who says nothing held up the drain").unwrap();
    drop(silent);
    assert!(TcpStream::connect(running.http).await.is_err(), "nobody listens any more");
}
