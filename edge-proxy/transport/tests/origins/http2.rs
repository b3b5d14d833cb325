//! Origins of HTTP/2: connections that many requests share, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use skerry_config::site::HttpVersion;
use skerry_transport::interim::Early;
use skerry_transport::target::{Endpoint, Target};
use skerry_transport::upstream::{Client, Outgoing, UpstreamErrorKind};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::house::{origins, request, soon, to, whole};

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// An origin in cleartext whose connections each do as a test wants it, by their number. And how many there were.
async fn origin<F>(does: impl Fn(usize, Connection<TcpStream, Bytes>) -> F + Send + 'static) -> (Target, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new("127.0.0.1".to_owned(), listener.local_addr().unwrap().port(), None, HttpVersion::Http2);
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = h2::server::handshake(stream).await.unwrap();
            tokio::spawn(does(count.fetch_add(1, Ordering::SeqCst), connection));
        }
    });
    (to(endpoint), opened)
}

fn answer((asked, mut answer): Asked, text: &'static str) {
    assert_eq!(asked.uri().to_string(), "http://shop.test/");
    let mut body = answer.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
}

async fn answer_all(mut connection: Connection<TcpStream, Bytes>) {
    while let Some(Ok(asked)) = connection.accept().await {
        answer(asked, "hello");
    }
}

fn hello() -> Result<(u16, String), skerry_transport::upstream::UpstreamError> {
    Ok((200, "hello".to_owned()))
}

#[tokio::test]
async fn requests_share_one_connection_and_one_opens_it_for_all() {
    let (target, opened) = origin(|_, connection| answer_all(connection)).await;
    let client = Client::new(&origins(&[]));
    for _ in 0..3 {
        let all = join_all((0..50).map(|_| async { whole(&client, &target, &request()).await })).await;
        assert!(all.iter().all(|got| *got == hello()), "{all:?}");
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn interim_answers_go_ahead_and_the_others_come_along() {
    let (target, _) = origin(|_, mut connection| async move {
        while let Some(Ok((_, mut asked))) = connection.accept().await {
            for status in [103, 100, 142] {
                let head = Response::builder().status(status).header("link", "</a>").body(()).unwrap();
                asked.send_informational(head).unwrap();
            }
            let mut body = asked.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"hello"), false).unwrap();
            body.send_trailers(http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("\"1\""))])).unwrap();
        }
    })
    .await;
    let client = Client::new(&origins(&[]));
    let incoming = client.request(std::slice::from_ref(&target), &request()).await.unwrap();
    let came: Vec<_> = incoming.interim.iter().map(|head| (head.status().as_u16(), head.headers()["link"].clone())).collect();
    assert_eq!(came.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [103, 142]);
    let early = Arc::new(Early::default());
    let asks = Outgoing { early: Some(Arc::clone(&early)), ..request() };
    assert_eq!(whole(&client, &target, &asks).await, hello(), "trailers end a body");
    assert_eq!((soon(early.next()).await.status().as_u16(), soon(early.next()).await.status().as_u16()), (103, 142));
}

#[tokio::test]
async fn a_connection_that_says_goodbye_ends_what_is_under_way_and_gets_nothing_more() {
    let (target, opened) = origin(|number, mut connection| async move {
        if number > 0 {
            return answer_all(connection).await;
        }
        let first = connection.accept().await.unwrap().unwrap();
        connection.graceful_shutdown();
        answer(first, "hello");
        while let Some(Ok(asked)) = connection.accept().await {
            answer(asked, "late");
        }
    })
    .await;
    let client = Client::new(&origins(&[]));
    assert_eq!(whole(&client, &target, &request()).await, hello());
    loop {
        let got = whole(&client, &target, &request()).await.unwrap();
        // What was on its way when it said so is still answered.
        if got.1 == "hello" {
            break;
        }
    }
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_was_refused_unseen_is_asked_again() {
    let (target, opened) = origin(|number, mut connection| async move {
        while let Some(Ok(mut asked)) = connection.accept().await {
            match number {
                0 => asked.1.send_reset(Reason::REFUSED_STREAM),
                _ => answer(asked, "hello"),
            }
        }
    })
    .await;
    assert_eq!(whole(&Client::new(&origins(&[])), &target, &request()).await, hello());
    assert!(opened.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn an_origin_that_breaks_is_told_by_what_it_did() {
    for reason in [Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM] {
        let (target, _) = origin(move |_, mut connection| async move {
            while let Some(Ok((_, mut asked))) = connection.accept().await {
                asked.send_reset(reason);
            }
        })
        .await;
        let error = whole(&Client::new(&origins(&[])), &target, &request()).await.unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Protocol, "{reason:?}: {error}");
    }
    let (target, _) = origin(|_, connection| async move { drop(connection) }).await;
    let error = whole(&Client::new(&origins(&[])), &target, &request()).await.unwrap_err();
    assert!(matches!(error.kind, UpstreamErrorKind::Cut | UpstreamErrorKind::Protocol), "{error}");
}

#[tokio::test]
async fn half_a_body_is_never_whole() {
    for reason in [Reason::INTERNAL_ERROR, Reason::NO_ERROR, Reason::CANCEL] {
        let come = Arc::new(Notify::new());
        let told = Arc::clone(&come);
        let (target, _) = origin(move |_, mut connection| {
            let told = Arc::clone(&told);
            async move {
                let (_, mut asked) = connection.accept().await.unwrap().unwrap();
                let mut body = asked.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"half"), false).unwrap();
                let resets = async {
                    told.notified().await;
                    body.send_reset(reason);
                    std::future::pending::<()>().await;
                };
                tokio::join!(resets, async { while connection.accept().await.is_some() {} });
            }
        })
        .await;
        let client = Client::new(&origins(&[]));
        let mut incoming = client.request(std::slice::from_ref(&target), &request()).await.unwrap();
        assert_eq!(incoming.body.chunk().await.unwrap().unwrap(), "half");
        come.notify_one();
        let error = soon(incoming.body.chunk()).await.unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Cut, "{reason:?}: {error}");
    }
}

#[tokio::test]
async fn answers_that_cannot_be_true_are_refused_as_those_of_http_1() {
    for (status, field, kind) in [
        (206, None, UpstreamErrorKind::Unasked206),
        (304, None, UpstreamErrorKind::Unasked304),
        (200, Some(("x-large", "a".repeat(70_000))), UpstreamErrorKind::HeadTooLarge),
    ] {
        let (target, _) = origin(move |_, mut connection| {
            let field = field.clone();
            async move {
                while let Some(Ok((_, mut asked))) = connection.accept().await {
                    let head = Response::builder().status(status);
                    let head = field.iter().fold(head, |head, (name, value)| head.header(*name, value));
                    let _ = asked.send_response(head.body(()).unwrap(), true);
                }
            }
        })
        .await;
        let error = whole(&Client::new(&origins(&[])), &target, &request()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
    }
}

#[tokio::test]
async fn bodies_that_nobody_reads_hold_up_no_other() {
    let (target, opened) = origin(|_, mut connection| async move {
        let mut asked = 0;
        while let Some(Ok((_, mut answer))) = connection.accept().await {
            asked += 1;
            let bytes = if asked > 20 { Bytes::from_static(b"hello") } else { Bytes::from(vec![0; 4 << 20]) };
            answer.send_response(Response::new(()), false).unwrap().send_data(bytes, true).unwrap();
        }
    })
    .await;
    let client = Client::new(&origins(&[]));
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut incoming = client.request(std::slice::from_ref(&target), &request()).await.unwrap();
        assert!(incoming.body.chunk().await.unwrap().is_some());
        unread.push(incoming);
    }
    assert_eq!(whole(&client, &target, &request()).await, hello());
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_crowd_opens_no_more_connections_than_it_fills() {
    let (target, opened) = origin(|_, connection| answer_all(connection)).await;
    let client = Client::new(&origins(&[]));
    let all = join_all((0..600).map(|_| async { whole(&client, &target, &request()).await })).await;
    assert!(all.iter().all(|got| *got == hello()));
    let opened = opened.load(Ordering::SeqCst);
    assert!(opened <= 5, "{opened} connections for 600 requests, of which each takes 128");
}
