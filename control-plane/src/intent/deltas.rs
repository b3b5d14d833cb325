//! The last few configurations, and what makes one of another, encoded once for all nodes.
//!
//! The lock covers which there are; encoding happens outside of it, on a thread where it may take its time, and who comes meanwhile waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use skerry_agent::wire::CHANGE_BYTES_MAX;
use tokio::sync::OnceCell;

use super::numbered::{Numbered, Tracks};

/// Configurations that are remembered; a node that has an older one gets the whole.
const KNOWN_MAX: usize = 64;

/// Changes that are kept encoded.
const CHANGES_MAX: usize = 64;

/// Whole configurations that are kept encoded.
const WHOLES_MAX: usize = 2;

/// What is sent to a node.
#[derive(Clone, Debug)]
pub(crate) enum Encoded {
    /// A change of what it has.
    Change(Bytes),
    /// The whole.
    Whole(Bytes),
}

/// Encoded once; `None` when a change is too large to be sent as one.
type Cell = Arc<OnceCell<Option<Bytes>>>;

/// See the module.
#[derive(Default)]
pub(super) struct Deltas {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Those of this moment last.
    known: VecDeque<Arc<Numbered>>,
    changes: VecDeque<((u64, u64), Cell)>,
    wholes: VecDeque<(u64, Cell)>,
}

impl Deltas {
    /// Remembers the configurations of this moment, whichever of the earlier ones are forgotten for that.
    pub(super) fn know(&self, tracks: &Tracks) {
        let is_present = |numbered: &Arc<Numbered>| tracks.all().any(|present| present.version == numbered.version);
        let known = &mut self.inner.lock().known;
        known.retain(|numbered| !is_present(numbered));
        let present: Vec<_> = tracks.all().cloned().collect();
        for numbered in present {
            if known.iter().all(|known| known.version != numbered.version) {
                known.push_back(numbered);
            }
        }
        known.drain(..known.len().saturating_sub(KNOWN_MAX));
    }

    /// A configuration that is remembered.
    pub(super) fn get(&self, version: u64) -> Option<Arc<Numbered>> {
        self.inner.lock().known.iter().find(|known| known.version == version).cloned()
    }

    /// What a node is sent that has the configuration `has`.
    pub(super) async fn encoded(&self, has: Option<u64>, to: &Arc<Numbered>) -> Result<Encoded, String> {
        let from = has.filter(|has| *has < to.version).and_then(|has| self.get(has));
        if let Some(from) = from {
            let cell = cell(&mut self.inner.lock().changes, (from.version, to.version), CHANGES_MAX);
            let encode = {
                let to = Arc::clone(to);
                move || serde_json::to_vec(&to.change_from(&from)).map_err(|error| format!("cannot write JSON: {error}"))
            };
            if let Some(json) = encoded_once(&cell, encode, CHANGE_BYTES_MAX).await? {
                return Ok(Encoded::Change(json));
            }
        }
        let cell = cell(&mut self.inner.lock().wholes, to.version, WHOLES_MAX);
        let encode = {
            let to = Arc::clone(to);
            move || to.to_json()
        };
        let json = encoded_once(&cell, encode, usize::MAX).await?;
        Ok(Encoded::Whole(json.unwrap_or_default()))
    }
}

fn cell<K: Copy + PartialEq>(cells: &mut VecDeque<(K, Cell)>, key: K, max: usize) -> Cell {
    if let Some((_, cell)) = cells.iter().find(|(known, _)| *known == key) {
        return Arc::clone(cell);
    }
    let cell = Cell::default();
    cells.push_back((key, Arc::clone(&cell)));
    if cells.len() > max {
        cells.pop_front();
    }
    cell
}

async fn encoded_once(
    cell: &Cell,
    encode: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
    bytes_max: usize,
) -> Result<Option<Bytes>, String> {
    let encoded = cell.get_or_try_init(|| async {
        let json =
            tokio::task::spawn_blocking(encode).await.map_err(|error| format!("the configuration could not be written: {error}"))??;
        Ok::<_, String>((json.len() <= bytes_max).then(|| Bytes::from(json)))
    });
    encoded.await.cloned()
}
