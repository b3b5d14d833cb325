//! `Vary`: which request fields a response depends on, and the key of a variant (RFC 9111 section 4.1).
//!
//! Owns the normalisation of field values. Never decides whether to store; it says why it cannot.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::control::members;
use crate::key::Key;

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

/// A field's normal form: its lines joined, whitespace around commas gone. The order of `Accept-Encoding` and the case of its codings mean nothing (RFC 9110 section 12.5.3), so they are sorted and lowered.
fn value(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    if !headers.contains_key(name) {
        return None;
    }
    let lines = headers.get_all(name).iter();
    if name == http::header::ACCEPT_ENCODING {
        let mut codings: Vec<Vec<u8>> = lines
            .flat_map(|line| members(line.as_bytes()))
            .map(|member| member.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect())
            .collect();
        codings.sort();
        codings.dedup();
        return Some(codings.join(&b','));
    }
    Some(lines.flat_map(|line| members(line.as_bytes())).collect::<Vec<_>>().join(&b','))
}

#[cfg(test)]
mod tests;
