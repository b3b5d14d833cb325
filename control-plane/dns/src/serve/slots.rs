//! Who may have a connection over TCP.
//!
//! Owns how many are open, by address and by prefix, and which one makes room for another. The lock covers these counts, and is held for one look.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Notify;

use crate::figures::Figures;
use crate::limit::Limits;
use crate::prefix::Prefix;

/// The prefix length, in bits, that is one address in IPv6, as it is for the limits over UDP: a customer's network.
const IPV6_ADDRESS_BITS: u32 = 56;
/// The prefix lengths within which connections are counted together where room is to be made: a /24, and in IPv6 what one site may have.
const IPV4_BITS: u8 = 24;
const IPV6_BITS: u8 = 48;

/// The connections that may be; as many addresses and prefixes as connections at most.
pub(super) struct Slots {
    all_max: u32,
    of_address_max: u32,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
    /// The oldest first.
    by_prefix: HashMap<Prefix, VecDeque<Held>>,
}

struct Held {
    address: IpAddr,
    wanted: Arc<Notify>,
}

/// A slot for one connection, given back when it ends.
pub(super) struct Slot {
    slots: Arc<Slots>,
    prefix: Prefix,
    wanted: Arc<Notify>,
    connections: IntGauge,
}

impl Slots {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { all_max: limits.connections, of_address_max: limits.connections_per_address, open: Mutex::default() }
    }

    /// A slot for a connection from `source`; refused, and counted, when there is none. Where all are taken the oldest connection of the prefix that
    /// has most makes room, if it has more than this one will have.
    pub(super) fn take(self: &Arc<Self>, source: IpAddr, figures: &Figures) -> Option<Slot> {
        let address = one_address(source);
        let prefix = Prefix::of(address, if address.is_ipv4() { IPV4_BITS } else { IPV6_BITS });
        let [refused_of_all, refused_of_address] = &figures.connections_refused;
        let mut open = self.open.lock();
        if open.by_address.get(&address).copied().unwrap_or(0) >= self.of_address_max {
            refused_of_address.inc();
            return None;
        }
        if open.all >= self.all_max {
            refused_of_all.inc();
            if !open.make_room(prefix) {
                return None;
            }
        }
        let wanted = Arc::new(Notify::new());
        open.all += 1;
        *open.by_address.entry(address).or_default() += 1;
        open.by_prefix.entry(prefix).or_default().push_back(Held { address, wanted: Arc::clone(&wanted) });
        let connections = figures.connections.clone();
        connections.inc();
        Some(Slot { slots: Arc::clone(self), prefix, wanted, connections })
    }
}

impl Open {
    /// Takes a slot from the prefix that has most; false when none has more than `prefix` will have.
    fn make_room(&mut self, prefix: Prefix) -> bool {
        let own = self.by_prefix.get(&prefix).map_or(0, VecDeque::len);
        let most = self.by_prefix.iter().max_by_key(|(_, held)| held.len()).filter(|(_, held)| held.len() > own + 1);
        let Some((most, wanted)) = most.and_then(|(most, held)| Some((*most, Arc::clone(&held.front()?.wanted)))) else { return false };
        wanted.notify_one();
        self.give_back(most, &wanted);
        true
    }

    /// Nothing when the slot was taken from the connection before it ended.
    fn give_back(&mut self, prefix: Prefix, wanted: &Arc<Notify>) {
        let Some(of_prefix) = self.by_prefix.get_mut(&prefix) else { return };
        let at = of_prefix.iter().position(|held| Arc::ptr_eq(&held.wanted, wanted));
        let Some(held) = at.and_then(|at| of_prefix.remove(at)) else { return };
        if of_prefix.is_empty() {
            self.by_prefix.remove(&prefix);
        }
        self.all -= 1;
        match self.by_address.get_mut(&held.address) {
            Some(of_address) if *of_address > 1 => *of_address -= 1,
            _ => {
                self.by_address.remove(&held.address);
            }
        }
    }
}

impl Slot {
    /// Until another connection has the slot.
    pub(super) async fn is_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether more than half of the connections that may be are open.
    pub(super) fn is_crowded(&self) -> bool {
        self.slots.open.lock().all > self.slots.all_max / 2
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.open.lock().give_back(self.prefix, &self.wanted);
        self.connections.dec();
    }
}

/// What counts as one address.
fn one_address(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ipv6) => {
            let beyond = 128 - IPV6_ADDRESS_BITS;
            IpAddr::from((ipv6.to_bits() >> beyond << beyond).to_be_bytes())
        }
        ipv4 @ IpAddr::V4(_) => ipv4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address_and_makes_room_for_others() {
        let figures = Figures::new(&prometheus::Registry::new()).expect("figures");
        let limits = Limits { connections: 8, connections_per_address: 4, ..Limits::default() };
        let slots = Arc::new(Slots::new(&limits));
        let take = |text: &str| slots.take(text.parse().expect("an address"), &figures);
        // One customer's /56, by its /64.
        let own: Vec<Slot> = (0..4).map(|number| take(&format!("2001:db8:0:{number:x}::1")).expect("a slot")).collect();
        assert!(take("2001:db8:0:ff::1").is_none());
        let next: Vec<Slot> = (0..4).map(|number| take(&format!("2001:db8:0:1{number:02x}::1")).expect("a slot")).collect();
        assert!(take("2001:db8:0:200::1").is_none(), "a /48 that has all has no more");
        let others: Vec<Slot> = ["192.0.2.1", "192.0.2.1", "2001:db8:1::1"].map(|text| take(text).expect("room is made")).into();
        assert!(own[0].is_crowded());
        assert_eq!(slots.open.lock().all, 8);
        drop((own, next, others));
        let open = slots.open.lock();
        assert_eq!((open.all, open.by_address.len(), open.by_prefix.len()), (0, 0, 0));
    }
}
