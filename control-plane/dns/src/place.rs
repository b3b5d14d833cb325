//! From a client's prefix to the region or edge that its operator declared for it.
//!
//! Owns the compiled coverage: one sorted list of address ranges for each family. Knows no edges and reads no clock.
//! Addresses of both families lie left-aligned in 128 bits, so that one piece of arithmetic serves both.

use std::net::IpAddr;

use ipnet::IpNet;

/// The bits of an IPv4 address.
const IPV4_BITS: u8 = 32;
/// The bits of an IPv6 address.
const IPV6_BITS: u8 = 128;
/// The prefix length, in bits, within which IPv4 clients are always given the same edge.
const IPV4_GROUP_BITS: u8 = 24;
/// The prefix length, in bits, within which IPv6 clients are always given the same edge.
const IPV6_GROUP_BITS: u8 = 48;

/// What was declared, a [`crate::state::Target`], by its number in the [`crate::steer::Steer`] that goes with the coverage.
pub type Declared = u32;

/// The number that stands for an uncovered range in the packed list.
const UNCOVERED: Declared = Declared::MAX;

/// Who asks: an address prefix, as told by a resolver (RFC 7871) or taken from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    ipv4: bool,
    /// Left-aligned; zero beyond `prefix`.
    bits: u128,
    prefix: u8,
}

impl Client {
    /// The clients of `address`/`prefix`; bits beyond the prefix are cleared, and a prefix that is too long is the whole address.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let (ipv4, bits, width) = match address {
            IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96, IPV4_BITS),
            IpAddr::V6(address) => (false, address.to_bits(), IPV6_BITS),
        };
        let prefix = prefix.min(width);
        Self { ipv4, bits: bits & mask(prefix), prefix }
    }

    /// The one client, or resolver, at `address`. An IPv4 address that a dual-stack socket mapped into IPv6 is the IPv4 one.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self::new(address.to_canonical(), IPV6_BITS)
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        if self.ipv4 { IpAddr::from(((self.bits >> 96) as u32).to_be_bytes()) } else { IpAddr::from(self.bits.to_be_bytes()) }
    }

    /// The length of the prefix, in bits.
    #[must_use]
    pub fn prefix_bits(&self) -> u8 {
        self.prefix
    }

    /// The prefix length, in bits, of the group of clients that are always given the same edge: /24 or /48.
    #[must_use]
    pub fn group_bits(&self) -> u8 {
        if self.ipv4 { IPV4_GROUP_BITS } else { IPV6_GROUP_BITS }
    }

    /// The group in 17 octets: family and the leading bits.
    #[must_use]
    pub fn group(&self) -> [u8; 17] {
        let mut group = [0; 17];
        group[0] = if self.ipv4 { 4 } else { 6 };
        group[1..].copy_from_slice(&(self.bits & mask(self.group_bits())).to_be_bytes());
        group
    }
}

/// The leading `prefix` bits.
fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(u32::from(IPV6_BITS - prefix.min(IPV6_BITS))).unwrap_or(0)
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What the longest coverage prefix around the client was declared for; none when no prefix is around it.
    pub declared: Option<Declared>,
    /// The length, in bits, of the shortest prefix of the client within which every client is placed alike. Longer than the
    /// client's own prefix when that one was too short to tell (RFC 7871 section 7.2.1).
    pub scope: u8,
}

/// The compiled coverage of both families.
#[derive(Debug, Default)]
pub struct Coverage {
    ipv4: Ranges,
    ipv6: Ranges,
}

impl Coverage {
    /// Compiles declared prefixes. Of two declarations of the same prefix the first one counts.
    #[must_use]
    pub fn build(declared: impl IntoIterator<Item = (IpNet, Declared)>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (net, target) in declared {
            let client = Client::new(net.addr(), net.prefix_len());
            let entry = Entry { start: client.bits, prefix: client.prefix, target, parent: None };
            if client.ipv4 { ipv4.push(entry) } else { ipv6.push(entry) }
        }
        Self { ipv4: Ranges::build(ipv4), ipv6: Ranges::build(ipv6) }
    }

    /// Places a client, in time logarithmic in the number of prefixes.
    #[must_use]
    pub fn place(&self, client: &Client) -> Placed {
        let ranges = if client.ipv4 { &self.ipv4 } else { &self.ipv6 };
        ranges.place(client)
    }
}

/// One declared prefix.
#[derive(Debug)]
struct Entry {
    start: u128,
    prefix: u8,
    target: Declared,
    /// The index of the longest prefix around this one.
    parent: Option<u32>,
}

impl Entry {
    fn end(&self) -> u128 {
        self.start | !mask(self.prefix)
    }

    fn contains(&self, client: &Client) -> bool {
        self.prefix <= client.prefix && client.bits & mask(self.prefix) == self.start
    }
}

/// The coverage of one family, twice: as prefixes for clients whose own prefix spans several, and as ranges for all others.
#[derive(Debug, Default)]
struct Ranges {
    /// By start, then by length.
    entries: Vec<Entry>,
    /// The first address of each range of one target; a range ends where the next one starts. Neighbours differ in it.
    starts: Vec<u128>,
    /// The target of each range.
    targets: Vec<Declared>,
}

impl Ranges {
    fn build(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| (entry.start, entry.prefix));
        entries.dedup_by_key(|entry| (entry.start, entry.prefix));
        let mut ranges = Self::default();
        ranges.begin(0, UNCOVERED);
        // The prefixes around the current address, outermost first; at most one for each length.
        let mut around: Vec<usize> = Vec::new();
        for index in 0..entries.len() {
            ranges.leave(&entries, &mut around, Some(entries[index].start));
            entries[index].parent = around.last().and_then(|&parent| u32::try_from(parent).ok());
            ranges.begin(entries[index].start, entries[index].target);
            around.push(index);
        }
        ranges.leave(&entries, &mut around, None);
        ranges.entries = entries;
        ranges
    }

    /// Closes the prefixes that end before `next`, or all of them.
    fn leave(&mut self, entries: &[Entry], around: &mut Vec<usize>, next: Option<u128>) {
        while let Some(&innermost) = around.last() {
            let end = entries[innermost].end();
            if next.is_some_and(|next| end >= next) {
                return;
            }
            around.pop();
            if let Some(after) = end.checked_add(1) {
                self.begin(after, around.last().map_or(UNCOVERED, |&outer| entries[outer].target));
            }
        }
    }

    /// Begins a range, replacing one that begins at the same address and joining a neighbour of the same target.
    fn begin(&mut self, start: u128, target: Declared) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.targets.pop();
        }
        if self.targets.last() != Some(&target) {
            self.starts.push(start);
            self.targets.push(target);
        }
    }

    fn place(&self, client: &Client) -> Placed {
        let Some(range) = self.starts.partition_point(|&start| start <= client.bits).checked_sub(1) else {
            return Placed { declared: None, scope: 0 };
        };
        let first = self.starts[range];
        let next = self.starts.get(range + 1).copied();
        // The bits that the client's first address shares with the nearest address outside, and one more, stay inside.
        let below = first.checked_sub(1).map_or(0, |outside| shared_bits(client.bits, outside) + 1);
        let above = next.map_or(0, |outside| shared_bits(client.bits, outside) + 1);
        let scope = below.max(above);
        let target = if scope <= client.prefix { self.targets[range] } else { self.around(client) };
        Placed { declared: (target != UNCOVERED).then_some(target), scope }
    }

    /// The target of the longest prefix around all of a client's prefix. At most as many steps as an address has bits.
    fn around(&self, client: &Client) -> Declared {
        let before = self.entries.partition_point(|entry| (entry.start, entry.prefix) <= (client.bits, client.prefix));
        let mut entry = before.checked_sub(1).map(|index| &self.entries[index]);
        while let Some(candidate) = entry {
            if candidate.contains(client) {
                return candidate.target;
            }
            entry = candidate.parent.and_then(|parent| self.entries.get(parent as usize));
        }
        UNCOVERED
    }
}

/// How many leading bits two different addresses have in common; at most 127.
fn shared_bits(one: u128, other: u128) -> u8 {
    u8::try_from((one ^ other).leading_zeros()).unwrap_or(IPV6_BITS - 1)
}

#[cfg(test)]
mod tests;
