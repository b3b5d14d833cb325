//! Connects to one server at the addresses it has: one after the other, a little apart and with families in turn, and the first connection wins
//! (RFC 8305). The winner is tried first for a time.
//!
//! What is passed through goes over Pingora's connections. Pingora asks for one only when it has none in its pool, whose connections are told apart by
//! their address. So a [`Race`] for a peer at one address that another one won ends as [`is_elsewhere`]: who asked asks again for the winner, and gets
//! the connection that is open already.
//!
//! The lock of [`Winners`] covers the map, that of a [`Race`] what it won.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::net::TcpStream;

use crate::target::{Endpoint, Target};

/// Addresses of one server that are tried for one connection.
const ADDRESSES_TRIED_MAX: usize = 8;
/// How long an address may take before the next one is tried beside it (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// How long the address that won is tried first.
const WINNER_KEPT: Duration = Duration::from_secs(600);
/// Servers whose winners are known; beyond it all are forgotten.
const WINNERS_MAX: usize = 4_096;

/// The name of [`is_elsewhere`] in Pingora's error type.
const ELSEWHERE: &str = "connected-elsewhere";
/// The name of a failure to connect.
pub(crate) const CONNECT: &str = "connect-failed";

/// Which address of a server won the last race.
#[derive(Debug, Default)]
pub(crate) struct Winners {
    known: Mutex<HashMap<String, (IpAddr, Instant)>>,
}

/// One race for a connection of Pingora's.
#[derive(Debug)]
pub(crate) struct Race {
    endpoint: Arc<Endpoint>,
    /// In the order in which they are tried; at least one.
    addresses: Vec<SocketAddr>,
    time: Duration,
    winners: Arc<Winners>,
    won: Mutex<Option<(SocketAddr, TcpStream)>>,
}

impl Race {
    /// A race to `target` at these addresses, at least one, which begins when Pingora wants a connection.
    pub(crate) fn new(target: &Target, addresses: &[SocketAddr], winners: &Arc<Winners>) -> Arc<Self> {
        let endpoint = Arc::clone(&target.endpoint);
        let addresses = winners.order(&endpoint, addresses);
        Arc::new(Self { endpoint, addresses, time: target.times.connect, winners: Arc::clone(winners), won: Mutex::default() })
    }

    /// Whether it holds a connection that was not asked for.
    pub(crate) fn has_won(&self) -> bool {
        self.won.lock().is_some()
    }

    /// The peer for Pingora: at the address that won, or else at the one that is tried first.
    pub(crate) fn peer(self: &Arc<Self>, target: &Target, http1_only: bool) -> HttpPeer {
        let address = self.won.lock().as_ref().map_or(self.addresses[0], |(address, _)| *address);
        let mut peer = target.peer(address, http1_only);
        peer.options.custom_l4 = Some(Arc::clone(self) as _);
        peer
    }
}

/// Whether Pingora was told of a connection that is open, though not to the address it asked for. The race's next peer is the right one.
pub(crate) fn is_elsewhere(error: &Error) -> bool {
    *error.etype() == ErrorType::Custom(ELSEWHERE)
}

#[async_trait]
impl L4Connect for Race {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<Stream> {
        let wanted = address.as_inet().copied();
        if let Some((_, stream)) = self.won.lock().take_if(|(address, _)| Some(*address) == wanted) {
            return Ok(stream.into());
        }
        let (address, stream) = match self.winners.race(&self.endpoint, &self.addresses, self.time).await {
            Ok(won) => won,
            Err(why) => return Error::e_explain(ErrorType::Custom(CONNECT), why),
        };
        if Some(address) == wanted {
            return Ok(stream.into());
        }
        *self.won.lock() = Some((address, stream));
        Error::e_explain(ErrorType::Custom(ELSEWHERE), address.to_string())
    }
}

impl Winners {
    /// A connection to a server at one of these addresses, at least one, within `time`.
    ///
    /// # Errors
    /// One sentence on each address.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
        time: Duration,
    ) -> Result<(SocketAddr, TcpStream), String> {
        self.race(endpoint, &self.order(endpoint, addresses), time).await
    }

    fn order(&self, endpoint: &Endpoint, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        alternate(addresses, self.first(endpoint.label()))
    }

    async fn race(&self, endpoint: &Endpoint, addresses: &[SocketAddr], time: Duration) -> Result<(SocketAddr, TcpStream), String> {
        let won = race(addresses, time).await?;
        if addresses.len() > 1 {
            self.won(endpoint.label(), won.0.ip());
        }
        Ok(won)
    }

    fn first(&self, label: &str) -> Option<IpAddr> {
        self.known.lock().get(label).filter(|(_, since)| since.elapsed() < WINNER_KEPT).map(|(ip, _)| *ip)
    }

    fn won(&self, label: &str, ip: IpAddr) {
        let mut known = self.known.lock();
        if known.len() >= WINNERS_MAX {
            known.clear();
        }
        known.insert(label.to_owned(), (ip, Instant::now()));
    }
}

/// Addresses with their families in turn, the first one's first (RFC 8305 section 4); `first` leads them where it is among them.
fn alternate(addresses: &[SocketAddr], first: Option<IpAddr>) -> Vec<SocketAddr> {
    let lead = addresses.iter().find(|address| Some(address.ip()) == first).or(addresses.first()).copied();
    let rest = || addresses.iter().copied().filter(|address| Some(*address) != lead);
    let is_like_lead = |address: &SocketAddr| lead.is_some_and(|lead| lead.is_ipv4() == address.is_ipv4());
    let (mut like, mut unlike) = (rest().filter(is_like_lead), rest().filter(|address| !is_like_lead(address)));
    let mut order: Vec<SocketAddr> = lead.into_iter().collect();
    while order.len() < ADDRESSES_TRIED_MAX {
        let before = order.len();
        order.extend(unlike.next());
        order.extend(like.next());
        if order.len() == before {
            break;
        }
    }
    order.truncate(ADDRESSES_TRIED_MAX);
    order
}

/// The first connection to one of `addresses` within `time`. Each has a head start on the next one, which is tried at once when it fails. Or why
/// there is none: one sentence on each.
async fn race(addresses: &[SocketAddr], time: Duration) -> Result<(SocketAddr, TcpStream), String> {
    // With little time the last address still has its share of it.
    let stagger = STAGGER.min(time / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX));
    let deadline = tokio::time::sleep(time);
    tokio::pin!(deadline);
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut failed: Vec<(SocketAddr, String)> = Vec::new();
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            running.push(async move { (address, TcpStream::connect(address).await) });
        }
        let head_start = tokio::time::sleep(stagger);
        tokio::pin!(head_start);
        loop {
            tokio::select! {
                Some((address, ended)) = running.next() => match ended {
                    Ok(stream) => return Ok((address, stream)),
                    Err(error) => {
                        failed.push((address, error.to_string()));
                        if waiting.len() > 0 {
                            break;
                        }
                    }
                },
                () = &mut head_start, if waiting.len() > 0 => break,
                () = &mut deadline, if !running.is_empty() => {
                    let silent = addresses.iter().filter(|address| failed.iter().all(|(other, _)| other != *address));
                    let silent: Vec<_> = silent.map(|address| (*address, format!("no answer in {time:?}"))).collect();
                    failed.extend(silent);
                    return Err(said(&failed));
                }
                else => return Err(said(&failed)),
            }
        }
    }
}

fn said(failed: &[(SocketAddr, String)]) -> String {
    failed.iter().map(|(address, why)| format!("{address}: {why}")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
