//! The answer to one question: a pure function of zone, name, type, client and time.
//!
//! Owns what an answer says: records, sections, lifetimes, and how far it holds for other clients. Knows neither header nor EDNS.

use crate::kind::{Rcode, Type};
use crate::name::Name;
use crate::place::Client;
use crate::query::Query;
use crate::steer::{Candidate, Reason, Wanted, choose};
use crate::write::{Owner, Section, Writer};
use crate::zone::{Addresses, Alias, Found, NEGATIVE_TTL_S, Owned, STEADY_TTL_S, TTL_MAX_S, Zone};

/// The lifetime of the answer to ANY, in seconds (RFC 8482 section 4.2 advises a long one).
const ANY_TTL_S: u32 = 3600;
/// The answer to ANY: a processor that says why, and no system (RFC 8482 section 4.2).
const ANY_DATA: &[u8] = b"\x07RFC8482\x00";
/// How many aliases an answer follows within the zone: one that an operator declared, that of a host, and some more. A longer chain is told so far, and
/// the resolver asks for the rest.
const ALIASES_MAX: usize = 4;
/// The numbers of the parameters of an HTTPS record (RFC 9460 section 14.3.2).
const PARAMETER_ALPN: u16 = 1;
const PARAMETER_IPV4_HINT: u16 = 4;
const PARAMETER_IPV6_HINT: u16 = 6;

/// What was asked, by whom, and when, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The query.
    pub query: &'a Query,
    /// Who asks.
    pub client: Client,
    /// When.
    pub now: f64,
}

/// What an answer is about, for limits on how often the same is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A refusal or an error, the same for all names.
    Refusal,
    /// That a name does not exist; whichever it is.
    Missing,
    /// What a name owns or is another name of; of the names that a wildcard makes, the target; of no octets, that a client has a cookie.
    Name(&'a [u8]),
}

/// An answer whose records are written.
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// The outcome.
    pub rcode: Rcode,
    /// Whether the zone is ours.
    pub authoritative: bool,
    /// The prefix length, in bits, within which every client gets the same answer. Longer than the client's own prefix when that
    /// was too short to choose by (RFC 7871 section 7.2.1); 0 when the answer does not depend on the client.
    pub scope: u8,
    /// The number in the state of the edge that is named first, and why it is.
    pub chosen: Option<(usize, Reason)>,
    /// What it is about.
    pub subject: Subject<'a>,
}

impl Reply<'_> {
    /// An outcome without records.
    #[must_use]
    pub fn refusal(rcode: Rcode) -> Self {
        Self { rcode, authoritative: false, scope: 0, chosen: None, subject: Subject::Refusal }
    }
}

/// Answers a question of class IN.
pub fn answer<'a>(zone: &'a Zone, asked: Asked<'a>, writer: &mut Writer<'_>) -> Reply<'a> {
    let query = asked.query;
    match query.record_type {
        Type::AXFR | Type::IXFR => return Reply::refusal(Rcode::REFUSED),
        Type::OPT => return Reply::refusal(Rcode::FORMERR),
        meta if meta >= Type::FIRST_META && meta < Type::ANY => return Reply::refusal(Rcode::NOTIMP),
        _ => {}
    }
    let mut found = zone.find(query.name());
    if found == Found::Outside {
        return Reply::refusal(Rcode::REFUSED);
    }
    let mut reply = Reply { rcode: Rcode::NOERROR, authoritative: true, scope: 0, chosen: None, subject: Subject::Name(query.name()) };
    if let Found::Wildcard(target) = found {
        reply.subject = Subject::Name(target.octets());
    }
    let mut owner = Owner::Asked;
    let mut aliases = 0;
    loop {
        let before = writer.count(Section::Answer);
        let alias = match found {
            Found::Outside => return reply,
            Found::Missing => {
                // Of the last name of a chain (RFC 6604 section 3).
                reply.rcode = Rcode::NXDOMAIN;
                reply.subject = Subject::Missing;
                break;
            }
            Found::Wildcard(target) => Some((target, STEADY_TTL_S)),
            Found::Owned(Owned { alias: Some(Alias { target, ttl_s }), .. }) => Some((target, *ttl_s)),
            Found::Owned(_) | Found::Edge(_) if query.record_type == Type::ANY => {
                if !matches!(found, Found::Owned(owned) if owned.is_empty()) {
                    writer.record(owner, Type::HINFO, ANY_TTL_S, ANY_DATA);
                }
                None
            }
            Found::Owned(owned) => {
                owned_records(zone, asked, owned, owner, writer, &mut reply);
                None
            }
            Found::Edge(addresses) => {
                steered_records(zone, asked, addresses, owner, writer, &mut reply);
                None
            }
        };
        let Some((target, ttl_s)) = alias else {
            if writer.count(Section::Answer) == before {
                break;
            }
            return reply;
        };
        owner = writer.name(owner, Type::CNAME, ttl_s, target);
        // To ANY too an alias is the answer (RFC 8482 section 4.2).
        if query.record_type == Type::CNAME || query.record_type == Type::ANY {
            return reply;
        }
        aliases += 1;
        if aliases > ALIASES_MAX {
            if goes_round(zone, target) {
                writer.cut(query.question_end, Section::Answer);
                reply.rcode = Rcode::SERVFAIL;
            }
            return reply;
        }
        found = zone.find(target.octets());
    }
    if let Some(apex) = zone.apex() {
        // RFC 2308 section 2: the SOA tells how long "no such name" or "no such type" holds, after a CNAME too.
        writer.section(Section::Authority);
        writer.data(Owner::Name(apex), Type::SOA, NEGATIVE_TTL_S, zone.soa());
    }
    reply
}

/// Whether the aliases from a name on lead back to it, within as many as an answer follows.
fn goes_round(zone: &Zone, name: &Name) -> bool {
    let mut at = name;
    (0..=ALIASES_MAX).any(|_| match zone.find(at.octets()) {
        Found::Owned(Owned { alias: Some(Alias { target, .. }), .. }) | Found::Wildcard(target) => {
            at = target;
            at == name
        }
        _ => false,
    })
}

fn owned_records<'a>(zone: &'a Zone, asked: Asked<'a>, owned: &'a Owned, owner: Owner<'a>, writer: &mut Writer<'_>, reply: &mut Reply<'a>) {
    if let Some(set) = owned.set(asked.query.record_type) {
        writer.set(owner, set);
    } else if let Some(addresses) = owned.addresses {
        steered_records(zone, asked, addresses, owner, writer, reply);
    }
}

/// The addresses of the zone's name servers in it, which go with a set of NS records (RFC 1034 section 4.3.2).
pub fn glue(zone: &Zone, query: &Query, writer: &mut Writer<'_>) {
    if query.record_type == Type::NS && zone.apex().is_some_and(|apex| apex.octets() == query.name()) {
        writer.section(Section::Additional);
        for (name, sets) in zone.glue() {
            sets.iter().for_each(|set| writer.set(Owner::Name(name), set));
        }
    }
}

/// The A, AAAA or HTTPS records of edges, and the scope in which they hold.
fn steered_records<'a>(
    zone: &'a Zone,
    asked: Asked<'a>,
    addresses: Addresses,
    owner: Owner<'a>,
    writer: &mut Writer<'_>,
    reply: &mut Reply<'a>,
) {
    let record_type = asked.query.record_type;
    let wanted = match record_type {
        Type::A => Wanted::Ipv4,
        Type::AAAA => Wanted::Ipv6,
        Type::HTTPS => Wanted::Any,
        _ => return,
    };
    let (edges, ttl_s) = match addresses {
        Addresses::Edge(number) => (zone.edge(number).into_iter().collect(), STEADY_TTL_S),
        _ => {
            let Some(choice) = choose(zone, &addresses, &asked.client, wanted, asked.now) else { return };
            reply.scope = choice.scope;
            reply.chosen = choice.edges.first().map(|edge| (edge.number, choice.reason));
            (choice.edges, u32::try_from(choice.ttl.as_secs()).unwrap_or(u32::MAX).min(TTL_MAX_S))
        }
    };
    match wanted {
        Wanted::Ipv4 => {
            edges.iter().flat_map(|edge| &edge.ipv4).for_each(|address| writer.record(owner, record_type, ttl_s, &address.octets()));
        }
        Wanted::Ipv6 => {
            edges.iter().flat_map(|edge| &edge.ipv6).for_each(|address| writer.record(owner, record_type, ttl_s, &address.octets()));
        }
        // None when no edge can be named.
        Wanted::Any if edges.is_empty() => {}
        Wanted::Any => writer.record(owner, record_type, ttl_s, &https(&edges, zone.state().h3)),
    }
}

/// Service at the name itself (RFC 9460 section 9), with the addresses as hints.
fn https(edges: &[&Candidate], h3: bool) -> Vec<u8> {
    // Priority 1, and the root for the name itself.
    let mut octets = vec![0, 1, 0];
    let mut parameter = |number: u16, value: &[u8]| {
        if let (false, Ok(length)) = (value.is_empty(), u16::try_from(value.len())) {
            octets.extend_from_slice(&number.to_be_bytes());
            octets.extend_from_slice(&length.to_be_bytes());
            octets.extend_from_slice(value);
        }
    };
    parameter(PARAMETER_ALPN, if h3 { b"\x02h3\x02h2\x08http/1.1" } else { b"\x02h2\x08http/1.1" });
    let ipv4: Vec<u8> = edges.iter().flat_map(|edge| &edge.ipv4).flat_map(|address| address.octets()).collect();
    parameter(PARAMETER_IPV4_HINT, &ipv4);
    let ipv6: Vec<u8> = edges.iter().flat_map(|edge| &edge.ipv6).flat_map(|address| address.octets()).collect();
    parameter(PARAMETER_IPV6_HINT, &ipv6);
    octets
}

#[cfg(test)]
mod tests;
