//! Who may come in, and how many at once: connections of all clients and of one address, handshakes under way, requests that take the full way.
//!
//! One gate stands before all listeners of a process, of every protocol. It counts by what it hands out: a [`Place`] or a [`Permit`] is given back
//! when it is dropped. The limits are swapped whole; a lower one ends nothing that runs. The lock covers the table of addresses and is held while a
//! connection comes or goes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use skerry_config::process::Limits;
use tokio::sync::Notify;

use crate::client::Protocol;

mod addresses;
mod collect;
mod handshakes;

use addresses::Addresses;
pub(crate) use handshakes::Handshake;
use handshakes::Handshakes;

pub use addresses::{Prefix, RECENT_MAX};
pub use handshakes::HANDSHAKES_MAX;

/// Why a connection was closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `limits.connections` were open, and this one could not wait.
    Connections,
    /// `limits.connections_per_address` were open.
    AddressConnections,
    /// `limits.new_connections_per_second` had come.
    AddressRate,
    /// It came to a listener behind load balancers from elsewhere.
    ProxyAddress,
    /// It did not begin with a header of the PROXY protocol that can be used.
    ProxyHeader,
    /// The TLS handshake failed.
    Handshake,
    /// The handshake, or the header before it, took longer than `limits.handshake_time`.
    HandshakeTime,
    /// It was the oldest of more than [`HANDSHAKES_MAX`] handshakes.
    Handshakes,
}

impl Refused {
    /// All of them, in the order of their declaration.
    const ALL: [Self; 8] = [
        Self::Connections,
        Self::AddressConnections,
        Self::AddressRate,
        Self::ProxyAddress,
        Self::ProxyHeader,
        Self::Handshake,
        Self::HandshakeTime,
        Self::Handshakes,
    ];

    /// Its name in logs and figures.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::AddressConnections => "address_connections",
            Self::AddressRate => "address_rate",
            Self::ProxyAddress => "proxy_address",
            Self::ProxyHeader => "proxy_header",
            Self::Handshake => "handshake",
            Self::HandshakeTime => "handshake_time",
            Self::Handshakes => "handshakes",
        }
    }
}

/// See the module. Clones share everything.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    limits: ArcSwap<Limits>,
    /// What connections may take of memory, in bytes, if that has a bound.
    memory: Option<u64>,
    /// Connections that are open, those in their handshake among them.
    connections: AtomicU64,
    /// Tells who waits for a place that one was given back.
    left: Notify,
    /// The open connections by what they speak.
    speaking: [AtomicU64; 4],
    refused: [AtomicU64; Refused::ALL.len()],
    addresses: Mutex<Addresses>,
    handshakes: Handshakes,
    requests: AtomicU64,
    requests_refused: AtomicU64,
}

impl From<Limits> for Gate {
    fn from(limits: Limits) -> Self {
        Self::within(limits, None)
    }
}

impl Gate {
    /// A gate whose connections may take so many bytes of memory, which bounds what is held for one of them. `limits` are bound by it already.
    #[must_use]
    pub fn within(limits: Limits, memory: Option<u64>) -> Self {
        Self(Arc::new(Inner {
            limits: ArcSwap::from_pointee(limits),
            memory,
            connections: AtomicU64::new(0),
            left: Notify::new(),
            speaking: Default::default(),
            refused: Default::default(),
            addresses: Mutex::default(),
            handshakes: Handshakes::default(),
            requests: AtomicU64::new(0),
            requests_refused: AtomicU64::new(0),
        }))
    }

    /// What connections may take of memory, in bytes, if that has a bound.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.0.memory
    }

    /// The limits in force. A connection keeps those it began with.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        self.0.limits.load_full()
    }

    /// Puts other limits in force. Connections and requests that a lower limit would not admit go on.
    pub fn set_limits(&self, limits: Limits) {
        self.0.limits.store(Arc::new(limits));
        self.0.left.notify_waiters();
    }

    /// A place for a connection, as soon as fewer than `limits.connections` are open.
    pub async fn place(&self) -> Place {
        loop {
            let left = self.0.left.notified();
            let mut left = std::pin::pin!(left);
            // Before the look, so that no place given back in between is missed.
            left.as_mut().enable();
            if let Some(place) = self.place_now() {
                return place;
            }
            left.await;
        }
    }

    /// Counts a connection that is refused; gives the reason back.
    pub fn refuse(&self, reason: Refused) -> Refused {
        self.0.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        reason
    }

    /// A permit for a request that takes the full way, for as long as it is held; `None`, counted, when `limits.requests` are held.
    #[must_use]
    pub fn request(&self) -> Option<Permit> {
        let most = u64::from(self.0.limits.load().requests);
        if take(&self.0.requests, most) {
            return Some(Permit(Self(Arc::clone(&self.0))));
        }
        self.0.requests_refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Counts a handshake that begins. Of more than [`HANDSHAKES_MAX`] the oldest is told to end.
    pub(crate) fn handshake(&self) -> Handshake {
        self.0.handshakes.begin(self)
    }

    /// A place, if fewer than `limits.connections` are open: for connections that cannot wait in the kernel.
    pub(crate) fn place_now(&self) -> Option<Place> {
        let most = u64::from(self.0.limits.load().connections);
        take(&self.0.connections, most).then(|| {
            self.0.speaking[OPENING].fetch_add(1, Ordering::Relaxed);
            Place { gate: self.clone(), speaks: OPENING, client: None }
        })
    }
}

/// Adds one if that makes at most `most`.
fn take(count: &AtomicU64, most: u64) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
}

/// The index of connections that do not speak yet; behind it come the protocols.
const OPENING: usize = 0;

/// The names of what connections speak, by their index.
const SPOKEN: [&str; 4] = ["opening", Protocol::Http1.as_str(), Protocol::Http2.as_str(), Protocol::Http3.as_str()];

/// A connection's place among those that are open.
pub struct Place {
    gate: Gate,
    /// An index of [`SPOKEN`].
    speaks: usize,
    client: Option<Prefix>,
}

impl Place {
    /// Counts the connection as one of this client's.
    ///
    /// # Errors
    /// The bound that is reached, counted. The connection is then to be closed.
    pub fn admit(&mut self, client: IpAddr) -> Result<(), Refused> {
        self.admit_at(client, Instant::now())
    }

    fn admit_at(&mut self, client: IpAddr, now: Instant) -> Result<(), Refused> {
        let prefix = Prefix::of(client);
        let limits = self.gate.0.limits.load();
        let admitted = self.gate.0.addresses.lock().enter(prefix, &limits, now);
        admitted.map_err(|reason| self.gate.refuse(reason))?;
        self.client = Some(prefix);
        Ok(())
    }

    /// What the connection speaks is known.
    pub fn speaks(&mut self, protocol: Protocol) {
        let speaks = 1 + protocol as usize;
        self.gate.0.speaking[self.speaks].fetch_sub(1, Ordering::Relaxed);
        self.gate.0.speaking[speaks].fetch_add(1, Ordering::Relaxed);
        self.speaks = speaks;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Inner { addresses, speaking, connections, left, .. } = &*self.gate.0;
        if let Some(client) = self.client {
            addresses.lock().leave(client, Instant::now());
        }
        speaking[self.speaks].fetch_sub(1, Ordering::Relaxed);
        connections.fetch_sub(1, Ordering::Relaxed);
        left.notify_one();
    }
}

/// A request that takes the full way.
pub struct Permit(Gate);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
