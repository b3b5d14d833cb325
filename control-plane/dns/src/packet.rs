//! From the octets of a query to the octets of its answer.
//!
//! Owns what RFC 1035, 6891 and 7871 say about the message around an answer: header, EDNS, client subnet, size. Pure: no socket,
//! no clock, and no packet makes it panic.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use crate::answer::{Reply, answer};
use crate::place::Client;
use crate::zone::Zone;

/// The octets of a message header.
const HEADER_OCTETS: usize = 12;
/// The largest UDP answer, in octets: fits in one IPv6 packet on any path (DNS flag day 2020).
pub const UDP_PAYLOAD_MAX: u16 = 1232;
/// The largest UDP answer, in octets, to a client without EDNS (RFC 1035 section 4.2.1).
const UDP_PAYLOAD_PLAIN: u16 = 512;
/// The one EDNS version there is.
const EDNS_VERSION: u8 = 0;

/// What carried a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Answers may be truncated.
    Udp,
    /// Answers are whole.
    Tcp,
}

/// Why a packet got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Shorter than a header.
    Short,
    /// A response; answering it could make two servers talk to each other for ever.
    Response,
    /// The answer could not be written.
    Unwritable,
}

/// An answer as a packet, with what the figures count.
#[derive(Debug)]
pub struct Response {
    /// The message.
    pub octets: Vec<u8>,
    /// The outcome.
    pub rcode: ResponseCode,
    /// What was asked; none when that could not be read.
    pub record_type: Option<RecordType>,
    /// Whether the client must ask again over TCP.
    pub truncated: bool,
    /// Whether the client came with its subnet.
    pub subnet: bool,
}

/// Answers one packet from `source` at `now`, in seconds since 1970.
///
/// # Errors
/// Why there is to be no answer.
pub fn respond(zone: &Zone, raw: &[u8], source: IpAddr, transport: Transport, now: f64) -> Result<Response, Dropped> {
    let header: &[u8; HEADER_OCTETS] = raw.first_chunk().ok_or(Dropped::Short)?;
    if header[2] & 0x80 != 0 {
        return Err(Dropped::Response);
    }
    if (header[2] >> 3) & 0x0f != u8::from(OpCode::Query) {
        return Ok(bare(header, ResponseCode::NotImp));
    }
    // One question; the count is looked at before anything is allocated for it.
    if header[4..6] != [0, 1] {
        return Ok(bare(header, ResponseCode::FormErr));
    }
    let Ok(query) = Message::read(&mut BinDecoder::new(raw)) else {
        return Ok(bare(header, ResponseCode::FormErr));
    };
    let Some(question) = query.queries.first() else {
        return Ok(bare(header, ResponseCode::FormErr));
    };
    let subnet = subnet(&query);
    let reply = if query.edns.as_ref().is_some_and(|edns| edns.version() != EDNS_VERSION) {
        refusal(ResponseCode::BADVERS)
    } else if question.query_class() != DNSClass::IN {
        refusal(ResponseCode::Refused)
    } else {
        match subnet {
            Err(()) => refusal(ResponseCode::FormErr),
            Ok(subnet) => answer(zone, question.name(), question.query_type(), &client(subnet, source), now),
        }
    };
    let option = match subnet {
        Ok(Some(subnet)) => {
            // RFC 7871 section 7.2.1: a client that hides its address gets an answer that is the same for all.
            let scope = if subnet.source_prefix() == 0 { 0 } else { reply.scope };
            Some(EdnsOption::Subnet(ClientSubnet::new(subnet.addr(), subnet.source_prefix(), scope)))
        }
        _ => None,
    };
    encode(&query, reply, option, transport).ok_or(Dropped::Unwritable)
}

/// The client subnet of a query, if it keeps the rules of RFC 7871 sections 6 and 7.1.2: sent once, scope 0, no address bits
/// beyond the source prefix, which is no longer than an address.
fn subnet(query: &Message) -> Result<Option<ClientSubnet>, ()> {
    let Some(edns) = &query.edns else { return Ok(None) };
    let mut subnets = edns.options().as_ref().iter().filter(|(code, _)| *code == EdnsCode::Subnet);
    let subnet = match (subnets.next(), subnets.next()) {
        (None, _) => return Ok(None),
        (Some((_, EdnsOption::Subnet(subnet))), None) => *subnet,
        _ => return Err(()),
    };
    let width = if subnet.addr().is_ipv4() { 32 } else { 128 };
    let clean = ipnet::IpNet::new(subnet.addr(), subnet.source_prefix()).is_ok_and(|net| net.network() == subnet.addr());
    if subnet.scope_prefix() != 0 || subnet.source_prefix() > width || !clean { Err(()) } else { Ok(Some(subnet)) }
}

/// Who asks: the subnet, unless there is none or it is hidden; then the resolver.
fn client(subnet: Option<ClientSubnet>, source: IpAddr) -> Client {
    match subnet {
        Some(subnet) if subnet.source_prefix() > 0 => Client::new(subnet.addr(), subnet.source_prefix()),
        _ => Client::host(source),
    }
}

/// An outcome without records.
fn refusal(rcode: ResponseCode) -> Reply {
    Reply { rcode, authoritative: false, answers: Vec::new(), authority: Vec::new(), additional: Vec::new(), scope: 0 }
}

/// A header alone, for a packet whose question is not ours to read.
fn bare(header: &[u8; HEADER_OCTETS], rcode: ResponseCode) -> Response {
    let mut octets = vec![0; HEADER_OCTETS];
    octets[..2].copy_from_slice(&header[..2]);
    // QR, with opcode and RD as sent.
    octets[2] = 0x80 | (header[2] & 0x79);
    octets[3] = rcode.low();
    Response { octets, rcode, record_type: None, truncated: false, subnet: false }
}

/// Writes an answer: whole if it fits, else without the additional section, else truncated to question and EDNS.
fn encode(query: &Message, reply: Reply, option: Option<EdnsOption>, transport: Transport) -> Option<Response> {
    let metadata = Metadata::response_from_request(&query.metadata);
    let mut message = Message::new(metadata.id, MessageType::Response, metadata.op_code);
    message.metadata = metadata;
    message.metadata.authoritative = reply.authoritative;
    message.metadata.response_code = reply.rcode;
    message.queries.clone_from(&query.queries);
    message.answers = reply.answers;
    message.authorities = reply.authority;
    message.additionals = reply.additional;
    let subnet = option.is_some();
    message.edns = query.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD_MAX).set_version(EDNS_VERSION).set_dnssec_ok(asked.flags().dnssec_ok);
        edns.options_mut().as_mut().extend(option.map(|option| (EdnsCode::Subnet, option)));
        edns
    });
    let limit = match (transport, &query.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => UDP_PAYLOAD_PLAIN,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(UDP_PAYLOAD_PLAIN, UDP_PAYLOAD_MAX),
    };
    let octets = write(&message, limit).or_else(|| {
        message.additionals.clear();
        write(&message, limit)
    });
    let octets = octets.or_else(|| {
        message.answers.clear();
        message.authorities.clear();
        message.metadata.truncation = true;
        write(&message, limit)
    })?;
    let record_type = query.queries.first().map(|question| question.query_type());
    Some(Response { octets, rcode: reply.rcode, record_type, truncated: message.metadata.truncation, subnet })
}

/// The octets of a message, unless there are more than `limit`.
fn write(message: &Message, limit: u16) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(usize::from(UDP_PAYLOAD_PLAIN));
    message.emit(&mut BinEncoder::new(&mut octets)).ok()?;
    (octets.len() <= usize::from(limit)).then_some(octets)
}

#[cfg(test)]
mod tests;
