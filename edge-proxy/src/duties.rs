//! What the edge does with what the control plane tells it.

use std::sync::Arc;
use std::time::Instant;

use prometheus::Registry;
use serde_json::Value;
use skerry_agent::figures::{self, Figures, SiteFigures};
use skerry_agent::question::{Answer, Explain};
use skerry_agent::{Latency, Load};
use skerry_cache::exchange::Exchange;
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;
use skerry_transport::gate::Gate;
use skerry_transport::upstream::Client;

use crate::country::Countries;
use crate::round_trips::RoundTrips;
use crate::utilization::Utilization;
use crate::{Current, explain, shields};

/// Puts snapshots and purges in force, and tells what is stored.
pub(crate) struct Duties {
    current: Current,
    exchange: Arc<Exchange>,
    figures: Arc<Figures>,
    node: Node,
    client: Arc<Client>,
    countries: Arc<Countries>,
}

/// What tells of the node itself.
pub(crate) struct Node {
    pub(crate) gate: Gate,
    pub(crate) registry: Registry,
    pub(crate) round_trips: Arc<RoundTrips>,
    pub(crate) utilization: Arc<Utilization>,
}

impl Duties {
    pub(crate) fn new(
        current: Current,
        exchange: Arc<Exchange>,
        figures: Arc<Figures>,
        node: Node,
        client: Arc<Client>,
        countries: Arc<Countries>,
    ) -> Self {
        Self { current, exchange, figures, node, client, countries }
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
        let Node { gate, utilization, .. } = &self.node;
        Load { connections: gate.connections(), utilization: utilization.permille(), ..self.figures.load() }
    }

    fn latency(&self, most: usize) -> Latency {
        self.node.round_trips.take(most, Instant::now())
    }

    fn sites(&self) -> Vec<(String, SiteFigures)> {
        self.figures.sites()
    }

    fn metrics(&self, names: &[String]) -> Result<Value, String> {
        figures::metrics(&self.node.registry, names)
    }

    fn failures(&self) -> Value {
        self.figures.failures()
    }

    fn site_figures(&self, site: &str) -> Option<SiteFigures> {
        self.figures.site(site)
    }

    fn explain(self: Arc<Self>, request: Explain) -> Answer {
        Box::pin(async move { explain::tell(&self.current.load_full(), &self.exchange, &self.countries, &request).await })
    }
}
