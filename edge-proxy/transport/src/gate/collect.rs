//! The gate's figures as Prometheus metrics, read when they are scraped.

use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{Gate, Refused, SPOKEN};

struct Scrape {
    gate: Gate,
    connections: IntGaugeVec,
    refused: IntCounterVec,
    requests: IntGauge,
    requests_refused: IntCounter,
}

impl Gate {
    /// Registers its figures, once for a registry. `role` is the word for the tier in their names: `edge` or `shield`.
    #[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
    pub fn register(&self, role: &str, registry: &Registry) {
        let name = |rest: &str| format!("skerry_{role}_{rest}");
        let connections = Opts::new(name("connections"), "Open connections by what they speak; `opening` before that is known.");
        let refused = Opts::new(name("connections_refused_total"), "Connections closed before their first request, by the reason.");
        let scrape = Scrape {
            gate: self.clone(),
            connections: IntGaugeVec::new(connections, &["protocol"]).expect("valid"),
            refused: IntCounterVec::new(refused, &["reason"]).expect("valid"),
            requests: IntGauge::new(name("requests_running"), "Requests that take the full way and are not answered whole.")
                .expect("valid"),
            requests_refused: IntCounter::new(name("requests_over_limit_total"), "Requests refused for `limits.requests`.").expect("valid"),
        };
        registry.register(Box::new(scrape)).expect("registered once");
    }
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        let connections = self.connections.desc().into_iter().chain(self.refused.desc());
        connections.chain(self.requests.desc()).chain(self.requests_refused.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let inner = &self.gate.0;
        for (name, open) in SPOKEN.iter().zip(&inner.speaking) {
            self.connections.with_label_values(&[name]).set(gauge(open.load(Ordering::Relaxed)));
        }
        for (reason, refused) in Refused::ALL.iter().zip(&inner.refused) {
            let counter = self.refused.with_label_values(&[reason.as_str()]);
            counter.inc_by(refused.load(Ordering::Relaxed).saturating_sub(counter.get()));
        }
        self.requests.set(gauge(inner.requests.load(Ordering::Relaxed)));
        let refused = inner.requests_refused.load(Ordering::Relaxed);
        self.requests_refused.inc_by(refused.saturating_sub(self.requests_refused.get()));
        let connections = self.connections.collect().into_iter().chain(self.refused.collect());
        connections.chain(self.requests.collect()).chain(self.requests_refused.collect()).collect()
    }
}
