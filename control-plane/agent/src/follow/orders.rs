//! Carrying out orders: purges in their order, snapshots put together, checked, adopted and kept.

use std::sync::Arc;

use skerry_config::purge::Purge;
use skerry_config::snapshot::{Change, Snapshot};

use crate::keep;
use crate::place::{EARLIER_MAX, Earlier, Place};
use crate::wire::{self, Adopted, PurgeAllThrough, Purges, Refused, SNAPSHOT_BYTES_MAX, SnapshotChange, SnapshotPart, report};
use crate::{Duties, Inner};

/// What one stream has ordered so far.
pub(super) struct Desk {
    inner: Arc<Inner>,
    duties: Arc<dyn Duties>,
    /// The snapshot that is arriving.
    arriving: Option<Arriving>,
}

struct Arriving {
    version: u64,
    total_bytes: usize,
    json: Vec<u8>,
}

impl Desk {
    pub(super) fn new(inner: Arc<Inner>, duties: Arc<dyn Duties>) -> Self {
        Self { inner, duties, arriving: None }
    }

    /// Puts purges in force, and takes the name of their log. Those in force already are left out; a gap is an error. None say that there are no
    /// more for now.
    pub(super) fn purges(&self, purges: Purges) -> Result<(), String> {
        let mut seq = self.inner.position.applied().seq;
        let is_last = purges.purges.is_empty();
        let mut fresh = Vec::with_capacity(purges.purges.len());
        for purge in purges.purges {
            if purge.seq <= seq {
                continue;
            }
            if purge.seq != seq + 1 {
                return Err(format!("purge {} follows {seq}", purge.seq));
            }
            let targets = serde_json::from_slice(&purge.targets).map_err(|error| format!("purge {} cannot be read: {error}", purge.seq))?;
            seq = purge.seq;
            fresh.push(Purge { seq, targets });
        }
        if !fresh.is_empty() {
            self.duties.purge(&fresh);
        }
        self.inner.position.advance(Place { log: purges.log, seq, earlier: earlier(purges.earlier) });
        if is_last {
            self.duties.caught_up();
        }
        Ok(())
    }

    /// Drops everything and stands at another place.
    pub(super) fn purge_all_through(&self, through: PurgeAllThrough) {
        // A node that never stood anywhere has nothing to drop: it has just joined.
        if *self.inner.position.applied() != Place::default() {
            tracing::warn!(seq = through.seq, "the purge log does not reach back to where this node stood, dropping everything stored");
        }
        self.duties.purge_all_through(through.seq);
        self.inner.position.advance(Place { log: through.log, seq: through.seq, earlier: earlier(through.earlier) });
    }

    /// Takes a piece of a snapshot; after the last one, what to report. An error means that the pieces do not fit.
    pub(super) async fn snapshot_part(&mut self, part: SnapshotPart) -> Result<Option<report::What>, String> {
        let total_bytes = usize::try_from(part.total_bytes).unwrap_or(usize::MAX);
        if total_bytes > SNAPSHOT_BYTES_MAX {
            return Err(format!("snapshot {} has {total_bytes} bytes, at most {SNAPSHOT_BYTES_MAX} are taken", part.version));
        }
        let fresh = || Arriving { version: part.version, total_bytes, json: Vec::with_capacity(total_bytes) };
        let mut arriving = self.arriving.take().unwrap_or_else(fresh);
        let fits = arriving.version == part.version
            && arriving.total_bytes == total_bytes
            && arriving.json.len() + part.part.len() <= total_bytes
            && !part.part.is_empty();
        if !fits {
            return Err(format!("a piece of snapshot {} does not fit snapshot {}", part.version, arriving.version));
        }
        arriving.json.extend_from_slice(&part.part);
        if arriving.json.len() < total_bytes {
            self.arriving = Some(arriving);
            return Ok(None);
        }
        let version = arriving.version;
        self.report(version, move |inner, duties| adopt_whole(inner, duties, &arriving)).await.map(Some)
    }

    /// Makes the next snapshot of the one in force; what to report. An error means that it is made for another one.
    pub(super) async fn snapshot_change(&mut self, order: SnapshotChange) -> Result<report::What, String> {
        if self.arriving.is_some() {
            return Err(format!("a change to snapshot {} came between the pieces of another", order.to));
        }
        self.report(order.to, move |inner, duties| adopt_change(inner, duties, &order)).await
    }

    /// Has a snapshot adopted, and says what came of it.
    async fn report(
        &self,
        version: u64,
        adopt: impl FnOnce(&Inner, &dyn Duties) -> Result<(), Untaken> + Send + 'static,
    ) -> Result<report::What, String> {
        let duties = Arc::clone(&self.duties);
        let done = super::blocking(&self.inner, move |inner| Ok(adopt(inner, &*duties))).await;
        match done.unwrap_or_else(|reason| Err(reason.into())) {
            Ok(()) => {
                tracing::info!(version, "snapshot in force");
                Ok(report::What::Adopted(Adopted { version }))
            }
            Err(Untaken::Refused { reason, sites }) => {
                tracing::error!(version, reason, ?sites, "snapshot refused, the one before stays in force");
                Ok(report::What::Refused(Refused { version, reason, sites }))
            }
            Err(Untaken::Elsewhere(why)) => Err(why),
        }
    }
}

/// Why a snapshot is not taken.
enum Untaken {
    /// It cannot be run. The sites are those at fault, when it is known that it is they.
    Refused { reason: String, sites: Vec<String> },
    /// It is made for another one than what is in force.
    Elsewhere(String),
}

impl From<String> for Untaken {
    fn from(reason: String) -> Self {
        Self::Refused { reason, sites: Vec::new() }
    }
}

/// The logs before this one, as far as they are kept.
fn earlier(mut told: Vec<wire::Earlier>) -> Vec<Earlier> {
    told.drain(..told.len().saturating_sub(EARLIER_MAX));
    told.into_iter().map(|wire::Earlier { log, through }| Earlier { log, through }).collect()
}

/// Checks, adopts and keeps a whole snapshot. What an earlier stream began to adopt comes before it.
fn adopt_whole(inner: &Inner, duties: &dyn Duties, arrived: &Arriving) -> Result<(), Untaken> {
    let mut kept = inner.snapshots.lock();
    let document = keep::parse_document(&arrived.json)?;
    says(document.version, arrived.version)?;
    if let Some(now) = inner.snapshot.load_full().filter(|now| now.version() >= arrived.version) {
        // What is kept on disk relies on it: changes left there of higher numbers would be taken for ones that follow.
        let why = format!("snapshot {} cannot follow {}, which is in force: numbers only rise", arrived.version, now.version());
        return Err(Untaken::Elsewhere(why));
    }
    put_in_force(inner, duties, Snapshot::build(document).map_err(|faults| keep::one_line(&faults))?)?;
    stays_in_force(arrived.version, kept.put(arrived.version, &arrived.json));
    Ok(())
}

/// Checks and adopts what a change makes of the snapshot in force, and keeps the change.
fn adopt_change(inner: &Inner, duties: &dyn Duties, order: &SnapshotChange) -> Result<(), Untaken> {
    let mut kept = inner.snapshots.lock();
    let now = inner
        .snapshot
        .load_full()
        .filter(|now| now.version() == order.from)
        .ok_or_else(|| Untaken::Elsewhere(format!("a change to snapshot {} is for {}, which is not in force", order.to, order.from)))?;
    let change: Change = serde_json::from_slice(&order.json).map_err(|error| format!("the change cannot be read: {error}"))?;
    says(change.version, order.to)?;
    let snapshot = now.apply(change.clone()).map_err(|faults| {
        let sites = change.accused(&faults);
        Untaken::Refused { reason: keep::one_line(&faults), sites }
    })?;
    let snapshot = put_in_force(inner, duties, snapshot)?;
    stays_in_force(order.to, kept.change(order.from, &order.json, &snapshot));
    Ok(())
}

fn says(version: u64, ordered: u64) -> Result<(), String> {
    if version == ordered { Ok(()) } else { Err(format!("the document says version {version}, its order {ordered}")) }
}

fn put_in_force(inner: &Inner, duties: &dyn Duties, snapshot: Snapshot) -> Result<Arc<Snapshot>, String> {
    let snapshot = duties.share(Arc::new(snapshot));
    duties.adopt(Arc::clone(&snapshot))?;
    inner.snapshot.store(Some(Arc::clone(&snapshot)));
    Ok(snapshot)
}

/// In force all the same where it could not be kept: only a restart while the control plane is away would begin with the one before.
fn stays_in_force(version: u64, kept: Result<(), String>) {
    if let Err(error) = kept {
        tracing::error!(version, error, "the snapshot is in force but not on disk");
    }
}

#[cfg(test)]
mod tests;
