//! `No-Vary-Search`: URLs whose queries differ in what does not count share a key, once an answer has said what does not.
//!
//! What it said last of a path is kept in the store, under a key of the path alone; requests are looked up by the query as that has it.

use std::sync::Arc;

use skerry_config::snapshot::Policy;

use super::Exchange;
use crate::key::{Key, split};
use crate::no_vary_search::Rules;
use crate::request::Request;
use crate::store::Entry;

impl Exchange {
    /// The key under which a request is looked up before any variant is known.
    pub(super) fn primary(&self, request: &Request, policy: &Policy) -> Key {
        if !policy.no_vary_search {
            return Key::of(request, policy);
        }
        let rules = match self.store.get(&place(request, policy)) {
            Some(Entry::Search(rules)) => Some(rules),
            _ => None,
        };
        key_under(request, policy, rules.as_deref())
    }

    /// Keeps what an answer says of the queries of its path, or that it says nothing.
    pub(super) fn note_search_rules(&self, request: &Request, policy: &Policy, rules: Option<&Rules>) {
        let place = place(request, policy);
        let there = self.store.get(&place);
        match (rules, &there) {
            (Some(rules), Some(Entry::Search(known))) if **known == *rules => {}
            (Some(rules), _) => self.put_in_turn(place, Entry::Search(Arc::new(rules.clone()))),
            (None, Some(_)) => self.take_away(&place),
            (None, None) => {}
        }
    }
}

/// The key of a request whose query these rules make canonical.
pub(super) fn key_under(request: &Request, policy: &Policy, rules: Option<&Rules>) -> Key {
    let Some(rules) = rules else { return Key::of(request, policy) };
    let (path, query) = split(&request.path_and_query);
    let query = query.and_then(|query| rules.canonical(query));
    let path_and_query = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    // Only answers that said the same of queries: of others nobody knows what they depend on.
    Key::of(&Request { path_and_query, ..request.clone() }, policy).under(rules.hash())
}

/// Where the rules of a path are kept.
pub(super) fn place(request: &Request, policy: &Policy) -> Key {
    let path = split(&request.path_and_query).0.to_owned();
    Key::of(&Request { path_and_query: path, ..request.clone() }, policy).search()
}
