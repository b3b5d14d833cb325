//! What one node is told, in which order: purges it missed first, then the configuration, then whatever comes.

use bytes::Bytes;
use skerry_agent::Role;
use skerry_agent::wire::{
    Ask, Order, PURGE_BYTES_PER_ORDER_MAX, PURGES_PER_ORDER_MAX, Purge, PurgeAllThrough, Purges, Revoked, SNAPSHOT_PART_BYTES_MAX,
    SnapshotPart, Watch, order,
};
use tokio::sync::mpsc;
use tonic::Status;

use super::Standing;
use crate::plane::Plane;
use crate::purges::Next;

/// Tells a node everything until its stream ends; why it did.
pub(super) async fn tell(plane: &Plane, role: Role, standing: Standing, orders: &mpsc::Sender<Result<Order, Status>>) -> String {
    let mut limits = match role {
        Role::Shield => plane.purges.heads(),
        Role::Edge => plane.purges.releases(),
    };
    let mut published = plane.intent.published();
    // That it missed none, or no more: before it hears so it serves nothing that an earlier run stored. What it is told from here on is of the
    // present term, and it has to say so when it comes back.
    let mut told_all = false;
    let mut told_snapshot = standing.snapshot;
    // `None` means that the node stands nowhere in this log.
    let mut told_purges = standing.purge_seq;
    let mut snapshot = None;
    loop {
        let through = *limits.borrow_and_update();
        let what = match next_purges(plane, told_purges, through).await {
            Ok(None) if !told_all => {
                told_all = true;
                Some(purges(plane, Vec::new()))
            }
            Ok(Some((order, seq))) => {
                told_purges = Some(seq);
                Some(order)
            }
            Ok(None) => next_part(&mut snapshot, &mut published, &mut told_snapshot).map(order::What::Snapshot),
            Err(why) => return why,
        };
        match what {
            Some(what) => {
                if orders.send(Ok(Order { what: Some(what) })).await.is_err() {
                    return "the connection ended".to_owned();
                }
            }
            None => tokio::select! {
                _ = limits.changed() => {}
                _ = published.changed() => {}
            },
        }
    }
}

/// Hands questions on, until the stream ends; why it did.
pub(super) async fn ask(mut asks: mpsc::Receiver<Ask>, orders: &mpsc::Sender<Result<Order, Status>>) -> String {
    while let Some(ask) = asks.recv().await {
        if orders.send(Ok(Order { what: Some(order::What::Ask(ask)) })).await.is_err() {
            return "the connection ended".to_owned();
        }
    }
    "connected anew".to_owned()
}

/// Tells a node which sites are watched, until the stream ends; why it did.
pub(super) async fn watch(plane: &Plane, orders: &mpsc::Sender<Result<Order, Status>>) -> String {
    let mut watched = plane.health.watched();
    // A stream begins with none.
    if watched.borrow().is_empty() && watched.changed().await.is_err() {
        return "the control plane stops".to_owned();
    }
    loop {
        let sites = watched.borrow_and_update().iter().cloned().collect();
        if orders.send(Ok(Order { what: Some(order::What::Watch(Watch { sites })) })).await.is_err() {
            return "the connection ended".to_owned();
        }
        if watched.changed().await.is_err() {
            return "the control plane stops".to_owned();
        }
    }
}

/// Tells a node which certificates are revoked, until the stream ends; why it did.
pub(super) async fn revoked(plane: &Plane, orders: &mpsc::Sender<Result<Order, Status>>) -> String {
    let mut revoked = plane.revoked.watch();
    loop {
        let certificates = revoked.borrow_and_update().keys().map(|fingerprint| Bytes::copy_from_slice(fingerprint)).collect();
        if orders.send(Ok(Order { what: Some(order::What::Revoked(Revoked { certificates })) })).await.is_err() {
            return "the connection ended".to_owned();
        }
        if revoked.changed().await.is_err() {
            return "the control plane stops".to_owned();
        }
    }
}

/// The next purges for a node that was told those up to `told`, with the number of the last.
async fn next_purges(plane: &Plane, told: Option<u64>, through: u64) -> Result<Option<(order::What, u64)>, String> {
    let all = || {
        let lineage = &plane.purges.lineage;
        let through = PurgeAllThrough { seq: through, log: lineage.name().to_owned(), earlier: lineage.earlier() };
        (order::What::PurgeAllThrough(through.clone()), through.seq)
    };
    let Some(told) = told else { return Ok(Some(all())) };
    if told >= through {
        return Ok(None);
    }
    match plane.purges.next(told, through, PURGES_PER_ORDER_MAX, PURGE_BYTES_PER_ORDER_MAX).await? {
        Next::Cut => Ok(Some(all())),
        Next::Entries(entries) => Ok(entries.last().map(|last| {
            let list = entries.iter().map(|entry| Purge { seq: entry.seq, targets: entry.targets.clone() });
            (purges(plane, list.collect()), last.seq)
        })),
    }
}

fn purges(plane: &Plane, purges: Vec<Purge>) -> order::What {
    let lineage = &plane.purges.lineage;
    order::What::Purges(Purges { purges, log: lineage.name().to_owned(), earlier: lineage.earlier() })
}

/// A snapshot on its way.
struct Sending {
    version: u64,
    total_bytes: u64,
    rest: Bytes,
}

/// The next piece of the snapshot on its way, or the first of one the node was not told.
fn next_part(
    sending: &mut Option<Sending>,
    published: &mut tokio::sync::watch::Receiver<std::sync::Arc<crate::intent::Published>>,
    told: &mut Option<u64>,
) -> Option<SnapshotPart> {
    if sending.is_none() {
        let newest = std::sync::Arc::clone(&published.borrow_and_update());
        if *told == Some(newest.version) {
            return None;
        }
        *told = Some(newest.version);
        let total_bytes = u64::try_from(newest.json.len()).unwrap_or(u64::MAX);
        *sending = Some(Sending { version: newest.version, total_bytes, rest: newest.json.clone() });
    }
    let now = sending.as_mut()?;
    let part = now.rest.split_to(now.rest.len().min(SNAPSHOT_PART_BYTES_MAX));
    let piece = SnapshotPart { version: now.version, total_bytes: now.total_bytes, part };
    if now.rest.is_empty() {
        *sending = None;
    }
    Some(piece)
}
