//! The certificates of nodes that were removed. Nodes are told them, so that no tier serves another by one; each is kept as long as it could count.
//!
//! They go to all nodes at once and outside of the configuration: they wait for no stage of a rollout, and no rollback takes them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use skerry_agent::wire::REVOKED_MAX;
use skerry_transport::private::{self, Fingerprint};
use tokio::sync::watch;

use crate::auth::{hash, hex, unhex};
use crate::clock;
use crate::intent::{Issued, Node};
use crate::refusal::Refusal;
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

    /// What removing a node writes: all of its certificates that could count, and away with those that no longer could.
    pub(crate) fn changes(&self, node: &Node) -> Result<Vec<Change>, Refusal> {
        let now = clock::unix_seconds();
        let table = self.table.borrow().clone();
        let gone = table.iter().filter(|(_, until)| **until < now).map(|(fingerprint, _)| Change::Delete(key(fingerprint)));
        let mut changes: Vec<Change> = gone.collect();
        let kept = table.len() - changes.len();
        let fresh = of(node, now);
        if kept + fresh.len() > REVOKED_MAX {
            let first = table.values().filter(|until| **until >= now).min().copied().unwrap_or(now);
            let says = format!(
                "{kept} certificates of removed nodes are still valid, and {REVOKED_MAX} can be revoked at once; the first of them ends {}",
                clock::of_seconds(first)
            );
            return Err(Refusal::Conflict(says));
        }
        changes.extend(fresh.iter().map(|(fingerprint, until)| Change::Put(key(fingerprint), until.to_string().into_bytes())));
        Ok(changes)
    }

    /// Has nodes told of a node that was removed.
    pub(crate) fn add(&self, node: &Node) {
        let now = clock::unix_seconds();
        self.table.send_modify(|table| {
            let mut next = (**table).clone();
            next.retain(|_, until| *until >= now);
            next.extend(of(node, now));
            *table = Arc::new(next);
        });
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

/// The certificates of a node that could count, with the second until which they could.
fn of(node: &Node, now: u64) -> Vec<(Fingerprint, u64)> {
    let all = node.former.iter().chain(&node.next).chain([&node.issued]);
    let until = |issued: &Issued| if issued.ends == 0 { now + UNKNOWN_SECONDS } else { issued.counts_until };
    all.filter_map(|issued| Some((unhex(&issued.certificate)?, until(issued)))).filter(|(_, until)| *until >= now).collect()
}

fn key(fingerprint: &Fingerprint) -> String {
    format!("{PREFIX}{}", hex(fingerprint))
}
