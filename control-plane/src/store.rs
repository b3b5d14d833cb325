//! What the control plane must not forget, behind one trait: keys with values, transactions that compare, the purge log, and word of changes.
//!
//! Nothing above this module knows how it is kept; only `start` names an implementation. Keys are text, values are JSON. Calls block.

#[cfg(test)]
mod conformance;
mod follow;
mod history;
mod redb;

use std::sync::Arc;

pub(crate) use follow::{FOLLOW_RETRY, Follow, Heard};
pub(crate) use history::Watch;
pub(crate) use redb::Redb;

/// A fault of the store, as a sentence.
pub(crate) type Fault = String;

/// What a key must hold for a transaction to happen.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// The key.
    pub(crate) key: String,
    /// Its value; `None` for no value.
    pub(crate) holds: Option<Vec<u8>>,
}

/// One change of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Give a key a value.
    Put(String, Vec<u8>),
    /// Take a key's value away; none is fine.
    Delete(String),
}

impl Change {
    /// The key.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// Changes that happen all or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    /// All must hold.
    pub(crate) when: Vec<Condition>,
    /// What happens then.
    pub(crate) then: Vec<Change>,
    /// Whether a crash right afterwards may still lose it.
    pub(crate) may_be_lost: bool,
}

/// What happened at once.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Its number.
    pub(crate) revision: u64,
    /// The changes of keys.
    pub(crate) keys: Vec<Change>,
    /// The newest number of the purge log, when something was appended.
    pub(crate) purges: Option<u64>,
}

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// The keys with a prefix.
    Keys(String),
    /// The purge log.
    Purges,
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// What changed after the revision it stands at is not known any more: ask for the revision, read anew, and watch from there.
    Behind,
    /// The store is closed.
    Closed,
}

/// A store.
pub(crate) trait Store: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Fault>;

    /// All keys that start with `prefix`, in order, with their values.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, Fault>;

    /// Does a transaction; false when a condition did not hold and nothing was done.
    fn transact(&self, transaction: &Transaction) -> Result<bool, Fault>;

    /// Appends to the purge log, durably, with numbers above `above`, keeping the last `keep` numbers; the number of the first one appended.
    fn append_purges(&self, entries: &[Vec<u8>], above: u64, keep: u64) -> Result<u64, Fault>;

    /// Entries of the purge log with a number above `after`, at most `limit`, in order.
    fn purges(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Fault>;

    /// The numbers of the oldest and the newest entry kept; `(1, 0)` when there never was one.
    fn purge_bounds(&self) -> Result<(u64, u64), Fault>;

    /// The number of the last change. Every transaction that happened and every append is one change, and the next number.
    fn revision(&self) -> Result<u64, Fault>;

    /// Watches from the change after a revision on. Who asks for the revision, reads, and watches from it misses nothing; what it is told it may
    /// have read already.
    fn watch(&self, subject: Subject, after: u64) -> Watch;

    /// Lets go of the files; later calls are faults, and watches end.
    fn close(&self);
}

/// Runs what blocks on the store away from the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    store: &Arc<dyn Store>,
    work: impl FnOnce(&dyn Store) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || work(&*store)).await.map_err(|error| format!("the store's work failed: {error}"))?
}
