//! Numbered configurations, and which of them a node is to have.
//!
//! There are up to three at a time: the *settled* one, that all nodes have had; the one that is *rolling* out, which they get by and by; and the
//! *newest*, which has the changes that wait for the next rollout too. A number is given once, and its content never changes. Every later content has
//! a higher one, and of the three the settled one has the lowest, so that the number on a node only rises.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use skerry_config::snapshot::{Change, Digest, Whole};

use super::content::Content;

/// A configuration with its number. Immutable.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// Its number.
    pub(crate) version: u64,
    /// What it holds.
    pub(crate) content: Content,
    digest: OnceLock<Digest>,
}

/// The numbered configurations of this moment.
#[derive(Clone, Debug)]
pub(crate) struct Tracks {
    /// What all nodes have had.
    pub(crate) settled: Arc<Numbered>,
    /// What is rolling out, and how far.
    pub(crate) rolling: Option<(Arc<Numbered>, Reach)>,
    /// What operators want.
    pub(crate) newest: Arc<Numbered>,
}

/// The nodes that are to have what is rolling out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// These.
    Nodes(Arc<BTreeSet<String>>),
    /// All.
    All,
}

/// The numbers, as they lie in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// The last one that was given.
    pub(super) last: u64,
    pub(super) settled: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rolling: Option<u64>,
    pub(super) newest: u64,
    /// The last number that a rollout was given.
    pub(super) rollouts: u64,
    /// The number of the rollout that changes wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_rollout: Option<u64>,
}

impl Numbered {
    pub(super) fn new(version: u64, content: Content) -> Arc<Self> {
        Arc::new(Self { version, content, digest: OnceLock::new() })
    }

    /// What tells it from another of the same number in another history. Linear in the sites the first time.
    pub(crate) fn digest(&self) -> Digest {
        let content = &self.content;
        let sites = content.sites.values().map(|sealed| &sealed.digest);
        *self.digest.get_or_init(|| Digest::of(self.version, sites, &content.shields, content.leads.iter()))
    }

    /// The whole document. Linear in the sites.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, String> {
        let content = &self.content;
        let sites = content.sites.values().map(|sealed| &*sealed.site).collect();
        let whole = Whole { version: self.version, sites, shields: &content.shields, leads: content.leads.iter().collect() };
        serde_json::to_vec(&whole).map_err(|error| format!("cannot write JSON: {error}"))
    }

    /// What makes this one of another. Compares the sites of both by what they are, and looks into none.
    pub(crate) fn change_from(&self, from: &Self) -> Change {
        let mut change = Change { from: from.version, version: self.version, ..Change::default() };
        let (before, after) = (&from.content, &self.content);
        each_difference(
            before.sites.iter(),
            after.sites.iter(),
            |a, b| Arc::ptr_eq(a, b) || a.digest == b.digest,
            |name, sealed| match sealed {
                Some(sealed) => change.sites.push((*sealed.site).clone()),
                None => change.gone.push(name.clone()),
            },
        );
        if before.shields != after.shields {
            change.shields = Some(after.shields.to_vec());
        }
        let mut leads = BTreeMap::new();
        each_difference(before.leads.iter(), after.leads.iter(), PartialEq::eq, |name, shield| {
            leads.insert(name.clone(), shield.cloned());
        });
        change.leads = leads;
        change
    }
}

impl Tracks {
    /// What a node is to have that has the configuration `has`.
    pub(crate) fn target(&self, node: &str, has: Option<u64>) -> &Arc<Numbered> {
        match &self.rolling {
            Some((rolling, reach)) if reach.has(node) || has.is_some_and(|has| has > self.settled.version) => rolling,
            _ => &self.settled,
        }
    }

    /// All, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Numbered>> {
        [Some(&self.settled), self.rolling.as_ref().map(|(rolling, _)| rolling), Some(&self.newest)].into_iter().flatten()
    }
}

impl Reach {
    /// Whether a node is among them.
    pub(crate) fn has(&self, node: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nodes(nodes) => nodes.contains(node),
        }
    }
}

/// Calls `found` for every name under which `after` has something else than `before`, with what it has.
fn each_difference<'a, V: 'a>(
    before: impl Iterator<Item = (&'a String, &'a V)>,
    after: impl Iterator<Item = (&'a String, &'a V)>,
    same: impl Fn(&V, &V) -> bool,
    mut found: impl FnMut(&String, Option<&V>),
) {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let old = if order == Ordering::Greater { None } else { before.next() };
        let new = if order == Ordering::Less { None } else { after.next() };
        match (old, new) {
            (Some((name, _)), None) => found(name, None),
            (None, Some((name, value))) => found(name, Some(value)),
            (Some((_, a)), Some((name, b))) if !same(a, b) => found(name, Some(b)),
            _ => {}
        }
    }
}
