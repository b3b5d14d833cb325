//! DNS over TCP (RFC 7766): connections, how many, how long, and the queries on each in their order.
//!
//! Owns the bounds of a connection. Who may have one is `slots`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::slots::{Slot, Slots};
use super::{Service, pause_after};
use crate::packet::Transport;

/// How many queries one connection may bring before it is closed, so that none is held for ever.
const QUERIES_PER_CONNECTION_MAX: u32 = 1000;
/// How long a connection may take from the end of one query to the end of the next, in seconds (RFC 7766 section 6.2.3).
const QUERY_TIMEOUT_S: u64 = 10;
/// The same in seconds while more than half of the connections that may be are open.
const QUERY_TIMEOUT_CROWDED_S: u64 = 2;
/// How long a connection may last while so many are open, in seconds, whatever it brings.
const LIFETIME_CROWDED_S: u64 = 10;
/// How long a client may take to accept an answer, in seconds.
const ANSWER_TIMEOUT_S: u64 = 5;
/// The octets of the longest query that is read: a question, with room for options and padding.
const QUERY_OCTETS_MAX: usize = 4096;
/// The octets that are read at once.
const READ_OCTETS: usize = 4096;
/// The octets of answers that are sent together; those to queries that came together.
const TOGETHER_OCTETS: usize = 1 << 14;
/// The octets of each buffer that a connection keeps from one query to the next.
const KEPT_OCTETS: usize = 4096;
/// How much of what still comes is read before a connection is closed, in octets and in seconds: what is not read would take the last answers away.
const DRAINED_OCTETS_MAX: usize = 1 << 18;
const DRAIN_TIMEOUT_S: u64 = 1;

/// What was read next.
enum Read {
    /// A whole query, at least.
    Query,
    /// The announcement of a longer one than is read.
    TooLong,
    /// The client has closed.
    End,
}

pub(super) async fn run(listener: Arc<TcpListener>, service: Arc<Service>, stop: watch::Receiver<bool>) {
    let slots = Arc::new(Slots::new(&service.limits));
    loop {
        let (stream, source) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error, "accept a connection").await;
                continue;
            }
        };
        let Some(slot) = slots.take(source.ip(), &service.figures) else { continue };
        let (service, mut stop) = (Arc::clone(&service), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                ended = connection(stream, source, &slot, &service) => {
                    if let Err(error) = ended {
                        tracing::debug!(%source, %error, "a DNS connection ended early");
                    }
                }
                () = slot.is_wanted() => tracing::debug!(%source, "a DNS connection made room for another"),
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }
}

/// Answers the queries of one connection in their order, those that came together together.
async fn connection(mut stream: TcpStream, source: SocketAddr, slot: &Slot, service: &Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let began = Instant::now();
    let (mut read, mut answers, mut octets) = (Vec::new(), Vec::new(), Vec::new());
    let mut queries = 0;
    let mut is_last = false;
    while !is_last {
        match timeout(patience(slot, began), read_query(&mut stream, &mut read)).await?? {
            Read::Query => {}
            Read::TooLong => break,
            Read::End => return Ok(()),
        }
        let compiled = service.compiled.load_full();
        let mut done = 0;
        while let (false, Some(query)) = (is_last, query_at(&read, done)) {
            done += 2 + query.len();
            queries += 1;
            is_last = queries == QUERIES_PER_CONNECTION_MAX;
            if !service.answer(&compiled, query, source.ip(), Transport::Tcp, service.times(), &mut octets) {
                is_last = true;
                break;
            }
            answers.extend_from_slice(&u16::try_from(octets.len()).map_err(io::Error::other)?.to_be_bytes());
            answers.extend_from_slice(&octets);
            if answers.len() >= TOGETHER_OCTETS {
                break;
            }
        }
        timeout(Duration::from_secs(ANSWER_TIMEOUT_S), stream.write_all(&answers)).await??;
        read.drain(..done);
        answers.clear();
        octets.clear();
        [&mut read, &mut answers, &mut octets].into_iter().for_each(|buffer| buffer.shrink_to(KEPT_OCTETS));
    }
    close(stream).await
}

/// How long the next query may take to come.
fn patience(slot: &Slot, began: Instant) -> Duration {
    if slot.is_crowded() {
        let left = Duration::from_secs(LIFETIME_CROWDED_S).saturating_sub(began.elapsed());
        left.min(Duration::from_secs(QUERY_TIMEOUT_CROWDED_S))
    } else {
        Duration::from_secs(QUERY_TIMEOUT_S)
    }
}

/// Closes so that the client gets what was sent: a connection that is closed over unread octets is reset.
async fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let drained = async {
        let mut buffer = [0; READ_OCTETS];
        let mut all = 0;
        while all < DRAINED_OCTETS_MAX {
            match stream.read(&mut buffer).await? {
                0 => break,
                octets => all += octets,
            }
        }
        Ok(())
    };
    timeout(Duration::from_secs(DRAIN_TIMEOUT_S), drained).await.unwrap_or(Ok(()))
}

/// Reads until there is a query, with its length before it (RFC 1035 section 4.2.2).
async fn read_query(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Read> {
    loop {
        if announced(read, 0).is_some_and(|length| length > QUERY_OCTETS_MAX) {
            return Ok(Read::TooLong);
        }
        if query_at(read, 0).is_some() {
            return Ok(Read::Query);
        }
        let mut buffer = [0; READ_OCTETS];
        let octets = stream.read(&mut buffer).await?;
        read.extend_from_slice(buffer.get(..octets).unwrap_or_default());
        if octets == 0 {
            return if read.is_empty() { Ok(Read::End) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// The length of the query that begins at an octet of what was read.
fn announced(read: &[u8], at: usize) -> Option<usize> {
    read.get(at..)?.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))
}

/// The whole query that begins at an octet of what was read, without its length.
fn query_at(read: &[u8], at: usize) -> Option<&[u8]> {
    read.get(at + 2..)?.get(..announced(read, at)?)
}
