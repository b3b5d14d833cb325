//! A DNS server of real packets on a free port, which says what a test wants of every name.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

/// What the server says of every name.
#[derive(Clone)]
pub(crate) enum Says {
    /// This address, for so many seconds.
    Address(Ipv4Addr, u32),
    /// These, for a minute.
    Addresses(Vec<Ipv4Addr>),
    /// An error.
    Fails,
    /// Nothing at all.
    Nothing,
}

/// A DNS server on a free port.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    /// Questions for IPv4 addresses.
    asked: watch::Receiver<usize>,
}

impl Server {
    pub(crate) async fn start(says: Says) -> Self {
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
                let says = says.lock().unwrap().clone();
                match says {
                    Says::Nothing => continue,
                    Says::Fails => message.metadata.response_code = ResponseCode::ServFail,
                    _ if question.query_type() != RecordType::A => {}
                    Says::Address(ip, ttl) => message.answers.push(record(&question, ip, ttl)),
                    Says::Addresses(all) => message.answers.extend(all.into_iter().map(|ip| record(&question, ip, 60))),
                }
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        server
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits for the next so many questions.
    pub(crate) async fn hears(&self, more: usize) {
        let mut asked = self.asked.clone();
        let least = *asked.borrow() + more;
        timeout(Duration::from_secs(20), asked.wait_for(|asked| *asked >= least)).await.unwrap().unwrap();
    }
}

fn record(question: &Query, ip: Ipv4Addr, ttl: u32) -> Record {
    Record::from_rdata(question.name().clone(), ttl, RData::A(A(ip)))
}
