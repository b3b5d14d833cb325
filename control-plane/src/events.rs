//! What happens, for those who watch: `GET /v1/events`.
//!
//! Nothing waits for a watcher: one that is slower than the events misses some and is told how many.

use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::auth::Grant;

/// Events kept for a slow watcher.
const EVENTS_MAX: usize = 1024;

/// An event.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event {
    /// A site was written or deleted.
    Site {
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// The configuration that has it.
        snapshot: u64,
        /// Whether it was deleted.
        deleted: bool,
    },
    /// A purge was accepted.
    Purge {
        /// Its number.
        seq: u64,
    },
    /// Something about a node changed.
    Node {
        /// Its name.
        name: String,
        /// `joined`, `connected`, `disconnected`, `adopted`, `refused`, `drained`, `resumed`, `removed`, `renewed`, `behind` or `caught up`.
        what: String,
        /// The configuration it is about, when it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        snapshot: Option<u64>,
        /// Why, when something was refused or the node is behind.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A certificate ends, and nothing has renewed it.
    Certificate {
        /// `ca`, `control`, or `node` with the node's name.
        name: String,
        /// When, RFC 3339.
        ends_at: String,
    },
    /// A rollout went on.
    Rollout {
        /// Its number.
        id: u64,
        /// `began`, `stage`, `adopted`, `rolled_back` (one site), `done`, `ended` (nothing is left of it) or `aborted`.
        what: String,
        /// The configuration that it brings.
        snapshot: u64,
        /// Its stage.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// The site it is about, when it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        site: Option<String>,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The watcher was too slow.
    Lagged {
        /// Events it missed.
        missed: u64,
    },
}

impl Event {
    /// Whether a token may be told: one for some sites hears of those.
    pub(crate) fn is_for(&self, grant: &Grant) -> bool {
        match self {
            Self::Site { name, .. } => grant.covers(name),
            Self::Rollout { site: Some(name), .. } => grant.covers(name),
            Self::Lagged { .. } => true,
            Self::Purge { .. } | Self::Node { .. } | Self::Rollout { .. } | Self::Certificate { .. } => grant.is_whole(),
        }
    }

    /// The event's name on the wire.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Site { .. } => "site",
            Self::Purge { .. } => "purge",
            Self::Node { .. } => "node",
            Self::Certificate { .. } => "certificate",
            Self::Rollout { .. } => "rollout",
            Self::Lagged { .. } => "lagged",
        }
    }
}

/// The events.
#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::Sender::new(EVENTS_MAX) }
    }

    /// Tells whoever watches.
    pub(crate) fn tell(&self, event: Event) {
        // An error means that nobody watches.
        let _ = self.sender.send(event);
    }

    /// Tells about a node.
    pub(crate) fn node(&self, name: &str, what: &str) {
        self.tell(Event::Node { name: name.to_owned(), what: what.to_owned(), snapshot: None, reason: None });
    }

    /// Begins to watch.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}
