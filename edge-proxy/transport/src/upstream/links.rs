//! The links of an edge to the shields of its configuration: one is opened for each of them as soon as it is known, and opened again when it ends, so
//! that what is asked for does not wait for a handshake.
//!
//! The table is swapped whole. The lock covers its making.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use skerry_config::snapshot::{Shield, Snapshot};
use tokio::task::AbortHandle;

use super::Client;
use crate::private::Private;
use crate::target::{self, Endpoint};

/// The time to connect to a shield, and for its handshake.
const TIME_MAX: Duration = Duration::from_secs(2);
/// How often an open link is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pause after a link could not be opened: at first, and at most. In between it doubles each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Links {
    private: Arc<Private>,
    /// By the names of the shields.
    kept: ArcSwap<HashMap<String, Arc<Kept>>>,
    making: Mutex<()>,
}

/// A link that is kept open until it is dropped.
struct Kept {
    endpoint: Arc<Endpoint>,
    keeping: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl Links {
    /// No link yet; this side shows these credentials.
    pub(super) fn new(private: Arc<Private>) -> Self {
        Self { private, kept: ArcSwap::default(), making: Mutex::new(()) }
    }

    /// Opens links to the shields of a configuration, and lets go of the others.
    pub(super) fn configure(&self, snapshot: &Snapshot, client: &Arc<Client>) {
        let _making = self.making.lock();
        let before = self.kept.load();
        let kept = snapshot.shields().iter().map(|shield| {
            let endpoint = self.endpoint_of(shield);
            let same = before.get(&shield.name).filter(|kept| kept.endpoint == endpoint).cloned();
            (shield.name.clone(), same.unwrap_or_else(|| Arc::new(Kept::begin(endpoint, client))))
        });
        let kept: HashMap<String, Arc<Kept>> = kept.collect();
        let gone = before.values().filter(|old| kept.values().all(|kept| kept.endpoint != old.endpoint));
        let gone: Vec<Arc<Endpoint>> = gone.map(|old| Arc::clone(&old.endpoint)).collect();
        // Nobody opens them again from here on.
        drop(self.kept.swap(Arc::new(kept)));
        drop(before);
        gone.iter().for_each(|endpoint| client.pool.forget(endpoint));
    }

    /// How a shield is reached.
    pub(super) fn endpoint(&self, shield: &Shield) -> Arc<Endpoint> {
        let kept = self.kept.load();
        let known = kept.get(&shield.name).map(|kept| &kept.endpoint);
        let same = known.filter(|known| known.ip() == Some(shield.address.ip()) && known.port() == shield.address.port());
        same.map_or_else(|| self.endpoint_of(shield), Arc::clone)
    }

    fn endpoint_of(&self, shield: &Shield) -> Arc<Endpoint> {
        target::of_shield(&shield.name, shield.address, Arc::clone(&self.private))
    }
}

impl Kept {
    fn begin(endpoint: Arc<Endpoint>, client: &Arc<Client>) -> Self {
        let keeping = tokio::spawn(keep(Arc::clone(&endpoint), Arc::downgrade(client))).abort_handle();
        Self { endpoint, keeping }
    }
}

async fn keep(endpoint: Arc<Endpoint>, client: Weak<Client>) {
    let mut pause = PAUSE_MIN;
    loop {
        // What holds the task is held by the client.
        let Some(client) = client.upgrade() else { return };
        let rest = if client.pool.is_shared(&endpoint) {
            LOOK_EVERY
        } else {
            match client.open_link(&endpoint, TIME_MAX).await {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    LOOK_EVERY
                }
                Err(error) => {
                    tracing::debug!(error = error.detail, pause = pause.as_secs_f64(), "a link to a shield cannot be opened");
                    let now = pause;
                    pause = (pause * 2).min(PAUSE_MAX);
                    jittered(now)
                }
            }
        };
        drop(client);
        tokio::time::sleep(rest).await;
    }
}

/// A time up to twice as long, so that the edges do not all come back at once.
fn jittered(pause: Duration) -> Duration {
    let draw = u32::try_from(RandomState::new().hash_one(()) % 256).unwrap_or_default();
    pause + pause * draw / 256
}
