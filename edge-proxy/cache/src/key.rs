//! What tells one stored answer from another: the key of a request.
//!
//! Owns the text of keys and what the site's key rules make of a query. Never reads a response; `Vary` is [`crate::vary`]'s.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::HeaderValue;
use skerry_config::cookies;
use skerry_config::site::{Key as Rules, Query};
use skerry_config::snapshot::{Policy, canonical_host};
use xxhash_rust::xxh3::xxh3_128;

use crate::request::Request;

mod readable;

/// The field in which an edge tells the class of the client's device.
pub const DEVICE: &str = "skerry-device";
/// The field in which an edge tells the client's country.
pub const COUNTRY: &str = "skerry-country";

/// The key of a stored answer: a 128-bit hash to find it and the whole text to be sure of it.
#[derive(Clone, Debug)]
pub struct Key {
    hash: u128,
    text: Arc<[u8]>,
}

impl Key {
    /// The key of a request to a site before any `Vary` is known. What one site stored is no other's, though a host went from one to the other, or
    /// both have the same `key.host`.
    #[must_use]
    pub fn of(request: &Request, policy: &Policy) -> Self {
        let rules = &policy.key;
        let (path, query) = split(&request.path_and_query);
        let query = query.and_then(|query| canonical_query(query, rules.query.as_ref()));
        let mut text = Vec::with_capacity(64 + policy.site.len() + request.authority.len() + request.path_and_query.len());
        part(&mut text, Some(policy.site.as_bytes()));
        part(&mut text, rules.scheme.then_some(request.scheme.as_bytes()));
        match &rules.host {
            Some(alias) => part(&mut text, Some(canonical_host(alias).as_bytes())),
            None => part(&mut text, Some(request.authority.as_bytes())),
        }
        part(&mut text, Some(path.as_bytes()));
        part(&mut text, query.as_deref().map(str::as_bytes));
        let told = [(rules.device, DEVICE), (rules.country, COUNTRY)].into_iter().filter_map(|(counts, name)| counts.then_some(name));
        for name in rules.headers.iter().map(String::as_str).chain(told) {
            let values = request.headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
            named(&mut text, name.as_bytes(), values);
        }
        for name in &rules.cookies {
            // No field has a name with a blank in it.
            let values = cookies::of(&request.headers).filter(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value);
            named(&mut text, &[b"cookie ", name.as_bytes()].concat(), values);
        }
        Self::from_text(text)
    }

    /// The key of a variant: this key with more parts; `None` stands for a field that is absent, which differs from an empty one.
    #[must_use]
    pub fn variant<'a>(&self, parts: impl IntoIterator<Item = Option<Cow<'a, [u8]>>>) -> Self {
        let mut text = self.text.to_vec();
        text.extend_from_slice(VARIANT);
        for value in parts {
            part(&mut text, value.as_deref());
        }
        Self::from_text(text)
    }

    /// The key under which an answer to HEAD is stored that came without its body.
    #[must_use]
    pub fn head(&self) -> Self {
        let mut text = self.text.to_vec();
        text.extend_from_slice(HEAD);
        Self::from_text(text)
    }

    /// The key of answers that say of queries what has this hash.
    #[must_use]
    pub fn under(&self, search: u128) -> Self {
        let mut text = self.text.to_vec();
        text.extend_from_slice(UNDER);
        text.extend_from_slice(&search.to_be_bytes());
        Self::from_text(text)
    }

    /// The key under which it is kept what the answers below a path say of queries.
    #[must_use]
    pub fn search(&self) -> Self {
        let mut text = self.text.to_vec();
        text.extend_from_slice(SEARCH);
        Self::from_text(text)
    }

    /// The hash, for tables that may mistake one key for another without harm.
    #[must_use]
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// The length of the text in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// The text: what tells one key from another.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn from_text(text: Vec<u8>) -> Self {
        Self { hash: xxh3_128(&text), text: text.into() }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.hash);
    }
}

/// Opens the parts of a variant; no part before it starts so, because a length of that size does not fit a request.
const VARIANT: &[u8] = &[0xff, 0xff, 0xff, 0xfe];
/// Closes the key of an answer to HEAD; told from a part in the same way.
const HEAD: &[u8] = &[0xff, 0xff, 0xff, 0xfd];
/// Closes the key of what is said of queries.
const SEARCH: &[u8] = &[0xff, 0xff, 0xff, 0xfc];
/// Opens the hash of what answers say of queries.
const UNDER: &[u8] = &[0xff, 0xff, 0xff, 0xfb];
/// In place of the length of a part that is absent.
const ABSENT: &[u8] = &[0xff, 0xff, 0xff, 0xff];

/// A name, its values in order, and an end.
fn named<'a>(text: &mut Vec<u8>, name: &[u8], values: impl Iterator<Item = &'a [u8]>) {
    part(text, Some(name));
    values.for_each(|value| part(text, Some(value)));
    part(text, None);
}

fn part(text: &mut Vec<u8>, value: Option<&[u8]>) {
    let Some(value) = value else {
        text.extend_from_slice(ABSENT);
        return;
    };
    text.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX - 5).to_be_bytes());
    text.extend_from_slice(value);
}

/// Path and query of a request target; `None` without a question mark.
#[must_use]
pub fn split(path_and_query: &str) -> (&str, Option<&str>) {
    // Shorter than what a search by vectors pays off for.
    match path_and_query.bytes().position(|byte| byte == b'?') {
        Some(mark) => (&path_and_query[..mark], Some(&path_and_query[mark + 1..])),
        None => (path_and_query, None),
    }
}

/// Path and query as the site's key rules see them, for comparing URLs.
#[must_use]
pub fn canonical<'a>(path_and_query: &'a str, rules: &Rules) -> Cow<'a, str> {
    let (path, query) = split(path_and_query);
    match query.and_then(|query| canonical_query(query, rules.query.as_ref())) {
        Some(Cow::Borrowed(_)) => Cow::Borrowed(path_and_query),
        Some(Cow::Owned(query)) => Cow::Owned(format!("{path}?{query}")),
        None => Cow::Borrowed(path),
    }
}

/// What counts of a query; `None` when nothing does.
///
/// Names are compared with their percent-encoding undone, so that an alias of a kept name cannot slip past the key to an origin that decodes it.
fn canonical_query<'a>(query: &'a str, rules: Option<&Query>) -> Option<Cow<'a, str>> {
    let Some(rules) = rules else { return Some(Cow::Borrowed(query)) };
    let listed = |list: &[String], name: &[u8]| list.iter().any(|wanted| wanted.as_bytes() == name);
    let mut parameters: Vec<(Cow<'_, [u8]>, &str)> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| (decoded(parameter.split_once('=').map_or(parameter, |(name, _)| name)), parameter))
        .filter(|(name, _)| rules.keep.as_ref().is_none_or(|keep| listed(keep, name)))
        .filter(|(name, _)| rules.drop.as_ref().is_none_or(|drop| !listed(drop, name)))
        .collect();
    if rules.sort {
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    if parameters.is_empty() {
        return None;
    }
    let parameters: Vec<&str> = parameters.into_iter().map(|(_, parameter)| parameter).collect();
    Some(Cow::Owned(parameters.join("&")))
}

/// A parameter's name with `%XX` and `+` undone; a broken escape stays as it is.
pub(crate) fn decoded(name: &str) -> Cow<'_, [u8]> {
    if !name.contains(['%', '+']) {
        return Cow::Borrowed(name.as_bytes());
    }
    let bytes = name.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
