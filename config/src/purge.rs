//! A purge as an operator means it, with its number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a purge names. Every list may hold several entries; at least one must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Whole URLs, `https://host/path?query`. The scheme does not matter: both are purged, with all variants and whatever the key rules made of the URL.
    pub urls: Vec<String>,
    /// URL prefixes, `https://host/path`; everything whose path starts so, character by character.
    pub prefixes: Vec<String>,
    /// Tags from `Cache-Tag` or `Surrogate-Key`, case-sensitive.
    pub tags: Vec<String>,
    /// Host names, exact.
    pub hosts: Vec<String>,
    /// Site names.
    pub sites: Vec<String>,
    /// Everything.
    pub all: bool,
    /// Mark stale instead of removing: stale answers may be served while they are revalidated, or when the origin fails, as far as the policy allows.
    pub soft: bool,
}

impl Targets {
    /// How much is named: the entries of all lists together, and one more for everything.
    #[must_use]
    pub fn entries(&self) -> usize {
        let lists = [&self.urls, &self.prefixes, &self.tags, &self.hosts, &self.sites];
        lists.iter().map(|list| list.len()).sum::<usize>() + usize::from(self.all)
    }
}

/// A numbered purge. Numbers start at 1 and rise by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// The number.
    pub seq: u64,
    /// What is purged.
    #[serde(flatten)]
    pub targets: Targets,
}
