//! The connections of each client address: how many are open, and how many came in the present second.
//!
//! Bounded: an address with open connections is one of at most `limits.connections`; of those without, [`RECENT_MAX`] are remembered for their
//! second. Over that all of them are forgotten, and their second begins anew: a flood from many addresses shuts nobody else out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use skerry_config::process::Limits;

use super::Refused;

/// The addresses without an open connection that are remembered.
pub const RECENT_MAX: usize = 16_384;

/// The time in which `new_connections_per_second` may come.
const SECOND: Duration = Duration::from_secs(1);

/// One client as far as limits go: an IPv4 address, or the /64 of an IPv6 one, which is what one household or machine is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(IpAddr);

impl Prefix {
    /// The client at an address; an IPv4 address in the form of IPv6 counts as itself.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Addresses {
    known: HashMap<Prefix, Known>,
    /// How many of the known ones have no open connection.
    recent: usize,
}

struct Known {
    open: u32,
    /// When the present second began, and how many came in it.
    since: Instant,
    came: u32,
}

impl Addresses {
    /// Counts a connection, if it may come in.
    pub(super) fn enter(&mut self, client: Prefix, limits: &Limits, now: Instant) -> Result<(), Refused> {
        let mut is_recent = false;
        let known = self.known.entry(client).and_modify(|known| is_recent = known.open == 0);
        let known = known.or_insert(Known { open: 0, since: now, came: 0 });
        if now.saturating_duration_since(known.since) >= SECOND {
            (known.since, known.came) = (now, 0);
        }
        if known.open >= limits.connections_per_address {
            return Err(Refused::AddressConnections);
        }
        if known.came >= limits.new_connections_per_second {
            return Err(Refused::AddressRate);
        }
        known.open += 1;
        known.came += 1;
        self.recent -= usize::from(is_recent);
        Ok(())
    }

    /// Counts the end of a connection that came in.
    pub(super) fn leave(&mut self, client: Prefix, now: Instant) {
        let Some(known) = self.known.get_mut(&client) else { return };
        known.open -= 1;
        if known.open > 0 {
            return;
        }
        if now.saturating_duration_since(known.since) >= SECOND {
            self.known.remove(&client);
            return;
        }
        self.recent += 1;
        if self.recent > RECENT_MAX {
            self.known.retain(|_, known| known.open > 0);
            self.recent = 0;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
