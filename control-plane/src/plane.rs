//! All parts of the control plane in one place, for the two doors: the API and the nodes' listener.

use std::sync::Arc;

use crate::auth::{Logins, Tokens};
use crate::behind::Behind;
use crate::ca::Ca;
use crate::events::Events;
use crate::feed::Feed;
use crate::feed::compiled::Compiler;
use crate::figures::Figures;
use crate::health::Health;
use crate::history::History;
use crate::intent::Intent;
use crate::journal::Journal;
use crate::purges::Purges;
use crate::questions::Questions;
use crate::removed::Removed;
use crate::revoked::Revoked;
use crate::rollout::Rollouts;
use crate::webhooks::Webhooks;

/// The parts.
pub(crate) struct Plane {
    pub(crate) ca: Ca,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) logins: Logins,
    pub(crate) intent: Arc<Intent>,
    pub(crate) purges: Arc<Purges>,
    pub(crate) health: Arc<Health>,
    pub(crate) questions: Arc<Questions>,
    pub(crate) rollouts: Rollouts,
    pub(crate) journal: Journal,
    pub(crate) events: Arc<Events>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) revoked: Revoked,
    pub(crate) removed: Arc<Removed>,
    pub(crate) behind: Behind,
    pub(crate) feed: Arc<Feed>,
    pub(crate) compiler: Arc<Compiler>,
    pub(crate) history: History,
    pub(crate) figures: Figures,
}
