//! The peers of side-by-side runs, each as a real process before an origin of this process that counts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use skerry_loadtest::peer::{Kind, Peer, Workers};
use skerry_loadtest::processor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::house::{DEADLINE_S, loadtest, said};

/// How often a process is looked at that is to end, in milliseconds.
const LOOK_MS: u64 = 10;
/// How long an origin keeps a herd waiting for more of it to come through, in seconds: longer than a cache that does not hold requests back
/// takes to hand them on.
const HERD_S: u64 = 3;
/// The clients of a herd.
const HERD: usize = 20;

/// What the origin was asked for, and how often.
type Asked = Arc<watch::Sender<HashMap<String, u64>>>;

/// An origin whose answers differ each time, are to be kept as the path says, and are for one client by every other field that they have.
struct Origin {
    address: SocketAddr,
    asked: Asked,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, asked) = (listener.local_addr().expect("an address"), Asked::default());
        let counts = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counts = Arc::clone(&counts);
                let service = service_fn(move |request| Self::answer(request, Arc::clone(&counts)));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, asked }
    }

    async fn answer(request: Request<Incoming>, asked: Asked) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        let mut count = 0;
        asked.send_modify(|counts| {
            let own = counts.entry(path.clone()).or_default();
            *own += 1;
            count = *own;
        });
        if path.starts_with("/held") {
            let mut counts = asked.subscribe();
            let _ = timeout(Duration::from_secs(HERD_S), counts.wait_for(|counts| counts[&path] as usize == HERD)).await;
        }
        let status = if path.starts_with("/none") { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let control = match path.as_str() {
            "/private" => Some("private, max-age=86400"),
            "/never" => Some("no-store"),
            "/brief" => Some("max-age=1"),
            "/silent" | "/none" => None,
            _ => Some("max-age=86400"),
        };
        let mut response = Response::builder().status(status);
        if let Some(control) = control {
            response = response.header("cache-control", control);
        }
        let response = response.header("vary", "user-agent").header("set-cookie", "a=b").header("cache-status", "shield-1; hit");
        Ok(response.body(Full::new(Bytes::from(format!("{host} {path} {count}\n").repeat(1000)))).expect("a response"))
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn count(&self, path: &str) -> u64 {
        self.asked.borrow().get(path).copied().unwrap_or_default()
    }
}

/// Asks once on a connection of its own: status, what the peer says of its cache, and body.
async fn ask(address: SocketAddr, host: &str, agent: &str, path: &str) -> (u16, String, Bytes) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::get(path).header("host", host).header("user-agent", agent).header("cookie", agent);
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    let response = timeout(Duration::from_secs(DEADLINE_S), sender.send_request(request)).await.expect("in time").expect("an answer");
    let cache = response.headers().get("x-cache-status").expect("what the cache did").to_str().expect("text").to_owned();
    let status = response.status().as_u16();
    (status, cache, response.into_body().collect().await.expect("a whole body").to_bytes())
}

/// Runs one check for all kinds, each before an origin of its own.
async fn each<F: Future<Output = ()>>(check: impl Fn(Peer, Origin) -> F) {
    for kind in Kind::ALL {
        let origin = Origin::start().await;
        let peer = Peer::start(kind, &origin.url(), Workers::One).await.unwrap_or_else(|error| panic!("{error}"));
        check(peer, origin).await;
    }
}

/// Where a peer has its files: its first process runs there, or deeper.
fn folder(peer: &Peer) -> PathBuf {
    let first = peer.processes().expect("processes")[0];
    let runs_in = std::fs::read_link(format!("/proc/{first}/cwd")).expect("the folder that it runs in");
    let all = skerry_loadtest::machine::files().canonicalize().expect("a folder");
    let own = runs_in.strip_prefix(&all).expect("a temporary folder").components().next().expect("a folder of its own");
    all.join(own)
}

fn is_there(pid: &u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Waits until none of these processes is there any more.
async fn gone(pids: &[u32]) {
    let (deadline, mut looks) = (Instant::now() + Duration::from_secs(DEADLINE_S), interval(Duration::from_millis(LOOK_MS)));
    while pids.iter().any(is_there) {
        assert!(Instant::now() < deadline, "of {pids:?} one is still there");
        looks.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_keeps_what_the_origin_says_for_every_client() {
    each(async |peer, origin| {
        let (name, address) = (peer.name(), peer.address());
        let host = format!("a.test:{}", address.port());
        let (status, cache, first) = ask(address, &host, "one", "/a?x=1").await;
        assert_eq!((status, cache == "HIT"), (200, false), "{name}: {cache}");
        assert!(first.starts_with(format!("{host} /a?x=1 1\n").as_bytes()), "{name} asks for the host that it was asked for");
        // Neither what the answer varies by nor a cookie is part of the key.
        let (status, cache, again) = ask(address, &host, "two", "/a?x=1").await;
        assert!((status, cache.as_str()) == (200, "HIT") && again == first, "{name}: {status} {cache}");
        let (_, cache, other) = ask(address, &host, "one", "/a?x=2").await;
        assert!(cache != "HIT" && other.starts_with(format!("{host} /a?x=2 1\n").as_bytes()), "{name}: the query is part of the key");
        // The generator sees the same.
        let (url, resolve) = (format!("http://{host}/a?x=1"), format!("a.test:{}", address.ip()));
        let asked = ["run", "--url", &url, "--resolve", &resolve, "--connections", "4", "--requests", "200", "--json"];
        let (stdout, stderr) = said(&loadtest(&asked).await);
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        assert_eq!((&report["hits"], &report["errors"]), (&200.into(), &0.into()), "{name}: {stdout}");
        assert_eq!((origin.count("/a?x=1"), origin.count("/a?x=2")), (1, 1), "{name}");
        for round in 1..=2 {
            let (status, cache, _) = ask(address, &host, "one", "/none").await;
            assert_eq!((status, cache == "HIT", origin.count("/none")), (404, false, round), "{name} keeps nothing but what there is");
        }
        peer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_keeps_an_answer_as_long_as_the_origin_says() {
    each(async |peer, origin| {
        let (name, address) = (peer.name(), peer.address());
        for path in ["/private", "/never", "/silent"] {
            for round in 1..=2 {
                let (_, cache, _) = ask(address, "a.test", "one", path).await;
                assert!((cache != "HIT", origin.count(path)) == (true, round), "{name} keeps {path}: {cache}");
            }
        }
        // A second is soon over, and then all of the answer is another one.
        let first = ask(address, "a.test", "one", "/brief").await.2;
        let (deadline, mut looks) = (Instant::now() + Duration::from_secs(DEADLINE_S), interval(Duration::from_millis(LOOK_MS)));
        let mut asked = 1;
        loop {
            let (_, cache, body) = ask(address, "a.test", "one", "/brief").await;
            asked += 1;
            if body != first {
                assert_ne!(cache, "HIT", "{name}");
                break;
            }
            assert!(Instant::now() < deadline, "{name} still has what was to be kept for a second");
            looks.tick().await;
        }
        assert!(asked > 2 && origin.count("/brief") == 2, "{name} asked {} times for {asked}", origin.count("/brief"));
        peer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_reaches_the_origin_of_a_peer_once() {
    each(async |peer, origin| {
        let (name, address) = (peer.name(), peer.address());
        let mut herd = JoinSet::new();
        for _ in 0..HERD {
            herd.spawn(ask(address, "a.test", "one", "/held"));
        }
        let answers = herd.join_all().await;
        assert_eq!(origin.count("/held"), 1, "{name}");
        assert!(answers.iter().all(|answer| answer.2 == answers[0].2 && answer.0 == 200), "{name}");
        peer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_peer_is_that_of_its_processes() {
    each(async |peer, _origin| {
        let (name, pids) = (peer.name(), peer.processes().expect("processes"));
        let url = format!("http://{}/a", peer.address());
        let before = processor::used(&pids).expect("accounts");
        let output = loadtest(&["run", "--url", &url, "--connections", "4", "--requests", "5000", "--json"]).await;
        let used = processor::used(&pids).expect("accounts").saturating_sub(before);
        assert!(output.status.success(), "{name}: {}", said(&output).1);
        // No server answers in less than 6 microseconds, and no one needs a millisecond.
        assert!(used > Duration::from_millis(30) && used < Duration::from_secs(5), "{name}: {used:?} by {pids:?}");
        // Those are all that there are.
        assert_eq!(peer.processes().expect("processes"), pids, "{name}");
        assert!(processor::resident(&pids).expect("accounts") > 1 << 20, "{name}");
        peer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_one_kind_do_not_disturb_each_other_and_leave_nothing() {
    each(async |first, first_origin| {
        let (name, second_origin) = (first.name(), Origin::start().await);
        let second = Peer::start(first.kind(), &second_origin.url(), Workers::OnePerCore).await.expect("a second one");
        assert_ne!(first.address(), second.address(), "{name}");
        let (first_address, second_address) = (first.address(), second.address());
        let own = ask(first_address, "first.test", "one", "/a").await.2;
        let other = ask(second_address, "second.test", "one", "/a").await.2;
        assert!(own.starts_with(b"first.test ") && other.starts_with(b"second.test "), "{name}");
        assert_eq!((first_origin.count("/a"), second_origin.count("/a")), (1, 1), "{name}");

        let (pids, files) = (first.processes().expect("processes"), folder(&first));
        assert!(files.exists(), "{name}: {}", files.display());
        first.stop().await;
        assert!(!files.exists() && !pids.iter().any(is_there), "{name}: {} {pids:?}", files.display());
        assert!(TcpStream::connect(first_address).await.is_err(), "{name}");
        assert_eq!(ask(second_address, "second.test", "one", "/a").await.1, "HIT", "{name}");

        // One that is merely dropped ends too.
        let (pids, files) = (second.processes().expect("processes"), folder(&second));
        drop(second);
        gone(&pids).await;
        assert!(!files.exists(), "{name}: {}", files.display());
    })
    .await;
}

/// Names the kind to a process that is to have such a peer until it is killed.
const HELD: &str = "SKERRY_TEST_HELD_PEER";

#[tokio::test]
async fn a_peer_ends_with_the_process_that_has_it_however_that_ends() {
    if let Ok(kind) = std::env::var(HELD) {
        let peer = Peer::start(kind.parse().expect("a kind"), "http://127.0.0.1:9", Workers::One).await.expect("a peer");
        println!("held {:?} {}", peer.processes().expect("processes"), folder(&peer).display());
        return std::future::pending().await;
    }
    for kind in Kind::ALL {
        let mut holder = tokio::process::Command::new(std::env::current_exe().expect("this test"));
        holder.args(["--exact", "peers::a_peer_ends_with_the_process_that_has_it_however_that_ends", "--nocapture"]);
        holder.env(HELD, kind.name()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut holder = holder.spawn().expect("this test again");
        let mut lines = BufReader::new(holder.stdout.take().expect("a pipe")).lines();
        let held = async {
            loop {
                let line = lines.next_line().await.expect("a line").expect("a held peer");
                // The runner of tests may have begun the line.
                if let Some((_, held)) = line.split_once("held [") {
                    break held.to_owned();
                }
            }
        };
        let held = timeout(Duration::from_secs(DEADLINE_S), held).await.expect("in time");
        let (pids, files) = held.split_once("] ").expect("processes and a folder");
        let pids: Vec<u32> = pids.split(", ").map(|pid| pid.parse().expect("a number")).collect();
        assert!(pids.iter().all(is_there), "{kind}: {held}");
        holder.kill().await.expect("killed");
        gone(&pids).await;
        std::fs::remove_dir_all(files).expect("what a killed process cannot remove");
    }
}

#[tokio::test]
async fn a_peer_that_cannot_be_is_a_sentence() {
    for kind in Kind::ALL {
        for origin in ["127.0.0.1:80", "https://a.test", "http://a.test/files", "http://a.test:0x50", "http://a\";b"] {
            let error = Peer::start(kind, origin, Workers::One).await.expect_err("no origin");
            assert_eq!(error, format!("the origin `{origin}` is not http://host[:port], which {kind} is to stand before"));
        }
        assert_eq!(kind.to_string().parse::<Kind>(), Ok(kind));
        assert!(kind.is_installed() && kind.version().await.expect("a version").starts_with(&format!("{kind} ")), "{kind}");
    }
    // These look for their origin when they start, and say what they miss.
    for (kind, sentence) in [(Kind::Nginx, "nginx does not start: "), (Kind::Varnish, "varnish does not start: ")] {
        let error = Peer::start(kind, "http://nobody.invalid", Workers::One).await.expect_err("no such host");
        assert!(error.starts_with(sentence), "{error}");
    }
    assert_eq!("squid".parse::<Kind>().expect_err("no peer"), "`squid` is no peer; these are: nginx, varnish, trafficserver");
}
