//! What is counted about learning and planning.

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use skerry_dns::learn::{Refused, Taken};
use skerry_dns::plan::Summary;

/// See the module.
pub(crate) struct Figures {
    learned: IntCounter,
    refused: IntCounterVec,
    prefixes: IntGauge,
    moves: IntCounter,
    expected: Gauge,
    regret: Gauge,
    explored: Gauge,
    stale: Gauge,
}

impl Figures {
    /// Registers all.
    pub(crate) fn new(registry: &Registry) -> Result<Self, String> {
        let figures = Self::make().map_err(|error| error.to_string())?;
        let all: [Box<dyn Collector>; 8] = [
            Box::new(figures.learned.clone()),
            Box::new(figures.refused.clone()),
            Box::new(figures.prefixes.clone()),
            Box::new(figures.moves.clone()),
            Box::new(figures.expected.clone()),
            Box::new(figures.regret.clone()),
            Box::new(figures.explored.clone()),
            Box::new(figures.stale.clone()),
        ];
        for collector in all {
            registry.register(collector).map_err(|error| error.to_string())?;
        }
        for why in Refused::ALL {
            figures.refused.with_label_values(&[why.word()]);
        }
        Ok(figures)
    }

    fn make() -> prometheus::Result<Self> {
        Ok(Self {
            learned: IntCounter::new("skerry_control_latency_learned_total", "Prefixes in reports of edges that were learned from.")?,
            refused: IntCounterVec::new(
                Opts::new("skerry_control_latency_refused_total", "Prefixes in reports of edges that were not believed, by reason."),
                &["reason"],
            )?,
            prefixes: IntGauge::new("skerry_control_steering_prefixes", "Client prefixes that something is known of.")?,
            moves: IntCounter::new(
                "skerry_control_steering_moves_total",
                "Client prefixes that got another edge, those that only tried one not counted.",
            )?,
            expected: Gauge::new(
                "skerry_control_steering_expected_seconds",
                "Expected round trip by the plan, on average over all samples: a client's connection is one at a request, at most every 5 s.",
            )?,
            regret: Gauge::new(
                "skerry_control_steering_regret_seconds",
                "By how much the expected round trip is above that to the best known edges, on average over all samples.",
            )?,
            explored: Gauge::new(
                "skerry_control_steering_explored_ratio",
                "Share of samples of clients who are sent to a runner-up to learn how far it is.",
            )?,
            stale: Gauge::new(
                "skerry_control_steering_stale_ratio",
                "Share of samples of clients whose edge was chosen by measurements that are old, or without any.",
            )?,
        })
    }

    /// Counts a report.
    pub(crate) fn told(&self, taken: &Taken) {
        self.learned.inc_by(taken.taken as u64);
        for (why, count) in &taken.refused {
            self.refused.with_label_values(&[why.word()]).inc_by(*count as u64);
        }
    }

    /// Shows what a plan says of itself.
    pub(crate) fn planned(&self, summary: &Summary) {
        self.prefixes.set(i64::try_from(summary.prefixes).unwrap_or(i64::MAX));
        self.moves.inc_by(summary.moves.saturating_sub(self.moves.get()));
        self.expected.set(summary.mean_ms / 1_000.0);
        self.regret.set(summary.regret_ms / 1_000.0);
        self.explored.set(summary.explored);
        self.stale.set(summary.stale);
    }
}
