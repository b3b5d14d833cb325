//! Records of the zone that an operator declares, and how often DNS says the same.
//!
//! Owns what the text of a record's value means. Knows no zone.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::names;
use crate::units::Period;

/// The types that may be declared.
pub const RECORD_TYPES: [&str; 6] = ["A", "AAAA", "CNAME", "TXT", "MX", "CAA"];
/// The bytes of the longest text of a TXT record: what its strings, of 255 bytes each, have room for in an answer over UDP.
const TEXT_BYTES_MAX: usize = 1_000;
/// The bytes of the longest tag of a CAA record (RFC 8659 section 4.1).
const TAG_BYTES_MAX: usize = 15;

/// A record of the zone beside those that the CDN makes. Where the CDN has a name for itself (a name server's, `SITE.ZONE`, `NODE.nodes.ZONE`), no A, AAAA or CNAME can be declared, and no other record beside a CNAME.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsRecord {
    /// The whole name, which is the zone or in it, such as `_acme-challenge.cdn.example.net`.
    pub name: String,
    /// `A`, `AAAA`, `CNAME`, `TXT`, `MX` or `CAA`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the records of this name and type say, one each: an address; a name; a text; `10 mail.example.net`; `0 issue "letsencrypt.org"`. At most 16; one of a `CNAME`.
    pub values: Vec<String>,
    /// How long they may be kept.
    #[serde(default = "record_ttl")]
    pub ttl: Period,
}

/// What one value of a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name.
    Cname(String),
    /// A text.
    Txt(String),
    /// A mail server.
    Mx {
        /// The smaller it is the sooner the server is tried.
        preference: u16,
        /// The server's name.
        exchange: String,
    },
    /// Who may issue certificates (RFC 8659).
    Caa {
        /// Whether who does not know the tag must not issue.
        critical: bool,
        /// Such as `issue`.
        tag: String,
        /// Such as the name of an authority.
        value: String,
    },
}

impl DnsRecord {
    /// What a value of this type says.
    ///
    /// # Errors
    /// What is wrong with the value, to go after it in a sentence.
    pub fn data(&self, value: &str) -> Result<RecordData, String> {
        match self.kind.as_str() {
            "A" => value.parse().map(RecordData::A).map_err(|_| "is no IPv4 address; write one such as 192.0.2.1".to_owned()),
            "AAAA" => value.parse().map(RecordData::Aaaa).map_err(|_| "is no IPv6 address; write one such as 2001:db8::1".to_owned()),
            "CNAME" => full_name(value).map(RecordData::Cname),
            "TXT" if value.len() > TEXT_BYTES_MAX => Err(format!("is longer than {TEXT_BYTES_MAX} bytes")),
            "TXT" => Ok(RecordData::Txt(value.to_owned())),
            "MX" => mail_server(value),
            "CAA" => authority(value),
            _ => Err(format!("is of a type that cannot be declared; write one of {}", RECORD_TYPES.join(", "))),
        }
    }
}

fn mail_server(value: &str) -> Result<RecordData, String> {
    let parts = value.split_once(' ').and_then(|(preference, exchange)| Some((preference.parse().ok()?, exchange.trim())));
    let Some((preference, exchange)) = parts else {
        return Err("is no mail server; write a preference and a name, such as 10 mail.example.net".to_owned());
    };
    Ok(RecordData::Mx { preference, exchange: full_name(exchange)? })
}

fn authority(value: &str) -> Result<RecordData, String> {
    let mut parts = value.splitn(3, ' ');
    let (flags, tag, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let quoted = rest.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|text| !text.contains(['"', '\\']));
    let good_tag = (1..=TAG_BYTES_MAX).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    match (flags, good_tag, quoted) {
        ("0" | "128", true, Some(text)) if text.len() <= TEXT_BYTES_MAX => {
            Ok(RecordData::Caa { critical: flags == "128", tag: tag.to_owned(), value: text.to_owned() })
        }
        _ => Err(r#"is no CAA record; write 0 or 128, a tag and a value in quotes, such as 0 issue "letsencrypt.org""#.to_owned()),
    }
}

fn full_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    names::owner(&name).map(|()| name).map_err(str::to_owned)
}

/// How often DNS says the same to the same clients over UDP, so that who forges a victim's address has nothing from it, and how many connections over TCP it has. A client that brings a cookie (RFC 7873) has shown where it is and is not limited. `0` is no limit for the three rates, which go up to 1,000,000.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsLimits {
    /// The answers for one name and type to one /24 (one /56 in IPv6) in a second; of the names under a site's wildcard all count as one.
    pub same_per_second: u32,
    /// The refusals and errors to one such prefix in a second, and likewise the answers that a name does not exist.
    pub errors_per_second: u32,
    /// All answers to one such prefix in a second.
    pub all_per_second: u32,
    /// Of so many answers over a limit one is sent truncated, so that a real client asks again over TCP; the others are dropped. `1` sends all truncated, `0` drops all; at most 100.
    pub slip: u32,
    /// Prefixes of clients that are not limited, such as a monitor's; at most 256.
    #[schemars(with = "Vec<String>")]
    pub exempt: Vec<IpNet>,
    /// Connections over TCP of all clients. A further one takes the place of the oldest of the /24 (/48 in IPv6) that has most, where that has more than its own would have with it; else it is closed at once.
    pub connections: u32,
    /// Connections over TCP of one address (of one /56 in IPv6); further ones are closed at once.
    pub connections_per_address: u32,
}

impl Default for DnsLimits {
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

impl DnsLimits {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) fn record_ttl() -> Period {
    Period::from_secs(300)
}
