//! How often one client address may come with a token that is none.
//!
//! A token is 256 random bits, so that nobody guesses one; what is bounded is the noise. Whoever has a valid token is let in all the same: a forgotten
//! script behind the same address locks nobody out. The lock covers the table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skerry_transport::gate::Prefix;

/// Failed logins that one address (one /64 in IPv6) may have at once.
const BURST: u32 = 30;

/// The time after which it may have one more.
const INTERVAL: Duration = Duration::from_secs(2);

/// Addresses known at most. Beyond it those that are new count as one.
const ADDRESSES_MAX: usize = 4_096;

/// See the module.
#[derive(Default)]
pub(crate) struct Logins {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When each address will have all its failures again.
    full_at: HashMap<Prefix, Instant>,
    /// The same for the addresses that found no place.
    others: Option<Instant>,
}

impl Logins {
    /// Counts a failed login. When the address has had too many: the time until its next one is judged.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut known = self.known.lock();
        let client = Prefix::of(address);
        if known.full_at.len() >= ADDRESSES_MAX && !known.full_at.contains_key(&client) {
            known.full_at.retain(|_, full_at| *full_at > now);
        }
        if known.full_at.len() >= ADDRESSES_MAX && !known.full_at.contains_key(&client) {
            return count(known.others.get_or_insert(now), now);
        }
        count(known.full_at.entry(client).or_insert(now), now)
    }
}

/// A bucket as one moment: it holds [`BURST`] and gets one more every [`INTERVAL`] until `full_at`.
fn count(full_at: &mut Instant, now: Instant) -> Option<Duration> {
    let next = (*full_at).max(now) + INTERVAL;
    let early = next.saturating_duration_since(now + INTERVAL * BURST);
    if !early.is_zero() {
        return Some(early);
    }
    *full_at = next;
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn an_address_has_a_burst_and_then_one_in_a_while() {
        let (logins, start) = (Logins::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(logins.failed(address(1), start), None);
        }
        assert_eq!(logins.failed(address(1), start), Some(INTERVAL));
        assert_eq!(logins.failed(address(1), start + INTERVAL / 2), Some(INTERVAL / 2), "what is refused does not count");
        assert_eq!(logins.failed(address(2), start), None, "another address");
        assert_eq!(logins.failed(address(1), start + INTERVAL), None);
        assert!(logins.failed(address(1), start + INTERVAL).is_some());
        let later = start + INTERVAL * (BURST + 1);
        assert!((0..BURST).all(|_| logins.failed(address(1), later).is_none()), "all of it again");
        let (one, same) = ("2001:db8::1".parse().unwrap(), "2001:db8::ffff".parse().unwrap());
        assert!((0..BURST).all(|_| logins.failed(one, start).is_none()));
        assert!(logins.failed(same, start).is_some(), "a /64 is one client");
    }

    #[test]
    fn the_table_does_not_grow_and_those_without_a_place_are_one() {
        let (logins, start) = (Logins::default(), Instant::now());
        for number in 0..ADDRESSES_MAX as u32 {
            assert_eq!(logins.failed(address(number), start), None);
        }
        let refused = (0..100).filter(|number| logins.failed(address(1_000_000 + number), start).is_some()).count();
        assert_eq!(refused, 100 - BURST as usize);
        assert_eq!(logins.known.lock().full_at.len(), ADDRESSES_MAX);
        assert_eq!(logins.failed(address(2_000_000), start + INTERVAL), None, "the places of those that are quiet are free");
        assert!(logins.known.lock().full_at.len() < 10);
    }
}
