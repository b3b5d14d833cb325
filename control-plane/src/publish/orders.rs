//! What one node is told, in which order: purges it missed first, then the configuration, then whatever comes.

use std::sync::Arc;

use bytes::Bytes;
use skerry_agent::Role;
use skerry_agent::wire::{
    Ask, Order, PURGE_BYTES_PER_ORDER_MAX, PURGES_PER_ORDER_MAX, Purge, PurgeAllThrough, Purges, Revoked, SNAPSHOT_PART_BYTES_MAX,
    SnapshotChange, SnapshotPart, Watch, order,
};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::answers::{Answered, Awaited};
use super::{Peer, Standing};
use crate::intent::{Encoded, Tracks};
use crate::plane::Plane;
use crate::purges::Next;

/// Tells a node everything until its stream ends; why it did.
pub(super) async fn tell(
    plane: &Plane,
    peer: &Peer,
    standing: Standing,
    (answers, awaited): (watch::Receiver<Answered>, &Awaited),
    orders: &mpsc::Sender<Result<Order, Status>>,
) -> String {
    let mut limits = match peer.role {
        Role::Shield => plane.purges.heads(),
        Role::Edge | Role::Dns => plane.purges.releases(),
    };
    let mut snapshots = Snapshots { node: &peer.name, tracks: plane.intent.published(), answers, awaited, sent: None, parts: None };
    // That it missed none, or no more: before it hears so it serves nothing that an earlier run stored. What it is told from here on is of the
    // present term, and it has to say so when it comes back.
    let mut told_all = false;
    // `None` means that the node stands nowhere in this log.
    let mut told_purges = standing.purge_seq;
    loop {
        let through = *limits.borrow_and_update();
        let what = match next_purges(plane, told_purges, through).await {
            Ok(None) if !told_all => {
                told_all = true;
                Ok(Some(purges(plane, Vec::new())))
            }
            Ok(Some((order, seq))) => {
                told_purges = Some(seq);
                Ok(Some(order))
            }
            Ok(None) => snapshots.next(plane).await,
            Err(why) => Err(why),
        };
        match what {
            Ok(Some(what)) => {
                if orders.send(Ok(Order { what: Some(what) })).await.is_err() {
                    return "the connection ended".to_owned();
                }
            }
            Ok(None) => tokio::select! {
                _ = limits.changed() => {}
                () = snapshots.moved() => {}
            },
            Err(why) => return why,
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

/// The configurations one node is sent, one at a time: the next one goes when it has said what became of the last, so that what it gets is a change
/// of what it has, and what came meanwhile is one change.
struct Snapshots<'a> {
    node: &'a str,
    tracks: watch::Receiver<Arc<Tracks>>,
    answers: watch::Receiver<Answered>,
    awaited: &'a Awaited,
    /// The last one that was sent.
    sent: Option<u64>,
    /// What is left of it.
    parts: Option<Parts>,
}

/// A whole configuration on its way.
struct Parts {
    version: u64,
    total_bytes: u64,
    rest: Bytes,
}

impl Snapshots<'_> {
    /// The next order, if there is one to give.
    async fn next(&mut self, plane: &Plane) -> Result<Option<order::What>, String> {
        if self.parts.is_none() {
            let answered = *self.answers.borrow_and_update();
            let target = Arc::clone(self.tracks.borrow_and_update().target(self.node, answered.has));
            if answered.last < self.sent || answered.has == Some(target.version) || self.sent == Some(target.version) {
                return Ok(None);
            }
            if let Some(has) = answered.has.filter(|has| *has > target.version) {
                // The number on a node never falls: what it is to have gets a higher one, of which word comes.
                plane.intent.lift(has).await.map_err(|refusal| refusal.says().to_owned())?;
                return Ok(None);
            }
            self.sent = Some(target.version);
            self.awaited.sent(target.version);
            let rest = match plane.intent.encoded(answered.has, &target).await? {
                Encoded::Change(json) => {
                    let from = answered.has.unwrap_or_default();
                    return Ok(Some(order::What::SnapshotChange(SnapshotChange { from, to: target.version, json })));
                }
                Encoded::Whole(json) => json,
            };
            let total_bytes = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            self.parts = Some(Parts { version: target.version, total_bytes, rest });
        }
        Ok(self.next_part().map(order::What::Snapshot))
    }

    fn next_part(&mut self) -> Option<SnapshotPart> {
        let now = self.parts.as_mut()?;
        let part = now.rest.split_to(now.rest.len().min(SNAPSHOT_PART_BYTES_MAX));
        let piece = SnapshotPart { version: now.version, total_bytes: now.total_bytes, part };
        if now.rest.is_empty() {
            self.parts = None;
        }
        Some(piece)
    }

    /// Waits for another configuration, or for what the node says.
    async fn moved(&mut self) {
        tokio::select! {
            _ = self.tracks.changed() => {}
            _ = self.answers.changed() => {}
        }
    }
}
