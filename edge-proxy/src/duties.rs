//! What the edge does with what the control plane tells it.

use std::sync::Arc;

use skerry_agent::Load;
use skerry_agent::figures::{Figures, SiteFigures};
use skerry_agent::question::{Answer, Explain};
use skerry_cache::exchange::Exchange;
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;
use skerry_transport::upstream::Client;

use crate::country::Countries;
use crate::{Current, explain, shields};

/// Puts snapshots and purges in force, and tells what is stored.
pub(crate) struct Duties {
    current: Current,
    exchange: Arc<Exchange>,
    figures: Arc<Figures>,
    client: Arc<Client>,
    countries: Arc<Countries>,
}

impl Duties {
    pub(crate) fn new(
        current: Current,
        exchange: Arc<Exchange>,
        figures: Arc<Figures>,
        client: Arc<Client>,
        countries: Arc<Countries>,
    ) -> Self {
        Self { current, exchange, figures, client, countries }
    }
}

impl skerry_agent::Duties for Duties {
    fn adopt(&self, snapshot: Arc<Snapshot>) -> Result<(), String> {
        self.figures.adopt(&snapshot);
        self.client.configure(&snapshot);
        shields::warn_of_missing(&snapshot, &self.current.load());
        self.current.store(snapshot);
        Ok(())
    }

    fn purge(&self, purges: &[Purge]) {
        self.exchange.purge(purges, &self.current.load());
    }

    fn purge_all_through(&self, seq: u64) {
        self.exchange.purge_all_through(seq);
    }

    fn settle(&self) -> Result<(), String> {
        self.exchange.sync_purges()
    }

    fn caught_up(&self) {
        self.exchange.caught_up();
    }

    fn load(&self) -> Load {
        self.figures.load()
    }

    fn site_figures(&self, site: &str) -> Option<SiteFigures> {
        self.figures.site(site)
    }

    fn explain(self: Arc<Self>, request: Explain) -> Answer {
        Box::pin(async move { explain::tell(&self.current.load_full(), &self.exchange, &self.countries, &request).await })
    }
}
