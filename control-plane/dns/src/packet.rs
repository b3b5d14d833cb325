//! From the octets of a query to the octets of its answer.
//!
//! Owns what RFC 1035, 6891, 7871 and 7873 say about the message around an answer: header, EDNS, client subnet, cookie, size. Pure: no socket,
//! no clock, and no packet makes it panic.

use std::net::IpAddr;

use crate::answer::{Asked, Reply, Subject, answer, glue};
use crate::cookie::{Cookies, SERVER_COOKIE_OCTETS};
use crate::kind::{Rcode, Type};
use crate::place::Client;
use crate::query::{CLASS_IN, CLIENT_COOKIE_OCTETS, Cookie, Edns, HEADER_OCTETS, OPTION_COOKIE, OPTION_SUBNET, Query, Subnet};
use crate::steer::Reason;
use crate::write::{MESSAGE_OCTETS_MAX, Section, Writer};
use crate::zone::Zone;

/// The largest UDP answer, in octets: fits in one IPv6 packet on any path (DNS flag day 2020).
pub const UDP_PAYLOAD_MAX: u16 = 1232;
/// The largest UDP answer, in octets, to a client without EDNS (RFC 1035 section 4.2.1).
const UDP_PAYLOAD_PLAIN: u16 = 512;
/// The one EDNS version there is.
const EDNS_VERSION: u8 = 0;
/// The bits before an IPv4 address that is mapped into IPv6 (RFC 4291 section 2.5.5.2).
const IPV4_MAPPED_BITS: u8 = 96;
/// The octets of an OPT record without options.
const OPT_OCTETS: usize = 11;
/// The octets before the value of an option.
const OPTION_HEAD_OCTETS: usize = 4;
/// Bits of the third and fourth octet of a header (RFC 1035 section 4.1.1, RFC 2535 section 6.1).
const FLAG_RESPONSE: u8 = 0x80;
const FLAG_AUTHORITATIVE: u8 = 0x04;
const FLAG_TRUNCATED: u8 = 0x02;
const FLAG_RECURSION_DESIRED: u8 = 0x01;
const FLAG_CHECKING_DISABLED: u8 = 0x10;

/// What carried a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Answers may be truncated.
    Udp,
    /// Answers are whole.
    Tcp,
}

/// Who sent a packet, how, and when.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The address it came from.
    pub source: IpAddr,
    /// What carried it.
    pub transport: Transport,
    /// When, in seconds since 1970.
    pub now: f64,
}

/// What an answer is, for what is counted and limited; its octets are where they were written.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The outcome.
    pub rcode: Rcode,
    /// What was asked; none when that could not be read.
    pub record_type: Option<Type>,
    /// Whether the client must ask again over TCP.
    pub truncated: bool,
    /// Whether the client came with its subnet.
    pub subnet: bool,
    /// What became of the client's cookie.
    pub cookie: Known,
    /// The number in the state of the edge that is named first, and why it is.
    pub chosen: Option<(usize, Reason)>,
    /// What the answer is about.
    pub subject: Subject<'a>,
    /// Where the records begin, and where the OPT record does.
    places: (usize, usize),
}

/// What is known of a client by its cookie (RFC 7873 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It came without one.
    Without,
    /// It asks for one of ours, or has one that does not hold.
    Asks,
    /// It is where it says it is.
    Proven,
}

/// Answers a packet that [`Query::read`] has read, into `octets`, whose content before does not count.
pub fn respond<'a>(
    zone: &'a Zone,
    cookies: &Cookies,
    raw: &[u8],
    read: &'a Result<Query, Rcode>,
    arrival: Arrival,
    octets: &mut Vec<u8>,
) -> Response<'a> {
    let query = match read {
        Ok(query) => query,
        Err(rcode) => return bare(raw, *rcode, octets),
    };
    let edns = query.edns.as_ref();
    let mut writer = Writer::begin(octets, raw, query, zone.apex());
    let known = edns.and_then(|edns| edns.cookie).map(|cookie| (cookie, known(cookies, &cookie, arrival)));
    let reply = match known {
        Some((cookie, known)) if !query.has_question() => cookie_alone(edns, &cookie, known),
        _ => reply(zone, query, arrival, &mut writer),
    };
    let limit = match (arrival.transport, edns) {
        (Transport::Tcp, _) => MESSAGE_OCTETS_MAX,
        (Transport::Udp, None) => usize::from(UDP_PAYLOAD_PLAIN),
        (Transport::Udp, Some(edns)) => usize::from(edns.payload.clamp(UDP_PAYLOAD_PLAIN, UDP_PAYLOAD_MAX)),
    };
    let room = limit - edns.map_or(0, opt_octets);
    let answered = writer.octets();
    // Records cut off do not count as answered: the client has to come again for all of them.
    let truncated = answered > room || writer.is_over();
    if truncated {
        writer.cut(query.question_end, Section::Answer);
    } else if reply.rcode == Rcode::NOERROR {
        glue(zone, query, &mut writer);
        if writer.octets() > room {
            writer.cut(answered, Section::Additional);
        }
    }
    // What is too large for TCP is too large for anything.
    let rcode = if truncated && arrival.transport == Transport::Tcp { Rcode::SERVFAIL } else { reply.rcode };
    let truncated = truncated && arrival.transport == Transport::Udp;
    let counts = writer.counts();
    header(octets, &reply, rcode, truncated, counts, edns.is_some());
    let opt = octets.len();
    if let Some(edns) = edns {
        put_opt(octets, edns, rcode, reply.scope, known.map(|(cookie, known)| (cookie, made(cookies, &cookie, known, arrival))));
    }
    Response {
        rcode,
        record_type: query.has_question().then_some(query.record_type),
        truncated,
        subnet: edns.is_some_and(|edns| edns.subnet.is_some()),
        cookie: known.map_or(Known::Without, |(_, known)| known),
        chosen: reply.chosen.filter(|_| !truncated),
        subject: reply.subject,
        places: (query.question_end, opt),
    }
}

/// What a query without a question gets: the cookie that goes with every answer, and whether the one that it has holds (RFC 7873 section 5.4).
fn cookie_alone(edns: Option<&Edns>, cookie: &Cookie, known: Known) -> Reply<'static> {
    let rcode = match known {
        _ if edns.is_some_and(|edns| edns.version != EDNS_VERSION) => Rcode::BADVERS,
        Known::Proven => Rcode::NOERROR,
        _ if cookie.server().is_empty() => Rcode::NOERROR,
        _ => Rcode::BADCOOKIE,
    };
    Reply { subject: Subject::Name(&[]), ..Reply::refusal(rcode) }
}

/// The outcome, and the records of it.
fn reply<'a>(zone: &'a Zone, query: &'a Query, arrival: Arrival, writer: &mut Writer<'_>) -> Reply<'a> {
    let edns = query.edns.as_ref();
    if edns.is_some_and(|edns| edns.version != EDNS_VERSION) {
        return Reply::refusal(Rcode::BADVERS);
    }
    if edns.is_some_and(|edns| edns.is_broken) {
        return Reply::refusal(Rcode::FORMERR);
    }
    if query.class != CLASS_IN {
        return Reply::refusal(Rcode::REFUSED);
    }
    // Who asks: the subnet, unless there is none or it is hidden; then the resolver.
    let (client, before) = match edns.and_then(|edns| edns.subnet) {
        // IPv4 addresses mapped into IPv6 are placed as what they are, and the bits before them are all in the scope.
        Some(Subnet { address, prefix: prefix @ IPV4_MAPPED_BITS.., .. }) if address.to_canonical().is_ipv4() && !address.is_ipv4() => {
            (Client::new(address.to_canonical(), prefix - IPV4_MAPPED_BITS), IPV4_MAPPED_BITS)
        }
        Some(Subnet { address, prefix, .. }) if prefix > 0 => (Client::new(address, prefix), 0),
        _ => (Client::host(arrival.source), 0),
    };
    let mut reply = answer(zone, Asked { query, client, now: arrival.now }, writer);
    if reply.scope > 0 {
        reply.scope += before;
    }
    reply
}

/// Makes of a written answer one that says only "ask over TCP".
pub fn truncate(octets: &mut Vec<u8>, response: &Response<'_>) {
    let (records, opt) = response.places;
    let has_opt = octets.len() > opt;
    if records <= opt && opt <= octets.len() {
        octets.drain(records..opt);
    }
    if let Some(header) = octets.first_chunk_mut::<HEADER_OCTETS>() {
        header[2] |= FLAG_TRUNCATED;
        header[6..10].fill(0);
        header[10..].copy_from_slice(&u16::from(has_opt).to_be_bytes());
    }
}

/// A header alone, for a packet whose question is not ours to read.
fn bare(raw: &[u8], rcode: Rcode, octets: &mut Vec<u8>) -> Response<'static> {
    octets.clear();
    octets.extend_from_slice(raw.get(..4).unwrap_or_default());
    octets.resize(HEADER_OCTETS, 0);
    // QR, with opcode and RD as sent.
    octets[2] = FLAG_RESPONSE | (octets[2] & 0x79);
    octets[3] = rcode.low();
    Response {
        rcode,
        record_type: None,
        truncated: false,
        subnet: false,
        cookie: Known::Without,
        chosen: None,
        subject: Subject::Refusal,
        places: (HEADER_OCTETS, HEADER_OCTETS),
    }
}

/// Fills in the header, which is the query's so far: RD and CD stay as they were sent (RFC 1035 section 4.1.1, RFC 4035 section 3.1.6).
fn header(octets: &mut [u8], reply: &Reply<'_>, rcode: Rcode, truncated: bool, counts: [u16; 3], has_opt: bool) {
    let Some(header) = octets.first_chunk_mut::<HEADER_OCTETS>() else { return };
    let authoritative = if reply.authoritative { FLAG_AUTHORITATIVE } else { 0 };
    let truncation = if truncated { FLAG_TRUNCATED } else { 0 };
    header[2] = FLAG_RESPONSE | authoritative | truncation | (header[2] & FLAG_RECURSION_DESIRED);
    header[3] = (header[3] & FLAG_CHECKING_DISABLED) | rcode.low();
    let [answers, authority, additional] = counts;
    header[6..8].copy_from_slice(&answers.to_be_bytes());
    header[8..10].copy_from_slice(&authority.to_be_bytes());
    header[10..].copy_from_slice(&(additional + u16::from(has_opt)).to_be_bytes());
}

/// What is known of a client by the cookie that it came with.
fn known(cookies: &Cookies, cookie: &Cookie, arrival: Arrival) -> Known {
    if cookies.knows(cookie, arrival.source.to_canonical(), wrapped_s(arrival.now)) { Known::Proven } else { Known::Asks }
}

/// The server's cookie for an answer: the one that the client has, or one made now.
fn made(cookies: &Cookies, cookie: &Cookie, known: Known, arrival: Arrival) -> [u8; SERVER_COOKIE_OCTETS] {
    let now_s = wrapped_s(arrival.now);
    let source = arrival.source.to_canonical();
    let had = <[u8; SERVER_COOKIE_OCTETS]>::try_from(cookie.server()).ok().filter(|_| known == Known::Proven);
    had.filter(|_| !cookies.replaces(cookie, source, now_s)).unwrap_or_else(|| cookies.make(&cookie.client, source, now_s))
}

/// Seconds since 1970 as they are counted in 32 bits.
fn wrapped_s(now: f64) -> u32 {
    (now as u64 & u64::from(u32::MAX)) as u32
}

/// The octets of the OPT record that goes with an answer.
fn opt_octets(edns: &Edns) -> usize {
    let subnet = edns.subnet.map_or(0, |subnet| OPTION_HEAD_OCTETS + 4 + usize::from(subnet.prefix.div_ceil(8)));
    OPT_OCTETS + subnet + edns.cookie.map_or(0, |_| OPTION_HEAD_OCTETS + CLIENT_COOKIE_OCTETS + SERVER_COOKIE_OCTETS)
}

fn put_opt(octets: &mut Vec<u8>, edns: &Edns, rcode: Rcode, scope: u8, cookie: Option<(Cookie, [u8; SERVER_COOKIE_OCTETS])>) {
    let length = u16::try_from(opt_octets(edns) - OPT_OCTETS).unwrap_or(0);
    octets.push(0);
    octets.extend_from_slice(&Type::OPT.0.to_be_bytes());
    octets.extend_from_slice(&UDP_PAYLOAD_MAX.to_be_bytes());
    octets.extend_from_slice(&[rcode.high(), EDNS_VERSION, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
    octets.extend_from_slice(&length.to_be_bytes());
    if let Some(Subnet { address, prefix, family }) = edns.subnet {
        let needed = usize::from(prefix.div_ceil(8));
        octets.extend_from_slice(&OPTION_SUBNET.to_be_bytes());
        octets.extend_from_slice(&(4 + u16::from(prefix.div_ceil(8))).to_be_bytes());
        // RFC 7871 section 7.2.1: a client that hides its address gets an answer that is the same for all.
        octets.extend_from_slice(&[0, family, prefix, if prefix == 0 { 0 } else { scope }]);
        match address {
            IpAddr::V4(ipv4) => octets.extend_from_slice(ipv4.octets().get(..needed).unwrap_or_default()),
            IpAddr::V6(ipv6) => octets.extend_from_slice(ipv6.octets().get(..needed).unwrap_or_default()),
        }
    }
    if let Some((cookie, server)) = cookie {
        octets.extend_from_slice(&OPTION_COOKIE.to_be_bytes());
        octets.extend_from_slice(&((CLIENT_COOKIE_OCTETS + SERVER_COOKIE_OCTETS) as u16).to_be_bytes());
        octets.extend_from_slice(&cookie.client);
        octets.extend_from_slice(&server);
    }
}

#[cfg(test)]
mod tests;
