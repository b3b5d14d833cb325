//! What operators want: sites with their versions, and the nodes that were let in; and the numbered configurations made of both.
//!
//! Every change is one transaction in the store before it is seen here. The write lock orders changes; the read lock covers the
//! present state, which is swapped whole and never held across an await. When a change reaches which node is a rollout's: [`crate::rollout`].

mod content;
mod deltas;
mod draft;
mod follow;
mod leads;
mod load;
mod nodes;
mod numbered;
mod rollouts;
mod secrets;
mod sites;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::RwLock;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skerry_agent::Role;
use skerry_config::snapshot::Shield;
use tokio::sync::watch;

use crate::refusal::Refusal;
use crate::rollout::Rollout;
use crate::store::Store;
use deltas::Deltas;
use numbered::Numbers;
use secrets::Secrets;

pub(crate) use content::Sealed;
pub(crate) use deltas::Encoded;
pub(crate) use follow::follow;
pub(crate) use nodes::{Issued, NODES_MAX, Node, Steering};
pub(crate) use numbered::{Numbered, Reach, Tracks};
pub(crate) use secrets::{Named, SecretWish, VALUE_BYTES_MAX, no_secret};
pub(crate) use sites::{Demand, SiteVersion, Wish, Written, check, check_nodes, owners, refer};

/// The numbers of the configurations.
const SNAPSHOT_KEY: &str = "meta/snapshot";
/// What is settled of sites of which another content is newer or rolls out, by name.
const SETTLED: &str = "settled/";
/// What is rolling out, by the name of the site.
const ROLLING: &str = "rolling/";
/// Sites that were deleted and are on the nodes still, by name.
const LINGERING: &str = "lingering/";

/// The number of the configuration of a store that is still empty. 0 stays what a node says that has none.
const FIRST_SNAPSHOT: u64 = 1;

/// The present state. Copies share everything.
#[derive(Clone)]
pub(crate) struct State {
    /// The newest version of every site that ever was; those deleted among them.
    pub(crate) sites: RedBlackTreeMapSync<String, Arc<SiteVersion>>,
    /// The nodes.
    pub(crate) nodes: RedBlackTreeMapSync<String, Arc<Node>>,
    /// The leading shields of sites that leave the choice to us, by site.
    pub(crate) leads: RedBlackTreeMapSync<String, String>,
    /// The number of the newest configuration.
    pub(crate) snapshot: u64,
    /// The numbered configurations.
    pub(crate) tracks: Arc<Tracks>,
    /// The sites of which not all configurations have the same content.
    pub(crate) waiting: RedBlackTreeSetSync<String>,
    /// Sites that were deleted, whose names DNS gave out not long ago.
    pub(crate) lingering: RedBlackTreeMapSync<String, Arc<Lingering>>,
    /// The last rollouts, by number.
    pub(crate) rollouts: RedBlackTreeMapSync<u64, Arc<Rollout>>,
    secrets: Secrets,
    numbers: Numbers,
    /// The numbers as they lie in the store.
    numbers_stored: Option<Arc<[u8]>>,
}

/// A site that was deleted: the nodes keep it until clients have forgotten where DNS sent them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lingering {
    /// Until when, in seconds since 1970.
    pub(crate) until: u64,
    /// What the nodes keep.
    pub(crate) version: Arc<SiteVersion>,
}

/// What operators want.
pub(crate) struct Intent {
    store: Arc<dyn Store>,
    state: RwLock<Arc<State>>,
    writing: tokio::sync::Mutex<()>,
    published: watch::Sender<Arc<Tracks>>,
    deltas: Deltas,
    /// How long a deleted site stays on the nodes.
    linger: Duration,
    /// Rises with every change of the state, those that change no document among them.
    changes: watch::Sender<u64>,
    own: follow::Own,
    /// The revision of the store up to which it was read.
    read_through: AtomicU64,
}

impl Intent {
    /// Reads everything from the store. Nodes keep a deleted site for `linger`. Blocks.
    pub(crate) fn load(store: Arc<dyn Store>, linger: Duration) -> Result<Self, String> {
        let read_through = AtomicU64::new(store.revision()?);
        let state = load::state(&*store)?;
        let deltas = Deltas::default();
        deltas.know(&state.tracks);
        Ok(Self {
            store,
            published: watch::Sender::new(Arc::clone(&state.tracks)),
            state: RwLock::new(Arc::new(state)),
            writing: tokio::sync::Mutex::new(()),
            deltas,
            linger,
            changes: watch::Sender::new(0),
            own: follow::Own::default(),
            read_through,
        })
    }

    /// The present state.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    /// The configurations of this moment, and word of the next ones.
    pub(crate) fn published(&self) -> watch::Receiver<Arc<Tracks>> {
        self.published.subscribe()
    }

    /// Word of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A configuration of the last few.
    pub(crate) fn known(&self, version: u64) -> Option<Arc<Numbered>> {
        self.deltas.get(version)
    }

    /// What a node is sent that has the configuration `has`.
    pub(crate) async fn encoded(&self, has: Option<u64>, to: &Arc<Numbered>) -> Result<Encoded, String> {
        self.deltas.encoded(has, to).await
    }

    /// Gives every configuration a number above `last`, which a node has of another history.
    pub(crate) async fn lift(&self, last: u64) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let mut draft = draft::Draft::new(&self.state());
        draft.renumber(last);
        self.commit(draft).await.map(drop)
    }
}

impl Default for State {
    fn default() -> Self {
        let nothing = Numbered::new(FIRST_SNAPSHOT, content::Content::default());
        Self {
            sites: RedBlackTreeMapSync::new_sync(),
            nodes: RedBlackTreeMapSync::new_sync(),
            leads: RedBlackTreeMapSync::new_sync(),
            snapshot: FIRST_SNAPSHOT,
            tracks: Arc::new(Tracks { settled: Arc::clone(&nothing), rolling: None, newest: nothing }),
            waiting: RedBlackTreeSetSync::new_sync(),
            lingering: RedBlackTreeMapSync::new_sync(),
            rollouts: RedBlackTreeMapSync::new_sync(),
            secrets: Secrets::default(),
            numbers: Numbers::default(),
            numbers_stored: None,
        }
    }
}

impl State {
    /// The shields that are not drained.
    fn shields(&self) -> Arc<[Shield]> {
        let shields = self.nodes.values().filter(|node| node.role() == Some(Role::Shield) && !node.drained);
        let shields = shields.filter_map(|node| {
            let address = node.tier_address?;
            Some(Shield { name: node.name.clone(), region: node.region.clone(), address })
        });
        shields.collect()
    }

    /// The edges and shields.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter(|node| node.role().is_some_and(Role::is_tier))
    }

    /// The rollout that is under way.
    pub(crate) fn rollout(&self) -> Option<&Arc<Rollout>> {
        self.rollouts.values().rev().find(|rollout| rollout.is_under_way())
    }

    /// The rollout that brings the newest content of a site to all nodes, when that is not there yet.
    pub(crate) fn rollout_of(&self, site: &str) -> Option<u64> {
        if !self.waiting.contains(site) {
            return None;
        }
        let newest = self.tracks.newest.content.digest(site);
        match (&self.tracks.rolling, self.rollout()) {
            (Some((rolling, _)), Some(rollout)) if rolling.content.digest(site) == newest => Some(rollout.id),
            _ => self.numbers.next_rollout,
        }
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| Refusal::Broken(format!("cannot write JSON: {error}")))
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("the store holds something else than expected at {key}: {error}"))
}
