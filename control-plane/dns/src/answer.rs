//! The answer to one question: a pure function of zone, name, type, client and time.
//!
//! Owns what an answer says: records, sections, lifetimes, and how far it holds for other clients. Knows no packets.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HINFO, HTTPS, NS, SOA, SVCB, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::place::Client;
use crate::steer::{Candidate, Wanted, choose};
use crate::zone::{Addresses, Found, Owner, Zone};

/// The lifetime of SOA, NS and TXT records, in seconds.
const ZONE_TTL_S: u32 = 3600;
/// The lifetime, in seconds, of what changes only when an operator changes it: CNAME to a site's target, addresses of one machine.
const STEADY_TTL_S: u32 = 300;
/// How long a resolver may believe that a name or type does not exist, in seconds (RFC 2308): short, as a site may be added.
const NEGATIVE_TTL_S: u32 = 30;
/// The lifetime of the answer to ANY, in seconds (RFC 8482 section 4.2 advises a long one).
const ANY_TTL_S: u32 = 3600;
/// The longest lifetime an operator's address TTL is taken for, in seconds: one day.
const ADDRESS_TTL_MAX_S: u32 = 86_400;
/// SOA refresh, retry and expire, in seconds, for secondaries that copy by other means; the zone is not transferred.
const SOA_TIMES_S: (i32, i32, i32) = (3600, 600, 604_800);

/// The type that was asked for, by whom, and when.
type Asked<'a> = (RecordType, &'a Client, f64);

/// An answer, before it is a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The outcome.
    pub rcode: ResponseCode,
    /// Whether the zone is ours.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authority: Vec<Record>,
    /// The additional section; may be left out where it does not fit.
    pub additional: Vec<Record>,
    /// The prefix length, in bits, within which every client gets the same answer. Longer than the client's own prefix when that
    /// was too short to choose by (RFC 7871 section 7.2.1); 0 when the answer does not depend on the client.
    pub scope: u8,
}

impl Reply {
    fn empty(rcode: ResponseCode, authoritative: bool) -> Self {
        Self { rcode, authoritative, answers: Vec::new(), authority: Vec::new(), additional: Vec::new(), scope: 0 }
    }
}

/// Answers a question of class IN. `name` is used as the owner of the records as it was asked, letter case included;
/// `now` is in seconds since 1970.
#[must_use]
pub fn answer(zone: &Zone, name: &Name, record_type: RecordType, client: &Client, now: f64) -> Reply {
    let (Some(apex), false) = (zone.apex(), matches!(record_type, RecordType::AXFR | RecordType::IXFR)) else {
        return Reply::empty(ResponseCode::Refused, false);
    };
    let mut reply = Reply::empty(ResponseCode::NoError, true);
    match zone.find(name) {
        Found::Outside => return Reply::empty(ResponseCode::Refused, false),
        Found::Missing => reply.rcode = ResponseCode::NXDomain,
        Found::Owned(_) | Found::Wildcard(_) if record_type == RecordType::ANY => {
            let data = HINFO::new("RFC8482".to_owned(), String::new());
            reply.answers.push(Record::from_rdata(name.clone(), ANY_TTL_S, RData::HINFO(data)));
        }
        Found::Wildcard(target) | Found::Owned(Owner::Alias(target)) => alias(zone, name, target, (record_type, client, now), &mut reply),
        Found::Owned(Owner::Apex(addresses)) => {
            apex_records(zone, apex, name, record_type, &mut reply);
            if let Some(addresses) = addresses {
                address_records(zone, name, addresses, (record_type, client, now), &mut reply);
            }
        }
        Found::Owned(Owner::Host(addresses)) => address_records(zone, name, addresses, (record_type, client, now), &mut reply),
        Found::Owned(Owner::Empty | Owner::Reserved) => {}
    }
    let followed = record_type != RecordType::CNAME;
    let found = reply.answers.iter().any(|record| !followed || record.record_type() != RecordType::CNAME);
    if !found {
        // RFC 2308 section 2: the SOA tells how long "no such name" or "no such type" holds, after a CNAME too.
        reply.authority.push(Record::from_rdata(apex.clone(), NEGATIVE_TTL_S.min(ZONE_TTL_S), soa(zone, apex)));
    }
    reply
}

fn alias(zone: &Zone, name: &Name, target: &Name, asked: Asked<'_>, reply: &mut Reply) {
    reply.answers.push(Record::from_rdata(name.clone(), STEADY_TTL_S, RData::CNAME(CNAME(target.clone()))));
    if let (Found::Owned(Owner::Host(addresses)), true) = (zone.find(target), asked.0 != RecordType::CNAME) {
        address_records(zone, target, addresses, asked, reply);
    }
}

fn apex_records(zone: &Zone, apex: &Name, name: &Name, record_type: RecordType, reply: &mut Reply) {
    match record_type {
        RecordType::SOA => reply.answers.push(Record::from_rdata(name.clone(), ZONE_TTL_S, soa(zone, apex))),
        RecordType::TXT => {
            let text = TXT::new(vec![format!("skerry serial={}", zone.state().serial)]);
            reply.answers.push(Record::from_rdata(name.clone(), ZONE_TTL_S, RData::TXT(text)));
        }
        RecordType::NS => {
            for (server, addresses) in zone.nameservers() {
                reply.answers.push(Record::from_rdata(name.clone(), ZONE_TTL_S, RData::NS(NS(server.clone()))));
                reply.additional.extend(addresses.iter().map(|&address| Record::from_rdata(server.clone(), STEADY_TTL_S, address.into())));
            }
        }
        _ => {}
    }
}

fn soa(zone: &Zone, apex: &Name) -> RData {
    let primary = zone.nameservers().first().map_or(apex, |(name, _)| name);
    let mailbox = apex.prepend_label("hostmaster").unwrap_or_else(|_| apex.clone());
    let (refresh, retry, expire) = SOA_TIMES_S;
    RData::SOA(SOA::new(primary.clone(), mailbox, zone.state().serial, refresh, retry, expire, NEGATIVE_TTL_S))
}

/// Adds the A, AAAA or HTTPS records of a name, and the scope in which they hold.
fn address_records(zone: &Zone, name: &Name, addresses: &Addresses, (record_type, client, now): Asked<'_>, reply: &mut Reply) {
    match (addresses, record_type) {
        (Addresses::Fixed(addresses), RecordType::A | RecordType::AAAA) => {
            let wanted = addresses.iter().filter(|address| address.is_ipv4() == (record_type == RecordType::A));
            reply.answers.extend(wanted.map(|&address| Record::from_rdata(name.clone(), STEADY_TTL_S, address.into())));
        }
        (_, RecordType::A | RecordType::AAAA | RecordType::HTTPS) => {
            let wanted = match record_type {
                RecordType::A => Wanted::Ipv4,
                RecordType::AAAA => Wanted::Ipv6,
                _ => Wanted::Any,
            };
            let Some(choice) = choose(zone, addresses, client, wanted, now) else { return };
            reply.scope = choice.scope;
            let ttl = u32::try_from(choice.ttl.as_secs()).unwrap_or(u32::MAX).min(ADDRESS_TTL_MAX_S);
            let data: Vec<RData> = match wanted {
                Wanted::Ipv4 => ipv4(&choice.edges).map(|address| RData::A(A(address))).collect(),
                Wanted::Ipv6 => ipv6(&choice.edges).map(|address| RData::AAAA(AAAA(address))).collect(),
                Wanted::Any => https(&choice.edges, zone.state().h3).into_iter().collect(),
            };
            reply.answers.extend(data.into_iter().map(|data| Record::from_rdata(name.clone(), ttl, data)));
        }
        _ => {}
    }
}

fn ipv4<'a>(edges: &'a [&Candidate]) -> impl Iterator<Item = Ipv4Addr> + 'a {
    edges.iter().flat_map(|edge| edge.ipv4.iter().copied())
}

fn ipv6<'a>(edges: &'a [&Candidate]) -> impl Iterator<Item = Ipv6Addr> + 'a {
    edges.iter().flat_map(|edge| edge.ipv6.iter().copied())
}

/// Service at the name itself (RFC 9460 section 9), with the addresses as hints; none when no edge can be named.
fn https(edges: &[&Candidate], h3: bool) -> Option<RData> {
    if edges.is_empty() {
        return None;
    }
    let (ipv4, ipv6): (Vec<A>, Vec<AAAA>) = (ipv4(edges).map(A).collect(), ipv6(edges).map(AAAA).collect());
    let protocols = h3.then_some("h3").into_iter().chain(["h2", "http/1.1"]).map(str::to_owned).collect();
    let mut parameters = vec![(SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(protocols)))];
    if !ipv4.is_empty() {
        parameters.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(ipv4))));
    }
    if !ipv6.is_empty() {
        parameters.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(ipv6))));
    }
    Some(RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), parameters))))
}

#[cfg(test)]
mod tests;
