//! Which history a node's position is of. Every start of the control plane begins a term with a name of its own and notes where the one
//! before ended: a store that was put back to an older copy gives the same numbers to other purges and configurations, and only
//! the names tell them apart.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skerry_agent::place::EARLIER_MAX;
use skerry_agent::wire::Earlier;

use crate::auth;
use crate::store::{Change, Store, Transaction};

const KEY: &str = "meta/lineage";

/// Terms remembered; a node of an older one drops everything.
const TERMS_MAX: usize = 1_000;

/// The terms of this store, the present one last.
pub(crate) struct Lineage {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Term {
    name: String,
    /// The newest purge when it began.
    purge_seq: u64,
    /// The configuration when it began.
    snapshot: u64,
}

/// The last numbers that are of one history with the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Of purges.
    pub(crate) purge_seq: u64,
    /// Of configurations.
    pub(crate) snapshot: u64,
}

impl Lineage {
    /// Begins a term at the numbers of the store. Blocks.
    pub(super) fn begin(store: &Arc<dyn Store>, purge_seq: u64, snapshot: u64) -> Result<Self, String> {
        let mut terms: Vec<Term> = match store.get(KEY)? {
            Some(json) => {
                serde_json::from_slice(&json).map_err(|error| format!("the store holds something else than terms at {KEY}: {error}"))?
            }
            None => Vec::new(),
        };
        terms.drain(..terms.len().saturating_sub(TERMS_MAX - 1));
        terms.push(Term { name: auth::hex(&auth::random()?[..16]), purge_seq, snapshot });
        let json = serde_json::to_vec(&terms).map_err(|error| error.to_string())?;
        store.transact(&Transaction { then: vec![Change::Put(KEY.to_owned(), json)], ..Transaction::default() })?;
        Ok(Self { terms })
    }

    /// The name of the present term.
    pub(crate) fn name(&self) -> &str {
        self.terms.last().map_or("", |term| &term.name)
    }

    /// The terms before the present one that nodes are told of, the newest last.
    pub(crate) fn earlier(&self) -> Vec<Earlier> {
        let ends = self.terms.iter().zip(self.terms.iter().skip(1)).rev().take(EARLIER_MAX);
        ends.map(|(term, next)| Earlier { log: term.name.clone(), through: next.purge_seq }).rev().collect()
    }

    /// How far what was said in a term is of our history; `None` when we know nothing of it.
    pub(crate) fn reach(&self, name: &str) -> Option<Reach> {
        let index = self.terms.iter().position(|term| term.name == name)?;
        let end = self.terms.get(index + 1).map(|next| Reach { purge_seq: next.purge_seq, snapshot: next.snapshot });
        Some(end.unwrap_or(Reach { purge_seq: u64::MAX, snapshot: u64::MAX }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Redb;

    #[test]
    fn a_term_reaches_to_where_the_next_one_began_in_this_store() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Redb::open(&directory.path().join("store")).unwrap());
        let first = Lineage::begin(&store, 0, 1).unwrap();
        let second = Lineage::begin(&store, 5, 2).unwrap();
        assert_eq!(second.reach(first.name()), Some(Reach { purge_seq: 5, snapshot: 2 }));
        assert_eq!(second.reach(second.name()), Some(Reach { purge_seq: u64::MAX, snapshot: u64::MAX }));
        assert_eq!(first.reach(second.name()), None);
        assert_eq!(second.earlier(), [Earlier { log: first.name().to_owned(), through: 5 }]);
        assert_eq!(second.reach(""), None);
        let mut last = second;
        for _ in 0..TERMS_MAX {
            last = Lineage::begin(&store, 5, 2).unwrap();
        }
        assert_eq!((last.earlier().len(), last.earlier().last().map(|term| term.through)), (EARLIER_MAX, Some(5)));
        assert_eq!((last.terms.len(), last.reach(first.name())), (TERMS_MAX, None));
    }
}
