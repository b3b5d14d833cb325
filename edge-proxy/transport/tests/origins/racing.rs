//! Several addresses of one server, of which not all answer.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use skerry_transport::upstream::{Client, UpstreamErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::dns::{Says, Server};
use crate::house::{TIME, origins, request, target};

const SILENT: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);
const REFUSING: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 2);
const ANSWERING: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 3);

/// An origin at one of the addresses and a free port; how many connections it was asked for.
async fn origin() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((ANSWERING, 0)).await.unwrap();
    let (port, connections) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    asked.push(byte);
                    if asked.ends_with(b"\r\n\r\n") {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
                    }
                }
            });
        }
    });
    (port, connections)
}

/// A listener whose queue is full, so that nothing is answered at this address, neither yes nor no.
async fn silence(port: u16) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((SILENT, port).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect((SILENT, port))).await {
        held.push(stream);
    }
    (listener, held)
}

async fn body(client: &Arc<Client>, port: u16) -> String {
    let mut incoming = client.request(&[target("origin.test", port)], &request()).await.unwrap();
    let mut body = Vec::new();
    while let Some(piece) = incoming.body.chunk().await.unwrap() {
        body.extend(piece);
    }
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn a_silent_address_is_waited_for_once_and_the_winners_connection_is_used_again() {
    let (port, connections) = origin().await;
    let _silence = silence(port).await;
    let names = Server::start(Says::Addresses(vec![SILENT, ANSWERING])).await;
    let client = Client::new(&origins(&[names.address]));
    let began = Instant::now();
    assert_eq!(body(&client, port).await, "hello");
    assert!(began.elapsed() < TIME / 2, "{:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(body(&client, port).await, "hello");
    }
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}: the winner is not remembered", began.elapsed());
    assert_eq!(connections.load(Ordering::Relaxed), 1, "its connection went into the pool under its own address");
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_by_at_once() {
    let (port, _) = origin().await;
    let names = Server::start(Says::Addresses(vec![REFUSING, ANSWERING])).await;
    let began = Instant::now();
    assert_eq!(body(&Client::new(&origins(&[names.address])), port).await, "hello");
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn when_no_address_answers_each_is_told_of() {
    let port = TcpListener::bind((REFUSING, 0)).await.unwrap().local_addr().unwrap().port();
    let names = Server::start(Says::Addresses(vec![REFUSING, ANSWERING])).await;
    let client = Client::new(&origins(&[names.address]));
    let error = client.request(&[target("origin.test", port)], &request()).await.err().unwrap();
    assert_eq!(error.kind, UpstreamErrorKind::Connect);
    for ip in [REFUSING, ANSWERING] {
        assert!(error.detail.contains(&format!("{ip}:{port}: Connection refused")), "{error}");
    }
}

#[tokio::test]
async fn an_address_that_may_not_be_is_left_out_of_the_race() {
    let (port, _) = origin().await;
    let names = Server::start(Says::Addresses(vec![Ipv4Addr::new(169, 254, 169, 254), ANSWERING])).await;
    assert_eq!(body(&Client::new(&origins(&[names.address])), port).await, "hello");
    let only = Server::start(Says::Addresses(vec![Ipv4Addr::new(169, 254, 169, 254)])).await;
    let error = Client::new(&origins(&[only.address])).request(&[target("origin.test", port)], &request()).await.err().unwrap();
    assert_eq!(error.kind, UpstreamErrorKind::AddressRefused, "{error}");
}
