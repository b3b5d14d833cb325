//! DNS over TCP (RFC 7766): connections, how many, how long, and the queries on each in their order.
//!
//! The lock covers the counts of connections by address, and is held for one look.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Service, pause_after};
use crate::packet::Transport;

/// How many queries one connection may bring before it is closed, so that none is held for ever.
const QUERIES_PER_CONNECTION_MAX: u32 = 1000;
/// How long a connection may take from the end of one query to the end of the next, in seconds (RFC 7766 section 6.2.3).
const QUERY_TIMEOUT_S: u64 = 10;
/// The same in seconds while more than half of the connections that may be are open.
const QUERY_TIMEOUT_CROWDED_S: u64 = 2;
/// How long a client may take to accept an answer, in seconds.
const ANSWER_TIMEOUT_S: u64 = 5;
/// The octets that are read at once.
const READ_OCTETS: usize = 4096;
/// The octets of answers that are sent together; those to queries that came together.
const TOGETHER_OCTETS: usize = 1 << 16;
/// The prefix length, in bits, that is one address in IPv6.
const IPV6_ADDRESS_BITS: u32 = 64;

/// How many connections are open, in all and by address; as many addresses as connections at most.
#[derive(Default)]
struct Open {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// A place for one connection, given back when it ends.
struct Place {
    open: Arc<Mutex<Open>>,
    address: IpAddr,
    service: Arc<Service>,
}

impl Place {
    /// A place for a connection from `source`; refused, and counted, when there is none.
    fn take(open: &Arc<Mutex<Open>>, source: IpAddr, service: &Arc<Service>) -> Option<Self> {
        let address = match source.to_canonical() {
            IpAddr::V6(ipv6) => IpAddr::from((ipv6.to_bits() >> IPV6_ADDRESS_BITS << IPV6_ADDRESS_BITS).to_be_bytes()),
            ipv4 @ IpAddr::V4(_) => ipv4,
        };
        let limits = &service.limits;
        let mut counts = open.lock();
        let [refused_of_all, refused_of_address] = &service.figures.connections_refused;
        if counts.all >= limits.connections {
            refused_of_all.inc();
            return None;
        }
        let of_address = counts.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= limits.connections_per_address {
            refused_of_address.inc();
            return None;
        }
        counts.by_address.insert(address, of_address + 1);
        counts.all += 1;
        service.figures.connections.inc();
        Some(Self { open: Arc::clone(open), address, service: Arc::clone(service) })
    }

    /// How long the next query may take to come.
    fn patience(&self) -> Duration {
        let crowded = self.open.lock().all > self.service.limits.connections / 2;
        Duration::from_secs(if crowded { QUERY_TIMEOUT_CROWDED_S } else { QUERY_TIMEOUT_S })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.lock();
        counts.all -= 1;
        match counts.by_address.get_mut(&self.address) {
            Some(of_address) if *of_address > 1 => *of_address -= 1,
            _ => {
                counts.by_address.remove(&self.address);
            }
        }
        self.service.figures.connections.dec();
    }
}

pub(super) async fn run(listener: TcpListener, service: Arc<Service>, stop: watch::Receiver<bool>) {
    let open = Arc::default();
    loop {
        let (stream, source) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error, "accept a connection").await;
                continue;
            }
        };
        let Some(place) = Place::take(&open, source.ip(), &service) else { continue };
        let mut stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection(stream, source, &place) => {
                    if let Err(error) = ended {
                        tracing::debug!(%source, %error, "a DNS connection ended early");
                    }
                }
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }
}

/// Answers the queries of one connection in their order, those that came together together.
async fn connection(mut stream: TcpStream, source: SocketAddr, place: &Place) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let service = &place.service;
    // Grows with what arrives, not with what was announced; at most one query and what is read at once.
    let (mut read, mut answers, mut octets) = (Vec::new(), Vec::new(), Vec::new());
    let mut queries = 0;
    while queries < QUERIES_PER_CONNECTION_MAX {
        if !timeout(place.patience(), read_query(&mut stream, &mut read)).await?? {
            return Ok(());
        }
        let mut done = 0;
        while let Some(query) = query_at(&read, done) {
            let compiled = service.compiled.load_full();
            done += 2 + query.len();
            queries += 1;
            if !service.answer(&compiled, query, source.ip(), Transport::Tcp, service.times(), &mut octets) {
                return Ok(());
            }
            answers.extend_from_slice(&u16::try_from(octets.len()).map_err(io::Error::other)?.to_be_bytes());
            answers.extend_from_slice(&octets);
            if answers.len() >= TOGETHER_OCTETS || queries == QUERIES_PER_CONNECTION_MAX {
                break;
            }
        }
        timeout(Duration::from_secs(ANSWER_TIMEOUT_S), stream.write_all(&answers)).await??;
        answers.clear();
        read.drain(..done);
    }
    Ok(())
}

/// Reads until there is a query, with its length before it (RFC 1035 section 4.2.2); false when the client has closed instead.
async fn read_query(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<bool> {
    while query_at(read, 0).is_none() {
        let mut buffer = [0; READ_OCTETS];
        let octets = stream.read(&mut buffer).await?;
        read.extend_from_slice(buffer.get(..octets).unwrap_or_default());
        if octets == 0 {
            return if read.is_empty() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
    Ok(true)
}

/// The whole query that begins at an octet of what was read, without its length.
fn query_at(read: &[u8], at: usize) -> Option<&[u8]> {
    let (length, rest) = read.get(at..)?.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}
