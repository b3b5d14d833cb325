//! The nodes that were let in: what they are, where they are, whether they are drained. How they do is `health`'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skerry_agent::Role;

use super::Intent;
use super::draft::Draft;
use crate::refusal::Refusal;
use crate::store::Transaction;

pub(super) const PREFIX: &str = "node/";

/// Nodes at most.
const NODES_MAX: usize = 10_000;

/// A node that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// `edge` or `shield`.
    pub(crate) role: String,
    /// Its region.
    pub(crate) region: String,
    /// The SHA-256 of the certificate it must show, in hexadecimal.
    pub(crate) certificate: String,
    /// The SHA-256 of the secret of the token it joined with, in hexadecimal: with it, and the same key, it may ask again.
    pub(crate) token: String,
    /// Whether it gets no new clients.
    pub(crate) drained: bool,
    /// The addresses it was last reached by (edges).
    pub(crate) addresses: Vec<IpAddr>,
    /// Where edges reach it (shields).
    pub(crate) tier_address: Option<SocketAddr>,
    /// When it joined, RFC 3339.
    pub(crate) joined_at: String,
}

impl Node {
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
    pub(crate) async fn admit_node(&self, node: Node, token: Transaction, again: bool) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let state = self.state();
        match state.nodes.get(&node.name) {
            Some(known) if known.token != node.token => {
                let says = format!("the name {:?} is taken by a {} that joined before; remove that node first", node.name, known.role);
                return Err(Refusal::Conflict(says));
            }
            None if again => {
                let says = format!(
                    "node {:?} was removed, and its join token with it; make another one with \"skerry node token create\"",
                    node.name
                );
                return Err(Refusal::Conflict(says));
            }
            None if state.nodes.size() >= NODES_MAX => {
                return Err(Refusal::Conflict(format!("there are {NODES_MAX} nodes already; remove one first")));
            }
            _ => {}
        }
        self.replace(node, token).await
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

    /// Forgets a node: its certificate counts for nothing from here on.
    pub(crate) async fn remove_node(&self, name: &str) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let mut draft = Draft::new(&self.state());
        if !draft.next.nodes.remove_mut(name) {
            return Err(missing(name));
        }
        draft.delete(format!("{PREFIX}{name}"));
        self.place(draft).await
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
