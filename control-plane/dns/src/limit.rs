//! How often the same clients are told the same over UDP: response rate limiting.
//!
//! Owns a table of a fixed size, of one word a place, that all loops share without a lock. Who forges a victim's address gets the victim no more than
//! so many answers a second; who is where it says comes again over TCP, or with a cookie. Reads no clock: time is an argument.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use foldhash::fast::RandomState;
use ipnet::IpNet;

use crate::answer::Subject;
use crate::kind::Type;

/// The prefix length, in bits, within which IPv4 clients are counted together: who can send from one address can from its neighbours too.
const IPV4_BITS: u8 = 24;
/// The same of IPv6.
const IPV6_BITS: u8 = 56;
/// The places of the table: 1 MiB.
const PLACES: usize = 1 << 17;
/// The places in which one count may be; where all are taken the one that owes least makes room.
const WAYS: usize = 4;
/// The bits of a place that hold until when it is used up, in ticks: 4.8 hours, after which they begin anew.
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// The ticks of a microsecond: at [`RATE_MAX`] an answer uses up so many, so that no rate is off by more than 2 %.
const TICKS_PER_US: u64 = 64;
/// How long answers may be saved up, in ticks: a second's worth may come at once.
const SAVED: u64 = 1_000_000 * TICKS_PER_US;
/// The most answers a second that can be told apart from no limit.
pub const RATE_MAX: u32 = 1_000_000;

/// The limits that an operator set; 0 is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The same answer to one prefix, in a second.
    pub same_per_second: u32,
    /// Refusals, errors, and names that do not exist, each to one prefix, in a second.
    pub errors_per_second: u32,
    /// All answers to one prefix, in a second.
    pub all_per_second: u32,
    /// Of so many answers that are too many one is sent truncated, so that the client comes over TCP; the others are dropped. 0 drops all.
    pub slip: u32,
    /// Clients that are not limited.
    pub exempt: Vec<IpNet>,
    /// TCP connections of all clients.
    pub connections: u32,
    /// TCP connections of one address (of one /56 in IPv6).
    pub connections_per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            same_per_second: 1_000,
            errors_per_second: 100,
            all_per_second: 20_000,
            slip: 2,
            exempt: Vec::new(),
            connections: 1_024,
            connections_per_address: 64,
        }
    }
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Send,
    /// "Ask over TCP" is sent in its place.
    Slip,
    /// Nothing is sent.
    Drop,
}

/// The table of what was answered lately.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    places: Box<[AtomicU64]>,
    hasher: RandomState,
    /// How many answers were too many.
    limited: AtomicU32,
}

/// What a place holds, and what it is to hold when one more is counted; no place where there is no limit.
#[derive(Default)]
struct Charge<'a> {
    place: Option<&'a AtomicU64>,
    before: u64,
    after: u64,
}

impl Limiter {
    /// With nothing answered yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { limits, places, hasher: RandomState::default(), limited: AtomicU32::new(0) }
    }

    /// Counts an answer to the client at `address`, at `now_us`, microseconds by any clock that does not go back.
    pub fn judge(&self, address: IpAddr, record_type: Type, subject: Subject<'_>, now_us: u64) -> Verdict {
        let limits = &self.limits;
        let address = address.to_canonical();
        if limits.exempt.iter().any(|net| net.contains(&address)) {
            return Verdict::Send;
        }
        let prefix = match address {
            IpAddr::V4(ipv4) => u64::from(ipv4.to_bits() >> (32 - IPV4_BITS)),
            // Longer than any of IPv4, so that the two are never alike.
            IpAddr::V6(ipv6) => (ipv6.to_bits() >> (128 - u32::from(IPV6_BITS))) as u64 | (1 << 63),
        };
        let (rate, what) = match subject {
            Subject::Refusal => (limits.errors_per_second, self.hasher.hash_one((prefix, 1_u8))),
            Subject::Missing => (limits.errors_per_second, self.hasher.hash_one((prefix, 2_u8))),
            Subject::Name(name) => (limits.same_per_second, self.hasher.hash_one((prefix, 3_u8, record_type, name))),
        };
        // What is not sent is not counted, so that a flood of one name does not use up what all others have.
        let all = self.hasher.hash_one((prefix, 0_u8));
        let now = now_us.wrapping_mul(TICKS_PER_US) & TIME_MASK;
        if let (Some(of_all), Some(of_what)) = (self.look(all, limits.all_per_second, now), self.look(what, rate, now)) {
            self.charge(of_all, all, limits.all_per_second, now);
            self.charge(of_what, what, rate, now);
            return Verdict::Send;
        }
        let number = self.limited.fetch_add(1, Ordering::Relaxed);
        if limits.slip != 0 && number.is_multiple_of(limits.slip) { Verdict::Slip } else { Verdict::Drop }
    }

    /// How one more is counted at this rate; `None` when it is too many.
    ///
    /// A place holds until when what was answered uses up the rate (the generic cell rate algorithm): that is at most a second ahead.
    fn look(&self, hash: u64, rate: u32, now: u64) -> Option<Charge<'_>> {
        if rate == 0 {
            return Some(Charge::default());
        }
        let cost = SAVED / u64::from(rate.min(RATE_MAX));
        let tag = hash & !TIME_MASK;
        let first = usize::try_from(hash & (PLACES / WAYS - 1) as u64).unwrap_or(0) * WAYS;
        let Some(ways) = self.places.get(first..first + WAYS) else { return Some(Charge::default()) };
        let owes = |word: u64| {
            let ahead = (word & TIME_MASK).wrapping_sub(now) & TIME_MASK;
            // What is farther ahead than can be is in the past.
            if ahead > 2 * SAVED { 0 } else { ahead }
        };
        let words = [0, 1, 2, 3].map(|way| ways.get(way).map_or(0, |place| place.load(Ordering::Relaxed)));
        let own = words.iter().position(|word| word & !TIME_MASK == tag);
        let way = own.or_else(|| (0..WAYS).min_by_key(|way| owes(words[*way]))).unwrap_or(0);
        let owed = if own.is_some() { owes(words[way]) } else { 0 };
        let after = tag | ((now + owed + cost) & TIME_MASK);
        (owed + cost <= SAVED).then_some(Charge { place: ways.get(way), before: words[way], after })
    }

    /// Counts what was looked at. Another loop may have taken the place meanwhile: then it is looked at once more, and after that let go.
    fn charge(&self, looked: Charge<'_>, hash: u64, rate: u32, now: u64) {
        if looked.is_taken() {
            return;
        }
        if let Some(again) = self.look(hash, rate, now) {
            again.is_taken();
        }
    }
}

impl Charge<'_> {
    fn is_taken(&self) -> bool {
        self.place.is_none_or(|place| place.compare_exchange(self.before, self.after, Ordering::Relaxed, Ordering::Relaxed).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Subject<'static> = Subject::Name(b"\x04shop\x03cdn\x04test\0");

    fn limiter(limits: Limits) -> Limiter {
        Limiter::new(limits)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of `times` are sent.
    fn sent(limiter: &Limiter, from: &str, subject: Subject<'_>, times: usize, now_us: u64) -> usize {
        (0..times).filter(|_| limiter.judge(address(from), Type::A, subject, now_us) == Verdict::Send).count()
    }

    #[test]
    fn a_prefix_is_told_the_same_so_often_a_second_and_another_one_is_not_touched() {
        let limiter = limiter(Limits { same_per_second: 100, errors_per_second: 10, ..Limits::default() });
        let start_us = 5_000_000;
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 150, start_us), 100);
        assert_eq!(sent(&limiter, "192.0.2.200", NAME, 50, start_us), 0, "a neighbour is counted with it");
        assert_eq!(sent(&limiter, "192.0.3.1", NAME, 50, start_us), 50);
        assert_eq!(sent(&limiter, "::ffff:192.0.2.1", NAME, 50, start_us), 0, "the same address");
        assert_eq!(sent(&limiter, "192.0.2.1", Subject::Name(b"\x01x\0"), 50, start_us), 50, "another name");
        assert_eq!(limiter.judge(address("192.0.2.1"), Type::AAAA, NAME, start_us), Verdict::Send, "another type");
        assert_eq!(sent(&limiter, "192.0.2.1", Subject::Missing, 50, start_us), 10);
        assert_eq!(sent(&limiter, "192.0.2.1", Subject::Refusal, 50, start_us), 10);
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 150, start_us + 500_000), 50, "half a second gives back half");
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 150, start_us + 60_000_000), 100, "no more than a second's worth is saved up");
        assert_eq!(sent(&limiter, "2001:db8:0:100::1", NAME, 150, start_us), 100);
        assert_eq!(sent(&limiter, "2001:db8:0:1ff::1", NAME, 150, start_us), 0);
        assert_eq!(sent(&limiter, "2001:db8:0:200::1", NAME, 150, start_us), 100);
    }

    #[test]
    fn a_flood_from_one_prefix_is_bound_whatever_it_asks_for() {
        let limiter = limiter(Limits { all_per_second: 1_000, ..Limits::default() });
        let flood = |from: &str, now_us| -> usize {
            (0..5_000_u32).map(|number| sent(&limiter, from, Subject::Name(&number.to_be_bytes()), 1, now_us)).sum()
        };
        assert_eq!(flood("192.0.2.1", 1), 1_000);
        assert_eq!(flood("192.0.2.1", 1_000_001), 1_000);
        assert_eq!(flood("198.51.100.1", 1), 1_000);
    }

    #[test]
    fn a_flood_of_one_name_leaves_the_other_names_of_its_prefix_alone() {
        let limiter = limiter(Limits { same_per_second: 10, all_per_second: 100, ..Limits::default() });
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 5_000, 7), 10);
        assert_eq!(sent(&limiter, "192.0.2.1", Subject::Missing, 50, 7), 50);
        assert_eq!(sent(&limiter, "192.0.2.1", Subject::Name(b"\x01x\0"), 50, 7), 10);
        assert_eq!(sent(&limiter, "192.0.2.1", Subject::Refusal, 50, 7), 30, "and all together have their bound");
        assert_eq!(sent(&limiter, "192.0.2.1", Subject::Name(b"\x01y\0"), 50, 100_007), 10, "of which nothing was taken that was not sent");
    }

    #[test]
    fn a_high_rate_is_kept_to_two_percent() {
        for rate in [600_000_u32, 300_000, 992_000] {
            let limiter = limiter(Limits { same_per_second: rate, all_per_second: 0, ..Limits::default() });
            let sent = sent(&limiter, "192.0.2.1", NAME, 1_100_000, 7) as f64;
            assert!((1.0..1.02).contains(&(sent / f64::from(rate))), "{rate}: {sent}");
        }
    }

    #[test]
    fn of_the_answers_that_are_too_many_some_say_to_come_over_tcp() {
        for (slip, slipped) in [(0, 0), (1, 90), (2, 45), (10, 9)] {
            let limiter = limiter(Limits { same_per_second: 10, slip, ..Limits::default() });
            let verdicts = (0..100).map(|_| limiter.judge(address("192.0.2.1"), Type::A, NAME, 7));
            assert_eq!(verdicts.filter(|verdict| *verdict == Verdict::Slip).count(), slipped, "{slip}");
        }
    }

    #[test]
    fn nothing_is_limited_where_no_limit_is_set_or_the_client_is_exempt() {
        let none = Limits { same_per_second: 0, errors_per_second: 0, all_per_second: 0, ..Limits::default() };
        assert_eq!(sent(&limiter(none), "192.0.2.1", Subject::Refusal, 30_000, 7), 30_000);
        let exempt = Limits { exempt: vec!["192.0.2.0/24".parse().expect("a prefix")], same_per_second: 1, ..Limits::default() };
        let limiter = limiter(exempt);
        assert_eq!((sent(&limiter, "192.0.2.1", NAME, 50, 7), sent(&limiter, "192.0.3.1", NAME, 50, 7)), (50, 1));
    }

    #[test]
    fn forged_addresses_without_end_take_no_more_memory_and_free_nobody_who_is_over_a_limit() {
        let limiter = limiter(Limits { same_per_second: 100, ..Limits::default() });
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 200, 1_000_000), 100);
        // Each of these owes less than the one above, so that it keeps its place.
        for number in 0..400_000_u32 {
            limiter.judge(IpAddr::from((10 << 24 | number << 8).to_be_bytes()), Type::A, NAME, 1_000_000);
        }
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 50, 1_000_000), 0);
    }

    #[test]
    fn time_begins_anew_after_some_hours() {
        let limiter = limiter(Limits { same_per_second: 100, ..Limits::default() });
        let end_us = TIME_MASK / TICKS_PER_US;
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 150, end_us), 100);
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 150, end_us + 10), 0);
        assert_eq!(sent(&limiter, "192.0.2.1", NAME, 150, end_us + 1_000_000), 100);
    }
}
