//! `Vary`: which request fields a response depends on, and the key of a variant (RFC 9111 section 4.1).
//!
//! Owns the normalisation of field values. Never decides whether to store; it says why it cannot.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::key::Key;
use crate::lists::{Quotes, members, split};

/// The most fields a stored response may vary on.
pub const FIELDS_MAX: usize = 16;

/// Why a response cannot be kept as a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `Vary: *`: no later request matches.
    Star,
    /// More than [`FIELDS_MAX`] fields, or one that is not a field name.
    Fields,
}

/// The fields that responses of one key vary on: lower case, sorted, each once.
pub type Fields = Arc<[HeaderName]>;

/// The fields a response names; empty when it varies on nothing.
///
/// # Errors
/// When no later request could be matched.
pub fn fields(response: &HeaderMap) -> Result<Fields, Refused> {
    let mut names = Vec::new();
    for line in response.get_all(http::header::VARY) {
        for member in members(line.as_bytes()) {
            if member == b"*" {
                return Err(Refused::Star);
            }
            names.push(HeaderName::from_bytes(member).map_err(|_| Refused::Fields)?);
        }
    }
    if names.is_empty() {
        // Nothing is made for what most answers are.
        return Ok(Fields::default());
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names.len() > FIELDS_MAX {
        return Err(Refused::Fields);
    }
    Ok(names.into())
}

/// The key of the variant that a request asks for. `generation` tells the variants of one marker from those of an earlier one, so that all are forgotten by forgetting the marker.
#[must_use]
pub fn key(primary: &Key, generation: u64, fields: &[HeaderName], request: &HeaderMap) -> Key {
    let generation = Some(Cow::Owned(generation.to_be_bytes().to_vec()));
    let parts = fields.iter().flat_map(|name| [Some(Cow::Borrowed(name.as_str().as_bytes())), value(name, request).map(Cow::Owned)]);
    primary.variant([generation].into_iter().chain(parts))
}

/// A field's normal form: its lines joined, whitespace around commas gone. Where a field's own definition says more, see [`Preference`].
pub(crate) fn value(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    if !headers.contains_key(name) {
        return None;
    }
    let listed: Vec<&[u8]> = headers.get_all(name).iter().flat_map(|line| members(line.as_bytes())).collect();
    if !WEIGHTED.contains(name) {
        return Some(listed.join(&b','));
    }
    // What is not understood is not touched.
    let Some(mut preferences) = listed.iter().map(|member| Preference::of(member)).collect::<Option<Vec<_>>>() else {
        return Some(listed.join(&b','));
    };
    preferences.sort_by_key(|preference| std::cmp::Reverse(preference.weight));
    if name == http::header::ACCEPT_ENCODING {
        preferences.iter_mut().for_each(Preference::name_coding);
        preferences.sort();
        preferences.dedup();
    }
    Some(preferences.iter().map(Preference::text).collect::<Vec<_>>().join(&b','))
}

/// The fields with weights (RFC 9110 section 12.4.2).
const WEIGHTED: [HeaderName; 4] =
    [http::header::ACCEPT, http::header::ACCEPT_CHARSET, http::header::ACCEPT_ENCODING, http::header::ACCEPT_LANGUAGE];

/// One member of a field with weights. Media ranges, charsets, codings and language tags have no case, nor have the names of parameters
/// (sections 8.3.1, 8.3.2, 8.4.1, 8.5.1); a weight of 1 says nothing (section 12.4.2).
///
/// Members are put in the order of their weights, which says the same as the weights themselves. Those of equal weight stay in the order
/// sent: RFC 9110 leaves open what it means in `Accept`, and in `Accept-Language` it is the order of preference to servers that use the
/// lookup of RFC 4647 section 3.4. Codings alone have no order at all (section 12.5.3), only weights, and are sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// What is preferred, with its parameters.
    what: Vec<u8>,
    /// In thousandths.
    weight: u16,
}

impl Preference {
    /// `None` when the weight is malformed or something follows it, or quotes are not paired.
    fn of(member: &[u8]) -> Option<Self> {
        if member.contains(&b'\\') || member.iter().filter(|&&byte| byte == b'"').count() % 2 == 1 {
            return None;
        }
        let mut pieces = split(member, b';', Quotes::Escaped).map(<[u8]>::trim_ascii);
        let mut what = pieces.next()?.to_ascii_lowercase();
        let mut weight = None;
        for piece in pieces {
            if weight.is_some() {
                return None;
            }
            let (name, value) = match piece.iter().position(|&byte| byte == b'=') {
                Some(at) => (piece[..at].to_ascii_lowercase(), Some(&piece[at + 1..])),
                None => (piece.to_ascii_lowercase(), None),
            };
            if name == b"q" {
                weight = Some(thousandths(value?)?);
                continue;
            }
            what.push(b';');
            what.extend_from_slice(&name);
            if let Some(value) = value {
                what.push(b'=');
                what.extend_from_slice(value);
            }
        }
        Some(Self { what, weight: weight.unwrap_or(1_000) })
    }

    /// RFC 9110 sections 8.4.1.1 and 8.4.1.3: the old names of two codings.
    fn name_coding(&mut self) {
        match self.what.as_slice() {
            b"x-gzip" => self.what = b"gzip".to_vec(),
            b"x-compress" => self.what = b"compress".to_vec(),
            _ => {}
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = self.what.clone();
        if self.weight < 1_000 {
            text.extend_from_slice(format!(";q=0.{:03}", self.weight).as_bytes());
        }
        text
    }
}

/// A weight: 0 to 1 with at most three digits behind the point.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, rest) = text.split_first()?;
    let digits = match rest {
        [] => &[][..],
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let part = (0..3).fold(0, |sum, at| sum * 10 + u16::from(digits.get(at).map_or(0, |digit| digit - b'0')));
    match whole {
        b'0' => Some(part),
        b'1' if part == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
