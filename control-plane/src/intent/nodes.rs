//! The nodes that were let in: what they are, where they are, whether they are drained. How they do is `health`'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skerry_agent::Role;
use skerry_dns::state::WEIGHT_USUAL;
use utoipa::ToSchema;

use super::Intent;
use super::draft::Draft;
use crate::clock;
use crate::refusal::Refusal;
use crate::revoked::Revoked;
use crate::store::{Change, Transaction};

pub(super) const PREFIX: &str = "node/";

/// The most that a node may cost, in milliseconds.
const COST_MS_MAX: u32 = 1_000;

/// Nodes at most.
pub(crate) const NODES_MAX: usize = 10_000;

/// Certificates of one node at most that were issued before and are still valid, beside the one by which it follows and the next one. Each one more
/// revokes the oldest of them.
const FORMER_MAX: usize = 8;

/// A node that has so many gets another one only after this part of a certificate's life: so it has at most so many revoked in the time of a life,
/// and takes no other's place among those that are.
const REISSUE_PART: u64 = 90;

/// A node that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// `edge`, `shield` or `dns`.
    pub(crate) role: String,
    /// Its region.
    pub(crate) region: String,
    /// The certificate by which it follows.
    #[serde(flatten)]
    pub(crate) issued: Issued,
    /// One that was issued for it and that it has not used yet: both count until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Issued>,
    /// Those before, as long as they are valid: removing the node revokes them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<Issued>,
    /// The SHA-256 of the secret of the token it joined with, in hexadecimal: with it, and the same key, it may ask again.
    pub(crate) token: String,
    /// Whether it gets no new clients.
    pub(crate) drained: bool,
    /// How DNS takes it into account (edges).
    #[serde(default, skip_serializing_if = "Steering::is_default")]
    pub(crate) steering: Steering,
    /// The addresses it was last reached by (edges).
    pub(crate) addresses: Vec<IpAddr>,
    /// Where edges reach it (shields).
    pub(crate) tier_address: Option<SocketAddr>,
    /// When it joined, RFC 3339.
    pub(crate) joined_at: String,
}

/// How an operator has DNS take an edge into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Steering {
    /// The share of the clients it would have that it is given, in percent, 0 to 100: with 0 it gets clients only while no other edge can answer.
    #[schema(maximum = 100)]
    pub(crate) weight: u32,
    /// What it costs beside others, in milliseconds, 0 to 1,000: it counts as so much farther away.
    #[schema(maximum = 1000)]
    pub(crate) cost_ms: u32,
}

impl Default for Steering {
    /// The whole share, at no cost.
    fn default() -> Self {
        Self { weight: WEIGHT_USUAL, cost_ms: 0 }
    }
}

impl Steering {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn check(self) -> Result<(), Refusal> {
        if self.weight > WEIGHT_USUAL {
            let says = format!("weight {} is more than the whole share; write 0 to {WEIGHT_USUAL}", self.weight);
            return Err(Refusal::Malformed(says));
        }
        if self.cost_ms > COST_MS_MAX {
            let says = format!("cost_ms {} is farther than any edge is away; write 0 to {COST_MS_MAX}", self.cost_ms);
            return Err(Refusal::Malformed(says));
        }
        Ok(())
    }
}

/// A certificate that was issued for a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    /// Its SHA-256, in hexadecimal.
    pub(crate) certificate: String,
    /// When it ends, in seconds since 1970; 0 where that is not known.
    #[serde(default)]
    pub(crate) ends: u64,
    /// Until when it counts nevertheless, in seconds since 1970.
    #[serde(default)]
    pub(crate) counts_until: u64,
}

impl Node {
    /// Puts a certificate among those before. Those that are too many from then on, the oldest, are to be revoked.
    fn leave(&mut self, issued: Issued) -> Vec<Issued> {
        self.former.push(issued);
        self.prune();
        let surplus = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..surplus).collect()
    }

    fn prune(&mut self) {
        let now = clock::unix_seconds();
        self.former.retain(|former| former.ends == 0 || former.counts_until >= now);
    }

    /// Whether another certificate may be issued for it.
    fn check_reissue(&mut self, issued: &Issued) -> Result<(), Refusal> {
        self.prune();
        let last = self.next.as_ref().unwrap_or(&self.issued).ends;
        let life = issued.ends.saturating_sub(clock::unix_seconds());
        let (from, wait) = (last.saturating_add(life / REISSUE_PART), life / REISSUE_PART);
        if self.former.len() + usize::from(self.next.is_some()) < FORMER_MAX || issued.ends >= from {
            return Ok(());
        }
        let says = format!(
            "more than {FORMER_MAX} certificates of node {:?} are still valid; another one is issued {} s after the last one, not {} s after it",
            self.name,
            wait,
            issued.ends.saturating_sub(last)
        );
        Err(Refusal::Conflict(says))
    }

    /// All of its certificates that could still count.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Issued> {
        self.former.iter().chain(&self.next).chain([&self.issued])
    }

    /// What it is.
    pub(crate) fn role(&self) -> Option<Role> {
        Role::from_word(&self.role)
    }
}

impl Intent {
    /// The node of that name.
    pub(crate) fn node(&self, name: &str) -> Result<Arc<Node>, Refusal> {
        self.state().nodes.get(name).cloned().ok_or_else(|| missing(name))
    }

    /// Lets a node in; `token` marks its token used, so that both happen or neither. A node that was let in with it before, and asks
    /// `again`, must still be there: removing a node takes its token with it.
    pub(crate) async fn admit_node(&self, mut node: Node, mut token: Transaction, again: bool, revoked: &Revoked) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        match state.nodes.get(&node.name) {
            Some(known) if known.token != node.token => {
                let says = format!("the name {:?} is taken by a {} that joined before; remove that node first", node.name, known.role);
                return Err(Refusal::Conflict(says));
            }
            None if again => return Err(Refusal::with_its_token(&node.name)),
            None if state.nodes.size() >= NODES_MAX => {
                return Err(Refusal::Conflict(format!("there are {NODES_MAX} nodes already; remove one first")));
            }
            _ => {}
        }
        let mut surplus = Vec::new();
        if let Some(known) = state.nodes.get(&node.name) {
            let mut known = Node::clone(known);
            known.check_reissue(&node.issued)?;
            node.former = known.former;
            for issued in [Some(known.issued), known.next].into_iter().flatten() {
                surplus.extend(node.leave(issued));
            }
        }
        token.then.extend(revoked.changes(&surplus));
        self.replace(node, token).await?;
        revoked.add(&surplus);
        Ok(())
    }

    /// Keeps the addresses that a node says it has.
    pub(crate) async fn place_node(&self, name: &str, addresses: Vec<IpAddr>, tier_address: Option<SocketAddr>) -> Result<(), Refusal> {
        self.change_node(name, |node| {
            node.addresses = addresses;
            node.tier_address = tier_address;
        })
        .await
    }

    /// Drains a node, or gives it clients again.
    pub(crate) async fn drain_node(&self, name: &str, drained: bool) -> Result<(), Refusal> {
        self.change_node(name, |node| node.drained = drained).await
    }

    /// Sets how DNS takes an edge into account; a field that is not given stays as it is.
    pub(crate) async fn steer_node(&self, name: &str, weight: Option<u32>, cost_ms: Option<u32>) -> Result<(), Refusal> {
        let node = self.node(name)?;
        if node.role() != Some(Role::Edge) {
            let says = format!("node {name:?} is a {} node, and DNS answers with edges; give the name of an edge", node.role);
            return Err(Refusal::Malformed(says));
        }
        let with =
            |steering: Steering| Steering { weight: weight.unwrap_or(steering.weight), cost_ms: cost_ms.unwrap_or(steering.cost_ms) };
        with(node.steering).check()?;
        self.change_node(name, |node| node.steering = with(node.steering)).await
    }

    /// Another certificate was issued for a node that follows by `by`.
    pub(crate) async fn renew_node(&self, name: &str, by: &str, issued: Issued, revoked: &Revoked) -> Result<(), Refusal> {
        let change = |node: &mut Node| {
            if node.issued.certificate != by {
                return Err(Refusal::Conflict(format!("node {name:?} follows by another certificate")));
            }
            node.check_reissue(&issued)?;
            Ok(node.next.replace(issued).map(|unused| node.leave(unused)).unwrap_or_default())
        };
        self.reissue_node(name, change, revoked).await
    }

    /// Takes a certificate of ours for the next one of a node, if it ends after all that the store has of it: it was issued after the copy to which the store
    /// was put back. One that was issued before them was replaced, and counts for nothing.
    pub(crate) async fn recognise_node(&self, name: &str, issued: Issued, revoked: &Revoked) -> Result<Arc<Node>, Refusal> {
        let change = |node: &mut Node| {
            if revoked.has(&issued) || node.certificates().any(|known| known.ends >= issued.ends) {
                return Err(Refusal::Conflict(format!("the certificate is not the last one of node {name:?}")));
            }
            Ok(node.next.replace(issued).map(|unused| node.leave(unused)).unwrap_or_default())
        };
        self.reissue_node(name, change, revoked).await?;
        self.node(name)
    }

    /// A node has used the certificate that was issued for it last.
    pub(crate) async fn use_renewed(&self, name: &str, revoked: &Revoked) -> Result<(), Refusal> {
        let change = |node: &mut Node| {
            let Some(next) = node.next.take() else { return Ok(Vec::new()) };
            let before = std::mem::replace(&mut node.issued, next);
            Ok(node.leave(before))
        };
        self.reissue_node(name, change, revoked).await
    }

    /// Forgets a node, and does `also` in the same transaction: its certificates are revoked, and count for nothing from here on.
    pub(crate) async fn remove_node(&self, name: &str, revoked: &Revoked, also: Vec<Change>) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let mut draft = Draft::new(&self.state());
        let node = draft.next.nodes.get(name).cloned().ok_or_else(|| missing(name))?;
        draft.next.nodes.remove_mut(name);
        draft.delete(format!("{PREFIX}{name}"));
        draft.transaction.then.extend(revoked.changes(node.certificates()).into_iter().chain(also));
        self.place(draft).await?;
        revoked.add(node.certificates());
        Ok(())
    }

    /// Revokes certificates that no node has, or whose node stays.
    pub(crate) async fn revoke(&self, certificates: &[&Issued], revoked: &Revoked) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let mut draft = Draft::new(&self.state());
        draft.transaction.then.extend(revoked.changes(certificates.iter().copied()));
        self.commit(draft).await?;
        revoked.add(certificates.iter().copied());
        Ok(())
    }

    /// Changes the certificates of a node; `change` gives those that are to be revoked.
    async fn reissue_node(
        &self,
        name: &str,
        change: impl FnOnce(&mut Node) -> Result<Vec<Issued>, Refusal>,
        revoked: &Revoked,
    ) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let mut node = Node::clone(&*self.node(name)?);
        let surplus = change(&mut node)?;
        let also = Transaction { then: revoked.changes(&surplus), ..Transaction::default() };
        self.replace(node, also).await?;
        revoked.add(&surplus);
        Ok(())
    }

    async fn change_node(&self, name: &str, change: impl FnOnce(&mut Node)) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        let before = state.nodes.get(name).ok_or_else(|| missing(name))?;
        let mut node = Node::clone(before);
        change(&mut node);
        if node == **before {
            return Ok(());
        }
        self.replace(node, Transaction::default()).await
    }

    async fn replace(&self, node: Node, with: Transaction) -> Result<(), Refusal> {
        let mut draft = Draft::new(&self.state());
        draft.put(format!("{PREFIX}{}", node.name), &node)?;
        draft.transaction.when.extend(with.when);
        draft.transaction.then.extend(with.then);
        draft.next.nodes.insert_mut(node.name.clone(), Arc::new(node));
        self.place(draft).await
    }

    /// Commits a change of the nodes, in force on all of them at once where it is one of the shields.
    async fn place(&self, mut draft: Draft) -> Result<(), Refusal> {
        if draft.next.shields() != draft.newest.shields {
            draft.place_shields();
        }
        self.commit(draft).await.map(drop)
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::Missing(format!("there is no node {name:?}"))
}

#[cfg(test)]
mod tests;
