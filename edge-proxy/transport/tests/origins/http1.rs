//! Origins of HTTP/1.1, byte by byte: where answers end, and what becomes of their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use skerry_config::check::{self, Format};
use skerry_config::snapshot::{Document, Snapshot};
use skerry_transport::target::Target;
use skerry_transport::upstream::{Client, Outgoing, UpstreamErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::interval;

use crate::house::{origins, request, soon, target, whole};

/// What an origin does with a request.
#[derive(Clone, Default)]
struct Does {
    /// Sent one after the other, a little apart.
    pieces: Vec<Vec<u8>>,
    /// Whether the connection ends then.
    ends: bool,
}

impl Does {
    fn says(text: &str) -> Self {
        Self { pieces: vec![text.into()], ends: false }
    }

    fn and_ends(self) -> Self {
        Self { ends: true, ..self }
    }
}

/// An origin, and its connections.
struct Origin {
    target: Target,
    opened: Arc<AtomicUsize>,
    open: watch::Receiver<usize>,
}

impl Origin {
    /// It is told the numbers of the connection and of the request on it, both from 0.
    async fn start(script: impl Fn(usize, usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target("127.0.0.1", listener.local_addr().unwrap().port());
        let (opened, script) = (Arc::new(AtomicUsize::new(0)), Arc::new(script));
        let (tell, open) = watch::channel(0);
        let count = Arc::clone(&opened);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (number, script, tell) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&script), tell.clone());
                tell.send_modify(|open| *open += 1);
                tokio::spawn(async move {
                    serve(stream, |request| script(number, request)).await;
                    tell.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { target, opened, open }
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, script: impl Fn(usize) -> Does) {
    stream.set_nodelay(true).unwrap();
    let mut a_little = interval(Duration::from_millis(1));
    for request in 0.. {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => asked.push(byte),
                Err(_) => return,
            }
        }
        let does = script(request);
        for piece in &does.pieces {
            a_little.tick().await;
            if stream.write_all(piece).await.is_err() {
                return;
            }
        }
        if does.ends {
            return;
        }
    }
}

/// Answers with the body `hello, world`, and whether their end is known before that of the connection.
const ANSWERS: [(&str, bool); 4] = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world", true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7;a=\"b\"\r\nhello, \r\n05\r\nworld\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", true),
    ("HTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 12, 12\r\n\r\nhello, world", true),
    ("HTTP/1.1 200 OK\r\n\r\nhello, world", false),
];

#[tokio::test]
async fn an_answer_is_the_same_wherever_it_is_cut() {
    for (answer, is_kept) in ANSWERS {
        let cuts = answer.len();
        let asked = AtomicUsize::new(0);
        let origin = Origin::start(move |_, _| {
            let (first, second) = answer.as_bytes().split_at(asked.fetch_add(1, Ordering::SeqCst));
            Does { pieces: vec![first.to_vec(), second.to_vec()], ends: !is_kept }
        })
        .await;
        let client = Client::new(&origins(&[]));
        for cut in 0..cuts {
            let got = whole(&client, &origin.target, &request()).await;
            assert_eq!(got, Ok((200, "hello, world".to_owned())), "{answer:?} cut at {cut}");
        }
        assert_eq!(origin.opened(), if is_kept { 1 } else { cuts }, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_in_single_bytes_is_one() {
    for (answer, is_kept) in ANSWERS {
        let does = Does { pieces: answer.bytes().map(|byte| vec![byte]).collect(), ends: !is_kept };
        let origin = Origin::start(move |_, _| does.clone()).await;
        let got = whole(&Client::new(&origins(&[])), &origin.target, &request()).await;
        assert_eq!(got, Ok((200, "hello, world".to_owned())), "{answer:?}");
    }
}

#[tokio::test]
async fn a_large_body_is_whole() {
    let body = "0123456789abcdef".repeat(256 << 10);
    let half = body.len() / 2;
    let chunks = format!("{half:x}\r\n{}\r\n{half:x}\r\n{}\r\n0\r\n\r\n", &body[..half], &body[half..]);
    for text in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
    ] {
        let origin = Origin::start(move |_, _| Does::says(&text)).await;
        let client = Client::new(&origins(&[]));
        for _ in 0..2 {
            let (status, got) = whole(&client, &origin.target, &request()).await.unwrap();
            assert!(status == 200 && got == body, "{} of {} bytes", got.len(), body.len());
        }
        assert_eq!(origin.opened(), 1);
    }
}

#[tokio::test]
async fn what_has_no_body_ends_with_its_head() {
    let head = |method| Outgoing { method, ..request() };
    for (method, answer) in [
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n"),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let origin = Origin::start(move |_, _| Does::says(answer)).await;
        let client = Client::new(&origins(&[]));
        for _ in 0..3 {
            let incoming = soon(client.request(std::slice::from_ref(&origin.target), &head(method.clone()))).await.unwrap();
            // Nobody has to ask for a body that is none before the connection is free.
            drop(incoming);
        }
        assert_eq!(origin.opened(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_never_an_answer() {
    for (answer, _) in ANSWERS.into_iter().filter(|(_, is_kept)| *is_kept) {
        let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let answer = format!("{answer}{evil}");
        let origin = Origin::start(move |_, _| Does::says(&answer)).await;
        let client = Client::new(&origins(&[]));
        for number in 1..=3 {
            assert_eq!(whole(&client, &origin.target, &request()).await, Ok((200, "hello, world".to_owned())));
            assert_eq!(origin.opened(), number, "its connection was used again");
        }
    }
}

#[tokio::test]
async fn a_connection_that_has_ended_is_replaced_once() {
    // The first one ends when it is asked for the second time, which no look at it tells before.
    let origin = Origin::start(|connection, request| match (connection, request) {
        (0 | 2.., 1) => Does::default().and_ends(),
        _ => Does::says(ANSWERS[0].0),
    })
    .await;
    let client = Client::new(&origins(&[]));
    for _ in 0..2 {
        assert_eq!(whole(&client, &origin.target, &request()).await, Ok((200, "hello, world".to_owned())));
    }
    assert_eq!(origin.opened(), 2);
    let dead = Origin::start(|_, request| if request == 0 { Does::says(ANSWERS[0].0) } else { Does::default().and_ends() }).await;
    assert!(whole(&client, &dead.target, &request()).await.is_ok());
    let nothing = Origin::start(|_, _| Does::default().and_ends()).await;
    let error = whole(&client, &nothing.target, &request()).await.unwrap_err();
    assert_eq!((error.kind, nothing.opened()), (UpstreamErrorKind::Cut, 1), "a new one is not replaced: {error}");
}

#[tokio::test]
async fn one_that_the_origin_has_closed_is_not_asked() {
    let origin = Origin::start(|_, _| Does::says(ANSWERS[0].0).and_ends()).await;
    let client = Client::new(&origins(&[]));
    // Nothing may be sent twice, so that one that were asked would be the end of it.
    let site = "name = \"shop\"\nhosts = [\"shop.test\"]\n[origin]\nurls = [\"http://192.0.2.1\"]\nretries = { percent = 0, floor = 0 }\n";
    let site = check::site_text(site, Format::Toml, None).unwrap();
    client.configure(&Snapshot::build(Document { version: 1, sites: vec![site.clone()], ..Document::default() }).unwrap());
    let target = Target { site: client.origins().shared(&site), ..origin.target.clone() };
    assert!(target.site.is_some());
    let mut open = origin.open.clone();
    for number in 1..=3 {
        assert_eq!(whole(&client, &target, &request()).await, Ok((200, "hello, world".to_owned())));
        soon(open.wait_for(|open| *open == 0)).await.unwrap();
        assert_eq!(origin.opened(), number);
    }
}

#[tokio::test]
async fn bodies_that_break_are_told_by_what_broke() {
    let chunked = |text: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{text}");
    for (answer, kind) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello".to_owned(), UpstreamErrorKind::Cut),
        (chunked(""), UpstreamErrorKind::Cut),
        (chunked("5\r\nhe"), UpstreamErrorKind::Cut),
        (chunked("0\r\nX-A: 1\r\n"), UpstreamErrorKind::Cut),
        (chunked("x"), UpstreamErrorKind::BadChunk),
        (chunked("-1\r\n"), UpstreamErrorKind::BadChunk),
        (chunked("5\r\nhelloX"), UpstreamErrorKind::BadChunk),
        (chunked("0\r\n no: 1\r\n\r\n"), UpstreamErrorKind::BadChunk),
        (chunked(&format!("0\r\nX-A: {}\r\n\r\n", "a".repeat(9_000))), UpstreamErrorKind::BadChunk),
    ] {
        let said = answer.clone();
        let origin = Origin::start(move |_, _| Does::says(&said).and_ends()).await;
        let error = whole(&Client::new(&origins(&[])), &origin.target, &request()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{answer:?}: {error}");
        assert!(error.detail.contains("broke off"), "{error}");
    }
}

#[tokio::test]
async fn no_more_connections_wait_than_may() {
    const AT_ONCE: usize = 150;
    const WAITING_MAX: usize = 128;
    let (all, is_there) = (Arc::new(AtomicUsize::new(0)), watch::channel(false));
    let (tell, hear) = is_there;
    let count = Arc::clone(&all);
    // Everybody gets the first half of his answer, and the second when all are there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = target("127.0.0.1", listener.local_addr().unwrap().port());
    let (left, mut leaves) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if count.fetch_add(1, Ordering::SeqCst) + 1 == AT_ONCE {
                tell.send_replace(true);
            }
            let (mut hear, left) = (hear.clone(), left.clone());
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                hear.wait_for(|all| *all).await.unwrap();
                stream.write_all(ANSWERS[0].0.as_bytes()).await.unwrap();
                let _ = stream.read(&mut asked).await;
                let _ = left.send(());
            });
        }
    });
    let client = Client::new(&origins(&[]));
    let all = join_all((0..AT_ONCE).map(|_| async { whole(&client, &to, &request()).await.unwrap() })).await;
    assert_eq!(all.len(), AT_ONCE);
    for _ in WAITING_MAX..AT_ONCE {
        soon(leaves.recv()).await.unwrap();
    }
    assert!(leaves.try_recv().is_err(), "more left than had to");
}

#[tokio::test]
async fn sizes_of_chunks_may_be_padded() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0 \r\n\r\n";
    let origin = Origin::start(move |_, _| Does::says(text)).await;
    assert_eq!(whole(&Client::new(&origins(&[])), &origin.target, &request()).await.unwrap(), (200, "hello".to_owned()));
}

#[tokio::test]
async fn an_answer_that_cannot_be_true_is_asked_for_once_on_a_kept_connection_too() {
    let origin = Origin::start(|_, request| match request {
        0 => Does::says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        _ => Does::says("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    })
    .await;
    let client = Client::new(&origins(&[]));
    assert!(whole(&client, &origin.target, &request()).await.is_ok());
    assert_eq!(whole(&client, &origin.target, &request()).await.unwrap_err().kind, UpstreamErrorKind::BadLength);
    assert_eq!(origin.opened(), 1);
}
