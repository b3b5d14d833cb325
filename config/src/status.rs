//! Statuses as an operator names them: one, or a class.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::check::fault::quoted;

/// One status or a class of them, written `404` or `"4xx"`. Final statuses only: 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusPattern {
    /// Exactly this one.
    One(u16),
    /// All whose first digit is this.
    Class(u16),
}

impl StatusPattern {
    /// Whether it covers a status.
    #[must_use]
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => class == status / 100,
        }
    }

    /// The smallest status it covers.
    #[must_use]
    pub fn first(self) -> u16 {
        match self {
            Self::One(one) => one,
            Self::Class(class) => class * 100,
        }
    }
}

impl FromStr for StatusPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is not a status; write a final one such as 404, or a class such as \"4xx\"", quoted(text));
        if text.len() != 3 {
            return Err(wrong());
        }
        let pattern = match text.strip_suffix("xx") {
            Some(class) => Self::Class(class.parse().map_err(|_| wrong())?),
            None => Self::One(text.parse().map_err(|_| wrong())?),
        };
        if (200..600).contains(&pattern.first()) { Ok(pattern) } else { Err(wrong()) }
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(one) => write!(f, "{one}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl Serialize for StatusPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(one) => serializer.serialize_u16(*one),
            Self::Class(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for StatusPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for StatusPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A final status such as 404, or a class such as \"4xx\".",
            "anyOf": [
                { "type": "integer", "minimum": 200, "maximum": 599 },
                { "type": "string", "pattern": "^[2-5](xx|[0-9][0-9])$" }
            ]
        })
    }
}
