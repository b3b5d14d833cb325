//! Reads the octets of a query: header, question, EDNS (RFC 1035, 6891, 7871, 7873).
//!
//! Owns what a well-formed query is. Never allocates, reads no more than the packet, and no packet makes it panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kind::{Rcode, Type};
use crate::name::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX};

/// The octets of a message header.
pub const HEADER_OCTETS: usize = 12;
/// The one class we answer for.
pub const CLASS_IN: u16 = 1;
/// The octets of a client's cookie (RFC 7873 section 4.1).
pub const CLIENT_COOKIE_OCTETS: usize = 8;
/// The octets of the longest server's cookie (RFC 7873 section 4.2).
const SERVER_COOKIE_OCTETS_MAX: usize = 32;
/// The octets of the shortest server's cookie (RFC 7873 section 4.2).
const SERVER_COOKIE_OCTETS_MIN: usize = 8;
/// The EDNS option with a client's subnet (RFC 7871 section 6).
pub(crate) const OPTION_SUBNET: u16 = 8;
/// The EDNS option with cookies (RFC 7873 section 4).
pub(crate) const OPTION_COOKIE: u16 = 10;

/// Why a packet is to get no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Shorter than a header.
    Short,
    /// A response; answering it could make two servers talk to each other for ever.
    Response,
}

/// A query that was read.
#[derive(Debug)]
pub struct Query {
    /// The name asked for, lower case, with its length.
    name: ([u8; NAME_OCTETS_MAX], usize),
    /// The type asked for.
    pub record_type: Type,
    /// The class asked for.
    pub class: u16,
    /// What the client says of EDNS, if it has it.
    pub edns: Option<Edns>,
    /// The octet after the question, or after the header where there is none.
    pub question_end: usize,
}

/// The EDNS of a query.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edns {
    /// The largest UDP answer the client takes, in octets, as it says.
    pub payload: u16,
    /// The version the client speaks.
    pub version: u8,
    /// Whether the client wants DNSSEC.
    pub dnssec_ok: bool,
    /// The client's subnet.
    pub subnet: Option<Subnet>,
    /// The client's cookie.
    pub cookie: Option<Cookie>,
    /// Whether an option breaks its own rules.
    pub is_broken: bool,
}

/// A client's subnet (RFC 7871 section 6), that keeps the rules: scope 0, as many octets as the prefix needs, no bits beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The first address of the prefix.
    pub address: IpAddr,
    /// The length of the prefix, in bits.
    pub prefix: u8,
    /// The family as it was sent: 1 or 2, or 0 of a client that hides all of its address.
    pub family: u8,
}

/// The cookies of a query (RFC 7873 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The client's.
    pub client: [u8; CLIENT_COOKIE_OCTETS],
    /// The one it has of a server, with its length; 0 when it has none.
    server: ([u8; SERVER_COOKIE_OCTETS_MAX], usize),
}

impl Cookie {
    /// What the client has of a server; empty when it has nothing.
    #[must_use]
    pub fn server(&self) -> &[u8] {
        self.server.0.get(..self.server.1).unwrap_or_default()
    }
}

impl Query {
    /// Reads a packet. `Ok(Err(..))` is a packet that gets this outcome and nothing else for an answer.
    ///
    /// # Errors
    /// Why there is to be no answer.
    pub fn read(raw: &[u8]) -> Result<Result<Self, Rcode>, Silence> {
        let header: &[u8; HEADER_OCTETS] = raw.first_chunk().ok_or(Silence::Short)?;
        if header[2] & 0x80 != 0 {
            return Err(Silence::Response);
        }
        if (header[2] >> 3) & 0x0f != 0 {
            return Ok(Err(Rcode::NOTIMP));
        }
        let count = |at: usize| u32::from(u16::from_be_bytes([header[at], header[at + 1]]));
        let mut reader = Reader { raw, at: HEADER_OCTETS };
        if count(4) == 0 {
            let asks = Self::without_question().rest(&mut reader, count(6) + count(8), count(10)).filter(Self::asks_for_a_cookie);
            return Ok(asks.ok_or(Rcode::FORMERR));
        }
        if count(4) != 1 {
            return Ok(Err(Rcode::FORMERR));
        }
        Ok(Self::question(&mut reader).and_then(|query| query.rest(&mut reader, count(6) + count(8), count(10))).ok_or(Rcode::FORMERR))
    }

    /// One that asks for nothing.
    fn without_question() -> Self {
        Self { name: ([0; NAME_OCTETS_MAX], 0), record_type: Type(0), class: CLASS_IN, edns: None, question_end: HEADER_OCTETS }
    }

    /// Whether it has a cookie, which is all that a query without a question can be about (RFC 7873 section 5.4).
    fn asks_for_a_cookie(&self) -> bool {
        self.edns.is_some_and(|edns| edns.cookie.is_some() && !edns.is_broken)
    }

    /// Whether something is asked for; one that does not ask for anything has a cookie.
    #[must_use]
    pub fn has_question(&self) -> bool {
        self.name.1 > 0
    }

    /// The name asked for, lower case; of no octets where none is.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.0.get(..self.name.1).unwrap_or_default()
    }

    fn question(reader: &mut Reader<'_>) -> Option<Self> {
        let mut name = [0; NAME_OCTETS_MAX];
        let mut length = 0;
        loop {
            // A name in the first place of a packet has nothing before it that it could point to.
            let label = usize::from(*reader.raw.get(reader.at)?);
            if label > LABEL_OCTETS_MAX {
                return None;
            }
            let octets = reader.take(1 + label)?;
            let place = name.get_mut(length..length + octets.len())?;
            place.copy_from_slice(octets);
            // Lengths are below 64 and no letters.
            place.make_ascii_lowercase();
            length += octets.len();
            if label == 0 {
                break;
            }
        }
        let record_type = Type(reader.number()?);
        let class = reader.number()?;
        Some(Self { name: (name, length), record_type, class, edns: None, question_end: reader.at })
    }

    /// What is after the question: records that a query has no need of, and one OPT among the additional ones at most.
    fn rest(mut self, reader: &mut Reader<'_>, others: u32, additional: u32) -> Option<Self> {
        for number in 0..others + additional {
            let at_root = reader.name()?;
            let record_type = Type(reader.number()?);
            let (class, ttl) = (reader.number()?, [reader.number()?, reader.number()?]);
            let length = reader.number()?;
            let data = reader.take(usize::from(length))?;
            if record_type != Type::OPT {
                continue;
            }
            if !at_root || number < others || self.edns.is_some() {
                return None;
            }
            // The extended outcome is a server's to set; what is there is not looked at (RFC 6891 section 6.1.3).
            let [_, version] = ttl[0].to_be_bytes();
            let mut edns = Edns { payload: class, version, dnssec_ok: ttl[1] & 0x8000 != 0, ..Edns::default() };
            edns.is_broken = edns.options(data).is_none();
            self.edns = Some(edns);
        }
        (reader.at == reader.raw.len()).then_some(self)
    }
}

impl Edns {
    fn options(&mut self, data: &[u8]) -> Option<()> {
        let mut reader = Reader { raw: data, at: 0 };
        while reader.at < data.len() {
            let (code, length) = (reader.number()?, reader.number()?);
            let value = reader.take(usize::from(length))?;
            match code {
                OPTION_SUBNET if self.subnet.is_some() => return None,
                OPTION_SUBNET => self.subnet = Some(Subnet::read(value)?),
                // Of several cookies the first one counts (RFC 7873 section 5.2).
                OPTION_COOKIE if self.cookie.is_none() => self.cookie = Some(Cookie::read(value)?),
                _ => {}
            }
        }
        Some(())
    }
}

impl Subnet {
    /// RFC 7871 sections 6 and 7.1.2.
    fn read(value: &[u8]) -> Option<Self> {
        let [family_high, family, prefix, scope, octets @ ..] = value else { return None };
        let width = match (family_high, family) {
            // No family has a prefix of no bits, and no longer one.
            (0, 0) => 0,
            (0, 1) => 32,
            (0, 2) => 128,
            _ => return None,
        };
        if *scope != 0 || *prefix > width || octets.len() != usize::from(prefix.div_ceil(8)) {
            return None;
        }
        let mut whole = [0; 16];
        whole.get_mut(..octets.len())?.copy_from_slice(octets);
        let bits = u128::from_be_bytes(whole);
        if bits.checked_shl(u32::from(*prefix)).unwrap_or(0) != 0 {
            return None;
        }
        let ipv4: &[u8; 4] = whole.first_chunk()?;
        let address = if width != 128 { Ipv4Addr::from(*ipv4).into() } else { Ipv6Addr::from(bits).into() };
        Some(Self { address, prefix: *prefix, family: *family })
    }
}

impl Cookie {
    /// RFC 7873 section 4: a client's of 8 octets, alone or with a server's of 8 to 32.
    fn read(value: &[u8]) -> Option<Self> {
        let (client, theirs) = value.split_first_chunk()?;
        if !theirs.is_empty() && !(SERVER_COOKIE_OCTETS_MIN..=SERVER_COOKIE_OCTETS_MAX).contains(&theirs.len()) {
            return None;
        }
        let mut server = [0; SERVER_COOKIE_OCTETS_MAX];
        server.get_mut(..theirs.len())?.copy_from_slice(theirs);
        Some(Self { client: *client, server: (server, theirs.len()) })
    }
}

/// A place in a packet.
struct Reader<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, octets: usize) -> Option<&'a [u8]> {
        let taken = self.raw.get(self.at..self.at + octets)?;
        self.at += octets;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// Goes past a name, which may end in a pointer that nobody follows; tells whether it is the root, spelt out.
    fn name(&mut self) -> Option<bool> {
        let start = self.at;
        loop {
            match *self.raw.get(self.at)? {
                0 => {
                    self.at += 1;
                    return (self.at - start <= NAME_OCTETS_MAX).then_some(self.at - start == 1);
                }
                0xc0.. => return self.take(2).map(|_| false),
                length if usize::from(length) <= LABEL_OCTETS_MAX => self.take(1 + usize::from(length))?,
                _ => return None,
            };
        }
    }
}
