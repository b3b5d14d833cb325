//! Cache groups (RFC 9875): the names by which an origin ties responses together.
//!
//! Owns how the two fields are read. Which responses a group reaches, those of the same origin, is `crate::purge`'s.

use http::HeaderMap;
use sfv::{BareItem, List, ListEntry};

use crate::lists::structured;

/// The groups a response belongs to.
pub const CACHE_GROUPS: &str = "cache-groups";

/// The groups that the response to an unsafe request invalidates.
pub const CACHE_GROUP_INVALIDATION: &str = "cache-group-invalidation";

/// The most groups of one response that count. RFC 9875 sections 2 and 3 ask for 32.
pub const GROUPS_MAX: usize = 128;

/// The most characters a group may have. RFC 9875 sections 2 and 3 ask for 32.
pub const GROUP_CHARS_MAX: usize = 256;

/// The groups that the field `name` lists, each once, in order; those beyond [`GROUPS_MAX`] or longer than [`GROUP_CHARS_MAX`] do not
/// count. None when the field is no structured list of strings: it is ignored whole. Parameters mean nothing.
#[must_use]
pub fn groups(headers: &HeaderMap, name: &str) -> Vec<String> {
    let Some(list) = structured::<List>(headers, name) else { return Vec::new() };
    let mut groups: Vec<String> = Vec::new();
    for entry in &list {
        let ListEntry::Item(item) = entry else { return Vec::new() };
        let BareItem::String(group) = &item.bare_item else { return Vec::new() };
        let group = group.as_str();
        if groups.len() < GROUPS_MAX && group.len() <= GROUP_CHARS_MAX && !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }
    groups
}

#[cfg(test)]
mod tests;
