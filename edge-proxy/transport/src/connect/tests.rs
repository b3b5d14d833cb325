//! Races on real sockets of loopback, whose addresses all answer.

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpSocket};

use super::*;

/// More than any of these races may take where one address answers.
const SOON: Duration = Duration::from_secs(5);

/// An address where nothing is answered, neither yes nor no: a listener whose queue is full.
async fn silent(last: u8) -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 1, last], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        held.push(stream);
    }
    (address, held, listener)
}

/// An address where connections are refused.
async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn answering() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test]
async fn a_silent_address_costs_its_head_start_and_no_more() {
    let (silent, _held, _queue) = silent(1).await;
    let (answering, _listener) = answering().await;
    let began = Instant::now();
    let (address, _) = race(&[silent, answering], SOON).await.unwrap();
    assert_eq!(address, answering);
    let took = began.elapsed();
    assert!(took >= STAGGER && took < SOON / 2, "{took:?}");
}

#[tokio::test]
async fn an_address_that_refuses_costs_nothing() {
    let (refusing, (answering, _listener)) = (refusing().await, answering().await);
    let began = Instant::now();
    let (address, _) = race(&[refusing, answering], SOON).await.unwrap();
    assert_eq!(address, answering);
    assert!(began.elapsed() < STAGGER, "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_that_answers_late_wins_over_one_that_never_does() {
    let (first, _held, queue) = silent(2).await;
    let (second, _held_too, _queue_too) = silent(3).await;
    let racing = tokio::spawn(async move { race(&[first, second], Duration::from_secs(20)).await });
    // Room in the queue: the first attempt goes on, though the second one has begun.
    let emptying = tokio::spawn(async move { while queue.accept().await.is_ok() {} });
    let (address, _) = racing.await.unwrap().unwrap();
    assert_eq!(address, first);
    emptying.abort();
}

#[tokio::test]
async fn with_little_time_the_last_address_still_has_some() {
    let (silent, _held, _queue) = silent(4).await;
    let (answering, _listener) = answering().await;
    assert_eq!(race(&[silent, answering], Duration::from_millis(200)).await.unwrap().0, answering);
}

#[tokio::test]
async fn what_failed_is_told_of_each_address_and_in_time() {
    let (silent, _held, _queue) = silent(5).await;
    let refusing = refusing().await;
    let began = Instant::now();
    let why = race(&[silent, refusing], Duration::from_millis(500)).await.unwrap_err();
    assert!(why.contains(&format!("{silent}: no answer in 500ms")) && why.contains(&format!("{refusing}: Connection refused")), "{why}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(race(&[refusing], SOON).await.unwrap_err().starts_with(&refusing.to_string()));
}

#[test]
fn families_take_turns_and_the_winner_leads() {
    let of = |text: &str| -> Vec<SocketAddr> { text.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect() };
    for (found, first, order) in [
        ("::1 ::2 ::3 1.1.1.1 1.1.1.2", None, "::1 1.1.1.1 ::2 1.1.1.2 ::3"),
        ("1.1.1.1 1.1.1.2 ::1", None, "1.1.1.1 ::1 1.1.1.2"),
        ("::1 ::2 1.1.1.1", Some("1.1.1.1"), "1.1.1.1 ::1 ::2"),
        ("::1 ::2 1.1.1.1", Some("::2"), "::2 1.1.1.1 ::1"),
        ("::1 1.1.1.1", Some("9.9.9.9"), "::1 1.1.1.1"),
        ("1.1.1.1", None, "1.1.1.1"),
        ("1.1.1.1 1.1.1.1", None, "1.1.1.1"),
        ("::1 ::2 ::3 ::4 ::5 ::6 ::7 ::8 ::9 1.1.1.1", None, "::1 1.1.1.1 ::2 ::3 ::4 ::5 ::6 ::7"),
        ("", None, ""),
    ] {
        assert_eq!(alternate(&of(found), first.map(|ip| ip.parse().unwrap())), of(order), "{found}");
    }
}

#[test]
fn winners_are_known_by_server_and_bounded() {
    let winners = Winners::default();
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    winners.won("a:80", ip);
    assert_eq!((winners.first("a:80"), winners.first("a:81")), (Some(ip), None));
    for port in 0..WINNERS_MAX {
        winners.won(&format!("b:{port}"), ip);
    }
    assert!(winners.known.lock().len() <= WINNERS_MAX);
}
