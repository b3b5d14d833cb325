//! The certificates of nodes that were removed, and those that a node had too many of. Nodes are told them, so that no tier serves another by one; each is kept as long as it could count.
//!
//! They go to all nodes at once and outside of the configuration: they wait for no stage of a rollout, and no rollback takes them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use skerry_agent::wire::REVOKED_MAX;
use skerry_transport::private::{self, Fingerprint};
use tokio::sync::watch;

use crate::auth::{hash, hex, unhex};
use crate::clock;
use crate::intent::Issued;
use crate::store::{Change, Store};

const PREFIX: &str = "revoked/";

/// How long a certificate is kept of which it is not known when it ends: those of versions before nodes renewed theirs are valid for ten years.
const UNKNOWN_SECONDS: u64 = 11 * 366 * 86_400;

/// See the module. The table is in the store too.
pub(crate) struct Revoked {
    /// The second since 1970 until which each is kept.
    table: watch::Sender<Arc<BTreeMap<Fingerprint, u64>>>,
}

impl Revoked {
    /// Reads those that still could count. Blocks.
    pub(crate) fn load(store: &dyn Store) -> Result<Self, String> {
        let now = clock::unix_seconds();
        let mut table = BTreeMap::new();
        for (key, value) in store.list(PREFIX)? {
            let wrong = || format!("the store holds something else than a revoked certificate at {key}");
            let fingerprint = key.strip_prefix(PREFIX).and_then(unhex).ok_or_else(wrong)?;
            let until: u64 = serde_json::from_slice(&value).map_err(|_| wrong())?;
            if until >= now {
                table.insert(fingerprint, until);
            }
        }
        Ok(Self { table: watch::Sender::new(Arc::new(table)) })
    }

    /// What revoking these writes, those that no longer could count going. Where they are too many at once, those that end first make room: whoever
    /// removes a node is never refused.
    pub(crate) fn changes<'a>(&self, certificates: impl IntoIterator<Item = &'a Issued>) -> Vec<Change> {
        let fresh = fresh(certificates);
        if fresh.is_empty() {
            return Vec::new();
        }
        let table = self.table.borrow().clone();
        let next = with(&table, fresh);
        let gone = table.keys().filter(|fingerprint| !next.contains_key(*fingerprint)).map(|fingerprint| Change::Delete(key(fingerprint)));
        let more = next.iter().filter(|(fingerprint, until)| table.get(*fingerprint) != Some(*until));
        gone.chain(more.map(|(fingerprint, until)| Change::Put(key(fingerprint), until.to_string().into_bytes()))).collect()
    }

    /// Has nodes told of certificates that are revoked.
    pub(crate) fn add<'a>(&self, certificates: impl IntoIterator<Item = &'a Issued>) {
        let fresh = fresh(certificates);
        if !fresh.is_empty() {
            self.table.send_modify(|table| *table = Arc::new(with(table, fresh)));
        }
    }

    /// Whether a certificate is revoked.
    pub(crate) fn has(&self, issued: &Issued) -> bool {
        unhex(&issued.certificate).is_some_and(|fingerprint| self.table.borrow().contains_key(&fingerprint))
    }

    /// All, and word of changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<BTreeMap<Fingerprint, u64>>> {
        self.table.subscribe()
    }
}

impl Issued {
    /// A certificate as it was issued, DER.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let (begin, ends) = private::life(certificate).unwrap_or_default();
        let grace = ends.saturating_sub(begin).min(private::GRACE_MAX.as_secs());
        Self { certificate: hex(&hash(certificate)), ends, counts_until: ends.saturating_add(grace) }
    }
}

/// Certificates with the second since 1970 until which each could count.
fn fresh<'a>(certificates: impl IntoIterator<Item = &'a Issued>) -> Vec<(Fingerprint, u64)> {
    let unknown = clock::unix_seconds() + UNKNOWN_SECONDS;
    let until = |issued: &Issued| if issued.ends == 0 { unknown } else { issued.counts_until };
    certificates.into_iter().filter_map(|issued| Some((unhex(&issued.certificate)?, until(issued)))).collect()
}

/// A table with more in it, within its bounds.
fn with(table: &BTreeMap<Fingerprint, u64>, fresh: Vec<(Fingerprint, u64)>) -> BTreeMap<Fingerprint, u64> {
    let now = clock::unix_seconds();
    let mut next = table.clone();
    next.extend(fresh);
    next.retain(|_, until| *until >= now);
    let surplus = next.len().saturating_sub(REVOKED_MAX);
    if surplus > 0 {
        let mut ends: Vec<_> = next.iter().map(|(fingerprint, until)| (*until, *fingerprint)).collect();
        ends.sort_unstable();
        for (_, fingerprint) in &ends[..surplus] {
            next.remove(fingerprint);
        }
        tracing::warn!(surplus, "{REVOKED_MAX} certificates are revoked at once; those that end first are so no longer");
    }
    next
}

fn key(fingerprint: &Fingerprint) -> String {
    format!("{PREFIX}{}", hex(fingerprint))
}
