//! Names of origins against a DNS server of real packets, which says what a test wants.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use skerry_transport::resolve::Resolver;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

/// What the server says of every name.
#[derive(Clone, Copy)]
enum Says {
    /// This address, for so many seconds.
    Address(Ipv4Addr, u32),
    /// An error.
    Fails,
    /// Nothing at all.
    Nothing,
}

/// A DNS server on a free port.
struct Server {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    /// Questions for IPv4 addresses.
    asked: watch::Receiver<usize>,
}

impl Server {
    async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (count, asked) = watch::channel(0);
        let server = Self { address: socket.local_addr().unwrap(), says: Arc::new(Mutex::new(says)), asked };
        let says = Arc::clone(&server.says);
        tokio::spawn(async move {
            let mut packet = [0; 1_500];
            loop {
                let (length, from) = socket.recv_from(&mut packet).await.unwrap();
                let mut message = Message::from_vec(&packet[..length]).unwrap();
                let question = message.queries[0].clone();
                message.metadata.message_type = MessageType::Response;
                count.send_modify(|count| *count += usize::from(question.query_type() == RecordType::A));
                let says = *says.lock().unwrap();
                match says {
                    Says::Nothing => continue,
                    Says::Fails => message.metadata.response_code = ResponseCode::ServFail,
                    Says::Address(ip, ttl) if question.query_type() == RecordType::A => {
                        message.answers.push(Record::from_rdata(question.name().clone(), ttl, RData::A(A(ip))));
                    }
                    Says::Address(..) => {}
                }
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        server
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits for the next so many questions.
    async fn hears(&self, more: usize) {
        let mut asked = self.asked.clone();
        let least = *asked.borrow() + more;
        timeout(Duration::from_secs(20), asked.wait_for(|asked| *asked >= least)).await.unwrap().unwrap();
    }
}

const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Asks until `ip` is the answer; every other answer has to be `meanwhile`.
async fn until(resolver: &Resolver, ip: Ipv4Addr, meanwhile: Ipv4Addr) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = resolver.addresses("origin.test").await.unwrap();
        if *found == [IpAddr::V4(ip)] {
            return;
        }
        assert_eq!(*found, [IpAddr::V4(meanwhile)]);
        assert!(Instant::now() < deadline, "the change was not followed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_counts_for_its_ttl_and_a_change_is_followed() {
    let server = Server::start(Says::Address(FIRST, 1)).await;
    let resolver = Resolver::new(&[server.address]);
    let began = Instant::now();
    until(&resolver, FIRST, FIRST).await;
    server.say(Says::Address(SECOND, 3_000));
    assert_eq!(*resolver.addresses("origin.test").await.unwrap(), [IpAddr::V4(FIRST)], "its time is not over");
    server.hears(1).await;
    until(&resolver, SECOND, FIRST).await;
    let took = began.elapsed();
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(server.asked(), 2, "one question for each answer, however many wanted it");
}

#[tokio::test]
async fn a_dns_that_fails_or_is_silent_takes_nothing_away() {
    let server = Server::start(Says::Address(FIRST, 1)).await;
    let resolver = Resolver::new(&[server.address]);
    until(&resolver, FIRST, FIRST).await;
    for says in [Says::Fails, Says::Nothing] {
        server.say(says);
        for _ in 0..2 {
            let began = Instant::now();
            assert_eq!(*resolver.addresses("origin.test").await.unwrap(), [IpAddr::V4(FIRST)]);
            assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for DNS");
            server.hears(1).await;
        }
    }
    server.say(Says::Address(SECOND, 3_000));
    until(&resolver, SECOND, FIRST).await;
}

#[tokio::test]
async fn a_name_without_an_answer_is_a_sentence_in_time() {
    for says in [Says::Fails, Says::Nothing] {
        let server = Server::start(says).await;
        let began = Instant::now();
        let error = Resolver::new(&[server.address]).addresses("origin.test").await.unwrap_err();
        assert!(error.starts_with("origin.test could not be resolved"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn the_file_of_hosts_comes_before_dns() {
    let server = Server::start(Says::Address(FIRST, 60)).await;
    let found = Resolver::new(&[server.address]).addresses("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert_eq!(server.asked(), 0);
}
