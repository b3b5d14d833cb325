//! What a DNS node does with what the control plane tells it: it takes the zone, and nothing else.

use std::sync::Arc;

use prometheus::Registry;
use serde_json::Value;
use skerry_agent::question::{Answer, Explain};
use skerry_agent::wire::ZonePart;
use skerry_agent::{Load, figures};
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;

use super::held::Held;

/// See the module.
pub(super) struct Duties {
    held: Arc<Held>,
    registry: Registry,
}

impl Duties {
    pub(super) fn new(held: Arc<Held>, registry: Registry) -> Self {
        Self { held, registry }
    }

    /// The sum of a family of counters or gauges.
    fn sum(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(prometheus::proto::MetricFamily::get_metric).unwrap_or_default();
        let sum: f64 = metrics.iter().map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum();
        // Counts of whole things below 2^53.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let whole = sum as u64;
        whole
    }
}

impl skerry_agent::Duties for Duties {
    fn adopt(&self, _: Arc<Snapshot>) -> Result<(), String> {
        Err("a DNS node serves no sites".to_owned())
    }

    fn purge(&self, _: &[Purge]) {}

    fn purge_all_through(&self, _: u64) {}

    fn load(&self) -> Load {
        Load {
            requests: self.sum("skerry_dns_queries_total"),
            connections: self.sum("skerry_dns_tcp_connections"),
            memory: figures::memory(),
            ..Load::default()
        }
    }

    fn metrics(&self, names: &[String]) -> Result<Value, String> {
        figures::metrics(&self.registry, names)
    }

    fn zone(&self) -> Vec<u8> {
        self.held.hello()
    }

    fn change_zone(&self, part: ZonePart) -> Result<Option<u64>, String> {
        self.held.take(part)
    }

    fn explain(self: Arc<Self>, _: Explain) -> Answer {
        Box::pin(async { Err("a DNS node stores no answers".to_owned()) })
    }
}
