//! The certificates and join tokens of nodes that were removed, in a file beside the store: `removed.json` in the data directory.
//!
//! A store that was put back to an older copy has the nodes again that were removed since, or their tokens as ones that nobody used. Where the file is still there they are
//! removed once more at the start, before anybody is let in, their certificates are revoked again, and their tokens let nobody in. The lock covers the list and lets only one
//! writer at the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skerry_agent::disk;

use crate::auth::JOIN_TTL_MAX;
use crate::clock;
use crate::intent::{Issued, Node};
use crate::plane::Plane;
use crate::refusal::Refusal;

const FILE: &str = "removed.json";

/// Nodes that are remembered; beyond it the one that was removed first is forgotten, and a copy of the store from before that has it back.
const NODES_MAX: usize = 10_000;

/// See the module.
pub(crate) struct Removed {
    path: PathBuf,
    /// In the order in which they were removed.
    list: Mutex<Vec<Gone>>,
}

/// A node that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Gone {
    name: String,
    /// Those of its certificates that could still count.
    certificates: Vec<Issued>,
    /// The SHA-256 of the secret of the token it joined with, in hexadecimal.
    #[serde(default)]
    token: String,
    /// Until when that could count, in seconds since 1970.
    #[serde(default)]
    token_until: u64,
    /// Whether a node of that name was let in since: it is another one, and stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    joined_again: bool,
}

impl Removed {
    /// Reads the list. A damaged one is set aside and counts as none. Blocks.
    pub(crate) fn load(data: &Path) -> Result<Self, String> {
        let path = data.join(FILE);
        let json = disk::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let mut list = Vec::new();
        if let Some(json) = json {
            match serde_json::from_slice(&json) {
                Ok(read) => list = read,
                Err(error) => disk::set_aside(&path, &error.to_string()),
            }
        }
        prune(&mut list);
        Ok(Self { path, list: Mutex::new(list) })
    }

    /// Remembers a node that is about to be removed. A file that cannot be written hinders no removal.
    pub(crate) async fn add(self: &Arc<Self>, node: &Node) {
        let gone = Gone::of(node);
        self.apart(move |removed| removed.change(|list| list.push(gone))).await;
    }

    /// The node that was added last was not removed, for this reason. Where it was by somebody else, or may have been, it stays remembered.
    pub(crate) async fn take_back(self: &Arc<Self>, node: &Node, why: &Refusal) {
        if matches!(why, Refusal::Broken(_) | Refusal::Missing(_)) {
            return;
        }
        let (name, last) = (node.name.clone(), node.issued.clone());
        let forget = move |list: &mut Vec<Gone>| {
            if let Some(at) = list.iter().rposition(|gone| gone.name == name && gone.certificates.contains(&last)) {
                list.remove(at);
            }
        };
        self.apart(move |removed| removed.change(forget)).await;
    }

    /// A node of that name was let in with a token.
    pub(crate) async fn joined(self: &Arc<Self>, name: &str, token: &str) {
        let is_another = |gone: &Gone, name: &str, token: &str| gone.name == name && gone.token != token && !gone.joined_again;
        if self.list.lock().iter().any(|gone| is_another(gone, name, token)) {
            let (name, token) = (name.to_owned(), token.to_owned());
            let mark = move |list: &mut Vec<Gone>| {
                list.iter_mut().filter(|gone| is_another(gone, &name, &token)).for_each(|gone| gone.joined_again = true);
            };
            self.apart(move |removed| removed.change(mark)).await;
        }
    }

    /// Refuses the token with which a node joined that was removed: a store that was put back may have it as one that nobody used, or that node.
    pub(crate) fn check_token(&self, token: &str) -> Result<(), Refusal> {
        match self.list.lock().iter().find(|gone| gone.token == token) {
            Some(gone) => Err(Refusal::with_its_token(&gone.name)),
            None => Ok(()),
        }
    }

    /// Does what blocks away from the runtime's threads.
    async fn apart(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) {
        let removed = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || work(&removed)).await {
            tracing::error!(%error, "the list of removed nodes was not changed");
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Gone>)) {
        let mut list = self.list.lock();
        change(&mut list);
        prune(&mut list);
        let surplus = list.len().saturating_sub(NODES_MAX);
        if surplus > 0 {
            list.drain(..surplus);
            tracing::warn!(
                surplus,
                "more than {NODES_MAX} nodes were removed whose certificates or join tokens may count; the first of them are not remembered beside the store"
            );
        }
        let written = serde_json::to_vec(&*list).map_err(|error| error.to_string());
        let written = written.and_then(|json| disk::write(&self.path, &json, 0o600).map_err(|error| error.to_string()));
        if let Err(why) = written {
            let file = self.path.display();
            tracing::error!(%file, why, "cannot be written: a store that is put back to an older copy has nodes again that were removed since");
        }
    }
}

impl Gone {
    fn of(node: &Node) -> Self {
        Self {
            name: node.name.clone(),
            certificates: node.certificates().cloned().collect(),
            token: node.token.clone(),
            // It was made before the node joined with it.
            token_until: clock::unix_seconds() + JOIN_TTL_MAX.as_secs(),
            joined_again: false,
        }
    }

    /// Whether it is this node, and not another one of its name.
    fn is(&self, node: &Node) -> bool {
        self.token == node.token || node.certificates().any(|issued| self.certificates.contains(issued))
    }
}

/// Forgets what could no longer count.
fn prune(list: &mut Vec<Gone>) {
    let now = clock::unix_seconds();
    list.iter_mut().for_each(|gone| gone.certificates.retain(|issued| issued.ends == 0 || issued.counts_until >= now));
    list.retain(|gone| !gone.certificates.is_empty() || gone.token_until >= now);
}

/// Removes the nodes again that a store which was put back to an older copy has back, and revokes what was revoked with them.
///
/// # Errors
/// One sentence, when the store does not take it.
pub(crate) async fn again(plane: &Plane) -> Result<(), String> {
    let list = plane.removed.list.lock().clone();
    for gone in list {
        let unknown: Vec<&Issued> = gone.certificates.iter().filter(|issued| !plane.revoked.has(issued)).collect();
        let is_back = !gone.joined_again && plane.intent.node(&gone.name).is_ok_and(|node| gone.is(&node));
        if unknown.is_empty() && !is_back {
            continue;
        }
        let failed = |refusal: Refusal| refusal.says().to_owned();
        if is_back {
            let history = plane.history.forget(&gone.name).await.map_err(failed)?;
            plane.intent.remove_node(&gone.name, &plane.revoked, history.changes.clone()).await.map_err(failed)?;
        }
        plane.intent.revoke(&unknown, &plane.revoked).await.map_err(failed)?;
        tracing::warn!(
            node = gone.name,
            removed = is_back,
            certificates = unknown.len(),
            "the store does not know of the removal of a node, as an older copy does not; its certificates are revoked again"
        );
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::start;
    use crate::store::{Redb, Transaction};
    use crate::tests::settings;

    /// A node that joined with a token of the same name as its certificate.
    fn node(name: &str, certificate: &str, counts_until: u64) -> Node {
        let issued = serde_json::json!({"certificate": certificate, "ends": counts_until, "counts_until": counts_until});
        let mut node = serde_json::json!({"name": name, "role": "edge", "region": "eu", "token": certificate, "drained": false, "addresses": [], "tier_address": null, "joined_at": ""});
        node.as_object_mut().unwrap().extend(issued.as_object().unwrap().clone());
        serde_json::from_value(node).unwrap()
    }

    /// Who is remembered, and whether another one of that name joined since.
    pub(crate) fn names(data: &Path) -> Vec<(String, bool)> {
        let read = Removed::load(data).unwrap();
        let list = read.list.lock();
        list.iter().map(|gone| (gone.name.clone(), gone.joined_again)).collect()
    }

    #[tokio::test]
    async fn a_removed_node_is_remembered_as_long_as_its_certificates_or_its_token_count_and_within_bounds() {
        let data = tempfile::tempdir().unwrap();
        let removed = Arc::new(Removed::load(data.path()).unwrap());
        let later = clock::unix_seconds() + 1_000;
        removed.add(&node("a", "aa", later)).await;
        removed.joined("a", "aa").await;
        removed.add(&node("b", "bb", later)).await;
        removed.joined("b", "other").await;
        removed.add(&node("over", "cc", 7)).await;
        let remembered = [("a".to_owned(), false), ("b".to_owned(), true), ("over".to_owned(), false)];
        assert_eq!(names(data.path()), remembered);
        assert!(removed.check_token("cc").unwrap_err().says().contains("\"over\" was removed"));
        assert!(removed.check_token("dd").is_ok());
        removed.list.lock()[2].token_until = 7;
        std::fs::write(data.path().join(FILE), serde_json::to_vec(&*removed.list.lock()).unwrap()).unwrap();
        assert_eq!(names(data.path()), remembered[..2], "neither its certificate nor its token counts");
        *removed.list.lock() = (0..NODES_MAX).map(|number| Gone::of(&node(&number.to_string(), "dd", later))).collect();
        removed.add(&node("last", "ee", later)).await;
        let kept = names(data.path());
        assert_eq!((kept.len(), kept[0].0.as_str(), kept[NODES_MAX - 1].0.as_str()), (NODES_MAX, "1", "last"));
        std::fs::write(data.path().join(FILE), b"[{").unwrap();
        assert_eq!(names(data.path()), []);
        assert!(data.path().join("removed.json.damaged").exists());
    }

    #[tokio::test]
    async fn only_a_removal_that_did_not_happen_is_taken_back() {
        let data = tempfile::tempdir().unwrap();
        let removed = Arc::new(Removed::load(data.path()).unwrap());
        let node = node("a", "aa", clock::unix_seconds() + 1_000);
        removed.add(&node).await;
        removed.add(&node).await;
        let says = || "why".to_owned();
        for (why, kept) in [(Refusal::Broken(says()), 2), (Refusal::Missing(says()), 2), (Refusal::Busy(says()), 1)] {
            removed.take_back(&node, &why).await;
            assert_eq!(names(data.path()).len(), kept, "{why:?}");
        }
    }

    #[tokio::test]
    async fn the_node_that_was_removed_is_removed_again_and_no_other_one_of_its_name() {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Redb::open(&data.path().join("store.redb")).unwrap());
        let plane = start::plane(&settings(data.path()), store, &prometheus::Registry::new()).unwrap();
        let later = clock::unix_seconds() + 1_000;
        let certificate = |number: u64| format!("{number:064x}");
        let removed =
            [node("another", &certificate(1), later), node("back", &certificate(2), later), node("renewed", &certificate(3), later)];
        let mut present =
            [node("another", &certificate(4), later), node("back", &certificate(2), later), node("renewed", &certificate(5), later)];
        // A certificate that it had, and that no longer counts, is not remembered.
        present[2].token.clone_from(&removed[2].token);
        for node in &present {
            plane.intent.admit_node(node.clone(), Transaction::default(), false, &plane.revoked).await.unwrap();
        }
        for node in &removed {
            plane.removed.add(node).await;
        }
        again(&plane).await.unwrap();
        let there: Vec<_> = plane.intent.state().nodes.keys().cloned().collect();
        assert_eq!(there, ["another"]);
        for node in &removed {
            assert!(plane.revoked.has(&node.issued), "{}", node.name);
        }
        assert!(!plane.revoked.has(&present[0].issued));
    }
}
