//! `No-Vary-Search`: which parts of a query a response does not depend on (draft-ietf-httpbis-no-vary-search).
//!
//! Owns what the field says and the canonical form of a query under it. Which site listens to it is the policy's.

use http::HeaderMap;
use sfv::{BareItem, Dictionary, InnerList, ListEntry};
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::{Reader, Writer};
use crate::key::decoded;
use crate::lists::structured;

/// The field.
pub const NO_VARY_SEARCH: &str = "no-vary-search";

/// What a response says about the query it was asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    params: Params,
    /// Whether the order of parameters with different names means nothing.
    key_order: bool,
}

/// Which parameters count. Names are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Params {
    /// All but these.
    AllBut(Vec<Vec<u8>>),
    /// Only these.
    Only(Vec<Vec<u8>>),
}

impl Rules {
    /// What the field of a response says; `None` when it is absent, malformed, contradicts itself, or changes nothing.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let dictionary: Dictionary = structured(headers, NO_VARY_SEARCH)?;
        let flag = |name: &str| match dictionary.get(name) {
            None => Some(false),
            Some(ListEntry::Item(item)) => item.bare_item.as_boolean(),
            Some(ListEntry::InnerList(_)) => None,
        };
        let key_order = flag("key-order")?;
        let except = match dictionary.get("except") {
            None => None,
            Some(ListEntry::InnerList(list)) => Some(names(list)?),
            Some(ListEntry::Item(_)) => return None,
        };
        let params = match (dictionary.get("params"), except) {
            (Some(ListEntry::InnerList(list)), None) => Params::AllBut(names(list)?),
            // `except` narrows `params` that is true; beside anything else it has no meaning.
            (Some(ListEntry::InnerList(_)), Some(_)) => return None,
            (_, except) => match (flag("params")?, except) {
                (true, except) => Params::Only(except.unwrap_or_default()),
                (false, None) => Params::AllBut(Vec::new()),
                (false, Some(_)) => return None,
            },
        };
        let rules = Self { params, key_order };
        (rules.key_order || rules.params != Params::AllBut(Vec::new())).then_some(rules)
    }

    /// Tells rules apart that are not the same.
    pub(crate) fn hash(&self) -> u128 {
        let (kind, names) = self.parts();
        let mut text = vec![kind, u8::from(self.key_order)];
        for name in names {
            text.extend_from_slice(&(name.len() as u64).to_be_bytes());
            text.extend_from_slice(name);
        }
        xxh3_128(&text)
    }

    fn parts(&self) -> (u8, &[Vec<u8>]) {
        match &self.params {
            Params::AllBut(names) => (0, names),
            Params::Only(names) => (1, names),
        }
    }

    /// Writes them for the disk.
    pub(crate) fn write(&self, out: &mut Writer) {
        let (kind, names) = self.parts();
        out.byte(kind);
        out.byte(u8::from(self.key_order));
        names.iter().for_each(|name| out.bytes(name));
    }

    /// Reads them back.
    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let (kind, key_order) = (from.byte()?, from.byte()? != 0);
        let mut names = Vec::new();
        while !from.is_empty() {
            names.push(from.bytes()?.to_vec());
        }
        let params = match kind {
            0 => Params::AllBut(names),
            1 => Params::Only(names),
            _ => return None,
        };
        Some(Self { params, key_order })
    }

    /// What they cost in memory, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let (Params::AllBut(names) | Params::Only(names)) = &self.params;
        names.iter().map(|name| 48 + name.len() as u64).sum()
    }

    /// The form that all queries share which the response does not tell apart; `None` when nothing of it counts. Names and values are
    /// compared with their encoding undone, as the draft's form parser does, so `a=%41` and `a=A` share one form, and so do `a` and `a=`.
    #[must_use]
    pub fn canonical(&self, query: &str) -> Option<String> {
        let mut parameters: Vec<_> = query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .filter(|(name, _)| self.counts(name))
            .collect();
        if self.key_order {
            parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        if parameters.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(query.len());
        for (name, value) in parameters {
            if !out.is_empty() {
                out.push('&');
            }
            encode(&mut out, &name);
            out.push('=');
            encode(&mut out, &value);
        }
        Some(out)
    }

    fn counts(&self, name: &[u8]) -> bool {
        let listed = |list: &[Vec<u8>]| list.iter().any(|known| known == name);
        match &self.params {
            Params::AllBut(list) => !listed(list),
            Params::Only(list) => listed(list),
        }
    }
}

/// The parameter names of an inner list, decoded; `None` when one is no string.
fn names(list: &InnerList) -> Option<Vec<Vec<u8>>> {
    let name = |item: &sfv::Item| match &item.bare_item {
        BareItem::String(name) => Some(decoded(name.as_str()).into_owned()),
        _ => None,
    };
    list.items.iter().map(name).collect()
}

/// Writes what is not plainly itself as `%XX`.
fn encode(out: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests;
