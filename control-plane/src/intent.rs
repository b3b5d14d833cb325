//! What operators want: sites with their versions, and the nodes that were let in; and the numbered configuration made of both.
//!
//! Every change is one transaction in the store before it is seen here. The write lock orders changes; the read lock covers the
//! present state, which is swapped whole and never held across an await.

mod leads;
mod nodes;
mod sites;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skerry_agent::{Role, wire};
use skerry_config::snapshot::{Document, Shield};
use tokio::sync::watch;

use crate::refusal::Refusal;
use crate::store::{self, Change, Condition, Store, Transaction};

pub(crate) use nodes::{Issued, Node};
pub(crate) use sites::{Demand, SiteVersion, Wish, Written, check, owners, recall, shields};

const SNAPSHOT_KEY: &str = "meta/snapshot";

/// The number of the configuration of a store that is still empty. 0 stays what a node says that has none.
const FIRST_SNAPSHOT: u64 = 1;

/// A numbered configuration, as it is sent to nodes.
#[derive(Debug)]
pub(crate) struct Published {
    /// Its number.
    pub(crate) version: u64,
    /// The document in JSON.
    pub(crate) json: Bytes,
}

/// The present state.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The newest version of every site that ever was; those deleted among them.
    pub(crate) sites: BTreeMap<String, Arc<SiteVersion>>,
    /// The nodes.
    pub(crate) nodes: BTreeMap<String, Arc<Node>>,
    /// The leading shields of sites that leave the choice to us, by site.
    pub(crate) leads: BTreeMap<String, String>,
    /// The number of the configuration.
    pub(crate) snapshot: u64,
}

/// What operators want.
pub(crate) struct Intent {
    store: Arc<dyn Store>,
    state: RwLock<Arc<State>>,
    writing: tokio::sync::Mutex<()>,
    published: watch::Sender<Arc<Published>>,
    /// Rises with every change of the state, those that change no document among them.
    changes: watch::Sender<u64>,
}

impl Intent {
    /// Reads everything from the store. Blocks.
    pub(crate) fn load(store: Arc<dyn Store>) -> Result<Self, String> {
        let mut state = State { snapshot: FIRST_SNAPSHOT, ..State::default() };
        if let Some(number) = store.get(SNAPSHOT_KEY)? {
            state.snapshot = parse(SNAPSHOT_KEY, &number)?;
        }
        for (key, value) in store.list(sites::PREFIX)? {
            let version: SiteVersion = parse(&key, &value)?;
            state.sites.insert(version.name.clone(), Arc::new(version));
        }
        for (key, value) in store.list(nodes::PREFIX)? {
            let node: Node = parse(&key, &value)?;
            state.nodes.insert(node.name.clone(), Arc::new(node));
        }
        for (key, value) in store.list(leads::PREFIX)? {
            state.leads.insert(key[leads::PREFIX.len()..].to_owned(), parse(&key, &value)?);
        }
        let published = state.publish().map_err(|refusal| refusal.says().to_owned())?;
        Ok(Self {
            store,
            state: RwLock::new(Arc::new(state)),
            writing: tokio::sync::Mutex::new(()),
            published: watch::Sender::new(Arc::new(published)),
            changes: watch::Sender::new(0),
        })
    }

    /// The present state.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    /// The configuration in force, and word of the next ones.
    pub(crate) fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Word of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Makes `next` the present state once `transaction` is done in the store. The caller holds the write lock.
    async fn commit(&self, mut next: State, mut transaction: Transaction) -> Result<Arc<State>, Refusal> {
        let now = self.state();
        let mut published = None;
        if next.document() != now.document() {
            next.snapshot = now.snapshot + 1;
            published = Some(next.publish()?);
            let before = self.stored(SNAPSHOT_KEY).await?;
            transaction.when.push(Condition { key: SNAPSHOT_KEY.to_owned(), holds: before });
            transaction.then.push(Change::Put(SNAPSHOT_KEY.to_owned(), json(&next.snapshot)?));
        }
        let done = store::blocking(&self.store, move |store| store.transact(&transaction)).await.map_err(Refusal::Broken)?;
        if !done {
            return Err(Refusal::Busy("somebody else changed the same thing at the same time; try again".to_owned()));
        }
        let next = Arc::new(next);
        *self.state.write() = Arc::clone(&next);
        if let Some(published) = published {
            self.published.send_replace(Arc::new(published));
        }
        self.changes.send_modify(|count| *count += 1);
        Ok(next)
    }

    async fn stored(&self, key: &'static str) -> Result<Option<Vec<u8>>, Refusal> {
        store::blocking(&self.store, move |store| store.get(key)).await.map_err(Refusal::Broken)
    }
}

impl State {
    /// The configuration that this state means.
    pub(crate) fn document(&self) -> Document {
        let sites = self.sites.values().filter_map(|version| version.site.as_deref().cloned()).collect();
        let shields = self.nodes.values().filter(|node| node.role() == Some(Role::Shield) && !node.drained);
        let shields = shields.filter_map(|node| {
            let address = node.tier_address?;
            Some(Shield { name: node.name.clone(), region: node.region.clone(), address })
        });
        let shields: Vec<Shield> = shields.collect();
        Document { version: self.snapshot, leads: self.leads(&shields), shields, sites }
    }

    /// The checked configuration in the form it is sent in.
    fn publish(&self) -> Result<Published, Refusal> {
        let document = self.document();
        skerry_config::check::document(&document)
            .map_err(|faults| Refusal::Faulty("the configuration would have faults".to_owned(), faults))?;
        let json = json(&document)?;
        if json.len() > wire::SNAPSHOT_BYTES_MAX {
            let says = format!("the configuration would have {} bytes, at most {} are allowed", json.len(), wire::SNAPSHOT_BYTES_MAX);
            return Err(Refusal::Conflict(says));
        }
        Ok(Published { version: self.snapshot, json: json.into() })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| Refusal::Broken(format!("cannot write JSON: {error}")))
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("the store holds something else than expected at {key}: {error}"))
}
