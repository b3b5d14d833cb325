//! What one node is told, in which order: purges it missed first, then the configuration, then whatever comes.

use std::sync::Arc;

use bytes::Bytes;
use skerry_agent::Role;
use skerry_agent::wire::{
    Ask, Order, PURGE_BYTES_PER_ORDER_MAX, PURGES_PER_ORDER_MAX, Purge, PurgeAllThrough, Purges, Revoked, SNAPSHOT_PART_BYTES_MAX,
    SnapshotChange, SnapshotPart, Watch, order,
};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;
use tonic::codegen::BoxStream;

use super::answers::{Answered, Awaited};
use super::{Peer, Standing};
use crate::intent::{Encoded, Tracks};
use crate::plane::Plane;
use crate::purges::Next;

/// Nodes that are told of a purge in a millisecond, on two cores.
const NODES_TOLD_A_MS: usize = 200;

/// The longest that an edge is to wait before it confirms, in milliseconds: who waits for all of them waits no longer than that more.
const CONFIRM_AFTER_MS_MAX: u32 = 10;

/// What an edge or a shield is told of purges and configurations. It is polled by what writes to the node's connection, so that a purge is not handed from task
/// to task on its way there.
pub(super) struct Telling {
    plane: Arc<Plane>,
    role: Role,
    limits: watch::Receiver<u64>,
    snapshots: Snapshots,
    /// That it missed none, or no more: before it hears so it serves nothing that an earlier run stored. What it is told from here on is of the
    /// present term, and it has to say so when it comes back.
    told_all: bool,
    /// `None` means that the node stands nowhere in this log.
    told_purges: Option<u64>,
}

impl Telling {
    pub(super) fn new(
        plane: &Arc<Plane>,
        peer: &Peer,
        standing: &Standing,
        answers: watch::Receiver<Answered>,
        awaited: Arc<Awaited>,
    ) -> Self {
        let limits = match peer.role {
            Role::Shield => plane.purges.heads(),
            Role::Edge | Role::Dns => plane.purges.releases(),
        };
        let tracks = plane.intent.published();
        let snapshots = Snapshots { node: peer.name.clone(), tracks, answers, awaited, sent: None, parts: None };
        Self { plane: Arc::clone(plane), role: peer.role, limits, snapshots, told_all: false, told_purges: standing.purge_seq }
    }

    /// All orders, until there is a reason that there can be no more: it goes to `over`.
    pub(super) fn stream(self, over: oneshot::Sender<String>) -> BoxStream<Order> {
        let orders = futures_util::stream::unfold(Some((self, over)), |state| async move {
            let (mut telling, over) = state?;
            match telling.next().await {
                Ok(what) => Some((Ok(Order { what: Some(what) }), Some((telling, over)))),
                Err(why) => {
                    // An error means that nobody wants to know.
                    let _ = over.send(why);
                    None
                }
            }
        });
        Box::pin(orders)
    }

    /// The next order, once there is one to give.
    async fn next(&mut self) -> Result<order::What, String> {
        loop {
            let through = *self.limits.borrow_and_update();
            match self.next_purges(through).await? {
                Some((order, seq)) => {
                    self.told_purges = Some(seq);
                    return Ok(order);
                }
                None if !self.told_all => {
                    self.told_all = true;
                    return Ok(self.purges(Vec::new()));
                }
                None => {}
            }
            if let Some(what) = self.snapshots.next(&self.plane).await? {
                return Ok(what);
            }
            tokio::select! {
                _ = self.limits.changed() => {}
                () = self.snapshots.moved() => {}
            }
        }
    }

    /// The next purges for a node that was told those before, with the number of the last.
    async fn next_purges(&self, through: u64) -> Result<Option<(order::What, u64)>, String> {
        let plane = &self.plane;
        let all = || {
            let lineage = &plane.purges.lineage;
            let through = PurgeAllThrough { seq: through, log: lineage.name().to_owned(), earlier: lineage.earlier() };
            (order::What::PurgeAllThrough(through.clone()), through.seq)
        };
        let Some(told) = self.told_purges else { return Ok(Some(all())) };
        if told >= through {
            return Ok(None);
        }
        match plane.purges.next(told, through, PURGES_PER_ORDER_MAX, PURGE_BYTES_PER_ORDER_MAX).await? {
            Next::Cut => Ok(Some(all())),
            Next::Entries(entries) => Ok(entries.last().map(|last| {
                let list = entries.iter().map(|entry| Purge { seq: entry.seq, targets: entry.targets.clone() });
                (self.purges(list.collect()), last.seq)
            })),
        }
    }

    fn purges(&self, purges: Vec<Purge>) -> order::What {
        let lineage = &self.plane.purges.lineage;
        let confirm_after_ms = match self.role {
            // Edges wait for its word.
            Role::Shield => 0,
            Role::Edge | Role::Dns => confirm_after_ms(self.plane.health.acks.connected()),
        };
        order::What::Purges(Purges { purges, log: lineage.name().to_owned(), earlier: lineage.earlier(), confirm_after_ms })
    }
}

/// How long an edge may wait before it confirms: about as long as it takes to tell so many nodes. Their words come when all are told, rather than between.
fn confirm_after_ms(nodes: usize) -> u32 {
    u32::try_from(nodes / NODES_TOLD_A_MS).unwrap_or(u32::MAX).min(CONFIRM_AFTER_MS_MAX)
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

/// The configurations one node is sent, one at a time: the next one goes when it has said what became of the last, so that what it gets is a change
/// of what it has, and what came meanwhile is one change.
struct Snapshots {
    node: String,
    tracks: watch::Receiver<Arc<Tracks>>,
    answers: watch::Receiver<Answered>,
    awaited: Arc<Awaited>,
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

impl Snapshots {
    /// The next order, if there is one to give.
    async fn next(&mut self, plane: &Plane) -> Result<Option<order::What>, String> {
        if self.parts.is_none() {
            let answered = *self.answers.borrow_and_update();
            let target = Arc::clone(self.tracks.borrow_and_update().target(&self.node, answered.has));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skerry_agent::wire::CONFIRM_AFTER_MAX;

    use super::*;

    #[test]
    fn the_word_of_an_edge_waits_only_where_many_are_told_and_not_for_long() {
        let waits = [0, 1, 199, 200, 1_000, 10_000, usize::MAX].map(confirm_after_ms);
        assert_eq!(waits, [0, 0, 0, 1, 5, CONFIRM_AFTER_MS_MAX, CONFIRM_AFTER_MS_MAX]);
        assert!(Duration::from_millis(CONFIRM_AFTER_MS_MAX.into()) <= CONFIRM_AFTER_MAX, "nodes would not wait so long");
    }
}
