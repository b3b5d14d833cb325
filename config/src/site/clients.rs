//! What is asked of clients, and what origins are told of them.

use std::fmt;
use std::str::FromStr;

use http::header::HeaderName;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::check::fault::quoted;
use crate::units::Period;

/// How often one client may ask, on one edge. Hits count as well. Over it, 429 with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Which requests are counted: a path with `*` for any number of characters, as in a cache rule; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who is one client: `address` (a /64 is one in IPv6), or the value of a request header field, such as `header:x-api-key`. Requests without the field are counted by address.
    #[serde(default)]
    pub by: RateBy,
    /// The requests allowed in a period; they come back one by one, spread over it.
    pub requests: u32,
    /// The period.
    pub period: Period,
    /// The requests that may come at once after a pause; by default as many as `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// Who counts as one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RateBy {
    /// The address; in IPv6 its /64.
    #[default]
    Address,
    /// The value of this field.
    Header(HeaderName),
}

impl RateBy {
    /// What may be written.
    pub(crate) const WRITE: &'static str = "\"address\", or \"header:\" and a field in lower case, such as \"header:x-api-key\"";
}

impl FromStr for RateBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is unknown; write {}", quoted(text), Self::WRITE);
        match text.strip_prefix("header:") {
            None if text == "address" => Ok(Self::Address),
            Some(name) if !name.bytes().any(|byte| byte.is_ascii_uppercase()) => name.parse().map(Self::Header).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for RateBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

impl Serialize for RateBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RateBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for RateBy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RateBy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(address|header:[!#$%&'*+.^_`|~0-9a-z-]+)$", "description": "`address` or `header:NAME`." })
    }
}

/// What origins are told of the client, and whose word on it is believed. What other clients say of themselves is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forwarding {
    /// In which fields: `x-forwarded` (`X-Forwarded-For`, `-Proto` and `-Host`), `forwarded` (RFC 7239), both, or none.
    pub send: Vec<ForwardedAs>,
    /// Address ranges of load balancers and other CDNs in front of the edges. What they say in `X-Forwarded-For` and `X-Forwarded-Proto`, or else in `Forwarded`, is believed and added to; the last address that is not in these ranges is the client's, for rate limits and countries too. At most 256.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), with = "Vec<String>")]
    pub trust: Vec<IpNet>,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self { send: vec![ForwardedAs::XForwarded], trust: Vec::new() }
    }
}

/// A way to tell origins of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedAs {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}
