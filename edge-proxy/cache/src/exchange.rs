//! The request machine.

use std::sync::Arc;

use skerry_config::purge::Purge;
use skerry_config::snapshot::{Policy, Snapshot};

use crate::answer::{Answer, Failed};
use crate::fetch::Fetch;
use crate::request::Request;
use crate::time::Time;

/// Bounds of one cache; every number in bytes unless its name says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Stored answers in memory, heads and bookkeeping included.
    pub memory: u64,
    /// The largest body that is stored.
    pub object_max: u64,
    /// All bodies being fetched that may still become stored ones.
    pub filling_max: u64,
}

/// The cache of one node: a store, the fetches under way, and the purges in force.
pub struct Exchange {}

impl Exchange {
    /// An empty cache.
    #[must_use]
    pub fn new(_bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Answers a request, from the store if it may, through `fetch` if it must.
    ///
    /// `site` is the site's name (purges by site compare it), `policy` what applies to this request.
    ///
    /// # Errors
    /// When nothing is stored that may be used and upstream gave no answer.
    pub async fn run(
        self: &Arc<Self>,
        _request: Request,
        _site: &str,
        _policy: &Arc<Policy>,
        _now: Time,
        _fetch: Arc<dyn Fetch>,
    ) -> Result<Answer, Failed> {
        unimplemented!()
    }

    /// Puts purges in force, in order; returns when no later lookup can use what they name. `snapshot` tells the key rules by which URLs are compared.
    pub fn purge(&self, _purges: &[Purge], _snapshot: &Snapshot) {}

    /// The number of the last purge in force.
    #[must_use]
    pub fn purge_seq(&self) -> u64 {
        0
    }
}
